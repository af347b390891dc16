//! Whole statements: plain and grouped SELECTs, set operations, WITH, and what is over all of their rows.

use super::maker::{Maker, Names, Relation};
use super::statement::{Order, Select, Statement};
use super::types::T;

/// Names for what is selected: such as are columns', too, and such as need quotes or are words of SQL.
const OUTPUTS: [&str; 12] =
    ["n", "id", "t", "a", "user_id", "count", "max", "\"limit\"", "\"A b\"", "qty", "\"from\"", "value"];

impl Maker {
    pub fn statement(&mut self) -> Statement {
        self.begin();
        let depth = self.below(3);
        let mut statement = match self.below(48) {
            0..=15 => self.plain(depth),
            16..=28 => self.grouped(depth),
            29..=31 => self.set_operation(depth),
            32 | 33 => self.nested_sets(depth.min(1)),
            34..=36 => self.with(depth),
            37 => self.recursive(),
            38 => self.without_tables(depth),
            39..=41 => self.distinct_on(depth),
            42..=45 => self.with_clauses(depth.min(1)),
            _ => self.wrong(),
        };
        if statement.raw.is_none() && statement.order_by.is_empty() {
            self.finish(&mut statement);
        }
        statement.values = std::mem::take(&mut self.values);
        let sql = statement.marked();
        let shows = |column: &str| {
            sql.match_indices(column)
                .any(|(at, _)| !sql[at + column.len()..].starts_with(char::is_alphanumeric))
        };
        // An array's binary form has its members' type in it, which a derived table may hide.
        let arrays = sql.contains("array_agg(DISTINCT") || sql.contains("percentile_disc(ARRAY");
        statement.textual |=
            self.textual || arrays || [".ea", ".pr", ".doms", ".prs", ".deep"].into_iter().any(shows);
        statement
    }

    /// An output's name, or none.
    pub fn named(&mut self, sql: String) -> String {
        match self.below(9) {
            0 | 1 => format!("{sql} AS {}", self.one(&OUTPUTS)),
            2 => format!("{sql} {}", self.one(&["n", "other", "\"Other\""])),
            _ => sql,
        }
    }

    /// What tells the rows of a FROM apart, if all of its relations have it.
    pub fn unique(names: &Names) -> Option<String> {
        let relations = names.iter().filter(|relation| !relation.is_merged());
        let columns: Option<Vec<String>> =
            relations.map(|relation| Some(relation.reference(relation.unique.as_ref()?))).collect();
        columns.map(|columns| columns.join(", "))
    }

    /// A relation that has a name.
    fn whole(&mut self, names: &Names) -> Relation {
        let named: Vec<&Relation> = names.iter().filter(|relation| !relation.is_merged()).collect();
        named[self.below(named.len())].clone()
    }

    pub fn joins(&mut self) -> usize {
        [0, 0, 0, 1, 1, 2][self.below(6)]
    }

    pub fn conditions(&mut self, names: &Names, depth: usize) -> Vec<String> {
        let count = if names.len() > 1 { [0, 0, 0, 1, 1, 2] } else { [0, 0, 1, 1, 1, 2] }[self.below(6)];
        (0..count).map(|_| self.condition(names, depth)).collect()
    }

    pub fn plain(&mut self, depth: usize) -> Statement {
        let joins = self.joins();
        let (names, from) = self.from(depth, joins);
        let mut select = Select { from, ..Select::default() };
        select.conditions = self.conditions(&names, depth);
        for _ in 0..self.below(4) + 1 {
            let (sql, of) = self.expression(&names, depth);
            self.textual |= of.is_numbered();
            select.items.push(self.named(sql));
            select.types.push(of);
        }
        if self.chance(0.12) {
            let relation = self.whole(&names);
            select.types.extend(relation.columns.iter().map(|(_, of)| *of));
            self.textual |= relation.columns.iter().any(|(_, of)| of.is_numbered());
            select.items.push(format!("{}.*", relation.label));
        } else if self.chance(0.03) {
            self.textual = true;
            let relation = self.whole(&names);
            select.items.push(relation.label);
            select.types.push(T::Vague);
        }
        if self.chance(0.12) {
            let by = Self::unique(&names);
            let (sql, of) = self.window(&names, by.as_deref(), &mut select.windows);
            select.items.push(sql);
            select.types.push(of);
        }
        if select.types.iter().all(|of| of.sorts()) && self.chance(0.12) {
            select.distinct = "DISTINCT ".to_owned();
        }
        let mut statement = Statement::of(select);
        self.order_rows(&mut statement, &names);
        statement
    }

