//! Logins in full, with the client's side played by `postgres-protocol`.

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
    match Authenticator::start(method, USER, secret, &salts, nonces(), None) {
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
    let step = Authenticator::start(Method::Trust, USER, None, &SaltKey::random(), Nonces::random(), None);
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
fn over_tls_the_exchange_may_be_bound_to_our_certificate() {
    let salts = SaltKey::from_bytes([5; 32]);
    let secret = Arc::new(UserSecret::new(USER, StoredSecret::parse("pencil"), &salts));
    let hash: Arc<[u8]> = [7; 32].into();
    let begin = || {
        let secret = Some(secret.clone());
        let step = Authenticator::start(Method::Scram, USER, secret, &salts, nonces(), Some(hash.clone()));
        let Step::Continue(authenticator, Request::Sasl { mechanisms }) = step else { panic!("{step:?}") };
        assert_eq!(mechanisms, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
        authenticator
    };
    let mut client = ScramSha256::new(b"pencil", ChannelBinding::tls_server_end_point(hash.to_vec()));
    let step = begin().step(&initial("SCRAM-SHA-256-PLUS", Some(client.message()))).unwrap();
    let Step::Continue(authenticator, Request::SaslContinue(data)) = step else { panic!("{step:?}") };
    client.update(data.as_bytes()).unwrap();
    assert!(matches!(authenticator.step(client.message()), Ok(Step::Done { .. })));
    // Who can bind and was told that we can't was told so by somebody else.
    let error = begin().step(&initial("SCRAM-SHA-256", Some(b"y,,n=,r=client"))).unwrap_err();
    assert_eq!(
        (error.sqlstate(), error.to_string().as_str()),
        ("28000", "SCRAM channel binding negotiation error")
    );
    assert!(begin().step(&initial("SCRAM-SHA-256", Some(b"n,,n=,r=client"))).is_ok());
}

#[test]
fn malformed_bodies_are_breaches_of_protocol() {
    let claims = |length: i32| [b"SCRAM-SHA-256\0".as_slice(), &length.to_be_bytes(), b"n,,n=,r=a"].concat();
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
