//! Redis: it answers, ends and comes back empty.

use std::time::Duration;

use shardway_cluster::Redis;

#[test]
fn redis_comes_back_empty_on_its_port() {
    let redis = Redis::run().unwrap();
    assert_eq!(redis.command("SET a 1").unwrap(), "+OK");
    assert_eq!(redis.command("EXISTS a").unwrap(), ":1");
    for end in [Redis::stop, Redis::kill] {
        end(&redis).unwrap();
        assert!(redis.command("PING").is_err());
        redis.start().unwrap();
        assert_eq!(redis.command("EXISTS a").unwrap(), ":0");
    }
}

#[test]
fn a_paused_redis_does_not_answer() {
    let redis = Redis::run().unwrap();
    redis.pause().unwrap();
    let asked = std::time::Instant::now();
    assert!(redis.command("PING").is_err());
    assert!(asked.elapsed() >= Duration::from_secs(1));
    redis.resume().unwrap();
    assert_eq!(redis.command("PING").unwrap(), "+PONG");
}
