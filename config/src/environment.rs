//! A database from the environment: `DATABASE_URL`, and `DATABASE_SHARD_COUNT` when the URL has `{shard}`.

use crate::context::{At, Checked, Context, Reported, Text};
use crate::groups::{SHARD_COUNT, default_keys, default_name, shard_count_of};
use crate::model::{AuthLookup, Database, Endpoint, Group, Origin, ShardFunction, User};
use crate::overrides::{DatabaseLimits, UserLimits};
use crate::placement::{PLACEHOLDER, Placement};
use crate::shards;
use crate::url;

/// The environment variable that holds the servers' URL.
pub(crate) const URL: &str = "DATABASE_URL";

/// What a database is called when its servers' names have nothing but a number.
const FALLBACK_NAME: &str = "shardway";

/// A database, and the login that its URL gives.
pub(crate) struct Found {
    pub(crate) database: Database,
    pub(crate) user: Option<User>,
    pub(crate) has_password: bool,
}

/// The environment's database; `None` when it has none.
pub(crate) fn read(context: &Context<'_>) -> Option<Checked<Found>> {
    context.variable(URL).map(|url| found(context, url))
}

fn found(context: &Context<'_>, url: Text) -> Checked<Found> {
    let count = count(context, &url)?;
    let ids = (0..count).map(|id| (id, url.at)).collect();
    let template = url::dbname_template(&url.value);
    let placement = Placement { ids, primary: Ok(url), replicas: Vec::new() };
    let shards = shards::build(context, &[placement])?;
    // A count is at least 1, so there is a first shard, and all have its login.
    let first = shards.first().map(|shard| shard.primary.clone()).ok_or_else(|| missing(context))?;
    let name = template.map_or_else(|| first.dbname.clone(), |template| name(&template));
    let group = Group { name: default_name(), function: ShardFunction::Fnv1a, keys: default_keys(), shards };
    let database = Database {
        name,
        origin: Origin::Native,
        parameters: Vec::new(),
        user: None,
        password: None,
        lookup: AuthLookup::default(),
        limits: DatabaseLimits::default(),
        groups: vec![group],
        tables: Vec::new(),
    };
    Ok(Found { database, has_password: first.password.is_some(), user: user(first) })
}

/// Without `{shard}` there is one shard unless the environment says otherwise, which is then refused along
/// with the URL.
fn count(context: &Context<'_>, url: &Text) -> Checked<u32> {
    match shard_count_of(context)? {
        Some(count) => Ok(count),
        None if !url.value.contains(PLACEHOLDER) => Ok(1),
        None => {
            let message = format!("{SHARD_COUNT} must be set: the URL has {PLACEHOLDER}");
            Err(context.report(url.at, message))
        }
    }
}

/// Reports that there is no URL.
pub(crate) fn missing(context: &Context<'_>) -> Reported {
    let message =
        "is not set: it holds the servers' URL, such as postgres://app:password@host:5432/shop_{shard}";
    context.report(At::Variable(URL), message)
}

/// The servers' name without the shard's number and the separators at it: `shop_{shard}` is `shop`.
fn name(template: &str) -> String {
    let separator = ['_', '-', '.'];
    let parts: Vec<&str> = template.split(PLACEHOLDER).collect();
    let last = parts.len() - 1;
    let trimmed = parts.iter().enumerate().map(|(index, part)| {
        let part = if index > 0 { part.trim_start_matches(separator) } else { part };
        if index < last { part.trim_end_matches(separator) } else { part }
    });
    Some(trimmed.collect::<String>())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| FALLBACK_NAME.to_owned())
}

fn user(endpoint: Endpoint) -> Option<User> {
    let Endpoint { user, password, .. } = endpoint;
    Some(User { name: user?, password, limits: UserLimits::default() })
}

#[cfg(test)]
mod tests;
