//! Queries of every form made up at random: joins of all kinds, subqueries in every place, windows, set operations,
//! common table expressions, HAVING. Each is answered as one Postgres answers it.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::world::{Pair, SALES_WORLD, Way, asked, comparable};

/// Statements to make up; `SHARDWAY_STATEMENTS` says otherwise.
const STATEMENTS: usize = 400;

/// A table's integer columns, its other ones, and whether it is large.
struct Table {
    name: &'static str,
    numbers: &'static [&'static str],
    others: &'static [&'static str],
}

const TABLES: [Table; 5] = [
    Table {
        name: "sale",
        numbers: &["user_id", "id", "s"],
        others: &["t", "c", "v", "b", "d", "e", "price", "ts", "u"],
    },
    Table { name: "item", numbers: &["user_id", "sale_id", "qty"], others: &["note"] },
    Table { name: "label", numbers: &["id"], others: &["label"] },
    Table { name: "nothing", numbers: &["user_id", "n"], others: &["t", "num"] },
    Table { name: "public.item", numbers: &["user_id", "sale_id", "qty"], others: &["note"] },
];

/// What a column reference may be made of: an alias and its table.
type Names = Vec<(String, &'static Table)>;

struct Maker {
    rng: StdRng,
    aliases: usize,
}

impl Maker {
    fn one<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.choose(&mut self.rng).copied().unwrap_or_default()
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("x{}", self.aliases)
    }

    fn table(&mut self) -> &'static Table {
        let weights = [0, 0, 0, 1, 1, 2, 3, 4];
        &TABLES[*weights.choose(&mut self.rng).unwrap_or(&0)]
    }

    fn number(&mut self, names: &Names) -> String {
        let (alias, table) = names.choose(&mut self.rng).cloned().unwrap();
        format!("{alias}.{}", self.one(table.numbers))
    }

    fn column(&mut self, names: &Names) -> String {
        let (alias, table) = names.choose(&mut self.rng).cloned().unwrap();
        let of = if self.chance(0.5) { table.numbers } else { table.others };
        format!("{alias}.{}", self.one(of))
    }

    fn expression(&mut self, names: &Names, depth: usize) -> String {
        match self.rng.random_range(0..12) {
            0..=5 => self.column(names),
            6 => format!("{} + {}", self.number(names), self.rng.random_range(1..5)),
            7 => format!("coalesce({}, -1)", self.number(names)),
            8 => format!("CASE WHEN {} THEN 'yes' ELSE 'no' END", self.condition(names, 0)),
            9 => format!("{} % 3 = 1", self.number(names)),
            _ if depth > 0 => {
                let (inner, from, condition) = self.inner(names, depth - 1);
                let aggregate = self.aggregate(&inner);
                format!("(SELECT {aggregate} FROM {from} WHERE {condition})")
            }
            _ => self.number(names),
        }
    }

    /// FROM of a subquery and a condition that may name what is around it.
    fn inner(&mut self, outer: &Names, depth: usize) -> (Names, String, String) {
        let (names, from) = self.relation();
        let mut condition = self.condition(&names, depth);
        if self.chance(0.7) && !outer.is_empty() {
            condition = format!("{} = {} AND ({condition})", self.number(&names), self.number(outer));
        }
        (names, from, condition)
    }

    fn aggregate(&mut self, names: &Names) -> String {
        let call = match self.rng.random_range(0..9) {
            0 => "count(*)".to_owned(),
            1 => format!("count({})", self.column(names)),
            2 => format!("count(DISTINCT {})", self.column(names)),
            3 => format!("sum({})", self.number(names)),
            4 => format!("avg({})", self.number(names)),
            5 => format!("max({})", self.number(names)),
            6 => format!("min({}::text)", self.column(names)),
            7 => format!("bool_or({} > 2)", self.number(names)),
            _ => {
                let column = self.column(names);
                format!("string_agg({column}::text, ',' ORDER BY {column}::text)")
            }
        };
        match self.rng.random_range(0..6) {
            0 => format!("{call} FILTER (WHERE {})", self.condition(names, 0)),
            1 => format!("coalesce({call}::text, 'none')"),
            _ => call,
        }
    }

    fn condition(&mut self, names: &Names, depth: usize) -> String {
        let column = self.number(names);
        match self.rng.random_range(0..16) {
            0 => format!("{column} > {}", self.rng.random_range(-3..60)),
            1 => format!("{column} IN (1, 2, 3, 7, {})", self.rng.random_range(0..80)),
            2 => format!("{column} BETWEEN {} AND 40", self.rng.random_range(-3..30)),
            3 => format!("{} IS NULL", self.column(names)),
            4 => format!("{} IS NOT NULL", self.column(names)),
            5 => format!("{column} = {}", self.number(names)),
            6 => format!("NOT ({})", self.condition(names, depth)),
            7 => format!("({} OR {})", self.condition(names, depth), self.condition(names, depth)),
            8 => format!("({} AND {})", self.condition(names, depth), self.condition(names, depth)),
            9 => format!("{}::text LIKE '%{}%'", self.column(names), self.rng.random_range(0..9)),
            10 => format!("{column} = ANY ('{{1,2,3,{}}}')", self.rng.random_range(4..80)),
            _ if depth == 0 => format!("{column} <> {}", self.rng.random_range(0..9)),
            11 | 12 => {
                let (_, from, condition) = self.inner(names, depth - 1);
                let not = self.one(&["", "NOT "]);
                let selected = self.one(&["*", "1", ""]);
                format!("{not}EXISTS (SELECT {selected} FROM {from} WHERE {condition})")
            }
            13 | 14 => {
                let (inner, from, condition) = self.inner(names, depth - 1);
                let not = self.one(&["", "NOT "]);
                format!("{column} {not}IN (SELECT {} FROM {from} WHERE {condition})", self.number(&inner))
            }
            _ => {
                let (inner, from, condition) = self.inner(names, depth - 1);
                let compared = self.one(&["<", ">=", "=", "<> ALL", "> ANY"]);
                let number = self.number(&inner);
                let value = if compared.contains("A") { number } else { format!("max({number})") };
                format!("{column} {compared} (SELECT {value} FROM {from} WHERE {condition})")
            }
        }
    }

    /// One relation of FROM: a table, or one in parentheses with a condition of its own.
    fn relation(&mut self) -> (Names, String) {
        let table = self.table();
        let alias = self.alias();
        let from = match self.rng.random_range(0..6) {
            0 => {
                let inner = vec![(table.name.rsplit('.').next().unwrap_or_default().to_owned(), table)];
                let condition = self.condition(&inner, 0);
                format!("(SELECT * FROM {} WHERE {condition}) {alias}", table.name)
            }
            _ => format!("{} {alias}", table.name),
        };
        (vec![(alias, table)], from)
    }

    fn from(&mut self, depth: usize) -> (Names, String) {
        let (mut names, mut from) = self.relation();
        for _ in 0..self.rng.random_range(0..3) {
            let kind = self.one(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let (joined, relation) = self.relation();
            let on = format!("{} = {}", self.number(&joined), self.number(&names));
            let mut all = names.clone();
            all.extend(joined.clone());
            let more = match self.rng.random_range(0..4) {
                0 => format!(" AND {}", self.condition(&joined, 0)),
                1 if kind != "FULL JOIN" => format!(" AND {}", self.condition(&all, depth)),
                _ => String::new(),
            };
            from = format!("{from} {kind} {relation} ON {on}{more}");
            names = all;
        }
        (names, from)
    }

    fn plain(&mut self, depth: usize) -> (String, usize) {
        let (names, from) = self.from(depth);
        let count = self.rng.random_range(1..4);
        let mut items: Vec<String> = (0..count).map(|_| self.expression(&names, depth)).collect();
        if self.chance(0.25) {
            let frame = self.number(&names);
            let by = self.number(&names);
            let call = self.one(&["count(*)", "rank()", "dense_rank()", "percent_rank()"]);
            items.push(format!("{call} OVER (PARTITION BY {frame} ORDER BY {by})"));
        }
        let distinct = if self.chance(0.15) { "DISTINCT " } else { "" };
        let condition = if self.chance(0.7) {
            format!(" WHERE {}", self.condition(&names, depth))
        } else {
            String::new()
        };
        (format!("SELECT {distinct}{} FROM {from}{condition}", items.join(", ")), items.len())
    }

    fn grouped(&mut self, depth: usize) -> (String, usize) {
        let (names, from) = self.from(depth);
        let keys: Vec<String> = (0..self.rng.random_range(0..3)).map(|_| self.column(&names)).collect();
        let mut items = keys.clone();
        items.extend((0..self.rng.random_range(1..4)).map(|_| self.aggregate(&names)));
        let mut sql = format!("SELECT {} FROM {from}", items.join(", "));
        if self.chance(0.6) {
            sql.push_str(&format!(" WHERE {}", self.condition(&names, depth)));
        }
        if !keys.is_empty() {
            let by = keys.join(", ");
            sql.push_str(&match self.rng.random_range(0..6) {
                0 => format!(" GROUP BY ROLLUP ({by})"),
                1 => format!(" GROUP BY GROUPING SETS (({by}), ())"),
                _ => format!(" GROUP BY {by}"),
            });
        }
        if self.chance(0.3) {
            sql.push_str(&format!(" HAVING count(*) > {}", self.rng.random_range(0..4)));
        }
        (sql, items.len())
    }

    fn numbers(&mut self, depth: usize) -> String {
        let (names, from) = self.from(depth);
        let number = self.number(&names);
        format!("SELECT {number} FROM {from} WHERE {}", self.condition(&names, depth))
    }

    fn statement(&mut self) -> String {
        let depth = self.rng.random_range(0..3);
        let (mut sql, columns) = match self.rng.random_range(0..10) {
            0..=3 => self.plain(depth),
            4..=6 => self.grouped(depth),
            7 => {
                let operation =
                    self.one(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL"]);
                (format!("{} {operation} {}", self.numbers(depth), self.numbers(depth)), 1)
            }
            8 => {
                let kept = self.one(&["", "MATERIALIZED ", "NOT MATERIALIZED "]);
                let numbers = self.numbers(depth);
                let (names, from) = self.relation();
                let number = self.number(&names);
                let joined = self.one(&["JOIN", "LEFT JOIN"]);
                let sql = format!(
                    "WITH w(n) AS {kept}({numbers}) SELECT w.n, count(*) FROM w {joined} {from} ON {number} = w.n GROUP BY 1"
                );
                (sql, 2)
            }
            _ => {
                let numbers = self.numbers(0);
                (
                    format!(
                        "WITH RECURSIVE r(n, depth) AS (SELECT n, 0 FROM ({numbers}) q(n) UNION SELECT i.qty + r.n, depth + 1 \
                     FROM r JOIN item i ON i.sale_id = r.n WHERE depth < 3) SELECT n, depth FROM r"
                    ),
                    2,
                )
            }
        };
        if self.chance(0.4) {
            let by: Vec<String> =
                (1..=columns).map(|n| format!("{n}{}", self.one(&["", " DESC", " NULLS FIRST"]))).collect();
            sql.push_str(&format!(" ORDER BY {}", by.join(", ")));
            if self.chance(0.6) {
                sql.push_str(&format!(
                    " LIMIT {} OFFSET {}",
                    self.rng.random_range(0..20),
                    self.rng.random_range(0..5)
                ));
            }
        }
        sql
    }
}

#[tokio::test]
async fn queries_of_every_form_are_answered_as_by_one_postgres() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    pair.both("SET statement_timeout = '5s'").await;
    let seed = std::env::var("SHARDWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11);
    let count = std::env::var("SHARDWAY_STATEMENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(STATEMENTS);
    let mut maker = Maker { rng: StdRng::seed_from_u64(seed), aliases: 0 };
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut right = 0;
    for n in 0..count {
        maker.aliases = 0;
        let sql = maker.statement();
        let way = [Way::Simple, Way::Text, Way::Binary][n % 3];
        let expected = asked(&mut pair.single, &sql, &[], way).await;
        if matches!(&expected, Err((code, _)) if code == "57014") {
            continue;
        }
        let got = tokio::time::timeout(Duration::from_secs(60), asked(&mut pair.proxy, &sql, &[], way));
        let got = got.await.unwrap_or_else(|_| panic!("no answer to {sql}"));
        match (&got, &expected) {
            (Err((code, _)), Err((other, _))) if code == other => {}
            (Err((code, message)), _) if code == "0A000" => {
                *refused.entry(message.clone()).or_default() += 1;
            }
            _ => {
                let ordered = sql.contains("ORDER BY 1");
                let same = comparable(got.clone(), ordered) == comparable(expected.clone(), ordered);
                assert!(same, "statement {n} of seed {seed}, by {way:?}:\n{sql}\n{got:?}\n{expected:?}");
                right += usize::from(got.is_ok());
            }
        }
    }
    let share: usize = refused.values().sum();
    assert!(share * 50 <= count, "{share} of {count} were refused: {refused:#?}");
    assert!(right * 2 > count, "{right} of {count} were answered");
}
