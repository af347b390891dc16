//! Users, what is drawn for them, what they pay with, and what they look at: `users` is keyed by its `id`, the others by
//! `user_id`, and what belongs to a session or a picture by that.

use shardway_tests::Param;

use super::{Product, SHARDS};

const CONFIG: &str = "[[databases.tables]]\nname = 'users'\nkind = 'sharded'\ngroup = 'main'\nkey = 'id'";

/// Of the document's columns, those that matter to no key and no query are left out here and there.
const TABLES: [&str; 11] = [
    "CREATE TABLE users (id VARCHAR PRIMARY KEY DEFAULT gen_random_uuid(), email VARCHAR, first_name VARCHAR, last_name VARCHAR, profile_image_url VARCHAR,
        subscription_tier TEXT DEFAULT 'free', stripe_customer_id TEXT, stripe_subscription_id TEXT, is_active BOOLEAN DEFAULT true,
        preferred_orientation VARCHAR, controller_state TEXT, created_at TIMESTAMP DEFAULT NOW(), updated_at TIMESTAMP DEFAULT NOW(), UNIQUE (id, email))",
    "CREATE TABLE art_sessions (id VARCHAR DEFAULT gen_random_uuid(), session_id VARCHAR NOT NULL, user_id VARCHAR REFERENCES users(id), image_url TEXT NOT NULL,
        prompt TEXT NOT NULL, dna_vector TEXT, audio_features TEXT, music_track TEXT, music_artist TEXT, music_genre TEXT, music_album TEXT,
        generation_explanation TEXT, is_saved BOOLEAN DEFAULT false, motifs TEXT[] DEFAULT '{}', quality_score INTEGER DEFAULT 50, perceptual_hash VARCHAR,
        pool_status VARCHAR DEFAULT 'active', last_used_at TIMESTAMP, styles TEXT[] DEFAULT '{}', artists TEXT[] DEFAULT '{}', is_library BOOLEAN DEFAULT false,
        orientation VARCHAR, aspect_ratio VARCHAR, catalogue_tier VARCHAR, width INTEGER, height INTEGER, safe_area TEXT, focal_points TEXT,
        sidefill_palette TEXT, created_at TIMESTAMP DEFAULT NOW(), PRIMARY KEY (user_id, id))",
    "CREATE TABLE art_preferences (id VARCHAR DEFAULT gen_random_uuid(), session_id VARCHAR NOT NULL, styles TEXT[] DEFAULT '{}', artists TEXT[] DEFAULT '{}',
        dynamic_mode BOOLEAN DEFAULT false, created_at TIMESTAMP DEFAULT NOW(), PRIMARY KEY (session_id, id))",
    "CREATE TABLE art_votes (id VARCHAR DEFAULT gen_random_uuid(), session_id VARCHAR NOT NULL, art_prompt TEXT NOT NULL, vote INTEGER NOT NULL,
        audio_characteristics TEXT, created_at TIMESTAMP DEFAULT NOW(), PRIMARY KEY (session_id, id))",
    "CREATE TABLE credit_ledger (id VARCHAR DEFAULT gen_random_uuid(), user_id VARCHAR NOT NULL REFERENCES users(id) ON DELETE CASCADE, event_type VARCHAR NOT NULL,
        amount INTEGER NOT NULL, balance_after INTEGER NOT NULL, description TEXT, metadata TEXT, idempotency_key VARCHAR, created_at TIMESTAMP DEFAULT NOW(),
        PRIMARY KEY (user_id, id), UNIQUE (user_id, idempotency_key))",
    "CREATE TABLE user_credits (user_id VARCHAR PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE, balance INTEGER DEFAULT 0, rollover_balance INTEGER DEFAULT 0,
        base_quota INTEGER DEFAULT 100, billing_cycle_start TIMESTAMP NOT NULL, billing_cycle_end TIMESTAMP NOT NULL, timezone VARCHAR DEFAULT 'UTC',
        last_updated TIMESTAMP DEFAULT NOW())",
    "CREATE TABLE rai_sessions (id VARCHAR DEFAULT gen_random_uuid(), user_id VARCHAR REFERENCES users(id), client_session_id VARCHAR NOT NULL, platform VARCHAR,
        screen_size VARCHAR, started_at TIMESTAMP DEFAULT NOW(), ended_at TIMESTAMP, total_frames_displayed INTEGER DEFAULT 0, total_interactions INTEGER DEFAULT 0,
        PRIMARY KEY (user_id, id))",
    "CREATE TABLE telemetry_events (id VARCHAR DEFAULT gen_random_uuid(), session_id VARCHAR, user_id VARCHAR REFERENCES users(id) ON DELETE CASCADE,
        event_type TEXT NOT NULL, event_data TEXT NOT NULL, audio_features TEXT, visual_state TEXT, timestamp TIMESTAMP DEFAULT NOW(), PRIMARY KEY (user_id, id),
        FOREIGN KEY (user_id, session_id) REFERENCES rai_sessions (user_id, id) ON DELETE CASCADE)",
    "CREATE TABLE generation_jobs (id VARCHAR DEFAULT gen_random_uuid(), user_id VARCHAR REFERENCES users(id), session_id VARCHAR, prompt TEXT NOT NULL,
        status VARCHAR DEFAULT 'pending', started_at TIMESTAMP, completed_at TIMESTAMP, error_message TEXT, retry_count INTEGER DEFAULT 0, idempotency_key VARCHAR,
        metadata TEXT, created_at TIMESTAMP DEFAULT NOW(), PRIMARY KEY (user_id, id), UNIQUE (user_id, idempotency_key))",
    "CREATE TABLE dna_genomes (id VARCHAR DEFAULT gen_random_uuid(), artwork_id VARCHAR NOT NULL, parent_genome_ids TEXT[], generation INTEGER DEFAULT 0,
        dna_vector TEXT NOT NULL, visual_traits TEXT NOT NULL, audio_reactivity TEXT, fitness_score INTEGER, impression_count INTEGER DEFAULT 0,
        like_count INTEGER DEFAULT 0, skip_count INTEGER DEFAULT 0, avg_view_duration INTEGER, created_at TIMESTAMP DEFAULT NOW(), last_evaluated TIMESTAMP,
        PRIMARY KEY (artwork_id, id))",
    "CREATE TABLE user_art_impressions (user_id VARCHAR NOT NULL REFERENCES users(id), art_id VARCHAR NOT NULL, viewed_at TIMESTAMP, PRIMARY KEY (user_id, art_id),
        FOREIGN KEY (user_id, art_id) REFERENCES art_sessions (user_id, id))",
];

