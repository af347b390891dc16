//! How many clients there are of each database and of each user, and how many there may be
//! (`max_db_client_connections`, `max_user_client_connections`).
//!
//! As with PgBouncer, a client counts from its startup message on: before it has proven who it is.

use crate::error::ClientError;
use crate::proxy::{Proxy, World};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Every client by what it asked for.
#[derive(Debug, Default)]
pub struct Clients(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    databases: HashMap<String, usize>,
    users: HashMap<String, usize>,
    /// By database and user.
    pairs: HashMap<(String, String), usize>,
}

impl Clients {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a database has a client that is `user`.
    pub fn has(&self, database: &str, user: &str) -> bool {
        self.counts().pairs.contains_key(&(database.to_owned(), user.to_owned()))
    }
}

/// A client that counts, while it is there.
pub(super) struct Place {
    proxy: Arc<Proxy>,
    database: String,
    user: String,
}

impl Place {
    /// Counts a client. Errors: there are too many of its database, or of its user; in PgBouncer's words.
    pub(super) fn take(
        proxy: &Arc<Proxy>,
        world: &World,
        database: &str,
        user: &str,
    ) -> Result<Self, ClientError> {
        let of_database = world.max_clients_of(database);
        let of_user = world.max_clients_as(user);
        let (in_database, as_user) = {
            let mut counts = proxy.clients_by_name.counts();
            *counts.pairs.entry((database.to_owned(), user.to_owned())).or_default() += 1;
            (one_more(&mut counts.databases, database), one_more(&mut counts.users, user))
        };
        let place = Self { proxy: proxy.clone(), database: database.to_owned(), user: user.to_owned() };
        if of_database > 0 && in_database > of_database {
            return Err(exceeded("max_db_client_connections"));
        }
        if of_user > 0 && as_user > of_user {
            return Err(exceeded("max_user_client_connections"));
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.proxy.clients_by_name.counts();
        one_less(&mut counts.databases, &self.database);
        one_less(&mut counts.users, &self.user);
        let pair = (std::mem::take(&mut self.database), std::mem::take(&mut self.user));
        one_less(&mut counts.pairs, &pair);
    }
}

fn one_more(counts: &mut HashMap<String, usize>, name: &str) -> usize {
    let count = counts.entry(name.to_owned()).or_default();
    *count += 1;
    *count
}

fn one_less<K, Q>(counts: &mut HashMap<K, usize>, name: &Q)
where
    K: Eq + Hash + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

fn exceeded(setting: &str) -> ClientError {
    ClientError::fatal("53300", format!("client connections exceeded ({setting})"))
}
