//! What a server is asked about its catalog. Everything is named with its schema where a client could put another in front.

/// Schemas that no plan is made for. `shardway` is Shardway's own.
macro_rules! users_schemas {
    ($n:literal) => {
        concat!(
            $n,
            ".nspname NOT IN ('pg_catalog','information_schema','pg_toast','shardway') AND ",
            $n,
            ".nspname !~ '^pg_(temp|toast_temp)_'"
        )
    };
}

pub(super) const RELATIONS: &str = concat!(
    "
SELECT n.nspname, c.relname, c.relkind::text,
       EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)
         OR c.relkind IN ('r','p') AND c.relhasrules,
       c.relrowsecurity,
       a.attname, t.typname, t.oid, t.typtype::text,
       CASE WHEN d.typtype = 'd' AND a.atttypmod = -1 THEN d.typtypmod ELSE a.atttypmod END,
       a.attcollation = 0 OR coalesce(CASE WHEN co.collprovider = 'd' THEN (
           -- From JSON, since these columns differ by version.
           SELECT CASE coalesce(to_jsonb(db) ->> 'datlocprovider', 'c') WHEN 'c' THEN db.datcollate::text
                  WHEN 'b' THEN coalesce(to_jsonb(db) ->> 'datlocale', '') END
           FROM pg_catalog.pg_database db WHERE db.datname = current_database())
         WHEN co.collprovider = 'c' THEN co.collcollate::text
         WHEN co.collprovider = 'b' THEN to_jsonb(co) ->> 'colllocale'
       END IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8', 'ucs_basic'), false),
       a.attcollation <> 0 AND NOT coalesce(co.collisdeterministic, true),
       a.attidentity <> '' OR coalesce(pg_get_expr(df.adbin, df.adrelid) LIKE '%nextval(%', false),
       a.attgenerated <> '',
       a.attidentity <> '' OR df.adbin IS NOT NULL,
       CASE WHEN a.attgenerated = '' THEN coalesce(pg_get_expr(df.adbin, df.adrelid), d.typdefault) END,
       c.relkind IN ('r','p') AND c.relhasrules OR EXISTS (SELECT FROM pg_catalog.pg_trigger g
         JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
         WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND NOT p.oid < 16384
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.objid = p.oid AND x.deptype = 'e'
             AND x.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
           AND (l.lanname <> 'plpgsql' OR p.prosrc ~* ('\\m(select|insert|update|delete|merge|perform|execute|call|copy|'
             'truncate|create|alter|drop|grant|notify|listen|nextval|setval|set_config|lock)\\M')))
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type t ON t.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid END
LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_catalog.pg_attrdef df ON df.adrelid = c.oid AND df.adnum = a.attnum
WHERE c.relkind IN ('r','p','v','m','f','S') AND ",
    users_schemas!("n"),
    "
ORDER BY n.nspname, c.relname, a.attnum"
);

pub(super) const FUNCTIONS: &str = "
SELECT p.proname, bool_and(p.prokind = 'f' AND NOT p.proretset), bool_or(p.provolatile = 'v'),
       bool_or(n.nspname NOT IN ('pg_catalog','information_schema') AND p.provolatile <> 'i' AND x.objid IS NULL),
       bool_or(n.nspname <> 'pg_catalog'),
       bool_or(n.nspname NOT IN ('pg_catalog','information_schema') AND x.objid IS NULL
         AND p.prosrc ~* '\\mtemp(orary)?\\M|pg_temp|advisory_(lock|unlock)|\\mhold\\M')
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
LEFT JOIN pg_catalog.pg_depend x
  ON x.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND x.objid = p.oid AND x.deptype = 'e'
GROUP BY p.proname";

/// Pairs of relations: in the first column 'f' where a change of the former changes the latter by a foreign key,
/// 'i' where the former inherits from the latter.
pub(super) const LINKS: &str = "
SELECT 'f', fn.nspname, f.relname, tn.nspname, t.relname
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class f ON f.oid = k.confrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = k.conrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE k.contype = 'f' AND (k.confdeltype IN ('c','n','d') OR k.confupdtype IN ('c','n','d'))
UNION ALL
SELECT 'i', fn.nspname, f.relname, tn.nspname, t.relname
FROM pg_catalog.pg_inherits h
JOIN pg_catalog.pg_class f ON f.oid = h.inhrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = h.inhparent JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE f.relkind IN ('r','p','f')";

