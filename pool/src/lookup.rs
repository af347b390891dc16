//! Looking up what a server has stored of a user's password, by a query of the operator's (PgBouncer's `auth_query`).
//!
//! As in PgBouncer the query gets the name as `$1`, in text, and answers (name, secret), or nothing for a user that does
//! not exist; a secret of NULL lets nobody in.

use crate::address::ServerAddress;
use crate::control::{Control, explain};
use crate::dial::Logins;
use bytes::BytesMut;
use deadpool_postgres::Object;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Row, error::SqlState};

/// How long the query may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks one database. Logins that come in together share its few connections.
#[derive(Clone, Debug)]
pub struct Lookup {
    control: Control,
    query: Arc<str>,
}

impl Lookup {
    /// Connects on first use. Errors: never for valid addresses.
    pub fn new(address: &Arc<ServerAddress>, logins: Logins, query: &str) -> Result<Self, String> {
        Ok(Self { control: Control::by(address, logins)?, query: query.into() })
    }

    /// What is stored of the password of `user`; `None` if nothing is. Errors: in words, for the log.
    pub async fn secret_of(&self, user: &str) -> Result<Option<String>, String> {
        let rows = self.ask(user).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if row.len() != 2 {
            return Err(format!(
                "auth_query gives {} columns, where it has to give a name and a secret",
                row.len()
            ));
        }
        let text = |column| row.try_get::<_, Option<Raw>>(column).map_err(|e| explain(&e));
        let (name, secret) = (text(0)?, text(1)?);
        // The query may find what it likes; whose secret it is must be certain.
        if name.as_ref().is_none_or(|name| name.0 != user) {
            let name = name.map_or_else(|| "NULL".to_owned(), |name| name.0);
            return Err(format!("auth_query was asked for \"{user}\" and gives \"{name}\""));
        }
        Ok(secret.map(|secret| secret.0))
    }

    /// Asks; once more where it was the connection's fault, or that of a statement prepared earlier.
    async fn ask(&self, user: &str) -> Result<Vec<Row>, String> {
        let outcome = self.ask_once(user).await;
        match outcome {
            Err(Failed { again: true, .. }) => self.ask_once(user).await.map_err(|failed| failed.why),
            outcome => outcome.map_err(|failed| failed.why),
        }
    }

    async fn ask_once(&self, user: &str) -> Result<Vec<Row>, Failed> {
        let client = self.control.get().await.map_err(|why| Failed { why, again: false })?;
        let rows = async {
            let statement = client.prepare_cached(&self.query).await?;
            client.query(&statement, &[&Name(user)]).await
        };
        let Ok(rows) = tokio::time::timeout(PATIENCE, rows).await else {
            // Nobody else is to wait for its end on this connection.
            drop(Object::take(client));
            return Err(Failed { why: "auth_query: no answer in time".to_owned(), again: false });
        };
        rows.map_err(|error| {
            client.statement_cache.clear();
            let stale = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME];
            let again =
                error.code().is_none_or(|code| stale.contains(code) || code.code().starts_with("57P"));
            Failed { why: format!("auth_query: {}", explain(&error)), again }
        })
    }
}

/// A query that failed.
struct Failed {
    why: String,
    /// On a new connection it may not.
    again: bool,
}

/// A parameter that goes as text, whatever its type.
#[derive(Debug)]
struct Name<'a>(&'a str);

impl ToSql for Name<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// The bytes of a text, by whatever name its type goes.
struct Raw(String);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
