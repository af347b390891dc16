//! Identifiers, and values that look random but are the same in every demo: whoever follows the tour by hand
//! finds what the tour found.

/// A stream of numbers that its seed alone decides: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// A stream of its own for each row of each kind.
    pub(super) fn new(kind: Kind, row: usize) -> Self {
        Self((kind as u64) << 32 | row as u64)
    }

    /// The next 64 bits.
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        // A bias of 2^-50 does not matter for prices.
        (self.roll() % end as u64) as usize
    }

    /// One of them.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// What the dice are thrown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Module = 1,
    Finish,
    Snapshot,
    Adjustment,
    Suggestion,
    Embedding,
    User,
    Design,
    Preset,
    Ledger,
    Job,
}

/// The n-th configuration's id.
pub(super) fn configuration(n: usize) -> String {
    format!("cfg-{n:05}")
}

/// The n-th user's id.
pub(super) fn user(n: usize) -> String {
    uuid(Kind::User, n)
}

/// A version 4 UUID (RFC 9562, 5.4) as Postgres prints it.
pub(super) fn uuid(kind: Kind, n: usize) -> String {
    let mut dice = Dice::new(kind, n);
    let (high, low) = (dice.roll(), dice.roll());
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, 0x4000 | high & 0xfff);
    let (d, e) = (0x8000 | low >> 48 & 0x3fff, low & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}

/// A moment of 2025, one for each `n` below 400,000 or so. Months end with their 28th.
pub(super) fn moment(n: usize) -> String {
    let (day, minute) = (n / 1440, n % 1440);
    let (month, day) = (1 + day / 28, 1 + day % 28);
    format!("2025-{month:02}-{day:02} {:02}:{:02}:00+00", minute / 60, minute % 60)
}

/// An amount of money, from cents.
pub(super) fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_well_formed_and_stay_what_they_are() {
        assert_eq!(configuration(42), "cfg-00042");
        let id = user(7);
        assert_eq!(id, user(7));
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
    }

    #[test]
    fn moments_are_dates_and_money_has_cents() {
        assert_eq!(moment(0), "2025-01-01 00:00:00+00");
        assert_eq!(moment(28 * 1440 + 61), "2025-02-01 01:01:00+00");
        assert_eq!([money(123_456), money(-5), money(0)], ["1234.56", "-0.05", "0.00"]);
    }
}
