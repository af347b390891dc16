//! Metrics and health.

use std::collections::BTreeMap;

use shardway_tests::{SharedWorld, World, eventually};

use super::support::{SCHEMA, failure, key_on, lines, value};

const CONFIG: &str =
    "[routing]\nhealth_check_interval = '200ms'\n[cache]\nenabled = true\n[[cache.rules]]\ntable = 't'";

static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder().shards(2).servers(2).replicas(1).schema(SCHEMA).config(CONFIG).start()
});

/// A page in Prometheus's text format: each sample's name and labels with its value. Panics where it is none.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut types = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind).is_none(), "{name} is described twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (name, number) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let number: f64 = number.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let family = name.split('{').next().unwrap();
        assert!(family.starts_with("shardway_"), "{line}");
        let described = ["", "_bucket", "_sum", "_count"]
            .iter()
            .any(|end| family.strip_suffix(end).is_some_and(|base| types.contains_key(base)));
        assert!(described, "{family} has no TYPE before it");
        if let Some(labels) = name.strip_prefix(family).filter(|labels| !labels.is_empty()) {
            let inner = labels
                .strip_prefix('{')
                .and_then(|l| l.strip_suffix('}'))
                .unwrap_or_else(|| panic!("{line}"));
            for label in inner.split("\",") {
                let (key, value) =
                    label.split_once("=\"").unwrap_or_else(|| panic!("no label: {label} in {line}"));
                assert!(key.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
                assert!(!value.trim_end_matches('"').contains('"'), "{line}");
            }
        }
        assert!(samples.insert(name.to_owned(), number).is_none(), "twice: {name}");
    }
    samples
}

fn metrics() -> BTreeMap<String, f64> {
    let (status, text) = WORLD.proxy().http_get("/metrics");
    assert_eq!(status, 200);
    samples(&text)
}

fn total(samples: &BTreeMap<String, f64>, start: &str) -> f64 {
    let matching: Vec<_> = samples.iter().filter(|(name, _)| name.starts_with(start)).collect();
    assert!(!matching.is_empty(), "no {start} in {samples:#?}");
    matching.into_iter().map(|(_, value)| value).sum()
}

#[tokio::test]
async fn metrics_count_what_clients_do() {
    let client = WORLD.connect("app").await;
    let before = metrics();
    let key = key_on(1, 2);
    lines(&client, &format!("INSERT INTO t VALUES ({key}, 'x')")).await;
    lines(&client, "SELECT name FROM t").await;
    lines(&client, "BEGIN").await;
    lines(&client, "ROLLBACK").await;
    for _ in 0..2 {
        lines(&client, &format!("SELECT * FROM t WHERE user_id = {key}")).await;
    }
    failure(&client, "SELECT 1/0").await;
    // A statement is counted once its answer is out.
    for name in [
        "shardway_queries_total{tier=\"single\"}",
        "shardway_queries_total{tier=\"scatter\"}",
        "shardway_queries_total{tier=\"local\"}",
        "shardway_query_duration_seconds_count",
        "shardway_query_duration_seconds_sum",
        "shardway_server_errors_total",
        "shardway_cache_misses_total{level=\"l1\"}",
    ] {
        eventually(&format!("{name} to grow"), || {
            (total(&metrics(), name) > total(&before, name)).then_some(())
        });
    }
    let after = metrics();
    let buckets: Vec<_> =
        after.iter().filter(|(name, _)| name.starts_with("shardway_query_duration_seconds_bucket")).collect();
    assert!(buckets.iter().any(|(name, _)| name.contains("+Inf")) && buckets.len() > 5);
    assert!(total(&after, "shardway_clients") >= 1.0);
    for name in [
        "shardway_pool_connections",
        "shardway_pool_waiting_clients",
        "shardway_cache_hits_total",
        "shardway_replica_lag_seconds",
    ] {
        total(&after, name);
    }
    // The replicas may not have been looked at yet.
    eventually("all servers to be up", || (total(&metrics(), "shardway_server_up") == 4.0).then_some(()));
    let replicas = after.keys().filter(|name| name.starts_with("shardway_replica_lag_seconds{")).count();
    assert_eq!(replicas, 2, "one per shard");
    lines(&client, &format!("DELETE FROM t WHERE user_id = {key}")).await;
}

#[tokio::test]
async fn a_healthy_proxy_is_live_and_ready_and_describes_its_storage() {
    let page = |path: &str| WORLD.proxy().http_get(path);
    assert_eq!(page("/health/live").0, 200);
    assert_eq!(page("/health/ready").0, 200);
    // The replicas may not have been looked at yet.
    eventually("the replicas to be known", || {
        page("/health/storage").1.contains("\"standby\"").then_some(())
    });
    let (status, text) = page("/health/storage");
    assert_eq!(status, 200);
    let storage: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(storage["healthy"], true);
    let shards = storage["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 2);
    let roles: Vec<_> = shards[0]["servers"].as_array().unwrap().iter().map(|s| s["role"].clone()).collect();
    assert_eq!(roles, ["primary", "standby"]);
    assert!(storage["cache"].is_object());
    for path in ["/", "/metric", "/metrics/", "/health", "/health/ready/x", "/%00", "/..%2f..%2fetc/passwd"] {
        assert_eq!(page(path).0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_primary_that_is_down_makes_it_not_ready_and_says_which() {
    let world = World::builder().shards(2).servers(2).schema(SCHEMA).config(CONFIG).start();
    let client = world.connect("app").await;
    world.server(1).kill().unwrap();
    let page = |path: &str| world.proxy().http_get(path);
    let told = eventually("the proxy not to be ready", || {
        Some(page("/health/ready")).filter(|(status, _)| *status == 503)
    });
    let server = format!("127.0.0.1:{}/shop_1 is down", world.server(1).port());
    assert!(told.1.contains(&server) && !told.1.contains("shop_0"), "{}", told.1);
    assert_eq!(page("/health/live").0, 200, "nobody should restart the proxy for it");
    let (status, text) = page("/health/storage");
    let storage: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &storage["healthy"]), (503, &serde_json::Value::Bool(false)));
    assert_eq!(storage["shards"][1]["servers"][0]["up"], false);
    assert!(storage["shards"][1]["servers"][0]["error"].as_str().is_some_and(|e| !e.is_empty()));
    let up = samples(&page("/metrics").1);
    assert_eq!(total(&up, "shardway_server_up"), 1.0);
    assert_eq!(
        value(&client, &format!("SELECT count(*) FROM t WHERE user_id = {}", key_on(0, 2))).await,
        "0"
    );
    world.server(1).start().unwrap();
    eventually("the proxy to be ready again", || (page("/health/ready").0 == 200).then_some(()));
}
