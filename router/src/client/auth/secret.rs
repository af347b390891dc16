//! What is stored of a password, in any of the forms Postgres stores it, and checks against it.
//!
//! A form is recognised as Postgres recognises it (`get_password_type` in src/backend/libpq/crypt.c): a text
//! that is not exactly an MD5 hash or a SCRAM secret is a plain password. The SCRAM arithmetic is that of
//! RFC 5802 section 3 with SHA-256 (RFC 7677). Exchanges with a client live in the sibling modules.

use std::borrow::Cow;
use std::fmt;
use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

/// Postgres's `scram_iterations` unless it is told otherwise.
pub const DEFAULT_ITERATIONS: u32 = 4096;

/// Bytes of salt in the secrets that Postgres and we make.
pub const SALT_LEN: usize = 16;

const SCRAM_PREFIX: &str = "SCRAM-SHA-256$";

/// A user's password as stored. `Debug` shows the form, never the content.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredSecret {
    /// The password itself.
    Plain(String),
    /// `md5` and these 32 lower-case hex digits, of md5(password ‖ user).
    Md5([u8; 32]),
    /// What a server needs for SCRAM-SHA-256; the password cannot be had from it.
    Scram(ScramSecret),
}

impl StoredSecret {
    /// Reads any form of `pg_authid.rolpassword`. What has the form of neither hash is plain text.
    pub fn parse(text: &str) -> Self {
        if let Some(hex) = parse_md5(text) {
            return Self::Md5(hex);
        }
        match ScramSecret::parse(text) {
            Some(scram) => Self::Scram(scram),
            None => Self::Plain(text.to_owned()),
        }
    }

    /// Whether `password`, sent in clear, is the user's. An empty one never is, as with Postgres.
    ///
    /// A SCRAM secret costs milliseconds of CPU here.
    pub fn verify_plain(&self, user: &str, password: &[u8]) -> bool {
        if password.is_empty() {
            return false;
        }
        match self {
            // The digests have one length, so the time taken does not tell the password's.
            Self::Plain(plain) => same(&Sha256::digest(plain), &Sha256::digest(password)),
            Self::Md5(hex) => same(hex, &md5_hex(&[password, user.as_bytes()])),
            Self::Scram(scram) => scram.client_key(password).is_some(),
        }
    }
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(***)",
            Self::Md5(_) => "Md5(***)",
            Self::Scram(_) => "Scram(***)",
        })
    }
}

fn parse_md5(text: &str) -> Option<[u8; 32]> {
    let hex: [u8; 32] = text.strip_prefix("md5")?.as_bytes().try_into().ok()?;
    // Postgres takes lower case alone; upper case would be somebody's odd plain password.
    hex.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).then_some(hex)
}

/// A SCRAM-SHA-256 secret: lets a server check a client without knowing the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    /// PBKDF2 rounds, at least 1.
    pub iterations: u32,
    /// Salt, as bytes.
    pub salt: Vec<u8>,
    /// SHA-256 of the client key.
    pub stored_key: [u8; 32],
    /// Key of the server's own signature.
    pub server_key: [u8; 32],
}

impl ScramSecret {
    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (parameters, keys) = text.strip_prefix(SCRAM_PREFIX)?.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        // Postgres reads a C int.
        let iterations = iterations.parse::<i32>().ok().filter(|&count| count > 0)?;
        Some(Self {
            iterations: iterations.unsigned_abs(),
            salt: BASE64.decode(salt).ok()?,
            stored_key: decode_key(stored_key)?,
            server_key: decode_key(server_key)?,
        })
    }

    /// Makes the secret of a password. Costs `iterations` × 2 hashes, milliseconds for the usual 4096: keep the
    /// result. A count of 0 is taken as 1.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(&saslprep(password), salt, iterations.max(1));
        Self {
            iterations: iterations.max(1),
            salt: salt.to_vec(),
            stored_key: Sha256::digest(hmac(&salted, b"Client Key")).into(),
            server_key: hmac(&salted, b"Server Key"),
        }
    }

    /// The client key that `password` gives, if it is the right password. Costs as much as
    /// [`ScramSecret::derive`].
    pub fn client_key(&self, password: &[u8]) -> Option<ClientKey> {
        let salted = salted_password(&saslprep(password), &self.salt, self.iterations);
        self.accept(hmac(&salted, b"Client Key"))
    }

    /// The key as a proven one, if this secret was made of it.
    pub(super) fn accept(&self, client_key: [u8; 32]) -> Option<ClientKey> {
        same(&Sha256::digest(client_key), &self.stored_key).then_some(ClientKey(client_key))
    }
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramSecret").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// A SCRAM client key: with it, and without the password, one can log in to any server that stores the same
/// secret (salt and iterations included). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientKey([u8; 32]);

