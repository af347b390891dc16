//! Subqueries, and what they are made from: FROM with joins of all kinds.

use super::maker::{Maker, Names, Relation};
use super::schema::Kind;
use super::types::T;

impl Maker {
    /// One relation of FROM: a table, or a subquery in parentheses.
    pub fn relation(&mut self, depth: usize) -> (Relation, String) {
        let table = self.table();
        match self.below(12) {
            0 => {
                let inner = table.name.to_owned();
                let columns: Vec<(String, T)> =
                    table.columns.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect();
                let key = (table.kind == Kind::Sharded).then(|| table.columns[0].0.to_owned());
                let own = vec![Relation { label: inner, columns, key, unique: Some("id".to_owned()) }];
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

    /// FROM: the first relation and what is joined to it.
    pub fn from(&mut self, depth: usize, joins: usize) -> (Names, Vec<String>) {
        let (first, text) = self.relation(depth);
        let (mut names, mut from) = (vec![first], vec![text]);
        for _ in 0..joins {
            let (joined, text) = self.relation(depth);
            let both: Names = names.iter().cloned().chain([joined.clone()]).collect();
            let on = self.link(&names, &joined);
            let more = match self.below(6) {
                0 => format!(" AND {}", self.condition(&vec![joined.clone()], 0)),
                1 => format!(" AND {}", self.condition(&both, depth.min(1))),
                _ => String::new(),
            };
            from.push(match self.below(14) {
                0..=4 => format!("JOIN {text} ON {on}{more}"),
                5..=7 => format!("LEFT JOIN {text} ON {on}{more}"),
                8 => format!("RIGHT JOIN {text} ON {on}{more}"),
                9 => format!("FULL JOIN {text} ON {on}"),
                10 => format!("LEFT OUTER JOIN {text} ON {}", self.condition(&vec![joined.clone()], 0)),
                11 if depth > 0 => {
                    let (lateral, text) = self.lateral(&names);
                    names.push(lateral);
                    from.push(text);
                    continue;
                }
                _ => format!("INNER JOIN {text} ON {on}{more}"),
            });
            names.push(joined);
        }
        (names, from)
    }

    /// What joins a relation to those before it: most often the key, or an id.
    fn link(&mut self, names: &Names, joined: &Relation) -> String {
        let whole = |of: T| matches!(of, T::Int | T::Big | T::Small);
        if let (Some(key), true) = (&joined.key, self.chance(0.45)) {
            let mine = joined.reference(key);
            let keyed = names.iter().find_map(|relation| Some((relation, relation.key.as_ref()?)));
            if let Some((relation, other)) =
                keyed.filter(|(_, other)| (*other == key) || key.starts_with('u'))
            {
                let cast = if other.starts_with('"') && !key.starts_with('"') { "::text" } else { "" };
                return format!("{mine}{cast} = {}", relation.reference(other));
            }
        }
        let mine = self.column(&vec![joined.clone()], whole);
        match (mine, self.column(names, whole)) {
            (Some((mine, _)), Some((other, _))) => format!("{mine} = {other}"),
            _ => "true".to_owned(),
        }
    }

    fn lateral(&mut self, outer: &Names) -> (Relation, String) {
        let (inner, from) = self.relation(0);
        let condition = self.correlated(outer, &inner);
        let alias = self.alias();
        let (number, _) = self.number_of(&vec![inner], 0);
        let sql = match self.below(3) {
            0 => format!(
                "CROSS JOIN LATERAL (SELECT count(*)::int AS n FROM {from} WHERE {condition}) {alias}"
            ),
            1 => format!(
                "LEFT JOIN LATERAL (SELECT {number} AS n FROM {from} WHERE {condition} ORDER BY 1 LIMIT 2) {alias} ON true"
            ),
            _ => format!(", LATERAL (SELECT max({number}) AS n FROM {from} WHERE {condition}) AS {alias}"),
        };
        let columns = vec![("n".to_owned(), T::Int)];
        (Relation { label: alias, columns, key: None, unique: None }, sql)
    }

    /// A subquery's condition that names what is around it, most often.
    fn correlated(&mut self, outer: &Names, inner: &Relation) -> String {
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
