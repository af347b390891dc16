//! From an accepted socket to a session: startup message, authentication, greeting.
//! Source: PostgreSQL, "Frontend/Backend Protocol", Start-up. Nothing a client sends before it has proven who it is
//! makes us keep more than a few kilobytes.

pub mod auth;
mod count;
mod directory;
mod login;
mod parameters;
mod peer;
mod startup;
mod tls;

pub use count::Clients;
pub use directory::Directory;

use crate::admin;
use crate::admin::clients::{Address, Entrance, Seat};
use crate::autodb;
use crate::error::ClientError;
use crate::proxy::{ADMIN_DATABASE, Phase, Proxy, World};
use crate::reply;
use crate::session::{FIRST_WORDS, Session};
use crate::workers::WorkerId;
use count::Place;
use shardway_pool::stream::Stream;
use shardway_pool::wire::Wire;
use startup::Hello;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

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
struct Counted(Arc<Proxy>, Option<Place>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Who may come in by a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Everybody.
    Open,
    /// Who asks for the console: it was accepted when nobody else was let in any more.
    ToAdmins,
}

/// Serves one accepted connection until it ends.
pub async fn serve(proxy: Arc<Proxy>, stream: Stream, here: WorkerId, door: Door) {
    let before = proxy.connections.fetch_add(1, Ordering::AcqRel);
    let mut counted = Counted(proxy.clone(), None);
    let mut wire = Wire::new(stream);
    let limit = proxy.world().config.server.client_login_timeout;
    let deadline = (!limit.is_zero()).then(|| Instant::now() + limit);
    let limit = if limit.is_zero() { Duration::from_secs(3600) } else { limit };
    let full = before >= proxy.world().config.server.max_client_conn;
    let mut phase = proxy.phase();
    let entered = tokio::select! {
        entered = tokio::time::timeout(limit, Box::pin(enter(&proxy, &mut wire, full, door))) => match entered {
            Ok(entered) => entered,
            Err(_) => Err(ClientError::fatal("08P01", "client_login_timeout").into()),
        },
        () = too_late(&mut phase, door) => Err(shutting_down().into()),
    };
    match entered {
        Ok(mut entry) => {
            counted.1 = entry.place.take();
            Box::pin(converse(proxy, wire, entry, counted, here, deadline)).await;
        }
        Err(Rejected::Gone) => {}
        Err(Rejected::Error(error)) => {
            let error = proxy.world().worded(error);
            proxy.metrics.login_failures.inc();
            let logging =
                proxy.world().config.pgbouncer.as_ref().map(|ini| ini.settings.logging.log_pooler_errors);
            if logging.unwrap_or(true) {
                tracing::info!(code = error.code, "client not let in: {}", error.message);
            }
            say_goodbye(&mut wire, &error).await;
        }
    }
}

/// Ready when nobody is let in any more. Those who are about to log in when the process begins to end may still do so: they have
/// connected, and could not choose whom to.
async fn too_late(phase: &mut watch::Receiver<Phase>, door: Door) {
    if door == Door::ToAdmins {
        let _ = phase.wait_for(|p| !p.lets_admins_in()).await;
        return;
    }
    let _ = phase.wait_for(|p| p.is_ending()).await;
    let stopping = phase.wait_for(|p| *p == Phase::Stopping);
    let _ = tokio::time::timeout(FIRST_WORDS, stopping).await;
}

fn shutting_down() -> ClientError {
    ClientError::fatal("57P03", "the database system is shutting down")
}

/// A client that is let in.
struct Entry {
    hello: Hello,
    place: Option<Place>,
    /// See [`login::authenticate`].
    is_owner: bool,
}

/// Startup and authentication.
async fn enter(proxy: &Arc<Proxy>, wire: &mut Wire, full: bool, door: Door) -> Result<Entry, Rejected> {
    let hello = startup::hello(proxy, wire).await?;
    if door == Door::ToAdmins && !is_console(&proxy.world(), &hello) {
        return Err(shutting_down().into());
    }
    if !hello.unknown_options.is_empty() || hello.minor > 0 {
        // Before anything about who the client is: libpq expects it there.
        reply::negotiate(&mut wire.output, hello.unknown_options.clone());
    }
    // Administrators can always see why.
    if full && !is_console(&proxy.world(), &hello) {
        return Err(ClientError::fatal("53300", "no more connections allowed (max_client_conn)").into());
    }
    let world = proxy.world();
    let place = match is_console(&world, &hello) {
        true => None,
        false => Some(Place::take(proxy, &world, &hello.database, &hello.user)?),
    };
    let is_owner = login::authenticate(proxy, wire, &hello).await?;
    Ok(Entry { hello, place, is_owner })
}

