//! setval of a sequence that counts on every shard, in turns. Its arguments are a query of their own, which runs as any other
//! does; then each shard's sequence is set.

use super::scope::folded;
use crate::schema::GroupId;
use crate::sql::scan::{all_tokens, identifier};
use sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    ObjectName, Query, SelectItem, SetExpr, Statement, Value,
};
use std::ops::Range;

/// A call of setval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVal {
    /// The group of the sequence's table.
    pub group: GroupId,
    /// Which sequence is meant, as SQL that names no column.
    pub sequence: String,
    /// A query for the other arguments: rows of a value, and of whether that was given.
    pub arguments: String,
    /// The same in two steps, where they need no more of a table than aggregates of it.
    pub partly: Option<Partly>,
    /// Types of parameters that are arguments by themselves, by their numbers from 0.
    pub inferred: Vec<(usize, u32)>,
    /// The name of the answer's column.
    pub label: String,
}

impl SetVal {
    /// The types of its parameters, of which some were declared.
    pub fn types(&self, declared: &[u32]) -> Vec<u32> {
        let mut types = declared.to_vec();
        for &(number, oid) in &self.inferred {
            if types.len() <= number {
                types.resize(number + 1, 0);
            }
            if types[number] == 0 {
                types[number] = oid;
            }
        }
        types
    }
}

/// A query that works on aggregates: these are found by each shard for its rows, and the rest is about one row of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partly {
    /// Gives them.
    pub aggregates: String,
    /// The query without a table, around them.
    around: Vec<String>,
}

impl Partly {
    /// The query for what they are.
    pub fn with(&self, values: &[String]) -> String {
        let values = values.iter().map(String::as_str).chain([""]);
        self.around.iter().zip(values).map(|(text, value)| format!("{text}{value}")).collect()
    }
}

/// What the first argument says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// The sequence of this name.
    Sequence(String),
    /// That of a column of a table of this name.
    OfTable(String),
}

/// The one call of setval that a query selects, and nothing else: what its first argument says, and the column's name.
pub(super) fn only_call(statement: &Statement) -> Option<(Meant, String)> {
    let Statement::Query(query) = statement else { return None };
    let SetExpr::Select(select) = &*query.body else { return None };
    if !is_plain(query) || select.distinct.is_some() || select.into.is_some() || select.having.is_some() {
        return None;
    }
    if !matches!(&select.group_by, GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty()) {
        return None;
    }
    let (call, label) = match &select.projection[..] {
        [SelectItem::UnnamedExpr(Expr::Function(call))] => (call, "setval".to_owned()),
        [SelectItem::ExprWithAlias { expr: Expr::Function(call), alias }] => (call, folded(alias)),
        _ => return None,
    };
    let arguments = arguments_of(call, "setval")?;
    let first = arguments.first().filter(|_| matches!(arguments.len(), 2 | 3))?;
    Some((meant(first)?, label))
}

fn is_plain(query: &Query) -> bool {
    query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
}

/// The arguments of a plain call of a function of Postgres' own.
fn arguments_of<'a>(call: &'a Function, name: &str) -> Option<Vec<&'a Expr>> {
    let plain = call.filter.is_none() && call.over.is_none() && call.within_group.is_empty();
    if !plain || !is_named(&call.name, name) {
        return None;
    }
    let FunctionArguments::List(list) = &call.args else { return None };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return None;
    }
    let value = |argument: &'a FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    };
    list.args.iter().map(value).collect()
}

fn is_named(name: &ObjectName, wanted: &str) -> bool {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(folded)).collect();
    match parts.as_deref() {
        Some([only]) => only == wanted,
        Some([schema, last]) => schema == "pg_catalog" && last == wanted,
        _ => false,
    }
}

fn meant(argument: &Expr) -> Option<Meant> {
    match argument {
        Expr::Nested(inner) => meant(inner),
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            let is_regclass = match data_type {
                DataType::Regclass => true,
                DataType::Custom(name, _) => is_named(name, "regclass"),
                _ => false,
            };
            is_regclass.then(|| meant(expr)).flatten()
        }
        Expr::Value(_) => string(argument).map(Meant::Sequence),
        Expr::Function(call) => match &arguments_of(call, "pg_get_serial_sequence")?[..] {
            [table, column] => string(column).and(string(table)).map(Meant::OfTable),
            _ => None,
        },
        _ => None,
    }
}

