//! One line of the audit log.
//!
//! Literals may hold secrets, and parameters more often do: as pgaudit does unless it is told otherwise, a statement's
//! text is logged as it was sent and its parameters are not, and where roles, user mappings, servers or subscriptions are
//! given passwords the text ends at that word.

use crate::schema::{ShardRef, Table};
use crate::sql::scan::tokens;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a statement that are logged; of longer ones the beginning.
const MOST_TEXT: usize = 1024 * 1024;

/// Who did it.
#[derive(Clone, Debug)]
pub struct Who {
    /// Role.
    pub user: String,
    /// Database, as clients see it.
    pub database: String,
    /// `host:port`, or `[local]`.
    pub client: String,
    /// As the client calls itself now.
    pub application_name: Option<String>,
    /// The number that the client knows its connection by (`pg_backend_pid` of its BackendKeyData).
    pub session: u32,
}

/// How a statement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran. With the rows of its command tag, where that counts some.
    Ok(Option<u64>),
    /// It failed with this SQLSTATE.
    Error(String),
    /// Nobody knows: its server or its client was lost.
    Unknown,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// COMMIT went through.
    Committed,
    /// It was rolled back.
    RolledBack,
    /// A server was lost while it committed.
    Unknown,
}

impl End {
    fn word(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::RolledBack => "rolled back",
            Self::Unknown => "unknown",
        }
    }
}

/// What a statement is, before it runs.
#[derive(Clone, Debug)]
pub struct Statement {
    /// When it came.
    pub time: SystemTime,
    /// Its text.
    pub text: Arc<str>,
    /// What it writes.
    pub tables: Vec<Arc<Table>>,
}

/// What became of a statement.
#[derive(Clone, Debug)]
pub struct Ending<'a> {
    /// How it ended.
    pub outcome: Outcome,
    /// The transaction that it is in; `None`: it was one by itself.
    pub transaction: Option<&'a str>,
    /// Whether what it did stands, if that is known already: of one in a transaction the line of its end says that.
    pub committed: Option<bool>,
    /// From its coming to its end.
    pub duration: Duration,
}

/// A statement's line.
pub fn of_statement(
    who: &Who,
    statement: &Statement,
    shards: &[(&str, ShardRef)],
    ending: &Ending<'_>,
) -> String {
    let mut line = head(who, "statement", statement.time);
    let text = redacted(&statement.text);
    let shown = shortened(&text);
    let command = tokens(shown).first().map(|word| word.to_ascii_uppercase());
    let tables: Vec<String> = statement.tables.iter().map(|t| format!("{}.{}", t.schema, t.name)).collect();
    let shards: Vec<String> = shards.iter().map(|(group, at)| format!("{group}/{}", at.shard.0)).collect();
    line.insert("command".into(), command.into());
    line.insert("statement".into(), shown.into());
    if shown.len() < text.len() {
        line.insert("statement_bytes".into(), text.len().into());
    }
    line.insert("tables".into(), tables.into());
    line.insert("shards".into(), shards.into());
    let (word, code, rows) = match &ending.outcome {
        Outcome::Ok(rows) => ("ok", None, *rows),
        Outcome::Error(code) => ("error", Some(code.as_str()), None),
        Outcome::Unknown => ("unknown", None, None),
    };
    line.insert("outcome".into(), word.into());
    line.insert("sqlstate".into(), code.into());
    line.insert("rows".into(), rows.into());
    line.insert("duration_ms".into(), milliseconds(ending.duration));
    line.insert("transaction".into(), ending.transaction.into());
    line.insert("committed".into(), ending.committed.into());
    ended(line)
}

/// The line of a transaction's end.
pub fn of_end(who: &Who, transaction: &str, end: End) -> String {
    let mut line = head(who, "transaction", SystemTime::now());
    line.insert("transaction".into(), transaction.into());
    line.insert("outcome".into(), end.word().into());
    ended(line)
}

fn head(who: &Who, event: &str, time: SystemTime) -> Map<String, Value> {
    let Who { user, database, client, application_name, session } = who;
    let mut line = Map::new();
    line.insert("time".into(), timestamp(time).into());
    line.insert("event".into(), event.into());
    line.insert("user".into(), user.as_str().into());
    line.insert("database".into(), database.as_str().into());
    line.insert("client".into(), client.as_str().into());
    line.insert("application_name".into(), application_name.as_deref().into());
    line.insert("session".into(), json!(session));
    line
}

fn ended(line: Map<String, Value>) -> String {
    let mut text = Value::Object(line).to_string();
    text.push('\n');
    text
}

fn milliseconds(duration: Duration) -> Value {
    // Three digits behind the point: microseconds.
    json!(duration.as_micros() as f64 / 1000.0)
}

/// RFC 3339, in UTC, to the millisecond.
fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    // `YYYY-MM-DD hh:mm:ss UTC`
    let seconds = crate::admin::timestamp(at);
    let mut text = seconds[..19].replacen(' ', "T", 1);
    let _ = write!(text, ".{:03}Z", since.subsec_millis());
    text
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MOST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A text without the password that it may give to somebody.
fn redacted(text: &str) -> Cow<'_, str> {
    let words = tokens(text);
    let is = |at: usize, any: &[&str]| {
        words.get(at).is_some_and(|w| any.iter().any(|x| w.eq_ignore_ascii_case(x)))
    };
    let keeper = ["ROLE", "USER", "GROUP", "SERVER", "SUBSCRIPTION", "SYSTEM"];
    if !is(0, &["CREATE", "ALTER"]) || !is(1, &keeper) {
        return Cow::Borrowed(text);
    }
    let secret = ["password", "conninfo", "connection"];
    let lower = text.to_ascii_lowercase();
    match secret.iter().filter_map(|word| lower.find(word).map(|at| at + word.len())).min() {
        Some(end) => Cow::Owned(format!("{} <REDACTED>", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The rows that a command tag counts.
pub fn rows(tag: &str) -> Option<u64> {
    tag.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_rfc_3339() {
        let at = UNIX_EPOCH + Duration::from_millis(1_763_699_444_007);
        assert_eq!(timestamp(at), "2025-11-21T04:30:44.007Z");
    }

    #[test]
    fn passwords_are_cut_off_and_no_other_text_is() {
        for (text, shown) in [
            ("ALTER ROLE a PASSWORD 'x'", "ALTER ROLE a PASSWORD <REDACTED>"),
            (
                "/* PASSWORD */ create user a with login encrypted password 'x' valid until 'now'",
                "/* PASSWORD <REDACTED>",
            ),
            (
                "CREATE SUBSCRIPTION s CONNECTION 'password=x' PUBLICATION p",
                "CREATE SUBSCRIPTION s CONNECTION <REDACTED>",
            ),
            ("CREATE TABLE t (password text)", "CREATE TABLE t (password text)"),
            ("INSERT INTO t VALUES ('password')", "INSERT INTO t VALUES ('password')"),
            ("ALTER ROLE a NOLOGIN", "ALTER ROLE a NOLOGIN"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened(&"é".repeat(MOST_TEXT)).len(), MOST_TEXT);
        assert_eq!(shortened(&format!("x{}", "é".repeat(MOST_TEXT))).len(), MOST_TEXT - 1);
        assert_eq!(shortened("é"), "é");
    }

    #[test]
    fn tags_that_count_give_rows() {
        assert_eq!((rows("INSERT 0 5"), rows("UPDATE 3"), rows("CREATE TABLE")), (Some(5), Some(3), None));
    }
}
