//! Password authentication of clients, with us as the server: which exchange fits the configured method and the
//! user's stored secret, and the exchange itself, one message body at a time.
//!
//! Nothing here does I/O or waits: a shell sends each [`Request`] as the body of an `R` message, reads one `p`
//! message of at most [`Authenticator::max_body`] bytes and hands its body to [`Authenticator::step`], until
//! [`Step::Done`] or an error. It sends AuthenticationOk or the ErrorResponse itself. Randomness comes in as
//! values ([`Nonces`], [`SaltKey`]), drawn in one place.
//!
//! Sources: PostgreSQL documentation, "Message Flow", "Message Formats" and "SASL Authentication"; RFC 5802 and
//! RFC 7677 in [`scram`]. Which method a connection has to use says [`hba`]. Not here: TLS, whether a
//! certificate is the right one, and whether the user may do anything at all.

pub mod hba;
pub mod md5;
pub mod scram;
pub mod secret;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::RngCore as _;

use self::md5::Md5Challenge;
use self::scram::{Channel, ScramAwaitFinal, ScramError, ScramServer};
pub use self::secret::{ClientKey, SaltKey, ScramSecret, StoredSecret, UserSecret};

/// Bytes a clear-text password message may have (Postgres: `PG_MAX_AUTH_TOKEN_LENGTH`; tokens are long).
const MAX_PASSWORD_BODY: usize = 65_535;

/// Postgres's words, and PgBouncer's.
const UNKNOWN_MECHANISM: &str = "client selected an invalid SASL authentication mechanism";

const MECHANISMS: &[&str] = &[scram::MECHANISM];

/// Where there is a channel to bind to.
const BOUND_MECHANISMS: &[&str] = &[scram::MECHANISM_PLUS, scram::MECHANISM];

/// How clients prove who they are by a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// No proof, even of names that do not exist.
    Trust,
    /// The password in clear; fits every stored secret.
    Password,
    /// MD5 challenge, or SCRAM for a user whose stored secret is SCRAM's, as in Postgres.
    Md5,
    /// SCRAM-SHA-256; a user whose stored secret is an MD5 hash fails.
    Scram,
}

/// Why a login failed. For the log; the client must not learn it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user is unknown or has no password.
    #[error("the user is unknown or has no password")]
    NoSecret,
    /// The client does not know the password.
    #[error("the password is wrong")]
    WrongPassword,
    /// The stored password is empty, or the client sent an empty one.
    #[error("the password is empty")]
    EmptyPassword,
    /// SCRAM is asked for and the stored secret is an MD5 hash.
    #[error("the stored secret is an MD5 hash, which cannot be used for SCRAM")]
    NoScramSecret,
    /// MD5 is asked for and the stored secret is SCRAM's.
    #[error("the stored secret is for SCRAM and cannot be used for MD5")]
    NoMd5Secret,
}

/// Why authentication ended without success. `Display` is what the client may be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not proven; one text for every reason.
    #[error("password authentication failed for user \"{user}\"")]
    Failed {
        /// Whom the client claimed to be.
        user: String,
        /// Why, for the log.
        reason: Refusal,
    },
    /// The client broke the protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// The client's TLS channel does not seem to be ours.
    #[error("{0}")]
    Binding(&'static str),
}

impl AuthError {
    /// Code for the ErrorResponse.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "28P01",
            Self::Protocol(_) => "08P01",
            Self::Binding(_) => "28000",
        }
    }

    /// What PgBouncer says, where that is something else, of the answer to `request`.
    pub fn poolers(&self, request: &Request) -> Option<&'static str> {
        match (self, request) {
            (Self::Protocol(text), _) if *text == UNKNOWN_MECHANISM => None,
            (_, Request::Sasl { .. } | Request::SaslContinue(_)) => Some("SASL authentication failed"),
            (Self::Failed { reason: Refusal::EmptyPassword, .. }, Request::Cleartext) => {
                Some("empty password returned by client")
            }
            (Self::Failed { .. }, _) => Some("password authentication failed"),
            (Self::Protocol(_) | Self::Binding(_), _) => None,
        }
    }
}

/// What one login needs of randomness.
#[derive(Debug)]
pub struct Nonces {
    /// Salt of an MD5 challenge.
    pub md5_salt: [u8; 4],
    /// Our half of the SCRAM nonce: printable, no commas.
    pub scram: String,
}

impl Nonces {
    /// Fresh ones.
    pub fn random() -> Self {
        // 18 bytes, as in Postgres: whole base64 groups.
        Self { md5_salt: random(), scram: BASE64.encode(random::<18>()) }
    }
}

