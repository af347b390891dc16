//! What clients' authentication needs beside its name: files, certificates, and somebody who can log in.

use std::path::PathBuf;

use crate::context::{At, Context};
use crate::hba::{Disk, Hba, Method, Rule};
use crate::model::{AuthMethod, Server, TlsMode, User};
use crate::problems::{Problem, Problems};

/// `[server]` by itself: what one of its keys asks of another.
pub(crate) fn check_server(context: &Context<'_>, server: &Server, auth_at: At, tls_at: At) {
    if server.auth == AuthMethod::Hba {
        require(context, auth_at, "auth = \"hba\"", "hba_file", server.hba_file.as_ref());
    }
    if server.auth == AuthMethod::Cert {
        check_cert(context, server, auth_at);
    }
    if server.tls != TlsMode::Disable {
        check_tls(context, server, tls_at);
    }
}

/// The rules of the hba file, where they are what authentication goes by.
pub(crate) fn read_hba(context: &Context<'_>, server: &Server) -> Option<Hba> {
    let path = server.hba_file.as_ref().filter(|_| server.auth == AuthMethod::Hba)?;
    match Hba::read(path, server.ident_file.as_deref(), &Disk) {
        Ok(hba) => {
            check_certs(context, server, &hba);
            Some(hba)
        }
        Err(problems) => {
            context.adopt(problems);
            None
        }
    }
}

/// Rules that ask for certificates ask for what brings and checks them.
fn check_certs(context: &Context<'_>, server: &Server, hba: &Hba) {
    let lacking = match (server.tls, &server.tls_client_ca) {
        (TlsMode::Disable, _) => "needs \"tls\" in [server]: a certificate comes with TLS alone",
        (_, None) => "needs \"tls_client_ca\" in [server]",
        _ => return,
    };
    let problem = |rule: &Rule, what: &str| {
        Some(Problem { place: rule.place.clone(), message: format!("{what} {lacking}") })
    };
    let problems = hba.rules().iter().filter_map(|rule| match rule.method {
        Method::Cert(_) => problem(rule, "cert"),
        _ if rule.client_cert.is_some() => problem(rule, "clientcert="),
        _ => None,
    });
    let problems = problems.collect();
    if let Some(problems) = Problems::collect(problems) {
        context.adopt(problems);
    }
}

fn check_cert(context: &Context<'_>, server: &Server, at: At) {
    if server.tls == TlsMode::Disable {
        context.report(at, "auth = \"cert\" needs \"tls\" in [server]: a certificate comes with TLS alone");
    }
    require(context, at, "auth = \"cert\"", "tls_client_ca", server.tls_client_ca.as_ref());
}

fn check_tls(context: &Context<'_>, server: &Server, at: At) {
    let what = format!("tls = \"{}\"", server.tls);
    require(context, at, &what, "tls_cert", server.tls_cert.as_ref());
    require(context, at, &what, "tls_key", server.tls_key.as_ref());
    let verifies = matches!(server.tls, TlsMode::VerifyCa | TlsMode::VerifyFull);
    // With auth = "cert" its absence is reported there.
    if verifies && server.auth != AuthMethod::Cert {
        require(context, at, &what, "tls_client_ca", server.tls_client_ca.as_ref());
    }
}

fn require(context: &Context<'_>, at: At, what: &str, key: &str, value: Option<&PathBuf>) {
    if value.is_none() {
        context.report(at, format!("{what} needs \"{key}\" in [server]"));
    }
}

/// Whether there is anybody whose password could be checked.
pub(crate) fn check_logins(context: &Context<'_>, server: &Server, users: &[User], at: At) {
    let by_password = matches!(server.auth, AuthMethod::Password | AuthMethod::Md5 | AuthMethod::Scram);
    if by_password && users.is_empty() && server.auth_query.is_none() {
        let message = format!(
            "nobody could log in: auth = \"{}\" needs [[users]] or an \"auth_query\" (or set auth to trust, cert or hba)",
            server.auth
        );
        context.report(at, message);
    }
}
