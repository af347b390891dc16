//! The exchange of RFC 7677, section 3; a client of others; what is refused.

use super::*;
use postgres_protocol::authentication::sasl::{ChannelBinding as ClientBinding, ScramSha256};
use proptest::prelude::*;

// RFC 7677, section 3.
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn server() -> ScramServer {
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    ScramServer::start(ScramSecret::derive(b"pencil", &salt, 4096), SERVER_NONCE.into())
}

fn first_error(message: &str) -> ScramError {
    server().client_first(message.as_bytes(), Channel::Bare).map(|(text, _)| text).unwrap_err()
}

fn final_error(message: &str) -> ScramError {
    let (_, server) = server().client_first(CLIENT_FIRST.as_bytes(), Channel::Bare).unwrap();
    server.client_final(message.as_bytes()).unwrap_err()
}

#[test]
fn the_exchange_of_rfc_7677_is_reproduced() {
    let (server_first, server) = server().client_first(CLIENT_FIRST.as_bytes(), Channel::Bare).unwrap();
    assert_eq!(server_first, SERVER_FIRST);
    let (server_final, client_key) = server.client_final(CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(server_final, SERVER_FINAL);
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    assert_eq!(ScramSecret::derive(b"pencil", &salt, 4096).client_key(b"pencil"), Some(client_key));
}

#[test]
fn a_client_of_rust_postgres_gets_in_and_believes_us() {
    for binding in [ClientBinding::unsupported(), ClientBinding::unrequested()] {
        let mut client = ScramSha256::new(b"pencil", binding);
        let (server_first, server) = server().client_first(client.message(), Channel::Bare).unwrap();
        client.update(server_first.as_bytes()).unwrap();
        let (server_final, _) = server.client_final(client.message()).unwrap();
        client.finish(server_final.as_bytes()).unwrap();
    }
}

fn end_point(byte: u8) -> Channel {
    Channel::EndPoint([byte; 32].into())
}

#[test]
fn a_client_of_rust_postgres_binds_to_our_certificate_and_to_no_other() {
    let mut client = ScramSha256::new(b"pencil", ClientBinding::tls_server_end_point(vec![1; 32]));
    let (server_first, waiting) = server().client_first(client.message(), end_point(1)).unwrap();
    let (_, other) = server().client_first(client.message(), end_point(2)).unwrap();
    client.update(server_first.as_bytes()).unwrap();
    let (server_final, _) = waiting.client_final(client.message()).unwrap();
    let error = other.client_final(client.message()).unwrap_err();
    assert_eq!(error, ScramError::Binding("SCRAM channel binding check failed"));
    client.finish(server_final.as_bytes()).unwrap();
}

#[test]
fn a_client_that_did_not_hear_our_offer_is_told_that_somebody_took_it_out() {
    let client = |flag: &str| format!("{flag},,n=,r=a");
    let error = |flag, channel| {
        server().client_first(client(flag).as_bytes(), channel).map(|(text, _)| text).unwrap_err()
    };
    let negotiation = ScramError::Binding("SCRAM channel binding negotiation error");
    assert_eq!(error("y", Channel::Declined), negotiation);
    for flag in ["n", "y", "p=tls-unique", "p=", "p"] {
        assert!(matches!(error(flag, end_point(1)), ScramError::Protocol(_)), "{flag}");
    }
    for channel in [Channel::Bare, Channel::Declined] {
        assert!(matches!(error(END_POINT_FLAG, channel), ScramError::Protocol(_)));
    }
    assert!(server().client_first(client("n").as_bytes(), Channel::Declined).is_ok());
}

#[test]
fn where_there_is_nothing_to_bind_to_a_client_that_binds_is_refused() {
    let client = ScramSha256::new(b"pencil", ClientBinding::tls_server_end_point(vec![1; 32]));
    let error = server().client_first(client.message(), Channel::Bare).unwrap_err();
    assert!(matches!(error, ScramError::Protocol(text) if text.contains("channel binding data")));
}

#[test]
fn the_channel_binding_flag_cannot_change_midway() {
    let (_, server) =
        server().client_first(CLIENT_FIRST.replacen('n', "y", 1).as_bytes(), Channel::Bare).unwrap();
    let error = server.client_final(CLIENT_FINAL.as_bytes()).unwrap_err();
    assert_eq!(error, ScramError::Protocol("unexpected SCRAM channel-binding attribute"));
}

#[test]
fn a_tampered_nonce_is_a_breach_of_protocol() {
    let cut = CLIENT_FINAL.replace("$k0,", "$k,");
    let other = CLIENT_FINAL.replace("r=rOpr", "r=rOpR");
    for message in [cut, other] {
        assert_eq!(
            final_error(&message),
            ScramError::Protocol("invalid SCRAM response (nonce does not match)")
        );
    }
}

#[test]
fn a_tampered_proof_or_transcript_is_a_wrong_password() {
    assert_eq!(final_error(&CLIENT_FINAL.replace("p=dHzb", "p=dHzc")), ScramError::WrongProof);
    assert_eq!(final_error(&CLIENT_FINAL.replace(",p=", ",x=1,p=")), ScramError::WrongProof);
}

#[test]
fn a_mock_exchange_repeats_its_salt_and_fails_even_for_the_right_proof() {
    let salts = SaltKey::from_bytes([9; 32]);
    let mock = || ScramServer::mock("ghost", &salts, SERVER_NONCE.into());
    let (first, _) = mock().client_first(CLIENT_FIRST.as_bytes(), Channel::Bare).unwrap();
    let (again, _) = mock().client_first(CLIENT_FIRST.as_bytes(), Channel::Bare).unwrap();
    assert_eq!(first, again);
    assert_eq!(first.len(), SERVER_FIRST.len());

    let right = ScramServer { doomed: true, ..server() };
    let (_, right) = right.client_first(CLIENT_FIRST.as_bytes(), Channel::Bare).unwrap();
    assert_eq!(right.client_final(CLIENT_FINAL.as_bytes()).unwrap_err(), ScramError::WrongProof);
}

#[test]
fn malformed_first_messages_are_refused() {
    let long = format!("{CLIENT_FIRST}{}", "x".repeat(MAX_MESSAGE));
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=,r=a",
        "n,a=admin,n=,r=a",
        "n,,m=x,n=,r=a",
        "n,,r=a,n=",
        "n,,n=,r=",
        "n,,n=,r=a b",
        "n,,n=,r=ä",
        "n,,n=,r=a,1=b",
        "n,,n=,r=a,xb",
        "n,,n=,r=a\0",
        "n,,n=\0,r=a",
        &long,
    ] {
        assert!(matches!(first_error(message), ScramError::Protocol(_)), "{message:?}");
    }
}

