//! set_config in a SELECT: a parameter that is set for the transaction or for the session.
//!
//! What such a call changes would stay on one pooled server, unseen; so it is only taken where all of it is understood.

use super::scope::folded;
use super::{Assigned, Refusal, SettingCall, SettingValue};
use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName,
    Query, Select, SelectItem, SetExpr, Statement, Value, Visit, Visitor,
};
use std::ops::ControlFlow;

/// `SELECT set_config('name', 'value', true)`, or with `false`, or several of them, beside nothing but
/// `current_setting(…)`. `None`: no such call. Errors: a call whose effect is not understood. Where nothing is sharded, a
/// call for the transaction alone may be anything.
pub(super) fn setting_call(statement: &Statement, unsharded: bool) -> Result<Option<SettingCall>, Refusal> {
    let mut calls = Calls::default();
    let _ = statement.visit(&mut calls);
    if calls.all == 0 {
        return Ok(None);
    }
    if unsharded && calls.local == calls.all {
        return Ok(Some(SettingCall::Local { search_path: None }));
    }
    let refused = Refusal {
        code: "0A000",
        message: "set_config is supported in a SELECT of its own, with a constant name and is_local"
            .to_owned(),
        hint: "Use SET, which Shardway puts in place on every server that serves this client.",
    };
    let Statement::Query(query) = statement else { return Err(refused) };
    let SetExpr::Select(select) = &*query.body else { return Err(refused) };
    if let Some(assigned) = known_only(query, select) {
        return Ok(Some(SettingCall::Session(vec![assigned])));
    }
    if !select.from.is_empty() || select.selection.is_some() {
        return Err(refused);
    }
    let Some(functions) = select.projection.iter().map(function).collect::<Option<Vec<_>>>() else {
        return Err(refused);
    };
    let (set, others): (Vec<&Function>, Vec<&Function>) =
        functions.into_iter().partition(|f| is_set_config(f));
    if set.len() != calls.all || !others.iter().all(|f| function_name(&f.name) == "current_setting") {
        return Err(refused);
    }
    let Some(parsed) = set.iter().map(|f| parse(f)).collect::<Option<Vec<_>>>() else { return Err(refused) };
    match (parsed.iter().all(|(_, local)| *local), parsed.iter().any(|(_, local)| *local)) {
        (true, _) => {
            let paths = parsed.into_iter().rev().find(|(assigned, _)| assigned.name == "search_path");
            Ok(Some(SettingCall::Local { search_path: paths.map(|(assigned, _)| assigned.value) }))
        }
        (_, false) => {
            Ok(Some(SettingCall::Session(parsed.into_iter().map(|(assigned, _)| assigned).collect())))
        }
        _ => Err(refused),
    }
}

fn function(item: &SelectItem) -> Option<&Function> {
    match item {
        SelectItem::UnnamedExpr(Expr::Function(f))
        | SelectItem::ExprWithAlias { expr: Expr::Function(f), .. } => Some(f),
        _ => None,
    }
}

fn is_set_config(function: &Function) -> bool {
    function_name(&function.name) == "set_config"
}

/// What a call sets, and whether for the transaction alone.
fn parse(function: &Function) -> Option<(Assigned, bool)> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [name, value, local] = &list.args[..] else { return None };
    let Value::SingleQuotedString(name) = constant(name)? else { return None };
    let value = match plain(value)? {
        Value::SingleQuotedString(text) => SettingValue::Text(text.clone()),
        placeholder => SettingValue::Param(super::query::conditions::placeholder(placeholder)?),
    };
    Some((Assigned { name: name.to_ascii_lowercase(), value, if_known: false }, truth(local)?))
}

/// `SELECT set_config(name, 'value', false) FROM pg_settings WHERE name = 'parameter'`, as pg_dump sets what older servers do
/// not have.
fn known_only(query: &Query, select: &Select) -> Option<Assigned> {
    let ([item], [from], Some(condition)) = (&select.projection[..], &select.from[..], &select.selection)
    else {
        return None;
    };
    let call = function(item).filter(|call| is_set_config(call))?;
    let FunctionArguments::List(list) = &call.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column))), value, local] =
        &list.args[..]
    else {
        return None;
    };
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return None };
    let (Expr::Identifier(asked), Expr::Value(name)) = (&**left, &**right) else { return None };
    let (Value::SingleQuotedString(name), Value::SingleQuotedString(value)) = (&name.value, plain(value)?)
    else {
        return None;
    };
    let named = folded(column) == "name" && folded(asked) == "name" && name != "search_path";
    let simple = format!("SELECT {item} FROM {from} WHERE {condition}") == query.to_string();
    let settings = matches!(from.to_string().as_str(), "pg_settings" | "pg_catalog.pg_settings");
    let session = truth(local) == Some(false);
    (named && simple && settings && session).then(|| Assigned {
        name: name.to_ascii_lowercase(),
        value: SettingValue::Text(value.clone()),
        if_known: true,
    })
}

/// The value to be set: what is cast to text is what it is.
fn plain(arg: &FunctionArg) -> Option<&Value> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Cast {
            expr, data_type: DataType::Text, ..
        })) => match &**expr {
            Expr::Value(v) => Some(&v.value),
            _ => None,
        },
        arg => constant(arg),
    }
}

/// A constant that is true or false.
fn truth(arg: &FunctionArg) -> Option<bool> {
    match constant(arg)? {
        Value::Boolean(truth) => Some(*truth),
        Value::SingleQuotedString(text) => match text.trim().to_ascii_lowercase().as_str() {
            "t" | "true" | "on" | "1" | "y" | "yes" => Some(true),
            "f" | "false" | "off" | "0" | "n" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn is_local(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.args.get(2).and_then(truth) == Some(true))
}

fn constant(arg: &FunctionArg) -> Option<&Value> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(v))) => Some(&v.value),
        _ => None,
    }
}

fn function_name(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default()
}

#[derive(Default)]
struct Calls {
    all: usize,
    /// For the transaction alone.
    local: usize,
}

impl Visitor for Calls {
    type Break = ();
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(f) = expr
            && is_set_config(f)
        {
            self.all += 1;
            self.local += usize::from(is_local(f));
        }
        ControlFlow::Continue(())
    }
}