/// The admin console, or a session: that is a task of its own, so that an idle client is no more than its session.
/// Until `deadline` it may wait for a server that says how to greet it.
async fn converse(
    proxy: Arc<Proxy>,
    mut wire: Wire,
    entry: Entry,
    counted: Counted,
    here: WorkerId,
    deadline: Option<Instant>,
) {
    let (world, hello) = (proxy.world(), entry.hello);
    let is_console = is_console(&world, &hello);
    let seat = proxy.admin.clients.enter(entrance(&world, &hello, is_console, entry.is_owner), &wire.stream);
    let presence = Presence::new(proxy.clone(), counted, seat);
    presence.seat.client.log_entrance(&world);
    let outcome = if is_console {
        admin::serve(&proxy, &mut wire, &presence.seat.client).await
    } else {
        open(&proxy, hello, &mut wire, &presence.seat.client.peer).await
    };
    match outcome {
        Ok(Some(greeting)) => {
            presence.seat.client.is_served_by(&greeting.cancel);
            let mut session = Session::new(proxy.clone(), world, wire, greeting);
            let welcomed = match deadline {
                None => session.welcome(here).await,
                Some(deadline) => tokio::time::timeout_at(deadline.into(), session.welcome(here))
                    .await
                    .unwrap_or_else(|_| Err(server_down())),
            };
            match welcomed {
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
        self.seat.client.log_departure(&self.proxy.world());
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
fn entrance(world: &World, hello: &Hello, is_console: bool, is_owner: bool) -> Entrance {
    let database = if is_console { world.console() } else { &hello.database };
    Entrance {
        user: hello.user.clone(),
        database: database.to_owned(),
        application_name: hello.settings.value("application_name").unwrap_or_default().to_owned(),
        is_owner,
    }
}

/// Whether a client asks for the admin console.
fn is_console(world: &World, hello: &Hello) -> bool {
    is_admin(&hello.database) && !world.databases.contains_key(&hello.database)
}

/// Whether a database name means the admin database.
pub(crate) fn is_admin(database: &str) -> bool {
    database == ADMIN_DATABASE || database == "pgbouncer"
}

async fn open(
    proxy: &Arc<Proxy>,
    mut hello: Hello,
    wire: &mut Wire,
    peer: &Address,
) -> Result<Option<crate::session::Greeting>, ClientError> {
    let database = autodb::open(proxy, &hello.database).await.map_err(|e| ClientError::fatal("58000", e))?;
    let world = proxy.world();
    let ini = world.config.pgbouncer.as_ref().map(|ini| &ini.settings);
    let Some(database) = database else { return Err(no_database(&hello.database, ini.is_some())) };
    parameters::complete(&mut hello.settings, &database.config.parameters);
    if let Some(ini) = ini {
        parameters::adjust(&mut hello.settings, ini, || format!("{}:{}", peer.host, peer.port));
        if let Some(text) = &ini.serving.login_notify_message {
            reply::notice(&mut wire.output, text);
        }
    }
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

/// The time for the login went by in waiting for a server; in PgBouncer's words.
fn server_down() -> ClientError {
    ClientError::fatal("08P01", "client_login_timeout (server down)")
}

/// In PgBouncer's words where it is in its place.
fn no_database(name: &str, as_pgbouncer: bool) -> ClientError {
    let message = if as_pgbouncer {
        format!("no such database: {name}")
    } else {
        format!("database \"{name}\" does not exist")
    };
    ClientError::fatal("3D000", message)
}

async fn say_goodbye(wire: &mut Wire, error: &ClientError) {
    reply::error(&mut wire.output, error);
    let _ = tokio::time::timeout(Duration::from_secs(5), wire.flush()).await;
}
