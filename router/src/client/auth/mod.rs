//! Password authentication of clients, with us as the server: which exchange fits the configured method and the
//! user's stored secret, and the exchange itself, one message body at a time.
//!
//! Nothing here does I/O or waits: a shell sends each [`Request`] as the body of an `R` message, reads one `p`
//! message of at most [`Authenticator::max_body`] bytes and hands its body to [`Authenticator::step`], until
//! [`Step::Done`] or an error. It sends AuthenticationOk or the ErrorResponse itself. Randomness comes in as
//! values ([`Nonces`], [`SaltKey`]), drawn in one place.
//!
//! Sources: PostgreSQL documentation, "Message Flow", "Message Formats" and "SASL Authentication"; RFC 5802 and
//! RFC 7677 in [`scram`]. Not here: TLS, certificates, hba rules, and whether the user may do anything at all.

pub mod md5;
pub mod scram;
pub mod secret;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::RngCore as _;

use self::md5::Md5Challenge;
use self::scram::{ScramAwaitFinal, ScramError, ScramServer};
pub use self::secret::{ClientKey, SaltKey, ScramSecret, StoredSecret, UserSecret};

/// Bytes a clear-text password message may have (Postgres: `PG_MAX_AUTH_TOKEN_LENGTH`; tokens are long).
const MAX_PASSWORD_BODY: usize = 65_535;

const MECHANISMS: &[&str] = &[scram::MECHANISM];

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
}

impl AuthError {
    /// Code for the ErrorResponse.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "28P01",
            Self::Protocol(_) => "08P01",
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
    SaslInitial(ScramServer),
    ScramFirst(ScramServer),
    ScramFinal(ScramAwaitFinal),
}

