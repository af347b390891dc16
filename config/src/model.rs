//! The valid configuration: plain data, with every default filled in and every name resolved.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::hba::Hba;
use crate::overrides::{DatabaseLimits, UserLimits};
use crate::pgbouncer::{Pgbouncer, TargetSession};
use crate::sockets::Sockets;
use crate::tls::TlsFiles;

/// Everything Shardway runs by. A duration of zero means "off", a limit of zero means "none".
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Listening, logging, client authentication and limits.
    pub server: Server,
    /// Server connections, with PgBouncer's names and semantics.
    pub pool: Pool,
    /// How statements spread over shards and replicas.
    pub routing: Routing,
    /// The read-through cache.
    pub cache: Cache,
    /// Clients that may log in.
    pub users: Vec<User>,
    /// What clients connect to.
    pub databases: Vec<Database>,
    /// What a database is that is not among them; `None`: there is no other.
    pub fallback: Option<Fallback>,
    /// The `pgbouncer.ini` that all this was made from, if it was.
    pub pgbouncer: Option<Arc<Pgbouncer>>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`, still to be resolved.
    Tcp {
        /// Name or address; `*` means every address.
        host: String,
        /// Port; 0 lets the kernel choose.
        port: u16,
    },
    /// `unix:DIR`: a directory that gets PgBouncer's and Postgres's socket file `.s.PGSQL.<port>`. One that begins with
    /// `@` is a name in the abstract namespace.
    Unix(PathBuf),
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// No proof, and the name does not count: each database has a login of its own. Everybody is an administrator.
    Any,
    /// No proof; the name has to be one that is known.
    Trust,
    /// Clear-text password.
    Password,
    /// MD5 challenge (RFC-less, Postgres's own).
    Md5,
    /// SCRAM-SHA-256.
    Scram,
    /// TLS client certificate.
    Cert,
    /// By the rules of an hba file.
    Hba,
}

/// How users are looked up that the configuration has no password for. On a database, what is there counts before the
/// server's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthLookup {
    /// Query that returns (name, secret) for `$1`; `None`: nobody is looked up.
    pub auth_query: Option<String>,
    /// Server user that runs it; `None`: whoever reads the schema.
    pub auth_user: Option<String>,
    /// The entry of the databases that it is run on; `None`: the one that the client asks for.
    pub auth_dbname: Option<String>,
}

impl AuthLookup {
    /// What counts where `general` is what there is beside it.
    #[must_use]
    pub fn or(&self, general: &Self) -> Self {
        let first = |own: &Option<String>, other: &Option<String>| own.clone().or_else(|| other.clone());
        Self {
            auth_query: first(&self.auth_query, &general.auth_query),
            auth_user: first(&self.auth_user, &general.auth_user),
            auth_dbname: first(&self.auth_dbname, &general.auth_dbname),
        }
    }
}

/// TLS towards clients or servers, in libpq's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// If the other side insists.
    Allow,
    /// If the other side can.
    Prefer,
    /// Always, whoever the peer is.
    Require,
    /// Always, with a certificate that a trusted CA signed.
    VerifyCa,
    /// As [`TlsMode::VerifyCa`], and for the right host name.
    VerifyFull,
}

/// Which of its workers a process serves clients with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerUse {
    /// As few as can do the work: the fewer there are, the less each statement costs.
    Auto,
    /// All of them, with an equal share of the clients each.
    All,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Where clients connect.
    pub listen: Vec<Listen>,
    /// How the sockets are that they connect to.
    pub sockets: Sockets,
    /// A file that holds the process's id while it runs.
    pub pid_file: Option<PathBuf>,
    /// `host:port` of /metrics and /health; `None` turns it off.
    pub http: Option<String>,
    /// Users that may change things on the admin database.
    pub admin_users: Vec<String>,
    /// Users that may only SHOW there.
    pub stats_users: Vec<String>,
    /// How clients prove who they are.
    pub auth: AuthMethod,
    /// hba file, for [`AuthMethod::Hba`].
    pub hba_file: Option<PathBuf>,
    /// Maps of user names that the hba file's rules name, in the form of `pg_ident.conf`.
    pub ident_file: Option<PathBuf>,
    /// What the hba file says; there with [`AuthMethod::Hba`] alone.
    pub hba: Option<Hba>,
    /// How users are looked up that the configuration has no password for.
    pub lookup: AuthLookup,
    /// TLS towards clients.
    pub tls: TlsMode,
    /// Certificate chain, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// CA that client certificates are checked against, PEM.
    pub tls_client_ca: Option<PathBuf>,
    /// What those files hold; nothing with [`TlsMode::Disable`].
    pub tls_files: TlsFiles,
    /// Worker threads; 0: one per core.
    pub worker_threads: usize,
    /// How many of them are in use.
    pub worker_use: WorkerUse,
    /// Clients at once.
    pub max_client_conn: usize,
    /// From accept to a finished login.
    pub client_login_timeout: Duration,
    /// How long SIGTERM lets running transactions finish.
    pub shutdown_timeout: Duration,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Where one JSON line goes per statement that changes data.
    pub audit_log: Option<AuditLog>,
}

/// Where the audit log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditLog {
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

/// When a client gives its server back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// When it disconnects.
    Session,
    /// After each transaction.
    Transaction,
    /// After each statement.
    Statement,
}

/// `[pool]`: PgBouncer's settings under PgBouncer's names.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// When a client gives its server back.
    pub mode: PoolMode,
    /// Servers per (user, server database).
    pub default_pool_size: usize,
    /// Servers kept even when idle.
    pub min_pool_size: usize,
    /// Extra servers for clients that waited long.
    pub reserve_pool_size: usize,
    /// How long is long.
    pub reserve_pool_timeout: Duration,
    /// Servers per server database over all users; 0: no limit.
    pub max_db_connections: usize,
    /// Servers per user over all databases; 0: no limit.
    pub max_user_connections: usize,
    /// Clients per database; 0: no limit.
    pub max_db_client_connections: usize,
    /// Clients per user; 0: no limit.
    pub max_user_client_connections: usize,
    /// A server older than this is closed when idle.
    pub server_lifetime: Duration,
    /// A server idle for longer is closed.
    pub server_idle_timeout: Duration,
    /// Connect and login of one server.
    pub server_connect_timeout: Duration,
    /// Pause after a failed login.
    pub server_login_retry: Duration,
    /// Run when a client of session mode leaves.
    pub server_reset_query: String,
    /// A server idle for longer is checked before use.
    pub server_check_delay: Duration,
    /// Whether the server that rested longest is used next, and not the one that rested shortest.
    pub server_round_robin: bool,
    /// How it is checked; empty: by a query without text.
    pub server_check_query: String,
    /// A query that runs longer ends with its server.
    pub query_timeout: Duration,
    /// A client that waits longer for a server is told so and closed.
    pub query_wait_timeout: Duration,
    /// A cancel request that waits longer is dropped.
    pub cancel_wait_timeout: Duration,
    /// An idle client is closed after this.
    pub client_idle_timeout: Duration,
    /// A client idle in a transaction is closed after this.
    pub idle_transaction_timeout: Duration,
    /// A transaction that lasts longer ends with its client.
    pub transaction_timeout: Duration,
    /// Prepared statements kept per server; 0: none across a pool.
    pub max_prepared_statements: usize,
    /// TLS towards servers.
    pub server_tls: TlsMode,
    /// CA that server certificates are checked against, PEM.
    pub server_tls_ca: Option<PathBuf>,
    /// Certificate chain shown to servers that ask for one, PEM.
    pub server_tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    pub server_tls_key: Option<PathBuf>,
    /// What those files hold. There whatever [`Pool::server_tls`] says: a server's URL may say something else.
    pub server_tls_files: TlsFiles,
}

/// How reads that follow a write are kept from seeing the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadYourWrites {
    /// A replica serves a session only once it replayed the session's last commit.
    Lsn,
    /// Not at all.
    Off,
}

/// What a table is that has no key column and no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnlistedTables {
    /// A full copy on every shard.
    Reference,
    /// An error for who uses it.
    Error,
}

/// `[routing]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// Whether a transaction that wrote on several shards may commit, by 2PC.
    pub two_phase_commit: bool,
    /// Shards that work at once for one statement; 0: every one.
    pub scatter_parallelism: usize,
    /// Bytes one cross-shard statement may hold.
    pub gather_max_bytes: u64,
    /// Whether reads outside a write transaction may go to a replica.
    pub replica_reads: bool,
    /// A replica further behind serves nobody.
    pub replica_max_lag: Duration,
    /// How reads that follow a write are kept from seeing the past.
    pub read_your_writes: ReadYourWrites,
    /// Pause between two looks at a server.
    pub health_check_interval: Duration,
    /// What a table is that has no key column and no entry.
    pub unlisted_tables: UnlistedTables,
}

