//! Which proof one connection owes: the configured method, or what the first rule of the hba file that matches says.
//!
//! Pure. The texts are those of PostgreSQL (src/backend/libpq/auth.c, `ClientAuthentication`), which clients know; who
//! is turned away before it could prove anything is told so under 28000.

use super::Method;
use shardway_config::AuthMethod;
use shardway_config::hba::{self, ClientCert, Hba, Origin, Peer, UserMap};
use std::fmt;

/// What a connection has to show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand<'a> {
    /// How it proves who it is.
    pub proof: Proof<'a>,
    /// What else, by TLS.
    pub certificate: Certificate<'a>,
}

/// How a connection proves who it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Proof<'a> {
    /// A password, or nothing.
    Password(Method),
    /// That the operating system's user at the other end of the socket may be the user.
    Peer(&'a UserMap),
}

/// Which certificate is owed. To the handshake it was good, so it is one that the CA has signed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Certificate<'a> {
    /// None.
    Unasked,
    /// Any.
    Any,
    /// One whose CN may be the user.
    Named(&'a UserMap),
}

impl<'a> Demand<'a> {
    fn password(method: Method) -> Self {
        Self { proof: Proof::Password(method), certificate: Certificate::Unasked }
    }

    fn certificate(map: &'a UserMap) -> Self {
        Self { certificate: Certificate::Named(map), ..Self::password(Method::Trust) }
    }
}

/// A CN that is the user's name itself.
static SAME: UserMap = UserMap::Same;

/// Why a connection is turned away unasked. `Display` is what the client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwanted {
    /// No rule is for it.
    #[error("no pg_hba.conf entry for {0}")]
    NoEntry(Whence),
    /// Its rule says so.
    #[error("pg_hba.conf rejects connection for {0}")]
    Rejected(Whence),
    /// It would have to show a certificate, and has shown none.
    #[error("connection requires a valid client certificate")]
    NoCertificate,
}

impl Unwanted {
    /// Code for the ErrorResponse.
    pub fn sqlstate(&self) -> &'static str {
        "28000"
    }

    /// What PgBouncer says.
    pub fn poolers(&self) -> &'static str {
        match self {
            Self::NoEntry(_) | Self::Rejected(_) => "login rejected",
            Self::NoCertificate => "certificate authentication failed",
        }
    }
}

/// A connection as PostgreSQL describes one that it does not want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whence {
    origin: Origin,
    user: String,
    database: String,
    tls: bool,
}

impl From<&Peer<'_>> for Whence {
    fn from(peer: &Peer<'_>) -> Self {
        let &Peer { origin, tls, database, user } = peer;
        Self { origin, user: user.to_owned(), database: database.to_owned(), tls }
    }
}

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.origin {
            Origin::Local => "[local]".to_owned(),
            Origin::Tcp(ip) => ip.to_string(),
        };
        let encryption = if self.tls { "SSL encryption" } else { "no encryption" };
        let Self { user, database, .. } = self;
        write!(f, "host \"{host}\", user \"{user}\", database \"{database}\", {encryption}")
    }
}

/// What `peer` has to show where `auth` is configured, with the rules of `hba` if it is by them.
pub fn demand<'a>(auth: AuthMethod, hba: Option<&'a Hba>, peer: &Peer<'_>) -> Result<Demand<'a>, Unwanted> {
    match auth {
        AuthMethod::Any | AuthMethod::Trust => Ok(Demand::password(Method::Trust)),
        AuthMethod::Password => Ok(Demand::password(Method::Password)),
        AuthMethod::Md5 => Ok(Demand::password(Method::Md5)),
        AuthMethod::Scram => Ok(Demand::password(Method::Scram)),
        AuthMethod::Cert => Ok(Demand::certificate(&SAME)),
        AuthMethod::Hba => by_rule(hba, peer),
    }
}

