//! The texts that shards are given.

use super::{Write, unclear};
use crate::error::ClientError;
use crate::plan::spread::clock::Frozen;
use crate::plan::spread::text::{Rows, Tokens, With, Woven};
use crate::plan::spread::{Fills, Leave, Moved, Split};
use crate::schema::Table;
use std::ops::Range;

/// A text for a shard.
#[derive(Debug)]
pub(super) struct Worded {
    pub(super) woven: Woven,
    /// Columns of its rows that are not the client's.
    pub(super) hidden: usize,
}

type Edits<'a> = Vec<(Range<usize>, With<'a>)>;

/// The whole statement, with columns (as SQL) behind the client's.
pub(super) fn whole(write: &Write<'_>, frozen: &Frozen, columns: &[String]) -> Result<Worded, ClientError> {
    let lists = write.plan.listed.as_ref().map(|listed| listed.pieces(write.text)).unwrap_or_default();
    if write.spread.clock.is_none() && columns.is_empty() && lists.is_empty() {
        return Ok(Worded { woven: Woven::plain(write.text), hidden: 0 });
    }
    let tokens = Tokens::of(write.text).ok_or_else(unclear)?;
    let edits = if write.spread.clock.is_some() { clock_edits(&tokens) } else { Vec::new() };
    let mut woven = Woven::default();
    let mut done = 0;
    for (at, list) in lists {
        woven.piece(write.text, done..at, &edits, frozen);
        woven.own(list);
        done = at;
    }
    woven.piece(write.text, done..tokens.end(), &edits, frozen);
    returning(&mut woven, write.spread.returns, columns);
    Ok(Worded { woven, hidden: columns.len() })
}

/// An UPDATE that leaves the key as it is. It gives columns (as SQL), and among them the new key in the key's place, and
/// nothing else.
pub(super) fn leaving(
    write: &Write<'_>,
    moved: &Moved,
    leave: &Leave,
    frozen: &Frozen,
    places: &[String],
) -> Result<Worded, ClientError> {
    let tokens = Tokens::of(write.text).ok_or_else(unclear)?;
    let (nth, of) = leave.assignment;
    let value = tokens.assigned(nth, of).ok_or_else(unclear)?;
    let end = tokens.returning().map_or(tokens.end(), |returning| returning.start);
    let mut edits = if write.spread.clock.is_some() { clock_edits(&tokens) } else { Vec::new() };
    edits.retain(|(at, _)| at.end <= value.start || at.start >= value.end);
    let key = &moved.columns[moved.key];
    edits.push((value.clone(), With::Value(format!("{}.{key}", moved.label))));
    edits.sort_by_key(|(range, _)| range.start);
    let mut woven = Woven::default();
    woven.piece(write.text, 0..end, &edits, frozen);
    let mut new_key = Woven::default();
    let clocks = if write.spread.clock.is_some() { clock_edits(&tokens) } else { Vec::new() };
    new_key.piece(write.text, value, &clocks, frozen);
    let column = |(n, column): (usize, &String)| match n == moved.key {
        true => format!("(({})::{})::pg_catalog.text", new_key.sql, leave.type_name),
        false => format!("{}.{column}::pg_catalog.text", moved.label),
    };
    let columns = moved.columns.iter().enumerate().map(column);
    let columns: Vec<String> = places.iter().cloned().chain(columns).collect();
    returning(&mut woven, false, &columns);
    Ok(Worded { woven, hidden: columns.len() })
}

/// The client's RETURNING, as a piece of its own.
pub(super) fn own_returning(write: &Write<'_>, frozen: &Frozen) -> Result<String, ClientError> {
    let tokens = Tokens::of(write.text).ok_or_else(unclear)?;
    let Some(range) = tokens.returning() else { return Ok(String::new()) };
    let edits = if write.spread.clock.is_some() { clock_edits(&tokens) } else { Vec::new() };
    let mut woven = Woven::default();
    woven.piece(write.text, range, &edits, frozen);
    Ok(woven.sql)
}

/// INSERT … VALUES with every row, and what defaults that name the clock come to.
pub(super) fn filled(
    write: &Write<'_>,
    fills: &Fills,
    frozen: &Frozen,
    columns: &[String],
) -> Result<Worded, ClientError> {
    let tokens = Tokens::of(write.text).ok_or_else(unclear)?;
    let rows = tokens.rows().ok_or_else(unclear)?;
    let mut edits = clock_edits(&tokens);
    edits.extend(default_edits(&rows, fills));
    edits.sort_by_key(|(range, _)| range.start);
    let every: Vec<usize> = (0..rows.rows.len()).collect();
    let mut woven = Woven::default();
    insert(&mut woven, write.text, &rows, &every, fills, &edits, frozen);
    returning(&mut woven, write.spread.returns, columns);
    Ok(Worded { woven, hidden: columns.len() })
}

