-- Every shard of the group "manufacturing", which has a shard count and servers of its own: payloads are large,
-- and a job is looked up by its own number.

SET ROLE app;

CREATE TABLE "ManufacturingJob" (
    "manufacturingJobId" text PRIMARY KEY,
    "configurationId"    text NOT NULL,
    status               text NOT NULL DEFAULT 'queued',
    priority             integer NOT NULL DEFAULT 0,
    payload              jsonb NOT NULL,
    "scheduledAt"        timestamptz NOT NULL,
    "createdAt"          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX "ManufacturingJob_configurationId_idx" ON "ManufacturingJob" ("configurationId");
CREATE INDEX "ManufacturingJob_status_idx" ON "ManufacturingJob" (status, "scheduledAt");

GRANT SELECT ON ALL TABLES IN SCHEMA public TO app_reader;
GRANT ALL PRIVILEGES ON ALL TABLES IN SCHEMA public TO app_admin;