impl ClientKey {
    /// The key itself, for the login to a server.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(***)")
    }
}

/// Per-process key that salts are made from, one per user name.
///
/// Unknown users and users with a plain password get their salts alike, and the same each time, so neither a
/// second try nor a reload tells an outsider which names exist (RFC 5802 section 9 asks for this care; Postgres:
/// `scram_mock_salt`).
pub struct SaltKey {
    key: [u8; 32],
    /// Rounds for the secrets that go with the salts.
    iterations: AtomicU32,
}

impl SaltKey {
    /// A fresh key; one per process.
    pub fn random() -> Self {
        Self::from_bytes(super::random())
    }

    /// A known key, for tests or for several processes behind one address.
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self { key, iterations: AtomicU32::new(DEFAULT_ITERATIONS) }
    }

    /// The user's salt.
    pub fn salt_of(&self, user: &str) -> [u8; SALT_LEN] {
        let digest = hmac(&self.key, user.as_bytes());
        std::array::from_fn(|at| digest[at])
    }

    /// Secrets of plain passwords are made with so many rounds from here on (`scram_iterations`).
    pub fn set_iterations(&self, iterations: u32) {
        self.iterations.store(iterations, Ordering::Relaxed);
    }

    /// Rounds for a secret that is made now. Unknown users show them too.
    pub fn iterations(&self) -> u32 {
        self.iterations.load(Ordering::Relaxed)
    }
}

/// A user's secret, with the SCRAM form of a plain password made once and kept.
#[derive(Debug)]
pub struct UserSecret {
    stored: StoredSecret,
    salt: [u8; SALT_LEN],
    iterations: u32,
    derived: OnceLock<ScramSecret>,
}

impl UserSecret {
    /// Wraps what is stored of `user`'s password. Cheap: nothing is derived yet.
    pub fn new(user: &str, stored: StoredSecret, salts: &SaltKey) -> Self {
        let (salt, iterations) = (salts.salt_of(user), salts.iterations());
        Self { stored, salt, iterations, derived: OnceLock::new() }
    }

    /// Whether a secret that is made now would be made with as many rounds.
    pub fn is_of(&self, salts: &SaltKey) -> bool {
        self.iterations == salts.iterations()
    }

    /// What is stored.
    pub fn stored(&self) -> &StoredSecret {
        &self.stored
    }

    /// The secret for a SCRAM exchange; `None` for an MD5 hash, which cannot do SCRAM, and for an empty password,
    /// which lets nobody in.
    ///
    /// The first call for a plain password costs milliseconds of CPU. Called when the configuration is loaded,
    /// it spares the first login that.
    pub fn scram(&self) -> Option<&ScramSecret> {
        match &self.stored {
            StoredSecret::Scram(scram) => Some(scram),
            StoredSecret::Plain(plain) if !plain.is_empty() => Some(
                self.derived
                    .get_or_init(|| ScramSecret::derive(plain.as_bytes(), &self.salt, self.iterations)),
            ),
            StoredSecret::Plain(_) | StoredSecret::Md5(_) => None,
        }
    }
}

/// The password as SCRAM hashes it. Like Postgres (`pg_saslprep`), what is not UTF-8, or has characters that
/// SASLprep prohibits, or would become empty, is taken as the bytes it is.
fn saslprep(password: &[u8]) -> Cow<'_, [u8]> {
    match str::from_utf8(password).map(stringprep::saslprep) {
        Ok(Ok(prepared)) if !prepared.is_empty() => Cow::Owned(prepared.into_owned().into_bytes()),
        _ => Cow::Borrowed(password),
    }
}

/// `Hi` of RFC 5802: PBKDF2 with one block of output.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    // Keyed once and cloned: halves the hashing of each round.
    let keyed = keyed(password);
    let mut block: [u8; 32] =
        keyed.clone().chain_update(salt).chain_update(1u32.to_be_bytes()).finalize().into_bytes().into();
    let mut result = block;
    for _ in 1..iterations {
        block = keyed.clone().chain_update(block).finalize().into_bytes().into();
        result = xor(&result, &block);
    }
    result
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

pub(super) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    keyed(key).chain_update(message).finalize().into_bytes().into()
}

pub(super) fn xor(one: &[u8; 32], other: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|at| one[at] ^ other[at])
}

/// Compares in a time that depends on the lengths alone.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    one.len() == other.len() && difference == 0
}

/// Lower-case hex of the MD5 of the parts in a row.
pub(super) fn md5_hex(parts: &[&[u8]]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = parts.iter().fold(Md5::new(), |hash, part| hash.chain_update(part)).finalize();
    std::array::from_fn(|at| DIGITS[usize::from(hash[at / 2] >> (4 * (1 - at % 2)) & 0xf)])
}

