//! What certificates say, against what openssl makes of them, and whom we trust.

use super::*;
use crate::tls::certificate::{common_name, end_point};

/// Certificates, and their hashes by `openssl dgst` with the hash that RFC 5929 wants.
const END_POINTS: [(&str, &str); 9] = [
    ("rsa_md5", "7c695c8ba013454e8ae483924b61eb3017f2f115631030d791d7cde0bd2a358f"),
    ("rsa_sha1", "636abefd0e2e5876e712192ae55e481a608d1ec8518f311d3d86b07b8f18975f"),
    ("ec_sha1", "ca4a20d9d7d80bb8cd47e89321f27bf86ba64c870d75b17347b87a56434cd456"),
    ("pss_sha1", "3be24374087f3947a2237caf3e9132c04e9df0ae7817b489ce1022a2e0529338"),
    ("rsa_sha224", "90ad83c3bbe90d63f09b1f1a22a6af93b1abe490bb068daa259c4345"),
    ("first_version", "5ef45804b5ef540c92a0ffb5cfcbdfb23ff09a741889df783e1b3f861ae288af"),
    (
        "rsa_sha384",
        "a65098bbae294d428b9e941f1f203da36a7d08878da34472de7ac15d282abcedf8a7d07f7f8630bc56290e4b630231ac",
    ),
    (
        "pss_sha384",
        "dd9213ddfdf018ae203ff74c03f93b71fdcaa3bd5f486f14ed39997eb48beb448ab29487ba4b166904029edf9c31e11d",
    ),
    (
        "rsa_sha512",
        "629b45444a1b386152e71fcba25ad2e9bf665fc5c574ac8708c6e50d874ea2ae4665df8544ea9b7620dd11a17ca15bac63887b086b6c78dc88aadc0839c71916",
    ),
];

fn text(name: &str) -> String {
    let path = format!("{}/src/tls/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn der(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(text(&format!("{name}.pem")).as_bytes()).unwrap()
}

#[test]
fn channels_are_bound_by_the_hash_of_the_certificates_signature() {
    for (name, hash) in END_POINTS {
        let found = end_point(&der(name)).unwrap();
        let hex: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, hash, "{name}");
    }
    assert_eq!(end_point(&der("ed25519")), None, "its signature has no hash");
    assert_eq!(end_point(b"no certificate"), None);
}

#[test]
fn the_first_common_name_counts() {
    assert_eq!(common_name(&der("rsa_sha1")).as_deref(), Some("rsa sha1"));
    assert_eq!(common_name(&der("ec_sha1")).as_deref(), Some("first"));
    assert_eq!(common_name(&der("ed25519")), None);
    assert_eq!(common_name(b""), None);
}

#[test]
fn a_key_has_to_be_the_certificates() {
    let (certificate, _) = self_signed("localhost");
    let (_, key) = self_signed("localhost");
    let problem = Acceptor::new(TlsMode::Allow, &files(&certificate, &key, None)).unwrap_err();
    assert_eq!(problem.to_string(), "test: \"test.pem\": not the key of the certificate");
    assert!(Connector::new(&files(&certificate, &key, None)).is_err());
    assert!(Acceptor::new(TlsMode::Allow, &TlsFiles::default()).unwrap().is_none());
}

#[test]
fn keys_are_taken_as_openssl_writes_them() {
    // A section with the curve comes before the key.
    let (certificate, key) = (text("ec_parameters.pem"), text("ec_parameters.key"));
    assert!(key.contains("EC PARAMETERS") && key.contains("EC PRIVATE KEY"));
    assert!(Acceptor::new(TlsMode::Allow, &files(&certificate, &key, None)).unwrap().is_some());
}

/// Certificates by the recipe of PostgreSQL's documentation: the server's is of X.509's first version, without
/// extensions, and its CN is 127.0.0.1.
fn by_the_recipe() -> TlsFiles {
    files(&text("first_version.pem"), &text("first_version.key"), Some(&text("root.pem")))
}

#[tokio::test]
async fn certificates_by_postgresqls_recipe_are_good_on_both_sides() {
    let ours = by_the_recipe();
    for mode in [TlsMode::Prefer, TlsMode::Require, TlsMode::VerifyCa] {
        let (server, client) = shake_hands(sockets(), (TlsMode::VerifyCa, &ours), (mode, &ours)).await;
        let (server, client) = (server.unwrap(), client.unwrap());
        let shown = server.tls().and_then(|tls| tls.peer_certificate()).and_then(common_name);
        assert_eq!(shown.as_deref(), Some("127.0.0.1"));
        let end_point = |stream: &Stream| stream.tls().unwrap().end_point().cloned();
        assert!(end_point(&server).is_some() && end_point(&server) == end_point(&client));
    }
    let full = (TlsMode::VerifyFull, &ours);
    let (_, client) = shake_hands(sockets(), (TlsMode::Allow, &ours), full).await;
    assert!(client.unwrap_err().to_string().contains("not valid for name"));
}

#[tokio::test]
async fn such_a_certificate_of_another_ca_is_not() {
    let ours = by_the_recipe();
    let other = TlsFiles {
        ca: Some(pem(vec![CertificateDer::from_pem_slice(self_signed("x").0.as_bytes()).unwrap()])),
        ..ours.clone()
    };
    let (_, client) = shake_hands(sockets(), (TlsMode::Allow, &ours), (TlsMode::VerifyCa, &other)).await;
    assert!(client.unwrap_err().to_string().contains("UnknownIssuer"));
    let (server, _) = shake_hands(sockets(), (TlsMode::VerifyCa, &other), (TlsMode::Require, &ours)).await;
    assert!(server.unwrap_err().to_string().contains("UnknownIssuer"));
}

#[tokio::test]
async fn a_client_without_a_certificate_is_let_in_unless_one_is_demanded() {
    let ours = by_the_recipe();
    let nothing = TlsFiles::default();
    for (mode, lets_in) in [(TlsMode::Allow, true), (TlsMode::Require, true), (TlsMode::VerifyFull, false)] {
        let (server, _) = shake_hands(sockets(), (mode, &ours), (TlsMode::Require, &nothing)).await;
        assert_eq!(server.is_ok(), lets_in, "{mode}");
    }
}

#[tokio::test]
async fn versions_that_are_not_spoken_are_not() {
    let both = by_the_recipe();
    let only = |versions| TlsFiles { versions, ..both.clone() };
    let (old, new) = (only(Versions::Tls12), only(Versions::Tls13));
    let allow = TlsMode::Allow;
    for (server, client, works) in [
        (&both, &old, true),
        (&both, &new, true),
        (&new, &both, true),
        (&new, &old, false),
        (&old, &new, false),
    ] {
        let (_, client) = shake_hands(sockets(), (allow, server), (TlsMode::Require, client)).await;
        assert_eq!(client.is_ok(), works);
    }
}
