//! Logging in to a server: startup message, authentication, and the parameters it reports.
//! Source: PostgreSQL, "Frontend/Backend Protocol", Start-up; RFC 5802 and 7677 for SCRAM-SHA-256.

use crate::address::{Login, ServerAddress};
use crate::cancel::BackendKey;
use crate::credential::Credential;
use crate::error::PoolError;
use crate::frame;
use crate::scram::{Binding, Exchange, ScramError};
use crate::server::{Parameters, ServerConn};
use crate::tls::open::{Channel, may_want_tls, open};
use crate::wire::Wire;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::BytesMut;
use md5::{Digest, Md5};
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;
use shardway_config::TargetSession;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Bytes a message may have before the login is done.
const MAX_LOGIN_MESSAGE: usize = 64 * 1024;

/// Connects and logs in, within `timeout` (zero: no limit); of several hosts to the first that can be reached. What it
/// gives is in no pool.
pub async fn connect(
    address: &Arc<ServerAddress>,
    login: &Login,
    timeout: Duration,
) -> Result<ServerConn, PoolError> {
    let Some(hosts) = &address.hosts else { return connect_to(address, login, timeout).await };
    let mut outcome = None;
    for (number, address) in hosts.in_turn() {
        match connect_to(address, login, timeout).await {
            Err(error @ PoolError::Connect { .. }) => outcome = Some(Err(error)),
            reached => {
                hosts.reached(number);
                return reached;
            }
        }
    }
    outcome.unwrap_or(Err(PoolError::Closed))
}

/// Connects to one host and logs in, within `timeout`.
async fn connect_to(
    address: &Arc<ServerAddress>,
    login: &Login,
    timeout: Duration,
) -> Result<ServerConn, PoolError> {
    let attempt = async {
        let (first, second) = Channel::of(address);
        let outcome = log_in(address, login, first).await;
        match (&outcome, second) {
            (Err(PoolError::Login { code, .. }), Some(second)) if may_want_tls(code) => {
                // What the server said first is the better reason, if it has no TLS at all.
                log_in(address, login, second).await.or(outcome)
            }
            _ => outcome,
        }
    };
    if timeout.is_zero() {
        return attempt.await;
    }
    tokio::time::timeout(timeout, attempt).await.unwrap_or_else(|_| {
        Err(PoolError::Connect { server: address.to_string(), cause: "server_connect_timeout".into() })
    })
}

async fn log_in(
    address: &Arc<ServerAddress>,
    login: &Login,
    channel: Channel,
) -> Result<ServerConn, PoolError> {
    let wire = Wire::new(open(address, channel).await?);
    let server = Handshake { address, login, wire, scram: None }.run().await?;
    match fits(address.target, &server.parameters) {
        true => Ok(server),
        false => Err(lost(address, &io::Error::other("it is not what target_session_attrs asks for"))),
    }
}

/// Whether a server is one that will do, by what it reports; before PostgreSQL 14 it reports nothing of it, and none does.
fn fits(target: TargetSession, parameters: &Parameters) -> bool {
    let is_on = |name| parameters.get(name).map(|value| value == "on");
    let (standby, read_only) = (is_on("in_hot_standby"), is_on("default_transaction_read_only"));
    match target {
        TargetSession::Any => true,
        TargetSession::Primary => standby == Some(false),
        TargetSession::Standby => standby == Some(true),
        TargetSession::ReadWrite => standby == Some(false) && read_only == Some(false),
        TargetSession::ReadOnly => standby == Some(true) || read_only == Some(true),
    }
}

struct Handshake<'a> {
    address: &'a Arc<ServerAddress>,
    login: &'a Login,
    wire: Wire,
    scram: Option<Exchange>,
}

