//! Users that the configuration has no password for: looked up on a server at each login, by PgBouncer's `auth_query`.
//!
//! What a login found counts once the client has proven that it is that user: until then nobody else is touched by it.
//! It is kept then, over reloads too, for the servers that the user's clients ask for; the next login finds out whether
//! it still holds. As in PgBouncer, databases do not share what was found: on another server the same name may be
//! somebody else.

use super::auth::SaltKey;
use crate::autodb;
use crate::database::Database;
use crate::proxy::{Proxy, User, World};
use shardway_config::AuthMethod;
use shardway_pool::{Credential, Login, Lookup};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

/// A name, on the database that the client asks for.
type Place = (String, String);

/// What one lookup found, and when it began.
type Answer = Option<(Instant, Result<Option<User>, String>)>;

/// The users that were looked up.
#[derive(Debug, Default)]
pub struct Directory {
    /// Those that have logged in.
    found: RwLock<HashMap<Place, User>>,
    /// Lookups under way. Logins that wait for one share the next.
    asked: Mutex<HashMap<Place, Arc<tokio::sync::Mutex<Answer>>>>,
}

impl Directory {
    /// Who has logged in to a database by this name.
    pub fn get(&self, database: &str, user: &str) -> Option<User> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        found.get(&(database.to_owned(), user.to_owned())).cloned()
    }

    /// Takes a user that has logged in. Whether servers are to be logged in to differently from here on.
    fn keep(&self, database: &str, user: &User) -> bool {
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        let before = found.insert((database.to_owned(), user.name.clone()), user.clone());
        before.is_some_and(|before| before.credential != user.credential)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Place, Arc<tokio::sync::Mutex<Answer>>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, unless somebody who came later than the caller has asked already. One question per name is under way.
    async fn ask(
        self: &Arc<Self>,
        proxy: &Arc<Proxy>,
        lookup: Lookup,
        database: &str,
        name: &str,
    ) -> Result<Option<User>, String> {
        let came = Instant::now();
        let place = (database.to_owned(), name.to_owned());
        let turn = self.asked().entry(place.clone()).or_default().clone();
        let waiting = Waiting { directory: self, place, turn };
        let mut answer = waiting.turn.lock().await;
        if let Some((began, answer)) = answer.as_ref().filter(|(began, _)| *began >= came) {
            tracing::trace!(user = name, since = ?began.elapsed(), "a lookup is shared");
            return answer.clone();
        }
        let began = Instant::now();
        let (this, proxy, place) = (self.clone(), proxy.clone(), waiting.place.clone());
        // Not on a worker: connections live longer than this client, and a password in clear costs a while.
        let asked = proxy.control.clone().spawn(async move {
            let secret = lookup.secret_of(&place.1).await?;
            Ok(secret.map(|secret| this.user(&place.0, &place.1, secret, &proxy.salts)))
        });
        let user = asked.await.unwrap_or_else(|e| Err(format!("it ended early: {e}")));
        *answer = Some((began, user.clone()));
        user
    }

    /// The user of a secret: as it was where that is the same, since its key may be known.
    fn user(&self, database: &str, name: &str, secret: String, salts: &SaltKey) -> User {
        User::with_secret(name, secret, self.get(database, name).as_ref(), salts)
    }
}

/// A login that waits for a lookup. The last one to go clears the place.
struct Waiting<'a> {
    directory: &'a Directory,
    place: Place,
    turn: Arc<tokio::sync::Mutex<Answer>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut asked = self.directory.asked();
        // The table's own and this one.
        if Arc::strong_count(&self.turn) <= 2 {
            asked.remove(&self.place);
        }
    }
}

/// Who a client says it is.
pub(super) struct Claimed {
    /// The user; `None`: nobody has a password by that name.
    pub(super) user: Option<User>,
    /// Whether it was looked up.
    looked_up: bool,
}

impl Claimed {
    /// The client has proven it.
    pub(super) fn proven(&self, world: &World, database: &str) {
        let Some(user) = self.user.as_ref().filter(|_| self.looked_up) else { return };
        if world.found.keep(database, user)
            && let Some(database) = world.databases.get(database)
        {
            world.log_in_as(database, &user.name);
        }
    }
}

