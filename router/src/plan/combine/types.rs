//! Which types can be grouped, compared and added here, with Postgres's own outcome.

use crate::combine::Compared;
use shardway_pool::catalog::Column;

/// OIDs of built-in types (pg_type.dat).
pub(in crate::plan) mod oid {
    pub(crate) const BOOL: u32 = 16;
    pub(crate) const BYTEA: u32 = 17;
    pub(crate) const INT8: u32 = 20;
    pub(crate) const INT2: u32 = 21;
    pub(crate) const INT4: u32 = 23;
    pub(crate) const TEXT: u32 = 25;
    pub(crate) const OID: u32 = 26;
    pub(crate) const FLOAT4: u32 = 700;
    pub(crate) const FLOAT8: u32 = 701;
    pub(crate) const VARCHAR: u32 = 1043;
    pub(crate) const DATE: u32 = 1082;
    pub(crate) const TIME: u32 = 1083;
    pub(crate) const TIMESTAMP: u32 = 1114;
    pub(crate) const TIMESTAMPTZ: u32 = 1184;
    pub(crate) const NUMERIC: u32 = 1700;
    pub(crate) const UUID: u32 = 2950;
}

/// Where the values of a column are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// In its own bytes, in either format: equal values have equal ones.
    Own,
    /// In hexadecimal, between these pieces of SQL: its text depends on settings, and may mean two values.
    Encoded(&'static str, &'static str),
}

/// How a column's values are told apart; `None` where equal values may be written differently (1.0 and 1.00).
pub(super) fn identity(column: &Column) -> Option<Identity> {
    match column.type_oid {
        oid::BOOL | oid::INT2 | oid::INT4 | oid::INT8 | oid::OID | oid::UUID => Some(Identity::Own),
        oid::TEXT | oid::VARCHAR if !column.nondeterministic => Some(Identity::Own),
        oid::BYTEA => Some(Identity::Encoded("pg_catalog.encode(", ", 'hex')")),
        _ if column.type_kind == 'e' => Some(Identity::Own),
        other => sent(other).map(|(before, after)| Identity::Encoded(before, after)),
    }
}

/// The SQL around a date, time or float that gives its binary form in hexadecimal.
fn sent(type_oid: u32) -> Option<(&'static str, &'static str)> {
    let before = match type_oid {
        oid::DATE => "pg_catalog.encode(pg_catalog.date_send(",
        oid::TIME => "pg_catalog.encode(pg_catalog.time_send(",
        oid::TIMESTAMP => "pg_catalog.encode(pg_catalog.timestamp_send(",
        oid::TIMESTAMPTZ => "pg_catalog.encode(pg_catalog.timestamptz_send(",
        _ => return None,
    };
    Some((before, "), 'hex')"))
}

/// How the values of a key compare where they are told apart; `None` if their order can't be reproduced.
pub(super) fn key_order(column: &Column) -> Option<Compared> {
    Some(match column.type_oid {
        oid::INT2 | oid::INT4 | oid::INT8 => Compared::Integer,
        oid::OID => Compared::Oid,
        oid::BOOL => Compared::Bool,
        oid::UUID | oid::BYTEA => Compared::Bytes,
        oid::TEXT | oid::VARCHAR if column.byte_order => Compared::Bytes,
        oid::DATE | oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ => Compared::Sent,
        _ => return None,
    })
}

/// How max and min of a column compare, the SQL around them that tells if their own bytes do not, and their type.
pub(super) struct Extreme {
    pub(super) compared: Compared,
    pub(super) encoded: Option<(&'static str, &'static str)>,
    pub(super) types: &'static [u32],
}

/// For max and min; `None` for types that have none, or whose order can't be reproduced.
pub(super) fn extreme(column: &Column) -> Option<Extreme> {
    let own = |compared, types| Some(Extreme { compared, encoded: None, types });
    let encoded = |types| Some(Extreme { compared: Compared::Sent, encoded: sent(column.type_oid), types });
    let float = |before, types| {
        let encoded = Some((before, "), 'hex')"));
        Some(Extreme { compared: Compared::SentFloat, encoded, types })
    };
    match column.type_oid {
        oid::INT2 => own(Compared::Integer, &[oid::INT2]),
        oid::INT4 => own(Compared::Integer, &[oid::INT4]),
        oid::INT8 => own(Compared::Integer, &[oid::INT8]),
        oid::OID => own(Compared::Oid, &[oid::OID]),
        oid::NUMERIC => own(Compared::Numeric, &[oid::NUMERIC]),
        oid::TEXT | oid::VARCHAR if column.byte_order => own(Compared::Bytes, &[oid::TEXT]),
        oid::DATE => encoded(&[oid::DATE]),
        oid::TIME => encoded(&[oid::TIME]),
        oid::TIMESTAMP => encoded(&[oid::TIMESTAMP]),
        oid::TIMESTAMPTZ => encoded(&[oid::TIMESTAMPTZ]),
        oid::FLOAT4 => float("pg_catalog.encode(pg_catalog.float4send(", &[oid::FLOAT4]),
        oid::FLOAT8 => float("pg_catalog.encode(pg_catalog.float8send(", &[oid::FLOAT8]),
        _ => None,
    }
}

/// Whether a column of a type has a `sum` that adds up exactly: of integers and numerics, not of floats.
pub(super) fn sums_exactly(column: &Column) -> bool {
    matches!(column.type_oid, oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC)
}

/// Columns that every table has beside those of the catalog.
pub(super) fn is_system_column(name: &str) -> bool {
    matches!(name, "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid")
}
