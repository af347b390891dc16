//! One aggregate of one group, while its parts come in.

use super::numeric::Numeric;
use super::numeric::arithmetic::Overflow;
use super::rows::Cell;
use super::value::{self, Described, Format, Value, oid};
use super::{Aggregate, Bits, CombineError, Fold};
use std::cmp::Ordering;
use std::ops::Range;

/// What the parts so far make.
#[derive(Clone, Debug)]
pub(super) enum Partial {
    /// Nothing yet.
    Null,
    Integer(i128),
    Numeric(Numeric),
    Average(Numeric, i128),
    Bool(bool),
    /// The winner's places among the bytes that are held: what is shown, and what was compared.
    Winner {
        shown: Range<usize>,
        compared: Range<usize>,
    },
}

/// A row as folding sees it.
pub(super) struct Part<'a> {
    /// Its values.
    pub(super) values: &'a [u8],
    /// Where they are.
    pub(super) cells: &'a [Cell],
    /// What is known of them.
    pub(super) columns: &'a [Described],
}

impl<'a> Part<'a> {
    fn cell(&self, column: usize) -> Option<&'a [u8]> {
        self.cells[column].of(self.values)
    }
}

impl From<Overflow> for CombineError {
    fn from(_: Overflow) -> Self {
        Self::Numeric
    }
}

impl Partial {
    /// What one part makes. Its row's values begin at `held` among the bytes that are held.
    pub(super) fn of(aggregate: &Aggregate, part: &Part<'_>, held: usize) -> Result<Self, CombineError> {
        let Some(bytes) = part.cell(aggregate.column) else { return Ok(Self::Null) };
        let Described { oid, format } = part.columns[aggregate.column];
        let made = match &aggregate.fold {
            Fold::Sum if oid == oid::INT8 => value::integer(bytes, format).map(Self::Integer),
            Fold::Sum => value::numeric(bytes, format).map(Self::Numeric),
            Fold::Bits(_) => value::integer(bytes, format).map(Self::Integer),
            Fold::All | Fold::Any => value::boolean(bytes, format).map(Self::Bool),
            Fold::Average { sum, count } => {
                part.cell(*sum).zip(part.cell(*count)).and_then(|(sum, count)| {
                    Some(Self::Average(Numeric::parse(sum)?, value::integer(count, Format::Text)?))
                })
            }
            Fold::Extreme { by, .. } => {
                let place = |column: usize| {
                    let range = part.cells[column].range();
                    range.start + held..range.end + held
                };
                part.cell(*by).map(|_| Self::Winner { shown: place(aggregate.column), compared: place(*by) })
            }
        };
        made.ok_or(CombineError::Malformed)
    }

    /// Takes in a part. `held` are the bytes that winners lie in.
    pub(super) fn fold(
        &mut self,
        aggregate: &Aggregate,
        part: &Part<'_>,
        held: &mut Vec<u8>,
    ) -> Result<(), CombineError> {
        if let Fold::Extreme { largest, by, compared } = &aggregate.fold {
            let wanted = if *largest { Ordering::Greater } else { Ordering::Less };
            let Some((shown, candidate)) = part.cell(aggregate.column).zip(part.cell(*by)) else {
                return Ok(());
            };
            let new =
                Value::read(candidate, part.columns[*by].format, *compared).ok_or(CombineError::Malformed)?;
            let old = self.value(aggregate, part.columns, held);
            if old.is_none_or(|old| new.compare(&old) == wanted) {
                *self = Self::Winner { shown: hold(held, shown), compared: hold(held, candidate) };
            }
            return Ok(());
        }
        let new = Self::of(aggregate, part, 0)?;
        let old = std::mem::replace(self, Self::Null);
        *self = old.with(new, &aggregate.fold)?;
        Ok(())
    }

    fn with(self, other: Self, fold: &Fold) -> Result<Self, CombineError> {
        Ok(match (self, other, fold) {
            (Self::Null, one, _) | (one, Self::Null, _) => one,
            (Self::Integer(a), Self::Integer(b), Fold::Bits(bits)) => Self::Integer(bits.of(a, b)),
            (Self::Integer(a), Self::Integer(b), _) => Self::Integer(a + b),
            (Self::Bool(a), Self::Bool(b), Fold::All) => Self::Bool(a && b),
            (Self::Bool(a), Self::Bool(b), _) => Self::Bool(a || b),
            (Self::Numeric(a), Self::Numeric(b), _) => Self::Numeric(a.add(&b)?),
            (Self::Average(a, n), Self::Average(b, m), _) => Self::Average(a.add(&b)?, n + m),
            // The parts of one aggregate are all of one kind.
            _ => return Err(CombineError::Malformed),
        })
    }

    /// The whole, appended to a row.
    pub(super) fn write(
        &self,
        described: Described,
        held: &[u8],
        row: &mut Vec<u8>,
    ) -> Result<(), CombineError> {
        let format = described.format;
        let width = match described.oid {
            oid::INT2 => 2,
            oid::INT4 => 4,
            _ => 8,
        };
        match self {
            Self::Null => value::put_null(row),
            Self::Integer(n) if i64::try_from(*n).is_err() => return Err(CombineError::Integer),
            Self::Integer(n) => value::put(row, |out| value::write_integer(out, *n, format, width)),
            Self::Bool(b) => value::put(row, |out| value::write_bool(out, *b, format)),
            Self::Winner { shown, .. } => value::put(row, |out| out.extend_from_slice(&held[shown.clone()])),
            Self::Numeric(n) => value::put(row, |out| value::write_numeric(out, n, format)),
            Self::Average(sum, count) => {
                let mean = average(sum, *count).ok_or(CombineError::Malformed)?;
                value::put(row, |out| value::write_numeric(out, &mean, format));
            }
        }
        Ok(())
    }

    /// The whole, to be compared with that of other groups; `None` for NULL.
    pub(super) fn value<'a>(
        &self,
        aggregate: &Aggregate,
        columns: &[Described],
        held: &'a [u8],
    ) -> Option<Value<'a>> {
        match self {
            Self::Null => None,
            Self::Integer(n) => Some(Value::Integer(*n)),
            Self::Bool(b) => Some(Value::Bool(*b)),
            Self::Numeric(n) => Some(Value::Numeric(n.clone())),
            Self::Average(sum, count) => average(sum, *count).map(Value::Numeric),
            Self::Winner { compared: at, .. } => match &aggregate.fold {
                Fold::Extreme { by, compared, .. } => {
                    Value::read(&held[at.clone()], columns[*by].format, *compared)
                }
                _ => None,
            },
        }
    }
}

fn average(sum: &Numeric, count: i128) -> Option<Numeric> {
    u64::try_from(count).ok().filter(|n| *n > 0).map(|n| sum.average(n))
}

fn hold(held: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let at = held.len();
    held.extend_from_slice(bytes);
    at..held.len()
}

impl Bits {
    fn of(self, a: i128, b: i128) -> i128 {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}
