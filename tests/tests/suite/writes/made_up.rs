//! Writes of every form made up at random, on sharded tables and on reference tables: each does, and says, what it does
//! and says in one Postgres.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use shardway_tests::Param;

use super::pair::{WRITES_WORLD, copies_are_the_same, holds_the_same};
use super::seed;
use crate::reads::world::{Pair, Way, asked, comparable};

/// Statements to make up; `SHARDWAY_STATEMENTS` says otherwise.
const STATEMENTS: usize = 500;

struct Maker {
    rng: StdRng,
    /// The largest key: few make rows meet, and live on few shards.
    keys: i32,
}

/// A statement, its parameters in text, and whether its rows have an order.
type Made = (String, Vec<Option<String>>, bool);

impl Maker {
    fn one<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.choose(&mut self.rng).copied().unwrap_or_default()
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    fn key(&mut self) -> i32 {
        self.rng.random_range(1..=self.keys)
    }

    fn small(&mut self) -> i32 {
        self.rng.random_range(0..6)
    }

    /// A value, as a literal or a parameter.
    fn value(&mut self, value: String, text: bool, params: &mut Option<Vec<Option<String>>>) -> String {
        match params {
            Some(params) => {
                params.push(Some(value));
                format!("${}", params.len())
            }
            None if text => format!("'{value}'"),
            None => value,
        }
    }

    fn rows(&mut self, params: &mut Option<Vec<Option<String>>>) -> String {
        let count = [1, 2, 2, 3, 5, 8, 20][self.rng.random_range(0..7)];
        let row = |maker: &mut Self, params: &mut Option<Vec<Option<String>>>| {
            let (key, id) = (maker.key().to_string(), maker.small().to_string());
            let (key, id) = (maker.value(key, false, params), maker.value(id, false, params));
            let a = match maker.rng.random_range(0..5) {
                0 => "NULL".to_owned(),
                1 => "DEFAULT".to_owned(),
                2 => "1 + 2".to_owned(),
                3 => "(SELECT count(*) FROM plain)".to_owned(),
                _ => {
                    let value = maker.small().to_string();
                    maker.value(value, false, params)
                }
            };
            let text = maker.one(&["x", "y z", "(),", ""]).to_owned();
            let t = maker.value(text, true, params);
            format!("({key}, {id}, {a}, {t})")
        };
        (0..count).map(|_| row(self, params)).collect::<Vec<_>>().join(", ")
    }

    fn insert(&mut self, params: &mut Option<Vec<Option<String>>>) -> (String, bool) {
        let columns = self.one(&["", "(user_id, id, a, t) "]);
        let rows = self.rows(params);
        let conflict = match self.rng.random_range(0..6) {
            0 | 1 => "",
            2 => " ON CONFLICT DO NOTHING",
            3 => " ON CONFLICT (user_id, id) DO NOTHING",
            4 => " ON CONFLICT (user_id, id) DO UPDATE SET a = coalesce(c.a, 0) + 1, t = EXCLUDED.t",
            _ => " ON CONFLICT (id, user_id) DO UPDATE SET a = EXCLUDED.a WHERE c.a < 3 OR c.a IS NULL",
        };
        let returning = self.returning("c");
        // Which of two rows with one key was left out is not known.
        let ordered = conflict.is_empty();
        (format!("INSERT INTO cell AS c {columns}VALUES {rows}{conflict}{returning}"), ordered)
    }

    fn returning(&mut self, label: &str) -> String {
        match self.rng.random_range(0..4) {
            0 => format!(" RETURNING {label}.*"),
            1 => format!(" RETURNING {label}.t, {label}.a + 1 AS more, user_id, id"),
            _ => String::new(),
        }
    }

    fn condition(&mut self, params: &mut Option<Vec<Option<String>>>) -> String {
        let (key, other) = (self.key().to_string(), self.key().to_string());
        match self.rng.random_range(0..10) {
            0 => {
                let key = self.value(key, false, params);
                format!("c.user_id = {key}")
            }
            1 => format!("c.user_id IN ({key}, {other})"),
            2 => format!("c.user_id > {key}"),
            3 => format!("c.a = {}", self.small()),
            4 => format!("c.id < {} AND c.user_id < {key}", self.small()),
            5 => "EXISTS (SELECT FROM cell d WHERE d.user_id = c.user_id AND d.id > c.id)".to_owned(),
            6 => format!("c.user_id IN (SELECT d.user_id FROM cell d WHERE d.a > {})", self.small()),
            7 => "c.a = (SELECT min(d.a) FROM cell d WHERE d.user_id = c.user_id)".to_owned(),
            8 => "c.id IN (SELECT id FROM plain) OR c.t = 'x'".to_owned(),
            _ => format!("c.user_id = ANY ('{{{key},{other},1}}') AND c.t <> ''"),
        }
    }