/// Who `name` is on `database`. Errors: in words, for the log.
pub(super) async fn find(
    proxy: &Arc<Proxy>,
    world: &World,
    database: &str,
    name: &str,
) -> Result<Claimed, String> {
    let configured = world.users.get(name);
    let asks = configured.is_none_or(|user| user.credential.is_none()) && world.looks_up(database);
    if !asks {
        return Ok(Claimed { user: configured.cloned(), looked_up: false });
    }
    let lookup = lookup(proxy, database).await?;
    let found = world.found.ask(proxy, lookup, database, name).await?;
    let user = found.map(|found| User {
        limits: configured.map(|user| user.limits.clone()).unwrap_or_default(),
        ..found
    });
    Ok(Claimed { user, looked_up: true })
}

/// How users of `database` are looked up.
async fn lookup(proxy: &Arc<Proxy>, database: &str) -> Result<Lookup, String> {
    let how = proxy.world().lookup(database);
    let query = how.auth_query.ok_or("no auth_query")?;
    let at = how.auth_dbname.as_deref().unwrap_or(database);
    let at = autodb::open(proxy, at)
        .await?
        .ok_or_else(|| format!("auth_dbname: there is no database \"{at}\""))?;
    let by = how.auth_user.map(|user| proxy.world().known_login(&at, user));
    at.lookup(&query, by)
}

impl World {
    fn lookup(&self, database: &str) -> shardway_config::AuthLookup {
        let general = &self.config.server.lookup;
        let entry = self.databases.get(database).map(|database| &database.config);
        let entry = entry.or_else(|| self.config.fallback.as_ref().map(|fallback| fallback.database()));
        entry.map_or_else(|| general.clone(), |entry| entry.lookup.or(general))
    }

    /// Whether users of `database` are looked up that have no password here. Who asks for the admin database is looked
    /// up only where it is said on which database.
    fn looks_up(&self, database: &str) -> bool {
        let how = self.lookup(database);
        let exists = self.databases.contains_key(database)
            || self.config.fallback.is_some() && !super::is_admin(database);
        // Under `any` names do not count.
        self.config.server.auth != AuthMethod::Any
            && how.auth_query.is_some()
            && (exists || how.auth_dbname.is_some())
    }

    /// Whether users of `database` are such as are asked for SCRAM under `md5`: as PostgreSQL stores passwords unless it is
    /// told otherwise, or as some of the configured ones are.
    pub(super) fn has_scram_secrets(&self, database: &str) -> bool {
        let by_scram = |user: &User| matches!(user.credential, Some(Credential::Scram(_)));
        self.looks_up(database) || self.users.values().any(by_scram)
    }

    /// The login of a user of whom the configuration knows how to log in to servers of `database`.
    fn known_login(&self, database: &Database, user: String) -> Login {
        let own = &database.config;
        if own.user.as_ref() == Some(&user) && own.password.is_some() {
            return Login::by_password(&user, own.password.as_ref());
        }
        let in_url =
            database.servers().find_map(|server| server.login.as_ref().filter(|login| login.user == user));
        let listed = || self.users.get(&user).and_then(|user| user.credential.clone());
        match in_url {
            Some(login) => login.clone(),
            None => Login { credential: listed(), user },
        }
    }

    /// What opens servers of `database` in the name of `user`.
    pub fn credential(&self, database: &str, user: &str) -> Option<Credential> {
        let configured = self.users.get(user).and_then(|user| user.credential.clone());
        configured.or_else(|| self.found.get(database, user)?.credential)
    }

    /// Whether clients of `database` may be `user`.
    pub fn has_user(&self, database: &str, user: &str) -> bool {
        self.config.server.auth == AuthMethod::Any
            || self.users.contains_key(user)
            || self.looks_up(database) && self.found.get(database, user).is_some()
    }

    /// Pools of `user` log in by what is known of it now.
    fn log_in_as(&self, database: &Database, user: &str) {
        for server in database.servers() {
            for (_, pool) in server.pools().iter().filter(|(of, _)| of == user) {
                if self.may_log_in(database, server, user) && server.login.is_none() {
                    pool.reconfigure(self.server_login(database, user), self.limits(database, user));
                }
            }
        }
    }
}
