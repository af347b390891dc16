//! Adding, comparing and averaging. Sources: `add_var`, `cmp_numerics`, `select_div_scale`, `div_var` of numeric.c.

use super::{DIGITS, Decimal, MAX_WEIGHT, Numeric};
use std::cmp::Ordering;

/// Significant decimal digits that a quotient has at least (`NUMERIC_MIN_SIG_DIGITS`).
const MIN_SIGNIFICANT: i32 = 16;

/// The largest scale that a quotient is given (`NUMERIC_MAX_DISPLAY_SCALE`).
const MAX_QUOTIENT_SCALE: i32 = 1000;

/// A result that no `numeric` can hold: SQLSTATE 22003, "value overflows numeric format".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Numeric {
    /// The sum; its scale is the larger one. Infinities of both signs make NaN.
    pub fn add(&self, other: &Self) -> Result<Self, Overflow> {
        Ok(match (self, other) {
            (Self::Finite(a), Self::Finite(b)) => Self::Finite(a.add(b)?),
            (Self::NaN, _) | (_, Self::NaN) => Self::NaN,
            (Self::Infinity, Self::NegativeInfinity) | (Self::NegativeInfinity, Self::Infinity) => Self::NaN,
            (Self::Finite(_), infinite) | (infinite, _) => infinite.clone(),
        })
    }

    /// A sum divided by how many were added (at least one), as `avg` does.
    pub fn average(&self, count: u64) -> Self {
        match self {
            Self::Finite(sum) => Self::Finite(sum.average(count)),
            special => special.clone(),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::NegativeInfinity => 0,
            Self::Finite(_) => 1,
            Self::Infinity => 2,
            Self::NaN => 3,
        }
    }
}

impl Numeric {
    /// By value: NaN equals itself and is the largest.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Finite(a), Self::Finite(b)) => a.compare(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Decimal {
    fn add(&self, other: &Self) -> Result<Self, Overflow> {
        let scale = self.scale.max(other.scale);
        let (negative, weight, digits) = if self.negative == other.negative {
            let (weight, digits) = sum(self, other);
            (self.negative, weight, digits)
        } else {
            match self.compare_sizes(other) {
                Ordering::Less => (other.negative, other.weight, difference(other, self)),
                _ => (self.negative, self.weight, difference(self, other)),
            }
        };
        let result = Self::new(negative, weight, scale, digits);
        if result.weight > MAX_WEIGHT { Err(Overflow) } else { Ok(result) }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.compare_sizes(other),
            (true, true) => other.compare_sizes(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }

    fn compare_sizes(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (false, false) => self.weight.cmp(&other.weight).then_with(|| self.digits.cmp(&other.digits)),
            (a, b) => b.cmp(&a),
        }
    }

    /// Weight of the lowest digit.
    fn lowest(&self) -> i32 {
        self.weight - self.digits.len() as i32 + 1
    }

    fn average(&self, count: u64) -> Self {
        let scale = quotient_scale(self, &Self::from(i128::from(count)));
        // One digit more than is shown: what is cut off behind it can't change how it rounds.
        let last = -(scale / DIGITS as i32 + 1);
        let mut digits = Vec::with_capacity((self.weight.max(0) - last + 1) as usize);
        let mut rest: u128 = 0;
        for weight in (last..=self.weight).rev() {
            rest = rest * 10_000 + u128::from(self.digit(weight));
            digits.push((rest / u128::from(count)) as u16);
            rest %= u128::from(count);
        }
        round(self.negative, self.weight, digits, scale as u16)
    }
}

/// The scale of a quotient: enough for 16 significant digits, no less than either operand's (`select_div_scale`).
fn quotient_scale(a: &Decimal, b: &Decimal) -> i32 {
    let first = |d: &Decimal| d.digits.first().copied().unwrap_or(0);
    let mut weight = a.weight - b.weight;
    if first(a) <= first(b) {
        weight -= 1;
    }
    let scale = MIN_SIGNIFICANT - weight * DIGITS as i32;
    scale.max(i32::from(a.scale)).max(i32::from(b.scale)).clamp(0, MAX_QUOTIENT_SCALE)
}

/// Rounds to a scale, halves away from zero (`round_var`).
fn round(negative: bool, weight: i32, mut digits: Vec<u16>, scale: u16) -> Decimal {
    // Index of the digit of base 10000 that holds the last decimal digit to be kept, and how many of its four stay.
    let kept = i32::from(scale.div_ceil(DIGITS as u16));
    let stay = i32::from(scale) - (kept - 1) * DIGITS as i32;
    let unit = 10u16.pow((DIGITS as i32 - stay) as u32);
    let Ok(end) = usize::try_from(weight + kept + 1) else {
        return Decimal::new(false, 0, scale, Vec::new());
    };
    let next = digits.get(end).copied().unwrap_or(0);
    digits.resize(end, 0);
    let up = match digits.last_mut() {
        _ if unit == 1 => next >= 5_000,
        Some(last) => {
            let cut = *last % unit;
            *last -= cut;
            cut >= unit / 2
        }
        None => false,
    };
    let mut carry = if up { unit } else { 0 };
    for digit in digits.iter_mut().rev() {
        if carry == 0 {
            break;
        }
        *digit += carry;
        carry = *digit / 10_000;
        *digit %= 10_000;
    }
    if carry > 0 {
        digits.insert(0, carry);
        return Decimal::new(negative, weight + 1, scale, digits);
    }
    Decimal::new(negative, weight, scale, digits)
}

/// The sum of two sizes: its weight and digits.
fn sum(a: &Decimal, b: &Decimal) -> (i32, Vec<u16>) {
    let weight = a.weight.max(b.weight) + 1;
    let lowest = a.lowest().min(b.lowest());
    let mut carry = 0;
    let mut digits: Vec<u16> = (lowest..=weight)
        .map(|w| {
            let sum = a.digit(w) + b.digit(w) + carry;
            carry = sum / 10_000;
            sum % 10_000
        })
        .collect();
    digits.reverse();
    (weight, digits)
}

/// The difference of two sizes, the first of which is not the smaller one: digits from its weight on.
fn difference(a: &Decimal, b: &Decimal) -> Vec<u16> {
    let lowest = a.lowest().min(b.lowest());
    let mut borrowed = 0;
    let mut digits: Vec<u16> = (lowest..=a.weight)
        .map(|w| {
            let (from, take) = (a.digit(w), b.digit(w) + borrowed);
            borrowed = u16::from(from < take);
            from + borrowed * 10_000 - take
        })
        .collect();
    digits.reverse();
    digits
}
