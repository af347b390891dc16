//! A statement in pieces: written with literals or with parameters, and made smaller as long as it still fails.

use super::types::T;

/// A value of a statement. In its pieces stands [`Value::mark`].
#[derive(Clone, Debug)]
pub struct Value {
    /// As a literal of SQL.
    pub literal: String,
    /// As a parameter; `None` is NULL.
    pub text: Option<String>,
    /// The cast that a parameter needs to be of the right type; "" where its place says that.
    pub cast: &'static str,
}

impl Value {
    /// What stands for the value with this number.
    pub fn mark(number: usize) -> String {
        format!("\u{2}{number}\u{3}")
    }
}

/// One SELECT.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// DISTINCT, DISTINCT ON (…), ALL or nothing.
    pub distinct: String,
    pub items: Vec<String>,
    /// Types of the items.
    pub types: Vec<T>,
    /// The first relation, and what is joined to it.
    pub from: Vec<String>,
    pub conditions: Vec<String>,
    pub group: Vec<String>,
    pub having: Vec<String>,
    pub windows: Vec<String>,
}

impl Select {
    fn write(&self) -> String {
        let mut sql = format!("SELECT {}{}", self.distinct, self.items.join(", "));
        let mut clause = |word: &str, pieces: &[String], between: &str| {
            if !pieces.is_empty() {
                sql.push_str(&format!(" {word} {}", pieces.join(between)));
            }
        };
        clause("FROM", &self.from, " ");
        clause("WHERE", &self.conditions, " AND ");
        clause("GROUP BY", &self.group, ", ");
        clause("HAVING", &self.having, " AND ");
        clause("WINDOW", &self.windows, ", ");
        sql
    }
}

/// How far the order of a statement's rows is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Not at all.
    Any,
    /// These columns of the rows, from 0, are in order; what is equal in them may come in any.
    By(Vec<usize>),
    /// Wholly.
    Whole,
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Statement {
    pub values: Vec<Value>,
    /// Common table expressions, with the word WITH in front of the first.
    pub with: Vec<String>,
    /// SELECTs, and the set operation in front of each but the first.
    pub selects: Vec<(&'static str, Select)>,
    pub order_by: Vec<String>,
    /// LIMIT, OFFSET and the like.
    pub tail: Vec<String>,
    pub order: Order,
    /// Another whole text in place of all that.
    pub raw: Option<String>,
    /// Whether it shows values that are in binary form not the same in two databases.
    pub textual: bool,
}

impl Statement {
    /// One of a single SELECT.
    pub fn of(select: Select) -> Self {
        Self {
            values: Vec::new(),
            with: Vec::new(),
            selects: vec![("", select)],
            order_by: Vec::new(),
            tail: Vec::new(),
            order: Order::Any,
            raw: None,
            textual: false,
        }
    }

    /// One that is written already. What stands between « and » is a parameter where it is asked for with some.
    pub fn written_by_hand(sql: &str) -> Self {
        let mut statement = Self::of(Select::default());
        let mut pieces = sql.split('«');
        let mut raw = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (value, rest) = piece.split_once('»').expect("a value ends");
            let text = (value != "NULL").then(|| value.trim_matches('\'').to_owned());
            raw.push_str(&format!("{}{rest}", Value::mark(statement.values.len())));
            statement.values.push(Value { literal: value.to_owned(), text, cast: "" });
        }
        statement.raw = Some(raw);
        statement
    }

    /// With marks for values.
    pub fn marked(&self) -> String {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut sql = String::new();
        if !self.with.is_empty() {
            sql.push_str(&format!("{} ", self.with.join(", ")));
        }
        let several = self.selects.len() > 1;
        for (operation, select) in &self.selects {
            let text = select.write();
            let text = if several && select.items.len() % 2 == 0 { format!("({text})") } else { text };
            sql.push_str(&if operation.is_empty() { text } else { format!(" {operation} {text}") });
        }
        if !self.order_by.is_empty() {
            sql.push_str(&format!(" ORDER BY {}", self.order_by.join(", ")));
        }
        for piece in &self.tail {
            sql.push_str(&format!(" {piece}"));
        }
        sql
    }

    /// With literals.
    pub fn sql(&self) -> String {
        self.written(|value| value.literal.clone())
    }

    /// With parameters, and what they are.
    pub fn with_params(&self) -> (String, Vec<Value>) {
        let mut params: Vec<Value> = Vec::new();
        let sql = self.written(|value| {
            params.push(value.clone());
            match value.cast {
                "" => format!("${}", params.len()),
                cast => format!("${}::{cast}", params.len()),
            }
        });
        (sql, params)
    }

    fn written(&self, mut one: impl FnMut(&Value) -> String) -> String {
        let marked = self.marked();
        let mut pieces = marked.split('\u{2}');
        let mut sql = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (number, rest) = piece.split_once('\u{3}').expect("a mark ends");
            sql.push_str(&one(&self.values[number.parse::<usize>().expect("a value's number")]));
            sql.push_str(rest);
        }
        sql
    }

    /// Every statement that lacks one piece of this one.
    pub fn smaller(&self) -> Vec<Statement> {
        let mut all = Vec::new();
        let mut lists: Vec<fn(&mut Statement) -> &mut Vec<String>> = vec![
            |s| &mut s.tail,
            |s| &mut s.with,
            |s| &mut s.selects[0].1.conditions,
            |s| &mut s.selects[0].1.having,
            |s| &mut s.selects[0].1.group,
            |s| &mut s.selects[0].1.from,
        ];
        // What is cut off, or chosen, hangs on the whole order.
        if self.tail.is_empty() && !self.selects[0].1.distinct.contains(" ON ") {
            lists.push(|s| &mut s.order_by);
            lists.push(|s| &mut s.selects[0].1.items);
        }
        for (n, list) in lists.iter().enumerate() {
            for at in (0..list(&mut self.clone()).len()).rev() {
                let mut less = self.clone();
                list(&mut less).remove(at);
                if n >= 6 {
                    less.order = Order::Any;
                }
                all.push(less);
            }
        }
        for at in 0..self.selects.len() {
            if self.selects.len() > 1 {
                let mut less = self.clone();
                less.selects.remove(at);
                less.selects[0].0 = "";
                all.push(less);
            }
        }
        if !self.selects[0].1.distinct.is_empty() {
            let mut less = self.clone();
            less.selects[0].1.distinct.clear();
            all.push(less);
        }
        if self.raw.is_some() { Vec::new() } else { all }
    }
}
