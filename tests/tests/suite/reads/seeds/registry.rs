//! A registry of schemas and their versions: sharded by the schema, with its dependencies, what was validated and who looked
//! at it.

use shardway_tests::Param;

use super::Product;

const CONFIG: &str = "[[databases.tables]]\nname = 'schemas'\nkind = 'sharded'\ngroup = 'main'\nkey = 'id'";

const TABLES: [&str; 15] = [
    "CREATE EXTENSION pg_trgm",
    "CREATE TABLE schemas (id uuid PRIMARY KEY, subject varchar(255) NOT NULL, version_major int NOT NULL, version_minor int NOT NULL,
        version_patch int NOT NULL, schema_type varchar(50), content jsonb, s3_key varchar(512), metadata jsonb, created_at timestamptz, deleted_at timestamptz)",
    "CREATE TABLE schema_dependencies (schema_id uuid NOT NULL, depends_on_id uuid NOT NULL, dependency_type varchar(50), PRIMARY KEY (schema_id, depends_on_id))",
    "CREATE TABLE validation_history (id bigserial, schema_id uuid NOT NULL, data_hash varchar(64), valid boolean, error_count int, validated_at timestamptz,
        duration_ms double precision)",
    "CREATE TABLE schema_access_log (id bigserial, schema_id uuid PRIMARY KEY, accessed_at timestamptz, access_count int DEFAULT 1, response_time_ms double precision,
        last_accessed_at timestamptz)",
    "CREATE INDEX idx_schemas_subject_version ON schemas(subject, version_major DESC, version_minor DESC, version_patch DESC) WHERE deleted_at IS NULL",
    "CREATE INDEX idx_schemas_subject_trgm ON schemas USING GIN (subject gin_trgm_ops)",
    "CREATE INDEX idx_schemas_metadata_gin ON schemas USING GIN (metadata jsonb_path_ops)",
    "CREATE INDEX idx_schemas_active ON schemas(subject, created_at DESC) WHERE deleted_at IS NULL AND metadata->>'state' = 'ACTIVE'",
    "CREATE INDEX idx_schemas_covering ON schemas(subject, id, created_at, version_major, version_minor, version_patch) WHERE deleted_at IS NULL",
    "CREATE INDEX idx_validation_history_schema ON validation_history(schema_id, validated_at)",
    "CREATE INDEX idx_schema_access_log_accessed ON schema_access_log(accessed_at)",
    "CREATE INDEX idx_schema_dependencies_on ON schema_dependencies(depends_on_id)",
    "CREATE INDEX idx_schemas_created ON schemas(created_at)",
    "CREATE INDEX idx_schemas_type ON schemas(schema_type)",
];

fn id(n: usize) -> String {
    format!("{n:08}-0000-4000-8000-000000000000")
}