    fn update(&mut self, params: &mut Option<Vec<Option<String>>>) -> String {
        let text = self.one(&["u", "v"]).to_owned();
        let set = match self.rng.random_range(0..6) {
            0 => "a = a + 1".to_owned(),
            1 => {
                let text = self.value(text, true, params);
                format!("t = {text} || 'x'")
            }
            2 => "(a, t) = (c.id, c.t || '!')".to_owned(),
            3 => "a = 10 / (c.id - 1)".to_owned(),
            4 => "a = (SELECT max(d.id) FROM cell d WHERE d.user_id = c.user_id)".to_owned(),
            _ => "a = NULL, t = DEFAULT".to_owned(),
        };
        let condition = self.condition(params);
        let from = if self.chance(0.2) { " FROM cell o" } else { "" };
        let joined = if from.is_empty() { "" } else { " AND o.user_id = c.user_id AND o.id = c.id" };
        let returning = self.returning("c").replace("user_id, id", "c.user_id, c.id");
        format!("UPDATE cell c SET {set}{from} WHERE ({condition}){joined}{returning}")
    }

    fn delete(&mut self, params: &mut Option<Vec<Option<String>>>) -> String {
        let condition = self.condition(params);
        let returning = self.returning("c");
        format!("DELETE FROM cell c WHERE {condition}{returning}")
    }

    /// A write of a reference table.
    fn reference(&mut self) -> String {
        let (id, other) = (self.key(), self.key());
        let returning = self.one(&["", " RETURNING *", " RETURNING id, a + 1 AS more"]);
        let write = match self.rng.random_range(0..9) {
            0 => format!("INSERT INTO copy VALUES ({id}, {other}, 'x')"),
            1 => format!(
                "INSERT INTO copy (t, id) VALUES ('a', {id}), ('b', {}) ON CONFLICT DO NOTHING",
                id + 1
            ),
            2 => format!("INSERT INTO copy VALUES ({id}, 1) ON CONFLICT (id) DO UPDATE SET a = copy.a + 1"),
            3 => format!(
                "INSERT INTO copy SELECT id + 30, a, t FROM copy WHERE id < {id} ON CONFLICT DO NOTHING"
            ),
            4 => format!("UPDATE copy SET a = {other} WHERE id < {id}"),
            5 => format!("UPDATE copy SET t = (SELECT max(t) FROM copy) WHERE id = {id}"),
            6 => format!("UPDATE copy SET a = 6 / (id - {id})"),
            7 => format!("DELETE FROM copy WHERE id IN (SELECT id FROM copy ORDER BY id LIMIT {})", id % 3),
            _ => format!("DELETE FROM copy WHERE id > {id} OR a = {other}"),
        };
        write + returning
    }

    fn statement(&mut self, bound: bool) -> Made {
        let mut params = bound.then(Vec::new);
        let mut ordered = false;
        let sql = match self.rng.random_range(0..10) {
            0..=3 => {
                let (sql, in_order) = self.insert(&mut params);
                ordered = in_order;
                sql
            }
            4..=6 => self.update(&mut params),
            7 => self.delete(&mut params),
            _ => self.reference(),
        };
        (sql, params.unwrap_or_default(), ordered)
    }
}

#[tokio::test]
async fn writes_of_every_form_do_what_they_do_in_one_postgres() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    let seed = seed(7);
    let count = std::env::var("SHARDWAY_STATEMENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(STATEMENTS);
    eprintln!("seed {seed}, {count} statements");
    let mut maker = Maker { rng: StdRng::seed_from_u64(seed), keys: 12 };
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut done = 0;
    for n in 0..count {
        maker.keys = [2, 4, 12, 30][n % 4];
        let way = [Way::Simple, Way::Text, Way::Binary][n % 3];
        let (sql, params, ordered) = maker.statement(way != Way::Simple);
        let values: Vec<Param<'_>> =
            params.iter().map(|value| value.as_deref().map_or(Param::Null, Param::Text)).collect();
        let block = maker.chance(0.1);
        if block {
            pair.both("BEGIN").await;
        }
        let got = asked(&mut pair.proxy, &sql, &values, way).await;
        if matches!(&got, Err((code, _)) if code == "0A000") {
            *refused.entry(got.unwrap_err().1).or_default() += 1;
            if block {
                pair.both("ROLLBACK").await;
            }
            continue;
        }
        let expected = asked(&mut pair.single, &sql, &values, way).await;
        match (&got, &expected) {
            (Err((code, _)), Err((other, _))) => {
                assert_eq!(
                    code, other,
                    "statement {n} of seed {seed}, by {way:?}:\n{sql}\n{got:?}\n{expected:?}"
                );
            }
            _ => {
                let same = comparable(got.clone(), ordered) == comparable(expected.clone(), ordered);
                assert!(
                    same,
                    "statement {n} of seed {seed}, by {way:?}:\n{sql}\n{params:?}\n{got:?}\n{expected:?}"
                );
                done += usize::from(got.is_ok());
            }
        }
        if block {
            let end = if maker.chance(0.5) { "COMMIT" } else { "ROLLBACK" };
            pair.both(end).await;
        }
        if n % 10 == 0 {
            holds_the_same(&mut pair, "cell").await;
            holds_the_same(&mut pair, "copy").await;
            copies_are_the_same(world, "copy");
        }
    }
    holds_the_same(&mut pair, "cell").await;
    copies_are_the_same(world, "copy");
    let share: usize = refused.values().sum();
    assert!(share * 20 <= count, "{share} of {count} were refused: {refused:#?}");
    assert!(done * 3 > count * 2, "{done} of {count} were done");
}
