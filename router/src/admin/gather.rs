//! Gathering the rows of [`super::snapshot`].
//!
//! Two constants say what sessions do not do yet; whoever has them do it turns the constant, and it is shown.

use super::clients::{Address, Client};
use super::snapshot::{ClientRow, ClientState, Link, PoolRow, ServerRow, ServerState, StatsRow};
use super::tally::{Count, Counts};
use crate::database::Database;
use crate::proxy::{ClientHandle, Proxy, World};
use shardway_pool::cancel::CancelTarget;
use shardway_pool::pool::PoolStats;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Whether sessions write their [`super::clients::Notes`].
const SESSIONS_NOTE: bool = false;

/// Whether sessions count into their [`super::tally::Tally`].
const SESSIONS_COUNT: bool = false;

/// Everybody who has logged in.
pub fn clients(proxy: &Proxy) -> Vec<ClientRow> {
    let world = proxy.world();
    let now = SystemTime::now();
    proxy.admin.clients.all().into_iter().map(|client| client_row(&world, client, now)).collect()
}

fn client_row(world: &World, client: Arc<Client>, now: SystemTime) -> ClientRow {
    let links = client.handle().map(|handle| links(handle)).unwrap_or_default();
    let waiting = client.notes.waiting_since();
    let is_admin = client.handle().is_none();
    let may_wait = || world.databases.get(&client.who.database).is_none_or(|d| somebody_waits(d));
    let state = match (&waiting, is_admin) {
        (_, true) => Some(ClientState::Active),
        (Some(_), _) => Some(ClientState::Waiting),
        _ if !links.is_empty() => Some(ClientState::Active),
        _ if SESSIONS_NOTE || !may_wait() => Some(ClientState::Idle),
        _ => None,
    };
    let waited = waiting.and_then(|since| now.duration_since(since).ok()).unwrap_or_default();
    ClientRow {
        wait: state.map(|_| waited),
        request_time: client.notes.request_time(),
        prepared: (SESSIONS_NOTE || is_admin).then(|| client.notes.prepared()),
        state,
        links,
        client,
    }
}

fn links(handle: &ClientHandle) -> Vec<Link> {
    let targets = handle.targets();
    let link = |target: &Arc<CancelTarget>| Link {
        address: Address { host: target.address.host.clone(), port: target.address.port },
        pid: target.key.pid,
        ptr: Arc::as_ptr(target) as usize,
    };
    targets.iter().map(link).collect()
}

fn somebody_waits(database: &Database) -> bool {
    database.servers().any(|server| server.pools().iter().any(|(_, pool)| pool.stats().waiting > 0))
}

/// Who logs in to servers for a client.
fn pool_user(world: &World, database: &Database, user: &str) -> String {
    let of_url = database.servers().next().and_then(|server| server.login.as_ref());
    match (&database.config.user, of_url) {
        (None, Some(login)) => login.user.clone(),
        _ => world.server_login(database, user).user,
    }
}

/// Every server connection. Those that work for a client are known by name; of the others, how many there are.
pub fn servers(proxy: &Proxy) -> Vec<ServerRow> {
    let world = proxy.world();
    let mut rows = Vec::new();
    for ClientRow { client, links, .. } in clients(proxy) {
        let Some(database) = world.databases.get(&client.who.database) else { continue };
        let user = pool_user(&world, database, &client.who.user);
        for Link { address, pid, ptr } in links {
            let row = server_row(database, &user, ServerState::Active, address);
            rows.push(ServerRow { pid: Some(pid), ptr: Some(ptr), client: Some(client.clone()), ..row });
        }
    }
    for database in by_name(&world) {
        for server in database.servers() {
            let address = Address { host: server.address.host.clone(), port: server.address.port };
            for (user, pool) in server.pools() {
                let stats = pool.stats();
                for (state, count) in
                    [(ServerState::Idle, stats.idle), (ServerState::Login, stats.connecting)]
                {
                    let row = server_row(database, &user, state, address.clone());
                    rows.extend(std::iter::repeat_n(row, count));
                }
            }
        }
    }
    rows
}

fn server_row(database: &Database, user: &str, state: ServerState, address: Address) -> ServerRow {
    ServerRow {
        database: database.name.clone(),
        user: user.to_owned(),
        state,
        address,
        pid: None,
        ptr: None,
        client: None,
        connect_time: None,
        request_time: None,
        prepared: None,
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
    let world = proxy.world();
    let mut rows = BTreeMap::<(String, String), PoolRow>::new();
    for database in by_name(&world) {
        for (user, pool) in database.servers().flat_map(|server| server.pools()) {
            let row = rows.entry((database.name.clone(), user)).or_default();
            row.stats = sum(row.stats, pool.stats());
        }
    }
    let now = SystemTime::now();
    for client in proxy.admin.clients.all() {
        let Some(database) = world.databases.get(&client.who.database) else { continue };
        let user = pool_user(&world, database, &client.who.user);
        let row = rows.entry((database.name.clone(), user)).or_default();
        row.clients += 1;
        let waited = client.notes.waiting_since().and_then(|since| now.duration_since(since).ok());
        row.max_wait = row.max_wait.max(waited);
    }
    for row in rows.values_mut().filter(|row| SESSIONS_NOTE || row.stats.waiting == 0) {
        row.max_wait.get_or_insert_default();
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

/// What was counted for each configured database.
pub fn stats(proxy: &Proxy) -> BTreeMap<String, StatsRow> {
    let totals = proxy.admin.tallies.totals();
    let (before, past) = proxy.admin.tallies.before(Instant::now());
    let row = |name: &String| {
        let (now, old) = (totals.get(name).copied(), before.get(name).copied());
        (name.clone(), counted(now.unwrap_or_default(), &old.unwrap_or_default(), past))
    };
    proxy.world().databases.keys().map(row).collect()
}

/// The same over all databases, those included that are configured no more. What is counted for the whole process
/// is known even while sessions do not count.
pub fn all_stats(proxy: &Proxy) -> StatsRow {
    let all = |counts: &BTreeMap<String, Counts>| counts.values().fold(Counts::default(), Counts::plus);
    let (before, past) = proxy.admin.tallies.before(Instant::now());
    let mut row = counted(all(&proxy.admin.tallies.totals()), &all(&before), past);
    if !SESSIONS_COUNT {
        let latency = &proxy.metrics.latency;
        let micros = (latency.get_sample_sum() * 1e6) as u64;
        row.totals[Count::Queries as usize] = Some(latency.get_sample_count());
        row.totals[Count::QueryTime as usize] = Some(micros);
    }
    row
}

fn counted(now: Counts, old: &Counts, past: Duration) -> StatsRow {
    if !SESSIONS_COUNT {
        return StatsRow::default();
    }
    StatsRow { totals: now.0.map(Some), averages: now.averages(old, past).0.map(Some) }
}
