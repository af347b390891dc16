//! Unix sockets: where they are, and who may use them.

use std::path::PathBuf;

use crate::value::quoted;

use super::{Value, whole};

/// `unix_socket_dir`: where clients find a Unix socket, and where servers are that have no host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketDir {
    /// Nowhere (the empty string).
    Off,
    /// A directory.
    Directory(PathBuf),
    /// The abstract namespace, by the name behind the `@`.
    Abstract(String),
}

/// `unix_socket_mode`: permission bits, at most `0o7777`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketMode(pub u32);

impl Value for SocketDir {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text.strip_prefix('@') {
            Some(name) => Self::Abstract(name.to_owned()),
            None if text.is_empty() => Self::Off,
            None => Self::Directory(PathBuf::from(text)),
        })
    }

    fn show(&self) -> String {
        match self {
            Self::Off => String::new(),
            Self::Directory(path) => path.display().to_string(),
            Self::Abstract(name) => format!("@{name}"),
        }
    }
}

/// Octal behind a 0, else decimal; shown as decimal, and its default as octal: all as in PgBouncer.
impl Value for SocketMode {
    fn parse(text: &str) -> Result<Self, String> {
        let bits = whole(text)?;
        let mode = u32::try_from(bits).ok().filter(|bits| *bits <= 0o7777);
        mode.map(Self).ok_or_else(|| format!("expected a file mode such as 0777, found {}", quoted(text)))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }

    fn show_default(&self) -> String {
        format!("{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_may_be_abstract_or_none() {
        for (text, directory) in [
            ("", SocketDir::Off),
            ("/tmp", SocketDir::Directory("/tmp".into())),
            ("@pgb", SocketDir::Abstract("pgb".into())),
        ] {
            assert_eq!(SocketDir::parse(text), Ok(directory.clone()));
            assert_eq!(directory.show(), text);
        }
    }

    #[test]
    fn modes_are_octal_behind_a_zero() {
        assert_eq!(SocketMode::parse("0700"), Ok(SocketMode(0o700)));
        assert_eq!(SocketMode::parse("448"), Ok(SocketMode(0o700)));
        assert_eq!((SocketMode(511).show(), SocketMode(511).show_default()), ("511".into(), "0777".into()));
        for text in ["010000", "-1", "rwx"] {
            assert!(SocketMode::parse(text).is_err(), "{text}");
        }
    }
}
