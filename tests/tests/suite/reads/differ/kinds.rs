//! The rarer types: arrays of many kinds, ranges and multiranges, geometry, XML, and values at the ends of what their types
//! hold. Expressions do little with them; but they are compared, grouped, ordered, counted and shown.

/// A column of the table of rarer types.
pub struct Kind {
    pub column: &'static str,
    /// As the table declares it.
    pub sql: &'static str,
    /// What a value is cast to.
    pub cast: &'static str,
    /// Values as text, none of them equal but by being the same.
    pub values: &'static [&'static str],
    pub does: Does,
}

/// What can be done with values of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// They are shown.
    Nothing,
    /// They have an order.
    Sorts,
    /// They have a largest, too.
    Tops,
    /// And they add up, without rounding.
    Adds,
}

use Does::{Adds, Nothing, Sorts, Tops};

const fn kind(column: &'static str, sql: &'static str, does: Does, values: &'static [&'static str]) -> Kind {
    Kind { column, sql, cast: sql, values, does }
}

const fn cast(cast: &'static str, kind: Kind) -> Kind {
    Kind { cast, ..kind }
}

/// Those whose binary form has numbers of types in it that differ from database to database.
pub const NUMBERED: [&str; 3] = ["doms", "prs", "deep"];

/// Types that the table needs.
pub const TYPES: &str = "CREATE DOMAIN short AS varchar(5);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE TYPE deep AS (m mood, p pair, n numeric[]);\n";

