//! Prepared statements as clients name them, one object for every client that prepares the same text.

use crate::plan::Plan;
use crate::plan_cache::{Planning, SearchPath};
use crate::sql::scan::Literal;
use shardway_pool::prepared::StatementId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A prepared statement.
#[derive(Debug)]
pub struct Prepared {
    /// Its number, and so its name on servers.
    pub id: StatementId,
    /// Its text.
    pub text: Box<str>,
    /// Parameter types that the client declared.
    pub types: Box<[u32]>,
    /// Its literals.
    pub literals: Box<[Literal]>,
    /// Its plan when it was prepared.
    pub plan: Arc<Plan>,
    /// The schema and plans that this one is of.
    pub planning: Arc<Planning>,
    /// The search path that names were resolved by.
    pub path: SearchPath,
    /// Whether it has a block comment, which may be a hint.
    pub may_hint: bool,
    /// Body of the Parse message behind the name: text, number of types, types.
    pub parse_tail: Box<[u8]>,
}

type Key = (Box<[u8]>, Box<str>);

/// Statements by text and types, over all clients. Holds none alive by itself.
#[derive(Debug, Default)]
pub struct Statements {
    known: Mutex<HashMap<Key, Weak<Prepared>>>,
    next: AtomicU64,
}

/// Entries after which dead ones are swept out.
const SWEEP_AT: usize = 10_000;

impl Statements {
    /// A number that no other statement has.
    pub fn number(&self) -> StatementId {
        StatementId(self.next.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The statement with this Parse body under this search path, if some client has it and it was planned with the
    /// schema as it is now.
    pub fn find(&self, parse_tail: &[u8], path: &str, planning: &Arc<Planning>) -> Option<Arc<Prepared>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(&(parse_tail.into(), path.into()))?.upgrade()?;
        Arc::ptr_eq(&found.planning, planning).then_some(found)
    }

    /// Remembers a statement for others to share.
    pub fn add(&self, statement: &Arc<Prepared>, path: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SWEEP_AT {
            known.retain(|_, statement| statement.strong_count() > 0);
        }
        known.insert((statement.parse_tail.clone(), path.into()), Arc::downgrade(statement));
    }
}
