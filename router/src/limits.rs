//! What counts for one user in one database.
//!
//! PgBouncer's order: a user's own setting, the database's, `[pool]`. What bounds a pool goes by the user that logs in
//! to the server; what bounds a session goes by the client, and by that user where the client has no setting of its own.

use crate::database::Database;
use crate::proxy::World;
use shardway_config::{PoolMode, UserLimits};
use shardway_pool::{Budget, PoolLimits};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a session may take over something; zero: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// One query.
    pub query: Duration,
    /// One transaction.
    pub transaction: Duration,
    /// Saying nothing within a transaction.
    pub idle_transaction: Duration,
    /// Saying nothing between transactions.
    pub client_idle: Duration,
}

/// What users may have servers of, over all databases. One for the whole life of the process.
#[derive(Debug, Default)]
pub struct UserBudgets(Mutex<HashMap<String, Arc<Budget>>>);

impl UserBudgets {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Budget>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// What bounds the pools of `database` whose servers `user` logs in to.
    pub fn limits(&self, database: &Database, user: &str) -> PoolLimits {
        let (pool, of_database, of_user) =
            (&self.config.pool, &database.config.limits, self.own_limits(user));
        let size = of_user.and_then(|own| own.pool_size).or(of_database.pool_size);
        let reserve = of_user.and_then(|own| own.reserve_pool_size).or(of_database.reserve_pool_size);
        let wait = of_user.and_then(|own| own.query_wait_timeout).or(of_database.query_wait_timeout);
        PoolLimits {
            // A pool without a server serves nobody.
            size: size.unwrap_or(pool.default_pool_size).max(1),
            min_size: of_database.min_pool_size.unwrap_or(pool.min_pool_size),
            reserve_size: reserve.unwrap_or(pool.reserve_pool_size),
            reserve_timeout: pool.reserve_pool_timeout,
            connect_timeout: pool.server_connect_timeout,
            login_retry: pool.server_login_retry,
            wait_timeout: wait.unwrap_or(pool.query_wait_timeout),
            lifetime: of_database.server_lifetime.unwrap_or(pool.server_lifetime),
            idle_timeout: pool.server_idle_timeout,
            check_delay: pool.server_check_delay,
            round_robin: pool.server_round_robin,
            check_query: pool.server_check_query.as_str().into(),
            max_prepared: pool.max_prepared_statements,
            connect_query: of_database.connect_query.as_deref().map(Into::into),
        }
    }

    /// The same, and what bounds that user's servers over all databases.
    pub fn bounds(&self, database: &Database, user: &str) -> (PoolLimits, Arc<Budget>) {
        let make = || Budget::new(self.max_user_connections(user));
        let budget = self.user_budgets.all().entry(user.to_owned()).or_insert_with(make).clone();
        (self.limits(database, user), budget)
    }

    /// Has the limits count that pools share.
    pub fn apply_limits(&self) {
        for database in self.databases.values() {
            let own = database.config.limits.max_connections;
            let limit = own.unwrap_or(self.config.pool.max_db_connections);
            database.servers().for_each(|server| server.budget.set_limit(limit));
        }
        for (user, budget) in self.user_budgets.all().iter() {
            budget.set_limit(self.max_user_connections(user));
        }
    }

    /// Clients that a database may have; 0: any number.
    pub fn max_clients_of(&self, database: &str) -> usize {
        let own =
            self.databases.get(database).and_then(|database| database.config.limits.max_client_connections);
        own.unwrap_or(self.config.pool.max_db_client_connections)
    }

    /// Clients that may be `user`; 0: any number.
    pub fn max_clients_as(&self, user: &str) -> usize {
        let own = self.own_limits(user).and_then(|own| own.max_client_connections);
        own.unwrap_or(self.config.pool.max_user_client_connections)
    }

    /// Makes the pools that `min_pool_size` keeps servers in before anybody asks: as with PgBouncer, those of databases
    /// whose servers one user logs in to for all.
    pub fn make_forced_pools(&self) {
        for database in self.databases.values() {
            if database.config.limits.min_pool_size.unwrap_or(self.config.pool.min_pool_size) == 0 {
                continue;
            }
            for server in database.servers() {
                let login = match (&database.config.user, &server.login) {
                    (None, None) => continue,
                    (None, Some(login)) => login.clone(),
                    (Some(user), _) => self.server_login(database, user),
                };
                server.pool(&login, || self.bounds(database, &login.user));
            }
        }
    }

    fn max_user_connections(&self, user: &str) -> usize {
        let own = self.own_limits(user).and_then(|own| own.max_connections);
        own.unwrap_or(self.config.pool.max_user_connections)
    }

    /// When a client that is `user` gives its server back.
    pub fn pool_mode(&self, database: &Database, user: &str) -> PoolMode {
        let own = self.own_limits(user).and_then(|own| own.pool_mode);
        own.or(database.config.limits.pool_mode).unwrap_or(self.config.pool.mode)
    }

    /// How long a client of `database` that is `user` may take.
    pub fn timeouts(&self, database: &Database, user: &str) -> Timeouts {
        let pool = &self.config.pool;
        let server_user = database.config.user.as_deref().and_then(|user| self.own_limits(user));
        let of = [self.own_limits(user), server_user];
        let own = |setting: fn(&UserLimits) -> Option<Duration>, default: Duration| {
            of.iter().flatten().find_map(|own| setting(own)).unwrap_or(default)
        };
        Timeouts {
            query: own(|own| own.query_timeout, pool.query_timeout),
            transaction: own(|own| own.transaction_timeout, pool.transaction_timeout),
            idle_transaction: own(|own| own.idle_transaction_timeout, pool.idle_transaction_timeout),
            client_idle: own(|own| own.client_idle_timeout, pool.client_idle_timeout),
        }
    }

    fn own_limits(&self, user: &str) -> Option<&UserLimits> {
        self.users.get(user).map(|user| &user.limits)
    }
}
