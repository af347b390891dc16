//! What a statement is, by the words it starts with.
//!
//! Transaction control and session state are told apart here, without the parser: these commands are few, their
//! grammar is fixed, and they must be understood even where the parser has gaps.

use super::scan::{Scan, all_tokens};

/// What kind of statement it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing but space and comments.
    Empty,
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END; with AND CHAIN.
    Commit {
        /// AND CHAIN: a new one begins at once.
        chain: bool,
    },
    /// ROLLBACK, ABORT; with AND CHAIN.
    Rollback {
        /// AND CHAIN: a new one begins at once.
        chain: bool,
    },
    /// SAVEPOINT, RELEASE, ROLLBACK TO.
    Savepoint,
    /// SET LOCAL, SET TRANSACTION, SET CONSTRAINTS: over with the transaction.
    SetLocal {
        /// The search path that it sets, if it does.
        search_path: Option<String>,
    },
    /// SET name.
    Set {
        /// The parameter, in lower case.
        name: String,
        /// Its value, where it is one plain word or literal.
        value: Option<String>,
    },
    /// SET SESSION CHARACTERISTICS: what transactions are like from here on.
    Characteristics,
    /// RESET name.
    Reset {
        /// The parameter, in lower case; `all` for all.
        name: String,
    },
    /// SHOW.
    Show,
    /// DISCARD ALL.
    DiscardAll,
    /// DISCARD TEMP, PLANS, SEQUENCES: the tag it is answered with.
    Discard(&'static str),
    /// DEALLOCATE name, or ALL (`None`).
    Deallocate(Option<String>),
    /// CLOSE, FETCH, MOVE: of a cursor in the running transaction.
    Cursor,
    /// DECLARE.
    Declare {
        /// WITH HOLD, or words that may say so: it may outlive its transaction.
        hold: bool,
    },
    /// SELECT, VALUES, TABLE, WITH, INSERT, UPDATE, DELETE, MERGE: for the planner.
    Plannable,
    /// COPY.
    Copy,
    /// EXPLAIN.
    Explain,
    /// NOTIFY.
    Notify,
    /// LISTEN.
    Listen,
    /// UNLISTEN.
    Unlisten,
    /// SELECT pg_listening_channels(), and no more.
    ListeningChannels,
    /// CREATE of a temporary table, view or sequence.
    Temporary,
    /// LOAD of a library.
    Load,
    /// PREPARE of a statement.
    Prepare,
    /// EXECUTE of a prepared statement.
    Execute,
    /// PREPARE TRANSACTION and its kin.
    TwoPhase,
    /// CREATE, ALTER, DROP, GRANT, TRUNCATE, …: changes every shard's catalog or files.
    Ddl,
    /// VACUUM, ANALYZE, REINDEX, …, CALL, DO, LOCK and what is not known: as [`Command::Ddl`], without new catalog.
    Utility,
}

impl Command {
    /// Tells by the leading words of a scanned text.
    pub fn of(scan: &Scan, text: &str) -> Self {
        let word = |n| scan.word_at(text, n);
        match word(0).as_str() {
            "" | ";" => Self::Empty,
            "SELECT" if asks_for_channels(scan, text) => Self::ListeningChannels,
            "SELECT" | "VALUES" | "TABLE" | "WITH" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "(" => {
                Self::Plannable
            }
            "BEGIN" | "START" => Self::Begin,
            "COMMIT" if word(1) == "PREPARED" => Self::TwoPhase,
            "COMMIT" | "END" => Self::Commit { chain: chains(scan, text) },
            "ROLLBACK" if word(1) == "PREPARED" => Self::TwoPhase,
            "ROLLBACK" if word(1) == "TO" || word(2) == "TO" => Self::Savepoint,
            "ROLLBACK" | "ABORT" => Self::Rollback { chain: chains(scan, text) },
            "SAVEPOINT" | "RELEASE" => Self::Savepoint,
            "SET" => Self::of_set(scan, text),
            "RESET" => Self::of_reset(scan, text),
            "SHOW" => Self::Show,
            "COPY" => Self::Copy,
            "EXPLAIN" => Self::Explain,
            other => Self::of_rest(other, scan, text),
        }
    }

