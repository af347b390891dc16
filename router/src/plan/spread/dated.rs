//! Where a write may have a string read as a date or time: one such as 'now' is read from the clock, and each shard has
//! its own. What is looked for here are the places; the strings are looked at when the statement runs (`clock.rs`).

use super::Context;
use super::clock::{calls, is_clock};
use crate::plan::scope::folded;
use crate::schema::Table;
use shardway_pool::catalog::Column;
use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Statement,
    Visit, Visitor,
};
use std::ops::ControlFlow;

/// OIDs of Postgres' own types with dates or times in them: date, time, timestamp, timestamptz, timetz; arrays of these;
/// ranges and multiranges, and arrays of these.
const DATED: [u32; 22] = [
    1082, 1083, 1114, 1184, 1266, 1182, 1183, 1115, 1185, 1270, 3908, 3910, 3912, 3909, 3911, 3913, 4533,
    4534, 4535, 6152, 6153, 6155,
];

/// From here on types are users' own.
const USERS: u32 = 16384;

/// OIDs of the types of plain text: char, name, text, unknown, bpchar, varchar.
const TEXTS: [u32; 6] = [18, 19, 25, 705, 1042, 1043];

/// Words that begin the names of types none of whose values has a date or time in it.
const UNDATED: [&str; 36] = [
    "bigint",
    "bit",
    "bool",
    "boolean",
    "bpchar",
    "bytea",
    "char",
    "character",
    "cidr",
    "citext",
    "dec",
    "decimal",
    "double",
    "float",
    "float4",
    "float8",
    "hstore",
    "inet",
    "int",
    "int2",
    "int4",
    "int8",
    "integer",
    "interval",
    "json",
    "jsonb",
    "macaddr",
    "money",
    "name",
    "nchar",
    "numeric",
    "real",
    "smallint",
    "text",
    "uuid",
    "varchar",
];

/// Functions that take no string for a date or time.
const PLAIN: [&str; 50] = [
    "abs",
    "array_append",
    "array_length",
    "array_remove",
    "avg",
    "bool_and",
    "bool_or",
    "btrim",
    "cardinality",
    "ceil",
    "ceiling",
    "char_length",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "every",
    "floor",
    "gen_random_uuid",
    "greatest",
    "initcap",
    "json_build_object",
    "jsonb_build_object",
    "jsonb_set",
    "least",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "max",
    "md5",
    "min",
    "mod",
    "nextval",
    "nullif",
    "octet_length",
    "power",
    "random",
    "repeat",
    "replace",
    "right",
    "round",
    "rpad",
    "rtrim",
    "split_part",
    "sqrt",
    "substr",
    "substring",
    "upper",
];

/// Types that are called like functions, where a string is cast to them.
const CASTS: [&str; 5] = ["date", "time", "timestamp", "timestamptz", "timetz"];

/// Whether a type of this number may hold dates or times.
pub fn is_dated_type(oid: u32) -> bool {
    DATED.contains(&oid) || oid >= USERS
}

/// Whether a column may hold dates or times.
pub(in crate::plan) fn is_dated(column: &Column) -> bool {
    let own = column.type_oid >= USERS && (column.type_kind != 'b' || column.type_name.starts_with('_'));
    DATED.contains(&column.type_oid) || own && column.type_kind != 'e'
}

fn is_plain(data_type: &DataType) -> bool {
    let name = data_type.to_string().to_ascii_lowercase();
    let name = name.trim_start_matches("pg_catalog.").trim_start_matches('"');
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    UNDATED.contains(&&name[..end])
}

impl Context<'_> {
    fn columns<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Column> {
        table.columns.iter().chain(self.found.tables.iter().flat_map(|table| &table.columns))
    }

    /// Whether a string in the statement may be read as a date or time.
    pub(super) fn reads_dates(&self, statement: &impl Visit, table: &Table) -> bool {
        struct Reads;
        impl Visitor for Reads {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                let reads = match expr {
                    Expr::Cast { data_type, .. } => !is_plain(data_type),
                    Expr::TypedString(typed) => !is_plain(&typed.data_type),
                    Expr::Extract { .. } | Expr::AtTimeZone { .. } => true,
                    _ => false,
                };
                if reads { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
        }
        self.columns(table).any(is_dated)
            || calls(statement) > 0
            || self.traits.functions.iter().any(|name| !PLAIN.contains(&name.as_str()))
            || statement.visit(&mut Reads).is_break()
    }

    /// Whether text that is not there to be looked at may be read as a date or time: that of a column, or what is put
    /// together.
    pub(super) fn casts_text(&self, statement: &Statement, table: &Table) -> bool {
        struct Casts<'a, 'b>(&'a Context<'b>, &'a Table);
        impl Visitor for Casts<'_, '_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                let casts = match expr {
                    Expr::Cast { expr, data_type, .. } if !is_plain(data_type) => {
                        self.0.may_be_text(expr, self.1)
                    }
                    Expr::Function(f) => match name_of(f) {
                        name if name.contains("_record") => true,
                        name if CASTS.contains(&name.as_str()) => arguments(f)
                            .is_none_or(|all| all.iter().any(|arg| self.0.may_be_text(arg, self.1))),
                        _ => false,
                    },
                    _ => false,
                };
                if casts { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
        }
        statement.visit(&mut Casts(self, table)).is_break()
    }

    fn may_be_text(&self, expr: &Expr, table: &Table) -> bool {
        match expr {
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => self.may_be_text(inner, table),
            // Literals and parameters are looked at.
            Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_) => false,
            Expr::Array(array) => array.elem.iter().any(|each| self.may_be_text(each, table)),
            Expr::Extract { .. } | Expr::AtTimeZone { .. } => false,
            Expr::BinaryOp { op: BinaryOperator::Plus | BinaryOperator::Minus, .. } => false,
            Expr::Function(f) => !is_clock(&name_of(f)),
            Expr::Identifier(name) => self.may_be_text_column(&folded(name), table),
            Expr::CompoundIdentifier(parts) => {
                parts.last().is_none_or(|name| self.may_be_text_column(&folded(name), table))
            }
            _ => true,
        }
    }

    fn may_be_text_column(&self, name: &str, table: &Table) -> bool {
        let mut found = self.columns(table).filter(|column| column.name == name).peekable();
        let text = |column: &Column| TEXTS.contains(&column.type_oid) || column.type_oid >= USERS;
        found.peek().is_none() || found.any(text)
    }
}

fn name_of(f: &Function) -> String {
    f.name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default()
}

fn arguments(f: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &f.args else { return None };
    let plain = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    list.args.iter().map(plain).collect()
}
