//! Sequences that columns take their values from, and how far each has come.

use super::{Name, Source, name, number, text, truth};
use std::collections::HashMap;
use std::fmt::Write;

/// A column whose value comes from a sequence where it is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceUse {
    /// Its table.
    pub table: Name,
    /// The column.
    pub column: String,
    /// The sequence; `None` where the default does not say plainly which.
    pub sequence: Option<Name>,
}

/// A sequence as it stands on one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// What RESTART goes back to.
    pub start: i64,
    /// From one value to the next.
    pub increment: i64,
    /// Its least value.
    pub min: i64,
    /// Its greatest.
    pub max: i64,
    /// Whether it begins anew at its end.
    pub cycles: bool,
    /// The value given last, or (`called` is false) the one to be given next.
    pub last: i64,
    /// Whether `last` was given.
    pub called: bool,
}

impl Sequence {
    /// The value that it gives next, bounds aside; `None`: none that fits.
    pub fn next(&self) -> Option<i64> {
        if self.called { self.last.checked_add(self.increment) } else { Some(self.last) }
    }
}

/// Columns that are identities, or whose defaults name sequences. One whose default does more with `nextval` than to
/// name its sequence has a row without one.
const USES: &str = "
WITH defaults AS (
  SELECT df.oid, df.adrelid, df.adnum, pg_get_expr(df.adbin, df.adrelid) AS text FROM pg_catalog.pg_attrdef df
)
SELECT n.nspname, t.relname, a.attname, sn.nspname, s.relname
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid AND a.attidentity <> ''
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'i'
  AND n.nspname !~ '^pg_(temp|toast_temp)_'
UNION
SELECT n.nspname, t.relname, a.attname, sn.nspname, s.relname
FROM defaults df
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = df.oid
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = df.adrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = df.adnum
WHERE n.nspname !~ '^pg_(temp|toast_temp)_'
UNION
SELECT n.nspname, t.relname, a.attname, NULL, NULL
FROM defaults df
JOIN pg_catalog.pg_class t ON t.oid = df.adrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = df.adnum
WHERE n.nspname !~ '^pg_(temp|toast_temp)_'
  AND (SELECT count(*) FROM regexp_matches(df.text, 'nextval\\(', 'g'))
   <> (SELECT count(*) FROM regexp_matches(df.text, 'nextval\\(''([^'']|'''')*''::regclass\\)', 'g'))
ORDER BY 1, 2, 3, 4, 5";

/// Columns that take their values from sequences. Errors: in words.
pub(super) async fn read_uses(source: &mut impl Source) -> Result<Vec<SequenceUse>, String> {
    let rows = source.rows(USES).await?;
    Ok(rows
        .into_iter()
        .map(|mut row| {
            let sequence = name(&mut row, 3);
            SequenceUse {
                table: name(&mut row, 0),
                column: text(&mut row, 2),
                sequence: Some(sequence).filter(|(_, name)| !name.is_empty()),
            }
        })
        .collect())
}

/// How these sequences stand; those that are not there, or that may not be read, are left out. Errors: in words.
pub async fn read_sequences(
    source: &mut impl Source,
    wanted: &[Name],
) -> Result<HashMap<Name, Sequence>, String> {
    const THERE: &str = "SELECT n.nspname, s.relname FROM pg_catalog.pg_class s \
        JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
        WHERE CASE s.relkind WHEN 'S' THEN has_schema_privilege(n.oid, 'USAGE') \
          AND has_sequence_privilege(s.oid, 'SELECT') END";
    let mut there: Vec<Name> = source.rows(THERE).await?.iter_mut().map(|row| name(row, 0)).collect();
    there.retain(|name| wanted.contains(name));
    let mut sql = String::new();
    for (schema, sequence) in &there {
        let union = if sql.is_empty() { "" } else { " UNION ALL " };
        let relation = format!("{}.{}", quoted(schema, '"'), quoted(sequence, '"'));
        let _ = write!(
            sql,
            "{union}SELECT {}, {}, q.seqstart, q.seqincrement, q.seqmin, q.seqmax, q.seqcycle, s.last_value, s.is_called \
             FROM {relation} s, pg_catalog.pg_sequence q WHERE q.seqrelid = s.tableoid",
            quoted(schema, '\''),
            quoted(sequence, '\''),
        );
    }
    if sql.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = source.rows(&sql).await?;
    Ok(rows.into_iter().map(|mut row| (name(&mut row, 0), sequence(&mut row))).collect())
}

fn sequence(row: &mut crate::server::TextRow) -> Sequence {
    Sequence {
        start: number(row, 2),
        increment: number(row, 3),
        min: number(row, 4),
        max: number(row, 5),
        cycles: truth(row, 6),
        last: number(row, 7),
        called: truth(row, 8),
    }
}

/// An identifier or a literal, in its quotes. A backslash means itself under `standard_conforming_strings`.
fn quoted(text: &str, quote: char) -> String {
    let doubled: String = text.chars().flat_map(|c| [Some(c), (c == quote).then_some(c)]).flatten().collect();
    format!("{quote}{doubled}{quote}")
}