    /// The same for this text in particular: a plan's command may be that of another text, which differs in literals.
    pub fn of_text(text: &str) -> Self {
        let mut scan = Scan::default();
        // A text that was planned can be scanned.
        let _ = scan.run(text);
        Self::of(&scan, text)
    }

    fn of_rest(first: &str, scan: &Scan, text: &str) -> Self {
        let word = |n| scan.word_at(text, n);
        match first {
            "DISCARD" if word(1) == "ALL" => Self::DiscardAll,
            "DISCARD" => match word(1).as_str() {
                "TEMP" | "TEMPORARY" => Self::Discard("DISCARD TEMP"),
                "PLANS" => Self::Discard("DISCARD PLANS"),
                "SEQUENCES" => Self::Discard("DISCARD SEQUENCES"),
                _ => Self::Utility,
            },
            "DEALLOCATE" => Self::Deallocate(deallocated(scan, text)),
            "PREPARE" if word(1) == "TRANSACTION" => Self::TwoPhase,
            "PREPARE" => Self::Prepare,
            "EXECUTE" => Self::Execute,
            "CLOSE" | "FETCH" | "MOVE" => Self::Cursor,
            // Behind a WITH that is the last word looked at, HOLD may come.
            "DECLARE" => Self::Declare { hold: has_word(scan, text, "HOLD") || word(7) == "WITH" },
            "NOTIFY" => Self::Notify,
            "UNLISTEN" => Self::Unlisten,
            "LISTEN" => Self::Listen,
            "LOAD" => Self::Load,
            "CREATE" if creates_temporary(scan, text) => Self::Temporary,
            "CREATE" | "ALTER" | "DROP" | "GRANT" | "REVOKE" | "COMMENT" | "SECURITY" | "TRUNCATE"
            | "REASSIGN" | "IMPORT" | "REFRESH" => Self::Ddl,
            _ => Self::Utility,
        }
    }

    fn of_set(scan: &Scan, text: &str) -> Self {
        let mut n = 1;
        match scan.word_at(text, 1).as_str() {
            "LOCAL" if scan.word_at(text, 2) == "SEARCH_PATH" => {
                let path = scan
                    .words
                    .get(3)
                    .map(|&(_, end)| text[end..].trim().trim_end_matches(';').trim().to_owned());
                return Self::SetLocal { search_path: path };
            }
            "LOCAL" | "TRANSACTION" | "CONSTRAINTS" => return Self::SetLocal { search_path: None },
            "SESSION" if scan.word_at(text, 2) == "CHARACTERISTICS" => {
                return Self::Characteristics;
            }
            "SESSION" if scan.word_at(text, 2) == "AUTHORIZATION" => {
                return Self::Set { name: "session_authorization".into(), value: None };
            }
            "SESSION" => n = 2,
            _ => {}
        }
        if scan.word_at(text, n) == "TIME" && scan.word_at(text, n + 1) == "ZONE" {
            return Self::Set { name: "timezone".into(), value: None };
        }
        let alias = match scan.word_at(text, n).as_str() {
            "NAMES" => Some("client_encoding"),
            "SCHEMA" => Some("search_path"),
            _ => None,
        };
        if let Some(name) = alias {
            let value =
                scan.words.get(n + 1).map(|&(start, end)| text[start..end].trim_matches('\'').to_owned());
            return Self::Set { name: name.into(), value };
        }
        if scan.word_at(text, n) == "XML" {
            return Self::Set { name: "xmloption".into(), value: None };
        }
        let (name, n) = parameter(scan, text, n);
        if name == "role" {
            return Self::Set { name, value: None };
        }
        let value = scan.words.get(n + 1).map(|&(start, end)| &text[start..end]);
        let last = scan
            .words
            .get(n + 1)
            .is_some_and(|&(_, end)| text[end..].trim_matches([';', ' ', '\n']).is_empty());
        let value = value.filter(|_| last).map(|v| v.trim_matches('\'').replace("''", "'"));
        // A list's value is all that follows: which tables a name means depends on it.
        let list = (name == "search_path").then(|| scan.words.get(n)).flatten();
        let value =
            list.map(|&(_, end)| text[end..].trim().trim_end_matches(';').trim().to_owned()).or(value);
        Self::Set { name, value }
    }

