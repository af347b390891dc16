//! The tables that statements are made over: sharded ones by keys of several types, some of which live together,
//! reference and local ones, names that need quotes or are words of SQL, one in partitions, and views over them.

use super::kinds::{KINDS, TYPES};
use super::relations;
use super::types::{ALL, T};
use shardway_shardmap::fnv1a64;

/// What holds the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sharded,
    Reference,
    Local,
    /// Not one shard's, nor all of theirs together.
    Whole,
}

/// A table as statements see it.
pub struct Table {
    /// As SQL writes it.
    pub name: &'static str,
    pub kind: Kind,
    /// The column that tells its rows apart, if there is one.
    pub unique: Option<&'static str>,
    /// Columns and their types. The first of a sharded table is its key.
    pub columns: Vec<(&'static str, T)>,
}

/// Names of tables, whose first column is the sharding key where there is one.
pub fn tables() -> Vec<Table> {
    use Kind::{Local, Reference, Sharded};
    use T::*;
    let mut thing = vec![("user_id", Int), ("id", Int)];
    thing.extend(ALL.iter().map(|(name, of, _)| (*name, *of)));
    let mut kind = vec![("user_id", Int), ("id", Int)];
    kind.extend(
        KINDS.iter().enumerate().map(|(n, kind)| (kind.column, Other(u8::try_from(n).expect("few kinds")))),
    );
    let table = |name, kind, columns| Table { name, kind, unique: Some("id"), columns };
    let mut all = vec![
        table("thing", Sharded, thing),
        table(
            "item",
            Sharded,
            vec![
                ("user_id", Big),
                ("id", Int),
                ("thing_id", Int),
                ("qty", Int),
                ("note", Text),
                ("made", Tz),
                ("price", Num),
            ],
        ),
        table(
            "\"Odd\"",
            Sharded,
            vec![
                ("\"Owner Id\"", TextC),
                ("id", Int),
                ("\"limit\"", Int),
                ("\"from\"", Int),
                ("\"order\"", Text),
                ("count", Int),
                ("max", TextC),
                ("\"a b\"", Num),
                ("\"q\"\"q\"", Bool),
                ("value", Small),
            ],
        ),
        table("nothing", Sharded, vec![("user_id", Int), ("id", Int), ("n", Int), ("t", Text), ("num", Num)]),
        table("ledger", Sharded, vec![("user_id", Int), ("id", Int), ("day", Date), ("amount", Price)]),
        table("label", Reference, vec![("id", Int), ("label", Text), ("e", Mood), ("parent", Int)]),
        table("spot", Reference, vec![("id", Int), ("name", TextC), ("day", Date), ("user_id", Int)]),
        table("here", Local, vec![("id", Int), ("n", Int), ("t", Text)]),
        table("kind", Sharded, kind),
    ];
    all.extend(relations::tables());
    all
}

/// CREATE statements, the same for every database.
pub fn definitions() -> String {
    let columns: Vec<String> = ALL.iter().map(|(name, _, sql)| format!("{name} {sql}")).collect();
    let kinds: Vec<String> = KINDS.iter().map(|kind| format!("{} {}", kind.column, kind.sql)).collect();
    format!(
        r#"CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (x int, y text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
{TYPES}CREATE FUNCTION twice(int8) RETURNS int8 LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE TABLE thing (user_id int, id int, {}, PRIMARY KEY (user_id, id));
CREATE TABLE item (user_id int8, id int, thing_id int, qty int, note text, made timestamptz, price numeric);
CREATE INDEX ON item (user_id, qty);
CREATE TABLE "Odd" ("Owner Id" text NOT NULL, id int, "limit" int, "from" int, "order" text, count int,
    max text COLLATE "C", "a b" numeric, "q""q" bool, value int2, PRIMARY KEY ("Owner Id", id));
CREATE TABLE nothing (user_id int, id int, n int, t text, num numeric);
CREATE TABLE ledger (user_id int, id int, day date, amount numeric(12,2)) PARTITION BY RANGE (day);
CREATE TABLE ledger_old PARTITION OF ledger FOR VALUES FROM (MINVALUE) TO ('2000-01-01');
CREATE TABLE ledger_new PARTITION OF ledger DEFAULT;
CREATE TABLE label (id int PRIMARY KEY, label text, e mood, parent int);
CREATE TABLE spot (id int PRIMARY KEY, name text COLLATE "C", day date, user_id int);
CREATE TABLE here (id int, n int, t text);
CREATE TABLE kind (user_id int, id int, {});
"#,
        columns.join(", "),
        kinds.join(", ")
    )
}

/// Rows of the reference tables, and of the local one.
const REFERENCE: &str = "INSERT INTO label VALUES (1, 'one', 'sad', NULL), (2, 'Two', 'ok', 1), (3, 'three', 'happy', 1),
    (4, 'four', NULL, 2), (5, NULL, 'ok', 4), (6, 'Äpfel', 'sad', 9);
INSERT INTO spot VALUES (1, 'here', '2020-01-01', 3), (2, 'there', NULL, 5), (3, 'There', '1969-07-20', NULL), (4, '', 'infinity', 5);\n";
const LOCAL: &str = "INSERT INTO here VALUES (1, 10, 'x'), (2, NULL, 'y'), (3, 30, NULL), (7, 3, 'apple');\n";

/// A row of a sharded table: its key, and the INSERT.
type Row = (String, String);

/// What each shard of so many holds, as SQL.
pub fn shard_rows(shards: u64) -> Vec<String> {
    let mut all = vec![REFERENCE.to_owned(); usize::try_from(shards).expect("few shards")];
    all[0].push_str(LOCAL);
    for (key, insert) in rows() {
        let shard = fnv1a64(key.as_bytes()) % shards;
        all[usize::try_from(shard).expect("few shards")].push_str(&insert);
    }
    all
}

/// What one database holds, as SQL.
pub fn all_rows() -> String {
    let rows: String = rows().into_iter().map(|(_, insert)| insert).collect();
    format!("{REFERENCE}{LOCAL}{rows}")
}

fn rows() -> Vec<Row> {
    let mut all = Vec::new();
    let texts = T::Text.values();
    let nums = T::Num.values();
    for i in 0..48usize {
        let user = i / 2 + 1;
        let columns: Vec<String> = (ALL.iter().enumerate())
            .map(|(step, (_, of, _))| {
                let values = of.values();
                literal((i * 7 + i / 5 + step * 3) % (values.len() + 1), values)
            })
            .collect();
        all.push((
            user.to_string(),
            format!("INSERT INTO thing VALUES ({user}, {i}, {});\n", columns.join(", ")),
        ));
    }
    for i in 0..60usize {
        let (user, thing, qty) = (i * 5 % 27 + 1, i * 11 % 52, i % 7);
        let qty = if qty == 6 { "NULL".to_owned() } else { qty.to_string() };
        let note = literal(i % (texts.len() + 1), texts);
        let made = literal(i % 6, T::Tz.values());
        let price = literal(i * 3 % (nums.len() + 1), nums);
        let insert = format!(
            "INSERT INTO item VALUES ({user}, {}, {thing}, {qty}, {note}, {made}, {price});\n",
            100 + i
        );
        all.push((user.to_string(), insert));
    }
    for i in 0..30usize {
        let owner = ["ann", "Bob", "çan", "7", "x y", "3", "o''c"][i % 7];
        let (order, max) = (literal(i % 12, texts), literal(i * 5 % 12, texts));
        let (num, truth) = (literal(i * 3 % 12, nums), ["true", "false", "NULL"][i % 3]);
        let from = if i % 5 == 0 { "NULL".to_owned() } else { (i % 9).to_string() };
        let insert = format!(
            "INSERT INTO \"Odd\" VALUES ('{owner}', {i}, {}, {from}, {order}, {}, {max}, {num}, {truth}, {});\n",
            i % 4,
            i * 7 % 10,
            i % 3
        );
        all.push((owner.replace("''", "'"), insert));
    }
    for i in 0..24usize {
        let (user, day) = (i * 3 % 20 + 1, literal(i % 7, T::Date.values()));
        let amount = literal(i % 7, T::Price.values());
        all.push((user.to_string(), format!("INSERT INTO ledger VALUES ({user}, {i}, {day}, {amount});\n")));
    }
    for i in 0..36usize {
        let user = i * 7 % 23 + 1;
        let values: Vec<String> = (KINDS.iter().enumerate())
            .map(|(step, kind)| literal((i * 5 + i / 7 + step * 3) % (kind.values.len() + 1), kind.values))
            .collect();
        let insert = format!("INSERT INTO kind VALUES ({user}, {i}, {});\n", values.join(", "));
        all.push((user.to_string(), insert));
    }
    all
}

fn literal(at: usize, values: &[&str]) -> String {
    values.get(at).map_or("NULL".to_owned(), |value| format!("'{}'", value.replace('\'', "''")))
}
