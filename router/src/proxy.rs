//! The process-wide state: what is configured right now, and who is connected.

use crate::client::auth::{SaltKey, StoredSecret, UserSecret};
use crate::database::{Database, is_plain};
use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use shardway_config::{AuthMethod, Config, Secret};
use shardway_pool::cancel::{BackendKey, CancelTarget};
use shardway_pool::shard::Server;
use shardway_pool::{Login, PoolLimits};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The name of the admin database.
pub const ADMIN_DATABASE: &str = "shardway";

/// A user that may log in.
#[derive(Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    /// How it proves itself.
    pub secret: Arc<UserSecret>,
    /// Its password, where it is known in clear text: for servers.
    pub password: Option<Secret>,
    /// Its own pool size; 0: the default.
    pub pool_size: usize,
}

/// Everything that one configuration made.
#[derive(Debug)]
pub struct World {
    /// The configuration.
    pub config: Config,
    /// Users by name.
    pub users: HashMap<String, User>,
    /// Databases by name.
    pub databases: HashMap<String, Arc<Database>>,
    /// Counts up with each reload.
    pub generation: u64,
}

impl World {
    /// Builds what `config` says; what stays from `old` is kept. Errors: in words.
    pub fn build(config: Config, old: Option<&World>, salts: &SaltKey) -> Result<Self, String> {
        let mut databases = HashMap::new();
        for database in &config.databases {
            let before = old.and_then(|w| w.databases.get(&database.name)).map(|d| &**d);
            let made = Database::start(database, &config, before)
                .map_err(|e| format!("database {}: {e}", database.name))?;
            databases.insert(database.name.clone(), made);
        }
        let users = config.users.iter().map(|user| (user.name.clone(), lower_user(user, salts))).collect();
        Ok(Self { config, users, databases, generation: old.map_or(0, |w| w.generation + 1) })
    }

    /// Who logs in to the servers of `database` when `user` is the client.
    pub fn server_login(&self, database: &Database, user: &str) -> Login {
        match &database.config.user {
            Some(name) => Login { user: name.clone(), password: database.config.password.clone() },
            None => Login {
                user: user.to_owned(),
                password: self.users.get(user).and_then(|u| u.password.clone()),
            },
        }
    }

    /// Whether `user` is who somebody may be on a server of `database`.
    pub fn may_log_in(&self, database: &Database, server: &Server, user: &str) -> bool {
        match (&database.config.user, &server.login) {
            (Some(name), _) => name == user,
            (None, Some(login)) => login.user == user,
            (None, None) => self.has_user(user),
        }
    }

    /// Whether clients may be `user`: any name will do under trust, if no user is configured at all.
    pub fn has_user(&self, user: &str) -> bool {
        let open = self.config.server.auth == AuthMethod::Trust && self.users.is_empty();
        open || self.users.contains_key(user)
    }

    /// What bounds the pools of `user`.
    pub fn limits(&self, user: &str) -> PoolLimits {
        let own = self.users.get(user).map_or(0, |u| u.pool_size);
        let size = if own > 0 { own } else { self.config.pool.default_pool_size };
        PoolLimits::new(&self.config.pool, size.max(1))
    }

    /// Whether `user` may change things on the admin database.
    pub fn is_admin(&self, user: &str) -> bool {
        self.config.server.admin_users.iter().any(|name| name == user)
    }

    /// Whether `user` may look at the admin database.
    pub fn is_stats(&self, user: &str) -> bool {
        self.is_admin(user) || self.config.server.stats_users.iter().any(|name| name == user)
    }
}

fn lower_user(user: &shardway_config::User, salts: &SaltKey) -> User {
    let stored = user.password.as_ref().map(|p| p.expose().to_owned()).unwrap_or_default();
    let secret = UserSecret::new(&user.name, StoredSecret::parse(&stored), salts);
    // Deriving costs milliseconds: here, once, and not while a client waits.
    secret.scram();
    User {
        name: user.name.clone(),
        secret: Arc::new(secret),
        password: user.password.clone().filter(|p| is_plain(p.expose())),
        pool_size: user.pool_size,
    }
}

/// What a cancel request for one client has to reach.
#[derive(Debug, Default)]
pub struct CancelHandle(Mutex<Vec<CancelTarget>>);