/// The one place that draws randomness; the thread's generator is cryptographically secure.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// What the client is asked or told: an `R` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// AuthenticationCleartextPassword.
    Cleartext,
    /// AuthenticationMD5Password.
    Md5 {
        /// What to hash the answer with.
        salt: [u8; 4],
    },
    /// AuthenticationSASL.
    Sasl {
        /// Mechanisms on offer, the preferred one first.
        mechanisms: &'static [&'static str],
    },
    /// AuthenticationSASLContinue.
    SaslContinue(String),
    /// AuthenticationSASLFinal; the client answers nothing.
    SaslFinal(String),
}

impl Request {
    /// The body of the `R` message, without tag and length.
    pub fn body(&self) -> Vec<u8> {
        match self {
            Self::Cleartext => code_and(3, b""),
            Self::Md5 { salt } => code_and(5, salt),
            Self::Sasl { mechanisms } => {
                let names: String = mechanisms.iter().flat_map(|name| [*name, "\0"]).collect();
                code_and(10, format!("{names}\0").as_bytes())
            }
            Self::SaslContinue(data) => code_and(11, data.as_bytes()),
            Self::SaslFinal(data) => code_and(12, data.as_bytes()),
        }
    }
}

fn code_and(code: i32, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), data].concat()
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Send the request and pass the client's answer on.
    Continue(Authenticator, Request),
    /// The client is who it claims to be.
    Done {
        /// What logs in to servers that store the same SCRAM secret; there if that is how this user's is stored.
        client_key: Option<ClientKey>,
        /// To be sent before AuthenticationOk.
        final_message: Option<Request>,
    },
}

/// One client's login, waiting for the client's answer.
#[derive(Debug)]
pub struct Authenticator {
    login: Login,
    state: State,
}

/// What stays the same from message to message.
#[derive(Debug)]
struct Login {
    user: String,
    secret: Option<Arc<UserSecret>>,
}

#[derive(Debug)]
enum State {
    Cleartext,
    Md5(Md5Challenge),
    /// The client is to choose a mechanism, and may send its first message with that.
    SaslInitial(ScramServer, Option<Arc<[u8]>>),
    ScramFirst(ScramServer, Channel),
    ScramFinal(ScramAwaitFinal),
}

impl Authenticator {
    /// Begins the login of `user`, whose name came in the startup packet. `secret` is `None` for a user that is
    /// unknown or has no password: that login takes the usual course and fails at its end. `end_point` is what SCRAM may
    /// bind to, where there is TLS.
    ///
    /// May cost what [`UserSecret::scram`] costs.
    pub fn start(
        method: Method,
        user: &str,
        secret: Option<Arc<UserSecret>>,
        salts: &SaltKey,
        nonces: Nonces,
        end_point: Option<Arc<[u8]>>,
    ) -> Step {
        let stored = secret.as_deref().map(UserSecret::stored);
        let (state, request) = match (method, stored) {
            (Method::Trust, _) => return Step::Done { client_key: None, final_message: None },
            (Method::Password, _) => (State::Cleartext, Request::Cleartext),
            (Method::Scram, _) | (Method::Md5, Some(StoredSecret::Scram(_))) => {
                let scram = match secret.as_deref().and_then(UserSecret::scram) {
                    Some(scram) => ScramServer::start(scram.clone(), nonces.scram),
                    None => ScramServer::mock(user, salts, nonces.scram),
                };
                let mechanisms = if end_point.is_some() { BOUND_MECHANISMS } else { MECHANISMS };
                (State::SaslInitial(scram, end_point), Request::Sasl { mechanisms })
            }
            (Method::Md5, _) => {
                let challenge = Md5Challenge::new(nonces.md5_salt);
                let salt = challenge.salt();
                (State::Md5(challenge), Request::Md5 { salt })
            }
        };
        Login { user: user.to_owned(), secret }.then(state, request)
    }

    /// Bytes the answer's body may have; to be checked before room is made for it.
    pub fn max_body(&self) -> usize {
        match self.state {
            State::Cleartext => MAX_PASSWORD_BODY,
            _ => scram::MAX_MESSAGE,
        }
    }

    /// Takes the body of the client's `p` message.
    ///
    /// With method [`Method::Password`] a stored SCRAM secret costs milliseconds of CPU here.
    pub fn step(self, body: &[u8]) -> Result<Step, AuthError> {
        if body.len() > self.max_body() {
            return Err(AuthError::Protocol("authentication message is too long"));
        }
        let Self { login, state } = self;
        match state {
            State::Cleartext => login.cleartext(password(body)?),
            State::Md5(challenge) => login.md5(challenge, password(body)?),
            State::SaslInitial(server, end_point) => match sasl_initial(body, end_point)? {
                (channel, Some(message)) => login.scram_first(server, channel, message),
                // The client wants an empty challenge before it speaks.
                (channel, None) => {
                    let empty = Request::SaslContinue(String::new());
                    Ok(login.then(State::ScramFirst(server, channel), empty))
                }
            },
            State::ScramFirst(server, channel) => login.scram_first(server, channel, body),
            State::ScramFinal(server) => login.scram_final(server, body),
        }
    }
}