/// Name, table and columns of the document's indexes.
const INDEXES: [(&str, &str); 29] = [
    ("users_email_idx", "users (email)"),
    ("art_sessions_session_id_idx", "art_sessions (session_id)"),
    ("art_sessions_user_id_idx", "art_sessions (user_id)"),
    ("art_sessions_quality_score_idx", "art_sessions (quality_score)"),
    ("art_sessions_is_library_idx", "art_sessions (is_library)"),
    ("art_sessions_orientation_idx", "art_sessions (orientation)"),
    ("art_sessions_styles_idx", "art_sessions USING gin (styles)"),
    ("art_preferences_session_id_idx", "art_preferences (session_id)"),
    ("art_votes_session_id_idx", "art_votes (session_id)"),
    ("credit_ledger_user_id_idx", "credit_ledger (user_id)"),
    ("credit_ledger_created_at_idx", "credit_ledger (created_at)"),
    ("credit_ledger_event_type_idx", "credit_ledger (event_type)"),
    ("credit_ledger_idempotency_idx", "credit_ledger (user_id, idempotency_key)"),
    ("credit_ledger_user_created_idx", "credit_ledger (user_id, created_at)"),
    ("user_credits_billing_cycle_end_idx", "user_credits (billing_cycle_end)"),
    ("rai_sessions_user_id_idx", "rai_sessions (user_id)"),
    ("rai_sessions_client_session_id_idx", "rai_sessions (client_session_id)"),
    ("telemetry_events_session_id_idx", "telemetry_events (session_id)"),
    ("telemetry_events_event_type_idx", "telemetry_events (event_type)"),
    ("telemetry_events_timestamp_idx", "telemetry_events (timestamp)"),
    ("telemetry_events_user_id_idx", "telemetry_events (user_id)"),
    ("generation_jobs_user_id_idx", "generation_jobs (user_id)"),
    ("generation_jobs_session_id_idx", "generation_jobs (session_id)"),
    ("generation_jobs_status_idx", "generation_jobs (status)"),
    ("generation_jobs_idempotency_idx", "generation_jobs (user_id, idempotency_key)"),
    ("dna_genomes_artwork_id_idx", "dna_genomes (artwork_id)"),
    ("dna_genomes_generation_idx", "dna_genomes (generation)"),
    ("dna_genomes_fitness_score_idx", "dna_genomes (fitness_score)"),
    ("user_art_impressions_art_id_idx", "user_art_impressions (art_id)"),
];

