//! Makes statements up: chance, names in sight, and values.

use std::sync::LazyLock;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::schema::{Kind, Table, tables};
use super::statement::Value;
use super::types::T;

static TABLES: LazyLock<Vec<Table>> = LazyLock::new(tables);

/// A relation in sight.
#[derive(Clone, Debug)]
pub struct Relation {
    /// What its columns are called by; empty where that is their own names.
    pub label: String,
    /// Columns as SQL writes them, and their types.
    pub columns: Vec<(String, T)>,
    /// Its sharding key.
    pub key: Option<String>,
    /// The column that tells its rows apart, if there is one.
    pub unique: Option<String>,
}

impl Relation {
    /// A table under a name.
    pub fn of(table: &Table, label: String) -> Self {
        let columns = table.columns.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect();
        let key = (table.kind == Kind::Sharded).then(|| table.columns[0].0.to_owned());
        Self { label, columns, key, unique: table.unique.map(str::to_owned) }
    }

    /// Columns that a join has merged: they are called by their own names alone.
    pub fn merged(columns: Vec<(String, T)>) -> Self {
        Self { label: String::new(), columns, key: None, unique: None }
    }

    /// Whether it has merged columns only.
    pub fn is_merged(&self) -> bool {
        self.label.is_empty()
    }

    /// A reference to a column.
    pub fn reference(&self, column: &str) -> String {
        if self.is_merged() { column.to_owned() } else { format!("{}.{column}", self.label) }
    }
}

/// The relations in sight.
pub type Names = Vec<Relation>;

/// Makes statements up.
pub struct Maker {
    pub rng: StdRng,
    pub values: Vec<Value>,
    /// Whether something was shown whose binary form has numbers in it that differ from database to database.
    pub textual: bool,
    aliases: usize,
}

impl Maker {
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), values: Vec::new(), textual: false, aliases: 0 }
    }

    /// Forgets the statement before.
    pub fn begin(&mut self) {
        self.values.clear();
        (self.textual, self.aliases) = (false, 0);
    }

    pub fn one<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.choose(&mut self.rng).copied().unwrap_or_default()
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end.max(1))
    }

    pub fn number(&mut self, from: i64, to: i64) -> i64 {
        self.rng.random_range(from..=to)
    }

    /// A name for a relation, now and then one that needs quotes or is a column's or a function's.
    pub fn alias(&mut self) -> String {
        self.aliases += 1;
        let n = self.aliases;
        match self.below(14) {
            0 => format!("\"X {n}\""),
            1 => format!("qty{n}"),
            2 => format!("count{n}"),
            _ => format!("x{n}"),
        }
    }

    /// A table: most often one of the wide ones.
    pub fn table(&mut self) -> &'static Table {
        let weights = [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4, 5, 5, 6, 8, 8];
        let at = match self.below(100) {
            0 => 7,
            1..=12 => 9 + self.below(TABLES.len() - 9),
            _ => *weights.choose(&mut self.rng).unwrap_or(&0),
        };
        &TABLES[at]
    }

    /// A relation of FROM: a table under an alias, now and then all of it as a sample.
    pub fn relation_of(&mut self, table: &'static Table) -> (Relation, String) {
        let alias = self.alias();
        let schema = if self.chance(0.1) { "public." } else { "" };
        let word = if self.chance(0.3) { "AS " } else { "" };
        let sample = match self.below(120) {
            0 => " TABLESAMPLE BERNOULLI (100)",
            1 => " TABLESAMPLE SYSTEM (100) REPEATABLE (7)",
            _ => "",
        };
        let from = format!("{schema}{} {word}{alias}{sample}", table.name);
        (Relation::of(table, alias), from)
    }

    /// A column of any of these relations whose type is so.
    pub fn column(&mut self, names: &Names, is: impl Fn(T) -> bool) -> Option<(String, T)> {
        let all: Vec<(&Relation, &(String, T))> = (names.iter())
            .flat_map(|relation| relation.columns.iter().map(move |column| (relation, column)))
            .filter(|(_, (_, of))| is(*of))
            .collect();
        let (relation, (name, of)) = all.choose(&mut self.rng)?;
        Some((relation.reference(name), *of))
    }

    /// A value of a type, as its mark: a literal or, where the statement has parameters, one of these.
    pub fn value(&mut self, of: T) -> String {
        let values = of.values();
        let text = values.choose(&mut self.rng).copied().unwrap_or("1").to_owned();
        self.given(Some(text), of, true)
    }

    /// A number.
    pub fn int(&mut self, from: i64, to: i64) -> String {
        let n = self.number(from, to);
        self.values.push(Value { literal: n.to_string(), text: Some(n.to_string()), cast: "int4" });
        Value::mark(self.values.len() - 1)
    }

    /// This value. `typed` says whether its type has to be told.
    pub fn given(&mut self, text: Option<String>, of: T, typed: bool) -> String {
        let literal = match &text {
            None => "NULL".to_owned(),
            Some(text) => {
                let plain = of.is_number() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
                match (plain && self.chance(0.7), typed) {
                    (true, _) => text.clone(),
                    (false, true) => format!("'{}'::{}", text.replace('\'', "''"), of.name()),
                    (false, false) => format!("'{}'", text.replace('\'', "''")),
                }
            }
        };
        let cast = if typed { of.name() } else { "" };
        self.values.push(Value { literal, text, cast });
        Value::mark(self.values.len() - 1)
    }
}
