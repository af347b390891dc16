//! What the benchmarks share: a schema of two sharded tables, its map, and messages as clients and servers send them.

use shardway_config::{AuthLookup, Database, DatabaseLimits, Group, Origin, ShardFunction, UnlistedTables};
use shardway_pool::buffer::Buffer;
use shardway_pool::catalog::{Catalog, Column, Relation};
use shardway_pool::frame;
use shardway_router::schema::Schema;
use shardway_shardmap::{Function, ShardMap};

/// Shards of the one group.
pub const SHARDS: u32 = 4;

/// The lookup that pgbench's read-only script sends.
pub const LOOKUP: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;";

/// The same, prepared.
pub const PREPARED_LOOKUP: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = $1;";

/// A map per group.
pub fn maps() -> Vec<ShardMap> {
    vec![ShardMap::new(Function::Fnv1a, SHARDS).expect("four shards make a map")]
}

/// `pgbench_accounts` by `aid` and `orders` by `user_id`, lowered as from a catalog.
pub fn schema() -> Schema {
    let group = Group {
        name: "main".into(),
        function: ShardFunction::Fnv1a,
        keys: vec!["aid".into(), "user_id".into()],
        // Servers are not asked for here.
        shards: Vec::new(),
    };
    let database = Database {
        name: "bench".into(),
        origin: Origin::Native,
        parameters: Vec::new(),
        user: None,
        password: None,
        lookup: AuthLookup::default(),
        limits: DatabaseLimits::default(),
        groups: vec![group],
        tables: Vec::new(),
    };
    let catalog = Catalog { relations: vec![accounts(), orders()], ..Catalog::default() };
    let (schema, problems) = Schema::lower(&database, UnlistedTables::Reference, &maps(), &[catalog]);
    assert_eq!(problems, [], "both tables can be sharded");
    schema
}

fn accounts() -> Relation {
    let columns =
        [("aid", "int4", 23), ("bid", "int4", 23), ("abalance", "int4", 23), ("filler", "bpchar", 1042)];
    relation("pgbench_accounts", &columns)
}

fn orders() -> Relation {
    let columns = [
        ("user_id", "int8", 20),
        ("id", "int8", 20),
        ("status", "text", 25),
        ("total", "numeric", 1700),
        ("note", "text", 25),
        ("created_at", "timestamptz", 1184),
    ];
    relation("orders", &columns)
}

fn relation(name: &str, columns: &[(&str, &str, u32)]) -> Relation {
    Relation {
        schema: "public".into(),
        name: name.into(),
        kind: 'r',
        columns: columns.iter().map(|&(name, type_name, oid)| column(name, type_name, oid)).collect(),
        has_triggers: false,
        cascades_to: Vec::new(),
        parents: Vec::new(),
        has_row_security: false,
        triggers_act: false,
        uniques: Vec::new(),
    }
}

fn column(name: &str, type_name: &str, type_oid: u32) -> Column {
    Column {
        name: name.into(),
        type_name: type_name.into(),
        type_oid,
        type_kind: 'b',
        typmod: -1,
        byte_order: true,
        nondeterministic: false,
        has_default: false,
        default: None,
        from_sequence: false,
        generated: false,
    }
}

/// A DataRow's body.
pub fn row(columns: &[&[u8]]) -> Vec<u8> {
    let mut body = (columns.len() as u16).to_be_bytes().to_vec();
    for column in columns {
        body.extend((column.len() as u32).to_be_bytes());
        body.extend_from_slice(column);
    }
    body
}

/// One message.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Buffer::default();
    frame::put(&mut out, tag, body);
    out.filled().to_vec()
}

/// What follows the names in a Bind of one parameter; results as text.
pub fn bound(binary: bool, value: &[u8]) -> Vec<u8> {
    let formats: &[u8] = if binary { &[0, 1, 0, 1] } else { &[0, 0] };
    let length = (value.len() as u32).to_be_bytes();
    [formats, &[0, 1], &length, value, &[0, 0]].concat()
}
