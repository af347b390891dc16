//! Statements about the system's catalogs, which one shard answers: the first, of the group whose tables they name.
//!
//! Tools look into catalogs by whatever SQL their server understands, so what the parser does not know is looked at by its
//! tokens: where nothing but catalogs can be meant behind FROM, and no word is the name of a table or of a function that
//! reads some, it is theirs.

use super::Builder;
use crate::plan::traits::{is_of_objects, reads_by_text};
use crate::plan::{Access, Plan, Route};
use crate::schema::{GroupId, ShardRef};
use crate::sql::command::Command;
use crate::sql::scan::{all_tokens, identifier};
use shardway_pool::catalog::Name;
use shardway_shardmap::ShardId;
use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Statement, Value,
    visit_expressions,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Columns of catalogs that have names of relations in them.
const RELATION_NAMES: [&str; 6] =
    ["relname", "table_name", "tablename", "viewname", "matviewname", "indexname"];

impl Builder<'_> {
    /// The plan of a statement that only its tokens are known of, if catalogs are all that it can mean.
    pub(super) fn of_catalogs(&self, command: &Command) -> Option<Plan> {
        if *command != Command::Plannable {
            return None;
        }
        let tokens: Vec<&str> = all_tokens(self.text)?.into_iter().map(|range| &self.text[range]).collect();
        let is_known = |word: &str| self.schema.tables().any(|table| table.name == word);
        let functions = &self.schema.functions;
        for word in tokens.iter().filter(|token| is_word(token)).map(|token| identifier(token)) {
            let acts = reads_by_text(&word) || functions.reads_tables(&word) || functions.is_volatile(&word);
            if acts || is_known(&word) || FORBIDDEN.contains(&word.as_str()) {
                return None;
            }
        }
        reads_catalogs_alone(&tokens).then(|| {
            let first = Route::One(ShardRef { group: GroupId(0), shard: ShardId(0) });
            let plan = self.simple(command.clone(), Access::Read, first);
            Plan { leaves: self.may_leave(command), shareable: self.scan.literals.is_empty(), ..plan }
        })
    }

    /// The group whose catalogs a statement is about: that of the relations which it names in strings, else the first.
    pub(super) fn group_of_catalogs(&self, statement: &Statement) -> GroupId {
        let mut found = HashSet::new();
        if self.schema.shard_counts.len() > 1 {
            for name in relation_strings(statement) {
                found.extend(self.home_of(&name));
            }
        }
        match found.into_iter().collect::<Vec<_>>()[..] {
            [group] => group,
            _ => GroupId(0),
        }
    }

    fn home_of(&self, spelled: &str) -> Option<GroupId> {
        let parts: Vec<&str> = all_tokens(spelled)?.into_iter().map(|range| &spelled[range]).collect();
        let names: Vec<Name> = match &parts[..] {
            [name] => self.path.iter().map(|schema| (schema.clone(), identifier(name))).collect(),
            [schema, ".", name] => vec![(identifier(schema), identifier(name))],
            _ => return None,
        };
        names.iter().find_map(|name| self.schema.placing.homes(name).first()).map(|home| home.group())
    }
}

/// Strings of a statement that are names of relations: of type regclass, beside columns of such names, and in calls of the
/// system's own functions.
fn relation_strings(statement: &Statement) -> Vec<String> {
    let mut all = Vec::new();
    let _ = visit_expressions(statement, |expr| {
        match expr {
            Expr::Cast { expr, data_type, .. } if is_of_objects(data_type) => all.extend(string(expr)),
            Expr::TypedString(typed) if is_of_objects(&typed.data_type) => {
                all.extend(typed.value.value.clone().into_string());
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                for (column, value) in [(left, right), (right, left)] {
                    all.extend(string(value).filter(|_| is_relation_name(column)));
                }
            }
            Expr::InList { expr, list, negated: false } if is_relation_name(expr) => {
                all.extend(list.iter().filter_map(string));
            }
            Expr::Function(call) => {
                let name = call.name.0.last().and_then(|part| part.as_ident());
                let name = name.map(|name| name.value.to_ascii_lowercase()).unwrap_or_default();
                let own = ["pg_", "to_reg", "has_"].iter().any(|start| name.starts_with(start));
                if let (true, FunctionArguments::List(list)) = (own, &call.args) {
                    all.extend(list.args.iter().filter_map(|arg| match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => string(value),
                        _ => None,
                    }));
                }
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    all
}

fn string(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => string(inner),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn is_relation_name(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => return is_relation_name(inner),
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(name) => name,
            None => return false,
        },
        _ => return false,
    };
    RELATION_NAMES.contains(&name.value.to_ascii_lowercase().as_str())
}

/// Words that no statement about catalogs needs, and that others are told by.
const FORBIDDEN: [&str; 12] = [
    // Those of one server.
    "pg_cursors",
    "insert",
    "update",
    "delete",
    "merge",
    "into",
    "table",
    "only",
    "call",
    "set_config",
    "nextval",
    "pg_listening_channels",
];

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c == '"' || c == '_' || c.is_alphabetic()) && !token.ends_with('\'')
}

