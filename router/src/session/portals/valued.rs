//! Stored cursors without what `stored.rs` needs: over arrays that are parameters, where no temporary table may be made, in a
//! READ ONLY transaction or by this user; and in a table of the columns that came, where no shard understands the query.

use super::stored::{quoted, refused};
use crate::error::ClientError;
use crate::plan::gather::is_exact_in_binary;
use crate::session::Session;
use crate::session::copy_out::Held;
use crate::session::gather::values::Rows;
use crate::session::servers;
use crate::session::simple::Failure;
use crate::sql::cursor::Declare;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;

/// What a table that may not be made is not to fail.
const SAVE: &str = "SAVEPOINT \"shardway cursor\"";

/// Goes back to it, and lets it go.
const BACK: &str = "ROLLBACK TO SAVEPOINT \"shardway cursor\"; RELEASE SAVEPOINT \"shardway cursor\"";

/// Lets it go.
const RELEASE: &str = "RELEASE SAVEPOINT \"shardway cursor\"";

/// Types from this number on are users' own, with another number on every shard.
const USERS: u32 = 16384;

/// A column's type.
struct Typed {
    oid: u32,
    /// With its length.
    full: String,
    /// Without.
    bare: String,
    /// Whether its values can be those of an array.
    is_element: bool,
}

impl Typed {
    fn of(row: Vec<Option<String>>) -> Option<Self> {
        let mut row = row.into_iter();
        let oid = row.next()??.parse().ok()?;
        let (full, bare) = (row.next()??, row.next()??);
        let is_element = row.next()?? == "t" && is_exact_in_binary(oid);
        Some(Self { oid, full, bare, is_element })
    }
}

impl Session {
    /// Opens what goes back to where no table was tried. It is sent with what follows.
    pub(super) fn try_table(&mut self, index: usize) {
        self.send(&[index], query(SAVE).filled());
    }

    /// Whether the table is there; else none may be made. Errors: it could not be made for another reason.
    pub(super) async fn has_table(
        &mut self,
        index: usize,
        tried: Result<(), Failure>,
    ) -> Result<bool, Failure> {
        match tried {
            Ok(()) => {
                self.send(&[index], query(RELEASE).filled());
                Ok(true)
            }
            Err(Failure::ServerError(body)) if may_not(&body) => {
                self.send(&[index], query(BACK).filled());
                self.hear_all(&[index], &mut |_, _, _| Ok(())).await?;
                Ok(false)
            }
            Err(Failure::ServerError(body)) => Err(refused(&ClientError::of_server(&body).message).into()),
            Err(failure) => Err(failure),
        }
    }

    /// A table of the columns that came.
    pub(super) async fn create_typed(
        &mut self,
        index: usize,
        table: &str,
        held: &Held,
    ) -> Result<(), Failure> {
        let types = self.types_of(index, held).await?;
        let columns: Vec<String> =
            types.iter().enumerate().map(|(n, column)| format!("c{n} {}", column.full)).collect();
        let sql = format!("CREATE TEMPORARY TABLE {table} ({}) ON COMMIT DROP", columns.join(", "));
        self.try_table(index);
        self.send(&[index], query(&sql).filled());
        self.hear_all(&[index], &mut |_, _, _| Ok(())).await
    }

    /// Declares the cursor over arrays.
    pub(super) async fn declare_values(
        &mut self,
        index: usize,
        declare: &Declare<'_>,
        names: &[String],
        held: &Held,
    ) -> Result<(), Failure> {
        let types = self.types_of(index, held).await?;
        if let Some(array) = types.iter().position(|column| !column.is_element) {
            let name = &names[array];
            let why =
                format!("no temporary table may be made for it, and column \"{name}\" has no other way");
            return Err(refused(&why).into());
        }
        let mut rows = Rows::of(types.len());
        held.rows.iter().for_each(|row| rows.take(row));
        let mut bind = [b"\0\0\0\x01\0\x01", &(types.len() as u16).to_be_bytes()[..]].concat();
        let (mut items, mut arrays, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for (n, column) in types.iter().enumerate() {
            items.push(format!("v.c{n}::{} AS {}", column.full, quoted(&names[n])));
            arrays.push(format!("pg_catalog.unnest(${}::{}[])", n + 1, column.bare));
            columns.push(format!("c{n}"));
            let array = rows.array(n, column.oid);
            bind.extend_from_slice(&(array.len() as u32).to_be_bytes());
            bind.extend_from_slice(&array);
        }
        bind.extend_from_slice(&[0, 0]);
        let sql = format!(
            "{}SELECT {} FROM ROWS FROM ({}) AS v({})",
            declare.head,
            items.join(", "),
            arrays.join(", "),
            columns.join(", ")
        );
        let mut messages = Buffer::default();
        super::live::parse(&mut messages, &sql, &[]);
        frame::put(&mut messages, b'B', &bind);
        frame::put(&mut messages, b'E', &[0; 5]);
        frame::put(&mut messages, b'S', &[]);
        self.send(&[index], messages.filled());
        self.hear_all(&[index], &mut |_, _, _| Ok(())).await
    }

    /// The types of columns that came. Errors: one has another number on every shard.
    async fn types_of(&mut self, index: usize, held: &Held) -> Result<Vec<Typed>, Failure> {
        if held.types.iter().any(|oid| *oid >= USERS) {
            return Err(refused("a column of it is of a type that users have made").into());
        }
        let oids: Vec<String> = held.types.iter().map(u32::to_string).collect();
        let mods: Vec<String> = typmods(&held.columns).iter().map(i32::to_string).collect();
        let sql = format!(
            "SELECT t.oid, pg_catalog.format_type(t.oid, f.m), pg_catalog.format_type(t.oid, -1), \
             t.typcategory <> 'A' AND t.typarray <> 0 \
             FROM ROWS FROM (pg_catalog.unnest('{{{}}}'::pg_catalog.oid[]), \
             pg_catalog.unnest('{{{}}}'::pg_catalog.int4[])) WITH ORDINALITY AS f(o, m, n) \
             JOIN pg_catalog.pg_type t ON t.oid = f.o ORDER BY f.n",
            oids.join(","),
            mods.join(","),
        );
        let rows = self.servers[index].lease.rows(&sql).await.map_err(|e| servers::refused(&e))?;
        let types: Option<Vec<Typed>> = rows.into_iter().map(Typed::of).collect();
        let types = types.filter(|types| types.len() == held.types.len());
        Ok(types.ok_or_else(|| refused("the types of its columns can't be told"))?)
    }
}

fn query(sql: &str) -> Buffer {
    let mut message = Buffer::default();
    frame::put(&mut message, b'Q', &[sql.as_bytes(), b"\0"].concat());
    message
}

/// Whether temporary tables may not be made: by this user, or in a read-only transaction.
fn may_not(error: &[u8]) -> bool {
    matches!(frame::error_field(error, b'C'), Some(b"42501" | b"25006"))
}

/// The typmods that a RowDescription tells.
fn typmods(body: &[u8]) -> Vec<i32> {
    let mut mods = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while let Some((_, behind)) = frame::cstr(rest) {
        let (Some((typmod, _)), Some(next)) = (behind.get(12..).and_then(frame::i32), behind.get(18..))
        else {
            break;
        };
        mods.push(typmod);
        rest = next;
    }
    mods
}
