//! What a statement does beyond naming tables: the functions it calls, the locks and settings it asks for.

use super::query::conditions::placeholder;
use super::scope::folded;
use sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, ObjectName, Query, Select, Statement, TableFactor, Visit, Visitor,
    visit_expressions,
};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Where a statement has a parameter.
#[derive(Debug, Default)]
pub struct Uses {
    /// How often.
    pub all: usize,
    /// The types that it is cast to, once for each time.
    pub casts: Vec<DataType>,
}

/// What a statement does beyond naming tables.
#[derive(Default)]
pub(super) struct Traits {
    pub(super) param_uses: HashMap<usize, Uses>,
    pub(super) relations: usize,
    pub(super) functions: Vec<String>,
    pub(super) volatile: bool,
    pub(super) locks: bool,
    /// It lists a server's cursors.
    pub(super) cursors: bool,
    /// It takes or gives up a lock of the session, or makes a table that may be temporary.
    pub(super) leaves: bool,
}

/// Built-in functions whose answer a replica, or a second call, would not repeat.
const VOLATILE: [&str; 16] = [
    "nextval",
    "setval",
    "currval",
    "lastval",
    "random",
    "gen_random_uuid",
    "uuid_generate_v4",
    "clock_timestamp",
    "txid_current",
    "pg_current_xact_id",
    "pg_notify",
    "set_config",
    "pg_sleep",
    "lo_create",
    "lo_from_bytea",
    "pg_is_in_recovery",
];

impl Traits {
    /// Those of a statement.
    pub(super) fn of(statement: &Statement) -> Self {
        let mut traits = Self::default();
        let _ = statement.visit(&mut traits);
        traits
    }

    fn function(&mut self, name: String) {
        self.leaves |= name.contains("advisory") && !name.contains("xact");
        self.volatile |= VOLATILE.contains(&name.as_str()) || name.contains("advisory");
        self.functions.push(name);
    }
}

impl Visitor for Traits {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.locks |= !query.locks.is_empty();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.leaves |= select.into.is_some();
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.relations += 1;
        self.cursors |= function_name(name) == "pg_cursors";
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                self.function(function_name(name));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(f) = expr {
            self.function(function_name(&f.name));
        }
        if let Expr::Cast { expr, data_type, .. } = expr
            && let Some(n) = placeholder_in(expr)
        {
            self.param_uses.entry(n).or_default().casts.push(data_type.clone());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &sqlparser::ast::ValueWithSpan) -> ControlFlow<()> {
        if let Some(n) = placeholder(&value.value) {
            self.param_uses.entry(n).or_default().all += 1;
        }
        ControlFlow::Continue(())
    }
}

/// The parameter that an expression is, from 0.
fn placeholder_in(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Nested(inner) => placeholder_in(inner),
        Expr::Value(value) => placeholder(&value.value),
        _ => None,
    }
}

/// Whether a statement without tables names objects of the catalog: by function, or as a value of a reg* type.
pub(super) fn looks_into_catalog(traits: &Traits, statement: &Statement) -> bool {
    let by_function = |name: &String| {
        name.starts_with("pg_")
            || name.starts_with("to_reg")
            || name.contains("_description")
            || OBJECTS.contains(&name.as_str())
            || OF_SERVER.contains(&name.as_str())
            || name == "version"
    };
    let of_type = |expr: &Expr| match names_object(expr) {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    };
    traits.functions.iter().any(by_function) || visit_expressions(statement, of_type).is_break()
}

/// Functions that say which server or database answers.
pub(super) const OF_SERVER: [&str; 4] =
    ["current_database", "current_catalog", "inet_server_addr", "inet_server_port"];

/// Types whose values are the numbers of what they name, in one database.
pub(super) const OBJECTS: [&str; 11] = [
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];

/// The type of such a value, or of several: a cast, or a literal with its type in front.
pub(super) fn names_object(expr: &Expr) -> Option<&DataType> {
    let data_type = match expr {
        Expr::Cast { data_type, .. } => data_type,
        Expr::TypedString(literal) => &literal.data_type,
        _ => return None,
    };
    is_of_objects(data_type).then_some(data_type)
}

/// Whether it is one of these types, or an array of one.
pub(super) fn is_of_objects(data_type: &DataType) -> bool {
    use ArrayElemTypeDef as E;
    match data_type {
        DataType::Regclass => true,
        DataType::Custom(name, _) => OBJECTS.contains(&function_name(name).as_str()),
        DataType::Array(
            E::AngleBracket(each) | E::SquareBracket(each, _) | E::Parenthesis(each) | E::Qualified(each, _),
        ) => is_of_objects(each),
        _ => false,
    }
}

pub(super) fn advisory(traits: &Traits) -> bool {
    traits.functions.iter().any(|n| n.starts_with("pg_advisory") || n.starts_with("pg_try_advisory"))
}

fn function_name(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default()
}

/// Whether a function reads tables, or runs statements, that it is told of in a string.
pub(crate) fn reads_by_text(name: &str) -> bool {
    name.contains("_to_xml")
        || name.starts_with("dblink")
        || name.starts_with("crosstab")
        || matches!(name, "ts_stat" | "ts_rewrite" | "connectby")
}
