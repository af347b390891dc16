//! What is known to be equal in a query: columns with columns, columns with values.
//!
//! Equalities of AND-ed conditions only; a fact holds for every row that can matter. Facts are copied downwards
//! (a subquery may use what its surroundings say), never upwards.

use super::pin::Sources;
use std::collections::HashMap;

/// One relation's place in a statement: each mention of a table is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mention(pub usize);

/// A column of a mention.
pub type Node = (Mention, String);

/// Classes of equal columns, and the values they must have.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    ids: HashMap<Node, usize>,
    parents: Vec<usize>,
    values: Vec<(usize, Sources)>,
}

impl Facts {
    fn id(&mut self, node: &Node) -> usize {
        if let Some(&id) = self.ids.get(node) {
            return id;
        }
        let id = self.parents.len();
        self.parents.push(id);
        self.ids.insert(node.clone(), id);
        id
    }

    fn root(&self, mut id: usize) -> usize {
        while self.parents[id] != id {
            id = self.parents[id];
        }
        id
    }

    /// Two columns are equal.
    pub fn equal(&mut self, a: &Node, b: &Node) {
        let (a, b) = (self.id(a), self.id(b));
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a] = b;
    }

    /// A column has one of these values.
    pub fn has(&mut self, node: &Node, sources: Sources) {
        let id = self.id(node);
        self.values.push((id, sources));
    }

    /// The values of a column, its own or an equal one's; a single value before a list, a list before an array.
    pub fn values(&self, node: &Node) -> Option<&Sources> {
        let root = self.root(*self.ids.get(node)?);
        let size = |s: &&Sources| match s {
            Sources::List(list) => list.len(),
            Sources::Array(_) => usize::MAX,
        };
        self.values.iter().filter(|(id, _)| self.root(*id) == root).map(|(_, s)| s).min_by_key(size)
    }

    /// Whether two columns are known to be equal.
    pub fn are_equal(&self, a: &Node, b: &Node) -> bool {
        match (self.ids.get(a), self.ids.get(b)) {
            (Some(&a), Some(&b)) => self.root(a) == self.root(b),
            _ => a == b,
        }
    }
}