    /// ORDER BY what tells the rows apart, and something in front of that; perhaps with LIMIT.
    pub fn order_rows(&mut self, statement: &mut Statement, names: &Names) {
        let Some(by) = Self::unique(names) else { return };
        let select = &statement.selects[0].1;
        // With names that are outputs' names, too, a bare column would mean these.
        if !select.distinct.is_empty() || !self.chance(0.35) {
            return;
        }
        let items = select.items.len();
        for _ in 0..self.below(3) {
            let direction = self.direction();
            let by = match self.below(5) {
                0 => match self.column(names, T::sorts) {
                    Some((column, _)) => format!("{column}{direction}"),
                    None => continue,
                },
                1 => {
                    let (number, _) = self.number_of(names, 1);
                    // A value alone would be a place in the select list.
                    format!("({number}) + 0{direction}")
                }
                2 if statement.selects[0].1.types.iter().all(|of| of.sorts()) => {
                    format!("{}{direction}", self.below(items) + 1)
                }
                3 => match self.column(names, |of| matches!(of, T::Text | T::TextC)) {
                    Some((text, _)) => format!(
                        "{text} COLLATE {}{direction}",
                        self.one(&["\"C\"", "\"de-x-icu\"", "\"en-x-icu\""])
                    ),
                    None => continue,
                },
                _ => match self.column(names, |of| of.is_number() && of.sorts()) {
                    Some((column, _)) => format!("{column} USING {}", self.one(&["<", ">"])),
                    None => continue,
                },
            };
            statement.order_by.push(by);
        }
        let down = self.one(&["", "", " DESC"]);
        statement.order_by.extend(by.split(", ").map(|column| format!("{column}{down}")));
        statement.order = Order::Whole;
        self.limit(statement, false);
    }

    pub fn direction(&mut self) -> &'static str {
        const ALL: [&str; 7] = ["", "", " DESC", " ASC", " NULLS FIRST", " DESC NULLS LAST", " NULLS LAST"];
        ALL[self.below(ALL.len())]
    }

    pub fn limit(&mut self, statement: &mut Statement, ties: bool) {
        let count = match self.below(9) {
            0 => self.one(&["0", "ALL", "NULL", "1 + 2", "(SELECT 3)", "'4'", "2.5"]).to_owned(),
            1 => "1000".to_owned(),
            _ => {
                let n = self.number(0, 15).to_string();
                self.given(Some(n), T::Big, false)
            }
        };
        let n = self.number(0, 9).to_string();
        let offset = if self.chance(0.1) { "999".to_owned() } else { self.given(Some(n), T::Big, false) };
        match self.below(8) {
            0..=3 => statement.tail.push(format!("LIMIT {count}")),
            4 => statement.tail.extend([format!("LIMIT {count}"), format!("OFFSET {offset}")]),
            5 => statement.tail.push(format!("OFFSET {offset} ROWS")),
            6 if ties => statement.tail.push("FETCH FIRST 3 ROWS WITH TIES".to_owned()),
            _ => statement.tail.push("FETCH FIRST 4 ROWS ONLY".to_owned()),
        }
    }

    /// ORDER BY of a statement's outputs: all of them, or some.
    fn finish(&mut self, statement: &mut Statement) {
        let select = &statement.selects[0].1;
        let wild = select.items.iter().any(|item| item.ends_with(".*"));
        if wild || !self.chance(0.5) {
            return;
        }
        let all = select.types.iter().all(|of| of.sorts());
        let mut places: Vec<usize> = (0..select.types.len()).filter(|at| select.types[*at].sorts()).collect();
        if places.is_empty() {
            return;
        }
        if all && self.chance(0.6) {
            statement.order = Order::Whole;
        } else {
            places.truncate(self.below(places.len()) + 1);
            statement.order = Order::By(places.clone());
        }
        if self.chance(0.5) {
            places.reverse();
        }
        statement.order_by = places.iter().map(|at| format!("{}{}", at + 1, self.direction())).collect();
        // One Postgres fails (21000) where an index gives it max() or min(), and ties are asked for.
        let select = &statement.selects[0].1;
        let extreme = |item: &String| item.contains("max(") || item.contains("min(");
        let ties = !select.group.is_empty() || !select.items.iter().any(extreme);
        if statement.order == Order::Whole && self.chance(0.6) {
            self.limit(statement, ties);
        } else if ties && self.chance(0.2) {
            // With all that ties with the last, what is cut off does not hang on anything else.
            statement.tail.push("FETCH FIRST 3 ROWS WITH TIES".to_owned());
        }
    }
}
