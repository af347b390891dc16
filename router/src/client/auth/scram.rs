//! The server's half of one SCRAM-SHA-256 exchange, bound to the TLS channel (SCRAM-SHA-256-PLUS) or not.
//!
//! Sources: RFC 5802 (messages and arithmetic), RFC 7677 (SHA-256), RFC 5929 section 4 (`tls-server-end-point`), PostgreSQL
//! documentation, "SASL Authentication" (the user name comes from the startup packet; the one in the message is ignored), and
//! src/backend/libpq/auth-scram.c for what is refused. Each state is a type and each step consumes it:
//! [`ScramServer`] → [`ScramAwaitFinal`] → done. The messages here are bare; [`super::Request`] frames them.
//!
//! A doomed exchange ([`ScramServer::mock`]) looks like a real one until its end.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::secret::{ClientKey, SaltKey, ScramSecret, decode_key, hmac, xor};

/// The mechanism's name in SASL.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// Its name where the exchange is bound to the channel.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The one type of channel binding that PostgreSQL knows, as clients name it.
const END_POINT_FLAG: &str = "p=tls-server-end-point";

/// Bytes a SCRAM message may have (Postgres: `PG_MAX_SASL_MESSAGE_LENGTH`).
pub const MAX_MESSAGE: usize = 1024;

/// Why an exchange ended without success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The client broke the protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// What the client says of channel binding and what we know do not agree: somebody may be in between.
    #[error("{0}")]
    Binding(&'static str),
    /// The client does not know the password, or nothing it could say would be right.
    #[error("the client's proof is wrong")]
    WrongProof,
}

/// What there is to bind the exchange to, by the mechanism that the client has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Nothing.
    Bare,
    /// Something that was offered and not chosen.
    Declined,
    /// This hash of our certificate.
    EndPoint(Arc<[u8]>),
}

/// An exchange that waits for the client's first message.
#[derive(Debug)]
pub struct ScramServer {
    secret: ScramSecret,
    nonce: String,
    doomed: bool,
}

impl ScramServer {
    /// An exchange against `secret`. `nonce` is our half: random, printable, no commas, never used before.
    pub fn start(secret: ScramSecret, nonce: String) -> Self {
        Self { secret, nonce, doomed: false }
    }

    /// An exchange that fails at its end, for a user that is unknown or has no SCRAM secret. Its salt is the
    /// user's own, so it looks the same at each try.
    pub fn mock(user: &str, salts: &SaltKey, nonce: String) -> Self {
        let salt = salts.salt_of(user).to_vec();
        let secret =
            ScramSecret { iterations: salts.iterations(), salt, stored_key: [0; 32], server_key: [0; 32] };
        Self { secret, nonce, doomed: true }
    }

    /// Takes client-first-message; returns server-first-message.
    pub fn client_first(
        self,
        message: &[u8],
        channel: Channel,
    ) -> Result<(String, ScramAwaitFinal), ScramError> {
        let text = message_text(message)?;
        let (binding, bare) = gs2_header(text, channel)?;
        let mut rest = bare;
        if rest.starts_with("m=") {
            return Err(ScramError::Protocol("client requires an unsupported SCRAM extension"));
        }
        attribute(&mut rest, 'n')?;
        let client_nonce = attribute(&mut rest, 'r')?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Protocol("malformed SCRAM message (nonce is empty or not printable)"));
        }
        check_extensions(rest)?;

        let Self { secret, nonce, doomed } = self;
        let nonce = format!("{client_nonce}{nonce}");
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&secret.salt), secret.iterations);
        let next =
            ScramAwaitFinal { secret, doomed, binding, transcript: format!("{bare},{server_first}"), nonce };
        Ok((server_first, next))
    }
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub struct ScramAwaitFinal {
    secret: ScramSecret,
    doomed: bool,
    binding: ChannelBinding,
    /// AuthMessage so far: client-first-message-bare "," server-first-message.
    transcript: String,
    /// Both halves.
    nonce: String,
}

impl ScramAwaitFinal {
    /// Takes client-final-message; returns server-final-message and the key that the client proved to hold.
    ///
    /// Errors: [`ScramError::WrongProof`] alone says that the password was wrong.
    pub fn client_final(self, message: &[u8]) -> Result<(String, ClientKey), ScramError> {
        let text = message_text(message)?;
        let (without_proof, proof) =
            text.split_once(",p=").ok_or(ScramError::Protocol("malformed SCRAM message (no proof)"))?;
        let mut rest = without_proof;
        if attribute(&mut rest, 'c')? != self.binding.encoded() {
            return Err(match self.binding {
                ChannelBinding::EndPoint(_) => ScramError::Binding("SCRAM channel binding check failed"),
                _ => ScramError::Protocol("unexpected SCRAM channel-binding attribute"),
            });
        }
        if attribute(&mut rest, 'r')? != self.nonce {
            return Err(ScramError::Protocol("invalid SCRAM response (nonce does not match)"));
        }
        check_extensions(rest)?;
        let proof = decode_key(proof).ok_or(ScramError::Protocol("malformed SCRAM message (bad proof)"))?;

        let auth_message = format!("{},{without_proof}", self.transcript);
        let client_key = self.prove(&proof, auth_message.as_bytes()).ok_or(ScramError::WrongProof)?;
        let signature = hmac(&self.secret.server_key, auth_message.as_bytes());
        Ok((format!("v={}", BASE64.encode(signature)), client_key))
    }

