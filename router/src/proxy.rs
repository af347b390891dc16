//! The process-wide state: what is configured right now, and who is connected.

use crate::client::auth::{ClientKey, SaltKey, ScramSecret, StoredSecret, UserSecret};
use crate::database::Database;
use crate::metrics::Metrics;
use crate::session::Told;
use crate::workers::{WorkerId, Workers};
use arc_swap::ArcSwap;
use shardway_config::{AuthMethod, Config, Secret, TlsMode};
use shardway_pool::cancel::{BackendKey, CancelTarget};
use shardway_pool::settings::{Shared, SharedSettings};
use shardway_pool::shard::Server;
use shardway_pool::tls::{Acceptor, Connector};
use shardway_pool::{Credential, Login, PoolLimits, ScramKeys};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
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
    /// How Shardway proves itself to servers in its name.
    pub credential: Option<Credential>,
    /// Its own pool size; 0: the default.
    pub pool_size: usize,
}

impl User {
    /// Takes what a client proved by its login: the key that opens servers with the same SCRAM secret.
    pub fn learn(&self, key: &ClientKey) {
        if let Some(Credential::Scram(keys)) = &self.credential {
            keys.learn(key.expose());
        }
    }
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
    /// How clients are met by TLS, where it is on.
    pub acceptor: Option<Acceptor>,
    /// Counts up with each reload.
    pub generation: u64,
}

impl World {
    /// Builds what `config` says; what stays from `old` is kept. Errors: in words.
    pub fn build(config: Config, old: Option<&World>, salts: &SaltKey) -> Result<Self, String> {
        let acceptor = acceptor(&config)?;
        let connector = Connector::new(&config.pool.server_tls_files).map_err(|e| e.to_string())?;
        let connector = Arc::new(connector);
        let mut databases = HashMap::new();
        for database in &config.databases {
            let before = old.and_then(|w| w.databases.get(&database.name)).map(|d| &**d);
            let made = Database::start(database, &config, &connector, before)
                .map_err(|e| format!("database {}: {e}", database.name))?;
            databases.insert(database.name.clone(), made);
        }
        let lower = |user: &shardway_config::User| {
            let before = old.and_then(|w| w.users.get(&user.name));
            (user.name.clone(), lower_user(user, before, salts))
        };
        let users = config.users.iter().map(lower).collect();
        Ok(Self { config, users, databases, acceptor, generation: old.map_or(0, |w| w.generation + 1) })
    }

