//! The files of certificates and keys that a `pgbouncer.ini` names. PgBouncer reads them when it starts, and again at
//! RELOAD; so does who runs by that file.

use std::path::PathBuf;

use crate::hba::Files;
use crate::model::TlsMode;
use crate::problems::{Place, Problems};
use crate::tls::{TlsFiles, Versions};

use super::Pgbouncer;
use super::values::TlsProtocols;

impl Pgbouncer {
    /// What those files hold, towards clients and towards servers: what [`Pgbouncer::to_config`] leaves empty. None is
    /// read for a side that does without TLS.
    ///
    /// # Errors
    /// Everything that is wrong with a file, each with the place of the setting that names it.
    pub fn tls_files(&self, files: &dyn Files) -> Result<(TlsFiles, TlsFiles), Problems> {
        let tls = &self.settings.tls;
        let side = |mode, names: [(&str, &Option<PathBuf>); 3]| {
            if mode == TlsMode::Disable {
                return Ok(TlsFiles::default());
            }
            let [cert, key, ca] = names.map(|(setting, path)| Some((path.clone()?, self.place_of(setting))));
            TlsFiles::read(cert, key, ca, files)
        };
        let clients = side(
            tls.client_tls_sslmode,
            [
                ("client_tls_cert_file", &tls.client_tls_cert_file),
                ("client_tls_key_file", &tls.client_tls_key_file),
                ("client_tls_ca_file", &tls.client_tls_ca_file),
            ],
        );
        let servers = side(
            tls.server_tls_sslmode,
            [
                ("server_tls_cert_file", &tls.server_tls_cert_file),
                ("server_tls_key_file", &tls.server_tls_key_file),
                ("server_tls_ca_file", &tls.server_tls_ca_file),
            ],
        );
        match (clients, servers) {
            (Ok(clients), Ok(servers)) => Ok((
                TlsFiles { versions: versions(&tls.client_tls_protocols), ..clients },
                TlsFiles { versions: versions(&tls.server_tls_protocols), ..servers },
            )),
            (clients, servers) => {
                let found = [clients.err(), servers.err()].into_iter().flatten().flatten();
                Err(Problems::collect(found.collect()).expect("one of them has failed"))
            }
        }
    }

    /// Where a setting stands that has a value of its own.
    fn place_of(&self, setting: &str) -> Place {
        self.place(setting).cloned().unwrap_or_else(|| Place::File { file: setting.to_owned() })
    }
}

/// What of a list of versions can be spoken.
fn versions(listed: &TlsProtocols) -> Versions {
    match (listed.tls12, listed.tls13) {
        (true, false) => Versions::Tls12,
        (false, true) => Versions::Tls13,
        _ => Versions::Both,
    }
}

#[cfg(test)]
mod tests {
    use crate::pgbouncer::testing::{files, read};

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

    #[test]
    fn the_files_of_both_sides_are_read() {
        let pgbouncer = read(
            "client_tls_sslmode=allow\nclient_tls_cert_file=c\nclient_tls_key_file=k\nserver_tls_ca_file=c\n",
        );
        let (clients, servers) = pgbouncer.tls_files(&files(&[("c", CERTIFICATE), ("k", KEY)])).unwrap();
        assert!(clients.identity.is_some() && clients.ca.is_none());
        assert!(servers.identity.is_none() && servers.ca.is_some());
        let problems = pgbouncer.tls_files(&files(&[("k", CERTIFICATE)])).unwrap_err().to_string();
        let begins = [
            "p.ini:6:22: \"c\" cannot be read",
            "p.ini:7:21: \"k\" holds nothing",
            "p.ini:8:20: \"c\" cannot",
        ];
        assert_eq!(problems.lines().count(), 3, "{problems}");
        for (line, begin) in problems.lines().zip(begins) {
            assert!(line.starts_with(begin), "{line}");
        }
    }

    #[test]
    fn a_side_without_tls_reads_nothing() {
        let text = "client_tls_cert_file=c\nserver_tls_sslmode=disable\nserver_tls_ca_file=c\n";
        let (clients, servers) = read(text).tls_files(&files(&[])).unwrap();
        assert_eq!((clients.identity, servers.ca), (None, None));
    }
}
