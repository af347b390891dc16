//! The exchange of RFC 7677, section 3, by keys; and servers that are not what they should be.

use super::*;
use proptest::prelude::*;
use sha2::Digest;
use shardway_config::Secret;

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
/// The RFC's exchange has a user's name in it, ours has none; so the proofs are other ones, of the same keys.
const CHALLENGE: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

/// The keys of "pencil" with that salt, from the arithmetic of RFC 5802.
fn keys() -> ScramKeys {
    let salt = BASE64.decode(SALT).unwrap();
    let mut block = hmac(b"pencil", &[&salt[..], &[0, 0, 0, 1]].concat());
    let mut salted = block;
    for _ in 1..4096 {
        block = hmac(b"pencil", &block);
        salted = std::array::from_fn(|at| salted[at] ^ block[at]);
    }
    let client_key = hmac(&salted, b"Client Key");
    let keys = ScramKeys::new(4096, salt, Sha256::digest(client_key).into(), hmac(&salted, b"Server Key"));
    keys.learn(&client_key);
    keys
}

fn start(credential: &Credential) -> Exchange {
    Exchange::start(credential, NONCE.to_owned(), Binding::Unsupported).unwrap().0
}

fn by_keys() -> Exchange {
    start(&Credential::Scram(Arc::new(keys())))
}

fn refused<T>(outcome: Result<T, ScramError>) -> String {
    outcome.map(|_| ()).unwrap_err().to_string()
}

/// What a server that knows the secret makes of the answer: its last message, or none for a wrong proof.
fn server(answer: &[u8], nonce: &str, challenge: &str, secret: &ScramKeys) -> Option<String> {
    let answer = str::from_utf8(answer).unwrap();
    let (unproven, proof) = answer.split_once(",p=").unwrap();
    let exchange = format!("n=,r={nonce},{challenge},{unproven}");
    let proof = BASE64.decode(proof).unwrap();
    let signature = hmac(&secret.stored_key, exchange.as_bytes());
    let client_key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let right = Sha256::digest(client_key)[..] == secret.stored_key;
    right.then(|| format!("v={}", BASE64.encode(hmac(&secret.server_key, exchange.as_bytes()))))
}

#[test]
fn keys_and_password_bind_to_the_same_channel() {
    let hash: Arc<[u8]> = [7; 32].into();
    for (binding, header, data) in [
        (Binding::NotOffered, "y,,", &[][..]),
        (Binding::EndPoint(hash.clone()), "p=tls-server-end-point,,", &hash[..]),
    ] {
        let bound = BASE64.encode([header.as_bytes(), data].concat());
        for credential in [Credential::Scram(Arc::new(keys())), Credential::Password(Secret::new("pencil"))] {
            let (exchange, first) = Exchange::start(&credential, NONCE.to_owned(), binding.clone()).unwrap();
            let first = String::from_utf8(first).unwrap();
            let nonce = first.strip_prefix(&format!("{header}n=,r=")).expect("our nonce");
            let challenge = CHALLENGE.replacen(NONCE, nonce, 1);
            let (exchange, answer) = exchange.challenged(challenge.as_bytes()).unwrap();
            assert!(answer.starts_with(format!("c={bound},r=").as_bytes()), "{header}");
            let last = server(&answer, nonce, &challenge, &keys()).expect("the proof is right");
            exchange.finished(last.as_bytes()).unwrap();
        }
    }
}

#[test]
fn keys_prove_what_the_password_proves_and_check_the_server() {
    let (exchange, first) =
        Exchange::start(&Credential::Scram(Arc::new(keys())), NONCE.to_owned(), Binding::Unsupported)
            .unwrap();
    assert_eq!(first, b"n,,n=,r=rOprNGfwEbeRWgbNEkqO");
    let (exchange, answer) = exchange.challenged(CHALLENGE.as_bytes()).unwrap();
    let last = server(&answer, NONCE, CHALLENGE, &keys()).expect("the proof is right");
    exchange.finished(last.as_bytes()).unwrap();
}

