//! What proves to a server that we are a user: a password, or what can be kept in its place.

use shardway_config::Secret;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What proves to a server that we are a user. `Debug` does not show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The password: good for whatever the server asks.
    Password(Secret),
    /// `md5` and the 32 hex digits of md5(password ‖ user), as servers store it: good where the server asks for MD5.
    Md5(Secret),
    /// Good where the server stores the same SCRAM secret.
    Scram(Arc<ScramKeys>),
}

impl Credential {
    /// Whether it proves anything now: a SCRAM secret does once a client has shown its key.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Password(_) | Self::Md5(_) => true,
            Self::Scram(keys) => keys.client_key().is_some(),
        }
    }
}

/// A SCRAM-SHA-256 secret, and the client key that belongs to it once somebody has proven to know the password. With
/// both, and without the password, one can log in wherever the same secret is stored (RFC 5802, section 3: the proof
/// is made of the client key, and the stored key and the server key are enough to check both sides).
pub struct ScramKeys {
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// Salt, as bytes.
    pub salt: Vec<u8>,
    /// SHA-256 of the client key.
    pub stored_key: [u8; 32],
    /// Key of the server's signature.
    pub server_key: [u8; 32],
    client_key: OnceLock<[u8; 32]>,
}

impl ScramKeys {
    /// A secret whose client key nobody has shown yet.
    pub fn new(iterations: u32, salt: Vec<u8>, stored_key: [u8; 32], server_key: [u8; 32]) -> Self {
        Self { iterations, salt, stored_key, server_key, client_key: OnceLock::new() }
    }

    /// Takes the client key, of which the caller knows that it belongs to the stored key. There is only one, so
    /// whoever shows it later changes nothing.
    pub fn learn(&self, client_key: &[u8; 32]) {
        self.client_key.get_or_init(|| *client_key);
    }

    /// The client key, if somebody has shown it.
    pub fn client_key(&self) -> Option<&[u8; 32]> {
        self.client_key.get()
    }
}

/// The same secret; what has been learned of it does not count.
impl PartialEq for ScramKeys {
    fn eq(&self, other: &Self) -> bool {
        let secret = |keys: &Self| (keys.iterations, keys.stored_key, keys.server_key);
        secret(self) == secret(other) && self.salt == other.salt
    }
}

impl Eq for ScramKeys {}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.client_key.get().is_some();
        f.debug_struct("ScramKeys").field("client_key_known", &known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_is_no_part_of_the_secret_and_is_not_shown() {
        let keys = || ScramKeys::new(4096, vec![1], [7; 32], [8; 32]);
        let (one, other) = (keys(), keys());
        one.learn(&[9; 32]);
        one.learn(&[6; 32]);
        assert_eq!((one.client_key(), other.client_key()), (Some(&[9; 32]), None));
        assert_eq!(one, other);
        assert_ne!(one, ScramKeys::new(4096, vec![2], [7; 32], [8; 32]));
        let shown = format!("{one:?} {:?}", Credential::Md5(Secret::new("md5abc")));
        assert_eq!(shown, "ScramKeys { client_key_known: true, .. } Md5(***)");
    }
}
