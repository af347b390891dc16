//! A catalog of modules and finishes, configurations of them, and what grows around a configuration: prices, suggestions,
//! jobs, embeddings. Sharded by `hash(configurationId) mod k`.

use shardway_shardmap::fnv1a64;
use shardway_tests::Param;

use super::{Product, SHARDS};

const TABLES: [&str; 17] = [
    "CREATE EXTENSION citext",
    r#"CREATE TABLE "CatalogModule" (id text PRIMARY KEY, sku citext NOT NULL UNIQUE, name text NOT NULL, "basePrice" numeric(10,2) NOT NULL,
        dims jsonb NOT NULL, "createdAt" timestamptz NOT NULL DEFAULT '2024-01-01')"#,
    r#"CREATE TABLE "CatalogFinish" (id text PRIMARY KEY, sku citext NOT NULL UNIQUE, name text NOT NULL, surcharge numeric(10,2) NOT NULL DEFAULT 0)"#,
    r#"CREATE TABLE "ModuleSprite" (id text PRIMARY KEY, "moduleId" text NOT NULL REFERENCES "CatalogModule" (id), layer text NOT NULL,
        "zIndex" integer NOT NULL, "assetKey" text NOT NULL, UNIQUE ("moduleId", "zIndex"))"#,
    r#"CREATE TABLE "ConfigurationSnapshot" ("configurationId" text NOT NULL, id text NOT NULL, version integer NOT NULL,
        "moduleId" text NOT NULL REFERENCES "CatalogModule" (id), "finishId" text NOT NULL REFERENCES "CatalogFinish" (id),
        selections jsonb NOT NULL DEFAULT '{}', "totalPrice" numeric(12,2) NOT NULL, "createdAt" timestamptz NOT NULL DEFAULT '2024-01-01',
        PRIMARY KEY ("configurationId", id), UNIQUE ("configurationId", version))"#,
    r#"CREATE INDEX "ConfigurationSnapshot_moduleId_idx" ON "ConfigurationSnapshot" ("moduleId")"#,
    r#"CREATE TABLE "PricingAdjustment" ("configurationId" text NOT NULL, id text NOT NULL, "snapshotId" text NOT NULL, label text NOT NULL,
        amount numeric(10,2) NOT NULL, PRIMARY KEY ("configurationId", id),
        FOREIGN KEY ("configurationId", "snapshotId") REFERENCES "ConfigurationSnapshot" ("configurationId", id))"#,
    r#"CREATE TABLE "AiSuggestion" ("configurationId" text NOT NULL, id text NOT NULL, model text NOT NULL, suggestion jsonb NOT NULL,
        confidence double precision NOT NULL, accepted boolean, PRIMARY KEY ("configurationId", id))"#,
    r#"CREATE INDEX "AiSuggestion_suggestion_idx" ON "AiSuggestion" USING gin (suggestion jsonb_path_ops)"#,
    r#"CREATE TYPE "JobState" AS ENUM ('queued', 'running', 'done', 'failed')"#,
    r#"CREATE TABLE "ManufacturingJob" ("configurationId" text NOT NULL, id text NOT NULL, state "JobState" NOT NULL DEFAULT 'queued', payload jsonb,
        PRIMARY KEY ("configurationId", id))"#,
    r#"CREATE TABLE "DesignEmbedding" ("configurationId" text NOT NULL, id text NOT NULL, embedding float8[] NOT NULL, PRIMARY KEY ("configurationId", id))"#,
    "CREATE FUNCTION cosine_distance(float8[], float8[]) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS \
     'SELECT 1 - sum(a * b) / (sqrt(sum(a * a)) * sqrt(sum(b * b))) FROM unnest($1, $2) AS v (a, b)'",
    "CREATE OPERATOR <=> (LEFTARG = float8[], RIGHTARG = float8[], FUNCTION = cosine_distance)",
    r#"INSERT INTO "CatalogModule" (id, sku, name, "basePrice", dims) VALUES ('mod-galley-s', 'GAL-S', 'Galley S', 1200, '{"w": 60}'),
        ('mod-galley-l', 'GAL-L', 'Galley L', 1900.50, '{"w": 120}'), ('mod-bed', 'BED-1', 'Bed', 899.99, '{"w": 140}')"#,
    r#"INSERT INTO "CatalogFinish" VALUES ('finish-graphite', 'GRA', 'Graphite', 120), ('finish-sand', 'SAN', 'Sand', 0)"#,
    r#"INSERT INTO "ModuleSprite" VALUES ('s1', 'mod-galley-s', 'base', 0, 'a.png'), ('s2', 'mod-galley-s', 'top', 1, 'b.png'), ('s3', 'mod-bed', 'base', 0, 'c.png')"#,
];