impl CancelHandle {
    /// Servers that work for the client now.
    pub fn targets(&self) -> MutexGuard<'_, Vec<CancelTarget>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// None.
    Serving,
    /// Clients go as soon as they are in no transaction.
    Draining,
    /// All go.
    Stopping,
}

/// The process-wide state.
pub struct Proxy {
    world: ArcSwap<World>,
    /// Counters.
    pub metrics: Metrics,
    /// Salts that stay the same while the process lives.
    pub salts: SaltKey,
    cancels: Mutex<HashMap<(u32, u32), Arc<CancelHandle>>>,
    next_pid: AtomicU64,
    /// Connections, logged in or not.
    pub connections: AtomicUsize,
    phase: watch::Sender<Phase>,
    /// The runtime of what is no client's.
    pub control: tokio::runtime::Handle,
    /// Held by a reload.
    pub reloading: tokio::sync::Mutex<()>,
    /// Where the configuration comes from, to read it again.
    pub source: shardway_config::Source,
    /// Prepared statements of all clients.
    pub statements: crate::session::Statements,
    era: ArcSwap<()>,
    /// Eras of caches that are no more.
    older: Mutex<Vec<std::sync::Weak<()>>>,
    /// The cache, if one is configured.
    pub cache: ArcSwap<Option<Arc<crate::cache::Cache>>>,
}

impl Proxy {
    /// With its first world; the caller's runtime is the control plane's.
    pub fn new(world: World, salts: SaltKey, source: shardway_config::Source) -> Arc<Self> {
        let cache = start_cache(&world.config);
        Arc::new(Self {
            world: ArcSwap::from_pointee(world),
            metrics: Metrics::new(),
            salts,
            cancels: Mutex::default(),
            next_pid: AtomicU64::new(1),
            connections: AtomicUsize::new(0),
            phase: watch::Sender::new(Phase::Serving),
            control: tokio::runtime::Handle::current(),
            reloading: tokio::sync::Mutex::default(),
            source,
            statements: crate::session::Statements::default(),
            era: ArcSwap::default(),
            older: Mutex::default(),
            cache: ArcSwap::from_pointee(cache),
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
        let before = self.era.swap(Arc::default());
        self.older.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&before));
        self.cache.store(Arc::new(start_cache(config)));
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
        self.world.load().generation
    }

    /// Takes a new world.
    pub fn replace(&self, world: World) {
        let old = self.world.load_full();
        if old.config.cache != world.config.cache {
            self.change_cache(&world.config);
        }
        self.world.store(Arc::new(world));
        // Idle sessions look whether they may stay.
        self.phase.send_modify(|_| {});
    }

    /// How far a shutdown is, and its changes.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Goes a step further in shutting down.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    fn cancels(&self) -> MutexGuard<'_, HashMap<(u32, u32), Arc<CancelHandle>>> {
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key for a new client; keys can't be guessed, and are not given twice at a time.
    pub fn register(&self) -> (BackendKey, Arc<CancelHandle>) {
        let pid = (self.next_pid.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff) as u32;
        let key = BackendKey { pid, secret: rand::random() };
        let handle = Arc::new(CancelHandle::default());
        self.cancels().insert((key.pid, key.secret), handle.clone());
        (key, handle)
    }

    /// Forgets a client's key.
    pub fn unregister(&self, key: BackendKey) {
        self.cancels().remove(&(key.pid, key.secret));
    }

    /// Cancels what every server does for the client with this key; unknown keys are ignored, as Postgres does.
    pub async fn cancel(&self, key: BackendKey) {
        let Some(handle) = self.cancels().get(&(key.pid, key.secret)).cloned() else { return };
        self.cancel_all_of(&handle).await;
    }

    /// Cancels what every server does for anybody.
    pub async fn cancel_all(&self) {
        let handles: Vec<_> = self.cancels().values().cloned().collect();
        for handle in handles {
            self.cancel_all_of(&handle).await;
        }
    }

    async fn cancel_all_of(&self, handle: &CancelHandle) {
        let pending: Vec<_> = handle.targets().iter().map(CancelTarget::announce).collect();
        let timeout = self.world().config.pool.cancel_wait_timeout;
        for cancel in pending {
            cancel.send(timeout).await;
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