fn by_rule<'a>(hba: Option<&'a Hba>, peer: &Peer<'_>) -> Result<Demand<'a>, Unwanted> {
    let rule = hba.and_then(|hba| hba.decide(peer)).ok_or_else(|| Unwanted::NoEntry(peer.into()))?;
    tracing::debug!(rule = %rule.place, user = peer.user, "hba");
    let demand = match &rule.method {
        hba::Method::Trust => Demand::password(Method::Trust),
        hba::Method::Reject => return Err(Unwanted::Rejected(peer.into())),
        hba::Method::Password => Demand::password(Method::Password),
        hba::Method::Md5 => Demand::password(Method::Md5),
        hba::Method::Scram => Demand::password(Method::Scram),
        hba::Method::Peer(map) => Demand { proof: Proof::Peer(map), certificate: Certificate::Unasked },
        // Its CN is looked at whatever clientcert says.
        hba::Method::Cert(map) => return Ok(Demand::certificate(map)),
    };
    let certificate = match rule.client_cert {
        None => demand.certificate,
        Some(ClientCert::VerifyCa) => Certificate::Any,
        Some(ClientCert::VerifyFull) => Certificate::Named(&SAME),
    };
    Ok(Demand { certificate, ..demand })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};

    const RULES: &str = "local all all peer\nhost shop ada 10.0.0.0/8 md5\nhost all all 10.0.0.0/8 reject\n\
                         host all all 11.0.0.0/8 cert\nhost all all 12.0.0.0/8 trust\nhost all all ::/0 password\n\
                         host all all 13.0.0.0/8 scram-sha-256\nhostssl all all 14.0.0.0/8 md5 clientcert=verify-ca\n\
                         hostssl all all 15.0.0.0/8 md5 clientcert=verify-full";

    fn rules() -> Hba {
        let files = HashMap::from([(PathBuf::from("hba"), RULES.as_bytes().to_vec())]);
        Hba::read(Path::new("hba"), None, &files).unwrap()
    }

    fn tcp(ip: &str, tls: bool) -> Peer<'static> {
        Peer { origin: Origin::Tcp(ip.parse().unwrap()), tls, database: "shop", user: "ada" }
    }

    fn refusal(peer: &Peer<'_>) -> String {
        let unwanted = demand(AuthMethod::Hba, Some(&rules()), peer).unwrap_err();
        assert_eq!(unwanted.sqlstate(), "28000");
        unwanted.to_string()
    }

    #[test]
    fn a_configured_method_is_everybodys() {
        for (auth, method) in [
            (AuthMethod::Any, Method::Trust),
            (AuthMethod::Trust, Method::Trust),
            (AuthMethod::Password, Method::Password),
            (AuthMethod::Md5, Method::Md5),
            (AuthMethod::Scram, Method::Scram),
        ] {
            assert_eq!(demand(auth, None, &tcp("1.2.3.4", false)), Ok(Demand::password(method)));
        }
    }

    #[test]
    fn with_rules_each_connection_has_its_own_method() {
        let rules = rules();
        for (ip, method) in [
            ("10.0.0.1", Method::Md5),
            ("12.0.0.1", Method::Trust),
            ("::1", Method::Password),
            ("13.0.0.1", Method::Scram),
        ] {
            let found = demand(AuthMethod::Hba, Some(&rules), &tcp(ip, false));
            assert_eq!(found, Ok(Demand::password(method)), "{ip}");
        }
        let local = Peer { origin: Origin::Local, ..tcp("::1", false) };
        let by_peer = Demand { proof: Proof::Peer(&UserMap::Same), certificate: Certificate::Unasked };
        assert_eq!(demand(AuthMethod::Hba, Some(&rules), &local), Ok(by_peer));
    }

    #[test]
    fn who_is_not_wanted_is_told_as_by_postgres() {
        assert_eq!(
            refusal(&Peer { user: "bob", ..tcp("10.0.0.1", false) }),
            "pg_hba.conf rejects connection for host \"10.0.0.1\", user \"bob\", database \"shop\", no encryption"
        );
        assert_eq!(
            refusal(&tcp("9.9.9.9", true)),
            "no pg_hba.conf entry for host \"9.9.9.9\", user \"ada\", database \"shop\", SSL encryption"
        );
        let local = Peer { origin: Origin::Local, ..tcp("::1", false) };
        assert_eq!(
            demand(AuthMethod::Hba, None, &local).unwrap_err().to_string(),
            "no pg_hba.conf entry for host \"[local]\", user \"ada\", database \"shop\", no encryption"
        );
    }

    #[test]
    fn a_certificate_is_owed_alone_or_beside_a_password() {
        let rules = rules();
        let owed = |ip| demand(AuthMethod::Hba, Some(&rules), &tcp(ip, true)).unwrap();
        assert_eq!(owed("11.0.0.1"), Demand::certificate(&SAME));
        let beside = |certificate| Demand { certificate, ..Demand::password(Method::Md5) };
        assert_eq!(owed("14.0.0.1"), beside(Certificate::Any));
        assert_eq!(owed("15.0.0.1"), beside(Certificate::Named(&SAME)));
        let configured = demand(AuthMethod::Cert, None, &tcp("::1", true));
        assert_eq!(configured, Ok(Demand::certificate(&SAME)));
    }
}
