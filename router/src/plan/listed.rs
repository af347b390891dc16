//! INSERTs that leave their columns unsaid, and the lists that they are sent with.
//!
//! One that waits on its server for another session's change of its table would be placed by the columns of then, while its
//! shard was found by those that it was planned with. With a list it goes by their names. `SELECT *` is left alone: where
//! both tables were changed in the same way, its columns fit by their places and no more by their names.

use super::spread::{query_width, quoted};
use crate::schema::{Kind, Table};
use crate::sql::hint;
use crate::sql::scan::{Scan, all_tokens};
use sqlparser::ast::{
    Expr, MergeAction, MergeClause, MergeInsertExpr, MergeInsertKind, ObjectName, Query, SetExpr, Statement,
    TableFactor, TableObject, Visit, Visitor,
};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Which of a text's INSERTs lack a list of columns, those of a MERGE and of a WITH among them, and the lists, as SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    lists: Box<[(usize, Box<str>)]>,
    /// How many INSERTs there are.
    inserts: usize,
}

/// What stands in the place of a piece of the client's text, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// So many are before it.
    pub at: usize,
    /// So many are not there any more.
    pub was: usize,
    /// So many stand there now.
    pub is: usize,
}

/// A place in a text with splices, which are in order, as one in the client's own. Both are counted from 1.
pub fn in_clients_text(position: usize, splices: &[Splice]) -> usize {
    let offset = position.saturating_sub(1);
    let (mut put, mut gone) = (0, 0);
    for splice in splices {
        let start = splice.at + put - gone;
        if offset < start {
            break;
        }
        if offset < start + splice.is {
            return splice.at.max(1);
        }
        put += splice.is;
        gone += splice.was;
    }
    offset + gone - put + 1
}

impl Listed {
    /// Those that a statement is to be sent with; `None` if it lacks none, or they can't be told. `table` finds tables.
    pub(super) fn of(
        statement: &Statement,
        table: impl Fn(&ObjectName) -> Option<Arc<Table>>,
        text: &str,
    ) -> Option<Self> {
        let mut inserts = Inserts { table, lists: Vec::new() };
        let _ = statement.visit(&mut inserts);
        let all = inserts.lists.len();
        let lacking = inserts.lists.into_iter().enumerate().filter_map(|(n, list)| Some((n, list?)));
        let listed = Self { lists: lacking.collect(), inserts: all };
        (!listed.lists.is_empty() && listed.places(text).is_some()).then_some(listed)
    }

    /// That of an INSERT of so many columns.
    pub fn of_columns(table: &Table, width: usize) -> Option<Self> {
        Some(Self { lists: [(0, list(table, width)?)].into(), inserts: 1 })
    }

    /// Where they belong in a text, and what is to stand there; empty if they have no place in it, or it is sent as told.
    pub fn pieces(&self, text: &str) -> Vec<(usize, &str)> {
        let is_hinted = text.contains("/*") && !matches!(hint::find(text), Ok(None));
        let places = if is_hinted { None } else { self.places(text) };
        let places = places.unwrap_or_default();
        self.lists.iter().filter_map(|(n, list)| Some((*places.get(*n)?, &**list))).collect()
    }

    /// A text with them in it, and where they were put; `None` if it is to stay as it is.
    pub fn put_into(&self, text: &str) -> Option<(String, Vec<Splice>)> {
        put_into_all(text, [(0..text.len(), self)])
    }

    /// Where the list of each INSERT stands, or would.
    fn places(&self, text: &str) -> Option<Vec<usize>> {
        let alone = if self.inserts == 1 { behind_name(text) } else { None };
        let places = alone.map(|at| vec![at]).or_else(|| behind_inserts(text))?;
        (places.len() == self.inserts).then_some(places)
    }
}

/// Finds the INSERTs of a statement, in the order of its text, and the lists that they lack.
struct Inserts<F> {
    table: F,
    lists: Vec<Option<Box<str>>>,
}