#[test]
fn a_password_goes_through_the_same_steps() {
    let password = Credential::Password(Secret::new("pencil"));
    let (exchange, first) = Exchange::start(&password, NONCE.to_owned(), Binding::Unsupported).unwrap();
    let nonce = str::from_utf8(&first).unwrap().strip_prefix("n,,n=,r=").unwrap().to_owned();
    let challenge = format!("r={nonce}more,s={SALT},i=4096");
    let (exchange, answer) = exchange.challenged(challenge.as_bytes()).unwrap();
    let last = server(&answer, &nonce, &challenge, &keys()).expect("the proof is right");
    exchange.finished(last.as_bytes()).unwrap();
}

#[test]
fn a_server_that_asks_for_too_much_arithmetic_is_left_at_once() {
    let password = Credential::Password(Secret::new("pencil"));
    for rounds in ["1000001", "4294967295", "99999999999999999999"] {
        let (exchange, first) = Exchange::start(&password, NONCE.to_owned(), Binding::Unsupported).unwrap();
        let nonce = str::from_utf8(&first).unwrap().strip_prefix("n,,n=,r=").unwrap().to_owned();
        let challenge = format!("r={nonce}more,s={SALT},i={rounds}");
        let outcome = exchange.challenged(challenge.as_bytes());
        assert!(matches!(outcome, Err(ScramError::TooManyRounds)), "{rounds}");
    }
    // Postgres' own default, and a number that is no number.
    assert_eq!(rounds(CHALLENGE.as_bytes()), Some(4096));
    for none in ["r=x,s=y", "r=x,s=y,i=", "r=x,s=y,i=-1", "r=x,s=y,i=1e9"] {
        assert_eq!(rounds(none.as_bytes()), None, "{none}");
    }
}

#[test]
fn without_the_client_key_or_the_servers_own_secret_there_is_no_proof() {
    let ScramKeys { iterations, salt, stored_key, server_key, .. } = keys();
    let unlearned = ScramKeys::new(iterations, salt, stored_key, server_key);
    let outcome =
        Exchange::start(&Credential::Scram(Arc::new(unlearned)), NONCE.to_owned(), Binding::Unsupported);
    assert!(refused(outcome).ends_with("nobody has logged in with its password yet"));
    let outcome =
        Exchange::start(&Credential::Md5(Secret::new("md5")), NONCE.to_owned(), Binding::Unsupported);
    assert!(refused(outcome).ends_with("only an MD5 hash of the password is known"));
    for other in [CHALLENGE.replace("i=4096", "i=4097"), CHALLENGE.replace("s=W", "s=X")] {
        let outcome = by_keys().challenged(other.as_bytes());
        assert!(matches!(&outcome, Err(ScramError::Credential(_))), "{other}");
        assert!(refused(outcome).ends_with("is not the one that is configured here"), "{other}");
    }
}

#[test]
fn a_server_that_breaks_the_protocol_or_can_not_prove_itself_is_left() {
    for challenge in
        ["", "r=", "r=rOprNGfwEbeRWgbNEkqO,s=,i=1", "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "e=x"]
    {
        let outcome = by_keys().challenged(challenge.as_bytes());
        assert!(matches!(outcome, Err(ScramError::Server(_))), "{challenge}");
    }
    let proven = || by_keys().challenged(CHALLENGE.as_bytes()).unwrap().0;
    let wrong = format!("v={}", BASE64.encode([0; 32]));
    for last in ["", "v=", "v=AAAA", "e=invalid-proof", &wrong] {
        assert!(matches!(proven().finished(last.as_bytes()), Err(ScramError::Server(_))), "{last}");
    }
    assert!(matches!(by_keys().finished(b"v="), Err(ScramError::Server(_))));
    assert!(matches!(proven().challenged(CHALLENGE.as_bytes()), Err(ScramError::Server(_))));
}

proptest! {
    #[test]
    fn hostile_servers_are_errors_and_no_panic(
        challenge in prop_oneof![
            any::<Vec<u8>>(),
            "r=rOprNGfwEbeRWgbNEkqO.{0,4},s=[A-Za-z0-9=]{0,8},i=.{0,6}(,x=y)?".prop_map(String::into_bytes),
        ],
        last in prop_oneof![any::<Vec<u8>>(), "[ve]=[A-Za-z0-9=]{0,44}".prop_map(String::into_bytes)],
    ) {
        prop_assert!(by_keys().challenged(&challenge).is_err());
        let (proven, _) = by_keys().challenged(CHALLENGE.as_bytes()).unwrap();
        prop_assert!(proven.finished(&last).is_err());
    }
}
