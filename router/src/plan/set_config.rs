//! set_config in a SELECT: a parameter that is set for the transaction or for the session.
//!
//! What such a call changes would stay on one pooled server, unseen; so it is only taken where all of it is understood.

use super::scope::folded;
use super::{Assigned, Refusal, SettingCall, SettingValue};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, SelectItem, SetExpr,
    Statement, Value, Visit, Visitor,
};
use std::ops::ControlFlow;

/// `SELECT set_config('name', 'value', true)`, or with `false`, or several of them, beside nothing but
/// `current_setting(…)`. `None`: no such call. Errors: a call whose effect is not understood.
pub(super) fn setting_call(statement: &Statement) -> Result<Option<SettingCall>, Refusal> {
    let mut calls = Calls::default();
    let _ = statement.visit(&mut calls);
    if calls.0 == 0 {
        return Ok(None);
    }
    let refused = Refusal {
        code: "0A000",
        message: "set_config is supported in a SELECT of its own, with a constant name and is_local"
            .to_owned(),
        hint: "Use SET, which Shardway puts in place on every server that serves this client.",
    };
    let Statement::Query(query) = statement else { return Err(refused) };
    let SetExpr::Select(select) = &*query.body else { return Err(refused) };
    if !select.from.is_empty() || select.selection.is_some() {
        return Err(refused);
    }
    let Some(functions) = select.projection.iter().map(function).collect::<Option<Vec<_>>>() else {
        return Err(refused);
    };
    let (set, others): (Vec<&Function>, Vec<&Function>) =
        functions.into_iter().partition(|f| is_set_config(f));
    if set.len() != calls.0 || !others.iter().all(|f| function_name(&f.name) == "current_setting") {
        return Err(refused);
    }
    let Some(parsed) = set.iter().map(|f| parse(f)).collect::<Option<Vec<_>>>() else { return Err(refused) };
    if parsed.iter().any(|(assigned, _)| assigned.name == "search_path") {
        return Err(Refusal { hint: "Use SET or SET LOCAL search_path.", ..refused });
    }
    match (parsed.iter().all(|(_, local)| *local), parsed.iter().any(|(_, local)| *local)) {
        (true, _) => Ok(Some(SettingCall::Local)),
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
    let value = match constant(value)? {
        Value::SingleQuotedString(text) => SettingValue::Text(text.clone()),
        placeholder => SettingValue::Param(super::query::conditions::placeholder(placeholder)?),
    };
    let Value::Boolean(local) = constant(local)? else { return None };
    Some((Assigned { name: name.to_ascii_lowercase(), value }, *local))
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
struct Calls(usize);

impl Visitor for Calls {
    type Break = ();
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(f) = expr
            && is_set_config(f)
        {
            self.0 += 1;
        }
        ControlFlow::Continue(())
    }
}