/// Whether changes that by-passed the proxy reach the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeStream {
    /// They do not; TTL bounds them.
    Off,
    /// Through logical decoding.
    Logical,
}

/// `[cache]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// Off unless asked for.
    pub enabled: bool,
    /// Bytes held in process.
    pub l1_max_bytes: u64,
    /// Entries held in process.
    pub l1_max_entries: u64,
    /// How long an entry lives.
    pub ttl: Duration,
    /// How long an entry lives unread.
    pub time_to_idle: Duration,
    /// The second level; `None`: in process alone.
    pub redis_url: Option<String>,
    /// An answer larger than this is not kept.
    pub max_entry_bytes: u64,
    /// Whether changes that by-passed the proxy are seen.
    pub change_stream: ChangeStream,
    /// Which tables' lookups are cached.
    pub rules: Vec<CacheRule>,
}

/// `[[cache.rules]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// The table.
    pub table: TableName,
    /// Its own time to live, where it differs.
    pub ttl: Option<Duration>,
}

/// A secret that never shows in a log: `Debug` and `Display` print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps what must not be shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `[[users]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Name, as the client sends it.
    pub name: String,
    /// Plain text, `md5…`, or `SCRAM-SHA-256$…`; `None` when nothing was given.
    pub password: Option<Secret>,
    /// What counts for it alone.
    pub limits: UserLimits,
}