async fn registry() -> Product {
    let mut product = Product::of(&["schema_id"], CONFIG).await;
    product.run(&TABLES).await;
    for n in 1..=20 {
        let (own, other, subject) =
            (id(n), id(n * 7 % 20 + 1), ["orders.created", "orders.paid", "user-signup", "Ümlaut"][n % 4]);
        let state = ["ACTIVE", "DRAFT", "DEPRECATED"][n % 3];
        let deleted = if n % 9 == 0 { "'2024-06-01'" } else { "NULL" };
        for sql in [
            format!("INSERT INTO schemas VALUES ('{own}', '{subject}', {}, {}, {}, 'json', '{{\"n\": {n}}}', NULL, '{{\"state\": \"{state}\"}}',
                '2024-01-01 00:00Z'::timestamptz + interval '{n} days', {deleted})", n / 4, n % 3, n % 2),
            format!("INSERT INTO schema_dependencies VALUES ('{own}', '{other}', 'import')"),
            format!("INSERT INTO validation_history (schema_id, data_hash, valid, error_count, validated_at, duration_ms)
                VALUES ('{own}', 'h{n}', {}, {}, '2024-02-01', {n}.5), ('{own}', 'g{n}', true, 0, '2024-02-02', 0.25)", n % 2 == 0, n % 5),
            format!("INSERT INTO schema_access_log (schema_id, accessed_at, access_count, response_time_ms) VALUES ('{own}', '2024-03-01', {}, {n}.25)", n * 13 % 17),
        ] {
            product.pair.both(&sql).await;
        }
    }
    product
}

#[tokio::test]
async fn schemas_versions_and_their_history() {
    let mut product = registry().await;
    let third = id(3);
    for sql in [
        &format!("SELECT id, schema_id, data_hash FROM (SELECT 0 AS id, schema_id, data_hash, validated_at FROM validation_history WHERE schema_id = '{third}') v ORDER BY validated_at DESC"),
        &format!("SELECT schema_id, valid, error_count FROM validation_history WHERE schema_id = '{third}' ORDER BY validated_at DESC"),
        &format!("SELECT access_count, accessed_at FROM schema_access_log WHERE schema_id = '{third}'"),
        &format!("SELECT s.subject, l.access_count, v.valid FROM schemas s JOIN schema_access_log l ON l.schema_id = s.id
            JOIN validation_history v ON v.schema_id = s.id WHERE s.id = '{third}' ORDER BY v.validated_at"),
        &format!("SELECT content, metadata FROM schemas WHERE id = '{third}' AND deleted_at IS NULL"),
    ] {
        product.same_on_one_shard(sql).await;
    }
    for sql in [
        "SELECT id, version_major, version_minor FROM schemas WHERE subject = 'orders.paid' AND deleted_at IS NULL
            ORDER BY version_major DESC, version_minor DESC, version_patch DESC, id",
        "SELECT id, subject FROM schemas WHERE subject % 'order.create' ORDER BY similarity(subject, 'order.create') DESC, id LIMIT 5",
        "SELECT id FROM schemas WHERE subject ILIKE '%SIGN%' ORDER BY id",
        "SELECT id FROM schemas WHERE metadata @> '{\"state\": \"ACTIVE\"}' ORDER BY created_at DESC LIMIT 4",
        "SELECT subject, id FROM schemas WHERE deleted_at IS NULL AND metadata->>'state' = 'ACTIVE' ORDER BY subject, created_at DESC",
        "SELECT d.schema_id, s.subject FROM schema_dependencies d JOIN schemas s ON s.id = d.depends_on_id ORDER BY 1",
        "SELECT s.subject, avg(v.duration_ms), count(*) FILTER (WHERE NOT v.valid) FROM schemas s JOIN validation_history v ON v.schema_id = s.id GROUP BY s.subject",
        "WITH RECURSIVE needs(id, depth) AS (SELECT depends_on_id, 1 FROM schema_dependencies WHERE schema_id = '00000001-0000-4000-8000-000000000000'
            UNION SELECT d.depends_on_id, depth + 1 FROM needs n JOIN schema_dependencies d ON d.schema_id = n.id WHERE depth < 5) SELECT * FROM needs ORDER BY depth, id",
    ] {
        product.pair.same(sql).await;
    }
}

#[tokio::test]
async fn an_access_is_counted_where_its_schema_is() {
    let mut product = registry().await;
    let count = "INSERT INTO schema_access_log (schema_id, accessed_at) VALUES ($1, NOW()) ON CONFLICT (schema_id) \
                 DO UPDATE SET access_count = schema_access_log.access_count + 1, last_accessed_at = NOW()";
    for n in [3, 3, 5, 99] {
        product.pair.same_with(count, &[Param::Text(&id(n))]).await;
    }
    product.pair.same("SELECT schema_id, access_count, last_accessed_at IS NULL FROM schema_access_log ORDER BY schema_id").await;
}

#[tokio::test]
async fn popular_schemas_and_versions_by_subject_are_of_all_shards() {
    let mut product = registry().await;
    let popular = "SELECT s.id, s.subject, s.version_major || '.' || s.version_minor AS version, sum(l.access_count) AS access_count,
        avg(l.response_time_ms) AS avg_response_time_ms, max(l.accessed_at) AS last_accessed_at
        FROM schemas s JOIN schema_access_log l ON l.schema_id = s.id GROUP BY s.id, s.subject, s.version_major, s.version_minor";
    let versions = "SELECT subject, count(*) AS version_count, max(created_at) AS latest_version_at,
        array_agg(version_major || '.' || version_minor ORDER BY created_at) AS versions FROM schemas WHERE deleted_at IS NULL GROUP BY subject";
    product.pair.same(&format!("SELECT * FROM ({popular}) p ORDER BY access_count DESC, id LIMIT 100")).await;
    product.pair.same(&format!("SELECT * FROM ({versions}) v ORDER BY subject")).await;
    // Each shard stores the groups of its own keys; those of a subject are on several.
    product.run(&[&format!("CREATE MATERIALIZED VIEW popular_schemas AS {popular}")]).await;
    product.pair.refused(&format!("CREATE MATERIALIZED VIEW subject_versions AS {versions}")).await;
    product.run(&[&format!("CREATE VIEW subject_versions AS {versions}")]).await;
    for _ in 0..2 {
        product.pair.same("SELECT * FROM popular_schemas ORDER BY access_count DESC, id LIMIT 100").await;
        product
            .pair
            .same("SELECT subject, versions[1], version_count FROM subject_versions ORDER BY subject")
            .await;
        product
            .run(&[
                "UPDATE schema_access_log SET access_count = access_count + 5",
                "REFRESH MATERIALIZED VIEW popular_schemas",
            ])
            .await;
    }
}
