//! Who is measured: Postgres itself, PgBouncer in front of it, and Shardway, perhaps in several builds.

use crate::case::{Case, Place, Workload};
use crate::error::BenchError;
use crate::fill::{DATABASE, NARROW, USER};
use crate::pgbouncer;
use crate::proxy::Proxy;
use crate::shardway::{Binary, SHARDED};
use crate::wire::Endpoint;

/// One of those that are measured.
pub enum Contestant {
    /// Nothing in between.
    Direct,
    /// The measure of things.
    PgBouncer {
        /// The program.
        installed: pgbouncer::Installed,
        /// The process.
        proxy: Proxy,
    },
    /// A build of Shardway.
    Shardway {
        /// The program.
        binary: Binary,
        /// The process without a cache.
        plain: Proxy,
        /// The process with a cache, if a case asks for it.
        cached: Option<Proxy>,
    },
}

impl Contestant {
    /// Starts PgBouncer.
    ///
    /// # Errors
    /// It is not there, or does not come up.
    pub fn pgbouncer(installed: pgbouncer::Installed, server: u16) -> Result<Contestant, BenchError> {
        let proxy = installed.start(server)?;
        Ok(Contestant::PgBouncer { installed, proxy })
    }

    /// Starts a build of Shardway.
    ///
    /// # Errors
    /// It does not come up.
    pub fn shardway(binary: Binary, server: u16, cached: bool) -> Result<Contestant, BenchError> {
        let plain = binary.start(server, false)?;
        let cached = cached.then(|| binary.start(server, true)).transpose()?;
        Ok(Contestant::Shardway { binary, plain, cached })
    }

    /// For the table.
    pub fn name(&self) -> &str {
        match self {
            Contestant::Direct => "direct",
            Contestant::PgBouncer { .. } => "pgbouncer",
            Contestant::Shardway { binary, .. } => &binary.name,
        }
    }

    /// What the case has for it to do.
    pub fn work(&self, case: &Case) -> Option<Workload> {
        match self {
            Contestant::Direct => case.direct,
            Contestant::PgBouncer { .. } => Some(case.pgbouncer),
            Contestant::Shardway { .. } => Some(case.shardway),
        }
    }

    /// The process that serves `place`: none where there is no proxy.
    pub fn proxy(&self, place: Place) -> Option<&Proxy> {
        match self {
            Contestant::Direct => None,
            Contestant::PgBouncer { proxy, .. } => Some(proxy),
            Contestant::Shardway { cached: Some(cached), .. } if place == Place::Cached => Some(cached),
            Contestant::Shardway { plain, .. } => Some(plain),
        }
    }

    /// Where clients find `place`; the server itself listens at port `server`.
    pub fn endpoint(&self, place: Place, server: u16) -> Endpoint {
        let (database, user) = match place {
            Place::Main => (DATABASE, USER),
            Place::Narrow => (NARROW, NARROW),
            Place::Sharded | Place::Cached => (SHARDED, USER),
        };
        match self.proxy(place) {
            None => Endpoint { port: server, database: database.into(), user: user.into() },
            Some(proxy) => proxy.endpoint(database, user),
        }
    }
}
