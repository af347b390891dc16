//! Names: which mention of which relation a column reference means.

use super::facts::{Mention, Node};
use crate::schema::Table;
use sqlparser::ast::{Expr, Ident, ObjectName, ObjectNamePart};
use std::collections::HashSet;
use std::sync::Arc;

/// What a mention stands for.
#[derive(Clone, Debug)]
pub enum Source {
    /// A relation of the schema.
    Table(Arc<Table>),
    /// A derived table whose columns are known, all of them or (`false`) those that have a plain name.
    Derived(Vec<Column>, bool),
    /// Something whose columns are not known: a CTE, a function, a system catalog.
    Opaque,
}

/// A derived table's column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type's OID, if it is a plain column further down.
    pub type_oid: Option<u32>,
}

/// Index of a scope in [`Scopes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeId(usize);

/// The part of a scope that an expression sees: an ON condition sees its own join alone, LATERAL what stands before
/// it. What is not found there is looked for in the scope around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    scope: ScopeId,
    from: usize,
    to: usize,
}

impl From<ScopeId> for View {
    fn from(scope: ScopeId) -> Self {
        Self { scope, from: 0, to: usize::MAX }
    }
}

/// A mention under its name.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its alias, or the relation's own name.
    pub label: String,
    /// Whether that is an alias, which hides the relation's name.
    pub aliased: bool,
    /// The mention.
    pub mention: Mention,
}

#[derive(Debug, Default)]
struct Scope {
    parent: Option<View>,
    names: Vec<Named>,
    /// Columns merged by USING: an unqualified reference means the first.
    merged: HashSet<String>,
    /// A RIGHT or FULL join merged columns: whose an unqualified one is can't be said.
    blurred: bool,
}

/// Every scope and mention of a statement.
#[derive(Debug, Default)]
pub struct Scopes {
    scopes: Vec<Scope>,
    mentions: Vec<Source>,
}

impl Scopes {
    /// A scope inside another.
    pub fn open(&mut self, parent: Option<View>) -> ScopeId {
        self.scopes.push(Scope { parent, ..Scope::default() });
        ScopeId(self.scopes.len() - 1)
    }

    /// A mention under an alias.
    pub fn alias(&mut self, scope: ScopeId, label: String, source: Source) -> Mention {
        self.mention(scope, label, true, source)
    }

    /// A mention under a name.
    pub fn mention(&mut self, scope: ScopeId, label: String, aliased: bool, source: Source) -> Mention {
        self.mentions.push(source);
        let mention = Mention(self.mentions.len() - 1);
        self.scopes[scope.0].names.push(Named { label, aliased, mention });
        mention
    }

    /// What is mentioned in a scope from the name `from` up to now.
    pub fn view(&self, scope: ScopeId, from: usize) -> View {
        View { scope, from, to: self.scopes[scope.0].names.len() }
    }

    /// Marks a column as merged by USING.
    pub fn merge(&mut self, scope: ScopeId, column: &str) {
        self.scopes[scope.0].merged.insert(column.to_owned());
    }

    /// From here on, nothing is said of unqualified columns.
    pub fn blur(&mut self, scope: ScopeId) {
        self.scopes[scope.0].blurred = true;
    }

    /// Whether a merged column's owner can't be said.
    pub fn is_blurred(&self, scope: ScopeId) -> bool {
        self.scopes[scope.0].blurred
    }

    /// Mentions made directly in a scope, in order, with their names.
    pub fn names(&self, scope: ScopeId) -> &[Named] {
        &self.scopes[scope.0].names
    }

    /// What a mention stands for.
    pub fn source(&self, mention: Mention) -> &Source {
        &self.mentions[mention.0]
    }

    /// Whether a mention surely has, may have, or has not a column.
    fn has(&self, mention: Mention, column: &str) -> Option<bool> {
        match self.source(mention) {
            Source::Table(table) => Some(table.column(column).is_some()),
            Source::Derived(columns, complete) => match columns.iter().any(|c| c.name == column) {
                true => Some(true),
                false => complete.then_some(false),
            },
            Source::Opaque => None,
        }
    }

    /// The OID of a column's type, where equal values are the same value: not under a nondeterministic collation.
    pub fn type_of(&self, node: &Node) -> Option<u32> {
        match self.source(node.0) {
            Source::Table(table) => {
                let column = &table.columns[table.column(&node.1)?];
                (!column.nondeterministic).then_some(column.type_oid)
            }
            Source::Derived(columns, _) => columns.iter().find(|c| c.name == node.1)?.type_oid,
            Source::Opaque => None,
        }
    }

