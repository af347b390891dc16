//! What a server was asked, and what it has said of statements and portals.

use super::super::Oids;
use crate::frame;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

/// A message that the server owes an answer to.
#[derive(Debug)]
pub(super) enum Asked {
    /// Parse, Bind, Close.
    Plain,
    /// Describe of a statement; ours is not heard by anybody else.
    Describe {
        statement: Arc<Statement>,
        ours: bool,
    },
    /// Describe of a portal, if anything of it is in binary.
    DescribePortal(Option<Arc<Portal>>),
    /// Execute, likewise.
    Execute(Option<Arc<Portal>>),
    /// A Query, or a function call.
    Query,
    Sync,
    /// The end of data that is copied in; no message by itself.
    EndOfCopy,
}

/// Columns of a result in binary that have ids in them: number and type, in the server's terms.
pub(super) type Columns = Box<[(u16, u32)]>;

/// A prepared statement.
#[derive(Debug, Default)]
pub(super) struct Statement {
    /// Types that were declared for its parameters, in the client's terms.
    declared: Box<[u32]>,
    /// Those that the server has told.
    parameters: OnceLock<Box<[u32]>>,
    /// Types of its columns, in the server's terms.
    columns: OnceLock<Box<[u32]>>,
    /// Whether the server was asked what it is.
    pub(super) asked: AtomicBool,
}

impl Statement {
    /// With the list of types that a Parse ends with.
    pub(super) fn declared(list: &[u8]) -> Self {
        Self { declared: oids(list), ..Self::default() }
    }

    /// A parameter's type, if it is known.
    pub(super) fn parameter(&self, n: usize) -> Option<u32> {
        let declared = self.declared.get(n).filter(|oid| **oid != 0);
        declared.or_else(|| self.parameters.get()?.get(n)).copied()
    }

    pub(super) fn has_parameters(&self) -> bool {
        self.parameters.get().is_some()
    }

    /// Whether its rows may have ids in them.
    pub(super) fn may_give(&self, with: &Oids) -> bool {
        self.columns.get().is_none_or(|types| types.iter().any(|oid| with.inwards().holds(*oid)))
    }

    /// From a ParameterDescription's body, in the client's terms.
    pub(super) fn tell_parameters(&self, body: &[u8]) {
        let _ = self.parameters.set(oids(body));
    }

    pub(super) fn knows_columns(&self) -> bool {
        self.columns.get().is_some()
    }

    /// From a RowDescription's body; an empty one where it gives no rows.
    pub(super) fn tell_columns(&self, body: &[u8]) {
        let _ = self.columns.set(Column::all(body).map(|column| column.oid).collect());
    }
}

/// What a statement was bound to.
#[derive(Debug, Default)]
pub(super) struct Portal {
    statement: Option<Arc<Statement>>,
    /// Which columns are in binary: a list of formats.
    formats: Box<[u8]>,
    columns: OnceLock<Columns>,
}

impl Portal {
    pub(super) fn bound(statement: Arc<Statement>, formats: &[u8]) -> Self {
        Self { statement: Some(statement), formats: formats.into(), columns: OnceLock::new() }
    }

    /// Those of its rows.
    pub(super) fn columns(&self, with: &Oids) -> &[(u16, u32)] {
        self.columns.get_or_init(|| {
            let types = self.statement.as_ref().and_then(|statement| statement.columns.get());
            let types = types.map_or(&[][..], |types| types).iter().zip(0u16..);
            let holding = types.filter(|(oid, n)| {
                Formats(&self.formats).is_binary(usize::from(*n)) && with.inwards().holds(**oid)
            });
            holding.map(|(oid, n)| (n, *oid)).collect()
        })
    }

    /// From a RowDescription's body.
    pub(super) fn tell_columns(&self, body: &[u8], with: &Oids) {
        let _ = self.columns.set(described(body, with));
    }
}

/// Those of the rows that a RowDescription announces.
pub(super) fn described(body: &[u8], with: &Oids) -> Columns {
    let all = Column::all(body).zip(0u16..);
    let holding = all.filter(|(column, _)| column.is_binary && with.inwards().holds(column.oid));
    holding.map(|(column, n)| (n, column.oid)).collect()
}

/// A list of formats; one stands for all.
#[derive(Clone, Copy)]
pub(super) struct Formats<'a>(pub(super) &'a [u8]);

impl<'a> Formats<'a> {
    /// From its count on; and what follows it.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (count, rest) = frame::i16(bytes)?;
        let (list, rest) = rest.split_at_checked(2 * usize::from(count as u16))?;
        Some((Self(list), rest))
    }

    /// Whether a value is in binary.
    pub(super) fn is_binary(self, n: usize) -> bool {
        let at = if self.0.len() == 2 { 0 } else { 2 * n };
        self.0.get(at..at + 2) == Some(&[0, 1])
    }

    /// Whether some are.
    pub(super) fn any_binary(self) -> bool {
        self.0.chunks_exact(2).any(|format| format == [0, 1])
    }
}

/// A counted list of object ids.
fn oids(list: &[u8]) -> Box<[u32]> {
    let all = list.get(2..).unwrap_or_default().chunks_exact(4);
    all.filter_map(|oid| super::super::u32_at(oid, 0)).collect()
}

/// One column of a RowDescription.
pub(super) struct Column {
    /// Where it is behind its name.
    pub(super) at: usize,
    pub(super) relation: u32,
    pub(super) oid: u32,
    is_binary: bool,
    /// Where the next one is.
    pub(super) end: usize,
}

/// Bytes of a column behind its name: its relation and number there, type, size, modifier and format.
const BEHIND_NAME: usize = 18;

impl Column {
    /// The column that stands at `at` in a body.
    pub(super) fn at(body: &[u8], at: usize) -> Option<Self> {
        let (name, _) = frame::cstr(body.get(at..)?)?;
        let at = at + name.len() + 1;
        let end = at + BEHIND_NAME;
        let said = body.get(at..end)?;
        let number = |at| super::super::u32_at(said, at);
        Some(Self { at, relation: number(0)?, oid: number(6)?, is_binary: said[17] == 1, end })
    }

    fn all(body: &[u8]) -> impl Iterator<Item = Self> {
        let mut at = 2;
        std::iter::from_fn(move || {
            let column = Self::at(body, at)?;
            at = column.end;
            Some(column)
        })
    }
}
