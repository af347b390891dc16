//! `[users]`: what counts for one user.

use std::time::Duration;

use crate::model::PoolMode;
use crate::problems::Place;

use super::options::{Given, options};
use super::report::{Piece, Report};

/// One line of `[users]`. `None`: what the database or `[pgbouncer]` says counts. Times are whole seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// Where the entry stands.
    pub place: Place,
    /// Overrides the database's `pool_mode`.
    pub pool_mode: Option<PoolMode>,
    /// Overrides the database's `pool_size`; 0 is a size too.
    pub pool_size: Option<usize>,
    /// Overrides the database's `reserve_pool_size`.
    pub reserve_pool_size: Option<usize>,
    /// Overrides `max_user_connections`.
    pub max_user_connections: Option<usize>,
    /// Overrides `max_user_client_connections`.
    pub max_user_client_connections: Option<usize>,
    /// Overrides `query_timeout`.
    pub query_timeout: Option<Duration>,
    /// Overrides `query_wait_timeout`; 0: off. Came after 1.25.
    pub query_wait_timeout: Option<Duration>,
    /// Overrides `idle_transaction_timeout`.
    pub idle_transaction_timeout: Option<Duration>,
    /// Overrides `transaction_timeout`.
    pub transaction_timeout: Option<Duration>,
    /// Overrides `client_idle_timeout`.
    pub client_idle_timeout: Option<Duration>,
}

const KNOWN: [&str; 10] = [
    "pool_mode",
    "pool_size",
    "reserve_pool_size",
    "max_user_connections",
    "max_user_client_connections",
    "query_timeout",
    "query_wait_timeout",
    "idle_transaction_timeout",
    "transaction_timeout",
    "client_idle_timeout",
];

/// Reads an entry. What is wrong with it is reported.
pub(super) fn read(name: &Piece, value: &Piece, report: &Report) -> User {
    let mut user = User::new(name);
    for option in options(value, report) {
        if !user.take(&option) {
            option.unknown("users", &KNOWN);
        }
    }
    user
}

impl User {
    fn new(name: &Piece) -> Self {
        Self {
            name: name.text.clone(),
            place: name.place.clone(),
            pool_mode: None,
            pool_size: None,
            reserve_pool_size: None,
            max_user_connections: None,
            max_user_client_connections: None,
            query_timeout: None,
            query_wait_timeout: None,
            idle_transaction_timeout: None,
            transaction_timeout: None,
            client_idle_timeout: None,
        }
    }

    /// Whether the option is known.
    fn take(&mut self, option: &Given<'_>) -> bool {
        match option.key().as_str() {
            "pool_mode" => self.pool_mode = option.word(),
            "pool_size" => self.pool_size = option.size(),
            "reserve_pool_size" => self.reserve_pool_size = option.size(),
            "max_user_connections" => self.max_user_connections = option.limit(),
            "max_user_client_connections" => self.max_user_client_connections = option.limit(),
            "query_timeout" => self.query_timeout = option.timeout(),
            "query_wait_timeout" => self.query_wait_timeout = option.seconds(),
            "idle_transaction_timeout" => self.idle_transaction_timeout = option.timeout(),
            "transaction_timeout" => self.transaction_timeout = option.timeout(),
            "client_idle_timeout" => self.client_idle_timeout = option.timeout(),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgbouncer::testing::{problems, read, warnings};

    #[test]
    fn a_user_has_its_own_limits() {
        let user = &read(
            "[users]\napp = pool_mode=statement pool_size=0 reserve_pool_size=2 max_user_connections=10 \
             max_user_client_connections=20 query_timeout=1 query_wait_timeout=0 idle_transaction_timeout=3 \
             transaction_timeout=4 client_idle_timeout=5\n",
        )
        .users[0];
        assert_eq!((user.name.as_str(), user.pool_mode), ("app", Some(PoolMode::Statement)));
        assert_eq!((user.pool_size, user.reserve_pool_size), (Some(0), Some(2)));
        assert_eq!((user.max_user_connections, user.max_user_client_connections), (Some(10), Some(20)));
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!((user.query_timeout, user.query_wait_timeout), (seconds(1), seconds(0)));
        assert_eq!((user.idle_transaction_timeout, user.transaction_timeout), (seconds(3), seconds(4)));
        assert_eq!(user.client_idle_timeout, seconds(5));
    }

    #[test]
    fn what_is_zero_or_below_is_as_if_it_were_not_given() {
        let given =
            "[users]\na = max_user_connections=0 query_timeout=0 query_wait_timeout=-1 pool_size=-1\n";
        let absent = read("[users]\na =\n").users;
        assert_eq!(read(given).users, absent);
    }

    #[test]
    fn fractions_of_seconds_are_cut_as_in_pgbouncer_and_warned_of() {
        let text = "[users]\na = query_timeout=1.5\n";
        assert_eq!(read(text).users[0].query_timeout, Some(Duration::from_secs(1)));
        assert_eq!(warnings(text), "p.ini:6:19: whole seconds count here: 1.5 is 1");
    }

    #[test]
    fn options_of_databases_are_none_of_users() {
        assert_eq!(
            problems("[users]\na = host=x pool_sise=3\n"),
            "p.ini:6:5: unknown option \"host\" in [users]\n\
             p.ini:6:12: unknown option \"pool_sise\" in [users]; did you mean \"pool_size\"?"
        );
    }
}
