//! The process-wide state: what is configured right now, and who is connected.

use crate::audit::Audit;
use crate::client::Directory;
use crate::client::auth::{ClientKey, SaltKey, ScramSecret, StoredSecret, UserSecret};
use crate::database::Database;
use crate::handle::ClientHandle;
use crate::ini;
use crate::limits::UserBudgets;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::session::Told;
use crate::workers::Workers;
use arc_swap::ArcSwap;
use shardway_config::{AuthMethod, Config, Origin, Secret, TlsMode, UserLimits};
use shardway_pool::cancel::BackendKey;
use shardway_pool::settings::{Shared, SharedSettings};
use shardway_pool::shard::Server;
use shardway_pool::tls::{Acceptor, Connector};
use shardway_pool::{Credential, Login, ScramKeys};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The name of the admin database.
pub const ADMIN_DATABASE: &str = "shardway";

/// A user that may log in.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    /// How it proves itself.
    pub secret: Arc<UserSecret>,
    /// How Shardway proves itself to servers in its name.
    pub credential: Option<Credential>,
    /// What counts for it alone.
    pub limits: UserLimits,
}

impl User {
    /// Takes what a client proved by its login: the key that opens servers with the same SCRAM secret. Whether that is
    /// news.
    pub fn learn(&self, key: &ClientKey) -> bool {
        let Some(Credential::Scram(keys)) = &self.credential else { return false };
        let news = keys.client_key().is_none();
        keys.learn(key.expose());
        news
    }
}

/// Everything that one configuration made.
#[derive(Clone, Debug)]
pub struct World {
    /// The configuration.
    pub config: Config,
    /// Users by name.
    pub users: HashMap<String, User>,
    /// Users that were looked up.
    pub found: Arc<Directory>,
    /// Databases by name.
    pub databases: HashMap<String, Arc<Database>>,
    /// How clients are met by TLS, where it is on.
    pub acceptor: Option<Acceptor>,
    /// What TLS to servers goes by.
    connector: Arc<Connector>,
    /// Servers of each user over all databases.
    pub user_budgets: Arc<UserBudgets>,
    /// The audit log, if there is one.
    pub audit: Option<Arc<Audit>>,
    /// Counts up with each reload.
    pub generation: u64,
}

impl World {
    /// Builds what `config` says; what stays from `old` is kept. Errors: in words.
    pub fn build(config: Config, old: Option<&World>, salts: &SaltKey) -> Result<Self, String> {
        salts.set_iterations(ini::scram_iterations(&config));
        let acceptor = acceptor(&config)?;
        let connector = Connector::new(&config.pool.server_tls_files).map_err(|e| e.to_string())?;
        let connector = Arc::new(connector);
        let lower = |user: &shardway_config::User| {
            let before = old.and_then(|w| w.users.get(&user.name));
            (user.name.clone(), lower_user(user, before, salts))
        };
        let users: HashMap<_, _> = config.users.iter().map(lower).collect();
        let mut databases = HashMap::new();
        let made = old.map(|old| old.made_by_fallback(&config)).unwrap_or_default();
        for database in config.databases.iter().chain(&made) {
            let before = old.and_then(|w| w.databases.get(&database.name)).map(|d| &**d);
            let made = Database::start(database, &config, &users, &connector, before)
                .map_err(|e| format!("database {}: {e}", database.name))?;
            databases.insert(database.name.clone(), made);
        }
        let audit = Audit::of(config.server.audit_log.as_ref(), old.and_then(|old| old.audit.as_ref()))?;
        let found = old.map(|old| old.found.clone()).unwrap_or_default();
        let generation = old.map_or(0, |w| w.generation + 1);
        let user_budgets = old.map(|w| w.user_budgets.clone()).unwrap_or_default();
        Ok(Self { config, users, found, databases, acceptor, connector, user_budgets, audit, generation })
    }

    /// The databases that the fallback made, as `config` would have it make them; those that it names are not among them.
    fn made_by_fallback(&self, config: &Config) -> Vec<shardway_config::Database> {
        let Some(fallback) = &config.fallback else { return Vec::new() };
        let made = self.databases.values().filter(|database| database.config.origin == Origin::Fallback);
        let named = |name: &str| config.databases.iter().any(|database| database.name == name);
        made.filter(|database| !named(&database.name))
            .map(|database| fallback.named(&database.name))
            .collect()
    }

    /// With one more database. Errors: in words.
    pub fn with(&self, database: &shardway_config::Database) -> Result<Self, String> {
        let mut world = self.clone();
        let made = Database::start(database, &self.config, &self.users, &self.connector, None)
            .map_err(|e| e.to_string())?;
        world.databases.insert(database.name.clone(), made);
        Ok(world)
    }

