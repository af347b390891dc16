//! What the tests of this package share.

use std::collections::HashMap;

use crate::{Config, Problems, Source, load};

/// An environment that gives a database and a user, so that a text under test need not.
const COMPLETE: [(&str, &str); 1] = [("DATABASE_URL", "postgres://tester:pw@127.0.0.1/test")];

pub(crate) fn env(variables: &[(&str, &str)]) -> HashMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_text(variables: &[(&str, &str)], text: &str) -> Result<Config, Problems> {
    let source = Source::Text { name: "t.toml".to_owned(), text: text.to_owned() };
    load(&source, &env(variables))
}

pub(crate) fn config_in(variables: &[(&str, &str)], text: &str) -> Config {
    load_text(variables, text).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(crate) fn problems_in(variables: &[(&str, &str)], text: &str) -> String {
    load_text(variables, text).unwrap_err().to_string()
}

pub(crate) fn config(text: &str) -> Config {
    config_in(&COMPLETE, text)
}

pub(crate) fn problems(text: &str) -> String {
    problems_in(&COMPLETE, text)
}

/// A directory with `cert`, `key` and `client_ca`, and the keys of `[server]` that name them. What lies between the
/// PEM's lines is not looked at here.
pub(crate) fn pem_files() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut keys = String::new();
    for (key, kind) in [("cert", "CERTIFICATE"), ("key", "PRIVATE KEY"), ("client_ca", "CERTIFICATE")] {
        let path = dir.path().join(key);
        let pem = format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        std::fs::write(&path, if key == "cert" { pem.repeat(2) } else { pem }).unwrap();
        keys += &format!("tls_{key} = '{}'\n", path.display());
    }
    (dir, keys)
}

/// A line before the text that frees it from naming users.
pub(crate) fn trusting(text: &str) -> String {
    format!("server = {{ auth = \"trust\", auth_query = \"SELECT $1, ''\" }}\n{text}")
}
