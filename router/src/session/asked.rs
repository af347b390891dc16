//! What a client asks of a statement that runs on several shards, and what each of these is asked in turn.

use super::batch::Item;
use crate::error::ClientError;
use crate::plan::Across;
use crate::plan::locate::Params;
use crate::plan::scatter::Count;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};

/// Rows to skip and to give.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) skip: u64,
    pub(super) left: Option<u64>,
}

impl Window {
    /// LIMIT and OFFSET of one execution.
    pub(super) fn of(across: &Across, params: Option<&Params<'_>>) -> Result<Self, ClientError> {
        let (limit, offset) = match across {
            Across::Scatter(scatter) => (&scatter.limit, &scatter.offset),
            Across::Combine(combine) => (&combine.limit, &combine.offset),
            Across::Gather(_) | Across::Spread(_) | Across::Explained(_) => (&None, &None),
        };
        let left = limit.as_ref().map(|c| rows(c, params, "2201W", "LIMIT")).transpose()?.flatten();
        let skip = offset.as_ref().map(|c| rows(c, params, "2201X", "OFFSET")).transpose()?.flatten();
        Ok(Self { skip: skip.unwrap_or(0), left })
    }
}

/// A row count; `None` for NULL.
fn rows(
    count: &Count,
    params: Option<&Params<'_>>,
    code: &str,
    what: &str,
) -> Result<Option<u64>, ClientError> {
    let number = match count {
        Count::Fixed(n) => return Ok(Some(*n)),
        Count::Param(n) => *n,
    };
    let unread =
        || ClientError::error("0A000", format!("the value of {what} can't be read over several shards"));
    let param = params.and_then(|p| p.get(number)).ok_or_else(unread)?;
    let Some(bytes) = param.bytes else { return Ok(None) };
    let value = if param.binary {
        match bytes.len() {
            8 => i64::from_be_bytes(bytes.try_into().map_err(|_| unread())?),
            4 => i64::from(i32::from_be_bytes(bytes.try_into().map_err(|_| unread())?)),
            2 => i64::from(i16::from_be_bytes(bytes.try_into().map_err(|_| unread())?)),
            _ => return Err(unread()),
        }
    } else {
        std::str::from_utf8(bytes).ok().and_then(|t| t.trim().parse().ok()).ok_or_else(unread)?
    };
    u64::try_from(value)
        .map(Some)
        .map_err(|_| ClientError::error(code, format!("{what} must not be negative")))
}

/// What a client asked of a statement.
pub(super) struct Asked<'a> {
    /// Index of the Bind.
    pub(super) bind: usize,
    /// Bind's body behind the names.
    pub(super) params: &'a [u8],
    /// Whether the portal is described.
    pub(super) describes: bool,
    /// Whether it is executed with a row limit: nothing to those who give no rows.
    pub(super) limited: bool,
    /// Portals closed afterwards.
    pub(super) closes: usize,
}

impl<'a> Asked<'a> {
    pub(super) fn of(items: &[Item], bytes: &'a Buffer) -> Result<Self, ClientError> {
        let refuse = |what: &str| {
            ClientError::error("0A000", format!("{what} over several shards is not supported yet"))
        };
        let mut asked = Asked { bind: 0, params: &[], describes: false, limited: false, closes: 0 };
        let mut executes = 0;
        for (i, item) in items.iter().enumerate() {
            match item {
                Item::Bind { at, .. } => {
                    asked.bind = i;
                    let body = &bytes.filled()[at.start + HEADER..at.end];
                    let names = frame::cstr(body).and_then(|(_, rest)| frame::cstr(rest));
                    asked.params = names.map(|(_, rest)| rest).unwrap_or_default();
                }
                Item::Portal { tag: b'D', .. } => asked.describes = true,
                Item::Portal { tag: b'E', max_rows, .. } => {
                    executes += 1;
                    asked.limited |= *max_rows > 0;
                }
                Item::Portal { .. } => asked.closes += 1,
                _ => {}
            }
        }
        if executes == 1 { Ok(asked) } else { Err(refuse("a portal that is not executed just once")) }
    }
}

/// Parse, Bind, Describe, Execute and Sync for one shard. `sql` has a zero behind it.
pub(super) fn shard_messages(
    sql: &[u8],
    types: &[u32],
    bind: &[u8],
    params: &Params<'_>,
    hidden: usize,
) -> Buffer {
    let mut out = Buffer::default();
    let mut declared = (types.len() as u16).to_be_bytes().to_vec();
    types.iter().for_each(|oid| declared.extend_from_slice(&oid.to_be_bytes()));
    frame::put(&mut out, b'P', &[b"\0", sql, &declared].concat());
    let values = &bind[..bind.len() - params.result_formats.len()];
    let formats = hidden_formats(params.result_formats, hidden);
    frame::put(&mut out, b'B', &[b"\0\0", values, &formats].concat());
    frame::put(&mut out, b'D', b"P\0");
    frame::put(&mut out, b'E', &[0; 5]);
    frame::put(&mut out, b'S', &[]);
    out
}

/// Result formats with text for the hidden columns. None or one for all need no more: text is the same in binary.
pub(super) fn hidden_formats(formats: &[u8], hidden: usize) -> Vec<u8> {
    match frame::i16(formats) {
        Some((count, codes)) if count > 1 => {
            let mut all = (count as u16 + hidden as u16).to_be_bytes().to_vec();
            all.extend_from_slice(codes);
            all.extend(std::iter::repeat_n(0, hidden * 2));
            all
        }
        _ => formats.to_vec(),
    }
}