    /// Without a database.
    pub fn without(&self, database: &str) -> Self {
        let mut world = self.clone();
        world.databases.remove(database);
        world
    }

    /// Who logs in to the servers of `database` when `user` is the client.
    pub fn server_login(&self, database: &Database, user: &str) -> Login {
        match &database.config.user {
            Some(name) if database.config.password.is_some() => {
                Login::by_password(name, database.config.password.as_ref())
            }
            // By what is known of that user, be it a hash.
            Some(name) => Login { user: name.clone(), credential: self.credential(&database.name, name) },
            None => Login { user: user.to_owned(), credential: self.credential(&database.name, user) },
        }
    }

    /// Whether `user` is who somebody may be on a server of `database`.
    pub fn may_log_in(&self, database: &Database, server: &Server, user: &str) -> bool {
        match (&database.config.user, &server.login) {
            (Some(name), _) => name == user,
            (None, Some(login)) => login.user == user,
            (None, None) => self.has_user(&database.name, user),
        }
    }

    /// Whether `user` may change things on the admin database.
    pub fn is_admin(&self, user: &str) -> bool {
        self.config.server.admin_users.iter().any(|name| name == user)
    }

    /// Whether `user` may look at the admin database. Where any name will do, everybody may, as by PgBouncer.
    pub fn is_stats(&self, user: &str) -> bool {
        self.config.server.auth == AuthMethod::Any
            || self.is_admin(user)
            || self.config.server.stats_users.iter().any(|name| name == user)
    }
}

/// How clients are met by TLS. Errors: a file is wrong, or there is none; in words.
pub fn acceptor(config: &Config) -> Result<Option<Acceptor>, String> {
    let server = &config.server;
    let acceptor = Acceptor::new(server.tls, &server.tls_files).map_err(|e| e.to_string())?;
    if acceptor.is_none() && server.tls != TlsMode::Disable {
        return Err("tls is on, and no certificate has been read".to_owned());
    }
    Ok(acceptor)
}

fn lower_user(user: &shardway_config::User, before: Option<&User>, salts: &SaltKey) -> User {
    let lowered = User::lower(&user.name, user.password.as_ref(), before, salts);
    User { limits: user.limits.clone(), ..lowered }
}

impl User {
    /// One of whose password this is stored; `before` is who it was.
    pub fn with_secret(name: &str, secret: String, before: Option<&User>, salts: &SaltKey) -> Self {
        Self::lower(name, Some(&Secret::new(secret)), before, salts)
    }

    fn lower(name: &str, password: Option<&Secret>, before: Option<&User>, salts: &SaltKey) -> Self {
        let stored = password.map(|p| p.expose().to_owned()).unwrap_or_default();
        let stored = StoredSecret::parse(&stored);
        // Of a secret that stays, what clients have proven of it stays too.
        if let Some(before) = before.filter(|before| before.credential.is_some() == password.is_some())
            && *before.secret.stored() == stored
            && before.secret.is_of(salts)
        {
            return before.clone();
        }
        let credential = password.map(|password| lower_credential(password, &stored));
        let secret = UserSecret::new(name, stored, salts);
        // Deriving costs milliseconds: here, once.
        secret.scram();
        Self { name: name.to_owned(), secret: Arc::new(secret), credential, limits: UserLimits::default() }
    }
}

/// What a stored password opens servers by.
fn lower_credential(password: &Secret, stored: &StoredSecret) -> Credential {
    match stored {
        StoredSecret::Plain(_) => Credential::Password(password.clone()),
        StoredSecret::Md5(_) => Credential::Md5(password.clone()),
        StoredSecret::Scram(scram) => {
            let ScramSecret { iterations, salt, stored_key, server_key } = scram.clone();
            Credential::Scram(Arc::new(ScramKeys::new(iterations, salt, stored_key, server_key)))
        }
    }
}

/// What the process is at as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Its work.
    Serving,
    /// Nothing, until RESUME: nobody is let in, and sessions hold still.
    Suspended,
    /// Nobody is let in; those who are in leave when they like.
    Leaving,
    /// Clients go as soon as they hold no server; nobody waits for one.
    Releasing,
    /// Clients go as soon as they are in no transaction.
    Draining,
    /// All go.
    Stopping,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Serving, Self::Suspended, Self::Leaving, Self::Releasing, Self::Draining, Self::Stopping];

    /// Whether the process is going to end.
    pub fn is_ending(self) -> bool {
        self >= Self::Leaving
    }

    /// Whether admins are still let in, by Unix sockets: where others may stay for as long as they like, somebody has to
    /// be able to look, and to lose patience. As with PgBouncer.
    pub fn lets_admins_in(self) -> bool {
        matches!(self, Self::Leaving | Self::Releasing)
    }
}

