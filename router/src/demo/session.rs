//! A client of the proxy, as any program would be one.

use super::error::DemoError;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Everybody's, in the demo.
pub(super) const PASSWORD: &str = "secret";

/// Connects to the proxy.
pub(super) async fn connect(port: u16, user: &str, database: &str) -> Result<Client, DemoError> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(user).password(PASSWORD).dbname(database);
    config.application_name("shardway demo");
    let doing = format!("connecting to {database} as {user}");
    let (client, connection) = config.connect(NoTls).await.map_err(DemoError::sql(&doing))?;
    // Its error reaches whoever waits for an answer.
    tokio::spawn(async move { connection.await.ok() });
    Ok(client)
}

/// What a statement returned, as text.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Columns' names; empty for a statement that returns no rows.
    pub(super) columns: Vec<String>,
    /// Rows; NULL is `None`.
    pub(super) rows: Vec<Vec<Option<String>>>,
    /// Rows returned, or written.
    pub(super) count: u64,
}

/// Runs one statement by the simple protocol.
pub(super) async fn ask(client: &Client, sql: &str) -> Result<Answer, tokio_postgres::Error> {
    let mut answer = Answer::default();
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                answer.columns = columns.iter().map(|column| column.name().to_owned()).collect();
            }
            SimpleQueryMessage::Row(row) => {
                answer.rows.push((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect());
            }
            SimpleQueryMessage::CommandComplete(count) => answer.count = count,
            _ => {}
        }
    }
    Ok(answer)
}
