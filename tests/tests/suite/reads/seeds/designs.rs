//! Designs that people save, under policies that let each see its own, with orders, presets, logs in partitions and an
//! audit trail.

use super::{Product, SHARDS};

const ANN: &str = "11111111-1111-4111-8111-111111111111";
const BOB: &str = "22222222-2222-4222-8222-222222222222";
const EVE: &str = "33333333-3333-4333-8333-333333333333";

const TABLES: [&str; 23] = [
    "CREATE TABLE user_profile (user_id uuid PRIMARY KEY, email text NOT NULL, tier text NOT NULL DEFAULT 'free')",
    "CREATE TABLE saved_design (user_id uuid NOT NULL, id int NOT NULL, name text, is_active boolean DEFAULT true, created_at timestamptz, deleted_at timestamptz, PRIMARY KEY (user_id, id))",
    "CREATE INDEX idx_saved_design_user_created ON saved_design(user_id, created_at DESC) WHERE deleted_at IS NULL",
    "CREATE INDEX idx_active_designs ON saved_design(user_id) WHERE is_active = true AND deleted_at IS NULL",
    "CREATE TABLE builder_preset (user_id uuid NOT NULL, id int NOT NULL, preset jsonb, PRIMARY KEY (user_id, id))",
    "CREATE TABLE order_meta (user_id uuid NOT NULL, shopify_order_id bigint NOT NULL, email text, created_at date NOT NULL) PARTITION BY RANGE (created_at)",
    "CREATE TABLE order_meta_2023 PARTITION OF order_meta FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')",
    "CREATE TABLE order_meta_2024 PARTITION OF order_meta FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
    "CREATE INDEX idx_order_meta_lookup ON order_meta(shopify_order_id, email)",
    "CREATE TABLE order_meta_archive (user_id uuid NOT NULL, shopify_order_id bigint NOT NULL, email text, created_at date NOT NULL)",
    "CREATE TABLE design_history (user_id uuid NOT NULL, id int NOT NULL, version int, PRIMARY KEY (user_id, id, version))",
    "CREATE TABLE experiment_assignment (user_id uuid NOT NULL, experiment text NOT NULL, variant text, PRIMARY KEY (user_id, experiment))",
    "CREATE TABLE analytics_event (user_id uuid NOT NULL, id int NOT NULL, kind text, at timestamp, PRIMARY KEY (user_id, id))",
    "CREATE TABLE webhook_log (id int NOT NULL, topic text, received date NOT NULL) PARTITION BY RANGE (received)",
    "CREATE TABLE webhook_log_2024_01 PARTITION OF webhook_log FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')",
    "CREATE TABLE webhook_log_2024_02 PARTITION OF webhook_log FOR VALUES FROM ('2024-02-01') TO ('2024-03-01')",
    "CREATE TABLE audit_log (user_id uuid NOT NULL, id uuid DEFAULT gen_random_uuid(), table_name varchar(255) NOT NULL, operation varchar(10) NOT NULL,
        clerk_session_id varchar(255), changed_data jsonb, created_at timestamp DEFAULT now(), ip_address inet, PRIMARY KEY (user_id, id))",
    "CREATE OR REPLACE FUNCTION audit_trigger_function() RETURNS TRIGGER AS $$ BEGIN
        INSERT INTO audit_log (table_name, operation, user_id, changed_data) VALUES (TG_TABLE_NAME, TG_OP, NEW.user_id, to_jsonb(NEW));
        RETURN NEW; END; $$ LANGUAGE plpgsql",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO app_reader",
    "GRANT SELECT, INSERT, UPDATE ON saved_design, user_profile TO app_writer",
    "GRANT ALL PRIVILEGES ON ALL TABLES IN SCHEMA public TO app_admin",
    "ALTER TABLE saved_design ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY user_design_policy ON saved_design FOR ALL USING (user_id = current_setting('app.current_user_id')::uuid)",
];

async fn designs() -> Product {
    let mut product = Product::of(&["user_id"], "").await;
    // Roles are the server's, and both databases are on one.
    let mut client = product.world.raw("app").await;
    for role in ["app_reader", "app_writer", "app_admin"] {
        let made = client.query(&format!("CREATE ROLE {role}")).recv_until_ready().await;
        assert!(made.error().is_none(), "{made:?}");
    }
    product.run(&TABLES).await;
    // It writes rows of the key at hand alone, which nobody but the operator can tell.
    let trigger = "CREATE TRIGGER audit AFTER INSERT OR UPDATE ON builder_preset FOR EACH ROW EXECUTE FUNCTION audit_trigger_function()";
    product.pair.refused(trigger).await;
    for shard in 0..SHARDS {
        let made = client.query(&format!("/* shard: {shard} */ {trigger}")).recv_until_ready().await;
        assert!(made.error().is_none(), "{made:?}");
    }
    product.pair.single.query(trigger).recv_until_ready().await;
    let mut n = 0;
    for user in [ANN, BOB, EVE] {
        product.pair.both(&format!("INSERT INTO user_profile VALUES ('{user}', 'a{n}@example.com')")).await;
        for _ in 0..4 {
            n += 1;
            for sql in [
                format!(
                    "INSERT INTO saved_design VALUES ('{user}', {n}, 'design {n}', {}, '2024-01-01 00:00Z'::timestamptz + interval '{n} days')",
                    n % 4 > 0
                ),
                format!("INSERT INTO builder_preset VALUES ('{user}', {n}, '{{\"n\": {n}}}')"),
                format!(
                    "INSERT INTO order_meta VALUES ('{user}', 10{n}, 'a@example.com', '202{}-05-05')",
                    3 + n % 2
                ),
                format!("INSERT INTO design_history VALUES ('{user}', {n}, 1), ('{user}', {n}, 2)"),
                format!("INSERT INTO experiment_assignment VALUES ('{user}', 'e{n}', 'v{}')", n % 2),
                format!("INSERT INTO analytics_event VALUES ('{user}', {n}, 'click', '2024-01-01')"),
                format!("INSERT INTO webhook_log VALUES ({n}, 'orders/create', '2024-0{}-03')", n % 2 + 1),
            ] {
                product.pair.both(&sql).await;
            }
        }
    }
    product
}