/// `[[databases]]`: one database as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// What clients connect to.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Parameters that clients begin with where they do not set them themselves, by name.
    pub parameters: Vec<(String, String)>,
    /// One server login for every client; `None`: the client's own.
    pub user: Option<String>,
    /// That login's password.
    pub password: Option<Secret>,
    /// How its users are looked up.
    pub lookup: AuthLookup,
    /// What counts for it alone.
    pub limits: DatabaseLimits,
    /// Shard groups; at least one, and the first is the default.
    pub groups: Vec<Group>,
    /// What a table is, where the columns alone do not say it.
    pub tables: Vec<Table>,
}

impl Database {
    /// Whether every server of it is logged in to by a login of its own, whoever the client is.
    pub fn has_login(&self) -> bool {
        let shards = || self.groups.iter().flat_map(|group| &group.shards);
        let mut endpoints = shards().flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas));
        self.user.is_some() || endpoints.all(|endpoint| endpoint.user.is_some())
    }
}

/// Where a database comes from, and with that what is done for it unasked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A configuration of Shardway's own: its servers are watched, and its schema is read.
    #[default]
    Native,
    /// A `pgbouncer.ini`: its servers hear of nothing but clients' statements.
    Pgbouncer,
    /// As [`Origin::Pgbouncer`], made by its fallback for a client that asked for the name.
    Fallback,
}

/// What a database is that has no entry of its own: PgBouncer's `*`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// The entry. Its name, and where it names none its servers' database, is the name that a client asks for.
    database: Database,
    has_dbname: bool,
    /// A database made by it is forgotten when unused for longer; zero: never.
    pub idle_timeout: Duration,
}