impl Login {
    fn cleartext(self, password: &[u8]) -> Result<Step, AuthError> {
        if password.is_empty() {
            return self.failed(Refusal::EmptyPassword);
        }
        let client_key = match self.stored() {
            None => return self.failed(Refusal::NoSecret),
            Some(StoredSecret::Scram(scram)) => match scram.client_key(password) {
                None => return self.failed(Refusal::WrongPassword),
                key => key,
            },
            Some(stored) if stored.verify_plain(&self.user, password) => None,
            Some(_) => return self.failed(Refusal::WrongPassword),
        };
        Ok(Step::Done { client_key, final_message: None })
    }

    fn md5(self, challenge: Md5Challenge, response: &[u8]) -> Result<Step, AuthError> {
        let Some(stored) = self.stored() else {
            return self.failed(Refusal::NoSecret);
        };
        match challenge.verify(&self.user, stored, response) {
            Ok(()) => Ok(Step::Done { client_key: None, final_message: None }),
            Err(refusal) => self.failed(refusal),
        }
    }

    fn scram_first(self, server: ScramServer, channel: Channel, message: &[u8]) -> Result<Step, AuthError> {
        match server.client_first(message, channel) {
            Ok((text, next)) => Ok(self.then(State::ScramFinal(next), Request::SaslContinue(text))),
            Err(error) => self.scram_failed(error),
        }
    }

    fn scram_final(self, server: ScramAwaitFinal, message: &[u8]) -> Result<Step, AuthError> {
        match server.client_final(message) {
            Ok((text, key)) => {
                // A key of a secret that we derived ourselves opens no server.
                let client_key = matches!(self.stored(), Some(StoredSecret::Scram(_))).then_some(key);
                Ok(Step::Done { client_key, final_message: Some(Request::SaslFinal(text)) })
            }
            Err(error) => self.scram_failed(error),
        }
    }

    fn scram_failed(self, error: ScramError) -> Result<Step, AuthError> {
        match error {
            ScramError::Protocol(text) => return Err(AuthError::Protocol(text)),
            ScramError::Binding(text) => return Err(AuthError::Binding(text)),
            ScramError::WrongProof => {}
        }
        let reason = match self.stored() {
            None => Refusal::NoSecret,
            Some(StoredSecret::Md5(_)) => Refusal::NoScramSecret,
            Some(StoredSecret::Plain(plain)) if plain.is_empty() => Refusal::EmptyPassword,
            Some(_) => Refusal::WrongPassword,
        };
        self.failed(reason)
    }

    fn stored(&self) -> Option<&StoredSecret> {
        self.secret.as_deref().map(UserSecret::stored)
    }

    fn then(self, state: State, request: Request) -> Step {
        Step::Continue(Authenticator { login: self, state }, request)
    }

    fn failed(self, reason: Refusal) -> Result<Step, AuthError> {
        Err(AuthError::Failed { user: self.user, reason })
    }
}

/// PasswordMessage: one string that ends where the body ends.
fn password(body: &[u8]) -> Result<&[u8], AuthError> {
    match body.split_last() {
        Some((0, text)) if !text.contains(&0) => Ok(text),
        _ => Err(AuthError::Protocol("invalid password packet size")),
    }
}

/// SASLInitialResponse: the mechanism's name, then a counted first message; a count of -1 means that there is none.
fn sasl_initial(body: &[u8], end_point: Option<Arc<[u8]>>) -> Result<(Channel, Option<&[u8]>), AuthError> {
    const MALFORMED: AuthError = AuthError::Protocol("malformed SASLInitialResponse message");
    let end = body.iter().position(|&byte| byte == 0).ok_or(MALFORMED)?;
    let channel = match (str::from_utf8(&body[..end]), end_point) {
        (Ok(scram::MECHANISM), None) => Channel::Bare,
        (Ok(scram::MECHANISM), Some(_)) => Channel::Declined,
        (Ok(scram::MECHANISM_PLUS), Some(hash)) => Channel::EndPoint(hash),
        _ => return Err(AuthError::Protocol(UNKNOWN_MECHANISM)),
    };
    let (length, message) = body[end + 1..].split_first_chunk().ok_or(MALFORMED)?;
    match (i32::from_be_bytes(*length), message) {
        (-1, []) => Ok((channel, None)),
        // Compared with what is there; nothing is made to the size that the client claims.
        (claimed, message) if usize::try_from(claimed) == Ok(message.len()) => Ok((channel, Some(message))),
        _ => Err(MALFORMED),
    }
}

#[cfg(test)]
mod tests;
