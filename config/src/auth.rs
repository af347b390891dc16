//! What clients' authentication needs beside its name: files, certificates, and somebody who can log in.

use std::path::PathBuf;

use crate::context::{At, Context};
use crate::hba::{Disk, Hba, Method, Rule};
use crate::model::{AuthLookup, AuthMethod, Database, Server, TlsMode, User};
use crate::overrides::UserLimits;
use crate::problems::{Problem, Problems};
use crate::section::Section;
use crate::suggest::nearest;

/// How users are looked up, in `[server]` and in `[[databases]]`.
pub(crate) fn lookup(section: &mut Section<'_>) -> AuthLookup {
    AuthLookup {
        auth_query: section.optional_string("auth_query"),
        auth_user: section.optional_string("auth_user"),
        auth_dbname: section.optional_string("auth_dbname"),
    }
}

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

/// Who may come in unasked where no user is configured: the logins that databases have on their servers.
pub(crate) fn named_logins(databases: &[Database]) -> Vec<User> {
    let mut users: Vec<User> = Vec::new();
    for database in databases {
        let own = database.user.clone().map(|name| (name, database.password.clone()));
        let endpoints = database
            .groups
            .iter()
            .flat_map(|group| &group.shards)
            .flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas));
        let in_urls = endpoints.filter_map(|at| Some((at.user.clone()?, at.password.clone())));
        for (name, password) in own.into_iter().chain(in_urls) {
            if !users.iter().any(|user| user.name == name) {
                users.push(User { name, password, limits: UserLimits::default() });
            }
        }
    }
    users
}

/// Whether there is anybody who could come in.
pub(crate) fn check_logins(
    context: &Context<'_>,
    server: &Server,
    users: &[User],
    databases: &[Database],
    at: At,
) {
    let by_name = match server.auth {
        AuthMethod::Trust | AuthMethod::Password | AuthMethod::Md5 | AuthMethod::Scram => true,
        AuthMethod::Any | AuthMethod::Cert | AuthMethod::Hba => false,
    };
    let looked_up = std::iter::once(&server.lookup).chain(databases.iter().map(|database| &database.lookup));
    let nobody = users.is_empty() && looked_up.into_iter().all(|lookup| lookup.auth_query.is_none());
    if by_name && nobody {
        let others = match server.auth {
            AuthMethod::Trust => "auth to any, which lets every name in",
            _ => "auth to trust, cert or hba",
        };
        let message = format!(
            "nobody could log in: auth = \"{}\" needs [[users]] or an \"auth_query\" (or set {others})",
            server.auth
        );
        context.report(at, message);
    }
}

/// Users are looked up on a database that there is.
pub(crate) fn check_dbnames(context: &Context<'_>, server: &Server, databases: &[Database], at: At) {
    let of_databases = databases
        .iter()
        .map(|database| (format!(" of database \"{}\"", database.name), &database.lookup.auth_dbname));
    let all = std::iter::once((String::new(), &server.lookup.auth_dbname)).chain(of_databases);
    for (whose, name) in all.filter_map(|(whose, name)| Some((whose, name.as_ref()?))) {
        let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
        if !names.contains(&name.as_str()) {
            let near = nearest(name, &names).map(|near| format!("; did you mean \"{near}\"?"));
            let near = near.unwrap_or_default();
            context.report(at, format!("auth_dbname = \"{name}\"{whose}: there is no such database{near}"));
        }
    }
}

/// Where the client's name does not count, each database has to say who its clients are.
pub(crate) fn check_any(context: &Context<'_>, server: &Server, databases: &[Database], at: At) {
    if server.auth != AuthMethod::Any {
        return;
    }
    for database in databases.iter().filter(|database| !database.has_login()) {
        let message = format!(
            "auth = \"any\" needs a login for every database: \"{}\" has no \"user\", and no user in its servers' URLs",
            database.name
        );
        context.report(at, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::model::AuthMethod;
    use crate::testing::{config_in, problems_in};

    fn file(auth: &str, more: &str, url: &str) -> String {
        format!(
            "server.auth = \"{auth}\"\n[[databases]]\nname = \"shop\"\n{more}[[databases.groups]]\nshard_count = 1\n\
             shards = [{{ ids = [0], primary = \"{url}\" }}]\n"
        )
    }

    #[test]
    fn under_trust_the_logins_of_databases_are_the_users_where_there_are_no_others() {
        let names = |text: &str| -> Vec<String> {
            config_in(&[], text).users.iter().map(|user| user.name.clone()).collect()
        };
        let both = file("trust", "user = \"own\"\npassword = \"x\"\n", "postgres://url:pw@h/d");
        assert_eq!(names(&both), ["own", "url"]);
        assert_eq!(names(&format!("{both}[[users]]\nname = \"listed\"\n")), ["listed"]);
    }

    #[test]
    fn under_trust_somebody_has_to_be_named() {
        assert_eq!(
            problems_in(&[], &file("trust", "", "postgres://h/d")),
            "t.toml:1:15: nobody could log in: auth = \"trust\" needs [[users]] or an \"auth_query\" (or set auth to any, \
             which lets every name in)"
        );
    }

    #[test]
    fn any_name_will_do_where_databases_have_logins() {
        for (more, url) in [("user = \"own\"\n", "postgres://h/d"), ("", "postgres://url@h/d")] {
            assert_eq!(config_in(&[], &file("any", more, url)).server.auth, AuthMethod::Any);
        }
        assert_eq!(
            problems_in(&[], &file("any", "", "postgres://h/d")),
            "t.toml:1:15: auth = \"any\" needs a login for every database: \"shop\" has no \"user\", and no user in its \
             servers' URLs"
        );
    }

    #[test]
    fn users_may_be_looked_up_for_one_database_otherwise_than_for_the_others() {
        let lookup = "auth_query = \"q\"\nauth_user = \"u\"\n";
        let config = config_in(&[], &file("md5", lookup, "postgres://h/d"));
        let own = config.databases[0].lookup.or(&config.server.lookup);
        assert_eq!(
            (own.auth_query.as_deref(), own.auth_user.as_deref(), own.auth_dbname),
            (Some("q"), Some("u"), None)
        );
        let elsewhere = file("md5", &format!("{lookup}auth_dbname = \"shopp\"\n"), "postgres://h/d");
        assert_eq!(
            problems_in(&[], &elsewhere),
            "t.toml:1:15: auth_dbname = \"shopp\" of database \"shop\": there is no such database; did you mean \"shop\"?"
        );
    }
}
