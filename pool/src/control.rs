//! The control plane's own connections: ordinary tokio-postgres behind a small deadpool per server.

use crate::address::{Login, ServerAddress};
use crate::dial::{Dialer, Logins};
use crate::health::{Health, Lsn, Report, Role, WalHistory};
use crate::server::TextRow;
use crate::shard::{Server, Shard};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::SimpleQueryMessage;

/// How long a control statement may take before the server counts as down.
const PATIENCE: Duration = Duration::from_secs(5);

/// The shortest pause between two polls, however often sessions ask for one.
const MIN_PAUSE: Duration = Duration::from_millis(50);

/// Connections at once to one database: the poller's and one of whoever else asks something.
const CONNECTIONS: usize = 2;

/// Control connections to one database.
#[derive(Clone, Debug)]
pub struct Control(Pool);

impl Control {
    /// Connects on first use. Errors: the pool can't be built (never for valid addresses).
    pub fn new(address: &Arc<ServerAddress>, login: &Login) -> Result<Self, String> {
        Self::by(address, login.clone().into())
    }

    /// By whoever can log in when a connection is wanted. Errors: as [`Control::new`].
    pub fn by(address: &Arc<ServerAddress>, logins: Logins) -> Result<Self, String> {
        // Who logs in, where and how is the dialer's affair.
        let mut config = tokio_postgres::Config::new();
        config.user("shardway");
        let recycle = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(config, Dialer::new(address.clone(), logins), recycle);
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(PATIENCE))
            .recycle_timeout(Some(PATIENCE))
            .runtime(Runtime::Tokio1)
            .build();
        pool.map(Self).map_err(|e| e.to_string())
    }

    /// A connection. Errors: in words, with their cause.
    pub async fn get(&self) -> Result<deadpool_postgres::Object, String> {
        self.0.get().await.map_err(|e| explain(&e))
    }

    /// The rows that commands give, as text: several are one transaction, as any text of them. A server that does not
    /// answer in time is not asked again over the same connection.
    pub async fn ask(&self, sql: &str) -> Result<Vec<TextRow>, ControlError> {
        let client = self.get().await.map_err(ControlError::Unreachable)?;
        let Ok(answer) = tokio::time::timeout(PATIENCE, client.simple_query(sql)).await else {
            // It is closed with the object.
            drop(deadpool_postgres::Object::take(client));
            return Err(ControlError::Unreachable("no answer in time".to_owned()));
        };
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect())
            }
            _ => None,
        };
        match answer {
            Ok(messages) => Ok(messages.iter().filter_map(row).collect()),
            Err(error) => Err(match error.as_db_error() {
                Some(said) if !is_over(said) => ControlError::Refused {
                    code: said.code().code().to_owned(),
                    message: said.message().to_owned(),
                },
                _ => ControlError::Unreachable(explain(&error)),
            }),
        }
    }

    /// Closes connections that nobody uses.
    pub fn close_idle(&self) {
        self.0.retain(|_, _| false);
    }

    /// Asks a server how it is.
    async fn report(&self) -> Result<Report, String> {
        const SQL: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
             CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
                  ELSE pg_catalog.pg_current_wal_insert_lsn() END::pg_catalog.text, \
             pg_catalog.current_setting('wal_block_size')::pg_catalog.int8, \
             (SELECT setting::pg_catalog.int8 FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size')";
        let client = self.get().await?;
        let row = client.query_one(SQL, &[]).await.map_err(|e| explain(&e))?;
        let lsn = row.get::<_, Option<&str>>(1).and_then(Lsn::parse).unwrap_or_default();
        let role = if row.get(0) { Role::Standby } else { Role::Primary };
        let (page, segment) =
            (row.get::<_, i64>(2).unsigned_abs(), row.get::<_, Option<i64>>(3).unwrap_or(0).unsigned_abs());
        Ok(Report { role, lsn: lsn.before_header(page, segment) })
    }

    async fn patient_report(&self) -> Result<Report, String> {
        tokio::time::timeout(PATIENCE, self.report())
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

/// Why a command of ours did not go through.
#[derive(Clone, Debug)]
pub enum ControlError {
    /// Nobody knows what became of it: in words.
    Unreachable(String),
    /// The server said no.
    Refused {
        /// SQLSTATE.
        code: String,
        /// What it said.
        message: String,
    },
}

impl ControlError {
    /// The server's SQLSTATE; empty if it said nothing.
    pub fn code(&self) -> &str {
        match self {
            Self::Unreachable(_) => "",
            Self::Refused { code, .. } => code,
        }
    }
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(words) => f.write_str(words),
            Self::Refused { code, message } => write!(f, "{message} ({code})"),
        }
    }
}

/// Whether an error ended the connection: then it does not say what became of the command.
fn is_over(error: &tokio_postgres::error::DbError) -> bool {
    use tokio_postgres::error::Severity;
    matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
}

/// An error with what caused it: tokio-postgres's own words stop at "db error".
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Watches one shard's servers until dropped or aborted: health, role, WAL positions. `servers` are those that can be
/// asked, with how.
pub async fn watch(
    name: String,
    shard: Arc<Shard>,
    servers: Vec<(Arc<Server>, Control)>,
    interval: Duration,
) {
    let mut wal = WalHistory::default();
    loop {
        poll(&name, &shard, &servers, &mut wal).await;
        if shard.elect() {
            tracing::warn!(shard = name, primary = %shard.primary().address, "writes go to another server now");
        }
        tokio::time::sleep(MIN_PAUSE).await;
        let rest = interval.saturating_sub(MIN_PAUSE);
        if tokio::time::timeout(rest, shard.wake.notified()).await.is_ok() {
            tracing::trace!(shard = name, "polled early for a session that wrote");
        }
    }
}

/// One look at every server, the primary first: what it wrote is then known when the replicas are asked.
async fn poll(name: &str, shard: &Shard, servers: &[(Arc<Server>, Control)], wal: &mut WalHistory) {
    let primary = shard.primary().clone();
    let (first, others): (Vec<_>, Vec<_>) = servers.iter().partition(|(s, _)| Arc::ptr_eq(s, &primary));
    for (server, control) in first.into_iter().chain(others) {
        let number = Arc::ptr_eq(server, &primary).then(|| shard.poll_begins());
        let outcome = control.patient_report().await;
        if server.is_paused() {
            // Whoever pauses it may want nobody there at all: to shut it down, or to drop or copy the database.
            control.close_idle();
        }
        let now = Instant::now();
        let mut lag = Duration::ZERO;
        match (&outcome, number) {
            (Ok(report), Some(number)) if report.role == Role::Primary => {
                wal.push(now, report.lsn);
                shard.poll_ends(number, report.lsn);
            }
            (Ok(report), _) if report.role == Role::Standby => lag = wal.lag(report.lsn, now),
            _ => {}
        }
        note_change(name, server, &server.health, outcome, lag);
    }
}

fn note_change(name: &str, server: &Server, health: &Health, outcome: Result<Report, String>, lag: Duration) {
    if outcome.is_ok() {
        // Each time: a server that was away between two looks was never seen down.
        server.retry();
    }
    let error = outcome.as_ref().err().cloned();
    if !health.record(outcome, lag) {
        return;
    }
    match error {
        None => {
            tracing::info!(shard = name, server = %server.address, role = ?health.role(), "server is up");
        }
        Some(error) => tracing::warn!(shard = name, server = %server.address, "server is down: {error}"),
    }
}