impl Fallback {
    /// Of an entry; `has_dbname`: it names its servers' database.
    pub fn new(database: Database, has_dbname: bool, idle_timeout: Duration) -> Self {
        let database = Database { origin: Origin::Fallback, ..database };
        Self { database, has_dbname, idle_timeout }
    }

    /// The entry as it was written.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The database of a name.
    pub fn named(&self, name: &str) -> Database {
        let mut database = Database { name: name.to_owned(), ..self.database.clone() };
        if !self.has_dbname {
            let shards = database.groups.iter_mut().flat_map(|group| &mut group.shards);
            shards.for_each(|shard| name.clone_into(&mut shard.primary.dbname));
        }
        database
    }
}

/// How a key becomes a shard number.
#[derive(Clone, Debug, PartialEq)]
pub enum ShardFunction {
    /// FNV-1a, 64 bit, of the key's canonical text, mod `shard_count`.
    Fnv1a,
    /// An integer key mod `shard_count` (never negative).
    Modulo,
    /// Ranges of integer keys, sorted, not overlapping.
    Range(Vec<KeyRange>),
    /// Lists of keys, no key twice.
    List(Vec<KeyList>),
}

/// `[[databases.groups.ranges]]`: from <= key < to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key; `None`: open below.
    pub from: Option<i64>,
    /// First key that is no longer in; `None`: open above.
    pub to: Option<i64>,
    /// Where they live.
    pub shard: u32,
}

/// `[[databases.groups.values]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyList {
    /// Keys, in canonical text.
    pub values: Vec<String>,
    /// Where they live.
    pub shard: u32,
}

/// `[[databases.groups]]`: tables in one group share one map and are co-located.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Name, unique in its database.
    pub name: String,
    /// How a key becomes a shard number.
    pub function: ShardFunction,
    /// A table with such a column is sharded by it; first match wins.
    pub keys: Vec<String>,
    /// Logical shards: element *i* is shard *i*; never empty.
    pub shards: Vec<Shard>,
}

/// One logical shard and where it lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    /// The server that takes writes.
    pub primary: Endpoint,
    /// Servers that follow it.
    pub replicas: Vec<Endpoint>,
}

/// One database on one server, from a `postgres://` URL with `{shard}` replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address, or the directory of a Unix socket (starts with `/`; with `@` in the abstract namespace).
    pub host: String,
    /// Further hosts, that are as good as the first.
    pub others: Vec<String>,
    /// Whether new connections take turns among them; if not, the next one is for when one fails.
    pub balances: bool,
    /// Which servers will do (PgBouncer's `target_session_attrs`); others count as hosts that can't be reached.
    pub target: TargetSession,
    /// Port.
    pub port: u16,
    /// Database.
    pub dbname: String,
    /// Login given in the URL.
    pub user: Option<String>,
    /// Password given in the URL.
    pub password: Option<Secret>,
    /// `?sslmode=` given in the URL; overrides `[pool] server_tls`.
    pub sslmode: Option<TlsMode>,
}

/// What a table is (Citus's words).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// Rows live by `key`.
    Sharded {
        /// Its group's index in [`Database::groups`].
        group: usize,
        /// Column; `None`: the group's first key column that the table has.
        key: Option<String>,
    },
    /// A full copy on every shard of the group.
    Reference {
        /// Its group's index in [`Database::groups`].
        group: usize,
    },
    /// On one shard.
    Local {
        /// Its group's index in [`Database::groups`].
        group: usize,
        /// The shard.
        shard: u32,
    },
}

/// `[[databases.tables]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The table.
    pub name: TableName,
    /// What it is.
    pub kind: TableKind,
}

/// A table's name as Postgres stores it (the file's spelling is taken as it is: `CatalogModule` means the
/// table made with `"CatalogModule"`). Without a schema it means that name in any schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableName {
    /// Schema, if named.
    pub schema: Option<String>,
    /// Table.
    pub name: String,
}