impl<'a> Handshake<'a> {
    async fn run(mut self) -> Result<ServerConn, PoolError> {
        let mut hello = BytesMut::new();
        let parameters = [
            ("user", self.login.user.as_str()),
            ("database", &self.address.dbname),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(parameters, &mut hello).map_err(|e| self.lost(&e))?;
        self.send(&hello).await?;
        self.authenticate().await?;
        self.learn().await
    }

    async fn authenticate(&mut self) -> Result<(), PoolError> {
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                b'R' => {
                    if self.answer(&body).await? {
                        return Ok(());
                    }
                }
                b'E' => return Err(self.refused(&body)),
                b'N' | b'v' => {}
                _ => return Err(self.protocol()),
            }
        }
    }

    /// Answers one authentication request; `true` once the server is satisfied.
    async fn answer(&mut self, body: &[u8]) -> Result<bool, PoolError> {
        let (kind, rest) = frame::i32(body).ok_or_else(|| self.protocol())?;
        match kind {
            // A server that knows the secret says so before it lets anybody in.
            0 if self.scram.is_some() => return Err(self.protocol()),
            0 => return Ok(true),
            3 => {
                let Credential::Password(password) = self.credential()? else {
                    return Err(
                        self.credentials("the server asks for the password, and only a hash of it is known")
                    );
                };
                self.send_password(password.expose().as_bytes()).await?;
            }
            5 => {
                let salt: [u8; 4] = rest.try_into().map_err(|_| self.protocol())?;
                let answer = self.md5_answer(salt)?;
                self.send_password(answer.as_bytes()).await?;
            }
            10 => self.scram_first(rest).await?,
            11 => self.scram_continue(rest).await?,
            12 => {
                let scram = self.scram.take().ok_or_else(|| self.protocol())?;
                scram.finished(rest).map_err(|e| self.scram_failed(&e))?;
            }
            _ => {
                return Err(
                    self.credentials("the server asks for an authentication method that is not supported")
                );
            }
        }
        Ok(false)
    }

    async fn scram_first(&mut self, mechanisms: &[u8]) -> Result<(), PoolError> {
        let offers = |name: &str| mechanisms.split(|&b| b == 0).any(|offered| offered == name.as_bytes());
        let end_point = self.wire.stream.tls().and_then(|tls| tls.end_point());
        let (mechanism, binding) = match end_point {
            Some(hash) if offers(sasl::SCRAM_SHA_256_PLUS) => {
                (sasl::SCRAM_SHA_256_PLUS, Binding::EndPoint(hash.clone()))
            }
            Some(_) => (sasl::SCRAM_SHA_256, Binding::NotOffered),
            None => (sasl::SCRAM_SHA_256, Binding::Unsupported),
        };
        if !offers(mechanism) {
            return Err(self.credentials("the server offers no SASL mechanism that is supported"));
        }
        let nonce = BASE64.encode(rand::random::<[u8; 18]>());
        let started = Exchange::start(self.credential()?, nonce, binding);
        let (scram, message) = started.map_err(|e| self.scram_failed(&e))?;
        let mut out = BytesMut::new();
        frontend::sasl_initial_response(mechanism, &message, &mut out).map_err(|e| self.lost(&e))?;
        self.scram = Some(scram);
        self.send(&out).await
    }

    async fn scram_continue(&mut self, data: &[u8]) -> Result<(), PoolError> {
        let scram = self.scram.take().ok_or_else(|| self.protocol())?;
        let (scram, message) = scram.challenged(data).map_err(|e| self.scram_failed(&e))?;
        let mut out = BytesMut::new();
        frontend::sasl_response(&message, &mut out).map_err(|e| self.lost(&e))?;
        self.scram = Some(scram);
        self.send(&out).await
    }

    /// The answer to an MD5 challenge: the hash that servers store is all it takes.
    fn md5_answer(&self, salt: [u8; 4]) -> Result<String, PoolError> {
        match self.credential()? {
            Credential::Password(password) => {
                Ok(md5_hash(self.login.user.as_bytes(), password.expose().as_bytes(), salt))
            }
            Credential::Md5(hash) => {
                let stored = hash.expose().strip_prefix("md5").unwrap_or_default();
                let digest = Md5::new().chain_update(stored).chain_update(salt).finalize();
                Ok(digest.iter().fold("md5".to_owned(), |answer, byte| format!("{answer}{byte:02x}")))
            }
            Credential::Scram(_) => {
                Err(self
                    .credentials("the server asks for MD5, and only a SCRAM secret of the password is known"))
            }
        }
    }

    fn scram_failed(&self, error: &ScramError) -> PoolError {
        match error {
            ScramError::Credential(cause) => self.credentials(cause),
            ScramError::TooManyRounds => {
                self.credentials("the server's SCRAM secret for this user takes more than 1000000 rounds")
            }
            ScramError::Unproven => PoolError::Unproven { server: self.address.to_string() },
            ScramError::Server(cause) => self.lost(cause),
        }
    }

    /// From AuthenticationOk to the first ReadyForQuery.
    async fn learn(mut self) -> Result<ServerConn, PoolError> {
        let mut parameters = Parameters::default();
        let mut key = BackendKey::default();
        loop {
            let (tag, body) = self.receive().await?;
            match tag {
                b'S' => parameters.report(&body).ok_or_else(|| self.protocol())?,
                b'K' => key = BackendKey::parse(&body).ok_or_else(|| self.protocol())?,
                b'Z' => return Ok(ServerConn::new(self.wire, self.address.clone(), parameters, key)),
                b'E' => return Err(self.refused(&body)),
                b'N' | b'v' => {}
                _ => return Err(self.protocol()),
            }
        }
    }

    async fn receive(&mut self) -> Result<(u8, Vec<u8>), PoolError> {
        let (tag, len) = self.wire.message(MAX_LOGIN_MESSAGE).await.map_err(|e| lost(self.address, &e))?;
        let body = self.wire.body(len).to_vec();
        self.wire.consume_message(len);
        Ok((tag, body))
    }

    async fn send_password(&mut self, password: &[u8]) -> Result<(), PoolError> {
        let mut out = BytesMut::new();
        frontend::password_message(password, &mut out).map_err(|e| self.lost(&e))?;
        self.send(&out).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), PoolError> {
        self.wire.output.extend(bytes);
        self.wire.flush().await.map_err(|e| lost(self.address, &e))
    }

    fn credential(&self) -> Result<&'a Credential, PoolError> {
        let credential = self.login.credential.as_ref();
        credential.ok_or_else(|| self.credentials("the server asks for a password and none is configured"))
    }

    fn refused(&self, body: &[u8]) -> PoolError {
        let field = |code| String::from_utf8_lossy(frame::error_field(body, code).unwrap_or_default()).into();
        PoolError::Login { server: self.address.to_string(), code: field(b'C'), message: field(b'M') }
    }

    fn credentials(&self, cause: &'static str) -> PoolError {
        PoolError::Credentials { server: self.address.to_string(), cause }
    }

    fn lost(&self, cause: &io::Error) -> PoolError {
        lost(self.address, cause)
    }

    fn protocol(&self) -> PoolError {
        self.lost(&io::Error::new(io::ErrorKind::InvalidData, "it does not speak the protocol"))
    }
}

fn lost(address: &ServerAddress, cause: &io::Error) -> PoolError {
    PoolError::Connect { server: address.to_string(), cause: cause.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_fits_by_what_it_reports() {
        let server = |standby: &str, read_only: &str| {
            let mut parameters = Parameters::default();
            for (name, value) in [("in_hot_standby", standby), ("default_transaction_read_only", read_only)] {
                parameters.report(format!("{name}\0{value}\0").as_bytes()).unwrap();
            }
            parameters
        };
        use TargetSession::{Any, Primary, ReadOnly, ReadWrite, Standby};
        for (parameters, good) in [
            (server("off", "off"), [true, true, false, true, false]),
            (server("off", "on"), [true, true, false, false, true]),
            (server("on", "off"), [true, false, true, false, true]),
            (Parameters::default(), [true, false, false, false, false]),
        ] {
            assert_eq!(
                [Any, Primary, Standby, ReadWrite, ReadOnly].map(|target| fits(target, &parameters)),
                good
            );
        }
    }
}
