//! PAUSE, RESUME, SUSPEND and KILL: what stands still, the whole process or single databases.
//!
//! PgBouncer's rules: the process is at work, paused or suspended; apart from that, databases are paused one by one. What
//! one command paused, the same form of RESUME has go on. A pause outlives the admin who asked for it; a suspension
//! ends with the last admin who is connected.

use super::desk::LOOK;
use crate::client::is_admin;
use crate::error::ClientError;
use crate::handle::Reason;
use crate::proxy::{Phase, Proxy, World};
use shardway_pool::cancel::BackendKey;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long KILL waits for its clients to be gone.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the process does as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Its work.
    #[default]
    Active,
    /// It lends no servers.
    Paused,
    /// It reads and writes nothing.
    Suspended,
}

/// What stands still.
#[derive(Debug, Default)]
pub(super) struct Standing {
    mode: Mode,
    paused: HashSet<String>,
}

impl Standing {
    fn holds(&self, database: &str) -> bool {
        self.mode == Mode::Paused || self.paused.contains(database)
    }

    fn begin(&self) -> Result<(), ClientError> {
        match self.mode {
            Mode::Active => Ok(()),
            _ => Err(state("already suspended/paused")),
        }
    }

    /// Has the servers of a world do as is said here.
    fn apply(&self, world: &World) {
        for database in world.databases.values() {
            let holds = self.holds(&database.name);
            let others: Vec<_> = database.servers().filter(|server| server.is_paused() != holds).collect();
            if others.is_empty() {
                continue;
            }
            for server in others {
                if holds { server.pause() } else { server.resume() }
            }
            // Pollers keep no connection to a server that is paused, and look at one that is resumed.
            let shards = database.groups.iter().flat_map(|group| &group.shards);
            shards.for_each(|shard| shard.wake.notify_one());
        }
    }
}

/// The command does not go with what is.
fn state(message: impl Into<String>) -> ClientError {
    ClientError::error("55000", message)
}

/// What the process does as a whole.
pub fn mode(proxy: &Proxy) -> Mode {
    proxy.admin.standing().mode
}

/// Whether a database is paused by itself.
pub(super) fn is_paused(proxy: &Proxy, database: &str) -> bool {
    proxy.admin.standing().paused.contains(database)
}

/// What was paused stays so in a new world.
pub(crate) fn carry_over(proxy: &Proxy) {
    let world = proxy.world();
    let mut standing = proxy.admin.standing();
    standing.paused.retain(|name| world.databases.contains_key(name));
    standing.apply(&world);
}

/// PAUSE, without waiting for servers to be released. Errors: it is paused or suspended already.
pub fn begin_pause(proxy: &Proxy, database: Option<&str>) -> Result<(), ClientError> {
    let mut standing = proxy.admin.standing();
    standing.begin()?;
    match database {
        None => standing.mode = Mode::Paused,
        Some(name) => drop(standing.paused.insert(name.to_owned())),
    }
    standing.apply(&proxy.world());
    Ok(())
}

/// PAUSE: waits until every server of the database, or of all, is released and closed.
pub(super) async fn pause(proxy: &Proxy, database: Option<&str>) -> Result<(), ClientError> {
    begin_pause(proxy, database)?;
    let holds = |standing: &Standing| match database {
        None => standing.mode == Mode::Paused,
        Some(name) => standing.holds(name),
    };
    while !is_drained(proxy, database) {
        tokio::time::sleep(LOOK).await;
        if !holds(&proxy.admin.standing()) {
            return Err(state("RESUME came before all servers were released"));
        }
    }
    Ok(())
}

fn is_drained(proxy: &Proxy, database: Option<&str>) -> bool {
    let meant = |name: &str| database.is_none_or(|wanted| wanted == name);
    let world = proxy.world();
    let mut servers = world.databases.values().filter(|d| meant(&d.name)).flat_map(|d| d.servers());
    // Servers of an earlier configuration are in nobody's hands but the clients'.
    let has_none = |client: &crate::admin::clients::Client| {
        client.handle().is_none_or(|handle| handle.targets().is_empty() && handle.kept().is_empty())
    };
    servers.all(|server| server.is_drained())
        && proxy.admin.clients.all().iter().all(|c| !meant(&c.who.database) || has_none(c))
}

/// RESUME. Errors: there is nothing to resume.
pub fn resume(proxy: &Proxy, database: Option<&str>) -> Result<(), ClientError> {
    let mut standing = proxy.admin.standing();
    match database {
        None if proxy.stage().is_ending() => Err(state("pooler is shutting down")),
        None if standing.mode == Mode::Active => Err(state("pooler is not paused/suspended")),
        None => {
            go_on(proxy, &mut standing);
            Ok(())
        }
        Some(name) if standing.paused.remove(name) => {
            standing.apply(&proxy.world());
            Ok(())
        }
        Some(name) if is_admin(name) || proxy.world().databases.contains_key(name) => {
            Err(state(format!("database {name} is not paused")))
        }
        Some(name) => Err(ClientError::error("3D000", format!("no such database: {name}"))),
    }
}

