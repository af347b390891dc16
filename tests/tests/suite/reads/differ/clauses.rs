//! Statements with a subquery in a clause of its own kind each: ORDER BY, LIMIT, GROUP BY, HAVING, FILTER, windows, ON, and values.

use super::maker::{Maker, Names};
use super::statement::{Order, Select, Statement};
use super::types::T;

impl Maker {
    /// A number that a query about a row gives.
    fn asked_of(&mut self, names: &Names) -> String {
        let (inner, from) = self.relation(0);
        let condition = self.correlated(names, &inner);
        let (number, _) = self.number_of(&vec![inner], 0);
        format!(
            "(SELECT {}({number}) FROM {from} WHERE {condition})",
            self.one(&["max", "min", "count", "sum"])
        )
    }

    /// A number that a query gives which stands alone.
    fn asked_alone(&mut self) -> String {
        let (inner, from) = self.relation(0);
        let own = vec![inner];
        let condition = self.condition(&own, 0);
        format!("(SELECT count(*) % 9 FROM {from} WHERE {condition})")
    }

    pub fn with_clauses(&mut self, depth: usize) -> Statement {
        let joins = self.below(2);
        let (names, from) = self.from(depth, joins);
        let mut select = Select { from, ..Select::default() };
        select.conditions = self.conditions(&names, 0);
        let Some(by) = Self::unique(&names) else { return self.grouped_by_query(&names, select) };
        if self.chance(0.4) {
            return self.grouped_by_query(&names, select);
        }
        let (shown, of) = self.column(&names, |_| true).unwrap_or((by.clone(), T::Int));
        self.textual |= of.is_numbered();
        select.items.push(shown);
        select.types.push(of);
        let asked = self.asked_of(&names);
        match self.below(7) {
            0 => select.items.push(format!("coalesce({asked}, 0)::text")),
            1 => select.items.push(format!("rank() OVER (ORDER BY {asked})")),
            2 => select.items.push(format!("count(*) OVER (PARTITION BY {asked})")),
            3 => select.items.push(format!("ARRAY[{asked}, 3]::numeric[]")),
            4 => select.items.push(format!("CASE WHEN {asked} > 3 THEN 'more' ELSE 'less' END")),
            5 => {
                let (table, other) = self.relation(0);
                let both: Names = names.iter().cloned().chain([table.clone()]).collect();
                let condition = self.by_query(&both, 0);
                let (on, kind) = (self.link(&names, &table), self.one(&["JOIN", "LEFT JOIN"]));
                select.from.push(format!("{kind} {other} ON {on} AND {condition}"));
            }
            _ => {
                let (items, of) = self.row_of_queries(&names);
                select.items.extend(items);
                select.types.extend(of);
            }
        }
        while select.types.len() < select.items.len() {
            select.types.push(T::Vague);
        }
        let grew = select.from.len() > joins + 1;
        let mut statement = Statement::of(select);
        if grew {
            return statement;
        }
        if self.chance(0.6) {
            statement.order_by.push(format!("{asked}{}", self.direction()));
        }
        statement.order_by.extend(by.split(", ").map(str::to_owned));
        statement.order = Order::Whole;
        match self.below(4) {
            0 => statement.tail.push(format!("LIMIT {}", self.asked_alone())),
            1 => statement.tail.extend(["LIMIT 8".to_owned(), format!("OFFSET {}", self.asked_alone())]),
            _ => self.limit(&mut statement, false),
        }
        statement
    }

    fn row_of_queries(&mut self, names: &Names) -> (Vec<String>, Vec<T>) {
        let (one, two) = (self.asked_of(names), self.asked_alone());
        let values = format!("(SELECT max(v) FROM (VALUES ({one}), ({two})) AS q (v))");
        let list = format!("{two} IN ({one}, 1, 2)");
        (vec![values, list, format!("greatest({one}, {two}, 1)")], vec![T::Vague, T::Bool, T::Vague])
    }

    /// Grouped by what a query about each row says, or held to it.
    fn grouped_by_query(&mut self, names: &Names, mut select: Select) -> Statement {
        let key = self.asked_of(names);
        let (call, of) = self.aggregate(names, 0);
        match self.below(4) {
            0 => {
                select.items = vec![call, format!("{key} AS asked")];
                select.group = vec!["2".to_owned()];
                select.types = vec![of, T::Vague];
            }
            1 => {
                let alone = self.asked_alone();
                let (column, kind) = self.column(names, T::sorts).unwrap_or(("1 + 1".to_owned(), T::Int));
                self.textual |= kind.is_numbered();
                select.items = vec![column.clone(), call];
                select.group = vec![column];
                select.having.push(format!("count(*) >= {alone}"));
                select.types = vec![kind, of];
            }
            2 => {
                let condition = self.by_query(names, 0);
                select.items = vec![format!("count(*) FILTER (WHERE {condition})"), call];
                select.types = vec![T::Big, of];
            }
            _ => {
                select.items = vec![format!("sum({key})"), call];
                select.types = vec![T::Vague, of];
            }
        }
        Statement::of(select)
    }

    /// Set operations within set operations, each with an order and an end of its own.
    pub fn nested_sets(&mut self, depth: usize) -> Statement {
        const OPERATIONS: [&str; 6] =
            ["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL"];
        let branch = |this: &mut Self| {
            let text = Statement::of(this.two(depth)).marked();
            match this.below(5) {
                // Rows that are the same may be either.
                0 => format!("({text} ORDER BY 1, 2 LIMIT {})", this.int(0, 9)),
                1 => format!("(SELECT n, max(w) FROM ({text}) q GROUP BY n)"),
                2 => format!("({text} ORDER BY 2 DESC, 1 OFFSET {})", this.int(0, 5)),
                _ => text,
            }
        };
        let mut text = branch(self);
        for _ in 0..self.below(3) + 1 {
            let operation = self.one(&OPERATIONS);
            let other = branch(self);
            text = match self.below(3) {
                0 => format!("({text}) {operation} {other}"),
                1 => format!("{other} {operation} ({text})"),
                _ => format!("{text} {operation} {other}"),
            };
        }
        let mut statement = Statement::of(Select::default());
        match self.below(4) {
            0 => {
                text.push_str(" ORDER BY 1 NULLS FIRST, 2 DESC LIMIT 7");
                statement.order = Order::Whole;
            }
            1 => text = format!("SELECT count(*), max(n), min(w) FROM ({text}) q"),
            2 => {
                text = format!(
                    "WITH q AS MATERIALIZED ({text}) SELECT n FROM q WHERE n > 1 UNION SELECT n + 1 FROM q"
                )
            }
            _ => {}
        }
        statement.raw = Some(text);
        statement
    }
}