    fn of_reset(scan: &Scan, text: &str) -> Self {
        let name = match scan.word_at(text, 1).as_str() {
            "TIME" => "timezone".into(),
            "SESSION" => "session_authorization".into(),
            _ => parameter(scan, text, 1).0,
        };
        Self::Reset { name }
    }

    /// Whether it may change data or catalogs, seen from the words alone.
    pub fn is_ddl(&self) -> bool {
        matches!(self, Self::Ddl)
    }
}

/// What SET SESSION CHARACTERISTICS sets: parameters and their values; `None` where it is not understood.
pub fn characteristics(text: &str) -> Option<Vec<(&'static str, &'static str)>> {
    let words: Vec<String> =
        all_tokens(text)?.into_iter().map(|token| text[token].to_ascii_uppercase()).collect();
    let mut words = words.iter().map(String::as_str).filter(|word| !matches!(*word, "," | ";")).skip(5);
    let mut set = Vec::new();
    while let Some(word) = words.next() {
        let mut then = |second: &str| words.next().filter(|next| *next == second).map(drop);
        set.push(match word {
            "ISOLATION" => {
                then("LEVEL")?;
                let level = match words.next()? {
                    "SERIALIZABLE" => "serializable",
                    "REPEATABLE" => words.next().filter(|next| *next == "READ").map(|_| "repeatable read")?,
                    "READ" => match words.next()? {
                        "COMMITTED" => "read committed",
                        "UNCOMMITTED" => "read uncommitted",
                        _ => return None,
                    },
                    _ => return None,
                };
                ("default_transaction_isolation", level)
            }
            "READ" => match words.next()? {
                "ONLY" => ("default_transaction_read_only", "on"),
                "WRITE" => ("default_transaction_read_only", "off"),
                _ => return None,
            },
            "NOT" => {
                then("DEFERRABLE")?;
                ("default_transaction_deferrable", "off")
            }
            "DEFERRABLE" => ("default_transaction_deferrable", "on"),
            _ => return None,
        });
    }
    (!set.is_empty()).then_some(set)
}

/// A parameter's name at token `n`, dots included, and the token behind it.
fn parameter(scan: &Scan, text: &str, mut n: usize) -> (String, usize) {
    let mut name = String::new();
    while let Some(&(start, end)) = scan.words.get(n) {
        name.push_str(text[start..end].trim_matches('"'));
        n += 1;
        match scan.words.get(n) {
            Some(&(start, end)) if &text[start..end] == "." => name.push('.'),
            _ => break,
        }
        n += 1;
    }
    (name.to_ascii_lowercase(), n)
}

/// SELECT pg_listening_channels(), or SELECT * FROM it.
fn asks_for_channels(scan: &Scan, text: &str) -> bool {
    let name = if scan.word_at(text, 1) == "*" && scan.word_at(text, 2) == "FROM" { 3 } else { 1 };
    scan.word_at(text, name) == "PG_LISTENING_CHANNELS"
        && scan.word_at(text, name + 1) == "("
        && scan.word_at(text, name + 2) == ")"
        && matches!(scan.word_at(text, name + 3).as_str(), "" | ";")
}

fn has_word(scan: &Scan, text: &str, word: &str) -> bool {
    scan.words.iter().any(|&(start, end)| text[start..end].eq_ignore_ascii_case(word))
}

fn chains(scan: &Scan, text: &str) -> bool {
    has_word(scan, text, "CHAIN") && !has_word(scan, text, "NO")
}