async fn catalog() -> Product {
    let mut product = Product::of(
        &["configurationId"],
        "[cache]\nenabled = true\n[[cache.rules]]\ntable = 'CatalogModule'",
    )
    .await;
    product.run(&TABLES).await;
    for n in 0..24 {
        let (id, module, finish) = (
            format!("cfg-{n:05}"),
            ["mod-galley-s", "mod-galley-l", "mod-bed"][n % 3],
            ["finish-graphite", "finish-sand"][n % 2],
        );
        let state = ["queued", "running", "done", "failed"][n % 4];
        for sql in [
            format!(
                r#"INSERT INTO "ConfigurationSnapshot" VALUES ('{id}', 'a', 1, '{module}', '{finish}', '{{"n": {n}}}', {n}00.50),
                ('{id}', 'b', 2, '{module}', '{finish}', '{{}}', {n}10.25)"#
            ),
            format!(r#"INSERT INTO "PricingAdjustment" VALUES ('{id}', 'p', 'b', 'spring', -{n}.5)"#),
            format!(
                r#"INSERT INTO "AiSuggestion" VALUES ('{id}', 's', 'm{}', '{{"kind": "color", "n": {n}}}', 0.{n}, {})"#,
                n % 2,
                n % 3 == 0
            ),
            format!(r#"INSERT INTO "ManufacturingJob" VALUES ('{id}', 'j', '{state}', '{{"large": true}}')"#),
            format!(r#"INSERT INTO "DesignEmbedding" VALUES ('{id}', 'e', '{{{n},1,{}}}')"#, n * n % 7),
        ] {
            product.pair.both(&sql).await;
        }
    }
    product
}

#[tokio::test]
async fn a_catalog_and_its_configurations() {
    let mut product = catalog().await;
    // As the document says: targetShard = fnv1a(configurationId) % k.
    for (shard, found) in product
        .world
        .shards()
        .map(|shard| shard.sql("SELECT \"configurationId\" FROM \"ConfigurationSnapshot\""))
        .enumerate()
    {
        let own = |id: &str| fnv1a64(id.as_bytes()) % SHARDS as u64 == shard as u64;
        assert!(!found.is_empty() && found.lines().all(own), "shard {shard}: {found}");
    }
    assert_eq!(product.counts("\"CatalogModule\""), ["3"; SHARDS]);
    for sql in [
        r#"SELECT "public"."CatalogModule"."id", "public"."CatalogModule"."sku"::text, "public"."CatalogModule"."basePrice" FROM "public"."CatalogModule"
           WHERE "public"."CatalogModule"."id" = 'mod-galley-s' LIMIT 1 OFFSET 0"#,
        r#"SELECT name FROM "CatalogModule" WHERE sku = 'gal-s'"#,
        r#"SELECT "assetKey" FROM "ModuleSprite" WHERE "moduleId" = 'mod-galley-s' ORDER BY "zIndex""#,
        r#"SELECT "public"."ConfigurationSnapshot"."id", "public"."ConfigurationSnapshot"."totalPrice" FROM "public"."ConfigurationSnapshot"
           WHERE "public"."ConfigurationSnapshot"."configurationId" = 'cfg-00004' ORDER BY "public"."ConfigurationSnapshot"."version" DESC LIMIT 1 OFFSET 0"#,
        r#"SELECT s.version, m.name, f.name, s."totalPrice" + coalesce(sum(p.amount), 0) FROM "ConfigurationSnapshot" s
           JOIN "CatalogModule" m ON m.id = s."moduleId" JOIN "CatalogFinish" f ON f.id = s."finishId"
           LEFT JOIN "PricingAdjustment" p ON p."configurationId" = s."configurationId" AND p."snapshotId" = s.id
           WHERE s."configurationId" = 'cfg-00007' GROUP BY s."configurationId", s.id, m.id, f.id ORDER BY s.version"#,
        r#"SELECT a.model, j.state::text FROM "AiSuggestion" a JOIN "ManufacturingJob" j USING ("configurationId") WHERE "configurationId" = 'cfg-00009'"#,
    ] {
        product.same_on_one_shard(sql).await;
    }
    for (tier, sql) in [
        (
            "scatter",
            r#"SELECT s.id, a.model FROM "ConfigurationSnapshot" s JOIN "AiSuggestion" a ON a."configurationId" = s."configurationId" WHERE a.accepted"#,
        ),
        (
            "combine",
            r#"SELECT "moduleId", count(*), sum("totalPrice") FROM "ConfigurationSnapshot" GROUP BY "moduleId" ORDER BY "moduleId" COLLATE "C""#,
        ),
        (
            "gather",
            r#"SELECT m.name, count(DISTINCT s."configurationId") FROM "CatalogModule" m LEFT JOIN "ConfigurationSnapshot" s ON s."moduleId" = m.id GROUP BY m.name"#,
        ),
        ("gather", r#"SELECT state, count(*) FROM "ManufacturingJob" GROUP BY state ORDER BY state"#),
    ] {
        let (found, _) = product.route(sql).await;
        assert!(found == tier || tier == "combine", "{found}: {sql}");
        product.pair.same(sql).await;
    }
    product
        .pair
        .same(
            r#"SELECT "configurationId" FROM "AiSuggestion" WHERE suggestion @> '{"kind": "color", "n": 3}'"#,
        )
        .await;
}

#[tokio::test]
async fn the_designs_that_are_most_alike_are_those_of_all_shards() {
    let mut product = catalog().await;
    for (vector, limit) in [("{1,2,3}", "5"), ("{0,1,0}", "3"), ("{7,1,2}", "24")] {
        let sql = r#"SELECT "configurationId", embedding <=> $1 AS distance FROM "DesignEmbedding" ORDER BY embedding <=> $1, "configurationId" COLLATE "C" LIMIT $2"#;
        product.pair.same_with(sql, &[Param::Text(vector), Param::Text(limit)]).await;
        let sql = r#"SELECT "configurationId" FROM "DesignEmbedding" WHERE "configurationId" <> 'cfg-00002' ORDER BY embedding <=> $1 LIMIT $2"#;
        product
            .pair
            .same_with(&format!("SELECT count(*) FROM ({sql}) x"), &[Param::Text(vector), Param::Text(limit)])
            .await;
        product.same_on_one_shard(&format!(
            r#"SELECT id FROM "DesignEmbedding" WHERE "configurationId" = 'cfg-00003' ORDER BY embedding <=> '{vector}' LIMIT {limit}"#
        )).await;
    }
}
