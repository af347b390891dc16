//! The words that stand for choices: one table for each, read by the file's reader and shown by `Display`.

use std::fmt;

use crate::model::{
    AuthMethod, ChangeStream, LogFormat, PoolMode, ReadYourWrites, TlsMode, UnlistedTables, WorkerUse,
};

/// A choice that is written as a word.
pub(crate) trait Words: Copy + PartialEq + 'static {
    /// Every choice under its word.
    const WORDS: &'static [(&'static str, Self)];
}

macro_rules! words {
    ($type:ident { $($word:literal => $variant:ident),+ $(,)? }) => {
        impl Words for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $type::$variant)),+];
        }

        /// The word that the configuration file uses.
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($type::$variant => $word),+ })
            }
        }
    };
}

words!(AuthMethod {
    "any" => Any,
    "trust" => Trust,
    "password" => Password,
    "md5" => Md5,
    "scram-sha-256" => Scram,
    "cert" => Cert,
    "hba" => Hba,
});

words!(TlsMode {
    "disable" => Disable,
    "allow" => Allow,
    "prefer" => Prefer,
    "require" => Require,
    "verify-ca" => VerifyCa,
    "verify-full" => VerifyFull,
});

words!(WorkerUse { "auto" => Auto, "all" => All });
words!(LogFormat { "text" => Text, "json" => Json });
words!(PoolMode { "session" => Session, "transaction" => Transaction, "statement" => Statement });
words!(ReadYourWrites { "lsn" => Lsn, "off" => Off });
words!(UnlistedTables { "reference" => Reference, "error" => Error });
words!(ChangeStream { "off" => Off, "logical" => Logical });

/// The choice that a word stands for.
pub(crate) fn choice<T: Copy>(word: &str, words: &[(&str, T)]) -> Option<T> {
    words.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice)
}

/// The words, for a message.
pub(crate) fn list<T>(words: &[(&str, T)]) -> String {
    words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree<T: Words + fmt::Display>() {
        for (word, choice) in T::WORDS {
            assert_eq!(choice.to_string(), *word);
            assert!(super::choice(word, T::WORDS) == Some(*choice));
        }
    }

    #[test]
    fn what_is_shown_is_what_is_read() {
        agree::<AuthMethod>();
        agree::<TlsMode>();
        agree::<LogFormat>();
        agree::<WorkerUse>();
        agree::<PoolMode>();
        agree::<ReadYourWrites>();
        agree::<UnlistedTables>();
        agree::<ChangeStream>();
    }
}