    fn prove(&self, proof: &[u8; 32], auth_message: &[u8]) -> Option<ClientKey> {
        let signature = hmac(&self.secret.stored_key, auth_message);
        // Doom is looked at last, so that it takes no less time.
        self.secret.accept(xor(proof, &signature)).filter(|_| !self.doomed)
    }
}

/// What the client said of channel binding.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ChannelBinding {
    /// `n`: the client can't.
    Unsupported,
    /// `y`: the client can, and thinks that we can't, which is so.
    NotOffered,
    /// `p`: bound to this hash of our certificate.
    EndPoint(Arc<[u8]>),
}

impl ChannelBinding {
    /// The gs2 header and the binding's data in base64, as the client must repeat it under its proof.
    fn encoded(&self) -> String {
        match self {
            Self::Unsupported => BASE64.encode("n,,"),
            Self::NotOffered => BASE64.encode("y,,"),
            Self::EndPoint(hash) => BASE64.encode([END_POINT_FLAG.as_bytes(), b",,", hash].concat()),
        }
    }
}

/// Whether the client's flag and its choice of mechanism agree (RFC 5802, section 6).
fn binding(flag: &str, channel: Channel) -> Result<ChannelBinding, ScramError> {
    let malformed = |text| Err(ScramError::Protocol(text));
    match (flag, channel) {
        ("n" | "y", Channel::EndPoint(_)) => {
            malformed("malformed SCRAM message (SCRAM-SHA-256-PLUS without channel binding data)")
        }
        ("n", _) => Ok(ChannelBinding::Unsupported),
        ("y", Channel::Bare) => Ok(ChannelBinding::NotOffered),
        // We did offer it: on its way to the client the offer was taken out.
        ("y", Channel::Declined) => Err(ScramError::Binding("SCRAM channel binding negotiation error")),
        (END_POINT_FLAG, Channel::EndPoint(hash)) => Ok(ChannelBinding::EndPoint(hash)),
        (flag, Channel::EndPoint(_)) if flag.starts_with("p=") => {
            malformed("unsupported SCRAM channel-binding type")
        }
        (flag, _) if flag.starts_with("p=") => {
            malformed("malformed SCRAM message (channel binding data without SCRAM-SHA-256-PLUS)")
        }
        _ => malformed("malformed SCRAM message (unexpected channel-binding flag)"),
    }
}

/// Takes the gs2 header off client-first-message; the remainder is client-first-message-bare.
fn gs2_header(text: &str, channel: Channel) -> Result<(ChannelBinding, &str), ScramError> {
    let (flag, rest) = text.split_once(',').ok_or(ScramError::Protocol("malformed SCRAM message"))?;
    let binding = binding(flag, channel)?;
    match rest.split_once(',') {
        Some(("", bare)) => Ok((binding, bare)),
        Some((identity, _)) if identity.starts_with("a=") => {
            Err(ScramError::Protocol("client uses authorization identity, but it is not supported"))
        }
        _ => Err(ScramError::Protocol("malformed SCRAM message")),
    }
}

fn message_text(message: &[u8]) -> Result<&str, ScramError> {
    if message.is_empty() || message.len() > MAX_MESSAGE {
        return Err(ScramError::Protocol("malformed SCRAM message (bad length)"));
    }
    if message.contains(&0) {
        return Err(ScramError::Protocol("malformed SCRAM message (length does not match)"));
    }
    str::from_utf8(message).map_err(|_| ScramError::Protocol("malformed SCRAM message (not UTF-8)"))
}

/// Takes `name=value` off the front, and the comma after it.
fn attribute<'a>(rest: &mut &'a str, name: char) -> Result<&'a str, ScramError> {
    let (first, after) = rest.split_once(',').unwrap_or((rest, ""));
    *rest = after;
    first
        .strip_prefix(name)
        .and_then(|value| value.strip_prefix('='))
        .ok_or(ScramError::Protocol("malformed SCRAM message (expected another attribute)"))
}

/// Extensions are ignored, as RFC 5802 asks, but must look like attributes.
fn check_extensions(mut rest: &str) -> Result<(), ScramError> {
    while let Some(name) = rest.chars().next() {
        if !name.is_ascii_alphabetic() {
            return Err(ScramError::Protocol("malformed SCRAM message (invalid attribute)"));
        }
        attribute(&mut rest, name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
