//! libpq's modes against ours.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use shardway_tests::RawClient;

use super::certificates::Authority;
use super::{Secured, WHO, assert_says, psql};

#[test]
fn every_mode_of_libpq_works_where_tls_is_offered() {
    let secured = Secured::with("allow", "");
    for words in [
        "sslmode=disable",
        "sslmode=allow",
        "sslmode=prefer",
        "sslmode=require",
        "sslmode=verify-ca sslrootcert={CA}",
        "sslmode=verify-full sslrootcert={CA}",
        "sslmode=require ssl_min_protocol_version=TLSv1.3",
        "sslmode=require ssl_max_protocol_version=TLSv1.2",
    ] {
        assert_eq!(secured.said(words), "app", "{words}");
    }
    let ran = secured.psql("sslmode=require").args(["-c", "\\conninfo"]).run();
    assert_says(ran.said(), "SSL connection (protocol: TLSv1.3");
}

#[test]
fn a_client_that_trusts_another_ca_goes_away() {
    let secured = Secured::with("allow", "");
    secured.folder.write("other.crt", Authority::new("another").pem());
    let said = secured.refused("sslmode=verify-full sslrootcert={DIR}/other.crt");
    assert_says(&said, "certificate verify failed");
    secured.proxy.wait_for_log("client not let in: no TLS: received fatal alert: UnknownCA");
}

#[test]
fn without_tls_nobody_is_let_in_where_it_is_required() {
    let secured = Secured::with("require", "");
    assert_says(&secured.refused("sslmode=disable"), "FATAL:  SSL required");
    // libpq tries again by TLS.
    assert_eq!(secured.said("sslmode=allow"), "app");
    assert_eq!(secured.said("sslmode=require"), "app");
}

#[test]
fn nobody_listens_in_on_a_unix_socket() {
    let secured = Secured::with("require", "");
    let dir = tempfile::tempdir().unwrap();
    secured.proxy.edit(|config| {
        let listen = config["server"]["listen"].as_array_mut().unwrap();
        listen.push(format!("unix:{}", dir.path().display()).into());
    });
    secured.proxy.kill();
    secured.proxy.start();
    let (port, dir) = (secured.proxy.port(), dir.path().display());
    let local = format!("host={dir} port={port} user=app password=secret dbname=shop");
    assert_eq!(psql(&local).args(["-c", WHO]).run().said(), "app");
}

#[test]
fn where_tls_is_off_a_client_that_asks_for_it_is_told_no() {
    let secured = Secured::with("disable", "");
    assert_eq!(secured.said("sslmode=prefer"), "app");
    assert_says(&secured.refused("sslmode=require"), "server does not support SSL, but SSL was required");
}

#[test]
fn scram_is_bound_to_the_channel() {
    let secured = Secured::with("require", "");
    assert_eq!(secured.said("sslmode=require channel_binding=require"), "app");
    assert_eq!(secured.said("sslmode=require channel_binding=disable"), "app");
    let plain = Secured::with("disable", "");
    assert_says(&plain.refused("channel_binding=require"), "channel binding");
}

#[test]
fn channels_are_bound_by_the_hash_of_the_certificates_signature() {
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let secured = Secured::with("require", "");
        let authority = Authority::signing_by("signing otherwise", algorithm);
        secured.folder.write_identity("proxy", &authority.sign("127.0.0.1", &["127.0.0.1"]));
        secured.folder.write("ca.crt", authority.pem());
        secured.proxy.sighup();
        secured.proxy.wait_for_log("server.tls_files: changed");
        if algorithm == &rcgen::PKCS_ED25519 {
            // RFC 5929 has no hash for such a certificate, so there is nothing to bind to.
            assert_eq!(secured.said("sslmode=verify-full sslrootcert={CA} channel_binding=disable"), "app");
            assert_says(&secured.refused("sslmode=require channel_binding=require"), "channel binding");
        } else {
            assert_eq!(secured.said("sslmode=verify-full sslrootcert={CA} channel_binding=require"), "app");
        }
    }
}

#[tokio::test]
async fn what_comes_before_the_encryption_is_not_taken_for_part_of_it() {
    let secured = Secured::with("allow", "");
    let mut raw = RawClient::connect(secured.proxy.port()).await;
    let request = [8u32.to_be_bytes(), 80_877_103u32.to_be_bytes()].concat();
    raw.send_raw(&[&request[..], b"stuffing"].concat()).await;
    let message = raw.recv().await;
    assert_says(&format!("{message:?}"), "received unencrypted data after SSL or GSSAPI request");
    raw.expect_closed().await;
}

/// A connection that has asked for TLS, and was told that it may begin.
fn asked(secured: &Secured) -> TcpStream {
    let mut socket = secured.socket();
    socket.write_all(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]).unwrap();
    let mut answer = [0];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    socket
}

#[test]
fn a_client_that_dies_in_its_handshake_harms_nobody() {
    let secured = Secured::with("require", "client_login_timeout = '1s'\n");
    let _silent = asked(&secured);
    drop(asked(&secured));
    let mut garbled = asked(&secured);
    garbled.write_all(b"\x16\x03\x01\x00\x05\xff\xff\xff\xff\xff").unwrap();
    secured.proxy.wait_for_log("client not let in: no TLS: received corrupt message");
    // The silent one has its time and no more.
    secured.proxy.wait_for_log("client_login_timeout");
    assert_eq!(secured.said("sslmode=require"), "app");
}
