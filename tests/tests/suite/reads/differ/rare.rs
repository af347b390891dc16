//! Expressions over the rarer types, and over bits, money, addresses and characters that are filled up.

use super::maker::{Maker, Names};
use super::types::T;

/// What can be made of a column by its name, which `$` stands for, and what comes of it.
const OF_KINDS: [(&str, &[(&str, T)]); 20] = [
    ("bools", &[("$[1]", T::Bool), ("array_position($, true)", T::Int), ("true = ALL ($)", T::Bool)]),
    ("nums", &[("$[1]", T::Counted), ("cardinality($)", T::Int), ("array_to_string($, '|', '-')", T::Text)]),
    ("floats", &[("$[1:1]", T::Vague), ("$ || '{7}'", T::Vague), ("0.1 = ANY ($)", T::Bool)]),
    ("dates", &[("$[1]", T::Date), ("array_length($, 1)", T::Int), ("$ @> '{infinity}'", T::Bool)]),
    ("jbs", &[("$[1] -> 'k'", T::Jsonb), ("to_jsonb($)", T::Jsonb), ("array_to_json($)", T::Vague)]),
    (
        "grid",
        &[("$[1][2]", T::Int), ("array_dims($)", T::Text), ("array_ndims($)", T::Int), ("$[1:1]", T::Ints)],
    ),
    (
        "lr",
        &[
            ("lower($)", T::Big),
            ("upper_inf($)", T::Bool),
            ("$ * int8range(2, 9)", T::Vague),
            ("$ @> 3::int8", T::Bool),
        ],
    ),
    ("dr", &[("upper($)", T::Date), ("isempty($)", T::Bool), ("$ && '[2024-01-15,)'", T::Bool)]),
    ("tr", &[("lower($)", T::Ts), ("lower_inc($)", T::Bool), ("$ << '[2030-01-01,)'", T::Bool)]),
    (
        "mr",
        &[
            ("range_merge($)", T::Range),
            ("$ + '{[20,30)}'", T::Vague),
            ("$ @> 2", T::Bool),
            ("lower($)", T::Int),
        ],
    ),
    ("nmr", &[("upper($)", T::Counted), ("$ - '{[2,8]}'", T::Vague), ("isempty($)", T::Bool)]),
    ("xm", &[("$::text", T::Text), ("xmlconcat($, '<z/>')", T::Vague), ("$ IS DOCUMENT", T::Bool)]),
    ("jp", &[("jsonb_path_query_first('[1, {\"k\": 2}]', $)", T::Jsonb), ("$::text", T::Text)]),
    (
        "mac8",
        &[
            ("trunc($)", T::Vague),
            ("$ & 'ff:ff:ff:00:00:00:00:00'", T::Vague),
            ("macaddr8_set7bit($)", T::Vague),
        ],
    ),
    (
        "bp",
        &[("$ || '.'", T::Text), ("length($)", T::Int), ("octet_length($)", T::Int), ("$ = 'x  '", T::Bool)],
    ),
    ("bx", &[("area($)", T::Float), ("$ && '((0,0),(2,2))'", T::Bool), ("center($)", T::Point)]),
    (
        "huge",
        &[("$ * 2", T::Counted), ("round($, 3)", T::Counted), ("scale($)", T::Int), ("sign($)", T::Counted)],
    ),
    (
        "ivx",
        &[("extract(day FROM $)", T::Counted), ("$ > '1 year'", T::Bool), ("date_part('hour', $)", T::Float)],
    ),
    (
        "f8x",
        &[("$ = 0", T::Bool), ("$::text", T::Text), ("-$", T::Float), ("$ IS DISTINCT FROM 'NaN'", T::Bool)],
    ),
    ("deep", &[("($).m", T::Mood), ("(($).p).y", T::Text), ("($).n[1]", T::Counted), ("$ IS NULL", T::Bool)]),
];

/// The same of columns of other tables.
const OF_OTHERS: [(T, &[(&str, T)]); 9] = [
    (
        T::Bit,
        &[
            ("$ & B'00001111'", T::Bit),
            ("~$", T::Bit),
            ("$ << 2", T::Bit),
            ("get_bit($, 0)", T::Int),
            ("$::int", T::Int),
        ],
    ),
    (T::Varbit, &[("$ || B'01'", T::Varbit), ("length($)", T::Int), ("bit_length($)", T::Int)]),
    (
        T::Money,
        &[("$ * 2", T::Money), ("$ / 3", T::Money), ("$::numeric", T::Price), ("$ > 0::money", T::Bool)],
    ),
    (T::Mac, &[("trunc($)", T::Mac), ("$ | '00:00:00:00:00:01'", T::Mac), ("macaddr8($)", T::Vague)]),
    (
        T::Char,
        &[("$ || '.'", T::Text), ("length($)", T::Int), ("$ = 'x    '", T::Bool), ("$::varchar", T::Varchar)],
    ),
    (
        T::Bytea,
        &[
            ("encode($, 'hex')", T::Text),
            ("length($)", T::Int),
            ("$ || '\\x00'::bytea", T::Bytea),
            ("md5($)", T::Text),
        ],
    ),
    (T::Uuid, &[("$::text", T::Text), ("$ > '7fffffff-0000-0000-0000-000000000000'", T::Bool)]),
    (T::Inet, &[("masklen($)", T::Int), ("host($)", T::Text), ("$ + 1", T::Vague), ("family($)", T::Int)]),
    (T::NumRange, &[("lower($)", T::Counted), ("$ @> 2.0", T::Bool), ("isempty($)", T::Bool)]),
];

impl Maker {
    /// An expression over a column of a rarer type, if there is one.
    pub fn of_rare(&mut self, names: &Names) -> (String, T) {
        let own = |(label, name): &(String, String)| {
            let of = OF_KINDS.iter().find(|(column, _)| column == name)?;
            Some((format!("{label}.{name}"), of.1))
        };
        let kinds = names.iter().filter(|relation| !relation.is_merged()).flat_map(|relation| {
            let columns = relation.columns.iter().filter(|(_, of)| matches!(of, T::Other(_)));
            columns.map(|(name, _)| (relation.label.clone(), name.clone()))
        });
        let kinds: Vec<(String, &[(&str, T)])> = kinds.filter_map(|column| own(&column)).collect();
        let (column, does) = match kinds.get(self.below(kinds.len())) {
            Some((column, does)) if self.chance(0.8) => (column.clone(), *does),
            _ => {
                let (of, does) = OF_OTHERS[self.below(OF_OTHERS.len())];
                match self.column(names, |other| other == of) {
                    Some((column, _)) => (column, does),
                    None => return self.number_of(names, 0),
                }
            }
        };
        let (sql, of) = does[self.below(does.len())];
        (format!("({})", sql.replace('$', &column)), of)
    }
}
