//! Whole statements: plain and grouped SELECTs, set operations, WITH, and what is over all of their rows.

use super::maker::{Maker, Names};
use super::statement::{Order, Select, Statement};
use super::types::T;

/// Names for what is selected: such as are columns', too, and such as need quotes or are words of SQL.
const OUTPUTS: [&str; 12] =
    ["n", "id", "t", "a", "user_id", "count", "max", "\"limit\"", "\"A b\"", "qty", "\"from\"", "value"];

impl Maker {
    pub fn statement(&mut self) -> Statement {
        self.begin();
        let depth = self.below(3);
        let mut statement = match self.below(40) {
            0..=13 => self.plain(depth),
            14..=26 => self.grouped(depth),
            27..=29 => self.set_operation(depth),
            30..=33 => self.with(depth),
            34 => self.recursive(),
            35 => self.without_tables(depth),
            36..=38 => self.distinct_on(depth),
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
        let arrays = sql.contains("array_agg(DISTINCT");
        statement.textual |= self.textual || arrays || shows(".ea") || shows(".pr");
        statement
    }

    /// An output's name, or none.
    fn named(&mut self, sql: String) -> String {
        match self.below(9) {
            0 | 1 => format!("{sql} AS {}", self.one(&OUTPUTS)),
            2 => format!("{sql} {}", self.one(&["n", "other", "\"Other\""])),
            _ => sql,
        }
    }

    /// What tells the rows of a FROM apart, if all of its relations have it.
    fn unique(names: &Names) -> Option<String> {
        let columns: Option<Vec<String>> =
            names.iter().map(|relation| Some(relation.reference(relation.unique.as_ref()?))).collect();
        columns.map(|columns| columns.join(", "))
    }

    fn joins(&mut self) -> usize {
        [0, 0, 0, 1, 1, 2][self.below(6)]
    }

    fn conditions(&mut self, names: &Names, depth: usize) -> Vec<String> {
        let count = [0, 1, 1, 1, 2][self.below(5)];
        (0..count).map(|_| self.condition(names, depth)).collect()
    }

    fn plain(&mut self, depth: usize) -> Statement {
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
            let relation = names[self.below(names.len())].clone();
            select.types.extend(relation.columns.iter().map(|(_, of)| *of));
            self.textual |= relation.columns.iter().any(|(_, of)| of.is_numbered());
            select.items.push(format!("{}.*", relation.label));
        } else if self.chance(0.03) {
            self.textual = true;
            let relation = names[self.below(names.len())].clone();
            select.items.push(relation.label);
            select.types.push(T::Vague);
        }
        if self.chance(0.12) {
            let by = Self::unique(&names);
            let (sql, of) = self.window(&names, by.as_deref());
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
    fn order_rows(&mut self, statement: &mut Statement, names: &Names) {
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

    fn direction(&mut self) -> &'static str {
        const ALL: [&str; 7] = ["", "", " DESC", " ASC", " NULLS FIRST", " DESC NULLS LAST", " NULLS LAST"];
        ALL[self.below(ALL.len())]
    }

    fn limit(&mut self, statement: &mut Statement, ties: bool) {
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

    fn grouped(&mut self, depth: usize) -> Statement {
        let joins = self.joins();
        let (names, from) = self.from(depth, joins);
        let mut select = Select { from, ..Select::default() };
        select.conditions = self.conditions(&names, depth);
        let count = [0, 1, 1, 1, 2, 2][self.below(6)];
        let mut keys = Vec::new();
        for _ in 0..count {
            let key = match self.below(8) {
                0 => self.number_of(&names, 1),
                1 => self.text_of(&names, 1),
                _ => self.column(&names, T::sorts).unwrap_or_else(|| ("1 + 1".to_owned(), T::Int)),
            };
            // Values differ where they are parameters: what is selected is then not what is grouped by.
            if !key.0.contains('\u{2}') {
                self.textual |= key.1.is_numbered();
                keys.push(key);
            }
        }
        for (n, (key, of)) in keys.iter().enumerate() {
            let shown = n == 0 || self.chance(0.8);
            if shown {
                let item = self.named(key.clone());
                select.items.push(item);
                select.types.push(*of);
            }
            let place = select.items.len();
            select.group.push(if shown && self.chance(0.2) { place.to_string() } else { key.clone() });
        }
        for _ in 0..self.below(3) + usize::from(select.items.is_empty()) {
            let (sql, of) = self.aggregate(&names, depth);
            select.items.push(self.named(sql));
            select.types.push(of);
        }
        if !select.group.is_empty() {
            let by = select.group.join(", ");
            let sets = match self.below(12) {
                0 => Some(format!("ROLLUP ({by})")),
                1 => Some(format!("GROUPING SETS (({by}), ())")),
                2 => Some(format!("CUBE ({by})")),
                _ => None,
            };
            // One Postgres does not order rows by a column that is in the sets twice.
            let twice = keys.len() > 1 && keys[0].0 == keys[1].0;
            let plain = |key: &String| !key.starts_with(|c: char| c.is_ascii_digit());
            if let Some(sets) = sets.filter(|_| !twice && select.group.iter().all(plain)) {
                select.group = vec![sets];
            }
            if self.chance(0.06) {
                select.items.push("count(*) OVER ()".to_owned());
                select.types.push(T::Big);
            }
        }
        if self.chance(0.25) {
            let (call, of) = self.aggregate(&names, 0);
            select.having.push(match of {
                T::Big | T::Int => format!("{call} > {}", self.int(0, 4)),
                _ => format!("{call} IS NOT NULL"),
            });
        }
        if self.chance(0.05) && select.types.iter().all(|of| of.sorts()) {
            select.distinct = "DISTINCT ".to_owned();
        }
        Statement::of(select)
    }

    /// A SELECT of a number and a text.
    fn two(&mut self, depth: usize) -> Select {
        let (names, from) = self.from(depth, 0);
        let (number, _) = self.number_of(&names, depth);
        let (text, of) = self.text_of(&names, 0);
        let conditions = self.conditions(&names, depth);
        let items = vec![format!("{number} AS n"), format!("{text} AS w")];
        Select { items, types: vec![T::Int, of], from, conditions, ..Select::default() }
    }

    fn set_operation(&mut self, depth: usize) -> Statement {
        const OPERATIONS: [&str; 6] =
            ["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL"];
        let mut statement = Statement::of(self.two(depth));
        for _ in 0..self.below(2) + 1 {
            let operation = OPERATIONS[self.below(OPERATIONS.len())];
            let select = match self.below(5) {
                0 => Select { items: vec!["3".into(), "'x'".into()], ..Select::default() },
                1 => Select { items: vec!["NULL".into(), "'a'".into()], ..Select::default() },
                _ => self.two(depth),
            };
            statement.selects.push((operation, select));
        }
        statement
    }

    fn with(&mut self, depth: usize) -> Statement {
        let kept = self.one(&["", "MATERIALIZED ", "NOT MATERIALIZED "]);
        let name = self.one(&["w", "w", "item", "\"Item\""]);
        let inner = match self.below(3) {
            0 => self.grouped(depth.min(1)),
            _ => Statement::of(self.two(depth.min(1))),
        };
        let of = inner.selects[0].1.types.clone();
        let columns: Vec<String> = (0..of.len()).map(|n| format!("c{n}")).collect();
        let cte = format!("WITH {name} ({}) AS {kept}({})", columns.join(", "), inner.marked());
        let relation = super::maker::Relation {
            label: "w1".to_owned(),
            columns: columns.into_iter().zip(of).collect(),
            key: None,
            unique: None,
        };
        let mut names = vec![relation];
        let mut from = vec![format!("{name} w1")];
        if self.chance(0.6) {
            let (joined, text) = self.relation(0);
            let whole = |of: T| matches!(of, T::Int | T::Big | T::Small);
            if let (Some((mine, _)), Some((other, _))) =
                (self.column(&names, whole), self.column(&vec![joined.clone()], whole))
            {
                from.push(format!(
                    "{} {text} ON {mine} = {other}",
                    self.one(&["JOIN", "LEFT JOIN", "RIGHT JOIN"])
                ));
                names.push(joined);
            }
        }
        let mut select = Select { from, ..Select::default() };
        for _ in 0..2 {
            let (item, of) = self.column(&names, |_| true).unwrap_or(("1".to_owned(), T::Int));
            self.textual |= of.is_numbered();
            select.items.push(item);
            select.types.push(of);
        }
        if self.chance(0.4) {
            let (call, of) = self.aggregate(&names, 0);
            select.group = if select.types.iter().all(|of| of.sorts()) {
                select.items.clone()
            } else {
                vec!["()".into()]
            };
            select.items.push(call);
            select.types.push(of);
        }
        select.conditions = self.conditions(&names, depth.min(1));
        let mut statement = Statement::of(select);
        statement.with.push(cte);
        statement
    }

    fn recursive(&mut self) -> Statement {
        let first = self.two(0);
        let all = self.one(&["UNION", "UNION"]);
        let cte = format!(
            "WITH RECURSIVE r(n, depth) AS (SELECT n, 0 FROM ({}) q {all} SELECT i.qty + r.n % 20, depth + 1 \
             FROM r JOIN item i ON i.thing_id = r.n WHERE depth < 3)",
            Statement::of(first).marked()
        );
        let select = Select {
            items: vec!["n".into(), "depth".into()],
            types: vec![T::Int, T::Int],
            from: vec!["r".into()],
            ..Select::default()
        };
        let mut statement = Statement::of(select);
        statement.with.push(cte);
        statement
    }

    /// Tables in subqueries only.
    fn without_tables(&mut self, depth: usize) -> Statement {
        let mut select = Select::default();
        for _ in 0..self.below(3) + 1 {
            let (sql, of) = match self.below(4) {
                0 => self.constant(),
                1 => {
                    let (inner, from) = self.relation(0);
                    let condition = self.condition(&vec![inner], depth.min(1));
                    (format!("EXISTS (SELECT FROM {from} WHERE {condition})"), T::Bool)
                }
                2 => {
                    let (inner, from) = self.relation(0);
                    let (number, _) = self.number_of(&vec![inner], 0);
                    (format!("ARRAY(SELECT ({number})::int4 FROM {from} ORDER BY 1)"), T::Ints)
                }
                _ => self.scalar_query(&Vec::new(), depth),
            };
            self.textual |= of.is_numbered();
            select.items.push(self.named(sql));
            select.types.push(of);
        }
        Statement::of(select)
    }

    fn distinct_on(&mut self, depth: usize) -> Statement {
        let (names, from) = self.from(depth, usize::from(depth > 1));
        let (Some(by), Some((on, of))) = (Self::unique(&names), self.column(&names, T::sorts)) else {
            return self.plain(depth);
        };
        let (shown, other) = self.column(&names, |_| true).unwrap_or((on.clone(), of));
        self.textual |= of.is_numbered() || other.is_numbered();
        let select = Select {
            distinct: format!("DISTINCT ON ({on}) "),
            items: vec![on.clone(), shown],
            types: vec![of, other],
            conditions: self.conditions(&names, depth),
            from,
            ..Select::default()
        };
        let mut statement = Statement::of(select);
        statement.order_by = vec![format!("{on}{}", self.direction())];
        statement.order_by.extend(by.split(", ").map(str::to_owned));
        statement.order = Order::Whole;
        statement
    }

    /// What Postgres refuses, whatever the rows are.
    fn wrong(&mut self) -> Statement {
        const WRONG: [&str; 30] = [
            "SELECT nosuch FROM thing",
            "SELECT nosuch, count(*) FROM thing GROUP BY 1",
            "SELECT a FROM nosuch",
            "SELECT id FROM thing x JOIN item y ON x.id = y.thing_id",
            "SELECT a, count(*) FROM thing",
            "SELECT a FROM thing GROUP BY s",
            "SELECT a FROM thing ORDER BY 3",
            "SELECT a FROM thing GROUP BY 5",
            "SELECT a FROM thing ORDER BY a LIMIT -1",
            "SELECT a FROM thing LIMIT 'x'",
            "SELECT a FROM thing OFFSET -2",
            "SELECT a FROM thing WHERE count(*) > 1",
            "SELECT sum(count(*)) FROM thing",
            "SELECT nosuch(a) FROM thing",
            "SELECT a + t FROM thing",
            "SELECT a FROM thing WHERE a = 'x'",
            "SELECT a FROM thing WHERE user_id = 'x'",
            "SELECT max(b) FROM thing",
            "SELECT js FROM thing GROUP BY js",
            "SELECT DISTINCT pt FROM thing",
            "SELECT pt FROM thing ORDER BY pt",
            "SELECT DISTINCT a FROM thing ORDER BY s",
            "SELECT a FROM thing UNION SELECT t FROM thing",
            "SELECT a, s FROM thing UNION SELECT a FROM thing",
            "SELECT (SELECT id FROM thing)",
            "SELECT (SELECT a, s FROM thing LIMIT 1)",
            "SELECT a / 0 FROM thing WHERE a > 0",
            "SELECT a FROM thing WHERE user_id = 3 AND nosuch = 2",
            "SELECT x.a FROM thing y",
            "SELECT row_number() OVER (ORDER BY id) FROM thing WHERE rank() OVER () > 1",
        ];
        let mut statement = Statement::of(Select::default());
        statement.raw = Some(self.one(&WRONG).to_owned());
        statement
    }
}
