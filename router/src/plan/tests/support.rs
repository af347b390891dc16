//! A small schema, and a statement's route in a word or two.

use crate::plan::locate::{Params, Target, Values, locate};
use crate::plan::{Across, Plan, build};
use crate::schema::{Functions, GroupId, Kind, Schema, ShardRef, Table};
use crate::sql::scan::Scan;
use shardway_pool::catalog::{Column, Function};
use shardway_shardmap::{CanonicalKey, Function as MapFunction, KeyType, ShardId, ShardMap};
use std::sync::LazyLock;

/// Shards of the main group; a prime, so that keys seldom meet by chance.
pub const SHARDS: u32 = 97;

pub static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let functions = [
        ("count", false, false, false),
        ("max", false, false, false),
        ("min", false, false, false),
        ("sum", false, false, false),
        ("avg", false, false, false),
        ("bool_or", false, false, false),
        ("my_sum", false, false, false),
        ("unnest", false, false, false),
        ("generate_series", false, false, false),
        ("rank", false, false, false),
        ("lower", true, false, false),
        ("abs", true, false, false),
        ("random", true, true, false),
        ("nextval", true, true, false),
        ("pg_advisory_xact_lock", true, true, false),
        ("set_config", true, true, false),
        ("spent", true, true, true),
    ];
    let mut known = Functions::default();
    for (name, scalar, volatile, reads_tables) in functions {
        let overloaded = matches!(name, "my_sum" | "spent");
        let leaves_state = name == "spent";
        known.add(&Function { name: name.into(), scalar, volatile, reads_tables, overloaded, leaves_state });
    }
    Schema::of(tables(), known, vec![SHARDS, 2])
});

fn tables() -> Vec<Table> {
    let main = GroupId(0);
    let sharded = |name, columns: Vec<Column>, key_type| {
        table("public", name, columns, Kind::Sharded { group: main, key: 0, key_type })
    };
    vec![
        sharded("users", columns(&["user_id int4", "name text", "score numeric", "age int4"]), KeyType::Int4),
        sharded("orders", columns(&["user_id int8", "id int4", "note text"]), KeyType::Int8),
        sharded("Config", columns(&["configurationId text", "userId int4"]), KeyType::Text),
        sharded("docs", columns(&["doc uuid", "title c_text", "at timestamptz"]), KeyType::Uuid),
        sharded("serials", columns(&["user_id int4", "n int4 serial", "x text"]), KeyType::Int4),
        sharded("defaulted", columns(&["user_id int4 default", "x text"]), KeyType::Int4),
        table(
            "other",
            "users",
            columns(&["user_id int4", "name text"]),
            Kind::Sharded { group: main, key: 0, key_type: KeyType::Int4 },
        ),
        table(
            "public",
            "pg_orders",
            columns(&["user_id int4"]),
            Kind::Sharded { group: main, key: 0, key_type: KeyType::Int4 },
        ),
        table(
            "public",
            "ref",
            columns(&["id int4", "user_id int4", "label text", "ci folded"]),
            Kind::Reference(main),
        ),
        table(
            "public",
            "log",
            columns(&["id int4"]),
            Kind::Local(ShardRef { group: main, shard: ShardId(3) }),
        ),
        table("public", "v", columns(&["user_id int4"]), Kind::View(main)),
        table(
            "public",
            "jobs",
            columns(&["job_id int4"]),
            Kind::Sharded { group: GroupId(1), key: 0, key_type: KeyType::Int4 },
        ),
    ]
}

fn table(schema: &str, name: &str, columns: Vec<Column>, kind: Kind) -> Table {
    Table {
        schema: schema.into(),
        name: name.into(),
        kind,
        columns,
        has_triggers: false,
        cascades: false,
        has_row_security: false,
        triggers_act: false,
        uniques: Vec::new(),
        family: None,
        side_effects: crate::schema::effects::SideEffects::default(),
        of_view: None,
    }
}

/// `name type [serial|default]`; `c_text` is text under C, `folded` text under a nondeterministic collation.
fn columns(list: &[&str]) -> Vec<Column> {
    list.iter().map(|item| column(item)).collect()
}

