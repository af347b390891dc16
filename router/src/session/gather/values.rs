//! A gather without temporary tables: where the transaction is READ ONLY, or the user may not make any. The rows that are
//! brought are held here and go to the engine as arrays, parameters of the statement: a query on these stands where each
//! table's name stood. The statement runs in the client's own transaction, so that whatever it does there is as allowed, and
//! as late, as anything else in it.

use super::answers::{Answer, alike, answer, described, query, send};
use super::engine::{AT_ONCE, Engine, Ready, note};
use super::prepare::{BACK, unlike};
use super::pull::{Pull, pulls_in};
use super::shapes::{Shape, Travels, shapes};
use crate::error::ClientError;
use crate::plan::gather::{Brought, Gather};
use crate::plan::locate::Params;
use crate::session::asked::shard_messages;
use crate::session::moment::Moment;
use crate::session::servers::Participant;
use crate::session::simple::Failure;
use shardway_pool::frame;

/// OID of `text`.
const TEXT: u32 = 25;

/// The statement over arrays.
pub(super) struct Valued {
    gather: Gather,
    /// The columns of each table.
    shapes: Vec<Vec<Shape>>,
    /// How many parameters are the client's own.
    own: usize,
}

/// A column's values, as they stand in a binary array.
#[derive(Default)]
struct Cells {
    bytes: Vec<u8>,
    has_null: bool,
}

/// Rows, column by column.
pub(in crate::session) struct Rows {
    columns: Vec<Cells>,
    count: u32,
}

impl Rows {
    pub(in crate::session) fn of(columns: usize) -> Self {
        Self { columns: (0..columns).map(|_| Cells::default()).collect(), count: 0 }
    }

    /// Takes whole rows, as they stand in DataRows.
    pub(in crate::session) fn take(&mut self, mut rows: &[u8]) {
        while let Some((_, mut at)) = frame::i16(rows) {
            for cells in &mut self.columns {
                let Some((length, rest)) = frame::i32(at) else { return };
                let size = usize::try_from(length).unwrap_or(0).min(rest.len());
                cells.has_null |= length < 0;
                cells.bytes.extend_from_slice(&at[..4 + size]);
                at = &rest[size..];
            }
            self.count += 1;
            rows = at;
        }
    }

    /// A column as a binary array.
    pub(in crate::session) fn array(&self, column: usize, element: u32) -> Vec<u8> {
        let cells = &self.columns[column];
        let dimensions = u32::from(self.count > 0);
        let mut array = Vec::with_capacity(20 + cells.bytes.len());
        for word in [dimensions, u32::from(cells.has_null), element] {
            array.extend_from_slice(&word.to_be_bytes());
        }
        if self.count > 0 {
            for word in [self.count, 1] {
                array.extend_from_slice(&word.to_be_bytes());
            }
        }
        array.extend_from_slice(&cells.bytes);
        array
    }
}

impl Engine<'_> {
    /// Goes on without temporary tables, which the engine has refused: finds the words, and checks that the statement means the
    /// same in these. `known` are the columns of tables that the engine does not have.
    pub(super) async fn prepare_values(
        &self,
        servers: &mut [Participant],
        asked: Option<&Answer>,
        known: &[Option<Vec<Shape>>],
    ) -> Result<(Answer, Valued), Failure> {
        let engine = &mut servers[self.parts.engine].lease;
        if self.nested {
            query(engine, BACK[0]);
            answer(engine).await?.succeeded()?;
        } else {
            for sql in ["ROLLBACK", AT_ONCE] {
                query(engine, sql);
                answer(engine).await?.succeeded()?;
            }
        }
        let own: Vec<&Brought> = self.gather.tables.iter().filter(|table| !table.is_foreign).collect();
        let mut own = shapes(engine, &own).await?.into_iter();
        let shapes: Vec<Vec<Shape>> =
            known.iter().map(|known| known.clone().or_else(|| own.next()).unwrap_or_default()).collect();
        let all_exact = |shape: &Shape| shape.travels != Travels::Text;
        if !self.is_text_exact && !shapes.iter().flatten().all(all_exact) {
            return Err(super::not_exact().into());
        }
        let valued = Valued::of(self.gather, shapes, self.own_params()?);
        let types = valued.types(self.types);
        self.parse_with(engine, valued.gather.sql(), &types);
        let renamed = answer(engine).await?;
        let renamed = self.meant(renamed, valued.count())?;
        if asked.is_some_and(|asked| !alike(asked, &renamed)) {
            return Err(unlike().into());
        }
        Ok((renamed, valued))
    }

    /// How many parameters are the client's. Errors: it did not give as many.
    fn own_params(&self) -> Result<usize, ClientError> {
        let wanted = self.gather.params.max(self.types.len());
        let given = self.params.len();
        if self.describes_only || given == wanted {
            return Ok(wanted);
        }
        let message = format!(
            "bind message supplies {given} parameters, but prepared statement \"\" requires {wanted}"
        );
        Err(ClientError::error("08P01", message))
    }

    /// Brings the rows, and words what the engine is asked.
    pub(super) async fn bring_values(
        &self,
        servers: &mut [Participant],
        valued: Valued,
        columns: &[u8],
        types: &[u32],
        moment: &mut Moment,
    ) -> Result<Ready, Failure> {
        let mut rows: Vec<Rows> = valued.shapes.iter().map(|shapes| Rows::of(shapes.len())).collect();
        if !self.gather.stays_empty {
            self.hold(servers, &valued, types, &mut rows, moment).await?;
        }
        let bind = valued.bind(&self.params, &rows);
        let params =
            Params::parse(&bind).ok_or_else(|| ClientError::error("08P01", "invalid message format"))?;
        let sql = [valued.gather.sql().as_bytes(), b"\0"].concat();
        let messages = shard_messages(&sql, &valued.types(self.types), &bind, &params, 0);
        let described = described(columns, self.params.result_formats);
        Ok(Ready { described, messages, instead: Some(valued.gather) })
    }

    async fn hold(
        &self,
        servers: &mut [Participant],
        valued: &Valued,
        types: &[u32],
        rows: &mut [Rows],
        moment: &mut Moment,
    ) -> Result<(), Failure> {
        let sources = |n: usize| {
            let own = self.parts.own[n].then_some(self.parts.engine);
            self.parts.sources[n].iter().copied().chain(own).collect::<Vec<usize>>()
        };
        let mut left = self.max;
        for tables in self.batches() {
            if self.nested {
                moment.begin().await?;
            }
            let mut asked = Vec::new();
            for n in tables.clone() {
                let (select, params) = self.gather.tables[n].select();
                let shapes = &valued.shapes[n];
                let exact = shapes.iter().any(|shape| shape.travels == Travels::Text);
                let messages = pulls_in(&select, &params, types, &self.params, &codes(shapes), exact);
                for index in sources(n) {
                    let messages = self.at_once(index, n, &messages);
                    note(&mut asked, index, &messages);
                    send(&mut servers[index].lease, &messages);
                }
            }
            for index in self.parts.all.iter().copied() {
                let server = &mut servers[index].lease;
                server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
            }
            moment.signs(servers, &asked).await?;
            moment.end()?;
            for n in tables {
                let pull = Pull::new(&self.gather.tables[n], &sources(n), &mut left);
                pull.give(servers, &mut |piece| rows[n].take(piece)).await?;
            }
        }
        Ok(())
    }
}

