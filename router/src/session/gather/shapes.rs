//! What columns of tables are, in words that another server understands: for temporary tables of what the engine does not
//! have, and for values that travel without one.

use crate::error::ClientError;
use crate::plan::gather::{Brought, is_exact_in_binary, quoted};
use crate::session::servers::refused;
use crate::session::simple::Failure;
use shardway_pool::server::ServerConn;
use shardway_pool::settings::quote;

/// A column that is brought.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Its name, quoted.
    pub(super) name: String,
    /// Its type, as it is there.
    pub(super) own: String,
    /// The same, of a domain the type behind it.
    base: String,
    /// The same without length and precision.
    pub(super) bare: String,
    /// That type's OID.
    pub(super) oid: u32,
    /// COLLATE, where it has a collation of its own.
    collation: String,
    pub(super) travels: Travels,
    /// How its database sorts text, if it is sorted so.
    sorts: Option<String>,
}

/// How values travel as elements of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Travels {
    /// As they are.
    Binary,
    /// As text that is the same whatever the settings.
    Label,
    /// As text.
    Text,
}

/// How the database sorts text whose columns do not say.
const SORTS: &str = "(SELECT pg_catalog.concat_ws('/', d.datcollate, d.datctype, \
    pg_catalog.to_jsonb(d)->>'datlocprovider', pg_catalog.to_jsonb(d)->>'daticulocale', \
    pg_catalog.to_jsonb(d)->>'datlocale') \
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())";

/// 100 is the collation `default`.
const COLUMNS: &str = "SELECT r.n, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
    pg_catalog.format_type(b.oid, CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END), \
    pg_catalog.format_type(b.oid, -1), b.oid, \
    CASE WHEN a.attcollation IN (0, 100) THEN '' \
    ELSE ' COLLATE ' || pg_catalog.quote_ident(s.nspname) || '.' || pg_catalog.quote_ident(c.collname) END, \
    CASE WHEN b.typtype = 'e' THEN 'l' WHEN b.typcategory <> 'A' AND b.typarray <> 0 THEN 'b' ELSE 't' END, \
    CASE a.attcollation WHEN 100 THEN ";

/// And on.
const OF_TABLES: &str = " END FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
    JOIN pg_catalog.pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END \
    LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation \
    LEFT JOIN pg_catalog.pg_namespace s ON s.oid = c.collnamespace \
    JOIN pg_catalog.unnest(ARRAY[";

/// And on, behind the tables.
const IN_ORDER: &str = "]::pg_catalog.regclass[]) WITH ORDINALITY AS r(of, n) ON a.attrelid = r.of \
    WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY r.n, a.attnum";

impl Shape {
    /// The column of a temporary table that is not made like its own.
    fn definition(&self) -> String {
        format!("{} {}{}", self.name, self.base, self.collation)
    }

    /// A value that came as an element of an array, as what it is.
    pub(super) fn cast(&self, value: &str, is_foreign: bool) -> String {
        let own = if is_foreign { &self.base } else { &self.own };
        format!("{value}::{own}{}", self.collation)
    }

    fn of_row(row: Vec<Option<String>>) -> Option<(usize, Self)> {
        let mut row = row.into_iter();
        let n: usize = row.next()??.parse().ok()?;
        let name = quoted(&row.next()??);
        let (own, base, bare) = (row.next()??, row.next()??, row.next()??);
        let oid = row.next()??.parse().ok()?;
        let collation = row.next()??;
        let travels = match row.next()??.as_str() {
            "l" => Travels::Label,
            "b" if is_exact_in_binary(oid) => Travels::Binary,
            _ => Travels::Text,
        };
        let sorts = row.next()?;
        Some((n.checked_sub(1)?, Self { name, own, base, bare, oid, collation, travels, sorts }))
    }
}

/// The columns of tables that are brought, in the order in which they are; a server is asked that has all of the tables.
pub(super) async fn shapes(
    server: &mut ServerConn,
    tables: &[&Brought],
) -> Result<Vec<Vec<Shape>>, ClientError> {
    let mut all = vec![Vec::new(); tables.len()];
    if tables.is_empty() {
        return Ok(all);
    }
    let names: Vec<String> = tables.iter().map(|table| quote(&table.of)).collect();
    let sql = format!("{COLUMNS}{SORTS}{OF_TABLES}{}{IN_ORDER}", names.join(", "));
    for row in server.rows(&sql).await.map_err(|e| refused(&e))? {
        let unread = || ClientError::error("XX000", "the columns of a table could not be read");
        let (n, shape) = Shape::of_row(row).ok_or_else(unread)?;
        let (Some(table), Some(shapes)) = (tables.get(n), all.get_mut(n)) else { return Err(unread()) };
        if table.brought().any(|column| column == shape.name) {
            shapes.push(shape);
        }
    }
    for (table, shapes) in tables.iter().zip(&all) {
        if table.brought().count() != shapes.len() {
            let message = format!("the columns of {} are not those that they were", table.of);
            return Err(ClientError::error("0A000", message).hint("Run it again."));
        }
    }
    Ok(all)
}

/// CREATE TABLE of a temporary table whose columns are these; with the keys where they are wanted.
pub(super) fn create(table: &Brought, shapes: &[Shape], keys: bool) -> String {
    let mut parts: Vec<String> = shapes.iter().map(Shape::definition).collect();
    if keys && !table.keys.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", table.keys.join(", ")));
    }
    format!("CREATE TEMPORARY TABLE {} ({})", table.name, parts.join(", "))
}

/// Refuses text of databases that sort otherwise than the engine's.
pub(super) async fn check_sorts(
    engine: &mut ServerConn,
    shapes: &[Option<Vec<Shape>>],
) -> Result<(), Failure> {
    let all: Vec<&String> =
        shapes.iter().flatten().flatten().filter_map(|shape| shape.sorts.as_ref()).collect();
    if all.is_empty() {
        return Ok(());
    }
    let row = engine.last_row(&[&format!("SELECT {SORTS}")]).await.map_err(|e| refused(&e))?;
    let own = row.and_then(|row| row.into_iter().next().flatten()).unwrap_or_default();
    match all.into_iter().find(|sorts| **sorts != own) {
        None => Ok(()),
        Some(other) => {
            let message = format!(
                "this statement brings text from a shard group whose databases sort by {other} to one that sorts by {own}"
            );
            let hint = "Give the columns a COLLATE of their own, or ask each shard group for itself.";
            Err(ClientError::error("0A000", message).hint(hint).into())
        }
    }
}