impl<F: Fn(&ObjectName) -> Option<Arc<Table>>> Visitor for Inserts<F> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        let sharded = |name| (self.table)(name).filter(|table| matches!(table.kind, Kind::Sharded { .. }));
        match statement {
            Statement::Insert(insert) => {
                let list = match &insert.table {
                    TableObject::TableName(name) if insert.columns.is_empty() => {
                        let width = insert.source.as_deref().and_then(width);
                        width.and_then(|width| list(&*sharded(name)?, width))
                    }
                    _ => None,
                };
                self.lists.push(list);
            }
            Statement::Merge(merge) => {
                let table = match &merge.table {
                    TableFactor::Table { name, .. } => sharded(name),
                    _ => None,
                };
                let of_clause = |clause: &MergeClause| match &clause.action {
                    MergeAction::Insert(insert) => Some(of_merge(insert, table.as_deref())),
                    _ => None,
                };
                self.lists.extend(merge.clauses.iter().filter_map(of_clause));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn of_merge(insert: &MergeInsertExpr, table: Option<&Table>) -> Option<Box<str>> {
    let MergeInsertKind::Values(values) = &insert.kind else { return None };
    let row = values.rows.first().filter(|_| insert.columns.is_empty())?;
    list(table?, row.content.len())
}

/// The same for several statements of one text, each with its place there.
pub fn put_into_all<'a>(
    text: &str,
    statements: impl IntoIterator<Item = (Range<usize>, &'a Listed)>,
) -> Option<(String, Vec<Splice>)> {
    let (mut sql, mut splices) = (String::new(), Vec::new());
    let (mut done, mut characters) = (0, 0);
    for (range, listed) in statements {
        for (at, list) in listed.pieces(&text[range.clone()]) {
            let at = range.start + at;
            sql.push_str(&text[done..at]);
            sql.push_str(list);
            characters += text[done..at].chars().count();
            splices.push(Splice { at: characters, was: 0, is: list.chars().count() });
            done = at;
        }
    }
    sql.push_str(&text[done..]);
    (!splices.is_empty()).then_some((sql, splices))
}

/// The first columns of a table. A row may have fewer values than that, and not more: then Postgres says so.
fn list(table: &Table, width: usize) -> Option<Box<str>> {
    let names: Vec<String> = table.columns.iter().take(width).map(|column| quoted(&column.name)).collect();
    (!names.is_empty()).then(|| format!(" ({})", names.join(", ")).into())
}

/// How many values each row has.
fn width(source: &Query) -> Option<usize> {
    match &*source.body {
        SetExpr::Values(values) => {
            let row = &values.rows.first()?.content;
            let is_one = |value: &Expr| !matches!(value, Expr::Wildcard(_) | Expr::QualifiedWildcard(..));
            row.iter().all(is_one).then_some(row.len())
        }
        _ => query_width(source),
    }
}

/// Bytes of a text in which the name of an INSERT's table stands, as a rule.
const NEAR: usize = 512;

/// Where an INSERT's list stands: behind the table's name, or its alias. What comes after is not looked at, be it long.
fn behind_name(text: &str) -> Option<usize> {
    let near = (0..=NEAR.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    // The last word of a text that was cut off may not be whole.
    behind_name_in(&text[..near], 2).or_else(|| behind_name_in(text, 1))
}

/// The same in a text where so many words must stand behind the name.
fn behind_name_in(text: &str, more: usize) -> Option<usize> {
    let mut scan = Scan::default();
    // What was found before something that is not closed will do.
    let _ = scan.run(text);
    let is = |n: usize, word: &str| {
        scan.words.get(n).is_some_and(|&(start, end)| text[start..end].eq_ignore_ascii_case(word))
    };
    if !is(0, "insert") || !is(1, "into") {
        return None;
    }
    let mut last = 2;
    while is(last + 1, ".") {
        last += 2;
    }
    if is(last + 1, "as") {
        last += 2;
    }
    scan.words.get(last + more)?;
    scan.words.get(last).map(|&(_, end)| end)
}

/// The same for each INSERT of a text: behind its table's name or alias, or behind the word in a MERGE.
fn behind_inserts(text: &str) -> Option<Vec<usize>> {
    let tokens = all_tokens(text)?;
    let is = |n: usize, word: &str| {
        tokens.get(n).is_some_and(|range| text[range.clone()].eq_ignore_ascii_case(word))
    };
    let last = |n: usize| {
        if !is(n, "insert") {
            return None;
        }
        if !is(n + 1, "into") {
            return (n > 0 && is(n - 1, "then")).then_some(n);
        }
        let mut last = n + 2;
        while is(last + 1, ".") {
            last += 2;
        }
        Some(if is(last + 1, "as") { last + 2 } else { last })
    };
    (0..tokens.len()).filter_map(last).map(|last| tokens.get(last).map(|range| range.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(inserts: usize, lists: &[(usize, &str)]) -> Listed {
        Listed { lists: lists.iter().map(|(n, list)| (*n, (*list).into())).collect(), inserts }
    }

    fn listed(text: &str) -> Option<(String, Vec<Splice>)> {
        own(1, &[(0, " (\"a\", \"é\")")]).put_into(text)
    }

    #[test]
    fn a_list_stands_behind_the_name_or_the_alias() {
        for (text, expected) in [
            ("INSERT INTO t VALUES (1)", "INSERT INTO t (\"a\", \"é\") VALUES (1)"),
            ("insert into s . t(SELECT 1)", "insert into s . t (\"a\", \"é\")(SELECT 1)"),
            (
                "/* x */ INSERT INTO \"T.x\" AS \"y\" -- c\nVALUES ('é', 'x')",
                "/* x */ INSERT INTO \"T.x\" AS \"y\" (\"a\", \"é\") -- c\nVALUES ('é', 'x')",
            ),
            (
                "INSERT INTO s.t AS x OVERRIDING SYSTEM VALUE VALUES (1)",
                "INSERT INTO s.t AS x (\"a\", \"é\") OVERRIDING SYSTEM VALUE VALUES (1)",
            ),
        ] {
            assert_eq!(listed(text).map(|(sql, _)| sql).as_deref(), Some(expected));
        }
        for text in ["UPDATE t SET a = 1", "/* shard: 1 */ INSERT INTO t VALUES (1)"] {
            assert_eq!(listed(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_far_behind_is_found() {
        let text = format!("/*{}*/ INSERT INTO t VALUES ('{}')", "é".repeat(NEAR), "x".repeat(NEAR));
        let (sql, splices) = listed(&text).unwrap();
        assert!(sql.contains("INSERT INTO t (\"a\", \"é\") VALUES"));
        assert_eq!(splices[0].at, NEAR + 18);
        for cut in 0..40 {
            let text = format!("{}INSERT INTO name AS alias VALUES (1)", " ".repeat(NEAR - cut));
            assert!(listed(&text).unwrap().0.ends_with("alias (\"a\", \"é\") VALUES (1)"), "{cut}");
        }
    }

    #[test]
    fn places_lead_back_to_the_clients_text() {
        let text = "INSERT INTO t VALUES (1); SELECT 1; INSERT INTO t VALUES (x)";
        let list = own(1, &[(0, " (\"a\")")]);
        let (sql, splices) = put_into_all(text, [(0..25, &list), (35..text.len(), &list)]).unwrap();
        assert_eq!(sql, "INSERT INTO t (\"a\") VALUES (1); SELECT 1; INSERT INTO t (\"a\") VALUES (x)");
        for place in ["INSERT", "VALUES", "SELECT", "x"] {
            let (now, before) = (sql.find(place).unwrap() + 1, text.find(place).unwrap() + 1);
            assert_eq!(in_clients_text(now, &splices), before, "{place}");
        }
        assert_eq!(in_clients_text(sql.rfind("INSERT").unwrap() + 1, &splices), 37);
        // In the list itself: at the name.
        assert_eq!(in_clients_text(16, &splices), 13);
        let replaced = [Splice { at: 4, was: 2, is: 5 }];
        assert_eq!([4, 5, 9, 10].map(|at| in_clients_text(at, &replaced)), [4, 4, 4, 7]);
    }

    #[test]
    fn each_insert_of_a_merge_or_a_with_has_its_own() {
        let merge = "MERGE INTO t USING s ON t.a = s.a WHEN NOT MATCHED AND s.b THEN INSERT VALUES (1) \
                     WHEN NOT MATCHED AND s.c THEN INSERT (a) VALUES (2) WHEN NOT MATCHED THEN INSERT VALUES (3, 4)";
        let (sql, _) = own(3, &[(0, " (a)"), (2, " (a, b)")]).put_into(merge).unwrap();
        assert!(
            sql.contains("INSERT (a) VALUES (1)") && sql.ends_with("INSERT (a, b) VALUES (3, 4)"),
            "{sql}"
        );
        let with = "WITH x AS (INSERT INTO s.t AS \"insert\" VALUES (1) RETURNING a), y AS (INSERT INTO r VALUES (2)) \
                    INSERT INTO t SELECT a FROM x";
        let (sql, _) = own(3, &[(0, " (a)"), (2, " (b)")]).put_into(with).unwrap();
        assert_eq!(
            sql,
            "WITH x AS (INSERT INTO s.t AS \"insert\" (a) VALUES (1) RETURNING a), y AS (INSERT INTO r VALUES (2)) \
             INSERT INTO t (b) SELECT a FROM x"
        );
        assert_eq!(own(2, &[(0, " (a)")]).put_into(with), None);
    }
}