/// INSERT … VALUES with some of the rows each, and the parameters that stand there.
pub(super) fn split(
    write: &Write<'_>,
    split: &Split,
    frozen: &Frozen,
    shares: &[Vec<usize>],
) -> Result<Vec<Worded>, ClientError> {
    let tokens = Tokens::of(write.text).ok_or_else(unclear)?;
    let rows = tokens.rows().ok_or_else(unclear)?;
    if shares.iter().flatten().any(|&row| row >= rows.rows.len()) {
        return Err(unclear());
    }
    let mut edits = clock_edits(&tokens);
    edits.extend(default_edits(&rows, &split.fills));
    edits.extend(tokens.params().into_iter().map(|(at, number)| (at, With::Param(number))));
    edits.sort_by_key(|(range, _)| range.start);
    let worded = |share: &Vec<usize>| {
        let mut woven = Woven::default();
        insert(&mut woven, write.text, &rows, share, &split.fills, &edits, frozen);
        returning(&mut woven, write.spread.returns, split.key.as_slice());
        Worded { woven, hidden: usize::from(split.key.is_some()) }
    };
    Ok(shares.iter().map(worded).collect())
}

fn insert(
    woven: &mut Woven,
    text: &str,
    rows: &Rows,
    share: &[usize],
    fills: &Fills,
    edits: &Edits<'_>,
    frozen: &Frozen,
) {
    let first = rows.rows.first().map_or(0, |row| row.start);
    match rows.columns_end {
        Some(end) => {
            woven.piece(text, 0..end, edits, frozen);
            woven.own(&fills.named);
            woven.piece(text, end..first, edits, frozen);
        }
        None => {
            woven.piece(text, 0..rows.columns_at, edits, frozen);
            woven.own(&fills.list);
            woven.piece(text, rows.columns_at..first, edits, frozen);
        }
    }
    for (n, &row) in share.iter().enumerate() {
        if n > 0 {
            woven.own(", ");
        }
        let range = rows.rows[row].clone();
        woven.piece(text, range.start..range.end - 1, edits, frozen);
        for value in &fills.appended {
            woven.own(", ");
            match value {
                Some(value) => woven.own(&value.frozen(frozen)),
                None => woven.own("DEFAULT"),
            }
        }
        woven.own(")");
    }
    woven.piece(text, rows.tail.clone(), edits, frozen);
}

pub(super) fn clock_edits<'a>(tokens: &Tokens<'_>) -> Edits<'a> {
    tokens.clocks().into_iter().map(|(range, clock)| (range, With::Clock(clock))).collect()
}

fn default_edits<'a>(rows: &Rows, fills: &'a Fills) -> Edits<'a> {
    let edit = |(range, value): &(Range<usize>, usize)| {
        let (_, default) = fills.listed.iter().find(|(place, _)| place == value)?;
        Some((range.clone(), With::Default(default)))
    };
    rows.defaults.iter().filter_map(edit).collect()
}

/// Columns of ours behind the client's own.
fn returning(woven: &mut Woven, returns: bool, columns: &[String]) {
    for (n, column) in columns.iter().enumerate() {
        // On a line of its own: a comment may stand before it.
        woven.own(match (n, returns) {
            (0, false) => "\nRETURNING ",
            _ => "\n, ",
        });
        woven.own(&format!("{column} AS \"shardway hidden {}\"", n + 1));
    }
}

/// Whether a parameter that has no declared type stands at several places.
pub(super) fn repeats_undeclared(text: &str, types: &[u32]) -> bool {
    let Some(tokens) = Tokens::of(text) else { return false };
    let mut numbers: Vec<usize> = tokens.params().into_iter().map(|(_, number)| number).collect();
    numbers.retain(|number| types.get(*number).copied().unwrap_or(0) == 0);
    numbers.sort_unstable();
    numbers.windows(2).any(|pair| pair[0] == pair[1])
}

/// A name as SQL that means just it.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A class of advisory locks that stands for the writers of reference tables.
const WRITERS: u32 = 0x5368_6477;

/// Has the writers of a reference table wait for each other until their transactions end: else one might see on one
/// shard what another one did, and on the next shard not yet. As a Query's body.
pub(crate) fn lock(table: &Table) -> String {
    let name = match &table.family {
        Some(family) => family.to_string(),
        None => format!("{}.{}", table.schema, table.name),
    };
    let hash =
        name.bytes().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("SELECT pg_catalog.pg_advisory_xact_lock({}, {})\0", WRITERS as i32, hash as i32)
}

/// Asks a server whether the values that it writes as text are all that they are, and are read as just that: by an answer
/// that is not empty it says what would have to be so.
pub(super) const EXACT: &str = "SELECT CASE \
    WHEN pg_catalog.current_setting('extra_float_digits')::pg_catalog.int4 < 1 THEN 'extra_float_digits of 1 or more' \
    WHEN pg_catalog.current_setting('DateStyle') NOT LIKE 'ISO%' THEN 'DateStyle ISO' \
    WHEN pg_catalog.current_setting('IntervalStyle') <> 'postgres' THEN 'IntervalStyle postgres' \
    WHEN pg_catalog.current_setting('client_encoding') \
      IN ('BIG5', 'GB18030', 'GBK', 'JOHAB', 'SHIFT_JIS_2004', 'SJIS', 'UHC') THEN 'client_encoding UTF8' END";

/// The lock, and that question. As a Query's body.
pub(super) fn lock_exact(table: &Table) -> String {
    format!("{}; {EXACT}\0", lock(table).trim_end_matches('\0'))
}

/// A value as SQL that means just it.
pub(super) fn literal(value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value else { return out.extend_from_slice(b"NULL") };
    out.extend_from_slice(b"E'");
    for &byte in value {
        if matches!(byte, b'\'' | b'\\') {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'\'');
}
