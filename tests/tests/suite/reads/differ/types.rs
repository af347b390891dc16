//! The types that statements are made of: what values they have, and what can be done with them.

/// A type, or one of several ways in which it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum T {
    Int,
    Small,
    Big,
    /// Of any size and scale. Equal values are written alike in the tables.
    Num,
    /// A number that was counted out: equal ones may have another scale.
    Counted,
    Price,
    Float,
    Real,
    Text,
    TextC,
    TextDe,
    /// Under a collation by which different texts are equal.
    Loose,
    Varchar,
    Char,
    Bytea,
    Bool,
    Date,
    Ts,
    Tz,
    Time,
    TimeTz,
    Interval,
    Uuid,
    Inet,
    Cidr,
    Mac,
    Json,
    Jsonb,
    Ints,
    Texts,
    Range,
    NumRange,
    Mood,
    Moods,
    Domain,
    Pair,
    Bit,
    Varbit,
    Money,
    Tsvector,
    Point,
    Oid,
    /// One of the rarer types, by its number.
    Other(u8),
    /// What nothing is done with.
    Vague,
}

use super::kinds::{Does, KINDS, Kind, NUMBERED};
use T::*;

/// What columns of the table of all types are called, and their types.
pub const ALL: [(&str, T, &str); 41] = [
    ("a", Int, "int"),
    ("s", Small, "int2"),
    ("big", Big, "int8"),
    ("num", Num, "numeric"),
    ("price", Price, "numeric(12,2)"),
    ("f8", Float, "float8"),
    ("f4", Real, "float4"),
    ("t", Text, "text"),
    ("c", TextC, "text COLLATE \"C\""),
    ("de", TextDe, "text COLLATE \"de-x-icu\""),
    ("nd", Loose, "text COLLATE loose"),
    ("v", Varchar, "varchar(20)"),
    ("ch", Char, "char(5)"),
    ("y", Bytea, "bytea"),
    ("b", Bool, "bool"),
    ("d", Date, "date"),
    ("ts", Ts, "timestamp(3)"),
    ("tz", Tz, "timestamptz"),
    ("tm", Time, "time"),
    ("tmz", TimeTz, "timetz"),
    ("iv", Interval, "interval"),
    ("u", Uuid, "uuid"),
    ("ip", Inet, "inet"),
    ("net", Cidr, "cidr"),
    ("mac", Mac, "macaddr"),
    ("js", Json, "json"),
    ("jb", Jsonb, "jsonb"),
    ("ia", Ints, "int[]"),
    ("ta", Texts, "text[]"),
    ("ir", Range, "int4range"),
    ("nr", NumRange, "numrange"),
    ("e", Mood, "mood"),
    ("ea", Moods, "mood[]"),
    ("dom", Domain, "positive"),
    ("pr", Pair, "pair"),
    ("bi", Bit, "bit(8)"),
    ("vb", Varbit, "varbit"),
    ("mo", Money, "money"),
    ("tsv", Tsvector, "tsvector"),
    ("pt", Point, "point"),
    ("o", Oid, "oid"),
];

