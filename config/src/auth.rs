//! What clients' authentication needs beside its name: files, certificates, and somebody who can log in.

use std::path::PathBuf;

use crate::context::{At, Context};
use crate::model::{AuthMethod, Server, TlsMode, User};

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
