use super::*;
use crate::model::PoolMode;
use std::time::Duration;

/// PgBouncer 1.25's `SHOW CONFIG` with nothing set: key, default, whether it can be changed.
const SHOWN: &str = include_str!("../../../tests/pgbouncer/show_config.txt");

fn line(row: &Row) -> String {
    let default = row.default.as_deref().unwrap_or("NULL");
    format!("{}|{default}|{}", row.key, if row.changeable { "yes" } else { "no" })
}

#[test]
fn names_defaults_and_what_can_be_changed_are_pgbouncers() {
    // These came after 1.25.
    let later = ["login_notify_message", "pool_idle_timeout"];
    let rows = Settings::default().rows();
    let ours: Vec<String> = rows.iter().filter(|row| !later.contains(&row.key)).map(line).collect();
    assert_eq!(ours, SHOWN.lines().collect::<Vec<_>>());
}

#[test]
fn a_default_reads_back_as_itself() {
    let mut settings = Settings::default();
    for row in Settings::default().rows() {
        let Some(default) = row.default else { continue };
        settings.put(row.key, &default).unwrap_or_else(|error| panic!("{}: {error}", row.key));
    }
    assert_eq!(settings, Settings::default());
}

#[test]
fn what_is_set_is_shown() {
    let mut settings = Settings::default();
    settings.set("pool_mode", "TRANSACTION").unwrap();
    settings.set("query_timeout", "0.250").unwrap();
    assert_eq!(settings.pooling.pool_mode, PoolMode::Transaction);
    assert_eq!(settings.serving.query_timeout, Duration::from_millis(250));
    let shown = |name: &str| settings.row(name).and_then(|row| row.value);
    assert_eq!(shown("pool_mode").as_deref(), Some("transaction"));
    assert_eq!(shown("query_timeout").as_deref(), Some("0.25"));
    assert_eq!(shown("nothing"), None);
}

#[test]
fn what_cannot_be_set_stays_as_it_is_and_says_why() {
    let mut settings = Settings::default();
    let mut error = |name: &str, value: &str| settings.set(name, value).unwrap_err().to_string();
    assert_eq!(error("pool_mod", "session"), "unknown setting \"pool_mod\"; did you mean \"pool_mode\"?");
    assert_eq!(error("colour", "red"), "unknown setting \"colour\"");
    assert_eq!(error("default_pool_size", "1k"), "expected a whole number, found \"1k\"");
    assert_eq!(
        error("listen_port", "1"),
        "listen_port can be changed in the file alone, and counts from the next start on"
    );
    assert_eq!(settings, Settings::default());
}
