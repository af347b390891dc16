//! What a table consists of, piece by piece, without anything that differs between servers by itself: for comparing
//! shards, and for seeing what a command has done.

use super::{Name, name, text};
use crate::server::TextRow;
use std::fmt::Write;

/// One piece of a relation, or of what stands beside relations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// The relation, or what else it is.
    pub table: Name,
    /// What it is: a constant of [`kinds`], or a letter of no further meaning.
    pub kind: char,
    /// What it says.
    pub text: String,
}

/// Kinds of items that are looked at by themselves.
pub mod kinds {
    /// The file that holds a table's rows; it differs between servers.
    pub const FILE: char = 'f';
    /// A column's number and name; numbers differ where columns were dropped.
    pub const NUMBER: char = 'a';
    /// What rows that were there before a column have in it.
    pub const FILLED: char = 'm';
}

/// Of every relation: its columns, constraints, indexes, its query if it is a view.
const RELATIONS: &str = "
SELECT r.nspname, r.relname, 'r', concat_ws(' ', r.relkind, r.relpersistence, r.relispartition, r.bound) FROM rel r
UNION ALL
SELECT r.nspname, r.relname, 'f', pg_relation_filenode(r.oid)::text FROM rel r WHERE r.relkind = 'r'
UNION ALL
SELECT r.nspname, r.relname, 'a', a.attnum || ' ' || a.attname
FROM rel r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT r.nspname, r.relname, 'c', concat_ws(' ', row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum), a.attname,
  format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, co.collname,
  pg_get_expr(df.adbin, df.adrelid))
FROM rel r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_attrdef df ON df.adrelid = a.attrelid AND df.adnum = a.attnum
UNION ALL
SELECT r.nspname, r.relname, 'm', a.attname || ' ' || a.attmissingval::text
FROM rel r JOIN pg_attribute a ON a.attrelid = r.oid AND a.atthasmissing AND NOT a.attisdropped
UNION ALL
SELECT r.nspname, r.relname, 'i', pg_get_indexdef(x.indexrelid) || ' ' || x.indisvalid
FROM rel r JOIN pg_index x ON x.indrelid = r.oid
UNION ALL
SELECT r.nspname, r.relname, 'k', k.conname || ' ' || pg_get_constraintdef(k.oid)
FROM rel r JOIN pg_constraint k ON k.conrelid = r.oid AND k.contype <> 't'
UNION ALL
SELECT r.nspname, r.relname, 'v', pg_get_viewdef(r.oid) FROM rel r WHERE r.relkind IN ('v','m')";

/// Types and functions of users.
const OTHERS: &str = "
UNION ALL
SELECT n.nspname, t.typname, 't', concat_ws(' ', t.typtype, format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault,
  (SELECT string_agg(e.enumlabel, ' ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype IN ('d','e') AND n.nspname NOT IN ('pg_catalog','information_schema','shardway')
UNION ALL
SELECT n.nspname, p.proname, 'p', pg_get_function_identity_arguments(p.oid) || ' ' || md5(p.prosrc)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog','information_schema','shardway')";

/// The query for relations of these names, in whatever schema; `None`: for all of them, and for types and functions. To be
/// run with the system's catalogs alone on the search path.
pub fn query(names: Option<&[String]>) -> String {
    let mut sql =
        "WITH rel AS (SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relispartition, \
                   pg_get_expr(c.relpartbound, c.oid) AS bound \
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE c.relkind IN ('r','p','v','m','f') \
                   AND n.nspname NOT IN ('pg_catalog','information_schema','pg_toast','shardway') \
                   AND n.nspname !~ '^pg_(temp|toast_temp)_'"
            .to_owned();
    for (at, name) in names.unwrap_or_default().iter().enumerate() {
        let opening = if at == 0 { " AND c.relname IN (" } else { ", " };
        let _ = write!(sql, "{opening}'{}'", name.replace('\'', "''"));
    }
    sql.push_str(if names.is_some_and(|names| !names.is_empty()) { "))" } else { ")" });
    sql.push_str(RELATIONS);
    if names.is_none() {
        sql.push_str(OTHERS);
    }
    sql
}

/// What its rows say.
pub fn of_rows(rows: Vec<TextRow>) -> Vec<Item> {
    let item = |mut row: TextRow| Item {
        table: name(&mut row, 0),
        kind: text(&mut row, 2).chars().next().unwrap_or_default(),
        text: text(&mut row, 3),
    };
    rows.into_iter().map(item).collect()
}