/// The process-wide state.
pub struct Proxy {
    world: ArcSwap<World>,
    /// The world's generation, for a look in passing.
    generation: AtomicU64,
    /// Counters.
    pub metrics: Metrics,
    /// Salts that stay the same while the process lives.
    pub salts: SaltKey,
    clients: Mutex<HashMap<(u32, u32), Arc<ClientHandle>>>,
    next_pid: AtomicU64,
    /// Connections, logged in or not.
    pub connections: AtomicUsize,
    /// Those that said who they are, by database and user.
    pub clients_by_name: crate::client::Clients,
    phase: watch::Sender<Phase>,
    /// The same, for a look in passing.
    progress: AtomicU8,
    /// The runtime of what is no client's.
    pub control: tokio::runtime::Handle,
    /// The threads that serve clients.
    pub workers: Workers,
    /// Held by a reload.
    pub reloading: tokio::sync::Mutex<()>,
    /// Where the configuration comes from, to read it again.
    pub source: shardway_config::Source,
    /// Where the log goes.
    pub log: Arc<Log>,
    /// Session settings of all clients.
    pub settings: SharedSettings,
    /// What clients were told of the parameters that servers report.
    pub told: Shared<Told>,
    /// Prepared statements of all clients.
    pub statements: crate::session::Statements,
    /// Connections that listen for clients.
    pub notify: crate::notify::Hub,
    era: ArcSwap<()>,
    /// Eras of caches that are no more.
    older: Mutex<Vec<std::sync::Weak<()>>>,
    /// What the admin database keeps.
    pub admin: crate::admin::Desk,
    /// The cache, if one is configured.
    pub cache: ArcSwap<Option<Arc<crate::cache::Cache>>>,
    /// Where it tells others of new schemas.
    pub bulletin: crate::bulletin::Bulletin,
    /// What wakes whoever looks for deadlocks.
    pub deadlocks: crate::deadlock::Signal,
}

impl Proxy {
    /// With its first world; the caller's runtime is the control plane's.
    pub fn new(world: World, salts: SaltKey, source: shardway_config::Source, log: Arc<Log>) -> Arc<Self> {
        let cache = start_cache(&world.config);
        world.apply_limits();
        Arc::new(Self {
            world: ArcSwap::from_pointee(world),
            metrics: Metrics::new(),
            salts,
            generation: AtomicU64::new(0),
            clients: Mutex::default(),
            next_pid: AtomicU64::new(1),
            connections: AtomicUsize::new(0),
            clients_by_name: crate::client::Clients::default(),
            phase: watch::Sender::new(Phase::Serving),
            progress: AtomicU8::new(0),
            control: tokio::runtime::Handle::current(),
            workers: Workers::default(),
            reloading: tokio::sync::Mutex::default(),
            source,
            log,
            settings: SharedSettings::default(),
            told: Shared::default(),
            statements: crate::session::Statements::default(),
            notify: crate::notify::Hub::default(),
            era: ArcSwap::default(),
            older: Mutex::default(),
            admin: crate::admin::Desk::default(),
            cache: ArcSwap::from_pointee(cache),
            bulletin: crate::bulletin::Bulletin::default(),
            deadlocks: crate::deadlock::Signal::default(),
        })
    }

    /// The present cache's era, to be held by every write until it ends.
    pub fn cache_era(&self) -> Arc<()> {
        self.era.load_full()
    }

    /// Whether writes that began before the present cache was made are still about: it does not know of them.
    pub fn has_older_writes(&self) -> bool {
        let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        older.retain(|era| era.strong_count() > 0);
        !older.is_empty()
    }

