//! Gathering the rows of [`super::snapshot`].

use super::clients::{Address, Client};
use super::snapshot::{ClientRow, ClientState, LoginRow, PoolRow, ServerRow, ServerState, StatsRow};
use super::tally::Counts;
use crate::database::Database;
use crate::proxy::{Proxy, World};
use shardway_pool::PoolStats;
use shardway_pool::{Pool, ServerSnapshot};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The same moment by both clocks.
#[derive(Clone, Copy)]
struct Now(Instant, SystemTime);

impl Now {
    fn look() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    fn since(self, at: Instant) -> Duration {
        self.0.saturating_duration_since(at)
    }

    fn date(self, at: Instant) -> SystemTime {
        self.1 - self.since(at)
    }
}

/// Everybody who has logged in.
pub fn clients(proxy: &Proxy) -> Vec<ClientRow> {
    let now = Now::look();
    proxy.admin.clients.all().into_iter().map(|client| client_row(client, now)).collect()
}

fn client_row(client: Arc<Client>, now: Now) -> ClientRow {
    let Some(handle) = client.handle() else { return console_row(client) };
    let mut links: Vec<_> = handle.targets().iter().map(|target| Arc::as_ptr(target) as usize).collect();
    for kept in handle.kept().iter().map(|target| Arc::as_ptr(target) as usize) {
        if !links.contains(&kept) {
            links.push(kept);
        }
    }
    let waiting = handle.waiting_since();
    ClientRow {
        state: match waiting {
            Some(_) => ClientState::Waiting,
            None if links.is_empty() => ClientState::Idle,
            None => ClientState::Active,
        },
        links,
        request_time: Some(handle.request_time().map_or(client.since, |at| now.date(at))),
        wait: waiting.map(|since| now.since(since)).unwrap_or_default(),
        prepared: handle.prepared(),
        application_name: handle.application_name().unwrap_or_else(|| client.who.application_name.clone()),
        client,
    }
}

/// A client of the admin database has no server, and is idle in PgBouncer's terms whatever it does.
fn console_row(client: Arc<Client>) -> ClientRow {
    ClientRow {
        state: ClientState::Idle,
        links: Vec::new(),
        request_time: Some(SystemTime::now()),
        wait: Duration::ZERO,
        prepared: 0,
        application_name: client.who.application_name.clone(),
        client,
    }
}

/// Who logs in to servers for a client.
fn pool_user(world: &World, database: &Database, user: &str) -> String {
    let of_url = database.servers().next().and_then(|server| server.login.as_ref());
    match (&database.config.user, of_url) {
        (None, Some(login)) => login.user.clone(),
        _ => world.server_login(database, user).user,
    }
}

/// Pools with their databases and users, those included that were given up and that clients still use.
fn every_pool(proxy: &Proxy, world: &World) -> Vec<(String, String, Arc<Pool>)> {
    let mut pools = Vec::new();
    for database in by_name(world) {
        for (user, pool) in database.servers().flat_map(|server| server.pools()) {
            pools.push((database.name.clone(), user, pool));
        }
    }
    pools.extend(proxy.admin.given_up());
    pools
}

/// Every server connection.
pub fn servers(proxy: &Proxy) -> Vec<ServerRow> {
    let (world, now) = (proxy.world(), Now::look());
    let clients = clients(proxy);
    let by_link = clients.iter().flat_map(|row| row.links.iter().map(move |link| (*link, row)));
    let by_link: HashMap<usize, &ClientRow> = by_link.collect();
    let mut rows = Vec::new();
    for (database, user, pool) in every_pool(proxy, &world) {
        let empty = ServerRow {
            database,
            user,
            state: ServerState::Login,
            address: Address { host: pool.address().host.clone(), port: pool.address().port },
            local: None,
            client: None,
            application_name: String::new(),
            request_time: None,
            login: None,
        };
        for server in pool.servers(now.0) {
            let client = by_link.get(&(Arc::as_ptr(&server.target) as usize)).copied();
            rows.push(server_row(proxy, &empty, server, client, now));
        }
        rows.extend(std::iter::repeat_n(empty, pool.stats().connecting));
    }
    rows
}