fn string(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::DollarQuotedString(text) => Some(text.value.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// A text with one call of setval, in pieces.
pub(super) struct Cut {
    pub(super) sequence: String,
    pub(super) arguments: String,
    pub(super) partly: Option<Partly>,
    pub(super) inferred: Vec<(usize, u32)>,
}

/// Cuts a text with one call of setval: the first argument, and the text with the others in the place of the call, whole and
/// in parts.
pub(super) fn cut(text: &str) -> Option<Cut> {
    let tokens = all_tokens(text)?;
    let is = |n: usize, what: &str| tokens.get(n).is_some_and(|range| &text[range.clone()] == what);
    let mut calls =
        (0..tokens.len()).filter(|&n| identifier(&text[tokens[n].clone()]) == "setval" && is(n + 1, "("));
    let call = calls.next().filter(|_| calls.next().is_none())?;
    let (arguments, close) = arguments_at(text, &tokens, call + 1)?;
    let qualified = call >= 2 && is(call - 1, ".");
    let start = tokens[if qualified { call - 2 } else { call }].start;
    let argument = |n: usize| arguments.get(n).map(|range| text[range.clone()].to_owned());
    // As arguments of functions they are cast as setval itself would have them, and no further.
    // A comment at an argument's end must not swallow what comes behind it.
    let called = argument(2).unwrap_or_else(|| "true".to_owned());
    let others = format!(
        "pg_catalog.int8up({}\n) AS value, pg_catalog.booleq(true, {called}\n) AS called",
        argument(1).filter(|_| arguments.len() <= 3)?
    );
    // The column's name is the answer's.
    let mut behind = close.end;
    let next = tokens.partition_point(|range| range.start < close.end);
    let labelled = !is(next, ";") && tokens.get(next).is_some_and(|range| !is_from(&text[range.clone()]));
    if labelled {
        let last = if text[tokens[next].clone()].eq_ignore_ascii_case("as") { next + 1 } else { next };
        behind = tokens.get(last)?.end;
    }
    let end = tokens.iter().rev().find(|range| &text[(*range).clone()] != ";")?.end.max(behind);
    let (before, behind) = (&text[..start], &text[behind..end]);
    let inferred = |(n, oid): (usize, u32)| {
        let param = argument(n)?.trim().to_owned();
        let times = (0..tokens.len()).filter(|&n| is(n, &param)).count();
        let number = param.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)?;
        (times == 1).then_some((number, oid))
    };
    Some(Cut {
        sequence: argument(0)?,
        arguments: [before, &others, behind].concat(),
        partly: in_parts(before, &others, behind),
        inferred: [(1, INT8), (2, BOOL)].into_iter().filter_map(inferred).collect(),
    })
}

/// Types of setval's arguments (`pg_type.dat`).
const INT8: u32 = 20;
const BOOL: u32 = 16;

/// Words that mean the same beside any table.
const PLAIN: [&str; 25] = [
    "coalesce",
    "greatest",
    "least",
    "abs",
    "is",
    "not",
    "null",
    "true",
    "false",
    "case",
    "when",
    "then",
    "else",
    "end",
    "and",
    "or",
    "as",
    "value",
    "called",
    "pg_catalog",
    "int8",
    "bool",
    "bigint",
    "int8up",
    "booleq",
];

fn in_parts(before: &str, others: &str, behind: &str) -> Option<Partly> {
    let tokens = all_tokens(others)?;
    let (mut calls, mut around) = (Vec::new(), Vec::new());
    let (mut done, mut n) = (0, 0);
    while let Some(range) = tokens.get(n) {
        let word = others[range.clone()].to_ascii_lowercase();
        let opens = tokens.get(n + 1).is_some_and(|next| &others[next.clone()] == "(");
        let is_aggregate = opens && matches!(word.as_str(), "max" | "min" | "count");
        let is_word = word.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '"' | '$'));
        if is_aggregate {
            let (_, close) = arguments_at(others, &tokens, n + 1)?;
            around.push(others[done..range.start].to_owned());
            calls.push(&others[range.start..close.end]);
            done = close.end;
            n = tokens.partition_point(|token| token.start < done);
        } else if is_word && !PLAIN.contains(&word.as_str()) {
            return None;
        } else {
            n += 1;
        }
    }
    let whole = |call: &&str| {
        !all_tokens(call).is_some_and(|t| t.iter().any(|t| call[t.clone()].eq_ignore_ascii_case("select")))
    };
    if calls.is_empty() || !calls.iter().all(whole) {
        return None;
    }
    around.push(others[done..].to_owned());
    around[0].insert_str(0, "SELECT ");
    Some(Partly { aggregates: [before, &calls.join(", "), behind].concat(), around })
}

