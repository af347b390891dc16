//! postgresql.conf and pg_hba.conf, as text.

use std::{collections::BTreeMap, path::Path};

use crate::HOST;

/// A Unix socket's path, with Postgres' `/.s.PGSQL.65535` at its end, must fit into 107 bytes.
const LONGEST_SOCKET_DIR: usize = 107 - "/.s.PGSQL.65535".len();

/// What a server is configured with; a replica takes over its primary's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The caller's settings, which win over the ones chosen here.
    pub(crate) chosen: BTreeMap<String, String>,
    /// The caller's pg_hba.conf lines, which come first.
    pub(crate) hba: Vec<String>,
    /// Whether the data must survive the machine.
    pub(crate) durable: bool,
}

impl Settings {
    /// The text of postgresql.conf. `primary` is the connection string of the server to follow, if any.
    pub(crate) fn postgresql_conf(&self, dir: &Path, port: u16, primary: Option<&str>) -> String {
        let socket_dir = dir.to_string_lossy();
        let socket_dir = if socket_dir.len() <= LONGEST_SOCKET_DIR { &*socket_dir } else { "" };
        let durable = if self.durable { "on" } else { "off" };
        // Segments in /dev/shm would outlive a killed server; in the data directory they go with it.
        let segments = if self.durable { "posix" } else { "mmap" };
        let port = port.to_string();
        let mut all: BTreeMap<&str, &str> = BTreeMap::from([
            ("listen_addresses", HOST),
            ("port", &port),
            ("unix_socket_directories", socket_dir),
            ("fsync", durable),
            ("full_page_writes", durable),
            ("dynamic_shared_memory_type", segments),
            ("shared_buffers", "32MB"),
            ("max_connections", "200"),
            ("max_prepared_transactions", "200"),
            ("wal_level", "logical"),
            ("max_wal_senders", "10"),
            // A replica that was away for a moment, or starts from the template, finds what it missed.
            ("wal_keep_size", "256MB"),
            ("hot_standby", "on"),
            // The default of 5 s is long for a replica that starts beside its primary.
            ("wal_retrieve_retry_interval", "100ms"),
            ("jit", "off"),
            ("log_line_prefix", "%m [%p] %q%u@%d "),
        ]);
        if let Some(primary) = primary {
            all.insert("primary_conninfo", primary);
        }
        all.extend(self.chosen.iter().map(|(name, value)| (name.as_str(), value.as_str())));

        let mut text =
            String::from("# Written at every start; ALTER SYSTEM is the way to change a setting.\n");
        for (name, value) in all {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        text
    }

    /// The text of pg_hba.conf: the superuser comes in from this machine, everybody else has a password.
    pub(crate) fn pg_hba_conf(&self) -> String {
        let mut lines = self.hba.clone();
        lines.extend(
            [
                "local all postgres trust",
                "host all postgres 127.0.0.1/32 trust",
                "local replication postgres trust",
                "host replication all 127.0.0.1/32 trust",
                "local all all scram-sha-256",
                "host all all 127.0.0.1/32 scram-sha-256",
            ]
            .map(String::from),
        );
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_settings_win_and_are_quoted() {
        let mut settings = Settings::default();
        settings.chosen.insert("max_connections".into(), "7".into());
        settings.chosen.insert("cluster_name".into(), "it's".into());
        let text = settings.postgresql_conf(Path::new("/data"), 5433, None);
        assert!(text.contains("max_connections = '7'\n") && !text.contains("'200'\nmax_connections"));
        assert!(text.contains("cluster_name = 'it''s'\n"));
        assert!(text.contains("port = '5433'\n"));
    }

    #[test]
    fn only_a_durable_server_syncs() {
        let durable = Settings { durable: true, ..Settings::default() };
        assert!(durable.postgresql_conf(Path::new("/d"), 1, None).contains("fsync = 'on'"));
        assert!(Settings::default().postgresql_conf(Path::new("/d"), 1, None).contains("fsync = 'off'"));
    }

    #[test]
    fn a_directory_too_long_for_a_socket_gets_none() {
        let long = format!("/{}", "d".repeat(120));
        let text = Settings::default().postgresql_conf(Path::new(&long), 1, None);
        assert!(text.contains("unix_socket_directories = ''\n"));
    }

    #[test]
    fn the_callers_hba_lines_come_first() {
        let settings =
            Settings { hba: vec!["host all md5user 127.0.0.1/32 md5".into()], ..Settings::default() };
        assert!(settings.pg_hba_conf().starts_with("host all md5user 127.0.0.1/32 md5\nlocal all postgres"));
    }
}
