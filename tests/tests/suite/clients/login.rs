//! psql by URL, with each way to prove who one is.

use shardway_tests::{DATABASE, PASSWORD, Program};

use super::{SHOP, psql, say};

const WHO: [&str; 2] = ["-c", "SELECT current_user, count(*) FROM account WHERE user_id = 1"];

fn url(port: u16, user: &str, password: &str) -> String {
    format!("postgres://{user}:{password}@127.0.0.1:{port}/{DATABASE}")
}

fn without_password(port: u16, user: &str) -> Program {
    psql(&format!("postgres://{user}@127.0.0.1:{port}/{DATABASE}")).arg("-w").args(WHO)
}

#[test]
fn scram_is_what_is_asked_for_unless_told_otherwise() {
    let port = SHOP.proxy().port();
    assert_eq!(say(SHOP.proxy(), WHO[1]), "app|0");
    let ran = without_password(port, "app").env("PGCHANNELBINDING", "disable").run();
    assert_eq!(ran.status.code(), Some(2));
    assert!(ran.stderr.contains("fe_sendauth: no password supplied"), "{}", ran.stderr);
}

#[test]
fn every_method_lets_in_who_knows_the_password_and_nobody_else() {
    for method in ["scram-sha-256", "md5", "password"] {
        let proxy = SHOP.another_proxy_with(&format!("[server]\nauth = '{method}'"));
        // The server itself asks one for SCRAM and the other for md5.
        for user in ["app", "md5user"] {
            let ran = psql(&url(proxy.port(), user, PASSWORD)).args(WHO).run();
            assert_eq!(ran.said(), format!("{user}|0"), "{method}");
            let ran = psql(&url(proxy.port(), user, "wrong")).args(WHO).run();
            let refusal = format!("FATAL:  password authentication failed for user \"{user}\"");
            assert_eq!(ran.status.code(), Some(2));
            assert!(ran.stderr.trim_end().ends_with(&refusal), "{method}: {}", ran.stderr);
            assert_eq!(without_password(proxy.port(), user).run().status.code(), Some(2), "{method}");
        }
    }
}

#[test]
fn under_trust_no_password_is_asked_for() {
    let proxy = SHOP.another_proxy_with("[server]\nauth = 'trust'");
    for user in ["app", "md5user"] {
        assert_eq!(without_password(proxy.port(), user).run().said(), format!("{user}|0"));
    }
}

#[test]
fn the_password_may_come_from_the_environment_and_need_escapes() {
    let odd = "p@ss:w/ör%d";
    let proxy = SHOP.another_proxy_with(&format!(
        "[server]\nadmin_users = ['odd one']\n[[users]]\nname = 'odd one'\npassword = '{odd}'"
    ));
    let at = format!("127.0.0.1:{}/shardway", proxy.port());
    let by_url = psql(&format!("postgres://odd%20one:p%40ss%3Aw%2F%C3%B6r%25d@{at}"));
    let by_environment = psql(&format!("postgres://odd%20one@{at}")).env("PGPASSWORD", odd);
    for program in [by_url, by_environment] {
        let said = program.args(["-c", "SHOW VERSION"]).run();
        assert!(said.said().to_lowercase().contains("shardway"), "{said:?}");
    }
}

#[test]
fn a_client_that_wants_tls_where_there_is_none_is_told_so() {
    let ran = psql(&format!("{}?sslmode=require", SHOP.proxy().url("app"))).args(WHO).run();
    assert_eq!(ran.status.code(), Some(2));
    assert!(ran.stderr.contains("server does not support SSL, but SSL was required"), "{}", ran.stderr);
    let preferred = psql(&format!("{}?sslmode=prefer", SHOP.proxy().url("app"))).args(WHO).run();
    assert_eq!(preferred.said(), "app|0");
}