/// A row for each column of each unique index and exclusion constraint. The first name is empty for an expression, the
/// second for whatever keeps rows apart otherwise than by equality.
pub(super) const UNIQUE: &str = concat!(
    "
SELECT n.nspname, t.relname, i.relname,
       CASE coalesce(k.contype, 'i') WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique constraint'
            WHEN 'x' THEN 'exclusion constraint' ELSE 'unique index' END,
       u.attname, a.attname, x.indisprimary, x.indisunique AND x.indpred IS NULL
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = x.indexrelid AND k.contype IN ('p','u','x')
LEFT JOIN LATERAL generate_series(1, x.indnkeyatts) p ON true
LEFT JOIN pg_catalog.pg_attribute u ON u.attrelid = x.indrelid AND u.attnum = x.indkey[p - 1] AND u.attnum > 0
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = u.attnum
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_collation co WHERE co.oid = x.indcollation[p - 1]
    AND NOT co.collisdeterministic)
  AND (k.conexclop IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_operator o WHERE o.oid = k.conexclop[p]
    AND o.oprname = '='))
WHERE (x.indisunique OR x.indisexclusion) AND ",
    users_schemas!("n"),
    "
ORDER BY n.nspname, t.relname, i.relname, p"
);

/// A row for each pair of columns of each foreign key.
pub(super) const FOREIGN_KEYS: &str = concat!(
    "
SELECT n.nspname, t.relname, k.conname, fn.nspname, f.relname, a.attname, fa.attname,
       k.confdeltype IN ('n','d') AND (to_jsonb(k) ->> 'confdelsetcols' IS NULL
         OR to_jsonb(k) -> 'confdelsetcols' @> to_jsonb(k.conkey[p]))
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class t ON t.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_class f ON f.oid = k.confrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
CROSS JOIN LATERAL generate_subscripts(k.conkey, 1) p
JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[p]
JOIN pg_catalog.pg_attribute fa ON fa.attrelid = k.confrelid AND fa.attnum = k.confkey[p]
WHERE k.contype = 'f' AND ",
    users_schemas!("n"),
    "
ORDER BY n.nspname, t.relname, k.conname, p"
);

/// What the text of row triggers says that it assigns.
pub(super) const REWRITTEN: &str = concat!(
    "
SELECT DISTINCT n.nspname, t.relname, coalesce(trim('\"' FROM m.found[1]), '')
FROM pg_catalog.pg_trigger g
JOIN pg_catalog.pg_class t ON t.oid = g.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid
CROSS JOIN LATERAL regexp_matches(p.prosrc, '\\mnew\\s*(?:\\.\\s*(\"[^\"]+\"|\\w+)\\s*)?:?=', 'gi') AS m (found)
WHERE NOT g.tgisinternal AND (g.tgtype & 3) = 3 AND ",
    users_schemas!("n"),
    "
ORDER BY 1, 2, 3"
);

/// A row for each column that a partition is chosen by; the name is empty for an expression.
pub(super) const PARTITION_KEYS: &str = concat!(
    "
SELECT n.nspname, t.relname, coalesce(a.attname, '')
FROM pg_catalog.pg_partitioned_table p
JOIN pg_catalog.pg_class t ON t.oid = p.partrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
CROSS JOIN LATERAL generate_series(0, p.partnatts - 1) k
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[k] AND a.attnum > 0
WHERE ",
    users_schemas!("n"),
    "
ORDER BY n.nspname, t.relname, k"
);

/// A row for each type and each relation. The multirange of a range is read from JSON: Postgres 13 has none.
pub(super) const TYPES: &str = concat!(
    "
SELECT n.nspname, coalesce(e.typname, t.typname), e.oid IS NOT NULL, t.oid,
       CASE WHEN e.oid IS NOT NULL THEN 'a' ELSE t.typtype::text END,
       CASE WHEN e.oid IS NOT NULL THEN e.oid WHEN t.typtype = 'd' THEN t.typbasetype
            WHEN t.typtype = 'r' THEN r.rngsubtype ELSE m.of_range END
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type e ON e.typarray = t.oid
LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
LEFT JOIN (SELECT x.rngtypid AS of_range, (pg_catalog.to_jsonb(x) ->> 'rngmultitypid')::pg_catalog.oid AS multi
           FROM pg_catalog.pg_range x) m ON m.multi = t.oid
WHERE t.oid >= 16384 AND t.typtype <> 'p' AND ",
    users_schemas!("n"),
    "
UNION ALL
SELECT n.nspname, c.relname, false, c.oid, 'R', NULL
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r','p','v','m','f') AND ",
    users_schemas!("n")
);
