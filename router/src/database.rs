//! One database as clients see it: its shard groups, its schema, and the plans made with it.

use crate::error::ClientError;
use crate::oids::{ByShard, TypeMaps};
use crate::plan::ddl::checks::Read;
use crate::plan::ddl::interleave;
use crate::plan_cache::Planning;
use crate::proxy::User;
use crate::schema::placing::Placing;
use crate::schema::turned::Turned;
use crate::schema::{GroupId, Schema, ShardRef};
use crate::two_phase::door::Door;
use crate::two_phase::rooms::Site;
use crate::two_phase::{TwoPhase, gid, resolver};
use arc_swap::ArcSwap;
use shardway_config as config;
use shardway_pool::catalog::{self, Catalog};
use shardway_pool::control::{self, Control, ControlError};
use shardway_pool::shard::{Server, Shard};
use shardway_pool::tls::Connector;
use shardway_pool::{Credential, Login, Logins, Lookup, ServerAddress};
use shardway_shardmap::{Function, MapError, RangeEntry, ShardId, ShardMap};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How sequences stand on one shard.
type Sequences = HashMap<catalog::Name, catalog::Sequence>;

/// The shortest time between two readings of the schema that statements with unknown names ask for.
const REFRESH_PAUSE: Duration = Duration::from_millis(200);

/// One shard group at work.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its shards: element *i* is shard *i*.
    pub shards: Vec<Arc<Shard>>,
    /// Columns that shard a table, for hints by key.
    pub keys: Vec<String>,
}

/// A database at work.
#[derive(Debug)]
pub struct Database {
    /// What clients connect to.
    pub name: String,
    /// As configured.
    pub config: config::Database,
    /// Its groups.
    pub groups: Vec<Group>,
    /// Their maps.
    pub maps: Vec<ShardMap>,
    planning: ArcSwap<Planning>,
    /// What the planning was made of.
    read: ArcSwap<Read>,
    /// What names have stood for.
    turned: Arc<std::sync::Mutex<Turned>>,
    /// How sequences stood on each shard when it was asked last.
    sequences: std::sync::Mutex<HashMap<ShardRef, Sequences>>,
    unlisted: config::UnlistedTables,
    /// What each shard has of types.
    pub(crate) types: std::sync::Mutex<ByShard>,
    /// What that means for clients.
    pub(crate) type_maps: ArcSwap<TypeMaps>,
    /// Whether it means anything, or is not known.
    pub(crate) translates: std::sync::atomic::AtomicBool,
    /// Transactions that several of its servers commit together.
    pub two_phase: Arc<TwoPhase>,
    control_logins: Logins,
    /// Control connections to each of its servers that somebody can log in to.
    controls: Vec<(Arc<Server>, Control)>,
    /// How configured users log in.
    logins: HashMap<String, Login>,
    lookups: std::sync::Mutex<Vec<(Asker, Lookup)>>,
    pub(crate) refreshing: tokio::sync::Mutex<Option<Instant>>,
    schema_read: std::sync::atomic::AtomicBool,
    replaced: std::sync::atomic::AtomicBool,
    watchers: std::sync::Mutex<JoinSet<()>>,
    namesakes: std::sync::OnceLock<Vec<String>>,
    door: std::sync::OnceLock<Arc<Door>>,
}

