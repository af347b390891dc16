//! The client's half of a SCRAM-SHA-256 login to a server: by password, or by keys where the password is not known.
//!
//! Sources: RFC 5802 and RFC 7677; PostgreSQL documentation, "SASL Authentication" (the user's name in the exchange is
//! empty: it came in the startup packet). Pure: messages in, messages out. Each step consumes the state before it.

use crate::credential::{Credential, ScramKeys};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use sha2::Sha256;
use std::io;
use std::sync::Arc;

/// The most PBKDF2 rounds that are worked out for a server: each costs our time, and the server says how many. PostgreSQL's
/// own secrets have 4096 unless `scram_iterations` says otherwise.
const MAX_ROUNDS: u32 = 1_000_000;

/// What the exchange is bound to (RFC 5802, section 6).
#[derive(Clone, Debug)]
pub(crate) enum Binding {
    /// Nothing, and nothing it could be.
    Unsupported,
    /// Nothing, since the server does not offer it; one that does, and was not heard, notices.
    NotOffered,
    /// The server's certificate, by RFC 5929's `tls-server-end-point`.
    EndPoint(Arc<[u8]>),
}

impl Binding {
    fn gs2_header(&self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    /// As the final message repeats it.
    fn encoded(&self) -> String {
        let data: &[u8] = if let Self::EndPoint(hash) = self { hash } else { &[] };
        BASE64.encode([self.gs2_header().as_bytes(), data].concat())
    }

    fn of_password(&self) -> ChannelBinding {
        match self {
            Self::Unsupported => ChannelBinding::unsupported(),
            Self::NotOffered => ChannelBinding::unrequested(),
            Self::EndPoint(hash) => ChannelBinding::tls_server_end_point(hash.to_vec()),
        }
    }
}

/// Why an exchange can't go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScramError {
    /// Shardway has nothing, or not the right thing, to prove itself with.
    #[error("{0}")]
    Credential(&'static str),
    /// The server asks for more arithmetic than is done for anybody.
    #[error("the server's SCRAM secret for this user takes more than 1000000 rounds")]
    TooManyRounds,
    /// What it has proves nothing before a client has shown its key.
    #[error("of this user only a SCRAM secret is known, and nobody has logged in with its password yet")]
    Unproven,
    /// The server said something that it must not, or is not who it should be.
    #[error("{0}")]
    Server(io::Error),
}

impl From<io::Error> for ScramError {
    fn from(error: io::Error) -> Self {
        Self::Server(error)
    }
}

fn broken(what: &'static str) -> ScramError {
    ScramError::Server(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// An exchange under way.
pub(crate) enum Exchange {
    /// By a password.
    Password(ScramSha256),
    /// By keys, before the server's challenge.
    Greeted(Greeted),
    /// By keys, before the server's own proof.
    Proven(Proven),
}

impl Exchange {
    /// Begins one; gives the first message too. `nonce` is for an exchange by keys: random, printable, no commas.
    pub(crate) fn start(
        credential: &Credential,
        nonce: String,
        binding: Binding,
    ) -> Result<(Self, Vec<u8>), ScramError> {
        match credential {
            Credential::Password(password) => {
                let scram = ScramSha256::new(password.expose().as_bytes(), binding.of_password());
                let message = scram.message().to_vec();
                Ok((Self::Password(scram), message))
            }
            Credential::Md5(_) => Err(ScramError::Credential(
                "the server asks for SCRAM, and only an MD5 hash of the password is known",
            )),
            Credential::Scram(keys) => {
                let (greeted, message) = Greeted::start(keys.clone(), nonce, binding)?;
                Ok((Self::Greeted(greeted), message))
            }
        }
    }

    /// Takes the server's challenge; gives the answer.
    pub(crate) fn challenged(self, challenge: &[u8]) -> Result<(Self, Vec<u8>), ScramError> {
        match self {
            Self::Password(mut scram) => {
                if rounds(challenge).is_some_and(|rounds| rounds > MAX_ROUNDS) {
                    return Err(ScramError::TooManyRounds);
                }
                scram.update(challenge)?;
                let message = scram.message().to_vec();
                Ok((Self::Password(scram), message))
            }
            Self::Greeted(greeted) => {
                let (proven, message) = greeted.challenged(challenge)?;
                Ok((Self::Proven(proven), message))
            }
            Self::Proven(_) => Err(broken("a second SCRAM challenge")),
        }
    }

    /// Takes the server's proof that it knows the secret too.
    pub(crate) fn finished(self, last: &[u8]) -> Result<(), ScramError> {
        match self {
            Self::Password(mut scram) => Ok(scram.finish(last)?),
            Self::Greeted(_) => Err(broken("a SCRAM exchange that ends before it began")),
            Self::Proven(proven) => proven.finished(last),
        }
    }
}

/// An exchange by keys, before the server's challenge.
pub(crate) struct Greeted {
    keys: Arc<ScramKeys>,
    client_key: [u8; 32],
    nonce: String,
    binding: Binding,
}

impl Greeted {
    fn start(keys: Arc<ScramKeys>, nonce: String, binding: Binding) -> Result<(Self, Vec<u8>), ScramError> {
        let Some(client_key) = keys.client_key().copied() else {
            return Err(ScramError::Unproven);
        };
        let message = format!("{}n=,r={nonce}", binding.gs2_header()).into_bytes();
        Ok((Self { keys, client_key, nonce, binding }, message))
    }

    fn challenged(self, challenge: &[u8]) -> Result<(Proven, Vec<u8>), ScramError> {
        let malformed = || broken("malformed SCRAM challenge");
        let challenge = str::from_utf8(challenge).map_err(|_| malformed())?;
        let (nonce, salt, iterations) = parts(challenge).ok_or_else(malformed)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(broken("the server's SCRAM nonce is not ours and more"));
        }
        // Of another secret the server would refuse the proof as a wrong password, which would tell nobody why.
        if salt != self.keys.salt || iterations != self.keys.iterations {
            return Err(ScramError::Credential(
                "the server's SCRAM secret for this user is not the one that is configured here",
            ));
        }
        let unproven = format!("c={},r={nonce}", self.binding.encoded());
        let exchange = format!("n=,r={},{challenge},{unproven}", self.nonce);
        let signature = hmac(&self.keys.stored_key, exchange.as_bytes());
        let proof: [u8; 32] = std::array::from_fn(|at| self.client_key[at] ^ signature[at]);
        let message = format!("{unproven},p={}", BASE64.encode(proof)).into_bytes();
        Ok((Proven { keys: self.keys, exchange }, message))
    }
}

/// Nonce, salt and rounds of a challenge.
fn parts(challenge: &str) -> Option<(&str, Vec<u8>, u32)> {
    let (nonce, rest) = challenge.strip_prefix("r=")?.split_once(",s=")?;
    let (salt, rest) = rest.split_once(",i=")?;
    // What may follow are extensions that nobody has defined.
    let iterations = rest.split(',').next()?;
    Some((nonce, BASE64.decode(salt).ok()?, iterations.parse().ok()?))
}

/// The rounds that a challenge asks for, as far as it can be read: what can't be is refused by who reads all of it.
fn rounds(challenge: &[u8]) -> Option<u32> {
    let rounds = str::from_utf8(challenge).ok()?.split(',').find_map(|part| part.strip_prefix("i="))?;
    // What is no number is none to whoever works with it; one that is too large for its type is too large here.
    let digits = rounds.bytes().all(|byte| byte.is_ascii_digit()) && !rounds.is_empty();
    digits.then(|| rounds.parse().unwrap_or(u32::MAX))
}

/// An exchange by keys, before the server's own proof.
pub(crate) struct Proven {
    keys: Arc<ScramKeys>,
    exchange: String,
}

impl Proven {
    fn finished(self, last: &[u8]) -> Result<(), ScramError> {
        let text = str::from_utf8(last).map_err(|_| broken("malformed SCRAM message"))?;
        if text.starts_with("e=") {
            return Err(broken("the server ended the SCRAM exchange"));
        }
        let proof = text.strip_prefix("v=").and_then(|rest| rest.split(',').next());
        let proof = proof.and_then(|proof| BASE64.decode(proof).ok()).unwrap_or_default();
        let signature =
            Hmac::<Sha256>::new_from_slice(&self.keys.server_key).expect("HMAC takes a key of any length");
        let verified = signature.chain_update(&self.exchange).verify_slice(&proof);
        verified.map_err(|_| broken("the server does not know the user's SCRAM secret"))
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    hmac.chain_update(message).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
