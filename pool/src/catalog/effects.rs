//! What tables do by themselves when they are read or written: triggers, rules, policies, defaults and conditions, with
//! the text of each.

use super::{Name, Source, name, number, text};

/// Statements that a thing acts on, as bits of `pg_trigger.tgtype`.
pub mod events {
    /// INSERT.
    pub const INSERT: u8 = 4;
    /// DELETE.
    pub const DELETE: u8 = 8;
    /// UPDATE.
    pub const UPDATE: u8 = 16;
    /// TRUNCATE.
    pub const TRUNCATE: u8 = 32;
    /// Reading; no trigger has it.
    pub const READ: u8 = 128;
    /// All that change rows.
    pub const ROWS: u8 = INSERT | DELETE | UPDATE;
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A trigger, for each row or for each statement.
    Trigger,
    /// A rule.
    Rule,
    /// A policy of row security.
    Policy,
    /// A column's default.
    Default,
    /// A CHECK constraint.
    Check,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Its table.
    pub table: Name,
    /// What it is.
    pub thing: Thing,
    /// Its name; a default's column.
    pub name: String,
    /// What it acts on: [`events`].
    pub events: u8,
    /// Whether it acts once for each row, and not for each statement.
    pub per_row: bool,
    /// Whether it acts before the row is stored.
    pub before: bool,
    /// What it says; `None`: in a language that is not read.
    pub text: Option<String>,
}

/// What a function of users says, if it may look at tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The function.
    pub name: String,
    /// Its text; `None`: in a language that is not read.
    pub text: Option<String>,
}

/// Every thing that acts. Triggers of Postgres's own functions and of extensions' keep to the row at hand.
const EFFECTS: &str = "
WITH acting AS (
  SELECT g.tgrelid AS relation, 't' AS thing, g.tgname::text AS name, g.tgtype::int4 & 255 AS type,
    CASE l.lanname WHEN 'plpgsql' THEN p.prosrc END AS text
  FROM pg_catalog.pg_trigger g
  JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND NOT p.oid < 16384
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.objid = p.oid AND x.deptype = 'e'
      AND x.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
  UNION ALL
  SELECT w.ev_class, 'r', w.rulename::text, CASE w.ev_type::text WHEN '2' THEN 17 WHEN '3' THEN 5 WHEN '4' THEN 9 ELSE 1 END,
    pg_get_ruledef(w.oid)
  FROM pg_catalog.pg_rewrite w WHERE w.rulename <> '_RETURN' AND w.ev_enabled IN ('O', 'A')
  UNION ALL
  SELECT o.polrelid, 'p', o.polname::text,
    CASE o.polcmd::text WHEN 'a' THEN 5 WHEN 'w' THEN 17 WHEN 'd' THEN 9 ELSE 157 END,
    concat_ws(' ; ', pg_get_expr(o.polqual, o.polrelid), pg_get_expr(o.polwithcheck, o.polrelid))
  FROM pg_catalog.pg_policy o
  UNION ALL
  SELECT df.adrelid, 'd', a.attname::text, 5, pg_get_expr(df.adbin, df.adrelid)
  FROM pg_catalog.pg_attrdef df
  JOIN pg_catalog.pg_attribute a ON a.attrelid = df.adrelid AND a.attnum = df.adnum
  WHERE a.attgenerated = '' AND pg_get_expr(df.adbin, df.adrelid) LIKE '%(%'
  UNION ALL
  SELECT k.conrelid, 'c', k.conname::text, 21, pg_get_constraintdef(k.oid)
  FROM pg_catalog.pg_constraint k WHERE k.contype = 'c' AND k.conrelid <> 0
)
SELECT n.nspname, t.relname, e.thing, e.name, e.type, e.text
FROM acting e JOIN pg_catalog.pg_class t ON t.oid = e.relation
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
WHERE t.relkind IN ('r','p','f') AND (e.thing <> 'p' OR t.relrowsecurity)
  AND n.nspname NOT IN ('pg_catalog','information_schema','pg_toast','shardway') AND n.nspname !~ '^pg_(temp|toast_temp)_'
ORDER BY 1, 2, 3, 4";

/// Functions and procedures of users that are not immutable. One with a body in standard SQL has no source text.
const BODIES: &str = "
SELECT p.proname, CASE WHEN l.lanname NOT IN ('sql','plpgsql') THEN NULL WHEN p.prosrc <> '' THEN p.prosrc
    ELSE substr(d.text, greatest(strpos(d.text, E'\\nBEGIN ATOMIC'), strpos(d.text, E'\\n RETURN '), strpos(d.text, E'\\nRETURN '))) END
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
LEFT JOIN LATERAL (SELECT pg_get_functiondef(p.oid) AS text WHERE p.prosrc = '') d ON true
WHERE n.nspname NOT IN ('pg_catalog','information_schema') AND p.provolatile <> 'i' AND p.prokind IN ('f','p')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.objid = p.oid AND x.deptype = 'e'
    AND x.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
ORDER BY p.proname, p.oid";

/// What acts, and what the functions say that it may call. Errors: in words.
pub(super) async fn read(source: &mut impl Source) -> Result<(Vec<Effect>, Vec<Body>), String> {
    let effects: Vec<Effect> = source
        .rows(EFFECTS)
        .await?
        .iter_mut()
        .map(|row| {
            let kind: u8 = number(row, 4);
            Effect {
                table: name(row, 0),
                thing: match text(row, 2).as_str() {
                    "t" => Thing::Trigger,
                    "r" => Thing::Rule,
                    "p" => Thing::Policy,
                    "d" => Thing::Default,
                    _ => Thing::Check,
                },
                name: text(row, 3),
                events: kind & (events::ROWS | events::TRUNCATE | events::READ),
                per_row: kind & 1 == 1,
                before: kind & 2 == 2,
                text: row.get_mut(5).and_then(Option::take),
            }
        })
        .collect();
    if effects.is_empty() {
        return Ok((effects, Vec::new()));
    }
    let body = |row: &mut crate::server::TextRow| Body {
        name: text(row, 0),
        text: row.get_mut(1).and_then(Option::take),
    };
    let bodies = source.rows(BODIES).await?.iter_mut().map(body).collect();
    Ok((effects, bodies))
}