impl Database {
    /// From its configuration; servers of `old` that stay keep their pools. Watches their health from here on.
    pub fn start(
        database: &config::Database,
        whole: &config::Config,
        users: &HashMap<String, User>,
        connector: &Arc<Connector>,
        old: Option<&Database>,
    ) -> Result<Arc<Self>, MapError> {
        let maps = database.groups.iter().map(shard_map).collect::<Result<Vec<_>, _>>()?;
        let groups: Vec<Group> = database
            .groups
            .iter()
            .map(|group| Group {
                name: group.name.clone(),
                keys: group.keys.clone(),
                shards: group
                    .shards
                    .iter()
                    .enumerate()
                    .map(|(id, configured)| {
                        let shard = shard(configured, whole, connector, old);
                        if let Some(before) = old.and_then(|old| old.shard_before(&group.name, id)) {
                            shard.inherit(before.primary());
                        }
                        Arc::new(shard)
                    })
                    .collect(),
            })
            .collect();
        let control_logins = control_logins(database, whole, users);
        let schema = Schema::unread(&maps);
        let login = |user: &User| Login { user: user.name.clone(), credential: user.credential.clone() };
        let this = Self {
            name: database.name.clone(),
            config: database.clone(),
            groups,
            maps,
            planning: ArcSwap::from_pointee(Planning::new(schema)),
            read: ArcSwap::default(),
            turned: old.map(|old| old.turned.clone()).unwrap_or_default(),
            sequences: std::sync::Mutex::default(),
            unlisted: whole.routing.unlisted_tables,
            types: std::sync::Mutex::default(),
            type_maps: ArcSwap::default(),
            translates: std::sync::atomic::AtomicBool::new(false),
            two_phase: old.map(|old| old.two_phase.clone()).unwrap_or_default(),
            controls: Vec::new(),
            logins: users.iter().map(|(name, user)| (name.clone(), login(user))).collect(),
            control_logins,
            lookups: std::sync::Mutex::default(),
            refreshing: tokio::sync::Mutex::new(None),
            schema_read: std::sync::atomic::AtomicBool::new(database.origin != config::Origin::Native),
            replaced: std::sync::atomic::AtomicBool::new(false),
            watchers: std::sync::Mutex::default(),
            namesakes: std::sync::OnceLock::new(),
            door: std::sync::OnceLock::new(),
        };
        let controls = this.control_connections();
        if let Some(old) = old {
            this.carry_types(old);
        }
        this.translates.store(this.is_sharded(), std::sync::atomic::Ordering::Relaxed);
        let this = Arc::new(Self { controls, ..this });
        this.watch(whole.routing.health_check_interval);
        Ok(this)
    }

    /// Whether its servers are watched and its schema is read: a `pgbouncer.ini` asks for neither.
    pub fn is_watched(&self) -> bool {
        self.config.origin == config::Origin::Native
    }

    /// How each of its servers is asked about itself.
    fn control_connections(&self) -> Vec<(Arc<Server>, Control)> {
        let mut controls = Vec::new();
        for server in self.servers().filter(|_| self.is_watched()) {
            match Control::by(&server.address, self.logins_to(server)) {
                Ok(control) => controls.push((server.clone(), control)),
                Err(e) => {
                    tracing::error!(database = self.name, server = %server.address, "it can't be asked: {e}")
                }
            }
        }
        controls
    }

    /// Control connections to each of its servers that can be asked.
    pub(crate) fn controls(&self) -> impl Iterator<Item = &(Arc<Server>, Control)> {
        self.controls.iter()
    }

    /// A control connection to a shard's primary. Errors: there is nobody who can log in, or no such shard.
    pub fn control_at(&self, shard: ShardRef) -> Result<&Control, ControlError> {
        let primary = self.shard(shard).primary();
        let known = self.controls.iter().find(|(server, _)| Arc::ptr_eq(server, primary));
        let nobody = || ControlError::Unreachable(format!("no login is known for {}", primary.address));
        known.map(|(_, control)| control).ok_or_else(nobody)
    }

    /// How a configured user logs in to its servers.
    pub fn login_of(&self, user: &str) -> Option<Login> {
        match (&self.config.user, &self.config.password) {
            (Some(name), Some(_)) if name == user => {
                Some(Login::by_password(name, self.config.password.as_ref()))
            }
            _ => self.logins.get(user).cloned(),
        }
    }

    /// Whether transactions of it may write on several servers.
    pub fn is_sharded(&self) -> bool {
        self.is_watched() && self.all_shards().nth(1).is_some()
    }

    /// A shard for people.
    pub fn label(&self, at: ShardRef) -> String {
        format!("{}/{}", self.groups[at.group.0].name, at.shard.0)
    }