pub(super) fn decode_key(text: &str) -> Option<[u8; 32]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::password;
    use proptest::prelude::*;

    fn scram_text(password: &str) -> String {
        password::scram_sha_256(password.as_bytes())
    }

    #[test]
    fn each_stored_form_is_recognised() {
        let hash = password::md5(b"pencil", "user");
        assert!(matches!(StoredSecret::parse(&hash), StoredSecret::Md5(hex) if hash.as_bytes()[3..] == hex));
        assert!(matches!(StoredSecret::parse(&scram_text("pencil")), StoredSecret::Scram(_)));
        assert_eq!(StoredSecret::parse("pencil"), StoredSecret::Plain("pencil".into()));
    }

    #[test]
    fn what_only_looks_like_a_hash_is_a_plain_password() {
        let key = BASE64.encode([7; 32]);
        let short = BASE64.encode([7; 31]);
        for text in [
            "md5".to_owned(),
            format!("md5{}", "A".repeat(32)),
            format!("md5{}", "a".repeat(31)),
            "SCRAM-SHA-256$".to_owned(),
            format!("SCRAM-SHA-256$0:c2FsdA==${key}:{key}"),
            format!("SCRAM-SHA-256$-1:c2FsdA==${key}:{key}"),
            format!("SCRAM-SHA-256$99999999999:c2FsdA==${key}:{key}"),
            format!("SCRAM-SHA-256$4096:not base64${key}:{key}"),
            format!("SCRAM-SHA-256$4096:c2FsdA==${short}:{key}"),
            format!("SCRAM-SHA-256$4096:c2FsdA==${key}:{key}x"),
        ] {
            assert_eq!(StoredSecret::parse(&text), StoredSecret::Plain(text.clone()), "{text}");
        }
    }

    #[test]
    fn every_form_accepts_its_password_in_clear_and_no_other() {
        for text in ["pencil", &password::md5(b"pencil", "user"), &scram_text("pencil")] {
            let secret = StoredSecret::parse(text);
            assert!(secret.verify_plain("user", b"pencil"), "{text}");
            assert!(!secret.verify_plain("user", b"pencil2"), "{text}");
            assert!(!secret.verify_plain("user", b"\xff"), "{text}");
            assert!(!secret.verify_plain("user", text.repeat(2).as_bytes()), "{text}");
        }
        assert!(!StoredSecret::parse(&password::md5(b"pencil", "user")).verify_plain("other", b"pencil"));
    }

    #[test]
    fn an_empty_password_lets_nobody_in() {
        for text in ["", &password::md5(b"", "user"), &scram_text("")] {
            assert!(!StoredSecret::parse(text).verify_plain("user", b""), "{text}");
        }
        assert!(
            UserSecret::new("user", StoredSecret::Plain(String::new()), &SaltKey::random()).scram().is_none()
        );
    }

    #[test]
    fn a_derived_secret_is_the_one_postgres_would_store() {
        // Soft hyphen and full-width letters go through SASLprep; the others are prohibited, or no longer there.
        for password in ["pencil", "I\u{ad}X", "\u{ff50}\u{ff57}", "tab\there", "\u{fff9}x"] {
            let stored = ScramSecret::parse(&scram_text(password)).unwrap();
            assert_eq!(ScramSecret::derive(password.as_bytes(), &stored.salt, 4096), stored, "{password:?}");
        }
        assert_eq!(&*saslprep("\u{ad}".as_bytes()), "\u{ad}".as_bytes(), "would be empty");
    }

    #[test]
    fn a_plain_password_is_derived_once() {
        let secret = UserSecret::new("user", StoredSecret::parse("pencil"), &SaltKey::from_bytes([1; 32]));
        assert!(std::ptr::eq(secret.scram().unwrap(), secret.scram().unwrap()));
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let secret = UserSecret::new("user", StoredSecret::parse("pencil"), &SaltKey::from_bytes([1; 32]));
        let key = secret.scram().unwrap().client_key(b"pencil");
        let shown = format!("{secret:?} {key:?} {:?}", StoredSecret::parse("pencil"));
        assert!(!shown.contains("pencil") && shown.contains("ClientKey(***)"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_some_secret(text in "(SCRAM-SHA-256\\$|md5)?[0-9a-f:$=]{0,40}.{0,40}") {
            if let StoredSecret::Plain(plain) = StoredSecret::parse(&text) {
                prop_assert_eq!(plain, text);
            }
        }

        #[test]
        fn same_means_equal(one in any::<[u8; 3]>(), other in any::<Vec<u8>>()) {
            prop_assert_eq!(same(&one, &other), one[..] == other[..]);
            prop_assert!(same(&other, &other));
        }
    }
}