/// What stands at one depth of parentheses.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Within FROM.
    from: bool,
    /// A relation comes next.
    expects: bool,
}

/// Whether nothing but catalogs, functions, queries and the names of WITH stand where relations do.
fn reads_catalogs_alone(tokens: &[&str]) -> bool {
    let upper: Vec<String> = tokens.iter().map(|token| token.to_ascii_uppercase()).collect();
    if !matches!(upper.first().map(String::as_str), Some("SELECT" | "WITH" | "VALUES")) {
        return false;
    }
    let is = |at: usize, what: &str| upper.get(at).is_some_and(|token| token == what);
    let is_query = |at: usize| ["SELECT", "WITH", "VALUES"].iter().any(|word| is(at, word));
    let named = (0..tokens.len()).filter(|&at| {
        is(at + 1, "AS")
            && (is(at + 2, "(") || is(at + 2, "MATERIALIZED") || is(at + 2, "NOT"))
            && is_word(tokens[at])
    });
    let named: HashSet<String> = named.map(|at| identifier(tokens[at])).collect();
    let mut levels = vec![Level::default()];
    let mut at = 0;
    while at < tokens.len() {
        let Some(level) = levels.last_mut() else { return false };
        match upper[at].as_str() {
            "(" | "[" => {
                let relation = level.expects && !is_query(at + 1);
                level.expects = false;
                levels.push(Level { from: relation, expects: relation });
            }
            ")" | "]" => {
                levels.pop();
            }
            "FROM" if at > 0 && is(at - 1, "DISTINCT") => {}
            "FROM" => *level = Level { from: true, expects: true },
            "JOIN" => level.expects = true,
            "," => level.expects = level.from,
            "LATERAL" => {}
            "ROWS" if level.expects && is(at + 1, "FROM") => {
                level.expects = false;
                at += 2;
                continue;
            }
            "WHERE" | "GROUP" | "ORDER" | "HAVING" | "LIMIT" | "OFFSET" | "UNION" | "INTERSECT"
            | "EXCEPT" | "WINDOW" | "FETCH" | "FOR" | "SELECT" => *level = Level::default(),
            _ if level.expects => {
                level.expects = false;
                let Some(behind) = relation(tokens, at, &named) else { return false };
                at = behind;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    levels.len() == 1
}

/// Where the name of a catalog, a function or a WITH query ends; `None` for that of anything else.
fn relation(tokens: &[&str], at: usize, named: &HashSet<String>) -> Option<usize> {
    let word = |at: usize| tokens.get(at).filter(|token| is_word(token)).map(|token| identifier(token));
    let dotted = tokens.get(at + 1) == Some(&".");
    let (schema, name, end) = match dotted {
        true => (word(at), word(at + 2)?, at + 3),
        false => (None, word(at)?, at + 1),
    };
    let is_call = tokens.get(end) == Some(&"(");
    let own = match schema.as_deref() {
        Some(schema) => matches!(schema, "pg_catalog" | "information_schema"),
        None => is_call || name.starts_with("pg_") || named.contains(&name),
    };
    own.then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(text: &str) -> bool {
        let tokens: Vec<&str> = all_tokens(text).unwrap().into_iter().map(|range| &text[range]).collect();
        reads_catalogs_alone(&tokens)
    }

    #[test]
    fn catalogs_are_told_from_other_relations_by_where_they_stand() {
        for text in [
            "SELECT 1",
            "SELECT * FROM pg_class c, pg_catalog.pg_namespace AS n WHERE c.relnamespace = n.oid",
            "SELECT x FROM (SELECT oid AS x FROM pg_type) y JOIN LATERAL unnest(ARRAY[1, 2]) z ON true",
            "WITH t AS (SELECT oid FROM pg_class) SELECT * FROM t, information_schema.columns c",
            "SELECT a IS DISTINCT FROM b FROM pg_class ORDER BY 1, 2",
            "SELECT * FROM (pg_class c LEFT JOIN pg_index i ON i.indrelid = c.oid)",
            "SELECT * FROM ROWS FROM (unnest(ARRAY[1]), generate_series(1, 2)) AS r, pg_am",
        ] {
            assert!(alone(text), "{text}");
        }
        for text in [
            "SELECT * FROM orders",
            "SELECT * FROM pg_class, orders",
            "SELECT * FROM pg_class c JOIN public.orders o ON true",
            "SELECT (SELECT count(*) FROM orders) FROM pg_class",
            "SELECT * FROM (orders o LEFT JOIN pg_class c ON true)",
            "SELECT * FROM public.pg_class",
            "WITH t AS (SELECT 1) SELECT * FROM t x, orders",
            "SELECT * FROM ROWS FROM (unnest(ARRAY[1])) AS r, orders",
            "DELETE FROM pg_class",
            "SELECT * FROM pg_class)",
        ] {
            assert!(!alone(text), "{text}");
        }
    }
}
