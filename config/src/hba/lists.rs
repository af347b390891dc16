//! Lists of databases and of users.

use super::words::Word;
use crate::context::Context;
use crate::value::quoted;

/// One entry of a list of databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Database {
    All,
    /// The one of the user's own name.
    SameUser,
    /// Replication connections. There are none here, and other connections this keyword does not match.
    Replication,
    Named(String),
}

impl Database {
    pub(super) fn matches(&self, database: &str, user: &str) -> bool {
        match self {
            Self::All => true,
            Self::SameUser => database == user,
            Self::Replication => false,
            Self::Named(name) => name == database,
        }
    }
}

/// One entry of a list of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum User {
    All,
    Named(String),
}

impl User {
    pub(super) fn matches(&self, user: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(name) => name == user,
        }
    }
}

/// What a word in the list of databases stands for.
pub(super) fn database(context: &Context<'_>, word: &Word) -> Option<Database> {
    match word.text.as_str() {
        "all" if !word.quoted => Some(Database::All),
        "sameuser" if !word.quoted => Some(Database::SameUser),
        "replication" if !word.quoted => Some(Database::Replication),
        "samerole" | "samegroup" if !word.quoted => {
            let message = format!("{} is not supported: roles are the servers' own", word.text);
            context.report(word.at, message);
            None
        }
        _ => name(context, word, "database").map(Database::Named),
    }
}

/// What a word in the list of users stands for.
pub(super) fn user(context: &Context<'_>, word: &Word) -> Option<User> {
    if word.is("all") {
        return Some(User::All);
    }
    if word.text.starts_with('+') && !word.quoted {
        let message = format!(
            "{} asks for a role's members, which only the servers know: list them, or name a file of them as @file",
            quoted(&word.text)
        );
        context.report(word.at, message);
        return None;
    }
    name(context, word, "user").map(User::Named)
}

/// A name. In quotes or not, newer PostgreSQL takes a slash for a regular expression: then it must not become a name.
fn name(context: &Context<'_>, word: &Word, what: &str) -> Option<String> {
    if word.text.is_empty() {
        context.report(word.at, format!("a {what} has a name"));
        return None;
    }
    if word.text.starts_with('/') {
        let message = format!("regular expressions are not supported here: name each {what}");
        context.report(word.at, message);
        return None;
    }
    Some(word.text.clone())
}