fn creates_temporary(scan: &Scan, text: &str) -> bool {
    (1..4).any(|n| matches!(scan.word_at(text, n).as_str(), "TEMP" | "TEMPORARY"))
        || has_word(scan, text, "pg_temp")
}

fn deallocated(scan: &Scan, text: &str) -> Option<String> {
    let n = if scan.word_at(text, 1) == "PREPARE" { 2 } else { 1 };
    let &(start, end) = scan.words.get(n)?;
    let token = &text[start..end];
    match token.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(quoted) => Some(quoted.replace("\"\"", "\"")),
        None if token.eq_ignore_ascii_case("all") => None,
        None => Some(token.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Command {
        let mut scan = Scan::default();
        scan.run(text).unwrap();
        Command::of(&scan, text)
    }

    #[test]
    fn transaction_control_is_told_by_its_words() {
        assert_eq!(command("/* x */ begin isolation level serializable"), Command::Begin);
        assert_eq!(command("COMMIT AND CHAIN"), Command::Commit { chain: true });
        assert_eq!(command("commit and no chain"), Command::Commit { chain: false });
        assert_eq!(command("rollback to savepoint a"), Command::Savepoint);
        assert_eq!(command("ROLLBACK WORK TO a"), Command::Savepoint);
        assert_eq!(command("ROLLBACK PREPARED 'x'"), Command::TwoPhase);
        assert_eq!(command(" -- nothing\n ;"), Command::Empty);
        assert_eq!(command("select pg_listening_channels();"), Command::ListeningChannels);
        assert_eq!(command("select * from pg_listening_channels()"), Command::ListeningChannels);
        assert_eq!(command("select pg_listening_channels() limit 1"), Command::Plannable);
    }

    #[test]
    fn session_parameters_are_named_in_lower_case() {
        let set = |name: &str, value: Option<&str>| Command::Set {
            name: name.into(),
            value: value.map(Into::into),
        };
        assert_eq!(command("SET App.Tenant = 'it''s'"), set("app.tenant", Some("it's")));
        assert_eq!(command("SET search_path TO a, b;"), set("search_path", Some("a, b")));
        assert_eq!(command("set session time zone 'UTC'"), set("timezone", None));
        assert_eq!(command("SET statement_timeout = 50;"), set("statement_timeout", Some("50")));
        assert_eq!(command("SET LOCAL a.b = 1"), Command::SetLocal { search_path: None });
        assert_eq!(command("RESET ALL"), Command::Reset { name: "all".into() });
    }

    #[test]
    fn session_characteristics_are_parameters() {
        let text = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY, NOT DEFERRABLE;";
        assert_eq!(command(text), Command::Characteristics);
        let set = characteristics(text).unwrap();
        assert_eq!(set[0], ("default_transaction_isolation", "repeatable read"));
        assert_eq!(
            set[1..],
            [("default_transaction_read_only", "on"), ("default_transaction_deferrable", "off")]
        );
        assert_eq!(characteristics("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL"), None);
        assert_eq!(characteristics("SET SESSION CHARACTERISTICS AS TRANSACTION"), None);
    }

    #[test]
    fn what_stays_on_a_server_is_known() {
        assert_eq!(command("create temp table t()"), Command::Temporary);
        assert_eq!(command("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1"), Command::Temporary);
        assert_eq!(command("create table if not exists pg_temp.t()"), Command::Temporary);
        assert_eq!(command("create table temperature()"), Command::Ddl);
        let holds = |text| matches!(command(text), Command::Declare { hold: true });
        assert!(holds("declare c cursor with hold for select 1"));
        assert!(holds("declare c binary insensitive no scroll cursor with hold for select 1"));
        assert!(!holds("declare c cursor for select 1"));
        assert_eq!(command("DEALLOCATE ALL"), Command::Deallocate(None));
        assert_eq!(command("deallocate \"A b\""), Command::Deallocate(Some("A b".into())));
    }
}
