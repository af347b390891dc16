-- Every shard of the group "main": quoted camelCase names are what Prisma makes, snake_case is what people write.
-- psql runs this; \if and \gset are its own.

-- citext comes with Postgres, but some packages leave it out; pgvector is installed apart.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext') AS has_citext,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') AS has_vector
\gset
\if :has_citext
    CREATE EXTENSION citext;
    \set citext citext
\else
    \set citext text
\endif
\if :has_vector
    CREATE EXTENSION vector;
    \set vector vector(8)
\else
    \set vector 'double precision[]'
\endif

SET ROLE app;

-- The catalog: reference tables, a full copy on every shard.

CREATE TABLE "CatalogModule" (
    id          text PRIMARY KEY,
    sku         :citext NOT NULL UNIQUE,
    name        text NOT NULL,
    description text NOT NULL,
    "basePrice" numeric(10, 2) NOT NULL,
    currency    char(3) NOT NULL DEFAULT 'USD',
    dims        jsonb NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "CatalogModule_basePrice_idx" ON "CatalogModule" ("basePrice");

CREATE TABLE "CatalogFinish" (
    id          text PRIMARY KEY,
    sku         :citext NOT NULL UNIQUE,
    name        text NOT NULL,
    hex         char(7) NOT NULL,
    surcharge   numeric(10, 2) NOT NULL DEFAULT 0,
    "createdAt" timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE "ModuleSprite" (
    id          text PRIMARY KEY,
    "moduleId"  text NOT NULL REFERENCES "CatalogModule" (id),
    layer       text NOT NULL,
    "zIndex"    integer NOT NULL,
    "assetKey"  text NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    UNIQUE ("moduleId", "zIndex")
);

-- Configurations: sharded by "configurationId", which is therefore in every unique key.

CREATE TABLE "ConfigurationSnapshot" (
    "configurationId" text NOT NULL,
    id                text NOT NULL,
    version           integer NOT NULL,
    "moduleId"        text NOT NULL REFERENCES "CatalogModule" (id),
    "finishId"        text NOT NULL REFERENCES "CatalogFinish" (id),
    selections        jsonb NOT NULL DEFAULT '{}',
    "totalPrice"      numeric(12, 2) NOT NULL,
    currency          char(3) NOT NULL DEFAULT 'USD',
    "createdAt"       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("configurationId", id),
    UNIQUE ("configurationId", version)
);
CREATE INDEX "ConfigurationSnapshot_moduleId_idx" ON "ConfigurationSnapshot" ("moduleId");
CREATE INDEX "ConfigurationSnapshot_finishId_idx" ON "ConfigurationSnapshot" ("finishId");
CREATE INDEX "ConfigurationSnapshot_createdAt_idx" ON "ConfigurationSnapshot" ("createdAt" DESC);

CREATE TABLE "PricingAdjustment" (
    "configurationId" text NOT NULL,
    id                text NOT NULL,
    "snapshotId"      text NOT NULL,
    label             text NOT NULL,
    amount            numeric(10, 2) NOT NULL,
    "createdAt"       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("configurationId", id),
    FOREIGN KEY ("configurationId", "snapshotId") REFERENCES "ConfigurationSnapshot" ("configurationId", id)
);
CREATE INDEX "PricingAdjustment_snapshotId_idx" ON "PricingAdjustment" ("configurationId", "snapshotId");

CREATE TABLE "AiSuggestion" (
    "configurationId" text NOT NULL,
    id                text NOT NULL,
    model             text NOT NULL,
    suggestion        jsonb NOT NULL,
    confidence        double precision NOT NULL,
    accepted          boolean,
    "createdAt"       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("configurationId", id)
);
CREATE INDEX "AiSuggestion_suggestion_idx" ON "AiSuggestion" USING gin (suggestion jsonb_path_ops);

CREATE TABLE "DesignEmbedding" (
    "configurationId" text NOT NULL,
    id                text NOT NULL,
    model             text NOT NULL,
    embedding         :vector NOT NULL,
    "createdAt"       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("configurationId", id)
);
\if :has_vector
    CREATE INDEX "DesignEmbedding_embedding_idx" ON "DesignEmbedding"
        USING hnsw (embedding vector_l2_ops) WITH (m = 16, ef_construction = 128);
\endif

-- People: sharded by user_id.

CREATE TABLE user_profile (
    user_id      uuid PRIMARY KEY,
    email        :citext NOT NULL,
    display_name text NOT NULL,
    tier         text NOT NULL DEFAULT 'free',
    balance      integer NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX user_profile_email_idx ON user_profile (email);

CREATE TABLE saved_design (
    user_id    uuid NOT NULL,
    id         uuid NOT NULL DEFAULT gen_random_uuid(),
    name       text NOT NULL,
    design     jsonb NOT NULL,
    is_active  boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (user_id, id)
);
CREATE INDEX idx_saved_design_user_created ON saved_design (user_id, created_at DESC) WHERE deleted_at IS NULL;
CREATE INDEX idx_active_designs ON saved_design (user_id) WHERE is_active = true AND deleted_at IS NULL;

CREATE TABLE builder_preset (
    user_id    uuid NOT NULL,
    id         uuid NOT NULL DEFAULT gen_random_uuid(),
    name       text NOT NULL,
    preset     jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, id)
);

CREATE TABLE credit_ledger (
    user_id         uuid NOT NULL,
    id              uuid NOT NULL DEFAULT gen_random_uuid(),
    event_type      text NOT NULL,
    amount          integer NOT NULL,
    balance_after   integer NOT NULL,
    description     text,
    idempotency_key text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, id),
    UNIQUE (user_id, idempotency_key)
);
CREATE INDEX credit_ledger_user_created_idx ON credit_ledger (user_id, created_at DESC);
CREATE INDEX credit_ledger_created_at_idx ON credit_ledger (created_at);
CREATE INDEX credit_ledger_event_type_idx ON credit_ledger (event_type);

GRANT SELECT ON ALL TABLES IN SCHEMA public TO app_reader;
GRANT SELECT, INSERT, UPDATE ON saved_design, user_profile TO app_writer;
GRANT ALL PRIVILEGES ON ALL TABLES IN SCHEMA public TO app_admin;

-- The owner (app) sees every row; app_writer sees those of the user whom app.current_user_id names. A session
-- that has had the setting once has it as '' afterwards: that is nobody, not an error.
ALTER TABLE saved_design ENABLE ROW LEVEL SECURITY;
CREATE POLICY user_design_policy ON saved_design FOR ALL
    USING (user_id = nullif(current_setting('app.current_user_id', true), '')::uuid);
