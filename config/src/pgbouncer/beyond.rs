//! The part of a `pgbouncer.ini` that this crate's own model cannot hold, by name.

use crate::problems::{Place, Problem};

use super::Pgbouncer;
use super::database::Database;
use super::to_config::{CARRIED, HELD};
use super::unheeded::UNHEEDED;
use super::values::AuthType;

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
        for user in self.users.iter().filter(|_| self.settings.auth.auth_type == AuthType::Any) {
            let whole = "the whole entry (auth_type any)";
            note(&mut found, &user.place, &format!("user \"{}\"", user.name), &[whole]);
        }
        if let Some(fallback) = &self.fallback {
            note(&mut found, &fallback.place, "database \"*\"", &self.database_beyond(fallback));
        }
        if let Some(peer) = self.peers.first() {
            note(&mut found, &peer.place, "[peers]", &["the whole entry"]);
        }
        found.sort();
        found
    }

    fn settings_beyond(&self, found: &mut Vec<Problem>) {
        for row in self.settings.rows() {
            let named = HELD.contains(&row.key)
                || CARRIED.contains(&row.key)
                || UNHEEDED.iter().any(|(name, _)| *name == row.key);
            if let (false, true, Some(place)) = (named, row.value != row.default, self.place(row.key)) {
                note(found, place, "[pgbouncer]", &[row.key]);
            }
        }
    }

    fn database_beyond(&self, database: &Database) -> Vec<&'static str> {
        let d = database;
        let kept_as_hash = d.user.is_some() && self.password(d).is_none();
        let options = [
            ("the whole entry (its hosts)", self.endpoint(d).is_none()),
            ("the password of its user (auth_file has none, or none in plain text)", kept_as_hash),
        ];
        set(&options)
    }
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
        assert!(HELD.iter().chain(&CARRIED).all(|name| names.contains(name)));
        assert!(UNHEEDED.iter().all(|(name, _)| !HELD.contains(name) && !CARRIED.contains(name)));
        assert!(CARRIED.iter().all(|name| !HELD.contains(name)));
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
                "peer_id=3\nauth_type=trust\nauth_user=u\nsyslog=1\n[databases]\n\
                    a = host=x,y pool_size=3 auth_user=u\nb = host=@x user=u\n* = host=x target_session_attrs=primary\n\
                    [users]\nu = pool_size=0 query_timeout=1\n[peers]\n1 = host=x\n2 = host=y\n"
            ),
            "p.ini:5:9: [pgbouncer]: peer_id\n\
             p.ini:11:1: database \"b\": the password of its user (auth_file has none, or none in plain text)\n\
             p.ini:16:1: [peers]: the whole entry"
        );
    }

    #[test]
    fn under_any_nothing_of_a_user_counts() {
        assert_eq!(
            beyond("auth_type=any\n[users]\nu = pool_size=3\n"),
            "p.ini:7:1: user \"u\": the whole entry (auth_type any)"
        );
    }
}