impl T {
    /// Values as text; NULL comes on top. No two that are equal are written differently, but for [`T::Loose`].
    pub fn values(self) -> &'static [&'static str] {
        match self {
            Int => &["1", "2", "3", "-5", "0", "2147483647", "-2147483648", "40"],
            Small => &["1", "-1", "32767", "-32768", "0", "7"],
            Big => &["9223372036854775807", "-9223372036854775808", "0", "10", "5000000000", "3"],
            Num | Counted => &[
                "1.10",
                "-0.5",
                "12345678901234567890.5",
                "0",
                "0.000000000000000000001",
                "1e20",
                "99999.99995",
                "NaN",
                "Infinity",
                "-Infinity",
                "7",
            ],
            Price => &["10.00", "0.01", "-99.99", "1234567890.12", "0.00", "7.50"],
            Float => &["1.5", "-0.25", "NaN", "Infinity", "-Infinity", "20", "0", "1048576.5"],
            Real => &["1.5", "64", "NaN", "-3", "0.25", "0"],
            Text | TextC | TextDe => {
                &["apple", "Banana", "Äpfel", "zebra", "", "a b", "cote", "côté", "ß", "10", "9"]
            }
            Loose => &["apple", "Apple", "APPLE", "pear", "Pear"],
            Varchar => &["a", "B", "b", "é", "", "a ", "_x%"],
            Char => &["x", "y", "X", "", "ab"],
            Bytea => &["\\x00ff", "\\x", "\\x00", "\\x616263"],
            Bool => &["true", "false", "false"],
            Date => &[
                "1969-07-20",
                "infinity",
                "-infinity",
                "0044-03-15 BC",
                "2024-02-29",
                "20240-01-01",
                "1999-12-31",
            ],
            Ts => &[
                "1999-12-31 23:59:59.999",
                "infinity",
                "-infinity",
                "0044-03-15 12:00 BC",
                "2024-02-29",
                "1969-12-31 23:00:00.5",
            ],
            Tz => &[
                "1970-01-01 00:00:00+00",
                "1900-01-01 00:00:00.000001+05",
                "2014-10-26 01:30:00+04",
                "infinity",
                "2024-03-31 02:30:00+01",
            ],
            Time => &["00:00", "23:59:59.999999", "24:00", "12:30"],
            TimeTz => &["00:00+00", "23:59:59+05", "12:30-08", "12:30+02"],
            Interval => &["1 month", "45 days", "-3 hours", "1 year 2 days 00:00:00.5", "0"],
            Uuid => &["8f14e45f-ceea-467f-a830-8d4c0e6b6a3d", "00000000-0000-0000-0000-000000000000"],
            Inet => &["10.0.0.9", "10.0.0.10", "10.0.0.0/8", "::1", "fe80::1/64", "9.255.0.1"],
            Cidr => &["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"],
            Mac => &["08:00:2b:01:02:03", "08:00:2b:01:02:04", "ff:00:00:00:00:00"],
            Json => &["{\"k\": 1}", "[1, 2]", "null", "\"x\"", "{\"k\": {\"z\": \"deep\"}}"],
            Jsonb => &["{\"k\": 1}", "[1, 2]", "null", "\"x\"", "{\"k\": \"v\", \"z\": [3]}", "2"],
            Ints => &["{1,2}", "{}", "{3}", "{1,NULL}", "{1,2,3}", "{2}"],
            Texts => &["{a,b}", "{}", "{\"x y\",NULL}", "{b}", "{ä}"],
            Range => &["[1,5)", "empty", "(,3)", "[2,)", "[10,20)"],
            NumRange => &["[1.5,2.5]", "empty", "(,0)", "[7,8)"],
            Mood => &["sad", "happy", "ok"],
            Moods => &["{sad,ok}", "{happy}", "{}"],
            Domain => &["1", "2", "500"],
            Pair => &["(1,x)", "(1,y)", "(,x)", "(2,\"a b\")"],
            Bit => &["00000001", "10000000", "11111111"],
            Varbit => &["1", "101", "", "0"],
            Money => &["1.50", "-20.00", "1000000.00"],
            Tsvector => &["a:1 b:2", "c", ""],
            Point => &["(0,0)", "(3,4)", "(1,1)", "(-2,0.5)", "(0,1)", "(6,8)"],
            Oid => &["1", "4294967295", "16384"],
            Other(n) => KINDS[usize::from(n)].values,
            Vague => &["1"],
        }
    }

    /// What SQL calls it.
    pub fn name(self) -> &'static str {
        match self {
            Counted => "numeric",
            Loose => "text",
            TextC | TextDe => "text",
            Price => "numeric",
            Char => "bpchar",
            Varchar => "varchar",
            Bit => "bit(8)",
            Ts => "timestamp",
            Other(n) => KINDS[usize::from(n)].cast,
            other => ALL.iter().find(|(_, is, _)| *is == other).map_or("text", |(.., name)| name),
        }
    }

    /// Whether it has an order, and what is equal is the same.
    pub fn sorts(self) -> bool {
        match self {
            Other(_) => self.does() != Does::Nothing,
            _ => !matches!(self, Json | Point | Loose | Counted | Vague),
        }
    }

    /// Whether two of them can be compared.
    pub fn has_equality(self) -> bool {
        self.sorts() || matches!(self, Loose | Counted)
    }

    /// Whether it has `max` and `min`.
    pub fn has_max(self) -> bool {
        if let Other(_) = self {
            return matches!(self.does(), Does::Tops | Does::Adds);
        }
        self.sorts()
            && !matches!(
                self,
                Bytea | Bool | Uuid | Mac | Jsonb | Range | NumRange | Pair | Bit | Varbit | Tsvector
            )
    }

    /// Whether it adds up.
    pub fn adds(self) -> bool {
        self.is_number() || matches!(self, Interval | Money) || self.does() == Does::Adds
    }

    /// What can be done with one of the rarer types.
    fn does(self) -> Does {
        match self {
            Other(n) => KINDS[usize::from(n)].does,
            _ => Does::Nothing,
        }
    }

    /// Whether it is a number that is counted with.
    pub fn is_number(self) -> bool {
        matches!(self, Int | Small | Big | Num | Counted | Price | Float | Real | Domain)
    }

    /// Whether it is text of some kind.
    pub fn is_text(self) -> bool {
        matches!(self, Text | TextC | TextDe | Varchar | Loose)
    }

    /// Whether it has bounds.
    pub fn is_range(self) -> bool {
        match self {
            Other(n) => KINDS[usize::from(n)].cast.ends_with("range"),
            _ => matches!(self, Range | NumRange),
        }
    }

    /// Whether it is of the database's own making, so that arrays of it have a number of their own.
    pub fn is_own(self) -> bool {
        let own = |kind: &Kind| matches!(kind.column, "sh" | "sp") || NUMBERED.contains(&kind.column);
        match self {
            Other(n) => own(&KINDS[usize::from(n)]),
            _ => matches!(self, Mood | Moods | Pair | Domain),
        }
    }

    /// Whether its binary form has numbers in it that differ from database to database.
    pub fn is_numbered(self) -> bool {
        match self {
            Other(n) => NUMBERED.contains(&KINDS[usize::from(n)].column),
            _ => matches!(self, Moods | Pair),
        }
    }
}
