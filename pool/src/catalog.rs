//! What a shard's catalog says: relations, their columns and keys, and functions that may look at tables.
//!
//! Rows as Postgres gives them, in plain structs; what a table *is* to Shardway is decided by the router.

use crate::control::{Control, explain};
use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    /// Whether it has triggers or rules that users made; those of foreign keys do not count.
    pub has_triggers: bool,
    /// Relations (schema and name) that a change here changes too, by a foreign key's ON DELETE or ON UPDATE.
    pub cascades_to: Vec<(String, String)>,
    /// Relations that it inherits from, or is a partition of.
    pub parents: Vec<(String, String)>,
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
    /// Whether it has a default, or is an identity.
    pub has_default: bool,
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
    /// Every function, by name.
    pub functions: Vec<Function>,
}

impl Catalog {
    /// Names of the relations that only one of two catalogs has, or whose columns differ in name, type or order.
    pub fn differences(&self, other: &Catalog) -> Vec<String> {
        let shapes = |catalog: &Catalog| -> BTreeMap<String, Vec<(String, String, i32)>> {
            let shape = |r: &Relation| {
                r.columns.iter().map(|c| (c.name.clone(), c.type_name.clone(), c.typmod)).collect()
            };
            catalog.relations.iter().map(|r| (format!("{}.{}", r.schema, r.name), shape(r))).collect()
        };
        let (here, there) = (shapes(self), shapes(other));
        let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        names.into_iter().filter(|name| here.get(*name) != there.get(*name)).cloned().collect()
    }
}

/// All functions of one name, taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Name.
    pub name: String,
    /// Whether each of them gives one value for one row: no aggregate, window or set-returning function.
    pub scalar: bool,
    /// Whether one of them is volatile.
    pub volatile: bool,
    /// Whether one of them may read or write tables: a user's own, not immutable, not from an extension.
    pub reads_tables: bool,
    /// Whether one of them is not Postgres's own.
    pub overloaded: bool,
    /// Whether the text of one of them, a user's own, speaks of what stays with a session: temporary tables, session
    /// locks, held cursors.
    pub leaves_state: bool,
}

const RELATIONS: &str = "
SELECT n.nspname, c.relname, c.relkind::text,
       EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)
         OR c.relkind IN ('r','p') AND c.relhasrules,
       c.relrowsecurity,
       a.attname, t.typname, t.oid, t.typtype::text,
       CASE WHEN d.typtype = 'd' AND a.atttypmod = -1 THEN d.typtypmod ELSE a.atttypmod END,
       a.attcollation = 0 OR coalesce(CASE WHEN co.collprovider = 'd' THEN (
           -- From JSON, since these columns differ by version.
           SELECT CASE coalesce(to_jsonb(db) ->> 'datlocprovider', 'c') WHEN 'c' THEN db.datcollate::text
                  WHEN 'b' THEN coalesce(to_jsonb(db) ->> 'datlocale', '') END
           FROM pg_database db WHERE db.datname = current_database())
         WHEN co.collprovider = 'c' THEN co.collcollate::text
         WHEN co.collprovider = 'b' THEN to_jsonb(co) ->> 'colllocale'
       END IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8', 'ucs_basic'), false),
       a.attcollation <> 0 AND NOT coalesce(co.collisdeterministic, true),
       a.attidentity <> '' OR coalesce(pg_get_expr(df.adbin, df.adrelid) LIKE '%nextval(%', false),
       a.attgenerated <> '',
       a.attidentity <> '' OR df.adbin IS NOT NULL
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
SELECT p.proname, bool_and(p.prokind = 'f' AND NOT p.proretset), bool_or(p.provolatile = 'v'),
       bool_or(n.nspname NOT IN ('pg_catalog','information_schema') AND p.provolatile <> 'i' AND x.objid IS NULL),
       bool_or(n.nspname <> 'pg_catalog'),
       bool_or(n.nspname NOT IN ('pg_catalog','information_schema') AND x.objid IS NULL
         AND p.prosrc ~* '\\mtemp(orary)?\\M|pg_temp|advisory_(lock|unlock)|\\mhold\\M')
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
LEFT JOIN pg_depend x ON x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'e'
GROUP BY p.proname";

/// Pairs of relations: in the first column 'f' where a change of the former changes the latter by a foreign key,
/// 'i' where the former inherits from the latter.
const LINKS: &str = "
SELECT 'f', fn.nspname, f.relname, tn.nspname, t.relname
FROM pg_constraint k
JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
JOIN pg_class t ON t.oid = k.conrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE k.contype = 'f' AND (k.confdeltype IN ('c','n','d') OR k.confupdtype IN ('c','n','d'))
UNION ALL
SELECT 'i', fn.nspname, f.relname, tn.nspname, t.relname
FROM pg_inherits h
JOIN pg_class f ON f.oid = h.inhrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
JOIN pg_class t ON t.oid = h.inhparent JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE f.relkind IN ('r','p','f')";

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
                cascades_to: Vec::new(),
                parents: Vec::new(),
            });
        }
        if let (Some(column), Some(relation)) = (column(&row), catalog.relations.last_mut()) {
            relation.columns.push(column);
        }
    }
    for row in client.query(FUNCTIONS, &[]).await.map_err(|e| explain(&e))? {
        let (name, scalar, volatile, reads_tables) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let (overloaded, leaves_state) = (row.get(4), row.get(5));
        catalog.functions.push(Function { name, scalar, volatile, reads_tables, overloaded, leaves_state });
    }
    let links = client.query(LINKS, &[]).await.map_err(|e| explain(&e))?;
    let at: HashMap<_, _> =
        catalog.relations.iter().enumerate().map(|(i, r)| ((r.schema.clone(), r.name.clone()), i)).collect();
    for row in &links {
        if let Some(&from) = at.get(&(row.get(1), row.get(2))) {
            link(&mut catalog.relations[from], row);
        }
    }
    Ok(catalog)
}

fn link(from: &mut Relation, row: &tokio_postgres::Row) {
    let to = (row.get(3), row.get(4));
    let links = if row.get::<_, &str>(0) == "f" { &mut from.cascades_to } else { &mut from.parents };
    if !links.contains(&to) {
        links.push(to);
    }
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
        has_default: row.get(14),
    })
}

fn first_char(text: &str) -> char {
    text.chars().next().unwrap_or(' ')
}
