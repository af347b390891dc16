//! The files that TLS needs. They are read with the configuration: what is wrong with them is told with the place of
//! the key that names them, and a reload sees that they hold something else.
//!
//! Nothing here checks a signature, or whether a key belongs to its certificate: who speaks TLS does.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::{Error, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::context::{Context, Text};
use crate::hba::{Disk, Files};
use crate::model::TlsMode;
use crate::problems::{Place, Problem, Problems};

/// Certificates of one file, in its order; never empty.
pub type Certificates = Vec<CertificateDer<'static>>;

/// A private key, not encrypted: PKCS #8, PKCS #1 or SEC 1. `Debug` does not show it.
pub type PrivateKey = PrivateKeyDer<'static>;

/// What a PEM file held when it was read. Equal to another with the same content.
#[derive(Debug)]
pub struct Pem<T> {
    /// The file.
    pub path: PathBuf,
    /// Where it is named.
    pub place: Place,
    /// What it holds.
    pub content: Arc<T>,
}

impl<T> Clone for Pem<T> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), place: self.place.clone(), content: self.content.clone() }
    }
}

impl<T: PartialEq> PartialEq for Pem<T> {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

impl<T> Pem<T> {
    /// Something that is wrong with the content, with the place that names the file.
    pub fn problem(&self, what: impl fmt::Display) -> Problem {
        Problem { place: self.place.clone(), message: format!("{}: {what}", quoted_path(&self.path)) }
    }
}

/// What one side shows the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Its certificate, and those between it and the CA.
    pub chain: Pem<Certificates>,
    /// The certificate's key.
    pub key: Pem<PrivateKey>,
}

/// What TLS on one side goes by; empty where it is off.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsFiles {
    /// What is shown.
    pub identity: Option<Identity>,
    /// What the other side's certificates are checked against.
    pub ca: Option<Pem<Certificates>>,
    /// Which versions are spoken.
    pub versions: Versions,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// A file, and where it is named.
pub(crate) type Source = (PathBuf, Place);

impl TlsFiles {
    /// Reads the files of one side. Errors: everything that is wrong with any of them.
    pub(crate) fn read(
        cert: Option<Source>,
        key: Option<Source>,
        ca: Option<Source>,
        files: &dyn Files,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let chain = kept(&mut problems, cert.map(|source| pem(files, source, certificates)));
        let key = kept(&mut problems, key.map(|source| pem(files, source, PrivateKey::from_pem_slice)));
        let ca = kept(&mut problems, ca.map(|source| pem(files, source, certificates)));
        let identity = chain.zip(key).map(|(chain, key)| Identity { chain, key });
        Problems::collect(problems).map_or(Ok(Self { identity, ca, versions: Versions::default() }), Err)
    }
}

/// The keys of one side, as far as they name files.
#[derive(Default)]
pub(crate) struct Named {
    pub(crate) cert: Option<Text>,
    pub(crate) key: Option<Text>,
    pub(crate) ca: Option<Text>,
}

impl Named {
    /// Reads the files, unless `mode` needs none of them.
    pub(crate) fn read(&self, context: &Context<'_>, mode: TlsMode) -> TlsFiles {
        if mode == TlsMode::Disable {
            return TlsFiles::default();
        }
        let source = |text: &Option<Text>| {
            text.as_ref().map(|text| (PathBuf::from(&text.value), context.place(text.at)))
        };
        let read = TlsFiles::read(source(&self.cert), source(&self.key), source(&self.ca), &Disk);
        read.unwrap_or_else(|problems| {
            context.adopt(problems);
            TlsFiles::default()
        })
    }
}

/// A file's path, where there is one.
pub(crate) fn path(text: &Option<Text>) -> Option<PathBuf> {
    text.as_ref().map(|text| PathBuf::from(&text.value))
}

fn kept<T>(problems: &mut Vec<Problem>, read: Option<Result<T, Problem>>) -> Option<T> {
    read?.map_err(|problem| problems.push(problem)).ok()
}