#[test]
fn malformed_final_messages_are_refused() {
    let twice = format!("{CLIENT_FINAL},p=AAAA");
    let tail = format!("{CLIENT_FINAL},x=1");
    let short = CLIENT_FINAL.replace("dHzb", "");
    for message in ["", "c=biws", "p=AAAA", "c=biws,p=AAAA", "r=a,c=biws,p=AAAA", &twice, &tail, &short] {
        assert!(matches!(final_error(message), ScramError::Protocol(_)), "{message:?}");
    }
}

proptest! {
    #[test]
    fn hostile_messages_never_panic(
        first in prop_oneof![
            any::<Vec<u8>>(),
            "[nyp]?,(a=)?,n=.{0,8},r=.{0,8}(,.=.{0,4})?".prop_map(String::into_bytes),
        ],
        last in prop_oneof![any::<Vec<u8>>(), "c=.{0,8},r=.{0,8},p=.{0,50}".prop_map(String::into_bytes)],
    ) {
        let mock = ScramServer::mock("ghost", &SaltKey::from_bytes([9; 32]), "nonce".into());
        if let Ok((_, server)) = mock.client_first(&first, Channel::Bare) {
            prop_assert!(server.client_final(&last).is_err());
        }
        let mock = ScramServer::mock("ghost", &SaltKey::from_bytes([9; 32]), "nonce".into());
        let (_, server) = mock.client_first(b"n,,n=,r=a", Channel::Bare).unwrap();
        prop_assert!(server.client_final(&last).is_err());
    }
}
