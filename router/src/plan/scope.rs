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
    /// A derived table whose columns are known.
    Derived(Vec<Column>),
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

#[derive(Debug, Default)]
struct Scope {
    parent: Option<ScopeId>,
    names: Vec<(String, Mention)>,
    /// Columns merged by USING: an unqualified reference means the first.
    merged: HashSet<String>,
}

/// Every scope and mention of a statement.
#[derive(Debug, Default)]
pub struct Scopes {
    scopes: Vec<Scope>,
    mentions: Vec<Source>,
}

impl Scopes {
    /// A scope inside another.
    pub fn open(&mut self, parent: Option<ScopeId>) -> ScopeId {
        self.scopes.push(Scope { parent, ..Scope::default() });
        ScopeId(self.scopes.len() - 1)
    }

    /// A mention under a name.
    pub fn mention(&mut self, scope: ScopeId, name: String, source: Source) -> Mention {
        self.mentions.push(source);
        let mention = Mention(self.mentions.len() - 1);
        self.scopes[scope.0].names.push((name, mention));
        mention
    }

    /// Marks a column as merged by USING.
    pub fn merge(&mut self, scope: ScopeId, column: &str) {
        self.scopes[scope.0].merged.insert(column.to_owned());
    }

    /// Mentions made directly in a scope, in order, with their names.
    pub fn names(&self, scope: ScopeId) -> &[(String, Mention)] {
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
            Source::Derived(columns) => Some(columns.iter().any(|c| c.name == column)),
            Source::Opaque => None,
        }
    }

    /// The OID of a column's type.
    pub fn type_of(&self, node: &Node) -> Option<u32> {
        match self.source(node.0) {
            Source::Table(table) => table.column(&node.1).map(|i| table.columns[i].type_oid),
            Source::Derived(columns) => columns.iter().find(|c| c.name == node.1)?.type_oid,
            Source::Opaque => None,
        }
    }

    /// The column that an expression means, if it is a plain reference that means just one.
    pub fn resolve(&self, scope: ScopeId, expr: &Expr) -> Option<Node> {
        match expr {
            Expr::Nested(inner) => self.resolve(scope, inner),
            Expr::Identifier(column) => self.unqualified(scope, &folded(column)),
            Expr::CompoundIdentifier(parts) => {
                let (column, table) = parts.split_last()?;
                // schema.table.column names the table as well as table.column does, if no alias hides it.
                self.qualified(scope, &folded(table.last()?), &folded(column))
            }
            _ => None,
        }
    }

    fn unqualified(&self, scope: ScopeId, column: &str) -> Option<Node> {
        let level = &self.scopes[scope.0];
        let mut found = None;
        for (_, mention) in &level.names {
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

    fn qualified(&self, scope: ScopeId, table: &str, column: &str) -> Option<Node> {
        let level = &self.scopes[scope.0];
        let mut named = level.names.iter().filter(|(name, _)| name == table);
        match (named.next(), named.next()) {
            (Some((_, mention)), None) => {
                (self.has(*mention, column) == Some(true)).then(|| (*mention, column.to_owned()))
            }
            (None, _) => self.qualified(level.parent?, table, column),
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