    /// Makes, changes or drops the cache as a new configuration says.
    fn change_cache(&self, config: &Config) {
        if let (Some(cache), true) = (&**self.cache.load(), config.cache.enabled) {
            if let Err(e) = cache.reconfigure(&config.cache) {
                tracing::error!("the cache stays as it was: {e}");
            }
            return;
        }
        // In this order: whoever holds the present era is known as older before the cache serves anybody.
        let before = self.era.load_full();
        self.older.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&before));
        self.cache.store(Arc::new(start_cache(config)));
        self.era.store(Arc::default());
    }

    /// Forgets every answer: tables or shards may have changed.
    pub async fn empty_cache(&self) {
        let Some(cache) = (**self.cache.load()).clone() else { return };
        for name in self.world().databases.keys() {
            let mut all = crate::cache::WriteSet::new(name);
            all.add_everything();
            cache.invalidate(&all).await;
        }
    }

    /// What is configured now.
    pub fn world(&self) -> Arc<World> {
        self.world.load_full()
    }

    /// Its generation, without taking hold of it.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes a world that differs by databases that nobody uses yet, or any more: nobody needs to be told.
    pub fn adjust(&self, world: World) {
        world.apply_limits();
        self.world.store(Arc::new(world));
    }

    /// Takes a new world.
    pub fn replace(&self, world: World) {
        let old = self.world.load_full();
        if old.config.cache != world.config.cache {
            self.change_cache(&world.config);
        }
        let generation = world.generation;
        world.apply_limits();
        self.world.store(Arc::new(world));
        self.generation.store(generation, Ordering::Release);
        // Idle sessions look whether they may stay.
        self.wake_clients();
        self.phase.send_modify(|_| {});
    }

    /// Every client's handle.
    pub fn client_handles(&self) -> Vec<Arc<ClientHandle>> {
        self.clients().values().cloned().collect()
    }

    /// Has every session look around.
    pub fn wake_clients(&self) {
        self.client_handles().iter().for_each(|handle| handle.wake());
    }

    /// What the process is at, and its changes.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Goes on to another phase. There is no way back from an end, nor from one that is nearer.
    pub fn enter(&self, phase: Phase) {
        let changed = self.phase.send_if_modified(|now| {
            let may = *now != phase && (!now.is_ending() || phase > *now);
            if may {
                *now = phase;
                self.progress.store(phase as u8, Ordering::Release);
            }
            may
        });
        if changed && phase.is_ending() {
            // Whoever holds still could not leave.
            self.client_handles().iter().for_each(|handle| handle.go_on());
        } else if changed {
            self.wake_clients();
        }
    }

    /// What the process is at, for a look in passing.
    pub fn stage(&self) -> Phase {
        let progress = usize::from(self.progress.load(Ordering::Acquire));
        Phase::ALL.get(progress).copied().unwrap_or(Phase::Stopping)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<(u32, u32), Arc<ClientHandle>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key that can't be guessed, and is not given twice at a time.
    pub fn new_key(&self) -> BackendKey {
        let pid = (self.next_pid.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff) as u32;
        BackendKey { pid, secret: rand::random() }
    }

    /// A key for a new client.
    pub fn register(&self) -> (BackendKey, Arc<ClientHandle>) {
        let key = self.new_key();
        let handle = Arc::new(ClientHandle::default());
        let mut clients = self.clients();
        clients.insert((key.pid, key.secret), handle.clone());
        // Still under the lock: who ends a suspension finds either this one, or no new one held.
        if self.stage() == Phase::Suspended {
            handle.hold_still();
        }
        (key, handle)
    }

    /// Forgets a client's key.
    pub fn unregister(&self, key: BackendKey) {
        self.clients().remove(&(key.pid, key.secret));
    }

    /// Cancels what every server does for the client with this key; unknown keys are ignored, as Postgres does.
    pub async fn cancel(&self, key: BackendKey) {
        let handle = self.clients().get(&(key.pid, key.secret)).cloned();
        match handle {
            Some(handle) => self.cancel_all_of(&handle).await,
            None => crate::admin::standing::cancel(self, key),
        }
    }

    /// Cancels what every server does for anybody.
    pub async fn cancel_all(&self) {
        let handles: Vec<_> = self.clients().values().cloned().collect();
        for handle in handles {
            self.cancel_all_of(&handle).await;
        }
    }

    async fn cancel_all_of(&self, handle: &ClientHandle) {
        let pending: Vec<_> = handle.targets().iter().map(|target| target.announce()).collect();
        handle.is_cancelled();
        let timeout = self.world().config.pool.cancel_wait_timeout;
        // Side by side: a server that can't be reached must not keep the others at work.
        let sent: Vec<_> = pending.into_iter().map(|cancel| tokio::spawn(cancel.send(timeout))).collect();
        for sent in sent {
            let _ = sent.await;
        }
    }
}

/// The cache, if one is configured. Without one everything works, so a setting that it refuses is logged.
fn start_cache(config: &Config) -> Option<Arc<crate::cache::Cache>> {
    if !config.cache.enabled {
        return None;
    }
    crate::cache::Cache::start(&config.cache)
        .inspect_err(|e| tracing::error!("the cache stays off: {e}"))
        .ok()
}