async fn art() -> Product {
    let mut product = Product::of(&["user_id", "session_id", "artwork_id"], CONFIG).await;
    product.run(&TABLES).await;
    for (name, on) in INDEXES {
        let unique = if name.ends_with("idempotency_idx") { "UNIQUE " } else { "" };
        product.pair.both(&format!("CREATE {unique}INDEX {name} ON {on}")).await;
    }
    for n in 1..=12 {
        let tier = ["free", "premium", "ultimate", "business_basic"][n % 4];
        let styles = ["{cubist,dark}", "{pop}", "{cubist}", "{}"][n % 4];
        for sql in [
            format!("INSERT INTO users (id, email, first_name, subscription_tier, is_active) VALUES ('u{n}', 'u{n}@example.com', 'User {n}', '{tier}', {})", n % 5 > 0),
            format!("INSERT INTO user_credits (user_id, balance, billing_cycle_start, billing_cycle_end) VALUES ('u{n}', {n}0, '2024-01-01', '2024-02-01')"),
            format!("INSERT INTO credit_ledger (id, user_id, event_type, amount, balance_after, idempotency_key, created_at)
                VALUES ('a', 'u{n}', 'grant', 100, 100, 'k1', '2024-01-01'), ('b', 'u{n}', 'deduct', -{n}, {}, 'k2', '2024-01-02')", 100 - n),
            format!("INSERT INTO rai_sessions (id, user_id, client_session_id, platform, started_at) VALUES ('r{n}', 'u{n}', 'c{n}', 'web', '2024-01-01')"),
            format!("INSERT INTO telemetry_events (id, session_id, user_id, event_type, event_data, timestamp) VALUES ('t{n}', 'r{n}', 'u{n}', 'view', '{{}}', '2024-01-01 0{}:00')", n % 10),
            format!("INSERT INTO generation_jobs (id, user_id, session_id, prompt, status, created_at) VALUES ('j{n}', 'u{n}', 's{n}', 'p', '{}', '2024-01-01')", ["pending", "failed"][n % 2]),
            format!("INSERT INTO art_preferences (id, session_id, styles, created_at) VALUES ('p{n}', 's{n}', '{styles}', '2024-01-01')"),
            format!("INSERT INTO art_votes (id, session_id, art_prompt, vote, created_at) VALUES ('v{n}', 's{}', 'p', {}, '2024-01-01')", n % 4, if n % 3 == 0 { -1 } else { 1 }),
            format!("INSERT INTO art_sessions (id, session_id, user_id, image_url, prompt, styles, quality_score, created_at)
                VALUES ('x{n}', 's1', 'u{n}', 'i', 'p', '{styles}', {}, now() - interval '1 hour'), ('y{n}', 's2', 'u{n}', 'i', 'q', '{{cubist}}', {n}, now() - interval '2 hours'),
                       ('z{n}', 's3', 'u{n}', 'i', 'r', '{{cubist}}', 99, now() - interval '2 days')", n * 7 % 30),
            format!("INSERT INTO dna_genomes (id, artwork_id, generation, dna_vector, visual_traits, fitness_score, created_at) VALUES ('g{n}', 'x{n}', {}, '[]', '{{}}', {n}, '2024-01-01')", n % 3),
            format!("INSERT INTO user_art_impressions VALUES ('u{n}', 'x{n}', '2024-01-02')"),
        ] {
            product.pair.both(&sql).await;
        }
    }
    product
}

#[tokio::test]
async fn users_are_keyed_by_their_id_beside_what_is_theirs() {
    let mut product = art().await;
    assert!(product.counts("users").iter().all(|n| n != "0"), "{:?}", product.counts("users"));
    assert_eq!(product.counts("users"), product.counts("user_credits"));
    for sql in [
        "SELECT u.email, c.balance FROM users u JOIN user_credits c ON c.user_id = u.id WHERE u.id = 'u3'",
        "SELECT u.email, l.event_type, l.amount FROM credit_ledger l JOIN users u ON u.id = l.user_id WHERE l.user_id = 'u4' ORDER BY l.created_at",
        "SELECT r.platform, t.event_type FROM users u JOIN rai_sessions r ON r.user_id = u.id JOIN telemetry_events t ON t.user_id = u.id AND t.session_id = r.id WHERE u.id = 'u5'",
        "SELECT count(*) FROM art_sessions a JOIN user_art_impressions i ON i.user_id = a.user_id AND i.art_id = a.id WHERE a.user_id = 'u6'",
        "SELECT styles FROM art_preferences WHERE session_id = 's2'",
        "SELECT p.styles, v.vote FROM art_preferences p JOIN art_votes v USING (session_id) WHERE session_id = 's3'",
        "SELECT generation FROM dna_genomes WHERE artwork_id = 'x7'",
    ] {
        product.same_on_one_shard(sql).await;
    }
    for sql in [
        "SELECT u.id, c.balance FROM users u JOIN user_credits c ON c.user_id = u.id WHERE u.is_active",
        "SELECT u.id, l.amount FROM users u LEFT JOIN credit_ledger l ON l.user_id = u.id AND l.event_type = 'deduct'",
    ] {
        product.same_by("scatter", sql).await;
    }
    for sql in [
        "SELECT u.subscription_tier, sum(c.balance), avg(c.balance) FROM users u JOIN user_credits c ON c.user_id = u.id GROUP BY u.subscription_tier ORDER BY 1",
        "SELECT id FROM users WHERE email = 'u7@example.com'",
        "SELECT a.id, g.fitness_score FROM art_sessions a JOIN dna_genomes g ON g.artwork_id = a.id ORDER BY g.fitness_score DESC LIMIT 3",
        "SELECT session_id, sum(vote) FROM art_votes GROUP BY session_id ORDER BY session_id",
        "SELECT status, count(*) FROM generation_jobs GROUP BY status ORDER BY status",
        "SELECT u.id, u.first_name FROM users u WHERE NOT EXISTS (SELECT FROM telemetry_events t WHERE t.user_id = u.id AND t.timestamp > '2024-01-01 05:00')",
    ] {
        product.pair.same(sql).await;
    }
}

#[tokio::test]
async fn fresh_pictures_of_a_users_taste() {
    let mut product = art().await;
    let fresh = "SELECT id, session_id, styles, quality_score, is_library FROM art_sessions
        WHERE user_id = $1
          AND session_id != $2
          AND created_at > NOW() - INTERVAL '24 hours'
          AND styles && $3  -- Array overlap
          AND is_library = false
        ORDER BY quality_score DESC, created_at DESC
        LIMIT 10";
    for (user, session) in [("u1", "s9"), ("u2", "s2"), ("u3", "s1"), ("nobody", "s1")] {
        product
            .pair
            .same_with(fresh, &[Param::Text(user), Param::Text(session), Param::Text("{cubist}")])
            .await;
    }
    // Of all users: the same words without the key.
    let all = fresh
        .replace("user_id = $1\n          AND session_id", "user_id <> $1 AND session_id")
        .replace("created_at DESC\n", "id\n");
    product.pair.same_with(&all, &[Param::Text("u1"), Param::Text("s9"), Param::Text("{cubist,pop}")]).await;
}

#[tokio::test]
async fn who_leaves_takes_along_what_is_theirs() {
    let mut product = art().await;
    product
        .run(&[
            "DELETE FROM user_art_impressions WHERE user_id = 'u9'",
            "DELETE FROM generation_jobs WHERE user_id = 'u9'",
        ])
        .await;
    product
        .run(&[
            "DELETE FROM art_sessions WHERE user_id = 'u9'",
            "DELETE FROM rai_sessions WHERE user_id = 'u9'",
            "DELETE FROM users WHERE id = 'u9'",
        ])
        .await;
    product.pair.same("SELECT count(*) FROM credit_ledger UNION ALL SELECT count(*) FROM user_credits UNION ALL SELECT count(*) FROM telemetry_events").await;
    // What expires goes on every shard.
    product
        .run(&[
            "DELETE FROM telemetry_events WHERE timestamp < '2024-01-01 05:00'",
            "DELETE FROM generation_jobs WHERE created_at < now() - interval '7 days'",
        ])
        .await;
    product
        .pair
        .same("SELECT user_id, event_type FROM telemetry_events ORDER BY user_id COLLATE \"C\"")
        .await;
    assert_eq!(product.counts("generation_jobs"), ["0"; SHARDS]);
    let sql = "CREATE UNIQUE INDEX users_email_key ON users (email)";
    product.pair.refused(sql).await;
}
