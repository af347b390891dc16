//! What is known of the rows that a name of WITH stands for, in a statement that writes: which columns have values that the
//! text tells, and which is the key of the shard that the rows are on.

use super::forms::is_row_by_row;
use super::{Analyzer, Block, Outcome};
use crate::plan::facts::{Facts, Mention, Node};
use crate::plan::pin::{KeySource, Sources};
use crate::plan::scope::{Column, ScopeId, Source, folded, relation_name};
use crate::schema::Kind;
use shardway_shardmap::ParamType;
use sqlparser::ast::{
    Expr, FunctionArguments, GroupByExpr, Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier,
    TableAlias, Value, Values,
};
use std::collections::HashMap;

/// Names of CTEs in sight, with what is known of their rows.
pub type Ctes = HashMap<String, Known>;

/// Where rows are, when each shard runs the statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lies {
    /// That is not known.
    #[default]
    Unknown,
    /// Every shard has the same.
    Everywhere,
    /// Each is on one shard.
    Apart,
    /// There is one, of counts of such rows.
    Counted,
}

/// What is known of the rows under a name.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Columns in order, as far as they are known.
    columns: Option<Vec<Out>>,
    /// Whether those are all.
    complete: bool,
    /// Where the rows are.
    pub lies: Lies,
}

/// A column.
#[derive(Clone, Debug, Default)]
struct Out {
    name: String,
    type_oid: Option<u32>,
    /// What it has, or NULL, in every row.
    values: Option<Sources>,
    /// What it has in every row, as values that may be stored.
    stored: Option<Sources>,
    /// Whether it is, in every row, the key of a row of the same shard.
    is_home: bool,
}

/// A block whose rows are given under a name, once its facts are known.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) scope: ScopeId,
    pub(super) facts: Facts,
    /// The key that says where its rows are.
    pub(super) anchor: Option<Node>,
}

/// What a statement does to the rows that its RETURNING gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// It makes them.
    Insert,
    /// It changes them, but for their keys.
    Update,
    /// It changes them, and perhaps their keys.
    Move,
    /// It takes them away: they are given as they were.
    Delete,
}

impl Known {
    /// It as FROM sees it.
    pub(super) fn source(&self) -> Source {
        let Some(columns) = &self.columns else { return Source::Opaque };
        let column = |out: &Out| Column { name: out.name.clone(), type_oid: out.type_oid };
        Source::Derived(columns.iter().map(column).collect(), self.complete)
    }

    /// The same under the columns' new names, where the alias has some.
    pub fn renamed(mut self, alias: &TableAlias) -> Self {
        if alias.columns.is_empty() {
            return self;
        }
        match &mut self.columns {
            Some(columns) if self.complete && columns.len() >= alias.columns.len() => {
                columns.iter_mut().zip(&alias.columns).for_each(|(out, new)| out.name = folded(&new.name));
            }
            columns => *columns = None,
        }
        self
    }

    fn outs(&self) -> impl Iterator<Item = &Out> {
        let all = self.columns.as_deref().unwrap_or_default();
        // A name that two columns have means neither.
        all.iter().filter(move |out| all.iter().filter(|other| other.name == out.name).count() == 1)
    }
}

impl Block<'_> {
    /// How many tables and names of WITH it has so far.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.tables.len(), self.known.len())
    }
}

