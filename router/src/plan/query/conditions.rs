//! Conditions: which columns an AND-ed equality makes equal, and where the values stand that it pins them to.

use super::{Analyzer, Block, Condition};
use crate::plan::facts::{Facts, Mention, Node};
use crate::plan::pin::{KeySource, Pin, Sign, Sources};
use crate::plan::scope::{View, comparable};
use shardway_shardmap::ParamType;
use sqlparser::ast::{BinaryOperator, DataType, ExactNumberInfo, Expr, UnaryOperator, Value};
use std::collections::{HashMap, HashSet};

impl Analyzer<'_> {
    /// The facts that hold for the nullable side of outer joins.
    pub(super) fn with_conditions(
        &self,
        facts: &Facts,
        block: &Block<'_>,
        conditions: &[usize],
    ) -> Option<Facts> {
        if conditions.is_empty() {
            return None;
        }
        let mut local = facts.clone();
        let mut due = conditions.to_vec();
        let mut done = HashSet::new();
        while let Some(index) = due.pop() {
            if !done.insert(index) {
                continue;
            }
            let strict = match &block.conditions[index] {
                Condition::On(condition, view) => {
                    self.conjuncts(condition, *view, &mut local);
                    self.strict_mentions(condition, *view)
                }
                Condition::Using(pairs) => {
                    pairs.iter().for_each(|(a, b)| self.equal(&mut local, a, b));
                    pairs.iter().flat_map(|(a, b)| [a.0, b.0]).collect()
                }
            };
            // `c LEFT JOIN … ON c.k = b.k` matches only where b is no null row, so where b's own condition held.
            for mention in strict {
                let of = block.tables.iter().filter(|(m, ..)| *m == mention);
                due.extend(of.flat_map(|(_, _, own)| own.iter().copied()));
            }
        }
        Some(local)
    }

    /// Mentions with a column in an AND-ed equality of the condition: none of them is a null row where it holds.
    fn strict_mentions(&self, condition: &Expr, scope: View) -> Vec<Mention> {
        match condition {
            Expr::Nested(inner) => self.strict_mentions(inner, scope),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                let mut all = self.strict_mentions(left, scope);
                all.extend(self.strict_mentions(right, scope));
                all
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                [left, right].iter().filter_map(|e| self.scopes.resolve(scope, e)).map(|n| n.0).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Takes every AND-ed equality of a condition into the facts.
    pub(super) fn conjuncts(&self, condition: &Expr, scope: impl Into<View>, facts: &mut Facts) {
        let scope = scope.into();
        match condition {
            Expr::Nested(inner) => self.conjuncts(inner, scope, facts),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conjuncts(left, scope, facts);
                self.conjuncts(right, scope, facts);
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                self.equality(left, right, scope, facts)
            }
            Expr::InList { expr, list, negated: false } => {
                if let Some(node) = self.scopes.resolve(scope, expr)
                    && let Some(sources) = list.iter().map(|e| self.key_source(e)).collect::<Option<Vec<_>>>()
                {
                    self.has(facts, &node, Sources::List(sources), list);
                }
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                if let Some(node) = self.scopes.resolve(scope, left)
                    && let Some(sources) = self.array(right)
                {
                    self.has(facts, &node, sources, []);
                }
            }
            _ => {}
        }
    }

    fn equality(&self, left: &Expr, right: &Expr, scope: View, facts: &mut Facts) {
        let (a, b) = (self.scopes.resolve(scope, left), self.scopes.resolve(scope, right));
        match (a, b) {
            (Some(a), Some(b)) => self.equal(facts, &a, &b),
            (Some(node), None) => {
                if let Some(source) = self.key_source(right) {
                    self.has(facts, &node, Sources::List(vec![source]), [right]);
                }
            }
            (None, Some(node)) => {
                if let Some(source) = self.key_source(left) {
                    self.has(facts, &node, Sources::List(vec![source]), [left]);
                }
            }
            (None, None) => self.row_equality(left, right, scope, facts),
        }
    }

    /// `(a, b) = (1, 2)`
    fn row_equality(&self, left: &Expr, right: &Expr, scope: View, facts: &mut Facts) {
        if let (Expr::Tuple(left), Expr::Tuple(right)) = (left, right)
            && left.len() == right.len()
        {
            left.iter().zip(right).for_each(|(l, r)| self.equality(l, r, scope, facts));
        }
    }

    /// Takes a column's values into the facts, unless values that are not the same may be equal there.
    fn has<'e>(
        &self,
        facts: &mut Facts,
        node: &Node,
        sources: Sources,
        exprs: impl IntoIterator<Item = &'e Expr>,
    ) {
        let Some(oid) = self.scopes.type_of(node) else { return };
        exprs.into_iter().for_each(|expr| self.note_use(expr, oid));
        facts.has(node, sources);
    }

    /// Notes a parameter that stands beside a column of a type: there it is of that type, or of one like it.
    pub fn note_use(&self, expr: &Expr, oid: u32) {
        match expr {
            Expr::Nested(inner) => self.note_use(inner, oid),
            Expr::Value(value) => {
                if let Some(number) = placeholder(&value.value) {
                    let start = value.span.start;
                    self.key_uses.borrow_mut().insert((number, start.line, start.column), oid);
                }
            }
            _ => {}
        }
    }

    /// Settles, once all is seen, which parameters are used for nothing but columns like the key, or under the same cast.
    pub fn settle(&self, pin: &mut Pin, oid: u32) {
        let mut alike: HashMap<usize, usize> = HashMap::new();
        for ((number, ..), other) in &*self.key_uses.borrow() {
            *alike.entry(*number).or_default() += usize::from(comparable(*other, oid));
        }
        let settle = |source: &mut KeySource| {
            if let KeySource::Param { number, cast, as_text, elsewhere } = source {
                let alike = alike.get(number).copied().unwrap_or(0);
                let uses = self.param_uses.get(number);
                let cast = if *as_text { Some(ParamType::Text) } else { *cast };
                let alike = match cast {
                    None => alike,
                    Some(own) => {
                        let beside = if comparable(oid_of(own), oid) { alike } else { 0 };
                        let same = |to: &&DataType| cast_type(to) == cast;
                        beside + uses.map_or(0, |uses| uses.casts.iter().filter(same).count())
                    }
                };
                *elsewhere = uses.map_or(0, |uses| uses.all) > alike.max(1);
            }
        };
        match &mut pin.sources {
            Sources::List(list) => list.iter_mut().for_each(settle),
            Sources::Array(source) => std::iter::once(source).for_each(settle),
        }
    }

    pub(super) fn equal(&self, facts: &mut Facts, a: &Node, b: &Node) {
        if let (Some(x), Some(y)) = (self.scopes.type_of(a), self.scopes.type_of(b))
            && comparable(x, y)
        {
            facts.equal(a, b);
        }
    }

    fn array(&self, expr: &Expr) -> Option<Sources> {
        match expr {
            Expr::Nested(inner) => self.array(inner),
            Expr::Array(array) => {
                array.elem.iter().map(|e| self.key_source(e)).collect::<Option<Vec<_>>>().map(Sources::List)
            }
            Expr::Value(_) => self.key_source(expr).map(Sources::Array),
            Expr::Cast { expr, data_type: DataType::Array(inner), .. } => {
                let sqlparser::ast::ArrayElemTypeDef::SquareBracket(element, _) = inner else { return None };
                let cast = Some(cast_type(element)?);
                match self.array(expr)? {
                    Sources::Array(KeySource::Literal { index, sign: Sign::Bare, cast: None }) => {
                        Some(Sources::Array(KeySource::Literal { index, sign: Sign::Bare, cast }))
                    }
                    Sources::Array(KeySource::Param { number, cast: None, as_text: false, elsewhere }) => {
                        Some(Sources::Array(KeySource::Param { number, cast, as_text: false, elsewhere }))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Where a key value stands, if the expression is a constant that can be read without evaluating.
    pub fn key_source(&self, expr: &Expr) -> Option<KeySource> {
        match expr {
            Expr::Nested(inner) => self.key_source(inner),
            Expr::Value(value) => match &value.value {
                Value::Null => Some(KeySource::Null),
                Value::Placeholder(_) => {
                    let number = placeholder(&value.value)?;
                    let elsewhere = self.param_uses.get(&number).is_some_and(|uses| uses.all > 1);
                    Some(KeySource::Param { number, cast: None, as_text: false, elsewhere })
                }
                _ => {
                    let start = value.span.start;
                    let index = self.places.literal_at(start.line, start.column)?;
                    Some(KeySource::Literal { index, sign: Sign::Bare, cast: None })
                }
            },
            Expr::UnaryOp { op: op @ (UnaryOperator::Minus | UnaryOperator::Plus), expr } => {
                let sign = if *op == UnaryOperator::Minus { Sign::Minus } else { Sign::Plus };
                match self.key_source(expr)? {
                    KeySource::Literal { index, sign: Sign::Bare, cast: None } => {
                        Some(KeySource::Literal { index, sign, cast: None })
                    }
                    _ => None,
                }
            }
            Expr::Cast { expr, data_type, format: None, .. } => self.cast(expr, data_type),
            Expr::TypedString(typed) => {
                let start = typed.value.span.start;
                let index = self.places.literal_at(start.line, start.column)?;
                let cast = Some(cast_type(&typed.data_type)?);
                Some(KeySource::Literal { index, sign: Sign::Bare, cast })
            }
            _ => None,
        }
    }

    fn cast(&self, expr: &Expr, data_type: &DataType) -> Option<KeySource> {
        let cast = Some(cast_type(data_type)?);
        // What is text is read by the next type as its text is.
        const TEXT: Option<ParamType> = Some(ParamType::Text);
        match self.key_source(expr)? {
            KeySource::Literal { index, sign, cast: None } => Some(KeySource::Literal { index, sign, cast }),
            KeySource::Literal { index, sign: Sign::Bare, cast: TEXT } => {
                Some(KeySource::Literal { index, sign: Sign::Bare, cast })
            }
            KeySource::Param { number, cast: None, as_text: false, elsewhere } => {
                Some(KeySource::Param { number, cast, as_text: false, elsewhere })
            }
            KeySource::Param { number, cast: TEXT, as_text: false, elsewhere } => {
                Some(KeySource::Param { number, cast, as_text: true, elsewhere })
            }
            KeySource::Null => Some(KeySource::Null),
            _ => None,
        }
    }
}

/// The object id of one of these types; 0 for another.
fn oid_of(cast: ParamType) -> u32 {
    match cast {
        ParamType::Int2 => 21,
        ParamType::Int4 => 23,
        ParamType::Int8 => 20,
        ParamType::Text => 25,
        ParamType::Varchar => 1043,
        ParamType::Uuid => 2950,
        ParamType::Numeric => 1700,
        _ => 0,
    }
}

/// The types under which a cast value is still read without evaluating: no length, no precision.
fn cast_type(data_type: &DataType) -> Option<ParamType> {
    match data_type {
        DataType::SmallInt(None) | DataType::Int2(None) => Some(ParamType::Int2),
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => Some(ParamType::Int4),
        DataType::BigInt(None) | DataType::Int8(None) => Some(ParamType::Int8),
        DataType::Text => Some(ParamType::Text),
        DataType::Varchar(None) | DataType::CharacterVarying(None) => Some(ParamType::Varchar),
        DataType::Uuid => Some(ParamType::Uuid),
        DataType::Numeric(ExactNumberInfo::None) | DataType::Decimal(ExactNumberInfo::None) => {
            Some(ParamType::Numeric)
        }
        _ => None,
    }
}

/// A parameter's number, from 0.
pub fn placeholder(value: &Value) -> Option<usize> {
    let Value::Placeholder(name) = value else { return None };
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}