fn server_row(
    proxy: &Proxy,
    empty: &ServerRow,
    server: ServerSnapshot,
    client: Option<&ClientRow>,
    now: Now,
) -> ServerRow {
    let local = server.local.map(|at| Address { host: at.ip().to_string(), port: at.port() });
    ServerRow {
        state: match server.state {
            shardway_pool::ServerState::Active => ServerState::Active,
            shardway_pool::ServerState::Idle => ServerState::Idle,
            shardway_pool::ServerState::Used => ServerState::Used,
        },
        local: local.or_else(|| Some(Address { host: "unix".to_owned(), port: 0 })),
        client: client.map(|row| row.client.clone()),
        application_name: client.map(|row| row.application_name.clone()).unwrap_or_default(),
        request_time: match server.idle_for {
            Some(time) => Some(now.1 - time),
            None => client.and_then(|row| row.request_time),
        },
        login: Some(LoginRow {
            id: proxy.admin.number(&server.target),
            pid: server.target.key.pid,
            ptr: Arc::as_ptr(&server.target) as usize,
            connect_time: server.connected,
            prepared: server.prepared,
            tls: server.tls,
            close_needed: server.close_needed,
        }),
        ..empty.clone()
    }
}

/// The databases in order.
pub fn by_name(world: &World) -> Vec<&Arc<Database>> {
    let mut databases: Vec<_> = world.databases.values().collect();
    databases.sort_by(|a, b| a.name.cmp(&b.name));
    databases
}

/// Pools by database and login. One that has clients and no server yet is listed, too.
pub fn pools(proxy: &Proxy) -> BTreeMap<(String, String), PoolRow> {
    let (world, now) = (proxy.world(), Instant::now());
    let mut rows = BTreeMap::<(String, String), PoolRow>::new();
    for (database, user, pool) in every_pool(proxy, &world) {
        let row = rows.entry((database, user)).or_default();
        row.stats = sum(row.stats, pool.stats());
        row.used += pool.servers(now).iter().filter(|s| s.state == shardway_pool::ServerState::Used).count();
        row.max_wait = row.max_wait.max(pool.waited(now));
    }
    for client in proxy.admin.clients.all() {
        let Some(database) = world.databases.get(&client.who.database) else { continue };
        let user = pool_user(&world, database, &client.who.user);
        rows.entry((database.name.clone(), user)).or_default().clients += 1;
    }
    rows
}

/// Both together.
pub fn sum(a: PoolStats, b: PoolStats) -> PoolStats {
    PoolStats {
        idle: a.idle + b.idle,
        active: a.active + b.active,
        connecting: a.connecting + b.connecting,
        waiting: a.waiting + b.waiting,
    }
}

/// What was counted for each configured database, and for the console.
pub fn stats(proxy: &Proxy) -> BTreeMap<String, StatsRow> {
    let totals = proxy.admin.tallies.totals();
    let (before, past) = proxy.admin.tallies.before(Instant::now());
    let row = |name: &String| {
        let (now, old) = (totals.get(name).copied(), before.get(name).copied());
        (name.clone(), counted(now.unwrap_or_default(), &old.unwrap_or_default(), past))
    };
    let world = proxy.world();
    let mut rows: BTreeMap<_, _> = world.databases.keys().map(row).collect();
    rows.entry(world.console().to_owned()).or_insert_with_key(|name| row(name).1);
    rows
}

/// The same over all databases, those included that are configured no more.
pub fn all_stats(proxy: &Proxy) -> StatsRow {
    let all = |counts: &BTreeMap<String, Counts>| counts.values().fold(Counts::default(), Counts::plus);
    let (before, past) = proxy.admin.tallies.before(Instant::now());
    counted(all(&proxy.admin.tallies.totals()), &all(&before), past)
}

fn counted(now: Counts, old: &Counts, past: Duration) -> StatsRow {
    StatsRow { totals: now, averages: now.averages(old, past) }
}