impl Analyzer<'_> {
    /// A WITH that writes is looked at from here on.
    pub fn begin_with(&mut self) {
        self.in_with = true;
    }

    /// Whether that is so.
    pub fn is_in_with(&self) -> bool {
        self.in_with
    }

    /// A part of it, under these names.
    pub fn begin_part(&mut self, names: Ctes) {
        (self.around, self.target, self.kept, self.stored_values) = (names, None, None, None);
    }

    /// The names around what is looked at.
    pub fn around(&self) -> Ctes {
        self.around.clone()
    }

    /// Whether it is known by which key the rows that are written are where they are.
    pub fn has_target(&self) -> bool {
        self.target.is_some()
    }

    /// A mention of a name of WITH.
    pub(super) fn mention_known(&mut self, mention: Mention, known: &Known, block: &mut Block<'_>) {
        self.found.unclear |= matches!(known.lies, Lies::Unknown | Lies::Counted);
        let homes = known.outs().filter(|out| out.is_home).map(|out| (mention, out.name.clone()));
        self.homes.extend(homes);
        block.known.push((mention, known.clone()));
    }

    /// Takes what is known of a block's names of WITH into its facts.
    pub(super) fn take_known(&self, block: &Block<'_>, facts: &mut Facts) {
        for (mention, known) in &block.known {
            let mut home: Option<Node> = None;
            for out in known.outs() {
                let node = (*mention, out.name.clone());
                if let Some(values) = &out.values {
                    facts.has(&node, values.clone());
                }
                if out.is_home {
                    self.equal(facts, home.get_or_insert_with(|| node.clone()), &node);
                }
            }
        }
    }

    /// The key that says where a block's rows are: that of a table, or of rows under a name, which has a row behind every one
    /// of them.
    pub(super) fn anchor_of_rows(&self, block: &Block<'_>) -> Option<Node> {
        let table = block.tables.iter().find_map(|(mention, table, conditions)| {
            let Kind::Sharded { key, .. } = table.kind else { return None };
            let stays = conditions.is_empty() && !block.nullable.contains(mention);
            stays.then(|| (*mention, table.columns[key].name.clone()))
        });
        table.or_else(|| {
            let apart = block
                .known
                .iter()
                .find(|(mention, known)| known.lies == Lies::Apart && !block.nullable.contains(mention));
            apart.map(|(mention, known)| {
                let home = known.outs().find(|out| out.is_home);
                // Without its key it equals no other.
                (*mention, home.map_or_else(String::new, |out| out.name.clone()))
            })
        })
    }

    /// The key among rows of WITH that a stored column equals.
    pub(super) fn known_anchor(&self, block: &Block<'_>, node: &Node, facts: &Facts) -> Option<Node> {
        block.known.iter().filter(|(mention, _)| !block.nullable.contains(mention)).find_map(
            |(mention, known)| {
                let homes = known.outs().filter(|out| out.is_home).map(|out| (*mention, out.name.clone()));
                homes.into_iter().find(|home| facts.are_equal(node, home))
            },
        )
    }

    /// The values that a column of a SELECT has, where rows of WITH tell them.
    pub(super) fn known_values(&self, block: &Block<'_>, node: &Node) -> Option<Sources> {
        let (_, known) = block.known.iter().find(|(mention, _)| *mention == node.0)?;
        let out = known.outs().find(|out| out.name == node.1)?;
        out.stored.clone().filter(|_| !block.nullable.contains(&node.0))
    }

    /// Notes where the rows of a name of WITH are, where every shard has some.
    pub(super) fn record_known(&mut self, block: &Block<'_>, facts: &Facts) {
        for (mention, known) in block.known.iter().filter(|(_, known)| known.lies == Lies::Apart) {
            let target = self.target.clone();
            let is_target = |node: &Node| target.as_ref().is_some_and(|t| facts.are_equal(t, node));
            let with_target = is_target(&(*mention, String::new()))
                || known.outs().filter(|out| out.is_home).any(|out| is_target(&(*mention, out.name.clone())));
            self.found.sharded.push(super::Sharded {
                pin: None,
                type_oid: 0,
                colocated: false,
                with_target,
                at_home: true,
            });
        }
    }

    /// Whether a key is that of rows of WITH, which are where the statement runs.
    pub(super) fn is_at_home(&self, node: &Node, facts: &Facts) -> bool {
        self.homes.iter().any(|home| facts.are_equal(home, node))
    }

    /// A query under a name, or the one at the end: what is known of its rows.
    pub fn named_query(&mut self, query: &Query, ctes: &Ctes) -> Outcome<Known> {
        let first = self.found.sharded.len();
        let unclear = std::mem::take(&mut self.found.unclear);
        (self.target, self.kept, self.unanchored, self.gives) = (None, None, false, true);
        let done = self.query(query, None, &Facts::default(), ctes);
        self.gives = false;
        let is_clear = !self.found.unclear;
        self.found.unclear |= unclear;
        done?;
        let sharded = &self.found.sharded[first..];
        let lies = if !is_clear {
            Lies::Unknown
        } else if sharded.is_empty() {
            Lies::Everywhere
        } else if self.unanchored || query.with.is_some() || !sharded.iter().all(|read| read.with_target) {
            Lies::Unknown
        } else if self.is_put_together(&query.body) {
            Lies::Apart
        } else if is_counted(&query.body) {
            Lies::Counted
        } else {
            Lies::Unknown
        };
        Ok(match (&*query.body, self.kept.take()) {
            (SetExpr::Select(select), Some(kept)) if query.with.is_none() => {
                self.known_of(&select.projection, &kept, lies, |_| true)
            }
            (SetExpr::Values(values), _) if query.with.is_none() => self.known_of_values(values, lies),
            _ => Known { lies, ..Known::default() },
        })
    }

    /// Whether the rows of a query are those of its parts, one after the other.
    fn is_put_together(&self, body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => is_row_by_row(select, self.schema),
            SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } => {
                *set_quantifier == SetQuantifier::All
                    && self.is_put_together(left)
                    && self.is_put_together(right)
            }
            _ => false,
        }
    }

    /// What RETURNING gives.
    pub fn given(&mut self, items: &[SelectItem], does: Does, key: Option<&str>) -> Known {
        let lies = if key.is_some() { Lies::Apart } else { Lies::Unknown };
        let Some(mut kept) = self.kept.take() else { return Known { lies, ..Known::default() } };
        let target = self.scopes.names(kept.scope).first().map(|named| named.mention);
        kept.anchor = match (target, key) {
            (Some(mention), Some(key)) if does != Does::Move => Some((mention, key.to_owned())),
            _ => None,
        };
        let anchor = kept.anchor.clone();
        // Triggers, and SET, have their say over the others.
        let stays = |node: &Node| does == Does::Delete || anchor.as_ref() == Some(node);
        self.known_of(items, &kept, lies, stays)
    }

    fn known_of(
        &self,
        items: &[SelectItem],
        kept: &Kept,
        lies: Lies,
        stays: impl Fn(&Node) -> bool,
    ) -> Known {
        let Some((outputs, complete)) = self.outputs(items, kept.scope) else {
            return Known { lies, ..Known::default() };
        };
        let in_order = complete && outputs.len() == items.len();
        let out = |(at, (name, node)): (usize, &(String, Option<Node>))| {
            let name = name.clone();
            if let Some(node) = node {
                let told = stays(node);
                let values = kept.facts.values(node).filter(|_| told).cloned();
                let is_home =
                    told && kept.anchor.as_ref().is_some_and(|anchor| kept.facts.are_equal(anchor, node));
                return Out { name, type_oid: self.scopes.type_of(node), values, stored: None, is_home };
            }
            let expr = items.get(at).filter(|_| in_order).and_then(expr_of);
            match expr.and_then(|expr| Some((self.key_source(expr)?, expr))) {
                Some((source, expr)) => self.out_of_constant(name, &source, expr),
                None => Out { name, ..Out::default() },
            }
        };
        let columns = outputs.iter().enumerate().map(out).collect();
        Known { columns: Some(columns), complete, lies }
    }

    fn out_of_constant(&self, name: String, source: &KeySource, expr: &Expr) -> Out {
        let sources = Sources::List(vec![source.clone()]);
        let type_oid = type_of_constant(source, expr);
        Out { name, type_oid, values: Some(sources.clone()), stored: Some(sources), is_home: false }
    }

    /// VALUES: each column's values, where they are all of one kind.
    fn known_of_values(&self, values: &Values, lies: Lies) -> Known {
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let columns = (0..width).map(|at| {
            let name = format!("column{}", at + 1);
            let all: Option<Vec<(KeySource, &Expr)>> = values
                .rows
                .iter()
                .map(|row| row.content.get(at).and_then(|expr| Some((self.key_source(expr)?, expr))))
                .collect();
            let Some(all) = all else { return Out { name, ..Out::default() } };
            let kinds: Vec<_> = all.iter().map(|(source, expr)| kind_of(source, expr)).collect();
            let Some((source, expr)) = all.first().filter(|_| kinds.windows(2).all(|two| two[0] == two[1]))
            else {
                return Out { name, ..Out::default() };
            };
            let one = self.out_of_constant(name, source, expr);
            let sources = Sources::List(all.iter().map(|(source, _)| source.clone()).collect());
            Out { values: Some(sources.clone()), stored: Some(sources), ..one }
        });
        Known { columns: Some(columns.collect()), complete: true, lies }
    }

    /// How many columns a SELECT gives, if that can be told.
    pub fn width(&self, select: &Select) -> Option<usize> {
        let scope = self.last_scope?;
        self.outputs(&select.projection, scope).filter(|(_, complete)| *complete).map(|(all, _)| all.len())
    }
}