impl Authenticator {
    /// Begins the login of `user`, whose name came in the startup packet. `secret` is `None` for a user that is
    /// unknown or has no password: that login takes the usual course and fails at its end.
    ///
    /// May cost what [`UserSecret::scram`] costs.
    pub fn start(
        method: Method,
        user: &str,
        secret: Option<Arc<UserSecret>>,
        salts: &SaltKey,
        nonces: Nonces,
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
                (State::SaslInitial(scram), Request::Sasl { mechanisms: MECHANISMS })
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
            State::SaslInitial(server) => match sasl_initial(body)? {
                Some(message) => login.scram_first(server, message),
                // The client wants an empty challenge before it speaks.
                None => Ok(login.then(State::ScramFirst(server), Request::SaslContinue(String::new()))),
            },
            State::ScramFirst(server) => login.scram_first(server, body),
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

    fn scram_first(self, server: ScramServer, message: &[u8]) -> Result<Step, AuthError> {
        match server.client_first(message) {
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
        if let ScramError::Protocol(text) = error {
            return Err(AuthError::Protocol(text));
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
fn sasl_initial(body: &[u8]) -> Result<Option<&[u8]>, AuthError> {
    const MALFORMED: AuthError = AuthError::Protocol("malformed SASLInitialResponse message");
    let end = body.iter().position(|&byte| byte == 0).ok_or(MALFORMED)?;
    if &body[..end] != scram::MECHANISM.as_bytes() {
        return Err(AuthError::Protocol("client selected an invalid SASL authentication mechanism"));
    }
    let (length, message) = body[end + 1..].split_first_chunk().ok_or(MALFORMED)?;
    match (i32::from_be_bytes(*length), message) {
        (-1, []) => Ok(None),
        // Compared with what is there; nothing is made to the size that the client claims.
        (claimed, message) if usize::try_from(claimed) == Ok(message.len()) => Ok(Some(message)),
        _ => Err(MALFORMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::md5_hash;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
    use postgres_protocol::password as stored_as;
    use proptest::prelude::*;

    const USER: &str = "ada";

    fn nonces() -> Nonces {
        Nonces { md5_salt: [1, 2, 3, 4], scram: "servernonce".into() }
    }

    /// `stored`: the secret's text; `None`: nobody of that name.
    fn start(method: Method, stored: Option<&str>) -> (Authenticator, Request) {
        let salts = SaltKey::from_bytes([5; 32]);
        let secret = stored.map(|text| Arc::new(UserSecret::new(USER, StoredSecret::parse(text), &salts)));
        match Authenticator::start(method, USER, secret, &salts, nonces()) {
            Step::Continue(authenticator, request) => (authenticator, request),
            Step::Done { .. } => panic!("let in unasked"),
        }
    }

    fn initial(mechanism: &str, message: Option<&[u8]>) -> Vec<u8> {
        let length = message.map_or(-1, |message| i32::try_from(message.len()).unwrap());
        [mechanism.as_bytes(), b"\0", &length.to_be_bytes(), message.unwrap_or_default()].concat()
    }

    fn cstr(text: &str) -> Vec<u8> {
        format!("{text}\0").into_bytes()
    }

    /// Answers every request as a client that believes `password` would, until the end.
    fn log_in(method: Method, stored: Option<&str>, password: &str) -> Result<Option<ClientKey>, AuthError> {
        let (mut authenticator, mut request) = start(method, stored);
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let answer = match &request {
                Request::Cleartext => cstr(password),
                Request::Md5 { salt } => cstr(&md5_hash(USER.as_bytes(), password.as_bytes(), *salt)),
                Request::Sasl { mechanisms } => initial(mechanisms[0], Some(client.message())),
                Request::SaslContinue(data) => {
                    client.update(data.as_bytes()).unwrap();
                    client.message().to_vec()
                }
                Request::SaslFinal(_) => panic!("comes with Done"),
            };
            match authenticator.step(&answer)? {
                Step::Continue(next, asked) => (authenticator, request) = (next, asked),
                Step::Done { client_key, final_message } => {
                    if let Some(Request::SaslFinal(data)) = final_message {
                        client.finish(data.as_bytes()).unwrap();
                    }
                    return Ok(client_key);
                }
            }
        }
    }

    fn failed(reason: Refusal) -> Result<Option<ClientKey>, AuthError> {
        Err(AuthError::Failed { user: USER.into(), reason })
    }

    fn stored_forms() -> [String; 3] {
        ["pencil".into(), stored_as::md5(b"pencil", USER), stored_as::scram_sha_256(b"pencil")]
    }

    #[test]
    fn trust_asks_for_nothing() {
        let step = Authenticator::start(Method::Trust, USER, None, &SaltKey::random(), Nonces::random());
        assert!(matches!(step, Step::Done { client_key: None, final_message: None }));
    }

    #[test]
    fn the_right_password_gets_in_by_each_method_and_form_but_scram_with_an_md5_hash() {
        let [plain, md5, scram] = stored_forms();
        for (method, stored, gets_key) in [
            (Method::Password, &plain, false),
            (Method::Password, &md5, false),
            (Method::Password, &scram, true),
            (Method::Md5, &plain, false),
            (Method::Md5, &md5, false),
            (Method::Md5, &scram, true),
            (Method::Scram, &plain, false),
            (Method::Scram, &scram, true),
        ] {
            let key = log_in(method, Some(stored), "pencil").unwrap();
            assert_eq!(key.is_some(), gets_key, "{method:?} {stored}");
        }
        assert_eq!(log_in(Method::Scram, Some(&md5), "pencil"), failed(Refusal::NoScramSecret));
    }

    #[test]
    fn a_client_key_is_the_one_of_the_stored_secret() {
        let [_, _, scram] = stored_forms();
        let expected = ScramSecret::parse(&scram).unwrap().client_key(b"pencil");
        assert!(expected.is_some());
        for method in [Method::Scram, Method::Md5, Method::Password] {
            assert_eq!(log_in(method, Some(&scram), "pencil"), Ok(expected.clone()), "{method:?}");
        }
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_fail_alike() {
        for method in [Method::Password, Method::Md5, Method::Scram] {
            let unknown = log_in(method, None, "pencil").unwrap_err();
            assert_eq!(Err(unknown.clone()), failed(Refusal::NoSecret));
            assert_eq!(unknown.sqlstate(), "28P01");
            assert_eq!(unknown.to_string(), "password authentication failed for user \"ada\"");
            for stored in stored_forms() {
                let wrong = log_in(method, Some(&stored), "pencils").unwrap_err();
                assert_eq!(wrong.to_string(), unknown.to_string(), "{method:?} {stored}");
            }
        }
    }

    #[test]
    fn a_user_with_a_plain_password_and_an_unknown_one_see_the_same_challenge() {
        let challenge = |stored| {
            let (authenticator, _) = start(Method::Scram, stored);
            match authenticator.step(&initial("SCRAM-SHA-256", Some(b"n,,n=,r=client"))).unwrap() {
                Step::Continue(_, Request::SaslContinue(text)) => text,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(challenge(Some("pencil")), challenge(None));
    }

    #[test]
    fn an_empty_password_lets_nobody_in() {
        for method in [Method::Password, Method::Md5, Method::Scram] {
            assert_eq!(log_in(method, Some(""), ""), failed(Refusal::EmptyPassword), "{method:?}");
        }
    }

    #[test]
    fn requests_have_the_bodies_of_the_documentation() {
        assert_eq!(Request::Cleartext.body(), b"\0\0\0\x03");
        assert_eq!(Request::Md5 { salt: *b"salt" }.body(), b"\0\0\0\x05salt");
        assert_eq!(Request::Sasl { mechanisms: MECHANISMS }.body(), b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        assert_eq!(Request::SaslContinue("r=a".into()).body(), b"\0\0\0\x0br=a");
        assert_eq!(Request::SaslFinal("v=a".into()).body(), b"\0\0\0\x0cv=a");
    }

    #[test]
    fn a_client_may_choose_its_mechanism_before_it_speaks() {
        let (authenticator, _) = start(Method::Scram, Some("pencil"));
        let step = authenticator.step(&initial("SCRAM-SHA-256", None)).unwrap();
        let Step::Continue(authenticator, Request::SaslContinue(empty)) = step else { panic!("{step:?}") };
        assert_eq!(empty, "");
        let step = authenticator.step(b"n,,n=,r=client").unwrap();
        assert!(matches!(step, Step::Continue(_, Request::SaslContinue(_))));
    }

    #[test]
    fn malformed_bodies_are_breaches_of_protocol() {
        let claims =
            |length: i32| [b"SCRAM-SHA-256\0".as_slice(), &length.to_be_bytes(), b"n,,n=,r=a"].concat();
        let cases: Vec<(Method, Vec<u8>)> = vec![
            (Method::Password, vec![]),
            (Method::Password, b"pencil".to_vec()),
            (Method::Password, b"pencil\0\0".to_vec()),
            (Method::Password, cstr(&"x".repeat(MAX_PASSWORD_BODY))),
            (Method::Md5, cstr(&"x".repeat(scram::MAX_MESSAGE))),
            (Method::Md5, b"md5".to_vec()),
            (Method::Scram, vec![]),
            (Method::Scram, b"SCRAM-SHA-256".to_vec()),
            (Method::Scram, b"SCRAM-SHA-256\0\0\0".to_vec()),
            (Method::Scram, claims(-1)),
            (Method::Scram, claims(-2)),
            (Method::Scram, claims(8)),
            (Method::Scram, claims(i32::MAX)),
            (Method::Scram, initial("SCRAM-SHA-256", Some(b""))),
            (Method::Scram, initial("SCRAM-SHA-256-PLUS", Some(b"p=tls-server-end-point,,n=,r=a"))),
            (Method::Scram, initial("PLAIN", Some(b"\0ada\0pencil"))),
        ];
        for (method, body) in cases {
            let error = start(method, Some("pencil")).0.step(&body).unwrap_err();
            assert_eq!(error.sqlstate(), "08P01", "{method:?} {error}");
        }
    }

    #[test]
    fn nonces_are_fit_to_print_and_differ() {
        let (one, other) = (Nonces::random(), Nonces::random());
        assert_ne!(one.scram, other.scram);
        assert_eq!(one.scram.len(), 24);
        assert!(one.scram.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
    }

    proptest! {
        #[test]
        fn random_bodies_never_panic_and_never_get_in(
            method in prop_oneof![Just(Method::Password), Just(Method::Md5), Just(Method::Scram)],
            bodies in prop::collection::vec(prop_oneof![
                any::<Vec<u8>>(),
                any::<Vec<u8>>().prop_map(|message| initial("SCRAM-SHA-256", Some(&message))),
                Just(initial("SCRAM-SHA-256", None)),
                Just(initial("SCRAM-SHA-256", Some(b"n,,n=,r=client"))),
                "n,,n=[a-z]{0,4},r=[ -~]{0,9}".prop_map(String::into_bytes),
                "c=biws,r=clientservernonce,p=[A-Za-z0-9+/]{43}=".prop_map(String::into_bytes),
                "[ -~]{0,9}\0".prop_map(String::into_bytes),
            ], 1..5),
        ) {
            let mut waiting = Some(start(method, Some("more than nine letters")).0);
            for body in bodies {
                let Some(authenticator) = waiting.take() else { break };
                match authenticator.step(&body) {
                    Ok(Step::Continue(next, _)) => waiting = Some(next),
                    Ok(Step::Done { .. }) => prop_assert!(false, "let in"),
                    Err(_) => {}
                }
            }
        }
    }
}
