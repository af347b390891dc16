//! `auth_type`: how clients prove who they are.

use crate::model::AuthMethod;
use crate::words::Words;

use super::{Value, word};

/// PgBouncer's `auth_type`. `ldap` and `pam` are refused: another way in would not do for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthType {
    /// No proof, and the name that the client gives does not count: databases have logins of their own, and
    /// everybody is an administrator.
    Any,
    /// No proof; the name must be in `auth_file`.
    Trust,
    /// Clear-text password.
    Plain,
    /// MD5 challenge; SCRAM for a user whose secret is SCRAM's.
    Md5,
    /// SCRAM-SHA-256.
    Scram,
    /// TLS client certificate whose common name is the user.
    Cert,
    /// By the rules of `auth_hba_file`.
    Hba,
}

impl Words for AuthType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("any", Self::Any),
        ("trust", Self::Trust),
        ("plain", Self::Plain),
        ("md5", Self::Md5),
        ("scram-sha-256", Self::Scram),
        ("cert", Self::Cert),
        ("hba", Self::Hba),
    ];
}

impl AuthType {
    /// The same among our own methods.
    pub fn method(self) -> AuthMethod {
        match self {
            Self::Any => AuthMethod::Any,
            Self::Trust => AuthMethod::Trust,
            Self::Plain => AuthMethod::Password,
            Self::Md5 => AuthMethod::Md5,
            Self::Scram => AuthMethod::Scram,
            Self::Cert => AuthMethod::Cert,
            Self::Hba => AuthMethod::Hba,
        }
    }

    /// Whether PgBouncer reads `auth_file` for it.
    pub fn needs_auth_file(self) -> bool {
        self != Self::Any
    }
}

impl Value for AuthType {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            known @ ("ldap" | "pam") => Err(format!("auth_type {known} is not supported")),
            _ => word(text),
        }
    }

    fn show(&self) -> String {
        let word = Self::WORDS.iter().find(|(_, auth_type)| auth_type == self);
        word.map_or_else(String::new, |(word, _)| (*word).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_shown_as_it_is_read() {
        for (word, auth_type) in AuthType::WORDS {
            assert_eq!(AuthType::parse(word), Ok(*auth_type));
            assert_eq!(auth_type.show(), *word);
        }
    }

    #[test]
    fn what_would_need_another_service_is_refused_by_name() {
        assert_eq!(AuthType::parse("PAM").unwrap_err(), "auth_type pam is not supported");
        assert_eq!(
            AuthType::parse("password").unwrap_err(),
            "expected one of any, trust, plain, md5, scram-sha-256, cert, hba, found \"password\""
        );
    }
}
