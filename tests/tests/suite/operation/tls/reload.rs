//! Certificates change while the proxy runs.

use shardway_tests::{Program, shardway_program};

use super::certificates::Authority;
use super::{Secured, WHO, assert_says};
use crate::operation::support::{lines, try_reload};

const CHECKED: &str = "sslmode=verify-full sslrootcert={CA}";

#[tokio::test]
async fn new_connections_see_new_certificates() {
    let secured = Secured::with("allow", "");
    let staying = secured.proxy.connect("app").await;
    assert_eq!(secured.said(CHECKED), "app");
    let next = Authority::new("the next CA");
    secured.folder.write_identity("proxy", &next.sign("127.0.0.1", &["127.0.0.1"]));
    // Nobody has told the proxy yet.
    assert_eq!(secured.said(CHECKED), "app");
    secured.proxy.sighup();
    secured.proxy.wait_for_log("reload: server.tls_files: changed");
    assert_says(&secured.refused(CHECKED), "certificate verify failed");
    secured.folder.write("ca.crt", next.pem());
    assert_eq!(secured.said(CHECKED), "app");
    assert_eq!(lines(&staying, WHO).await, ["app"]);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_named_with_its_place() {
    let secured = Secured::with("allow", "");
    let key = secured.folder.path("proxy.key");
    let bad = [
        ("no key at all\n".to_owned(), "holds nothing of the kind in PEM form"),
        (Authority::new("a").sign("b", &[]).key, "not the key of the certificate"),
    ];
    for (content, what) in bad {
        secured.folder.write("proxy.key", content);
        let (_, message) = try_reload(&secured.proxy).await.unwrap_err();
        assert_says(&message, &key);
        assert_says(&message, what);
        assert_says(&message, &format!("{}:", secured.proxy.config_path().display()));
        secured.proxy.wait_for_log("the old configuration is kept");
        assert_eq!(secured.said(CHECKED), "app");
        let config = secured.proxy.config_path();
        let ran = Program::new(shardway_program()).args(["check", "--config"]).arg(&config).run();
        assert_eq!(ran.status.code(), Some(1));
        assert_says(&ran.stdout, what);
        assert_says(&ran.stdout, &format!("{}:", config.display()));
    }
}