fn is_from(word: &str) -> bool {
    word.eq_ignore_ascii_case("from") || word.eq_ignore_ascii_case("where")
}

/// The arguments of a call whose parenthesis opens at a token, and where that closes.
fn arguments_at(
    text: &str,
    tokens: &[Range<usize>],
    open: usize,
) -> Option<(Vec<Range<usize>>, Range<usize>)> {
    let mut arguments = Vec::new();
    let (mut depth, mut start) = (0, tokens.get(open)?.end);
    for range in &tokens[open..] {
        match &text[range.clone()] {
            "(" | "[" => depth += 1,
            ")" | "]" => {
                depth -= 1;
                if depth == 0 {
                    arguments.push(start..range.start);
                    return Some((arguments, range.clone()));
                }
            }
            "," if depth == 1 => {
                arguments.push(start..range.start);
                start = range.end;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    fn call(text: &str) -> Option<(Meant, String)> {
        only_call(&Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap().remove(0))
    }

    #[test]
    fn the_forms_of_tools_are_known() {
        let of = |name: &str| Some((Meant::Sequence(name.to_owned()), "setval".to_owned()));
        assert_eq!(call("SELECT pg_catalog.setval('public.t_id_seq', 42, true);"), of("public.t_id_seq"));
        assert_eq!(call("SELECT setval('s'::regclass, 1)"), of("s"));
        let django = "SELECT setval(pg_get_serial_sequence('\"t\"','id'), coalesce(max(\"id\"), 1), max(\"id\") IS NOT null) FROM \"t\";";
        assert_eq!(call(django), Some((Meant::OfTable("\"t\"".to_owned()), "setval".to_owned())));
        let Cut { sequence, arguments, partly, .. } = cut(django).unwrap();
        assert_eq!(sequence, "pg_get_serial_sequence('\"t\"','id')");
        assert_eq!(
            arguments,
            "SELECT pg_catalog.int8up( coalesce(max(\"id\"), 1)\n) AS value, pg_catalog.booleq(true,  max(\"id\") IS NOT null\n) AS called FROM \"t\""
        );
        let partly = partly.unwrap();
        assert_eq!(partly.aggregates, "SELECT max(\"id\"), max(\"id\") FROM \"t\"");
        assert_eq!(
            partly.with(&["'7'".to_owned(), "'7'".to_owned()]),
            "SELECT pg_catalog.int8up( coalesce('7', 1)\n) AS value, pg_catalog.booleq(true,  '7' IS NOT null\n) AS called"
        );
        let rails = "SELECT pg_catalog.setval('\"s\"', (SELECT max(id) FROM t), false) AS \"It\" ;";
        assert_eq!(call(rails), Some((Meant::Sequence("\"s\"".to_owned()), "It".to_owned())));
        assert_eq!(
            cut(rails).unwrap().arguments,
            "SELECT pg_catalog.int8up( (SELECT max(id) FROM t)\n) AS value, pg_catalog.booleq(true,  false\n) AS called"
        );
        assert!(cut("SELECT setval('s', 1)").unwrap().arguments.contains("true, true\n)"));
    }

    #[test]
    fn what_needs_more_than_aggregates_is_one_query() {
        for text in [
            "SELECT setval('s', 42)",
            "SELECT setval('s', max(id) + a) FROM t",
            "SELECT setval('s', max(id) + (SELECT 1)) FROM t",
            "SELECT setval('s', max((SELECT 1))) FROM t",
            "SELECT setval('s', my(max(id))) FROM t",
        ] {
            assert_eq!(cut(text).unwrap().partly, None, "{text}");
        }
    }

    #[test]
    fn other_queries_are_not() {
        for text in [
            "SELECT setval('s', 1), 2",
            "SELECT setval('s', 1) + 1",
            "SELECT DISTINCT setval('s', 1)",
            "SELECT setval('s', id) FROM t ORDER BY id",
            "SELECT setval('s', count(*)) FROM t GROUP BY a",
            "SELECT setval(name, 1) FROM t",
            "SELECT setval($1, 1)",
            "SELECT my.setval('s', 1)",
            "SELECT setval('s')",
        ] {
            assert_eq!(call(text), None, "{text}");
        }
        assert!(cut("SELECT setval('s', setval('s', 1))").is_none());
        let inferred = |text| cut(text).unwrap().inferred;
        assert_eq!(inferred("SELECT setval('s', $2, $1)"), [(1, INT8), (0, BOOL)]);
        assert_eq!(inferred("SELECT setval('s', $1, $1 > 0)"), []);
    }
}
