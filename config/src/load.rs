//! From a source to a configuration: parse, read every section, then check what only the whole can tell.

use toml::de::DeTable;

use crate::auth::{check_any, check_dbnames, check_logins, named_logins};
use crate::context::{At, Checked, Context};
use crate::env::Env;
use crate::environment;
use crate::lines::Lines;
use crate::model::{AuthMethod, Config, TlsMode, User};
use crate::problems::{Place, Problem, Problems};
use crate::section::Section;
use crate::source::{Document, Source};
use crate::{cache, databases, pgbouncer, pool, routing, server, users};

/// Reads a configuration and makes it valid.
///
/// # Errors
/// Everything that is wrong, sorted by place. A file that cannot be read, or is not TOML, is one problem
/// alone, since what else is wrong cannot be known.
pub fn load(source: &Source, env: &dyn Env) -> Result<Config, Problems> {
    if let Source::Pgbouncer(path) = source {
        return pgbouncer::load(path);
    }
    let document = source.read()?;
    let table = DeTable::parse(&document.text).map_err(|error| syntax(&document, &error))?;
    let context = Context::new(&document, env);
    let config = config(&context, table.get_ref(), *source == Source::Environment);
    context.conclude(config)
}

fn syntax(document: &Document, error: &toml::de::Error) -> Problem {
    let offset = error.span().map_or(0, |span| span.start);
    let (line, column) = Lines::new(&document.text).position(offset);
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    Problem { place: Place::Spot { file: document.name.clone(), line, column }, message }
}

/// The configuration, as far as nothing is reported.
fn config<'a>(context: &'a Context<'a>, table: &'a DeTable<'a>, environment_alone: bool) -> Config {
    let origin = if environment_alone { At::Variable(environment::URL) } else { At::Offset(0) };
    let mut root = Section::root(context, table, origin);
    let (server, auth_at) = server::read(root.table("server"));
    let mut config = Config {
        server,
        pool: pool::read(root.table("pool")),
        routing: routing::read(root.table("routing")),
        cache: cache::read(root.table("cache")),
        users: users::read(&mut root),
        databases: Vec::new(),
        fallback: None,
        pgbouncer: None,
    };
    let databases = match databases::read(&mut root) {
        Some(databases) => {
            config.databases = databases;
            Ok(())
        }
        None => fill(context, &mut config, environment_alone, root.at_key("databases")),
    };
    check_urls(context, &config, root.at_key("databases"));
    if let (Ok(()), Ok(auth_at)) = (databases, auth_at) {
        // Users that are wrong are users still, and what is wrong with them is reported.
        if !root.has("users") {
            if config.server.auth == AuthMethod::Trust && config.users.is_empty() {
                config.users = named_logins(&config.databases);
            }
            check_logins(context, &config.server, &config.users, &config.databases, auth_at);
        }
        if !environment_alone {
            check_any(context, &config.server, &config.databases, auth_at);
        }
        check_dbnames(context, &config.server, &config.databases, auth_at);
    }
    root.finish();
    config
}

/// What URLs ask of `[pool]`.
fn check_urls(context: &Context<'_>, config: &Config, at: At) {
    let shards =
        config.databases.iter().flat_map(|database| &database.groups).flat_map(|group| &group.shards);
    let endpoints = shards.flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas));
    let verifies = |mode: &TlsMode| matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
    for endpoint in endpoints.filter(|_| config.pool.server_tls_ca.is_none()) {
        if let Some(mode) = endpoint.sslmode.filter(verifies) {
            let message = format!("sslmode={mode} of {endpoint} needs \"server_tls_ca\" in [pool]");
            context.report(at, message);
        }
    }
}

/// Takes the database from the environment.
fn fill(context: &Context<'_>, config: &mut Config, environment_alone: bool, at: At) -> Checked<()> {
    let found = match environment::read(context) {
        Some(found) => found?,
        None if environment_alone => return Err(environment::missing(context)),
        None => {
            let message =
                format!("there is no [[databases]] (and no {} in the environment)", environment::URL);
            return Err(context.report(at, message));
        }
    };
    // Where there is a file, its word on who may come in stands, its silence included.
    if environment_alone && !found.has_password {
        // Without a name either, clients keep theirs, and the servers, which get no password, say who may come.
        config.server.auth = if found.user.is_some() { AuthMethod::Trust } else { AuthMethod::Any };
    }
    let known = |user: &User| config.users.iter().any(|other| other.name == user.name);
    let user = found.user.filter(|user| !known(user));
    config.users.extend(user);
    config.databases.push(found.database);
    Ok(())
}