    /// The shard at a place, if there is one.
    pub fn shard_at(&self, place: &gid::Place) -> Option<ShardRef> {
        let group = self.groups.iter().position(|group| place.is_of(&group.name))?;
        let there = (place.shard as usize) < self.groups[group].shards.len();
        there.then_some(ShardRef { group: GroupId(group), shard: ShardId(place.shard) })
    }

    /// A shard's place.
    pub fn place_of(&self, at: ShardRef) -> gid::Place {
        gid::Place::new(&self.groups[at.group.0].name, at.shard.0)
    }

    fn watch(self: &Arc<Self>, interval: Duration) {
        if !self.is_watched() {
            return;
        }
        if self.control_logins.is_empty() && self.servers().any(|server| server.login.is_none()) {
            tracing::warn!(database = self.name, "no login is known for health checks");
            return;
        }
        let interval = if interval.is_zero() { Duration::from_secs(5) } else { interval };
        let mut watchers = self.watchers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for group in &self.groups {
            for (id, shard) in group.shards.iter().enumerate() {
                let name = format!("{}/{}/{id}", self.name, group.name);
                let of_shard = |(server, _): &&(Arc<Server>, Control)| {
                    shard.servers.iter().any(|own| Arc::ptr_eq(own, server))
                };
                let servers = self.controls.iter().filter(of_shard).cloned().collect();
                watchers.spawn(control::watch(name, shard.clone(), servers, interval));
            }
        }
        if self.is_sharded() {
            watchers.spawn(resolver::run(Arc::downgrade(self)));
        }
    }

    /// Whether nobody can read its catalogs before a client has logged in.
    pub fn awaits_login(&self) -> bool {
        let by_client = || self.servers().all(|server| server.login.is_none());
        self.is_watched() && !self.control_logins.is_empty() && self.control_login().is_none() && by_client()
    }

    /// Somebody can log in to its servers now who could not before: if that was missing, it is seen to at once.
    pub fn look_again(self: &Arc<Self>, runtime: &tokio::runtime::Handle) {
        if self.is_schema_read() {
            return;
        }
        self.groups.iter().flat_map(|group| &group.shards).for_each(|shard| shard.wake.notify_one());
        let database = self.clone();
        runtime.spawn(async move {
            if let Err(e) = database.refresh(None).await {
                tracing::debug!(database = database.name, "the schema could not be read: {e}");
            }
        });
    }

