//! Statements of several queries: set operations, WITH, subqueries alone, and DISTINCT ON.

use super::maker::{Maker, Relation};
use super::statement::{Order, Select, Statement};
use super::types::T;

impl Maker {
    /// A SELECT of a number and a text.
    pub fn two(&mut self, depth: usize) -> Select {
        let (names, from) = self.from(depth, 0);
        let (number, _) = self.number_of(&names, depth);
        let (text, of) = self.text_of(&names, 0);
        let conditions = self.conditions(&names, depth);
        let items = vec![format!("{number} AS n"), format!("{text} AS w")];
        Select { items, types: vec![T::Int, of], from, conditions, ..Select::default() }
    }

    pub fn set_operation(&mut self, depth: usize) -> Statement {
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

    pub fn with(&mut self, depth: usize) -> Statement {
        let kept = self.one(&["", "MATERIALIZED ", "NOT MATERIALIZED "]);
        let name = self.one(&["w", "w", "item", "\"Item\""]);
        let inner = match self.below(3) {
            0 => self.grouped(depth.min(1)),
            _ => Statement::of(self.two(depth.min(1))),
        };
        let of = inner.selects[0].1.types.clone();
        let columns: Vec<String> = (0..of.len()).map(|n| format!("c{n}")).collect();
        let cte = format!("WITH {name} ({}) AS {kept}({})", columns.join(", "), inner.marked());
        let relation = Relation {
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

    pub fn recursive(&mut self) -> Statement {
        let first = Statement::of(self.two(0)).marked();
        let step = self.one(&[
            "i.qty + r.n % 20, depth + 1 FROM r JOIN item i ON i.thing_id = r.n WHERE depth < 3",
            "l.parent, depth + 1 FROM label l, r WHERE l.id = r.n AND depth < 5",
            "b.n, depth + 1 FROM r JOIN busy b ON b.thing_id = r.n LEFT JOIN label l ON l.id = b.n WHERE depth < 2",
            "(SELECT max(i.thing_id) FROM item i WHERE i.qty = r.n), depth + 1 FROM r WHERE depth < 4",
        ]);
        let cte = format!("WITH RECURSIVE r(n, depth) AS (SELECT n, 0 FROM ({first}) q UNION SELECT {step})");
        let (mut items, mut types) = (vec!["n".to_owned(), "depth".to_owned()], vec![T::Int, T::Int]);
        let mut from = vec!["r".to_owned()];
        if self.chance(0.3) {
            from.push("JOIN thing t ON t.id = n".to_owned());
            items.push("t.t".to_owned());
            types.push(T::Text);
        }
        let mut statement = Statement::of(Select { items, types, from, ..Select::default() });
        statement.with.push(cte);
        statement
    }

    /// Tables in subqueries only.
    pub fn without_tables(&mut self, depth: usize) -> Statement {
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

    pub fn distinct_on(&mut self, depth: usize) -> Statement {
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
}