/// The process goes on as a whole.
fn go_on(proxy: &Proxy, standing: &mut Standing) {
    if std::mem::take(&mut standing.mode) == Mode::Suspended {
        proxy.enter(Phase::Serving);
        proxy.client_handles().iter().for_each(|handle| handle.go_on());
    }
    standing.apply(&proxy.world());
}

/// SUSPEND: nobody new is let in, and sessions read and write nothing from here on, wherever they are. Waits until all
/// do; who does not take what was sent to it in time is closed. Errors: something stands still already.
pub(super) async fn suspend(proxy: &Proxy) -> Result<(), ClientError> {
    {
        let mut standing = proxy.admin.standing();
        standing.begin()?;
        if !standing.paused.is_empty() {
            return Err(state("cannot suspend with paused databases"));
        }
        if proxy.stage().is_ending() {
            return Err(state("pooler is shutting down"));
        }
        standing.mode = Mode::Suspended;
        proxy.enter(Phase::Suspended);
        proxy.client_handles().iter().for_each(|handle| handle.hold_still());
    }
    let (since, limit) = (Instant::now(), proxy.world().suspend_timeout());
    while mode(proxy) == Mode::Suspended {
        let mut restless = proxy.client_handles();
        restless.retain(|handle| !handle.is_still());
        let late = !limit.is_zero() && since.elapsed() > limit;
        if restless.is_empty() && (late || logging_in(proxy) == 0) {
            return Ok(());
        }
        if late {
            restless.iter().for_each(|handle| handle.kill(Reason::SuspendTimeout));
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(state("RESUME came before everything stood still"))
}

/// Clients that have connected and not logged in.
pub(super) fn logging_in(proxy: &Proxy) -> usize {
    proxy.connections.load(Ordering::Acquire).saturating_sub(proxy.admin.clients.all().len())
}

/// KILL: pauses the database, or all of them, and closes its clients and servers at once.
pub(super) async fn kill(proxy: &Proxy, database: Option<&str>) -> Result<(), ClientError> {
    let world = proxy.world();
    let meant = |name: &str| database.is_none_or(|wanted| wanted == name) && !is_console(&world, name);
    {
        let mut standing = proxy.admin.standing();
        standing.begin()?;
        standing.paused.extend(world.databases.keys().filter(|name| meant(name)).cloned());
        standing.apply(&world);
    }
    let clients = || proxy.admin.clients.all().into_iter().filter(|client| meant(&client.who.database));
    let killed: HashSet<u64> = clients().inspect(|c| c.kill(Reason::DatabaseRemoved)).map(|c| c.id).collect();
    let until = Instant::now() + LAST_WORDS;
    while clients().any(|client| killed.contains(&client.id)) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn is_console(world: &World, database: &str) -> bool {
    is_admin(database) && !world.databases.contains_key(database)
}

/// KILL_CLIENT. Errors: there is no such client.
pub(super) fn kill_client(proxy: &Proxy, id: u64) -> Result<(), ClientError> {
    match proxy.admin.clients.find(id) {
        Some(client) => {
            client.kill(Reason::Killed);
            Ok(())
        }
        None => Err(ClientError::error("22023", "client not found")),
    }
}

/// The process ends when clients have gone: as soon as they hold no server (SHUTDOWN WAIT_FOR_SERVERS,
/// [`Phase::Releasing`]), or are in no transaction. Those who wait for servers of a paused database would wait in vain.
///
/// PgBouncer keeps a client that has no server connected until it asks for one, and then tells it that the server is
/// shutting down; here it is told at once.
pub(crate) fn drain(proxy: &Proxy, phase: Phase) {
    proxy.enter(phase);
    let standing = proxy.admin.standing();
    for client in proxy.admin.clients.all().iter().filter(|client| standing.holds(&client.who.database)) {
        if client.handle().is_some_and(|handle| handle.waiting_since().is_some()) {
            client.kill(Reason::ShuttingDown);
        }
    }
}

/// A cancel request: if its key is of the admin database, that one's command is given up; and if it is an admin's, the
/// process goes on. Who may only look can't end a pause that way.
pub(crate) fn cancel(proxy: &Proxy, key: BackendKey) {
    let Some(console) = proxy.admin.console(key) else { return };
    // First, so that the command does not end for another reason.
    console.cancel();
    if !proxy.world().is_admin(&console.user) {
        return;
    }
    let mut standing = proxy.admin.standing();
    if standing.mode != Mode::Active && !proxy.stage().is_ending() {
        go_on(proxy, &mut standing);
    }
}

/// An admin has left: a suspension does not outlast the last one.
pub(super) fn admin_left(proxy: &Proxy) {
    let mut standing = proxy.admin.standing();
    if standing.mode == Mode::Suspended && proxy.admin.consoles_open() == 0 {
        tracing::info!("admin disappeared when suspended, doing RESUME");
        go_on(proxy, &mut standing);
    }
}
