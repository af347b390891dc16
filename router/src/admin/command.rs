//! What an admin may say: one command per text, PgBouncer's words in any case.
//!
//! Pure: text in, [`Command`] out. Names may stand in double quotes, values in single ones; a closing semicolon may
//! follow. Who may say what is decided where it is carried out.

use super::tokens::{Token, Tokens};
use crate::error::ClientError;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Nothing at all.
    Empty,
    /// SHOW name (or SELECT name), in lower case.
    Show(String),
    /// SHOW ROUTE 'statement'.
    Route(String),
    /// SET key = value.
    Set(SettingWrite),
    /// RELOAD.
    Reload,
    /// SHUTDOWN.
    Shutdown(Shutdown),
    /// DISABLE database.
    Disable(String),
    /// ENABLE database.
    Enable(String),
    /// RECONNECT, all or one database.
    Reconnect(Option<String>),
    /// WAIT_CLOSE, all or one database.
    WaitClose(Option<String>),
    /// PAUSE, all or one database.
    Pause(Option<String>),
    /// RESUME, all or one database.
    Resume(Option<String>),
    /// KILL, all or one database.
    Kill(Option<String>),
    /// KILL_CLIENT id.
    KillClient(u64),
    /// SUSPEND.
    Suspend,
}

/// A setting and its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingWrite {
    /// Its name, in lower case.
    pub key: String,
    /// As written, without quotes.
    pub value: String,
}

/// What SHUTDOWN waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// Nothing.
    Immediate,
    /// Running transactions.
    Servers,
    /// Every client to leave by itself.
    Clients,
}

impl Command {
    /// The word it begins with: its tag, too.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Empty => "",
            Self::Show(_) | Self::Route(_) => "SHOW",
            Self::Set(_) => "SET",
            Self::Reload => "RELOAD",
            Self::Shutdown(_) => "SHUTDOWN",
            Self::Disable(_) => "DISABLE",
            Self::Enable(_) => "ENABLE",
            Self::Reconnect(_) => "RECONNECT",
            Self::WaitClose(_) => "WAIT_CLOSE",
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Kill(_) => "KILL",
            Self::KillClient(_) => "KILL_CLIENT",
            Self::Suspend => "SUSPEND",
        }
    }

    /// Reads a text. Errors: it is no command, with PgBouncer's words for that.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let invalid = || {
            let text = text.trim();
            ClientError::error("42601", format!("invalid command '{text}', use SHOW HELP;"))
        };
        let mut tokens = Tokens::of(text);
        let mut words = Vec::new();
        while let Some(token) = tokens.next() {
            words.push(token.ok_or_else(invalid)?);
        }
        if words.last() == Some(&Token::Semicolon) {
            words.pop();
        }
        match words.split_first() {
            None => Ok(Self::Empty),
            Some((Token::Word(first), rest)) => of(&first.to_ascii_lowercase(), rest)?.ok_or_else(invalid),
            Some(_) => Err(invalid()),
        }
    }
}

/// The command that `first` and what follows make; `None` if they make none.
fn of(first: &str, rest: &[Token]) -> Result<Option<Command>, ClientError> {
    let name = match rest {
        [] => None,
        [Token::Word(name) | Token::Name(name)] => Some(name.clone()),
        _ if matches!(first, "show" | "select" | "set") => None,
        _ => return Ok(None),
    };
    let needed = || {
        name.clone().ok_or_else(|| ClientError::error("42601", "a database is required")).map(Option::Some)
    };
    Ok(match (first, &name) {
        ("show" | "select", Some(what)) => Some(Command::Show(what.to_ascii_lowercase())),
        ("show", None) => route(rest)?,
        ("set", None) => set(rest),
        ("reload", None) => Some(Command::Reload),
        ("suspend", None) => Some(Command::Suspend),
        ("shutdown", what) => shutdown(what.as_deref()).map(Command::Shutdown),
        ("disable", _) => needed()?.map(Command::Disable),
        ("enable", _) => needed()?.map(Command::Enable),
        ("reconnect", _) => Some(Command::Reconnect(name)),
        ("wait_close", _) => Some(Command::WaitClose(name)),
        ("pause", _) => Some(Command::Pause(name)),
        ("resume", _) => Some(Command::Resume(name)),
        ("kill", _) => Some(Command::Kill(name)),
        ("kill_client", _) => {
            let id = name.and_then(|id| id.parse().ok());
            let id = id.ok_or_else(|| ClientError::error("22023", "invalid client pointer supplied"));
            Some(Command::KillClient(id?))
        }
        _ => None,
    })
}

