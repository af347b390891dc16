//! Certificates as logins, and rules of an hba file that ask for TLS.

use std::fs;

use super::certificates::Authority;
use super::{Secured, assert_says};

/// As `cert`, a client that shows this certificate.
fn showing(name: &str) -> String {
    format!("sslmode=require sslcert={{DIR}}/{name}.crt sslkey={{DIR}}/{name}.key password=none")
}

impl Secured {
    fn with_clients(tls: &str, more: &str) -> Secured {
        let secured = Secured::with(tls, more);
        for name in ["app", "md5user"] {
            secured.folder.write_identity(name, &secured.authority.sign(name, &[]));
        }
        let stranger = Authority::new("somebody else's").sign("app", &[]);
        secured.folder.write_identity("stranger", &stranger);
        secured
    }
}

#[test]
fn a_certificates_common_name_is_the_user() {
    let secured = Secured::with_clients("allow", "auth = 'cert'\ntls_client_ca = '{CA}'\n");
    assert_eq!(secured.said(&showing("app")), "app");
    let said = secured.refused(&showing("md5user"));
    assert_says(&said, "FATAL:  certificate authentication failed for user \"app\"");
    let nothing = "FATAL:  connection requires a valid client certificate";
    assert_says(&secured.refused("sslmode=require"), nothing);
    assert_says(&secured.refused("sslmode=disable"), nothing);
    assert_says(&secured.refused(&showing("stranger")), "alert unknown ca");
    // Who is not configured does not get in by a certificate either.
    secured.folder.write_identity("nobody", &secured.authority.sign("nobody", &[]));
    assert_says(&secured.refused_as("nobody", &showing("nobody")), "role \"nobody\" does not exist");
}

#[test]
fn verify_modes_demand_a_certificate_of_everybody() {
    for tls in ["verify-ca", "verify-full"] {
        let secured = Secured::with_clients(tls, "tls_client_ca = '{CA}'\n");
        // Whose it is does not matter: the login is by password.
        assert_eq!(secured.said(&showing("md5user").replace("password=none", "")), "app");
        assert_says(&secured.refused("sslmode=require"), "certificate required");
        assert_says(&secured.refused(&showing("stranger")), "alert unknown ca");
        assert_says(&secured.refused("sslmode=disable"), "FATAL:  SSL required");
    }
}

/// A proxy that goes by these rules, with a map from `CN.example` to `CN`.
fn ruled(rules: &str) -> (Secured, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("hba"), rules).unwrap();
    fs::write(path("ident"), "names /^(.*)\\.example$ \\1\n").unwrap();
    let secured = Secured::with_clients(
        "allow",
        &format!(
            "auth = 'hba'\nhba_file = '{}'\nident_file = '{}'\ntls_client_ca = '{{CA}}'\n",
            path("hba").display(),
            path("ident").display()
        ),
    );
    (secured, dir)
}

#[test]
fn rules_are_for_connections_by_tls_or_without() {
    let (secured, _dir) =
        ruled("hostssl all app all scram-sha-256\nhostnossl all md5user all scram-sha-256\n");
    assert_eq!(secured.said("sslmode=require channel_binding=require"), "app");
    let said = secured.refused("sslmode=disable");
    assert_says(
        &said,
        "no pg_hba.conf entry for host \"127.0.0.1\", user \"app\", database \"shop\", no encryption",
    );
    assert_eq!(secured.psql_as("md5user", "sslmode=disable").args(["-c", "SELECT 1"]).run().said(), "1");
    let said = secured.refused_as("md5user", "sslmode=require");
    assert_says(&said, "user \"md5user\", database \"shop\", SSL encryption");
}

#[test]
fn a_rule_may_ask_for_a_certificate_with_a_mapped_name() {
    let (secured, _dir) = ruled("hostssl all all all cert map=names\nhost all all all reject\n");
    secured.folder.write_identity("mapped", &secured.authority.sign("app.example", &[]));
    assert_eq!(secured.said(&showing("mapped")), "app");
    assert_says(&secured.refused(&showing("app")), "certificate authentication failed for user \"app\"");
    assert_says(&secured.refused("sslmode=disable"), "pg_hba.conf rejects connection");
}

#[test]
fn a_rule_may_ask_for_a_certificate_beside_the_password() {
    let (secured, _dir) = ruled(
        "hostssl all app all scram-sha-256 clientcert=verify-full\n\
         hostssl all md5user all scram-sha-256 clientcert=verify-ca\n",
    );
    let with_password = |name: &str| showing(name).replace("password=none", "");
    assert_eq!(secured.said(&with_password("app")), "app");
    assert_says(&secured.refused(&with_password("md5user")), "certificate authentication failed");
    assert_says(&secured.refused(&showing("app")), "password authentication failed");
    assert_says(&secured.refused("sslmode=require"), "connection requires a valid client certificate");
    let any = secured.psql_as("md5user", &with_password("app")).args(["-c", "SELECT 1"]).run();
    assert_eq!(any.said(), "1");
}
