//! FROM: its tables, joins and derived tables, and what a join's condition says about which of them.

use super::forms::{is_only, plain};
use super::{Analyzer, Block, Condition, Ctes, Outcome, Sees, direct_queries};
use crate::plan::Refusal;
use crate::plan::facts::{Facts, Mention, Node};
use crate::plan::scope::{Column, Named, ScopeId, Source, View, folded, relation_name};
use sqlparser::ast::{
    Expr, Join, JoinConstraint, JoinOperator, ObjectName, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins,
};

/// Where a join stands among the joins of its FROM item.
#[derive(Clone, Copy)]
struct JoinPlace {
    /// Tables, and names of WITH, in front of the item.
    first: (usize, usize),
    /// First name of the item.
    first_name: usize,
    /// Whether no RIGHT or FULL join follows, so that its condition holds for every row.
    kept: bool,
}

/// A derived table's column: its name, and the column that it is, if it is a plain one.
pub(super) type Output = (String, Option<Node>);

impl Analyzer<'_> {
    pub(super) fn table_with_joins<'q>(
        &mut self,
        tables: &'q TableWithJoins,
        scope: ScopeId,
        facts: &mut Facts,
        block: &mut Block<'q>,
        ctes: &Ctes,
    ) -> Outcome {
        let first = block.len();
        let first_name = self.scopes.names(scope).len();
        let optional = |join: &Join| {
            use JoinOperator as J;
            matches!(join.join_operator, J::Right(_) | J::RightOuter(_) | J::FullOuter(_))
        };
        let last_optional = tables.joins.iter().rposition(optional);
        if last_optional.is_some()
            && tables.joins.iter().map(|j| &j.relation).chain([&tables.relation]).any(is_nested_join)
        {
            return Err(Refusal::unsupported(
                "parentheses in FROM beside RIGHT or FULL JOIN are not supported across shards yet",
            ));
        }
        self.factor(&tables.relation, scope, facts, block, ctes, &[])?;
        for (i, join) in tables.joins.iter().enumerate() {
            let kept = last_optional.is_none_or(|last| i > last);
            self.join(join, scope, facts, block, ctes, JoinPlace { first, first_name, kept })?;
        }
        Ok(())
    }

    fn join<'q>(
        &mut self,
        join: &'q Join,
        scope: ScopeId,
        facts: &mut Facts,
        block: &mut Block<'q>,
        ctes: &Ctes,
        place: JoinPlace,
    ) -> Outcome {
        use JoinOperator as J;
        let here = block.len();
        match &join.join_operator {
            J::Join(c) | J::Inner(c) | J::CrossJoin(c) => {
                self.factor(&join.relation, scope, facts, block, ctes, &[])?;
                match c {
                    JoinConstraint::On(condition) => {
                        let view = self.scopes.view(scope, place.first_name);
                        nested_in(condition, view, block);
                        if place.kept {
                            self.conjuncts(condition, view, facts);
                            block.filters.push((condition, view));
                        } else {
                            // An outer join that follows keeps rows for which this does not hold.
                            block.conditions.push(Condition::On(condition, view));
                            for (_, _, conditions) in &mut block.tables[place.first.0..] {
                                conditions.push(block.conditions.len() - 1);
                            }
                        }
                    }
                    JoinConstraint::Using(columns) => {
                        let pairs = self.using(columns, scope, place.first_name);
                        if place.kept {
                            pairs.iter().for_each(|(a, b)| self.equal(facts, a, b));
                        }
                    }
                    JoinConstraint::Natural | JoinConstraint::None => {}
                }
                Ok(())
            }
            J::Left(c) | J::LeftOuter(c) => {
                let condition = outer_condition(c, block);
                self.factor(&join.relation, scope, facts, block, ctes, &condition)?;
                self.place_condition(c, scope, place, block, &condition);
                if let (JoinConstraint::On(on), TableFactor::Table { .. }, [(mention, ..)]) =
                    (c, &join.relation, &block.tables[here.0..])
                {
                    block.own_filters.push((*mention, on, self.scopes.view(scope, place.first_name)));
                }
                block.nullable_from(here);
                Ok(())
            }
            J::Right(c) | J::RightOuter(c) => {
                let condition = outer_condition(c, block);
                for (_, _, conditions) in &mut block.tables[place.first.0..here.0] {
                    conditions.extend_from_slice(&condition);
                }
                block.nullable_from(place.first);
                self.factor(&join.relation, scope, facts, block, ctes, &[])?;
                self.place_condition(c, scope, place, block, &condition);
                self.blur_merged(c, scope);
                Ok(())
            }
            J::FullOuter(c) => {
                self.factor(&join.relation, scope, facts, block, ctes, &[])?;
                if let JoinConstraint::On(condition) = c {
                    nested_in(condition, self.scopes.view(scope, place.first_name), block);
                }
                block.nullable_from(place.first);
                self.blur_merged(c, scope);
                Ok(())
            }
            _ => Err(Refusal::unsupported("this kind of join is not supported")),
        }
    }

    /// RIGHT and FULL joins merge columns into ones that are not the first owner's.
    fn blur_merged(&mut self, c: &JoinConstraint, scope: ScopeId) {
        if matches!(c, JoinConstraint::Using(_) | JoinConstraint::Natural) {
            self.scopes.blur(scope);
        }
    }

    /// Once both sides of a join are named, its condition sees them.
    fn place_condition<'q>(
        &mut self,
        c: &'q JoinConstraint,
        scope: ScopeId,
        place: JoinPlace,
        block: &mut Block<'q>,
        noted: &[usize],
    ) {
        let view = self.scopes.view(scope, place.first_name);
        let condition = match c {
            JoinConstraint::On(condition) => {
                nested_in(condition, view, block);
                Condition::On(condition, view)
            }
            JoinConstraint::Using(columns) => Condition::Using(self.using(columns, scope, place.first_name)),
            JoinConstraint::Natural | JoinConstraint::None => return,
        };
        noted.iter().for_each(|&index| block.conditions[index] = condition.clone());
    }

    /// USING: the last mention's columns, each with the earlier one that it equals, where that can be said.
    fn using(&mut self, columns: &[ObjectName], scope: ScopeId, first_name: usize) -> Vec<(Node, Node)> {
        let mut pairs = Vec::new();
        for column in columns.iter().filter_map(relation_name).map(|(_, name)| name) {
            let names = &self.scopes.names(scope)[first_name..];
            let Some((Named { mention: right, .. }, left)) = names.split_last() else { break };
            let owner =
                left.iter().map(|n| (n.mention, column.clone())).find(|n| self.scopes.type_of(n).is_some());
            if let (Some(owner), false) = (owner, self.scopes.is_blurred(scope)) {
                pairs.push((owner, (*right, column.clone())));
            }
            self.scopes.merge(scope, &column);
        }
        pairs
    }

    fn factor<'q>(
        &mut self,
        factor: &'q TableFactor,
        scope: ScopeId,
        facts: &mut Facts,
        block: &mut Block<'q>,
        ctes: &Ctes,
        conditions: &[usize],
    ) -> Outcome {
        match factor {
            TableFactor::Table { name, alias, args, .. } => {
                let label = alias.as_ref().map(|a| folded(&a.name));
                if alias.as_ref().is_some_and(|a| !a.columns.is_empty()) && args.is_none() {
                    return self.renamed_relation(name, label.unwrap_or_default(), scope, ctes);
                }
                if args.is_some() {
                    // A table in parentheses behind ONLY, and no function.
                    if is_only(name) {
                        return Err(Refusal::unsupported(
                            "ONLY (table) is not supported over shards; leave the parentheses out",
                        ));
                    }
                    self.lateral_in(factor, scope, block);
                    self.found.relations += 1;
                    let label = label.or_else(|| relation_name(name).map(|(_, n)| n)).unwrap_or_default();
                    self.scopes.alias(scope, label, Source::Opaque);
                    return Ok(());
                }
                self.relation(name, label, scope, block, ctes, conditions)
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let label = alias.as_ref().map(|a| folded(&a.name)).unwrap_or_default();
                let renamed = alias.as_ref().is_some_and(|a| !a.columns.is_empty());
                match plain(subquery, self.schema).filter(|_| !lateral && !renamed && conditions.is_empty()) {
                    Some(select) => self.inline(select, label, scope, facts, block, ctes),
                    None => {
                        let sees = if *lateral { Sees::Block } else { Sees::Outside };
                        block.queries.push(((**subquery).clone(), self.scopes.view(scope, 0), sees));
                        self.scopes.alias(scope, label, Source::Opaque);
                        Ok(())
                    }
                }
            }
            TableFactor::Function { name, alias, .. } => {
                self.lateral_in(factor, scope, block);
                let label =
                    alias.as_ref().map(|a| folded(&a.name)).or_else(|| relation_name(name).map(|(_, n)| n));
                self.scopes.alias(scope, label.unwrap_or_default(), Source::Opaque);
                Ok(())
            }
            TableFactor::UNNEST { alias, .. } | TableFactor::TableFunction { alias, .. } => {
                self.lateral_in(factor, scope, block);
                let label = alias.as_ref().map(|a| folded(&a.name)).unwrap_or_default();
                self.scopes.alias(scope, label, Source::Opaque);
                Ok(())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } if conditions.is_empty() => {
                self.table_with_joins(table_with_joins, scope, facts, block, ctes)
            }
            _ => Err(Refusal::unsupported("this form of FROM is not supported across shards yet")),
        }
    }

    /// Queries in a function's arguments see what stands before it in FROM.
    fn lateral_in(&self, factor: &TableFactor, scope: ScopeId, block: &mut Block<'_>) {
        let view = self.scopes.view(scope, 0);
        block.queries.extend(direct_queries(factor).into_iter().map(|q| (q, view, Sees::Block)));
    }

    /// A derived table that only filters and picks columns: what holds inside holds outside, and the reverse.
    fn inline<'q>(
        &mut self,
        select: &'q Select,
        label: String,
        scope: ScopeId,
        facts: &mut Facts,
        block: &mut Block<'q>,
        ctes: &Ctes,
    ) -> Outcome {
        let inner = self.scopes.open(None);
        self.block_of(select, inner, facts, block, ctes)?;
        let Some((outputs, complete)) = self.outputs(&select.projection, inner) else {
            self.scopes.alias(scope, label, Source::Opaque);
            return Ok(());
        };
        let columns = outputs.iter().map(|(name, node)| Column {
            name: name.clone(),
            type_oid: node.as_ref().and_then(|n| self.scopes.type_of(n)),
        });
        let mention = self.scopes.alias(scope, label, Source::Derived(columns.collect(), complete));
        for (name, node) in &outputs {
            // A name that two columns have means neither.
            let unique = outputs.iter().filter(|(other, _)| other == name).count() == 1;
            if let (Some(node), true) = (node, unique) {
                self.equal(facts, node, &(mention, name.clone()));
            }
        }
        Ok(())
    }

    /// A SELECT's columns, as far as they have plain names, and whether those are all; `None` where that can't be said.
    pub(super) fn outputs(&self, items: &[SelectItem], inner: ScopeId) -> Option<(Vec<Output>, bool)> {
        let (mut outputs, mut complete) = (Vec::new(), true);
        for item in items {
            match item {
                SelectItem::ExprWithAlias { expr, alias } => {
                    outputs.push((folded(alias), self.scopes.resolve(inner, expr)));
                }
                SelectItem::UnnamedExpr(expr) => match column_name(expr) {
                    Some(name) => outputs.push((name, self.scopes.resolve(inner, expr))),
                    None => complete = false,
                },
                SelectItem::Wildcard(_) => {
                    let [Named { mention, .. }] = self.scopes.names(inner) else { return None };
                    outputs.extend(self.all_columns(*mention)?);
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let (None, label) = relation_name(name)? else { return None };
                    let mut of = self.scopes.names(inner).iter().filter(|named| named.label == label);
                    let (Some(named), None) = (of.next(), of.next()) else { return None };
                    outputs.extend(self.all_columns(named.mention)?);
                }
                _ => return None,
            }
        }
        Some((outputs, complete))
    }

    /// All columns of a table, or of rows of WITH.
    pub(super) fn all_columns(&self, mention: Mention) -> Option<Vec<Output>> {
        let column = |name: &String| (name.clone(), Some((mention, name.clone())));
        match self.scopes.source(mention) {
            Source::Table(table) => Some(table.columns.iter().map(|c| column(&c.name)).collect()),
            Source::Derived(columns, true) if self.in_with => {
                Some(columns.iter().map(|c| column(&c.name)).collect())
            }
            _ => None,
        }
    }
}

/// The column that Postgres names an expression after, if it is a plain reference.
fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => column_name(inner),
        Expr::Identifier(name) => Some(folded(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        _ => None,
    }
}

fn is_nested_join(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::NestedJoin { .. })
}

fn nested_in<'q>(condition: &'q Expr, view: View, block: &mut Block<'q>) {
    block.queries.extend(direct_queries(condition).into_iter().map(|q| (q, view, Sees::Outside)));
}

/// Makes room for an outer join's condition; its index for the nullable side's tables.
fn outer_condition(c: &JoinConstraint, block: &mut Block<'_>) -> Vec<usize> {
    match c {
        JoinConstraint::On(_) | JoinConstraint::Using(_) => {
            block.conditions.push(Condition::Using(Vec::new()));
            vec![block.conditions.len() - 1]
        }
        JoinConstraint::Natural | JoinConstraint::None => Vec::new(),
    }
}