    /// The column that an expression means, if it is a plain reference that means just one.
    pub fn resolve(&self, view: impl Into<View>, expr: &Expr) -> Option<Node> {
        self.resolve_in(view.into(), expr)
    }

    fn resolve_in(&self, view: View, expr: &Expr) -> Option<Node> {
        match expr {
            Expr::Nested(inner) => self.resolve_in(view, inner),
            Expr::Identifier(column) => self.unqualified(view, &folded(column)),
            Expr::CompoundIdentifier(parts) => {
                let (column, table) = parts.split_last()?;
                let (table, schema) = table.split_last()?;
                self.qualified(view, schema.last().map(folded).as_deref(), &folded(table), &folded(column))
            }
            _ => None,
        }
    }

    /// Whether a reference may mean a column, or a whole row, of this scope or of one around it.
    pub fn may_own(&self, scope: ScopeId, expr: &Expr) -> bool {
        let level = &self.scopes[scope.0];
        let here = |named: &Named| match expr {
            Expr::Identifier(name) => {
                let name = folded(name);
                named.label == name || self.has(named.mention, &name) != Some(false)
            }
            Expr::CompoundIdentifier(parts) => parts.iter().any(|part| named.label == folded(part)),
            _ => false,
        };
        level.names.iter().any(here) || level.parent.is_some_and(|parent| self.may_own(parent.scope, expr))
    }

    fn visible(&self, view: View) -> &[Named] {
        let names = &self.scopes[view.scope.0].names;
        let to = view.to.min(names.len());
        &names[view.from.min(to)..to]
    }

    fn unqualified(&self, view: View, column: &str) -> Option<Node> {
        let level = &self.scopes[view.scope.0];
        if level.blurred {
            return None;
        }
        let mut found = None;
        for Named { mention, .. } in self.visible(view) {
            match (self.has(*mention, column), &found) {
                // It may be that one's column.
                (None, _) => return None,
                (Some(false), _) => {}
                (Some(true), None) => found = Some(*mention),
                (Some(true), Some(_)) if level.merged.contains(column) => {}
                (Some(true), Some(_)) => return None,
            }
        }
        match found {
            Some(mention) => Some((mention, column.to_owned())),
            None => self.unqualified(level.parent?, column),
        }
    }

    fn qualified(&self, view: View, schema: Option<&str>, table: &str, column: &str) -> Option<Node> {
        let is_meant = |named: &&Named| match (schema, self.source(named.mention)) {
            _ if named.label != table => false,
            (None, _) => true,
            (Some(schema), Source::Table(table)) => !named.aliased && table.schema == schema,
            (Some(_), _) => !named.aliased,
        };
        let mut named = self.visible(view).iter().filter(is_meant);
        match (named.next(), named.next()) {
            (Some(Named { mention, .. }), None) => {
                (self.has(*mention, column) == Some(true)).then(|| (*mention, column.to_owned()))
            }
            (None, _) => self.qualified(self.scopes[view.scope.0].parent?, schema, table, column),
            (Some(_), Some(_)) => None,
        }
    }
}

/// An identifier as Postgres folds it.
pub fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        // Postgres folds ASCII; other letters depend on the server's locale and are left.
        None => ident.value.to_ascii_lowercase(),
    }
}

/// Schema and name of a relation; `None` for what is no plain name.
pub fn relation_name(name: &ObjectName) -> Option<(Option<String>, String)> {
    let mut parts = Vec::with_capacity(2);
    for part in &name.0 {
        match part {
            ObjectNamePart::Identifier(ident) => parts.push(folded(ident)),
            ObjectNamePart::Function(_) => return None,
        }
    }
    match parts.len() {
        1 => parts.pop().map(|name| (None, name)),
        // A database in front may only be the current one, which Postgres checks itself.
        2 | 3 => {
            let name = parts.pop()?;
            parts.pop().map(|schema| (Some(schema), name))
        }
        _ => None,
    }
}

/// Whether two columns of these types are equal exactly if their keys' canonical texts are.
pub fn comparable(a: u32, b: u32) -> bool {
    const INTEGERS: [u32; 3] = [20, 21, 23];
    const TEXTS: [u32; 2] = [25, 1043];
    a == b || [&INTEGERS[..], &TEXTS[..]].iter().any(|family| family.contains(&a) && family.contains(&b))
}
