//! Prepared statements as clients name them, one object for every client that prepares the same text.

use super::row_shape::RowShape;
use crate::plan::Plan;
use crate::plan::listed::Splice;
use crate::plan_cache::{Planning, SearchPath};
use crate::sql::scan::Literal;
use shardway_pool::prepared::StatementId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// A prepared statement.
#[derive(Debug)]
pub struct Prepared {
    /// Its number, and so its name on servers.
    pub id: StatementId,
    /// Its name on servers.
    pub name: Box<str>,
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
    pub path: Arc<SearchPath>,
    /// Whether it has a block comment, which may be a hint.
    pub may_hint: bool,
    /// Body of the Parse message behind the name: text, number of types, types.
    pub parse_tail: Box<[u8]>,
    /// What servers are given, where that is not just this.
    pub told: Option<Box<Told>>,
    /// What servers hold of it: shared by all that have its number.
    pub served: Arc<Served>,
    /// Its parameters' types, those that were inferred with them, once an EXECUTE had to know.
    pub parameters: OnceLock<Box<[ParameterType]>>,
}

/// The type of a parameter.
#[derive(Clone, Debug)]
pub struct ParameterType {
    /// Its object id on the server that was asked.
    pub oid: u32,
    /// As it is written.
    pub name: Box<str>,
}

/// A text that servers are given in the place of the client's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Body of the Parse message behind the name.
    pub tail: Box<[u8]>,
    /// What it has that the client's has not.
    pub splices: Vec<Splice>,
}

impl Told {
    /// Of a text with this plan; `tail` is the client's.
    pub fn of(plan: &Plan, text: &str, tail: &[u8]) -> Option<Box<Self>> {
        let (sql, splices) = plan.listed.as_ref()?.put_into(text)?;
        let types = tail.get(text.len()..)?;
        Some(Box::new(Self { tail: [sql.as_bytes(), types].concat().into(), splices }))
    }
}

impl Prepared {
    /// What servers are given: body of the Parse message behind the name.
    pub fn tail(&self) -> &[u8] {
        self.told.as_ref().map_or(&self.parse_tail, |told| &told.tail)
    }

    /// Servers must hold this version of it.
    pub fn version(&self) -> u32 {
        self.served.version.load(Ordering::Relaxed)
    }

    /// The same statement with another text for one server, which is to hold it unnamed.
    pub fn told_as(&self, id: StatementId, sql: &str, splices: Vec<Splice>) -> Self {
        let types = self.parse_tail.get(self.text.len()..).unwrap_or_default();
        let told = Told { tail: [sql.as_bytes(), types].concat().into(), splices };
        let shape = RowShape::default();
        let (told, served) = (Some(Box::new(told)), self.served.clone());
        Self { name: "".into(), told, served, ..self.anew(id, shape) }
    }

    /// The same statement as another one, whose result has this shape.
    pub fn anew(&self, id: StatementId, shape: RowShape) -> Self {
        Self {
            id,
            name: id.server_name().into(),
            text: self.text.clone(),
            types: self.types.clone(),
            literals: self.literals.clone(),
            plan: self.plan.clone(),
            planning: self.planning.clone(),
            path: self.path.clone(),
            may_hint: self.may_hint,
            parse_tail: self.parse_tail.clone(),
            told: self.told.clone(),
            served: Arc::new(Served { shape: shape.into(), ..Served::default() }),
            parameters: self.parameters.clone(),
        }
    }
}

/// What is known of a statement on servers.
#[derive(Debug, Default)]
pub struct Served {
    /// Counts up when a server's copy turned out to be out of date: the others are too.
    version: AtomicU32,
    /// The result's columns as clients were told first.
    shape: OnceLock<RowShape>,
    /// The result is another one now, and its rows would be taken for what they are not.
    changed: AtomicBool,
}

impl Served {
    /// Copies that servers have are not used any more.
    pub fn outdate(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// What clients were told of its result, if they were.
    pub fn shape(&self) -> Option<&RowShape> {
        self.shape.get()
    }

    /// Whether clients were told of columns.
    pub fn tells(&self) -> bool {
        self.shape.get().is_some_and(|shape| *shape != RowShape::default())
    }

    /// A client was told this. Whether that is what others were told.
    pub fn told(&self, shape: &RowShape) -> bool {
        let before = self.shape.get_or_init(|| shape.clone());
        if shape != before {
            self.change();
        }
        before == shape
    }

    /// Its result is another one from here on.
    pub fn change(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Whether clients that were told of its result know it no more.
    pub fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }
}

/// Statements of one text that differ in their search path or in the schema they were planned with.
type SameText = Vec<Weak<Prepared>>;

/// Statements by text and types, over all clients. Holds none alive by itself.
#[derive(Debug, Default)]
pub struct Statements {
    /// By Parse's body behind the name; those of one body differ in their search path.
    known: Mutex<HashMap<Box<[u8]>, SameText>>,
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
    pub fn find(
        &self,
        parse_tail: &[u8],
        path: &SearchPath,
        planning: &Arc<Planning>,
    ) -> Option<Arc<Prepared>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |s: &Arc<Prepared>| {
            Arc::ptr_eq(&s.planning, planning) && *s.path == *path && !s.served.is_changed()
        };
        // The youngest: an older one may be of a schema that was changed past us.
        known.get(parse_tail)?.iter().rev().filter_map(Weak::upgrade).find(fits)
    }

    /// Remembers a statement for others to share.
    pub fn add(&self, statement: &Arc<Prepared>) {
        let alive = |all: &mut Vec<Weak<Prepared>>| {
            all.retain(|statement| statement.strong_count() > 0);
            !all.is_empty()
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SWEEP_AT {
            known.retain(|_, all| alive(all));
        }
        let same_text = known.entry(statement.parse_tail.clone()).or_default();
        alive(same_text);
        same_text.push(Arc::downgrade(statement));
    }
}