fn certificates(text: &[u8]) -> Result<Certificates, Error> {
    let all: Certificates = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
    if all.is_empty() { Err(Error::NoItemsFound) } else { Ok(all) }
}

fn pem<T>(
    files: &dyn Files,
    (path, place): Source,
    parse: impl Fn(&[u8]) -> Result<T, Error>,
) -> Result<Pem<T>, Problem> {
    let refuse = |what: &dyn fmt::Display| {
        let message = format!("{} {what}", quoted_path(&path));
        Problem { place: place.clone(), message }
    };
    let bytes = files.read(&path).map_err(|e| refuse(&format_args!("cannot be read: {e}")))?;
    let content = parse(&bytes).map_err(|error| match error {
        Error::NoItemsFound => refuse(&"holds nothing of the kind in PEM form (a key must not be encrypted)"),
        error => refuse(&format_args!("is not PEM: {error}")),
    })?;
    Ok(Pem { path, place, content: Arc::new(content) })
}

/// In full, however long: it is there to be found.
fn quoted_path(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

#[cfg(test)]
mod tests {
    use crate::testing::{config, pem_files, problems};

    #[test]
    fn files_are_read_where_tls_is_on() {
        let (_dir, keys) = pem_files();
        let server = config(&format!("[server]\ntls = 'allow'\n{keys}")).server;
        let identity = server.tls_files.identity.unwrap();
        assert_eq!(identity.chain.content.len(), 2);
        assert_eq!(server.tls_files.ca.unwrap().content.len(), 1);
        assert!(!format!("{identity:?}").contains("AAAA"));
        let off = config(&format!("[server]\n{keys}")).server;
        assert_eq!((off.tls_files.identity, off.tls_files.ca), (None, None));
        assert!(off.tls_cert.is_some());
    }

    #[test]
    fn the_same_content_is_the_same_file() {
        let (dir, keys) = pem_files();
        let text = format!("[server]\ntls = 'allow'\n{keys}");
        let before = config(&text).server.tls_files;
        assert_eq!(config(&text).server.tls_files, before);
        std::fs::copy(dir.path().join("client_ca"), dir.path().join("cert")).unwrap();
        assert_ne!(config(&text).server.tls_files, before);
    }

    #[test]
    fn a_file_that_is_none_is_named_with_its_place() {
        let (dir, keys) = pem_files();
        let file = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(file("cert"), "nothing\n").unwrap();
        std::fs::write(file("client_ca"), "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n")
            .unwrap();
        std::fs::remove_file(file("key")).unwrap();
        let found = problems(&format!("[server]\ntls = 'allow'\n{keys}"));
        let begins = [
            format!("t.toml:3:12: \"{}\" holds nothing of the kind in PEM form", file("cert")),
            format!("t.toml:4:11: \"{}\" cannot be read: ", file("key")),
            format!("t.toml:5:17: \"{}\" is not PEM: ", file("client_ca")),
        ];
        assert_eq!(found.lines().count(), 3, "{found}");
        for (line, begin) in found.lines().zip(begins) {
            assert!(line.starts_with(&begin), "{line}");
        }
    }

    #[test]
    fn a_url_that_asks_for_a_check_needs_a_ca_too() {
        let url = [("DATABASE_URL", "postgres://tester:pw@127.0.0.1/test?sslmode=verify-ca")];
        assert_eq!(
            crate::testing::problems_in(&url, ""),
            "t.toml:1:1: sslmode=verify-ca of 127.0.0.1:5432/test needs \"server_tls_ca\" in [pool]"
        );
    }

    #[test]
    fn towards_servers_a_certificate_needs_its_key_and_a_check_its_ca() {
        let (dir, _) = pem_files();
        let cert = dir.path().join("cert");
        assert_eq!(
            problems(&format!("[pool]\nserver_tls = 'verify-ca'\nserver_tls_cert = '{}'\n", cert.display())),
            "t.toml:2:14: server_tls = \"verify-ca\" needs \"server_tls_ca\" in [pool]\n\
             t.toml:3:19: \"server_tls_cert\" needs \"server_tls_key\" in [pool]"
        );
    }
}