fn column(item: &str) -> Column {
    let words: Vec<&str> = item.split(' ').collect();
    let (type_name, type_oid) = match words[1] {
        "int4" => ("int4", 23),
        "int8" => ("int8", 20),
        "numeric" => ("numeric", 1700),
        "uuid" => ("uuid", 2950),
        "timestamptz" => ("timestamptz", 1184),
        _ => ("text", 25),
    };
    Column {
        name: words[0].into(),
        type_name: type_name.into(),
        type_oid,
        type_kind: 'b',
        typmod: -1,
        byte_order: words[1] != "text",
        nondeterministic: words[1] == "folded",
        has_default: words.len() > 2,
        default: None,
        from_sequence: words.get(2) == Some(&"serial"),
        generated: false,
    }
}

pub fn scan(sql: &str) -> Scan {
    let mut scan = Scan::default();
    scan.run(sql).unwrap();
    scan
}

/// The plan of a statement by itself, under the search path `public`.
pub fn plan(sql: &str) -> Plan {
    plan_with(sql, &["public"])
}

pub fn plan_with(sql: &str, path: &[&str]) -> Plan {
    let path: Vec<String> = path.iter().map(|s| (*s).to_owned()).collect();
    build::plan(&SCHEMA, &path, sql, &scan(sql))
}

fn maps() -> Vec<ShardMap> {
    [SHARDS, 2].map(|count| ShardMap::new(MapFunction::Fnv1a, count).unwrap()).to_vec()
}

/// Bind's part behind the names: parameters in text.
fn bind(params: &[Option<&str>]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend((params.len() as u16).to_be_bytes());
    for param in params {
        match param {
            None => body.extend((-1i32).to_be_bytes()),
            Some(text) => {
                body.extend((text.len() as i32).to_be_bytes());
                body.extend(text.as_bytes());
            }
        }
    }
    body.extend([0, 0]);
    body
}

/// Where a statement goes: `shard n`, `any`, `all`, `shards n m`, `gather`, `everywhere`, or `CODE: message`.
pub fn route(sql: &str) -> String {
    route_of(sql, &plan(sql), &[])
}

/// As [`route`], with parameters in text.
pub fn route_with(sql: &str, params: &[Option<&str>]) -> String {
    route_of(sql, &plan(sql), params)
}

pub fn route_of(sql: &str, plan: &Plan, params: &[Option<&str>]) -> String {
    if let Some(unknown) = &plan.unknown {
        return format!("unknown {unknown}");
    }
    let body = bind(params);
    let scan = scan(sql);
    let values = Values { text: sql, literals: &scan.literals, params: Params::parse(&body), types: &[] };
    match locate(&plan.route, &maps(), &values) {
        Ok(Target::Any(GroupId(0))) => "any".into(),
        Ok(Target::Any(GroupId(group))) => format!("any of group {group}"),
        Ok(Target::One(place)) if place.group == GroupId(0) => format!("shard {}", place.shard),
        Ok(Target::One(place)) => format!("shard {} of group {}", place.shard, place.group.0),
        Ok(Target::Several(..)) if matches!(plan.across(), Some(Across::Gather(_))) => "gather".into(),
        Ok(Target::Several(_, shards)) if shards.is_empty() => "all".into(),
        Ok(Target::Several(_, shards)) => {
            shards.iter().fold("shards".into(), |text, shard| format!("{text} {shard}"))
        }
        Ok(Target::Everywhere(_)) => "everywhere".into(),
        Err(refusal) => format!("{}: {}", refusal.code, refusal.message),
    }
}

/// `shard n` of a key of the main group.
pub fn home(key: &str) -> String {
    format!("shard {}", shard_of(key))
}

/// `shards n m` of several keys.
pub fn homes(keys: &[&str]) -> String {
    let mut shards: Vec<u32> = keys.iter().map(|key| shard_of(key)).collect();
    shards.sort_unstable();
    shards.dedup();
    assert!(shards.len() > 1, "these keys meet by chance: choose others");
    shards.iter().fold("shards".into(), |text, shard| format!("{text} {shard}"))
}

fn shard_of(key: &str) -> u32 {
    maps()[0].locate(&CanonicalKey::Text(key.into())).unwrap().0
}

/// Asserts that each statement is refused as not supported.
#[track_caller]
pub fn assert_refused(statements: &[&str]) {
    for sql in statements {
        let route = route(sql);
        assert!(route.starts_with("0A000: "), "{sql}\n  goes to {route}");
    }
}

/// Asserts that each statement goes to one place.
#[track_caller]
pub fn assert_all(statements: &[&str], expected: &str) {
    for sql in statements {
        assert_eq!(route(sql), expected, "{sql}");
    }
}
