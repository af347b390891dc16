//! SHOW: tables of what is, for people and dashboards.

use super::Table;
use crate::error::ClientError;
use crate::plan::locate::{Target, Values, locate};
use crate::plan::{Access, Plan};
use crate::plan_cache::SearchPath;
use crate::proxy::Proxy;
use crate::reply::oid::{INT8, TEXT};
use crate::schema::{GroupId, Kind, Schema};
use crate::sql::scan::Scan;
use shardway_pool::health::Role;
use std::sync::Arc;

type Row = Vec<Option<String>>;

fn text(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

/// SHOW `what`.
pub(super) fn show(proxy: &Proxy, what: &str) -> Result<Table, ClientError> {
    match what {
        "HELP" | "" => Ok(help()),
        "VERSION" => Ok(one_column("version", vec![format!("Shardway {}", env!("CARGO_PKG_VERSION"))])),
        "SHARDS" => Ok(shards(proxy)),
        "SERVERS" | "REPLICAS" => Ok(servers(proxy, what == "REPLICAS")),
        "TABLES" => Ok(tables(proxy)),
        "POOLS" => Ok(pools(proxy)),
        "DATABASES" => Ok(databases(proxy)),
        other => Err(ClientError::error("42601", format!("unknown: SHOW {other}"))
            .hint("Use SHOW HELP to see what there is.")),
    }
}

fn one_column(name: &'static str, values: Vec<String>) -> Table {
    Table { columns: vec![(name, TEXT)], rows: values.into_iter().map(|v| vec![Some(v)]).collect() }
}

fn help() -> Table {
    let lines = [
        "SHOW HELP | VERSION | DATABASES | POOLS | SERVERS | REPLICAS | SHARDS | TABLES",
        "SHOW ROUTE '<statement>'",
        "RELOAD",
    ];
    one_column("help", lines.map(str::to_owned).to_vec())
}

fn databases(proxy: &Proxy) -> Table {
    let world = proxy.world();
    let mut rows: Vec<Row> = Vec::new();
    for database in world.databases.values() {
        for (group, map) in database.groups.iter().zip(&database.maps) {
            let function = map.function().name();
            rows.push(vec![text(&database.name), text(&group.name), text(map.shard_count()), text(function)]);
        }
    }
    rows.sort();
    Table { columns: vec![("name", TEXT), ("group", TEXT), ("shard_count", INT8), ("function", TEXT)], rows }
}

fn shards(proxy: &Proxy) -> Table {
    let world = proxy.world();
    let mut rows = Vec::new();
    for database in world.databases.values() {
        for group in &database.groups {
            for (id, shard) in group.shards.iter().enumerate() {
                let primary = shard.primary();
                rows.push(vec![
                    text(&database.name),
                    text(&group.name),
                    text(id),
                    text(&primary.address),
                    text(if primary.health.is_up() { "up" } else { "down" }),
                    text(shard.servers.len() - 1),
                ]);
            }
        }
    }
    let columns = vec![
        ("database", TEXT),
        ("group", TEXT),
        ("shard", INT8),
        ("primary", TEXT),
        ("state", TEXT),
        ("replicas", INT8),
    ];
    Table { columns, rows }
}

fn servers(proxy: &Proxy, replicas_only: bool) -> Table {
    let world = proxy.world();
    let mut rows = Vec::new();
    for database in world.databases.values() {
        for group in &database.groups {
            for (id, shard) in group.shards.iter().enumerate() {
                for server in &shard.servers {
                    let role = match server.health.role() {
                        Role::Primary => "primary",
                        Role::Standby => "replica",
                        Role::Unknown => "unknown",
                    };
                    if replicas_only && Arc::ptr_eq(server, shard.primary()) {
                        continue;
                    }
                    rows.push(vec![
                        text(&database.name),
                        text(&group.name),
                        text(id),
                        text(&server.address),
                        text(role),
                        text(if server.health.is_up() { "up" } else { "down" }),
                        text(server.health.lsn()),
                        text(server.health.lag().as_millis()),
                        server.health.last_error(),
                    ]);
                }
            }
        }
    }
    let columns = vec![
        ("database", TEXT),
        ("group", TEXT),
        ("shard", INT8),
        ("server", TEXT),
        ("role", TEXT),
        ("state", TEXT),
        ("lsn", TEXT),
        ("lag_ms", INT8),
        ("error", TEXT),
    ];
    Table { columns, rows }
}

fn pools(proxy: &Proxy) -> Table {
    let world = proxy.world();
    let mut rows = Vec::new();
    for database in world.databases.values() {
        for shard in database.groups.iter().flat_map(|g| &g.shards) {
            for server in &shard.servers {
                for (user, pool) in server.pools() {
                    let stats = pool.stats();
                    rows.push(vec![
                        text(&database.name),
                        text(user),
                        text(&server.address),
                        text(stats.waiting),
                        text(stats.active),
                        text(stats.idle),
                        text(stats.connecting),
                        text(pool.limits().size),
                    ]);
                }
            }
        }
    }
    rows.sort();
    let columns = vec![
        ("database", TEXT),
        ("user", TEXT),
        ("server", TEXT),
        ("cl_waiting", INT8),
        ("sv_active", INT8),
        ("sv_idle", INT8),
        ("sv_login", INT8),
        ("pool_size", INT8),
    ];
    Table { columns, rows }
}

/// Tables by name, for SHOW TABLES.
fn sorted_tables(schema: &Schema) -> Vec<Arc<crate::schema::Table>> {
    let mut tables: Vec<_> = schema.tables().cloned().collect();
    tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    tables
}

fn tables(proxy: &Proxy) -> Table {
    let world = proxy.world();
    let mut rows = Vec::new();
    for database in world.databases.values() {
        for table in sorted_tables(&database.planning().schema) {
            let kind = match &table.kind {
                Kind::Sharded { .. } => "sharded",
                Kind::Reference(_) => "reference",
                Kind::Local(_) => "local",
                Kind::View(_) => "view",
                Kind::Unlisted => "unlisted",
                Kind::Ambiguous => "ambiguous",
            };
            let key = match &table.kind {
                Kind::Sharded { key, .. } => Some(table.columns[*key].name.clone()),
                _ => None,
            };
            let group = table.group().map(|GroupId(g)| database.groups[g].name.clone());
            rows.push(vec![text(format!("{}.{}", table.schema, table.name)), text(kind), group, key]);
        }
    }
    Table { columns: vec![("name", TEXT), ("kind", TEXT), ("group", TEXT), ("key", TEXT)], rows }
}

/// SHOW ROUTE: where a statement would go, without running it. With several databases, the first that knows its
/// tables answers.
pub(super) async fn route(proxy: &Proxy, statement: &str) -> Result<Table, ClientError> {
    let world = proxy.world();
    let mut names: Vec<_> = world.databases.keys().collect();
    names.sort();
    let mut rows = Vec::new();
    for name in names {
        let database = &world.databases[name];
        let mut scan = Scan::default();
        scan.run(statement)
            .map_err(|_| ClientError::error("42601", "unterminated quoted string or comment"))?;
        let planning = database.planning();
        let plan = planning.plan(statement, &mut scan, &SearchPath::of_user("public"));
        if plan.unknown.is_some() && world.databases.len() > 1 {
            continue;
        }
        let values = Values { text: statement, literals: &scan.literals, params: None, types: &[] };
        let target = locate(&plan.route, &database.maps, &values).map_err(ClientError::from)?;
        rows.push(route_row(&plan, &target, database));
        break;
    }
    let columns = vec![("tier", TEXT), ("group", TEXT), ("shards", TEXT), ("server_role", TEXT)];
    Ok(Table { columns, rows })
}

fn route_row(plan: &Plan, target: &Target, database: &crate::database::Database) -> Row {
    let all = |group: &GroupId| {
        let count = database.maps[group.0].shard_count();
        (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    };
    let (tier, group, shards) = match target {
        Target::One(place) => ("single", place.group, place.shard.to_string()),
        Target::Any(group) => ("single", *group, "any".to_owned()),
        Target::Several(group, shards) if shards.is_empty() => ("scatter", *group, all(group)),
        Target::Several(group, shards) => {
            ("scatter", *group, shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
        Target::Everywhere(group) => ("everywhere", *group, all(group)),
    };
    let role = if plan.access == Access::Read { "replica" } else { "primary" };
    vec![text(tier), text(&database.groups[group.0].name), text(shards), text(role)]
}
