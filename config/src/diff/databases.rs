//! What changed in a database: its login, its groups with their shards, its tables.

use super::{Changes, compare, overrides};
use crate::model::{AuthLookup, Database, Endpoint, Group, Shard, Table, TableKind};
use crate::show::Show;

pub(super) fn diff(changes: &mut Changes, path: &str, old: &Database, new: &Database) {
    compare!(
        changes,
        path,
        Database,
        old,
        new,
        [user],
        [name, origin, parameters, password, lookup, limits, groups, tables]
    );
    changes.secret(path, "password", &old.password, &new.password);
    let parameters = |database: &Database| -> Vec<String> {
        database.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    changes.value(path, "parameters", &parameters(old), &parameters(new));
    diff_lookup(changes, path, &old.lookup, &new.lookup);
    overrides::of_database(changes, path, &old.limits, &new.limits);
    diff_order(changes, path, old, new);
    let groups = format!("{path}.groups");
    changes.named(&groups, &old.groups, &new.groups, |group| group.name.clone(), diff_group);
    let kind = |database: &Database, table: &Table| show_kind(database, &table.kind);
    changes.named(
        &format!("{path}.tables"),
        &old.tables,
        &new.tables,
        |table| table.name.show(),
        |changes, path, was, is| {
            compare!(changes, path, Table, was, is, [], [name, kind]);
            changes.value(path, "kind", &kind(old, was), &kind(new, is));
        },
    );
}

pub(super) fn diff_lookup(changes: &mut Changes, path: &str, old: &AuthLookup, new: &AuthLookup) {
    compare!(changes, path, AuthLookup, old, new, [auth_query, auth_user, auth_dbname], []);
}

/// The first group is the default, and the first whose key column a table has wins: groups that stay but
/// change places are a change.
fn diff_order(changes: &mut Changes, path: &str, old: &Database, new: &Database) {
    let shared = |of: &Database, with: &Database| -> Vec<String> {
        let kept = of.groups.iter().filter(|group| with.groups.iter().any(|other| other.name == group.name));
        kept.map(|group| group.name.clone()).collect()
    };
    changes.value(path, "groups", &shared(old, new), &shared(new, old));
}

/// A kind with its group's name: indices move when groups come and go.
fn show_kind(database: &Database, kind: &TableKind) -> String {
    let name = |group: usize| database.groups.get(group).map_or("?", |group| group.name.as_str());
    match kind {
        TableKind::Sharded { group, key: Some(key) } => format!("sharded by {key} in {}", name(*group)),
        TableKind::Sharded { group, key: None } => format!("sharded in {}", name(*group)),
        TableKind::Reference { group } => format!("reference in {}", name(*group)),
        TableKind::Local { group, shard } => format!("local on shard {shard} of {}", name(*group)),
    }
}

fn diff_group(changes: &mut Changes, path: &str, old: &Group, new: &Group) {
    compare!(changes, path, Group, old, new, [function, keys], [name, shards]);
    changes.value(path, "shard_count", &old.shards.len(), &new.shards.len());
    for (id, (was, is)) in old.shards.iter().zip(&new.shards).enumerate() {
        diff_shard(changes, &format!("{path}.shards.{id}"), was, is);
    }
}

fn diff_shard(changes: &mut Changes, path: &str, old: &Shard, new: &Shard) {
    compare!(changes, path, Shard, old, new, [], [primary, replicas]);
    changes.value(path, "primary", &old.primary.show(), &new.primary.show());
    changes.secret(path, "primary.password", &old.primary.password, &new.primary.password);
    changes.value(path, "replicas", &shown(&old.replicas), &shown(&new.replicas));
    // Passwords of replicas that came or went are no news of their own.
    if shown(&old.replicas) == shown(&new.replicas) {
        changes.secret(path, "replicas.password", &old.replicas, &new.replicas);
    }
}

/// Endpoints differ by their passwords too, which [`Show`] leaves out.
fn shown(endpoints: &[Endpoint]) -> Vec<String> {
    endpoints.iter().map(Show::show).collect()
}
