//! Conditions: on the sharding key in every way that it can be said, on any column, and by subqueries.

use super::maker::{Maker, Names};
use super::types::T;

impl Maker {
    pub fn condition(&mut self, names: &Names, depth: usize) -> String {
        match self.below(21) {
            20 => self.of_rows_compared(names, depth),
            0..=4 => self.of_key(names),
            5..=10 => self.of_column(names),
            11 => format!("({} OR {})", self.condition(names, depth), self.condition(names, depth.min(1))),
            12 => format!("({} AND {})", self.condition(names, depth), self.condition(names, depth.min(1))),
            13 => format!("NOT ({})", self.condition(names, depth)),
            14 => {
                let truth = self.one(&["IS TRUE", "IS NOT TRUE", "IS NOT FALSE", "IS UNKNOWN"]);
                format!("({}) {truth}", self.of_column(names))
            }
            15 if depth > 0 => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.of_key(names),
                self.of_column(names),
                self.one(&["true", "false", "NULL"])
            ),
            16..=19 if depth > 0 => self.by_query(names, depth - 1),
            _ => self.of_number(names),
        }
    }

    /// What a key may be compared with, most often one that a row has.
    fn key_value(&mut self, of: T) -> String {
        match of {
            T::TextC => {
                let owner = self.one(&["ann", "Bob", "çan", "7", "x y", "3", "o'c", "nobody"]).to_owned();
                self.given(Some(owner), T::Text, false)
            }
            _ => {
                let n = self.number(1, 28).to_string();
                let typed = self.chance(0.5);
                self.given(Some(n), of, typed)
            }
        }
    }

    /// Sharding keys in sight, with their types.
    fn keys(names: &Names) -> Vec<(String, T)> {
        let key = |relation: &super::maker::Relation| {
            let key = relation.key.as_ref()?;
            let (_, of) = relation.columns.iter().find(|(name, _)| name == key)?;
            Some((relation.reference(key), *of))
        };
        names.iter().filter_map(key).collect()
    }

    fn of_key(&mut self, names: &Names) -> String {
        let keys = Self::keys(names);
        if keys.is_empty() {
            return self.of_column(names);
        }
        let (key, of) = keys[self.below(keys.len())].clone();
        let (one, two) = (self.key_value(of), self.key_value(of));
        let other = keys[self.below(keys.len())].clone();
        let id = key.rsplit_once('.').map_or("id".to_owned(), |(label, _)| format!("{label}.id"));
        match self.below(26) {
            0..=4 => format!("{key} = {one}"),
            5 => format!("{one} = {key}"),
            6 | 7 => format!("{key} IN ({one}, {two})"),
            8 => format!("({key} = {one} OR {key} = {two})"),
            9 if of != T::TextC => format!("{key} + 0 = {one}"),
            10 => format!("{key}::text = {}", self.given(Some("7".to_owned()), T::Text, false)),
            11 if of != T::TextC => format!(
                "{key} = {}",
                self.one(&["7.0", "7.5", "'7 '", "'07'", "7::int2", "7::numeric", "3000000000"])
            ),
            12 => format!("({key}, {id}) = ({one}, {})", self.int(0, 47)),
            13 => format!("({key}, {id}) IN (({one}, 4), ({two}, {}))", self.int(0, 47)),
            14 if of != T::TextC => format!("{key} = ANY ('{{3,{},9}}')", self.number(1, 28)),
            15 => format!("{key} = ANY (ARRAY[{one}, {two}])"),
            16 => format!("{key} IS NOT DISTINCT FROM {one}"),
            17 => format!("{key} = NULL"),
            18 => format!("{key} IN ({one}, NULL)"),
            19 => format!("{key} <> {one}"),
            20 => format!("{key} NOT IN ({one}, {two})"),
            21 if of != T::TextC => format!("{key} BETWEEN {} AND {}", self.int(1, 9), self.int(5, 20)),
            22 => format!("{key} = {one} AND {key} = {two}"),
            23 if of != T::TextC => format!("{key} IN ({one}, {id}, 2 + 3)"),
            24 if other.1 == of => format!("{key} = {}", other.0),
            _ => format!("{key} >= {one}"),
        }
    }

    pub fn of_number(&mut self, names: &Names) -> String {
        let (number, _) = self.number_of(names, 0);
        match self.below(6) {
            0 => format!("{number} > {}", self.int(-3, 20)),
            1 => format!("{number} IN (1, 2, 3, {})", self.int(0, 50)),
            2 => format!("{number} BETWEEN {} AND {}", self.int(-3, 5), self.int(2, 40)),
            3 => format!("{number} = ANY ('{{1,2,3,{}}}')", self.number(4, 50)),
            4 => format!("{number} <> {}", self.int(0, 9)),
            _ => {
                let (other, _) = self.number_of(names, 0);
                format!("{number} {} {other}", self.one(&["=", "<", ">=", "<>", "IS DISTINCT FROM"]))
            }
        }
    }

    fn of_column(&mut self, names: &Names) -> String {
        let Some((column, of)) = self.column(names, T::has_equality) else {
            return "true".to_owned();
        };
        let value = self.value(of);
        match (self.below(12), of) {
            (0, _) => format!("{column} IS NULL"),
            (1, _) => format!("{column} IS NOT NULL"),
            (2 | 3, T::Text | T::TextC | T::TextDe | T::Varchar) => {
                let pattern = self.one(&["%a%", "a%", "_", "%", "B%", "%é%"]).to_owned();
                let how = self.one(&["LIKE", "NOT LIKE", "ILIKE"]).to_owned();
                let pattern = self.given(Some(pattern), T::Text, false);
                format!("{column} {how} {pattern}")
            }
            (4, T::Text | T::TextC) => format!("{column} ~ '[a-z]{{2}}'"),
            (2..=4, T::Ints) => format!("{column} {} '{{1,2}}'", self.one(&["&&", "@>", "<@"])),
            (2..=4, T::Texts) => format!("'b' = ANY ({column})"),
            (2..=4, T::Jsonb) => {
                format!("{column} {}", self.one(&["? 'k'", "@> '{\"k\": 1}'", "->> 'k' = '1'"]))
            }
            (2..=4, T::Range) => format!("{column} {} '[2,4)'", self.one(&["&&", "@>", "-|-"])),
            (2..=4, T::Inet | T::Cidr) => {
                format!("{column} {} inet '10.0.0.0/8'", self.one(&["<<=", "&&", ">>="]))
            }
            (2..=4, T::Bool) => column,
            (2..=4, T::Tsvector) => format!("{column} @@ 'a'::tsquery"),
            (2, T::Ts | T::Tz | T::Date) => format!("{column} < now()"),
            (3, T::Date) => format!("{column} < DATE '2000-01-01' + {}", self.int(0, 400)),
            (4, T::Pair) => format!("({column}).y = 'x'"),
            (5 | 6, of) if of.sorts() => format!("{column} {} {value}", self.one(&["<", ">", "<=", ">="])),
            (7, _) => format!("{column} IN ({value}, {})", self.value(of)),
            (8, _) => format!("{column} IS DISTINCT FROM {value}"),
            (9, _) => format!("{column} <> {value}"),
            (10, of) if of.sorts() => format!("coalesce({column} < {value}, true)"),
            _ => format!("{column} {} {value}", self.one(&["=", "=", "<>"])),
        }
    }

    /// Rows held beside rows, as values and as what a query gives.
    fn of_rows_compared(&mut self, names: &Names, depth: usize) -> String {
        let (one, _) = self.number_of(names, 0);
        let (two, _) = self.number_of(names, 0);
        let (text, _) = self.text_of(names, 0);
        let (low, high) = (self.int(-1, 5), self.int(0, 9));
        let than = self.one(&["<", "<=", ">", ">=", "=", "<>"]);
        match self.below(if depth > 0 { 8 } else { 4 }) {
            0 => format!("({one}, {two}) {than} ({low}, {high})"),
            1 => format!("ROW({one}, {text}) {than} ROW({low}, 'b')"),
            2 => format!("ROW({one}, {two}) IS {}DISTINCT FROM ROW({low}, NULL)", self.one(&["", "NOT "])),
            3 => format!("({one}, {two}) IN (({low}, {high}), (1, 2), (NULL, 0))"),
            4 => {
                let (inner, from) = self.relation(0);
                let value = self.number_of(&vec![inner.clone()], 0).0;
                let other = self.number_of(&vec![inner], 0).0;
                let how = self.one(&["= ANY", "<> ALL", "= SOME"]);
                format!("({one}, {two}) {how} (SELECT {value}, {other} FROM {from})")
            }
            5 => {
                let (inner, from) = self.relation(0);
                let value = self.number_of(&vec![inner.clone()], 0).0;
                format!("({one}, {two}) {than} (SELECT max({value}), {low} FROM {from})")
            }
            6 => {
                let (inner, from) = self.relation(0);
                let value = self.number_of(&vec![inner], 0).0;
                let ends = format!("(SELECT min({value}) FROM {from}) AND {high}");
                format!("{one} {}BETWEEN {ends}", self.one(&["", "NOT "]))
            }
            _ => {
                let (inner, from) = self.relation(0);
                let value = self.number_of(&vec![inner], 0).0;
                format!("{one} IN ((SELECT max({value}) FROM {from}), {low}, {two})")
            }
        }
    }
}