pub const KINDS: [Kind; 52] = [
    kind("bools", "bool[]", Tops, &["{t,f}", "{}", "{NULL,t}", "{f}"]),
    kind("nums", "numeric[]", Tops, &["{1.5,NaN}", "{}", "{NULL}", "{1e30,-0.25}", "{Infinity}"]),
    kind("floats", "float8[]", Tops, &["{1.5,-Infinity}", "{NaN}", "{}", "{0.1,0.2}"]),
    kind(
        "dates",
        "date[]",
        Tops,
        &["{infinity,2024-02-29}", "{\"0044-03-15 BC\"}", "{}", "{1999-12-31,NULL}"],
    ),
    kind(
        "stamps",
        "timestamptz[]",
        Tops,
        &["{\"2014-10-26 01:30:00+04\"}", "{-infinity}", "{}", "{NULL,epoch}"],
    ),
    kind("uuids", "uuid[]", Tops, &["{8f14e45f-ceea-467f-a830-8d4c0e6b6a3d}", "{}", "{NULL}"]),
    kind("ivs", "interval[]", Tops, &["{1 mon,-3 days}", "{00:00:01}", "{}", "{\"1 year -00:00:00.5\"}"]),
    kind("ips", "inet[]", Tops, &["{10.0.0.1,::1}", "{10.0.0.0/8}", "{}"]),
    kind("jbs", "jsonb[]", Tops, &["{\"{\\\"k\\\": 1}\",NULL}", "{\"[1, 2]\"}", "{}", "{\"\\\"x\\\"\"}"]),
    kind("grid", "int[]", Tops, &["{{1,2},{3,4}}", "[0:1]={5,6}", "{1}", "{{{7}}}"]),
    cast("int8range", kind("lr", "int8range", Sorts, &["[1,5)", "empty", "(,)", "[9223372036854775806,)"])),
    kind(
        "dr",
        "daterange",
        Sorts,
        &["[2024-01-01,2024-02-01)", "empty", "(,-infinity)", "[2000-01-01,infinity]"],
    ),
    kind(
        "tr",
        "tsrange",
        Sorts,
        &["[2024-01-01 00:00,2024-01-02 00:00)", "empty", "(,infinity)", "(1999-12-31 23:59:59.999999,]"],
    ),
    kind("tzr", "tstzrange", Sorts, &["[2014-10-26 01:30+04,2014-10-26 02:30+04)", "empty", "[-infinity,)"]),
    kind("mr", "int4multirange", Sorts, &["{[1,3),[5,9)}", "{}", "{(,)}", "{[2,4)}"]),
    kind("nmr", "nummultirange", Sorts, &["{[1.5,2.5],(7,9)}", "{}", "{(,0)}"]),
    kind("dmr", "datemultirange", Sorts, &["{[2024-01-01,2024-02-01),[2024-03-01,infinity)}", "{}"]),
    kind("ranges", "int4range[]", Tops, &["{\"[1,5)\",empty}", "{}", "{NULL,\"(,3)\"}"]),
    kind("xm", "xml", Nothing, &["<a>1</a>", "<b c=\"ä\"/>", "text", ""]),
    kind("jp", "jsonpath", Nothing, &["$.\"k\"", "$", "$[*]"]),
    kind(
        "mac8",
        "macaddr8",
        Sorts,
        &["08:00:2b:01:02:03:04:05", "ff:00:00:00:00:00:00:01", "08:00:2b:01:02:03:04:04"],
    ),
    kind("one", "\"char\"", Sorts, &["a", "Z", "", "~"]),
    kind("nm", "name", Sorts, &["pg", "Zed", "ähm", ""]),
    kind("bp", "bpchar", Tops, &["x", "y z", "", " lead", "q   "]),
    cast("char(3)", kind("ch3", "char(3) COLLATE \"C\"", Sorts, &["a", "B", "ab", "ß"])),
    kind("lsn", "pg_lsn", Tops, &["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"]),
    kind("tq", "tsquery", Sorts, &["'a' & 'b'", "'c'", "!'a' | 'd':*"]),
    kind("bx", "box", Nothing, &["(1,1),(0,0)", "(3,4),(-1,0.5)"]),
    kind("sg", "lseg", Nothing, &["[(0,0),(1,1)]", "[(2,0.25),(1,1)]"]),
    kind("pa", "path", Nothing, &["((0,0),(1,1))", "[(0,0),(2,2)]"]),
    kind("po", "polygon", Nothing, &["((0,0),(1,1),(2,0))", "((5,5))"]),
    kind("ci", "circle", Nothing, &["<(0,0),1.5>", "<(1,-1),0>"]),
    kind("ln", "line", Nothing, &["{1,-1,0}", "{0,2,3}"]),
    kind(
        "huge",
        "numeric",
        Adds,
        &[
            "1e-900",
            "-1e900",
            "12345678901234567890123456789012345678901234567890.0625",
            "0.30",
            "1e900",
            "-7",
        ],
    ),
    cast("numeric(5,-2)", kind("hundreds", "numeric(5,-2)", Adds, &["12300", "-99900", "0", "9999900"])),
    kind(
        "ivx",
        "interval",
        Tops,
        &[
            "178956970 years",
            "-178956970 years",
            "-1 days +02:03:04.000005",
            "1 mon -30 days +00:00:00.000001",
            "2 mons",
        ],
    ),
    kind(
        "dx",
        "date",
        Tops,
        &["4714-11-24 BC", "5874897-12-31", "infinity", "-infinity", "2000-01-01", "1582-10-15"],
    ),
    kind(
        "tsx",
        "timestamp",
        Tops,
        &[
            "4714-11-24 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "infinity",
            "-infinity",
            "1999-12-31 23:59:59.999999",
        ],
    ),
    cast(
        "timestamptz(0)",
        kind(
            "tz0",
            "timestamptz(0)",
            Tops,
            &["4714-11-24 00:00:00+00 BC", "2024-03-31 01:00:00+00", "infinity"],
        ),
    ),
    cast("time(2)", kind("tm2", "time(2)", Tops, &["24:00:00", "00:00:00.01", "23:59:59.99"])),
    cast(
        "interval",
        kind("ivd", "interval day to second(1)", Tops, &["3 days 00:00:00.1", "-25:00:00", "00:00:00"]),
    ),
    cast("varbit(5)", kind("vb5", "bit varying(5)", Sorts, &["10101", "0", "", "11"])),
    cast(
        "text",
        kind("fr", "text COLLATE \"fr-x-icu\"", Tops, &["cote", "coté", "côte", "côté", "a-b", "ab", "A"]),
    ),
    cast("text", kind("posix", "text COLLATE \"POSIX\"", Tops, &["a", "B", "ä", "_", "~", "10"])),
    kind("f8x", "float8", Tops, &["1e308", "-1e308", "5e-324", "0.1", "-0", "NaN"]),
    kind("f4x", "float4", Tops, &["3.4028235e38", "1e-45", "0.1", "-Infinity"]),
    cast("short", kind("sh", "short", Sorts, &["a", "Bcd", "", "ümläu"])),
    kind("doms", "positive[]", Sorts, &["{1,2}", "{}", "{NULL,500}"]),
    kind("prs", "pair[]", Sorts, &["{\"(1,x)\"}", "{}", "{NULL,\"(,\\\"a b\\\")\"}"]),
    kind("sp", "span", Sorts, &["[1.5,2.5)", "empty", "(,NaN)", "[0.1,0.2]"]),
    kind("deep", "deep", Sorts, &["(sad,\"(1,x)\",\"{1.5}\")", "(,,)", "(happy,\"(,y)\",{})"]),
    kind("x8", "xid8", Sorts, &["1", "18446744073709551615", "4294967296"]),
];
