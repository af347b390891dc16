//! Postgres's MD5 challenge: the client shows that it knows the password by
//! `"md5" ‖ hex(md5(hex(md5(password ‖ user)) ‖ salt))`.
//!
//! Source: PostgreSQL documentation, "Message Flow", AuthenticationMD5Password. It is old and weak and here for
//! clients that know nothing better.

use super::Refusal;
use super::secret::{StoredSecret, md5_hex, same};

/// One challenge, good for one answer.
#[derive(Debug)]
pub struct Md5Challenge {
    salt: [u8; 4],
}

impl Md5Challenge {
    /// A challenge with this salt, which must be random.
    pub fn new(salt: [u8; 4]) -> Self {
        Self { salt }
    }

    /// What the client must hash its answer with.
    pub fn salt(&self) -> [u8; 4] {
        self.salt
    }

    /// Checks `response`, the password message's text without its final NUL.
    ///
    /// Errors: [`Refusal::NoMd5Secret`] if the secret is SCRAM's, which cannot be checked this way;
    /// [`Refusal::EmptyPassword`] if the stored password is empty; else [`Refusal::WrongPassword`].
    pub fn verify(self, user: &str, secret: &StoredSecret, response: &[u8]) -> Result<(), Refusal> {
        let inner = match secret {
            StoredSecret::Md5(hex) => *hex,
            StoredSecret::Plain(plain) if plain.is_empty() => return Err(Refusal::EmptyPassword),
            StoredSecret::Plain(plain) => md5_hex(&[plain.as_bytes(), user.as_bytes()]),
            StoredSecret::Scram(_) => return Err(Refusal::NoMd5Secret),
        };
        let expected = md5_hex(&[&inner, &self.salt]);
        match response.strip_prefix(b"md5") {
            Some(answer) if same(answer, &expected) => Ok(()),
            _ => Err(Refusal::WrongPassword),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::md5_hash;
    use postgres_protocol::password;

    const SALT: [u8; 4] = [0x2a, 0x3d, 0x8f, 0xe0];

    fn verify(stored: &str, response: &[u8]) -> Result<(), Refusal> {
        Md5Challenge::new(SALT).verify("md5_user", &StoredSecret::parse(stored), response)
    }

    #[test]
    fn a_known_answer_is_right_for_the_plain_and_the_hashed_secret() {
        // The vector of rust-postgres.
        let answer = b"md562af4dd09bbb41884907a838a3233294";
        assert_eq!(verify("password", answer), Ok(()));
        assert_eq!(verify(&password::md5(b"password", "md5_user"), answer), Ok(()));
    }

    #[test]
    fn any_other_answer_is_wrong() {
        let other_salt = md5_hash(b"md5_user", b"password", [0; 4]);
        let other_user = md5_hash(b"md5_other", b"password", SALT);
        let right = md5_hash(b"md5_user", b"password", SALT);
        for answer in [&other_salt, &other_user, &right[3..], &right[..34], &right.to_uppercase(), ""] {
            assert_eq!(verify("password", answer.as_bytes()), Err(Refusal::WrongPassword), "{answer}");
        }
    }

    #[test]
    fn the_stored_hash_is_not_an_answer() {
        let hash = password::md5(b"password", "md5_user");
        assert_eq!(verify(&hash, hash.as_bytes()), Err(Refusal::WrongPassword));
    }

    #[test]
    fn a_scram_secret_or_an_empty_password_is_refused_for_its_own_reason() {
        assert_eq!(verify(&password::scram_sha_256(b"password"), b"md5"), Err(Refusal::NoMd5Secret));
        let right_for_empty = md5_hash(b"md5_user", b"", SALT);
        assert_eq!(verify("", right_for_empty.as_bytes()), Err(Refusal::EmptyPassword));
    }
}
