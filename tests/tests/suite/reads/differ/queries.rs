//! Subqueries, and what they are made from.

use super::maker::{Maker, Names, Relation};
use super::types::T;

impl Maker {
    /// One relation of FROM: a table, or a subquery in parentheses.
    pub fn relation(&mut self, depth: usize) -> (Relation, String) {
        let table = self.table();
        match self.below(12) {
            0 => {
                let own = vec![Relation::of(table, table.name.to_owned())];
                let condition = self.condition(&own, 0);
                let alias = self.alias();
                let from = format!("(SELECT * FROM {} WHERE {condition}) {alias}", table.name);
                let relation = Relation { label: alias, ..own[0].clone() };
                (relation, from)
            }
            1 if depth > 0 => self.derived(depth - 1),
            2 if depth > 0 && self.chance(0.4) => {
                let alias = self.alias();
                let from = match self.below(3) {
                    0 => {
                        format!("(VALUES (1, 'a'), (3, NULL), ({}, 'b')) {alias} (k, w)", self.number(10, 30))
                    }
                    1 => format!("generate_series(1, {}) {alias} (k)", self.number(1, 12)),
                    _ => format!("unnest(ARRAY[3, 5, {}]) AS {alias} (k)", self.number(10, 30)),
                };
                let columns = vec![("k".to_owned(), T::Int)];
                (Relation { label: alias, columns, key: None, unique: Some("k".to_owned()) }, from)
            }
            _ => self.relation_of(table),
        }
    }

    /// A derived table with columns of other names, grouped or not.
    fn derived(&mut self, depth: usize) -> (Relation, String) {
        let (inner, from) = self.relation(0);
        let own: Names = vec![inner.clone()];
        let alias = self.alias();
        let (number, _) = self.number_of(&own, depth);
        let condition = self.condition(&own, depth);
        let (text, of) = self.text_of(&own, 0);
        let (sql, columns) = match self.below(3) {
            0 => (
                format!("(SELECT {number} AS n, {text} AS w FROM {from} WHERE {condition}) {alias}"),
                vec![("n".to_owned(), T::Int), ("w".to_owned(), of)],
            ),
            1 => (
                format!(
                    "(SELECT {number} AS n, count(*)::int AS many FROM {from} WHERE {condition} GROUP BY 1) AS {alias}"
                ),
                vec![("n".to_owned(), T::Int), ("many".to_owned(), T::Int)],
            ),
            _ => {
                let distinct = self.one(&["DISTINCT ", ""]);
                (
                    format!(
                        "(SELECT {distinct}{number}, {text} FROM {from} WHERE {condition}) AS {alias} (n, w)"
                    ),
                    vec![("n".to_owned(), T::Int), ("w".to_owned(), of)],
                )
            }
        };
        (Relation { label: alias, columns, key: None, unique: None }, sql)
    }

    /// A subquery's condition that names what is around it, most often.
    pub fn correlated(&mut self, outer: &Names, inner: &Relation) -> String {
        let own = vec![inner.clone()];
        let condition = self.condition(&own, 0);
        if self.chance(0.7) { format!("{} AND {condition}", self.link(outer, inner)) } else { condition }
    }

    pub fn by_query(&mut self, names: &Names, depth: usize) -> String {
        let (inner, from) = self.relation(depth.min(1));
        let own = vec![inner.clone()];
        let condition = self.correlated(names, &inner);
        let (number, _) = self.number_of(names, 0);
        let (value, _) = self.number_of(&own, 0);
        match self.below(9) {
            0 | 1 => {
                let selected = self.one(&["*", "1", "", "NULL"]);
                format!("{}EXISTS (SELECT {selected} FROM {from} WHERE {condition})", self.one(&["", "NOT "]))
            }
            2 | 3 => {
                format!(
                    "{number} {}IN (SELECT {value} FROM {from} WHERE {condition})",
                    self.one(&["", "NOT "])
                )
            }
            4 => {
                let how = self.one(&["< ANY", ">= ALL", "= ANY", "<> ALL", "= SOME"]);
                format!("{number} {how} (SELECT {value} FROM {from} WHERE {condition})")
            }
            5 => format!(
                "{number} {} (SELECT {}({value}) FROM {from} WHERE {condition})",
                self.one(&["<", "=", ">="]),
                self.one(&["max", "min", "sum", "count"])
            ),
            6 => {
                let (other, _) = self.number_of(names, 0);
                let (last, _) = self.number_of(&own, 0);
                format!("({number}, {other}) IN (SELECT {value}, {last} FROM {from} WHERE {condition})")
            }
            7 => format!(
                "{number} IN (SELECT {value} FROM {from} WHERE {condition} GROUP BY 1 HAVING count(*) > {})",
                self.int(0, 1)
            ),
            _ => format!("(SELECT count(*) FROM {from} WHERE {condition}) > {}", self.int(0, 3)),
        }
    }

    /// A subquery that gives one value.
    pub fn scalar_query(&mut self, names: &Names, depth: usize) -> (String, T) {
        let (inner, from) = self.relation(depth.min(1));
        let condition = self.correlated(names, &inner);
        let own = vec![inner.clone()];
        if let (Some(unique), true) = (&inner.unique, self.chance(0.3)) {
            let by = inner.reference(unique);
            let (column, of) = self.column(&own, |_| true).unwrap_or((by.clone(), T::Int));
            let down = self.one(&["", " DESC"]);
            // Nothing but a table's id tells its rows apart on all sides.
            let sql = format!("(SELECT {column} FROM {from} WHERE {condition} ORDER BY {by}{down} LIMIT 1)");
            return (sql, of);
        }
        let (call, of) = self.aggregate(&own, 0);
        (format!("(SELECT {call} FROM {from} WHERE {condition})"), of)
    }
}
