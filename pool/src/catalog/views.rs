//! What views say: their queries, with every name in full.

use super::{Name, Source, name, text, truth};

/// A view, or a materialized one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The view.
    pub name: Name,
    /// Its query. Names of what is not Postgres's own have their schemas.
    pub sql: String,
    /// Whether its rows are stored.
    pub materialized: bool,
    /// Whether it reads with the rights of who asks, and not with its owner's.
    pub invoker: bool,
    /// Whether triggers or rules say what is done in the place of a write.
    pub acts: bool,
}

/// Views of users. The path is set before a text is made: what is on it would be named without its schema.
const VIEWS: &str = "
WITH path AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true) AS p)
SELECT n.nspname, c.relname, CASE WHEN path.p <> '' THEN pg_catalog.pg_get_viewdef(c.oid, false) END, c.relkind = 'm',
  coalesce(c.reloptions::text ~* 'security_invoker=(t|true|on|y|yes|1)[,}]', false),
  EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid)
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid AND w.rulename <> '_RETURN')
FROM path CROSS JOIN pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v','m') AND n.nspname NOT IN ('pg_catalog','information_schema','pg_toast','shardway')
  AND n.nspname !~ '^pg_(temp|toast_temp)_'
ORDER BY 1, 2";

/// All of them. Errors: in words.
pub(super) async fn read(source: &mut impl Source) -> Result<Vec<View>, String> {
    let view = |mut row| View {
        name: name(&mut row, 0),
        sql: text(&mut row, 2).trim().trim_end_matches(';').to_owned(),
        materialized: truth(&mut row, 3),
        invoker: truth(&mut row, 4),
        acts: truth(&mut row, 5),
    };
    Ok(source.rows(VIEWS).await?.into_iter().map(view).collect())
}
