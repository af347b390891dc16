//! Direct TLS: clients of PostgreSQL 17 may begin with the handshake.

use super::cipher::Cipher;
use super::{Secured, assert_says};

#[test]
fn a_client_may_begin_with_the_handshake() {
    let secured = Secured::with("require", "auth = 'trust'\n");
    let mut client = Cipher::connect(&secured, &["postgresql"], true).unwrap();
    client.greet().unwrap();
    client.until('Z');
    client.query("SELECT 1").unwrap();
    assert_eq!(client.until('Z').0, "TDCZ");
}

#[test]
fn then_it_has_to_name_the_protocol() {
    let secured = Secured::with("require", "auth = 'trust'\n");
    let mut client = Cipher::connect(&secured, &[], true).unwrap();
    let (tags, body) = client.until('E');
    assert_eq!(tags, "E");
    assert_says(&String::from_utf8_lossy(&body), "without ALPN protocol negotiation extension");
    let error = Cipher::connect(&secured, &["http/1.1"], true).and_then(|mut client| client.message());
    assert_says(&error.unwrap_err().to_string(), "NoApplicationProtocol");
}

#[test]
fn who_asks_first_may_name_the_protocol_or_not() {
    let secured = Secured::with("require", "auth = 'trust'\n");
    for alpn in [&["postgresql"][..], &[]] {
        let mut client = Cipher::connect(&secured, alpn, false).unwrap();
        client.greet().unwrap();
        client.until('Z');
    }
    let error = Cipher::connect(&secured, &["http/1.1"], false).and_then(|mut client| client.message());
    assert_says(&error.unwrap_err().to_string(), "NoApplicationProtocol");
}

#[test]
fn tls_inside_tls_is_not_a_thing() {
    let secured = Secured::with("require", "auth = 'trust'\n");
    let mut client = Cipher::connect(&secured, &["postgresql"], true).unwrap();
    client.send(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]).unwrap();
    let (_, body) = client.until('E');
    assert_says(&String::from_utf8_lossy(&body), "unsupported frontend protocol 1234.5679");
}

#[test]
fn where_tls_is_off_such_a_client_is_turned_away() {
    let secured = Secured::with("disable", "auth = 'trust'\n");
    assert!(Cipher::connect(&secured, &["postgresql"], true).is_err());
    secured.proxy.wait_for_log("invalid length of startup packet");
    assert_eq!(secured.said("sslmode=disable"), "app");
}