    /// Who logs in to the servers of `database` when `user` is the client.
    pub fn server_login(&self, database: &Database, user: &str) -> Login {
        match &database.config.user {
            Some(name) => Login::by_password(name, database.config.password.as_ref()),
            None => {
                let credential = self.users.get(user).and_then(|u| u.credential.clone());
                Login { user: user.to_owned(), credential }
            }
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
    let stored = user.password.as_ref().map(|p| p.expose().to_owned()).unwrap_or_default();
    let stored = StoredSecret::parse(&stored);
    let credential = user.password.as_ref().map(|password| lower_credential(password, &stored));
    // Of a secret that stays, what clients have proven of it stays too.
    let kept =
        before.and_then(|user| user.credential.clone()).filter(|kept| Some(kept) == credential.as_ref());
    let secret = UserSecret::new(&user.name, stored, salts);
    // Deriving costs milliseconds: here, once, and not while a client waits.
    secret.scram();
    User {
        name: user.name.clone(),
        secret: Arc::new(secret),
        credential: kept.or(credential),
        pool_size: user.pool_size,
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

/// What others can reach of one client: the servers that a cancel request has to go to, and its task.
#[derive(Debug, Default)]
pub struct ClientHandle {
    targets: Mutex<Vec<Arc<CancelTarget>>>,
    task: Mutex<Option<Waker>>,
    worker: AtomicUsize,
    /// The worker it is to move to, counted from 1; 0 for none.
    moving: AtomicUsize,
}

impl ClientHandle {
    /// Servers that work for the client now.
    pub fn targets(&self) -> MutexGuard<'_, Vec<Arc<CancelTarget>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which task serves the client, and where. Once for each: a task's waker is good for its whole life, so that
    /// waiting for a shutdown or a reload costs an idle client nothing.
    pub fn attend(&self, task: &Waker, worker: WorkerId) {
        self.worker.store(worker.0, Ordering::Release);
        // Another destination, given meanwhile, stays.
        let _ = self.moving.compare_exchange(worker.0 + 1, 0, Ordering::AcqRel, Ordering::Acquire);
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
    }

    /// The worker that serves it.
    pub fn worker(&self) -> WorkerId {
        WorkerId(self.worker.load(Ordering::Acquire))
    }

    /// Has its task move to another worker as soon as it is between transactions.
    pub fn move_to(&self, worker: WorkerId) {
        self.moving.store(worker.0 + 1, Ordering::Release);
        self.wake();
    }

    /// It need not move, whatever was said before.
    pub fn stay(&self) {
        self.moving.store(0, Ordering::Release);
    }

    /// The worker it is to move to.
    pub fn destination(&self) -> Option<WorkerId> {
        self.moving.load(Ordering::Acquire).checked_sub(1).map(WorkerId)
    }

    fn wake(&self) {
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.wake_by_ref();
        }
    }
}

/// How far a shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    phase: watch::Sender<Phase>,
    /// The same, as a number.
    progress: AtomicU8,
    /// The runtime of what is no client's.
    pub control: tokio::runtime::Handle,
    /// The threads that serve clients.
    pub workers: Workers,
    /// Held by a reload.
    pub reloading: tokio::sync::Mutex<()>,
    /// Where the configuration comes from, to read it again.
    pub source: shardway_config::Source,
    /// Session settings of all clients.
    pub settings: SharedSettings,
    /// What clients were told of the parameters that servers report.
    pub told: Shared<Told>,
    /// Prepared statements of all clients.
    pub statements: crate::session::Statements,
    era: ArcSwap<()>,
    /// Eras of caches that are no more.
    older: Mutex<Vec<std::sync::Weak<()>>>,
    /// What the admin database keeps.
    pub admin: crate::admin::Desk,
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
            generation: AtomicU64::new(0),
            clients: Mutex::default(),
            next_pid: AtomicU64::new(1),
            connections: AtomicUsize::new(0),
            phase: watch::Sender::new(Phase::Serving),
            progress: AtomicU8::new(0),
            control: tokio::runtime::Handle::current(),
            workers: Workers::default(),
            reloading: tokio::sync::Mutex::default(),
            source,
            settings: SharedSettings::default(),
            told: Shared::default(),
            statements: crate::session::Statements::default(),
            era: ArcSwap::default(),
            older: Mutex::default(),
            admin: crate::admin::Desk::default(),
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

    /// Takes a new world.
    pub fn replace(&self, world: World) {
        let old = self.world.load_full();
        if old.config.cache != world.config.cache {
            self.change_cache(&world.config);
        }
        let generation = world.generation;
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

    fn wake_clients(&self) {
        self.client_handles().iter().for_each(|handle| handle.wake());
    }

    /// How far a shutdown is, and its changes.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Goes a step further in shutting down.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
        self.progress.store(phase as u8, Ordering::Release);
        self.wake_clients();
    }

    /// How far a shutdown is, for a look in passing.
    pub fn stage(&self) -> Phase {
        match self.progress.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<(u32, u32), Arc<ClientHandle>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key for a new client; keys can't be guessed, and are not given twice at a time.
    pub fn register(&self) -> (BackendKey, Arc<ClientHandle>) {
        let pid = (self.next_pid.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff) as u32;
        let key = BackendKey { pid, secret: rand::random() };
        let handle = Arc::new(ClientHandle::default());
        self.clients().insert((key.pid, key.secret), handle.clone());
        (key, handle)
    }

    /// Forgets a client's key.
    pub fn unregister(&self, key: BackendKey) {
        self.clients().remove(&(key.pid, key.secret));
    }

    /// Cancels what every server does for the client with this key; unknown keys are ignored, as Postgres does.
    pub async fn cancel(&self, key: BackendKey) {
        let Some(handle) = self.clients().get(&(key.pid, key.secret)).cloned() else { return };
        self.cancel_all_of(&handle).await;
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