fn shutdown(what: Option<&str>) -> Option<Shutdown> {
    match what.map(str::to_ascii_lowercase).as_deref() {
        None => Some(Shutdown::Immediate),
        Some("wait_for_servers") => Some(Shutdown::Servers),
        Some("wait_for_clients") => Some(Shutdown::Clients),
        Some(_) => None,
    }
}

fn route(rest: &[Token]) -> Result<Option<Command>, ClientError> {
    match rest {
        [Token::Word(word), Token::Text(statement)] if word.eq_ignore_ascii_case("route") => {
            Ok(Some(Command::Route(statement.clone())))
        }
        [Token::Word(word), ..] if word.eq_ignore_ascii_case("route") => {
            Err(ClientError::error("42601", "SHOW ROUTE takes a statement in single quotes"))
        }
        _ => Ok(None),
    }
}

fn set(rest: &[Token]) -> Option<Command> {
    let [Token::Word(key) | Token::Name(key), between, value] = rest else { return None };
    let assigns = match between {
        Token::Equals => true,
        Token::Word(word) => word.eq_ignore_ascii_case("to"),
        _ => false,
    };
    let (Token::Word(value) | Token::Name(value) | Token::Text(value)) = value else { return None };
    assigns.then(|| Command::Set(SettingWrite { key: key.to_ascii_lowercase(), value: value.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Command {
        Command::parse(text).unwrap_or_else(|e| panic!("{text}: {}", e.message))
    }

    fn set(key: &str, value: &str) -> Command {
        Command::Set(SettingWrite { key: key.into(), value: value.into() })
    }

    #[test]
    fn words_are_read_in_any_case_with_or_without_a_semicolon() {
        assert_eq!(parse("show Stats_Totals"), Command::Show("stats_totals".into()));
        assert_eq!(parse("  SELECT pools ; "), Command::Show("pools".into()));
        assert_eq!(parse("Reload;"), Command::Reload);
        assert_eq!(parse("PAUSE"), Command::Pause(None));
        assert_eq!(parse("pause Shop"), Command::Pause(Some("Shop".into())));
        assert_eq!(parse("DISABLE \"my \"\"db\"\"\";"), Command::Disable("my \"db\"".into()));
        assert_eq!(parse("KILL_CLIENT 1234"), Command::KillClient(1234));
        assert_eq!(parse("shutdown wait_for_servers"), Command::Shutdown(Shutdown::Servers));
        assert_eq!(parse(" ; "), Command::Empty);
        assert_eq!(parse(""), Command::Empty);
    }

    #[test]
    fn set_takes_equals_or_to_and_words_or_text() {
        assert_eq!(parse("SET query_timeout = 30"), set("query_timeout", "30"));
        assert_eq!(parse("set Query_Timeout=250ms;"), set("query_timeout", "250ms"));
        assert_eq!(parse("SET server_reset_query TO 'it''s'"), set("server_reset_query", "it's"));
        assert_eq!(parse("SET extra_float_digits TO -1"), set("extra_float_digits", "-1"));
    }

    #[test]
    fn a_statement_to_route_stands_in_quotes() {
        let statement = "SELECT * FROM t WHERE name = 'a;b'";
        let quoted = format!("SHOW ROUTE '{}';", statement.replace('\'', "''"));
        assert_eq!(parse(&quoted), Command::Route(statement.into()));
        let error = Command::parse("SHOW ROUTE SELECT 1").unwrap_err();
        assert_eq!(error.message, "SHOW ROUTE takes a statement in single quotes");
    }

    #[test]
    fn what_is_no_command_is_said_so() {
        for text in [
            "SHOW",
            "SET a",
            "SET a =",
            "PAUSE a b",
            "nonsense",
            "SHUTDOWN now",
            "RELOAD x",
            "SHOW 'x",
            "SHOW POOLS; SHOW STATS;",
            "=",
            "SUSPEND x",
        ] {
            let error = Command::parse(text).unwrap_err();
            assert_eq!(error.message, format!("invalid command '{text}', use SHOW HELP;"));
            assert_eq!(error.code, "42601");
        }
        assert_eq!(Command::parse("ENABLE").unwrap_err().message, "a database is required");
        assert_eq!(Command::parse("KILL_CLIENT x").unwrap_err().message, "invalid client pointer supplied");
    }
}