/// Whether a query only counts rows.
fn is_counted(body: &SetExpr) -> bool {
    let SetExpr::Select(select) = body else { return false };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty());
    let counts = |item: &SelectItem| {
        let Some(Expr::Function(f)) = expr_of(item) else { return false };
        let bare = matches!(&f.args, FunctionArguments::List(list)
            if list.duplicate_treatment.is_none() && list.clauses.is_empty() && list.args.len() == 1);
        let plain = bare && f.over.is_none() && f.within_group.is_empty();
        plain
            && relation_name(&f.name).is_some_and(|name| match name {
                (None, name) => name == "count",
                (Some(schema), name) => schema == "pg_catalog" && name == "count",
            })
    };
    !grouped
        && select.distinct.is_none()
        && select.having.is_none()
        && select.named_window.is_empty()
        && !select.projection.is_empty()
        && select.projection.iter().all(counts)
}

fn expr_of(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// What a constant is written as: values of one column that are of several kinds are given one type.
fn kind_of(source: &KeySource, expr: &Expr) -> (u8, Option<ParamType>) {
    match source {
        KeySource::Null => (0, None),
        KeySource::Param { cast, .. } => (1, *cast),
        KeySource::Literal { cast: cast @ Some(_), .. } => (2, *cast),
        KeySource::Literal { cast: None, .. } => match written(expr) {
            Some(Value::Number(text, _)) if text.bytes().all(|b| b.is_ascii_digit()) => (3, None),
            Some(Value::Number(..)) => (4, None),
            _ => (5, None),
        },
    }
}

fn written(expr: &Expr) -> Option<&Value> {
    match expr {
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => written(inner),
        Expr::Value(value) => Some(&value.value),
        _ => None,
    }
}

/// The type of a constant in a select list, if it is one that keys are compared with.
fn type_of_constant(source: &KeySource, expr: &Expr) -> Option<u32> {
    match source {
        KeySource::Null => None,
        KeySource::Param { cast: Some(cast), .. } | KeySource::Literal { cast: Some(cast), .. } => match cast
        {
            ParamType::Int2 => Some(21),
            ParamType::Int4 => Some(23),
            ParamType::Int8 => Some(20),
            ParamType::Text => Some(25),
            ParamType::Varchar => Some(1043),
            ParamType::Uuid => Some(2950),
            _ => None,
        },
        // Without a type of its own it is text.
        KeySource::Param { cast: None, .. } => Some(25),
        KeySource::Literal { cast: None, .. } => match written(expr)? {
            Value::Number(text, _) => {
                let digits = text.bytes().all(|b| b.is_ascii_digit());
                digits.then(|| if text.parse::<i32>().is_ok() { 23 } else { 20 })
            }
            Value::SingleQuotedString(_) => Some(25),
            _ => None,
        },
    }
}
