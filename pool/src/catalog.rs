//! What a shard's catalog says: relations, their columns and keys, and functions that may look at tables.
//!
//! Rows as Postgres gives them, in plain structs; what a table *is* to Shardway is decided by the router.

use crate::control::{Control, explain};

/// One relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `pg_class.relkind`: r table, p partitioned, v view, m materialized view, f foreign, S sequence.
    pub kind: char,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Whether it has triggers of its own.
    pub has_triggers: bool,
    /// Whether rows are filtered by policies.
    pub has_row_security: bool,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// `pg_type.typname` of the type, or of a domain's base type.
    pub type_name: String,
    /// The type's OID, or the domain's base type's.
    pub type_oid: u32,
    /// `pg_type.typtype` of that: b base, e enum, c composite, …
    pub type_kind: char,
    /// `pg_attribute.atttypmod`, or the domain's.
    pub typmod: i32,
    /// Whether its collation orders text as bytes (`C`, `POSIX`, `C.UTF-8`, `ucs_basic`), or it has none.
    pub byte_order: bool,
    /// Whether equal text may differ in bytes (a nondeterministic collation).
    pub nondeterministic: bool,
    /// Whether its default takes from a sequence (serial, identity, nextval).
    pub from_sequence: bool,
    /// Whether it is GENERATED ALWAYS AS (…) STORED, so that INSERT without a column list skips nothing but can't set it.
    pub generated: bool,
}

/// All that was read from one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Every relation outside the system schemas.
    pub relations: Vec<Relation>,
    /// Names of functions outside pg_catalog that may read or write tables: not immutable, not from an extension.
    pub table_functions: Vec<String>,
}

const RELATIONS: &str = "
SELECT n.nspname, c.relname, c.relkind::text, c.relhastriggers, c.relrowsecurity,
       a.attname, t.typname, t.oid, t.typtype::text,
       CASE WHEN d.typtype = 'd' AND a.atttypmod = -1 THEN d.typtypmod ELSE a.atttypmod END,
       a.attcollation = 0 OR coalesce(CASE WHEN co.collprovider = 'd' THEN (SELECT datcollate FROM pg_database WHERE datname = current_database() AND datlocprovider = 'c') WHEN co.collprovider = 'c' THEN co.collcollate END IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8', 'ucs_basic'), false),
       a.attcollation <> 0 AND NOT coalesce(co.collisdeterministic, true),
       a.attidentity <> '' OR coalesce(pg_get_expr(df.adbin, df.adrelid) LIKE '%nextval(%', false),
       a.attgenerated <> ''
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type d ON d.oid = a.atttypid
LEFT JOIN pg_type t ON t.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid END
LEFT JOIN pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_attrdef df ON df.adrelid = c.oid AND df.adnum = a.attnum
WHERE c.relkind IN ('r','p','v','m','f','S')
  AND n.nspname NOT IN ('pg_catalog','information_schema','pg_toast') AND n.nspname !~ '^pg_(temp|toast_temp)_'
ORDER BY n.nspname, c.relname, a.attnum";

const FUNCTIONS: &str = "
SELECT DISTINCT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog','information_schema') AND p.provolatile <> 'i'
  AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'e')";

/// Reads a database's catalog. Errors: in words.
pub async fn read(control: &Control) -> Result<Catalog, String> {
    let client = control.get().await?;
    let mut catalog = Catalog::default();
    for row in client.query(RELATIONS, &[]).await.map_err(|e| explain(&e))? {
        let (schema, name): (String, String) = (row.get(0), row.get(1));
        let same = catalog.relations.last().is_some_and(|r| r.schema == schema && r.name == name);
        if !same {
            catalog.relations.push(Relation {
                schema,
                name,
                kind: first_char(row.get(2)),
                columns: Vec::new(),
                has_triggers: row.get(3),
                has_row_security: row.get(4),
            });
        }
        if let (Some(column), Some(relation)) = (column(&row), catalog.relations.last_mut()) {
            relation.columns.push(column);
        }
    }
    for row in client.query(FUNCTIONS, &[]).await.map_err(|e| explain(&e))? {
        catalog.table_functions.push(row.get(0));
    }
    Ok(catalog)
}

/// The row's column; `None` for a relation without any.
fn column(row: &tokio_postgres::Row) -> Option<Column> {
    Some(Column {
        name: row.get::<_, Option<String>>(5)?,
        type_name: row.get(6),
        type_oid: row.get(7),
        type_kind: first_char(row.get(8)),
        typmod: row.get(9),
        byte_order: row.get(10),
        nondeterministic: row.get(11),
        from_sequence: row.get(12),
        generated: row.get(13),
    })
}

fn first_char(text: &str) -> char {
    text.chars().next().unwrap_or(' ')
}
