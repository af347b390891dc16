//! Logging in, with whatever the server asks for.

use bytes::Buf;
use postgres_protocol::authentication::{
    md5_hash,
    sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
};

use super::{Message, RawClient};
use crate::must;

impl RawClient {
    /// Sends the startup message and answers until the server is ready.
    ///
    /// # Panics
    /// The login is refused.
    pub async fn login(&mut self, user: &str, database: &str, password: &str) {
        if let Err(refusal) = self.try_login(&[("user", user), ("database", database)], password).await {
            panic!("the login of {user} was refused: {refusal:?}");
        }
    }

    /// As [`login`](Self::login), with any startup parameters, `user` among them; trust, cleartext, md5 and
    /// SCRAM-SHA-256 are known.
    ///
    /// # Errors
    /// The server's ErrorResponse.
    pub async fn try_login(&mut self, parameters: &[(&str, &str)], password: &str) -> Result<(), Message> {
        let user = parameters.iter().find(|(name, _)| *name == "user").map_or("", |(_, user)| user);
        self.startup(parameters);
        loop {
            let message = self.recv().await;
            match message.tag {
                b'R' => self.authenticate(message, user, password).await?,
                b'E' => return Err(message),
                b'Z' => return Ok(()),
                _ => {}
            }
        }
    }

    async fn authenticate(&mut self, request: Message, user: &str, password: &str) -> Result<(), Message> {
        let mut body = request.body;
        match body.get_i32() {
            0 => {}
            3 => {
                self.password(password.as_bytes());
            }
            5 => {
                let mut salt = [0; 4];
                body.copy_to_slice(&mut salt);
                self.password(md5_hash(user.as_bytes(), password.as_bytes(), salt).as_bytes());
            }
            10 => self.scram(password).await?,
            other => panic!("an unknown authentication request: {other}"),
        }
        Ok(())
    }

    async fn scram(&mut self, password: &str) -> Result<(), Message> {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        self.sasl_initial_response(SCRAM_SHA_256, scram.message());
        must("SCRAM, the server's challenge", scram.update(&self.sasl_step(11).await?));
        self.sasl_response(scram.message());
        must("SCRAM, the server's proof", scram.finish(&self.sasl_step(12).await?));
        Ok(())
    }

    /// The data of AuthenticationSASLContinue (11) or AuthenticationSASLFinal (12).
    async fn sasl_step(&mut self, expected: i32) -> Result<bytes::Bytes, Message> {
        let message = self.recv().await;
        if message.tag != b'R' {
            return Err(message);
        }
        let mut body = message.body;
        assert_eq!(body.get_i32(), expected, "the authentication request's kind");
        Ok(body)
    }
}