/// Result formats of rows that become arrays.
fn codes(shapes: &[Shape]) -> Vec<u8> {
    let mut codes = (shapes.len() as u16).to_be_bytes().to_vec();
    codes.extend(shapes.iter().flat_map(|shape| [0, u8::from(shape.travels == Travels::Binary)]));
    codes
}

impl Valued {
    fn of(gather: &Gather, shapes: Vec<Vec<Shape>>, own: usize) -> Self {
        let mut next = own;
        let firsts: Vec<usize> = shapes
            .iter()
            .map(|shapes| {
                next += shapes.len();
                next - shapes.len()
            })
            .collect();
        let gather = gather.with(|n| query_of(&shapes[n], firsts[n], gather.tables[n].is_foreign));
        Self { gather, shapes, own }
    }

    /// How many parameters are not the client's.
    pub(super) fn count(&self) -> usize {
        self.shapes.iter().map(Vec::len).sum()
    }

    /// Types of all parameters: those that the client has declared, and none for the others, whose casts say it.
    fn types(&self, declared: &[u32]) -> Vec<u32> {
        let mut types = declared.to_vec();
        types.resize(self.own + self.count(), 0);
        types
    }

    /// Bind's body behind the names: the client's parameters, and behind them the arrays.
    fn bind(&self, params: &Params<'_>, rows: &[Rows]) -> Vec<u8> {
        let total = ((self.own + self.count()) as u16).to_be_bytes();
        let all = params.all();
        let mut formats = total.to_vec();
        let mut values = total.to_vec();
        for param in &all {
            formats.extend_from_slice(&[0, u8::from(param.binary)]);
            put(param.bytes, &mut values);
        }
        for (shapes, rows) in self.shapes.iter().zip(rows) {
            for (at, shape) in shapes.iter().enumerate() {
                let element = if shape.travels == Travels::Binary { shape.oid } else { TEXT };
                formats.extend_from_slice(&[0, 1]);
                put(Some(&rows.array(at, element)), &mut values);
            }
        }
        [formats, values, params.result_formats.to_vec()].concat()
    }
}

fn put(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        Some(bytes) => {
            out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            out.extend_from_slice(bytes);
        }
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
    }
}

/// The query that gives a table's rows out of parameters, the first of which has this number, from 0.
fn query_of(shapes: &[Shape], first: usize, is_foreign: bool) -> String {
    let (mut items, mut arrays, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (n, shape) in shapes.iter().enumerate() {
        let element = if shape.travels == Travels::Binary { &shape.bare } else { "pg_catalog.text" };
        items.push(format!("{} AS {}", shape.cast(&format!("v.c{n}"), is_foreign), shape.name));
        arrays.push(format!("pg_catalog.unnest(${}::{element}[])", first + n + 1));
        names.push(format!("c{n}"));
    }
    format!("(SELECT {} FROM ROWS FROM ({}) AS v({}))", items.join(", "), arrays.join(", "), names.join(", "))
}
