//! Combining the answers of shards that each aggregated what they have: groups meet, partial aggregates become whole.
//!
//! Pure: rows in, rows out. What a statement must look like for this to be exact is the planner's matter
//! (`plan::combine`); who is asked, and when, is the session's.
//!
//! A group that one shard alone reports leaves as the bytes it came in. Of one that several report, the columns that
//! name it are the first one's bytes, and its aggregates are computed from theirs and written in the format the client
//! asked for.

mod fold;
mod groups;
pub mod numeric;
mod rows;
#[cfg(test)]
mod tests;
mod value;

pub use groups::Combiner;

/// The rows that shards give for a statement, and how they become its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Columns that the client asked for.
    pub visible: usize,
    /// Columns of text behind them.
    pub hidden: usize,
    /// Columns that say which group a row belongs to: equal bytes are the same group.
    pub keys: Vec<usize>,
    /// Columns that are combined. The others name the group.
    pub aggregates: Vec<Aggregate>,
    /// How groups are ordered.
    pub order: Vec<Sort>,
}

/// A column that is combined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// The column.
    pub column: usize,
    /// OIDs of the types that it may have: if shards say another one, this is not the aggregate that was meant.
    pub types: &'static [u32],
    /// How.
    pub fold: Fold,
}

/// How the parts of an aggregate make the whole. NULL parts say that there was nothing to aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Their sum: an `int8` or a `numeric`, as the shards' sums are.
    Sum,
    /// The sum of these numerics by the sum of these integers: two hidden columns.
    Average {
        /// The sums.
        sum: usize,
        /// The counts.
        count: usize,
    },
    /// The largest or the smallest one.
    Extreme {
        /// Which of the two.
        largest: bool,
        /// The column that tells, which may be the aggregate's own.
        by: usize,
        /// How it compares.
        compared: Compared,
    },
    /// Whether all are true.
    All,
    /// Whether one is.
    Any,
    /// Integers, bit by bit.
    Bits(Bits),
}

/// An operation on bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// `&`
    And,
    /// `|`
    Or,
    /// `#`
    Xor,
}

/// How the values of a column compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Signed integers.
    Integer,
    /// `oid`: unsigned.
    Oid,
    /// `numeric`.
    Numeric,
    /// `bool`.
    Bool,
    /// Byte by byte, in either format.
    Bytes,
    /// A date or time as Postgres sends it, in hexadecimal: days or microseconds, signed.
    Sent,
    /// A float as Postgres sends it, in hexadecimal.
    SentFloat,
}

/// One ORDER BY item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// What is compared.
    pub by: By,
    /// Largest first.
    pub descending: bool,
    /// NULLs before all else.
    pub nulls_first: bool,
}

/// What groups are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A column that names the group.
    Column(usize, Compared),
    /// An aggregate, by its place among them.
    Aggregate(usize),
}

/// Why answers can't be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// A shard's message is not what it should be.
    #[error("a shard sent a row that can't be read")]
    Malformed,
    /// An aggregate's type is none that is combined exactly.
    #[error(
        "an aggregate of this type over several shards is not supported: its parts can't be combined exactly"
    )]
    Type,
    /// A shard gave a group twice: what tells groups apart for it is not what does so here.
    #[error("a shard tells groups apart that can't be told apart here")]
    Repeated,
    /// A sum does not fit its type.
    #[error("bigint out of range")]
    Integer,
    /// The same.
    #[error("value overflows numeric format")]
    Numeric,
    /// More is to be held than may be.
    #[error("the groups of this statement need more than {0} bytes of memory")]
    Memory(usize),
}

impl CombineError {
    /// Its SQLSTATE.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "08P01",
            Self::Type | Self::Repeated => "0A000",
            Self::Integer | Self::Numeric => "22003",
            Self::Memory(_) => "54000",
        }
    }
}
