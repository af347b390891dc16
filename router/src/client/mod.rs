//! From an accepted socket to a session: startup message, authentication, greeting.
//! Source: PostgreSQL, "Frontend/Backend Protocol", Start-up. Nothing a client sends before it has proven who it is
//! makes us keep more than a few kilobytes.

pub mod auth;
mod login;
mod peer;
mod startup;
mod tls;

use crate::admin;
use crate::admin::clients::{Entrance, Seat};
use crate::error::ClientError;
use crate::proxy::{ADMIN_DATABASE, Phase, Proxy};
use crate::reply;
use crate::session::Session;
use crate::workers::WorkerId;
use shardway_pool::stream::Stream;
use shardway_pool::wire::Wire;
use startup::Hello;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Why a client never became a session.
#[derive(Debug)]
pub(crate) enum Rejected {
    /// It is told why.
    Error(ClientError),
    /// It is gone, or got all it wanted.
    Gone,
}

impl From<ClientError> for Rejected {
    fn from(error: ClientError) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for Rejected {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Counts a connection while it lasts.
struct Counted(Arc<Proxy>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves one accepted connection until it ends.
pub async fn serve(proxy: Arc<Proxy>, stream: Stream, here: WorkerId) {
    let before = proxy.connections.fetch_add(1, Ordering::AcqRel);
    let counted = Counted(proxy.clone());
    let mut wire = Wire::new(stream);
    let limit = proxy.world().config.server.client_login_timeout;
    let limit = if limit.is_zero() { Duration::from_secs(3600) } else { limit };
    let full = before >= proxy.world().config.server.max_client_conn;
    let mut phase = proxy.phase();
    let entered = tokio::select! {
        entered = tokio::time::timeout(limit, Box::pin(enter(&proxy, &mut wire, full))) => match entered {
            Ok(entered) => entered,
            Err(_) => Err(ClientError::fatal("08P01", "client_login_timeout").into()),
        },
        _ = phase.wait_for(|p| *p != Phase::Serving) => {
            Err(ClientError::fatal("57P03", "the database system is shutting down").into())
        }
    };
    match entered {
        Ok(hello) => {
            Box::pin(converse(proxy, wire, hello, counted, here)).await;
        }
        Err(Rejected::Gone) => {}
        Err(Rejected::Error(error)) => {
            proxy.metrics.login_failures.inc();
            tracing::info!(code = error.code, "client not let in: {}", error.message);
            say_goodbye(&mut wire, &error).await;
        }
    }
}

/// Startup and authentication.
async fn enter(proxy: &Arc<Proxy>, wire: &mut Wire, full: bool) -> Result<Hello, Rejected> {
    let hello = startup::hello(proxy, wire).await?;
    if !hello.unknown_options.is_empty() || hello.minor > 0 {
        // Before anything about who the client is: libpq expects it there.
        reply::negotiate(&mut wire.output, hello.unknown_options.clone());
    }
    if full {
        return Err(ClientError::fatal("53300", "no more connections allowed (max_client_conn)").into());
    }
    login::authenticate(proxy, wire, &hello).await?;
    Ok(hello)
}

/// The admin console, or a session: that is a task of its own, so that an idle client is no more than its session.
async fn converse(proxy: Arc<Proxy>, mut wire: Wire, hello: Hello, counted: Counted, here: WorkerId) {
    let world = proxy.world();
    let is_console = is_admin(&hello.database) && !world.databases.contains_key(&hello.database);
    let seat = proxy.admin.clients.enter(entrance(&hello, is_console), &wire.stream);
    let presence = Presence::new(proxy.clone(), counted, seat);
    let outcome =
        if is_console { admin::serve(&proxy, &mut wire, &hello.user).await } else { open(&proxy, hello) };
    match outcome {
        Ok(Some(greeting)) => {
            presence.seat.client.is_served_by(&greeting.cancel);
            let mut session = Session::new(proxy.clone(), world, wire, greeting);
            match session.greet().await {
                Ok(()) => stay(session, presence, here, here),
                Err(error) => {
                    proxy.metrics.login_failures.inc();
                    session.refuse(&error).await;
                }
            }
        }
        Ok(None) => {}
        Err(error) => say_goodbye(&mut wire, &error).await,
    }
}

/// What counts a client that is in, while it is.
struct Presence {
    proxy: Arc<Proxy>,
    seat: Seat,
    _counted: Counted,
}

impl Presence {
    fn new(proxy: Arc<Proxy>, counted: Counted, seat: Seat) -> Self {
        proxy.metrics.clients.inc();
        Self { proxy, seat, _counted: counted }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.proxy.metrics.clients.dec();
    }
}

/// Serves a client that is in, on one worker after another.
fn stay(session: Box<Session>, presence: Presence, from: WorkerId, on: WorkerId) {
    let runtime = presence.proxy.workers.runtime(on);
    runtime.spawn(async move {
        let session = if from == on { Ok(session) } else { session.rehome() };
        let session = match session {
            Ok(session) => session,
            Err(e) => return tracing::warn!("a client could not be moved to another worker: {e}"),
        };
        if let Some(session) = session.run(on).await {
            let next = session.destination().unwrap_or(on);
            stay(session, presence, on, next);
        }
    });
}

/// Who comes in, for SHOW CLIENTS.
fn entrance(hello: &Hello, is_console: bool) -> Entrance {
    let database = if is_console { ADMIN_DATABASE } else { &hello.database };
    Entrance {
        user: hello.user.clone(),
        database: database.to_owned(),
        application_name: hello.settings.value("application_name").unwrap_or_default().to_owned(),
    }
}

/// Whether a database name means the admin database.
pub(crate) fn is_admin(database: &str) -> bool {
    database == ADMIN_DATABASE || database == "pgbouncer"
}

fn open(proxy: &Proxy, hello: Hello) -> Result<Option<crate::session::Greeting>, ClientError> {
    let world = proxy.world();
    let Some(database) = world.databases.get(&hello.database).cloned() else {
        return Err(ClientError::fatal("3D000", format!("database \"{}\" does not exist", hello.database)));
    };
    let unsharded = database.planning().schema.is_unsharded();
    if let Some(encoding) = hello.settings.value("client_encoding")
        && !unsharded
        && !crate::session::is_utf8(encoding)
    {
        return Err(ClientError::fatal("0A000", "client_encoding must be UTF8: keys are read from text"));
    }
    let (key, cancel) = proxy.register();
    Ok(Some(crate::session::Greeting { user: hello.user, database, settings: hello.settings, key, cancel }))
}

async fn say_goodbye(wire: &mut Wire, error: &ClientError) {
    reply::error(&mut wire.output, error);
    let _ = tokio::time::timeout(Duration::from_secs(5), wire.flush()).await;
}