#[tokio::test]
async fn designs_orders_and_their_audit_trail() {
    let mut product = designs().await;
    for sql in [
        &format!("SELECT id, name FROM saved_design WHERE user_id = '{ANN}' AND deleted_at IS NULL ORDER BY created_at DESC"),
        &format!("SELECT p.email, count(*) FROM user_profile p JOIN saved_design d USING (user_id) WHERE user_id = '{BOB}' AND d.is_active GROUP BY p.email"),
        &format!("SELECT d.id, h.version, e.variant FROM saved_design d JOIN design_history h ON h.user_id = d.user_id AND h.id = d.id
            JOIN experiment_assignment e ON e.user_id = d.user_id AND e.experiment = 'e' || d.id WHERE d.user_id = '{EVE}' ORDER BY 1, 2"),
        &format!("SELECT shopify_order_id FROM order_meta WHERE user_id = '{ANN}' AND created_at >= '2024-01-01' ORDER BY 1"),
        "SELECT count(*) FROM webhook_log WHERE received >= '2024-02-01'",
    ] {
        product.same_on_one_shard(sql).await;
    }
    for sql in [
        "SELECT user_id, email FROM order_meta WHERE shopify_order_id = 105 AND email = 'a@example.com'",
        "SELECT created_at, count(*) FROM order_meta GROUP BY created_at ORDER BY created_at",
        "SELECT table_name, operation, changed_data FROM audit_log",
        "SELECT d.user_id, count(*) FROM saved_design d JOIN builder_preset b USING (user_id) WHERE d.is_active GROUP BY d.user_id",
        "SELECT variant, count(DISTINCT user_id) FROM experiment_assignment GROUP BY variant ORDER BY variant",
        "SELECT w.topic, count(*) FROM webhook_log w JOIN analytics_event a ON a.id = w.id GROUP BY w.topic",
    ] {
        product.pair.same(sql).await;
    }
    product
        .run(&["INSERT INTO order_meta_archive SELECT * FROM order_meta WHERE created_at < '2024-01-01'"])
        .await;
    product.run(&["DELETE FROM order_meta WHERE created_at < '2024-01-01'"]).await;
    product
        .pair
        .same("SELECT count(*) FROM order_meta_archive UNION ALL SELECT count(*) FROM order_meta")
        .await;
}

#[tokio::test]
async fn a_policy_shows_each_user_its_own_designs_whatever_the_shard() {
    let mut product = designs().await;
    // Policies do not bind the owner unless they are forced on it.
    product.run(&["ALTER TABLE saved_design FORCE ROW LEVEL SECURITY"]).await;
    for user in [ANN, BOB, EVE] {
        product.run(&[&format!("SET app.current_user_id = '{user}'")]).await;
        for sql in [
            "SELECT id, name FROM saved_design ORDER BY id",
            "SELECT count(*), max(created_at) FROM saved_design",
            "SELECT d.id, h.version FROM saved_design d JOIN design_history h USING (user_id, id) ORDER BY 1, 2",
            "SELECT count(*) FROM saved_design d JOIN analytics_event a ON a.id = d.id",
            &format!("SELECT id FROM saved_design WHERE user_id = '{ANN}' ORDER BY id"),
        ] {
            product.pair.same(sql).await;
        }
    }
    // In a transaction of its own, and gone behind it.
    product.run(&["BEGIN", &format!("SET LOCAL app.current_user_id = '{BOB}'")]).await;
    product.pair.same("SELECT id FROM saved_design ORDER BY id").await;
    product.run(&["UPDATE saved_design SET name = 'mine'", "COMMIT"]).await;
    product.pair.same("SELECT id, name FROM saved_design ORDER BY id").await;
    product.run(&[&format!("SET app.current_user_id = '{BOB}'")]).await;
    product.pair.same("SELECT id, name FROM saved_design ORDER BY id").await;
    product.run(&["SET app.current_user_id = ''"]).await;
    product.pair.same_with("SELECT id FROM saved_design", &[]).await;
}
