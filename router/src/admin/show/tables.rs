//! SHOW TABLES: what each table is, by the schema as last read.

use crate::admin::answer::{Row, row};
use crate::admin::gather::by_name;
use crate::proxy::Proxy;
use crate::schema::{GroupId, Kind, Table};
use std::sync::Arc;

pub(super) fn rows(proxy: &Proxy) -> Vec<Row> {
    let world = proxy.world();
    let mut rows = Vec::new();
    for database in by_name(&world) {
        let planning = database.planning();
        let mut tables: Vec<&Arc<Table>> = planning.schema.tables().collect();
        tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        for table in tables {
            let group = table.group().map(|GroupId(at)| database.groups[at].name.clone());
            let name = format!("{}.{}", table.schema, table.name);
            rows.push(row![name, kind(table), group, key(planning.schema.as_read(table))]);
        }
    }
    rows
}

fn kind(table: &Table) -> &'static str {
    match table.kind {
        Kind::Sharded { .. } => "sharded",
        Kind::Reference(_) => "reference",
        Kind::Local(_) => "local",
        Kind::View(_) => "view",
        Kind::Unlisted => "unlisted",
        Kind::Ambiguous => "ambiguous",
    }
}

fn key(table: &Table) -> Option<String> {
    match table.kind {
        Kind::Sharded { key, .. } => Some(table.columns[key].name.clone()),
        _ => None,
    }
}
