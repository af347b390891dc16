//! The part of a `pgbouncer.ini` that this crate's own model cannot hold, by name.

use crate::problems::{Place, Problem};

use super::database::{Database, LoadBalanceHosts, TargetSession};
use super::to_config::HELD;
use super::unheeded::UNHEEDED;
use super::values::{AuthType, SocketDir};
use super::{Pgbouncer, User};

impl Pgbouncer {
    /// What the file says and [`Pgbouncer::to_config`] cannot hold, sorted by place: whoever runs that configuration
    /// alone leaves this out. Settings at their default are not named.
    pub fn beyond_config(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        self.settings_beyond(&mut found);
        for database in &self.databases {
            note(
                &mut found,
                &database.place,
                &format!("database \"{}\"", database.name),
                &self.database_beyond(database),
            );
        }
        for user in &self.users {
            let under_any = self.settings.auth.auth_type == AuthType::Any;
            note(&mut found, &user.place, &format!("user \"{}\"", user.name), &user_beyond(user, under_any));
        }
        let peers = self.peers.first().map(|peer| (&peer.place, "[peers]"));
        let fallback = self.fallback.as_ref().map(|fallback| (&fallback.place, "database \"*\""));
        for (place, what) in peers.into_iter().chain(fallback) {
            note(&mut found, place, what, &["the whole entry"]);
        }
        found.sort();
        found
    }

    fn settings_beyond(&self, found: &mut Vec<Problem>) {
        for row in self.settings.rows() {
            let named = HELD.contains(&row.key) || UNHEEDED.iter().any(|(name, _)| *name == row.key);
            if let (false, true, Some(place)) = (named, row.value != row.default, self.place(row.key)) {
                note(found, place, "[pgbouncer]", &[row.key]);
            }
        }
        let listening = &self.settings.listening;
        let abstract_socket = matches!(listening.unix_socket_dir, SocketDir::Abstract(_));
        if let (true, Some(place)) = (abstract_socket, self.place("unix_socket_dir")) {
            note(found, place, "[pgbouncer]", &["unix_socket_dir in the abstract namespace"]);
        }
        let unix_alone = listening.addresses().next().is_none();
        if let (true, Some(place)) = (unix_alone, self.place("listen_port")) {
            note(found, place, "[pgbouncer]", &["listen_port without listen_addr"]);
        }
    }

    fn database_beyond(&self, database: &Database) -> Vec<&'static str> {
        let d = database;
        let kept_as_hash = d.user.is_some() && self.password(d).is_none();
        let options = [
            ("the whole entry (its hosts)", self.endpoint(d).is_none()),
            ("the password of its user (auth_file has none, or none in plain text)", kept_as_hash),
            ("auth_user", d.auth_user.is_some()),
            ("auth_query", d.auth_query.is_some()),
            ("auth_dbname", d.auth_dbname.is_some()),
            ("pool_size", d.pool_size.is_some()),
            ("min_pool_size", d.min_pool_size.is_some()),
            ("reserve_pool_size", d.reserve_pool_size.is_some()),
            ("pool_mode", d.pool_mode.is_some()),
            ("load_balance_hosts", d.load_balance_hosts != LoadBalanceHosts::RoundRobin),
            ("target_session_attrs", d.target_session_attrs != TargetSession::Any),
            ("max_db_connections", d.max_db_connections.is_some()),
            ("max_db_client_connections", d.max_db_client_connections.is_some()),
            ("server_lifetime", d.server_lifetime.is_some()),
            ("query_wait_timeout", d.query_wait_timeout.is_some()),
            ("client_encoding", d.client_encoding.is_some()),
            ("datestyle", d.datestyle.is_some()),
            ("timezone", d.timezone.is_some()),
            ("application_name", d.application_name.is_some()),
            ("connect_query", d.connect_query.is_some()),
        ];
        set(&options)
    }
}

fn user_beyond(u: &User, under_any: bool) -> Vec<&'static str> {
    set(&[
        ("the whole entry (auth_type any)", under_any),
        ("pool_size 0", u.pool_size == Some(0)),
        ("reserve_pool_size", u.reserve_pool_size.is_some()),
        ("max_user_client_connections", u.max_user_client_connections.is_some()),
        ("query_timeout", u.query_timeout.is_some()),
        ("query_wait_timeout", u.query_wait_timeout.is_some()),
        ("idle_transaction_timeout", u.idle_transaction_timeout.is_some()),
        ("transaction_timeout", u.transaction_timeout.is_some()),
        ("client_idle_timeout", u.client_idle_timeout.is_some()),
    ])
}

fn set(options: &[(&'static str, bool)]) -> Vec<&'static str> {
    options.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect()
}

fn note(found: &mut Vec<Problem>, place: &Place, whose: &str, what: &[&str]) {
    if !what.is_empty() {
        found.push(Problem { place: place.clone(), message: format!("{whose}: {}", what.join(", ")) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgbouncer::settings::Settings;
    use crate::pgbouncer::testing::read;

    fn beyond(text: &str) -> String {
        let lines: Vec<String> = read(text).beyond_config().iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn each_name_is_a_setting_and_has_one_fate() {
        let names = Settings::default().names();
        assert!(HELD.iter().all(|name| names.contains(name)));
        assert!(UNHEEDED.iter().all(|(name, _)| !HELD.contains(name)));
    }

    #[test]
    fn what_the_model_holds_is_not_named() {
        assert_eq!(
            beyond(
                "pool_mode=transaction\ndefault_pool_size=3\nlog_connections=1\npkt_buf=1\nlisten_port=1\n\
                    [databases]\na = host=x port=1 dbname=y user=u password=p\nb =\n"
            ),
            ""
        );
    }

    #[test]
    fn the_rest_is_named_by_place() {
        assert_eq!(
            beyond(
                "query_wait_notify=0\nauth_type=trust\nauth_user=u\nlog_connections=0\n[databases]\n\
                    a = host=x,y pool_size=3 connect_query='SELECT 1'\nb = host=@x user=u\n* = host=x\n\
                    [users]\nu = pool_size=0 query_timeout=1\nv = pool_size=1 pool_mode=session max_user_connections=1\n\
                    [peers]\n1 = host=x\n2 = host=y\n"
            ),
            "p.ini:5:19: [pgbouncer]: query_wait_notify\n\
             p.ini:8:17: [pgbouncer]: log_connections\n\
             p.ini:10:1: database \"a\": the whole entry (its hosts), pool_size, connect_query\n\
             p.ini:11:1: database \"b\": the whole entry (its hosts), the password of its user (auth_file has none, \
             or none in plain text)\n\
             p.ini:12:1: database \"*\": the whole entry\n\
             p.ini:14:1: user \"u\": pool_size 0, query_timeout\n\
             p.ini:17:1: [peers]: the whole entry"
        );
    }

    #[test]
    fn sockets_that_cannot_be_listened_on_are_named() {
        assert_eq!(
            beyond("listen_addr=\nlisten_port=7\nunix_socket_dir=@x\n"),
            "p.ini:6:13: [pgbouncer]: listen_port without listen_addr\n\
             p.ini:7:17: [pgbouncer]: unix_socket_dir in the abstract namespace"
        );
    }
}
