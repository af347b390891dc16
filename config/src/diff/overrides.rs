//! What changed in the limits that a database or a user has of its own.

use super::{Changes, compare};
use crate::overrides::{DatabaseLimits, UserLimits};

pub(super) fn of_database(changes: &mut Changes, path: &str, old: &DatabaseLimits, new: &DatabaseLimits) {
    compare!(
        changes,
        path,
        DatabaseLimits,
        old,
        new,
        [
            pool_mode,
            pool_size,
            min_pool_size,
            reserve_pool_size,
            max_connections,
            max_client_connections,
            server_lifetime,
            query_wait_timeout,
            connect_query
        ],
        []
    );
}

pub(super) fn of_user(changes: &mut Changes, path: &str, old: &UserLimits, new: &UserLimits) {
    compare!(
        changes,
        path,
        UserLimits,
        old,
        new,
        [
            pool_mode,
            pool_size,
            reserve_pool_size,
            max_connections,
            max_client_connections,
            query_timeout,
            query_wait_timeout,
            transaction_timeout,
            idle_transaction_timeout,
            client_idle_timeout
        ],
        []
    );
}