    /// Watches its servers no more: another one has taken its place.
    pub fn stop_watching(&self) {
        self.replaced.store(true, std::sync::atomic::Ordering::Release);
        let mut watchers =
            std::mem::take(&mut *self.watchers.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        watchers.abort_all();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // Sessions may hold this one for long: nothing of it stays connected.
        let controls: Vec<Control> = self.controls.iter().map(|(_, control)| control.clone()).collect();
        runtime.spawn(async move {
            watchers.shutdown().await;
            controls.iter().for_each(Control::close_idle);
            // What was in use still comes back.
            tokio::time::sleep(Duration::from_secs(1)).await;
            controls.iter().for_each(Control::close_idle);
        });
    }

    /// Whether a reload put another one in its place, or none.
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Who reads catalogs and health, where a server's URL names nobody.
    pub fn control_login(&self) -> Option<&Login> {
        self.control_logins.ready()
    }

    /// What looks users up on it: on the first shard of the first group, as `by`, or as who reads catalogs. Errors: never
    /// for valid addresses.
    pub fn lookup(&self, query: &str, by: Option<Login>) -> Result<Lookup, String> {
        let server = self.groups[0].shards[0].primary();
        let logins =
            by.or_else(|| server.login.clone()).map_or_else(|| self.control_logins.clone(), Logins::from);
        let asker = Asker { address: server.address.clone(), query: query.to_owned(), logins };
        let mut lookups = self.lookups.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, known)) = lookups.iter().find(|(known, _)| *known == asker) {
            return Ok(known.clone());
        }
        let lookup = Lookup::new(&asker.address, asker.logins.clone(), query)?;
        // What another configuration or another primary asked for is not kept.
        lookups.retain(|(known, _)| known.address == asker.address && known.query != asker.query);
        lookups.push((asker, lookup.clone()));
        Ok(lookup)
    }

    /// Every server of every shard.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.groups.iter().flat_map(|g| &g.shards).flat_map(|s| &s.servers)
    }

    /// Names of others of `all` that have a server's database in common with this one, by the same address. `all` are those
    /// of one configuration.
    pub fn namesakes<'a>(&'a self, all: &HashMap<String, Arc<Self>>) -> &'a [String] {
        self.namesakes.get_or_init(|| {
            let place = |server: &Arc<Server>| {
                let address = &server.address;
                (address.host.clone(), address.port, address.dbname.clone())
            };
            let own: std::collections::HashSet<_> = self.servers().map(place).collect();
            let others = all.values().filter(|other| other.name != self.name);
            let shared = others.filter(|other| other.servers().any(|server| own.contains(&place(server))));
            shared.map(|other| other.name.clone()).collect()
        })
    }

    /// Where its transactions over several servers become visible, and those of others of `all` that have servers in common
    /// with it, directly or by way of others. `all` are those of one configuration.
    pub fn door(&self, all: &HashMap<String, Arc<Self>>) -> &Arc<Door> {
        self.door.get_or_init(|| {
            let mut met: Vec<&str> = vec![self.name.as_str()];
            let mut next = 0;
            while let Some(database) = met.get(next).map(|name| all.get(*name)) {
                next += 1;
                for name in database.into_iter().flat_map(|database| database.namesakes(all)) {
                    if !met.contains(&&**name) {
                        met.push(name);
                    }
                }
            }
            // The same one for all of them.
            let first = met.into_iter().min().and_then(|name| all.get(name));
            first.map_or(&self.two_phase, |database| &database.two_phase).door.clone()
        })
    }

    /// What tells the databases of shards from others', whichever of their servers takes writes.
    pub fn sites(&self, shards: &[ShardRef]) -> Vec<Site> {
        let site = |shard: &ShardRef| {
            let mut hasher = std::collections::hash_map::DefaultHasher::new();
            if let Some(server) = self.shard(*shard).servers.first() {
                let address = &server.address;
                (&address.host, address.port, &address.dbname).hash(&mut hasher);
            }
            Site(hasher.finish())
        };
        shards.iter().map(site).collect()
    }

    /// Reads the schema, as often as it takes while the database is configured.
    pub async fn read_schema(self: Arc<Self>) {
        let mut pause = Duration::from_millis(100);
        while !self.is_schema_read() && !self.is_replaced() {
            if let Err(e) = self.refresh(None).await {
                tracing::warn!(database = self.name, "the schema could not be read: {e}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    }

    /// The schema and its plans, as last read.
    pub fn planning(&self) -> Arc<Planning> {
        self.planning.load_full()
    }

    /// Uses the schema and its plans for a moment, without taking hold of them.
    pub fn with_planning<T>(&self, look: impl FnOnce(&Planning) -> T) -> T {
        look(&self.planning.load())
    }

    /// Whether the schema has been read at least once.
    pub fn is_schema_read(&self) -> bool {
        self.schema_read.load(std::sync::atomic::Ordering::Acquire)
    }

    /// A shard.
    pub fn shard(&self, at: ShardRef) -> &Arc<Shard> {
        &self.groups[at.group.0].shards[at.shard.0 as usize]
    }

    /// A shard by its group's name, for what comes after a reload.
    fn shard_before(&self, group: &str, id: usize) -> Option<&Arc<Shard>> {
        self.groups.iter().find(|g| g.name == group)?.shards.get(id)
    }

    /// Every shard of a group.
    pub fn shards_of(&self, group: GroupId) -> impl Iterator<Item = ShardRef> + use<> {
        let count = self.groups[group.0].shards.len() as u32;
        (0..count).map(move |shard| ShardRef { group, shard: ShardId(shard) })
    }

    /// Every shard of every group.
    pub fn all_shards(&self) -> impl Iterator<Item = ShardRef> + '_ {
        (0..self.groups.len()).flat_map(|g| self.shards_of(GroupId(g)))
    }

    /// Reads the schema again. `seen`: the planning that a statement found wanting; if another one has been read
    /// since, that one is as good. Errors: in words, for the log and the client.
    pub async fn refresh(&self, seen: Option<&Arc<Planning>>) -> Result<(), String> {
        if !self.is_watched() {
            return Ok(());
        }
        let asked = Instant::now();
        let mut last = self.refreshing.lock().await;
        if let Some(seen) = seen {
            let read_since =
                last.is_some_and(|began| began > asked) || !Arc::ptr_eq(seen, &self.planning.load_full());
            if read_since {
                return Ok(());
            }
            // Whoever asks for tables that are not there waits, and does not keep the shards busy.
            let pause = last.map_or(Duration::ZERO, |at| REFRESH_PAUSE.saturating_sub(at.elapsed()));
            tokio::time::sleep(pause).await;
        }
        *last = Some(Instant::now());
        let (catalogs, ()) = tokio::join!(self.read_catalogs(), self.read_types());
        let catalogs = catalogs?;
        let mut read = self.lower(catalogs);
        if self.prove_sequences(&mut read).await {
            read = self.lower(read.catalogs);
        }
        for problem in &read.problems {
            tracing::error!(database = self.name, "{}", problem.0);
        }
        let known = self.read.load();
        let news =
            |now: Vec<String>, before: Vec<String>| now.into_iter().filter(move |one| !before.contains(one));
        for found in news(read.schema.side_effects(), known.schema.side_effects())
            .chain(news(read.schema.loose_ends(), known.schema.loose_ends()))
        {
            tracing::error!(database = self.name, "{found}");
        }
        tracing::info!(database = self.name, tables = read.schema.tables().count(), "schema read");
        // The same schema keeps its plans, and every client's prepared statements theirs.
        if self.planning.load().schema != read.schema {
            self.note_names(&read.schema);
            self.planning.store(Arc::new(Planning::new(read.schema.clone())));
        }
        self.read.store(Arc::new(read));
        self.schema_read.store(true, std::sync::atomic::Ordering::Release);
        Ok(())
    }

    /// A schema that holds from now on, or will when its transaction commits.
    pub fn note_names(&self, schema: &Schema) {
        self.turned.lock().unwrap_or_else(std::sync::PoisonError::into_inner).note(schema);
    }

    /// Refuses to run what was planned then and has waited for a server, if its names may stand for other tables by now.
    pub fn check_names(&self, planned: Instant) -> Result<(), ClientError> {
        let turned = self.turned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !turned.since(planned) {
            return Ok(());
        }
        let message = "a table was replaced by one of another kind, or with another sharding key, while the statement \
                       waited for a server";
        Err(ClientError::error("40001", message).hint("Send it again."))
    }

    /// The catalog of each group, with the tables that its shards have for themselves.
    async fn read_catalogs(&self) -> Result<Vec<Catalog>, String> {
        let mut catalogs = Vec::with_capacity(self.groups.len());
        for (number, group) in self.groups.iter().enumerate() {
            let mut catalog = self.read_catalog(group).await?;
            self.adopt_locals(number, &mut catalog).await;
            catalogs.push(catalog);
        }
        Ok(catalogs)
    }

    /// What catalogs of its groups mean.
    pub fn lower(&self, catalogs: Vec<Catalog>) -> Read {
        let (schema, problems) = Schema::lower(&self.config, self.unlisted, &self.maps, &catalogs);
        Read { catalogs, schema, problems }
    }

    /// What was read last.
    pub fn last_read(&self) -> Arc<Read> {
        self.read.load_full()
    }

    /// Asks every shard how the sequences stand that its sharded tables count with, and notes those that give no value
    /// twice. A shard that does not answer is taken to stand as it did: what one sequence gives it is never given back.
    /// Whether there was anything to ask.
    async fn prove_sequences(&self, read: &mut Read) -> bool {
        let mut any = false;
        for group in 0..self.groups.len() {
            let wanted = interleave::wanted(&read.schema, &read.catalogs[group], GroupId(group));
            if wanted.is_empty() {
                continue;
            }
            any = true;
            let mut asked = JoinSet::new();
            for at in self.shards_of(GroupId(group)) {
                let (server, wanted) = (self.shard(at).primary().clone(), wanted.clone());
                let logins = self.logins_to(&server);
                asked.spawn(async move {
                    let read = async {
                        let mut source = catalog::source(&Control::by(&server.address, logins)?).await?;
                        catalog::read_sequences(&mut source, &wanted).await
                    };
                    (at, tokio::time::timeout(Duration::from_secs(5), read).await.ok().and_then(Result::ok))
                });
            }
            let answers = asked.join_all().await;
            let mut known = self.sequences.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            known.extend(answers.into_iter().filter_map(|(at, found)| found.map(|found| (at, found))));
            let shards: Vec<&Sequences> =
                self.shards_of(GroupId(group)).filter_map(|at| known.get(&at)).collect();
            let all = shards.len() == self.groups[group].shards.len();
            let proven = |name: &catalog::Name| {
                let stand: Vec<_> = shards.iter().map(|shard| shard.get(name).copied()).collect();
                all && interleave::is_interleaved(&stand)
            };
            read.catalogs[group].interleaved = wanted.into_iter().filter(proven).collect();
        }
        any
    }

    /// Puts in the tables that other shards of a group have for themselves.
    async fn adopt_locals(&self, number: usize, catalog: &mut Catalog) {
        let placing = Placing::of(&self.config, &[]);
        for shard in placing.local_shards(number) {
            let at = ShardRef { group: GroupId(number), shard };
            let server = self.shard(at).primary().clone();
            let logins = self.logins_to(&server);
            let read = async { catalog::read(&Control::by(&server.address, logins)?).await };
            match tokio::time::timeout(Duration::from_secs(10), read).await {
                Ok(Ok(other)) => catalog.adopt(other, |name| placing.local(number, name) == Some(at)),
                _ => tracing::warn!(
                    database = self.name,
                    "shard {}: its local tables could not be read",
                    shard.0
                ),
            }
        }
    }

    /// The catalog of a group, from the first of its shards that answers.
    async fn read_catalog(&self, group: &Group) -> Result<Catalog, String> {
        let mut failure = String::from("the group has no shard");
        for (number, shard) in group.shards.iter().enumerate() {
            for server in std::iter::once(shard.primary()).chain(&shard.servers) {
                let logins = self.logins_to(server);
                let read = async { catalog::read(&Control::by(&server.address, logins)?).await };
                match tokio::time::timeout(Duration::from_secs(10), read).await {
                    Ok(Ok(catalog)) => {
                        self.compare_others(group, number, &catalog);
                        return Ok(catalog);
                    }
                    Ok(Err(e)) => failure = format!("{}: {e}", server.address),
                    Err(_) => failure = format!("{}: no answer in time", server.address),
                }
            }
        }
        Err(failure)
    }
}

/// Who asks for users' secrets, where and how.
#[derive(Debug, PartialEq)]
struct Asker {
    address: Arc<ServerAddress>,
    query: String,
    logins: Logins,
}

impl Database {
    /// Who reads a server's catalog.
    pub(crate) fn logins_to(&self, server: &Server) -> Logins {
        server.login.clone().map_or_else(|| self.control_logins.clone(), Logins::from)
    }

    /// Logs where a shard's tables are not those that plans are made with. In the background: a shard that is down
    /// must not hold up the others.
    fn compare_others(&self, group: &Group, first: usize, catalog: &Catalog) {
        let expected = Arc::new(catalog.clone());
        for (number, shard) in group.shards.iter().enumerate().filter(|(number, _)| *number != first) {
            let (server, expected) = (shard.primary().clone(), expected.clone());
            let logins = self.logins_to(&server);
            let placing = Placing::of(&self.config, &[]);
            let index = self.groups.iter().position(|g| g.name == group.name).unwrap_or_default();
            let (database, group) = (self.name.clone(), group.name.clone());
            tokio::spawn(async move {
                let read = async { catalog::read(&Control::by(&server.address, logins)?).await };
                let Ok(Ok(found)) = tokio::time::timeout(Duration::from_secs(10), read).await else { return };
                let local = |table: &String| {
                    let (schema, name) = table.split_once('.').unwrap_or_default();
                    placing.local(index, &(schema.to_owned(), name.to_owned())).is_some()
                };
                for table in expected.differences(&found).into_iter().filter(|table| !local(table)) {
                    tracing::warn!(
                        database,
                        group,
                        shard = number,
                        table,
                        "this shard's table is not as on shard {first}, after which statements are planned"
                    );
                }
            });
        }
    }
}

/// Lowers a group's function.
fn shard_map(group: &config::Group) -> Result<ShardMap, MapError> {
    let function = match &group.function {
        config::ShardFunction::Fnv1a => Function::Fnv1a,
        config::ShardFunction::Modulo => Function::Modulo,
        config::ShardFunction::Range(ranges) => Function::Range(
            ranges.iter().map(|r| RangeEntry { from: r.from, to: r.to, shard: ShardId(r.shard) }).collect(),
        ),
        config::ShardFunction::List(lists) => Function::List(
            lists.iter().flat_map(|l| l.values.iter().map(|v| (v.clone(), ShardId(l.shard)))).collect(),
        ),
    };
    ShardMap::new(function, group.shards.len() as u32)
}

fn shard(
    shard: &config::Shard,
    whole: &config::Config,
    connector: &Arc<Connector>,
    old: Option<&Database>,
) -> Shard {
    let servers = std::iter::once(&shard.primary).chain(&shard.replicas);
    Shard::new(servers.map(|endpoint| server(endpoint, whole, connector, old)).collect())
}

/// A server, the old one where nothing of it changed.
fn server(
    endpoint: &config::Endpoint,
    whole: &config::Config,
    connector: &Arc<Connector>,
    old: Option<&Database>,
) -> Arc<Server> {
    let address =
        ServerAddress::new(endpoint, whole.pool.server_tls, connector.clone(), whole.server.sockets.tcp);
    let login = endpoint.user.as_ref().map(|user| Login::by_password(user, endpoint.password.as_ref()));
    let kept = old.into_iter().flat_map(|d| &d.groups).flat_map(|g| &g.shards).flat_map(|s| &s.servers);
    let same = |s: &&Arc<Server>| *s.address == address && s.login == login;
    kept.into_iter().find(same).cloned().unwrap_or_else(|| Server::new(address, login))
}

/// Who reads catalogs and health: the database's own login, else the first user that can log in. One whose password is
/// plain text always can, one of whom a hash is known depends on what the server asks for and, if that is SCRAM's, on
/// clients: see [`Logins`]. Administrators come last of each.
fn control_logins(
    database: &config::Database,
    whole: &config::Config,
    users: &HashMap<String, User>,
) -> Logins {
    let known = |name: &String| users.get(name).and_then(|user| user.credential.clone());
    if let Some(user) = &database.user {
        let credential = database.password.clone().map(Credential::Password).or_else(|| known(user));
        return Login { user: user.clone(), credential }.into();
    }
    let endpoint = database.groups.first().and_then(|g| g.shards.first()).map(|s| &s.primary);
    if let Some(user) = endpoint.and_then(|e| e.user.as_ref()) {
        return Login::by_password(user, endpoint.and_then(|e| e.password.as_ref())).into();
    }
    let admin =
        |name: &String| whole.server.admin_users.contains(name) || whole.server.stats_users.contains(name);
    let rank = |login: &Login| match &login.credential {
        Some(Credential::Password(_)) => 0,
        Some(Credential::Scram(_)) => 1,
        Some(Credential::Md5(_)) => 2,
        None => 3,
    };
    let mut logins: Vec<Login> = whole
        .users
        .iter()
        .map(|user| Login { user: user.name.clone(), credential: known(&user.name) })
        .collect();
    // The order among equals is the configuration's.
    logins.sort_by_key(|login| (rank(login), admin(&login.user)));
    logins.into_iter().collect()
}
