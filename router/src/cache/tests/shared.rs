//! Two proxies over one Redis.

use super::super::*;
use super::support::*;

#[tokio::test]
async fn what_one_proxy_filled_the_other_finds() {
    let redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    a.hear_all().await;
    a.fill("1", "one").await;
    a.store_all().await;
    assert_eq!(b.get("1"), None);
    assert_eq!(b.in_l2("1").await.as_deref(), Some(&b"one"[..]));
    assert_eq!(b.get("1").as_deref(), Some(&b"one"[..]));
    assert_eq!((b.stats().l2_hits, a.stats().l2_misses), (1, 1));
}

#[tokio::test]
async fn a_write_of_one_voids_the_answer_of_the_other_after_one_delivery() {
    let redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    a.hear_all().await;
    a.fill("1", "one").await;
    a.fill("2", "two").await;
    a.store_all().await;
    b.write("1").await;
    a.hear_all().await;
    assert_eq!(a.get("1"), None);
    assert!(a.get("2").is_some());
    assert_eq!(a.in_l2("1").await, None);
    assert_eq!(b.in_l2("1").await, None);
}

#[tokio::test]
async fn nobody_fills_what_another_is_writing() {
    let redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    a.hear_all().await;
    a.fill("1", "old").await;
    a.store_all().await;
    let ticket = a.ticket("2").await;
    let guard = b.begin_write(&writes("1")).await;
    a.hear_all().await;
    assert_eq!(a.get("1"), None);
    assert!(a.refuses("1").await && !a.refuses("2").await);
    b.release(guard).await;
    assert!(!a.refuses("1").await);
    a.finish_fill(ticket, b"two", None);
    assert!(a.get("2").is_some());
}

#[tokio::test]
async fn a_fill_that_began_before_anothers_write_is_thrown_away_in_both_levels() {
    let redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    a.hear_all().await;
    // Heard before it is finished; and finished before it is heard.
    for heard_first in [true, false] {
        let ticket = a.ticket("1").await;
        b.write("1").await;
        if heard_first {
            a.hear_all().await;
        }
        a.finish_fill(ticket, b"old", None);
        a.hear_all().await;
        a.store_all().await;
        assert_eq!(a.get("1"), None);
        assert_eq!(a.in_l2("1").await, None);
        assert_eq!(b.in_l2("1").await, None);
    }
}

#[tokio::test]
async fn its_own_news_do_not_void_what_a_proxy_filled_since() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    a.write("1").await;
    a.fill("1", "new").await;
    a.hear_all().await;
    assert!(a.get("1").is_some());
}

#[tokio::test]
async fn a_proxy_that_died_in_a_write_leaves_a_mark_that_expires() {
    let redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    a.hear_all().await;
    a.fill("1", "old").await;
    let guard = b.begin_write(&writes("1")).await;
    std::mem::forget(guard);
    a.hear_all().await;
    assert_eq!(a.get("1"), None);
    assert!(a.refuses("1").await);
    let mark = format!("shardway:1:d:{}", reads("1").stripes[2].0);
    let ::redis::Value::Int(left) = redis.command(&["TTL", &mark]).await else { panic!("a number was due") };
    assert!((590..=600).contains(&left), "{left}");
    // Others' writes to the same row renew the key, not the dead one's mark.
    a.write("1").await;
    assert!(a.refuses("1").await);
    let token = redis.command(&["ZRANGE", &mark, "0", "-1"]).await;
    assert!(matches!(token, ::redis::Value::Array(tokens) if tokens.len() == 1));
    redis.command(&["DEL", &mark]).await;
    assert!(!a.refuses("1").await);
}

#[tokio::test]
async fn a_mark_past_its_time_counts_no_more() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    let mark = format!("shardway:1:d:{}", reads("1").stripes[2].0);
    redis.command(&["ZADD", &mark, "9999999999", "token"]).await;
    assert!(a.refuses("1").await);
    redis.command(&["ZADD", &mark, "1", "token"]).await;
    assert!(!a.refuses("1").await);
}

#[tokio::test]
async fn a_dropped_write_keeps_others_from_filling_too() {
    let redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    drop(b.begin_write(&writes("1")).await);
    assert!(a.refuses("1").await && b.refuses("1").await);
}

#[tokio::test]
async fn a_write_whose_mark_was_evicted_still_voids_what_was_filled_meanwhile() {
    let redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    a.hear_all().await;
    let mark = format!("shardway:1:d:{}", reads("1").stripes[2].0);
    let guard = b.begin_write(&writes("1")).await;
    redis.command(&["DEL", &mark]).await;
    a.hear_all().await;
    a.fill("1", "old").await;
    a.store_all().await;
    b.release(guard).await;
    a.hear_all().await;
    assert_eq!((a.get("1"), a.in_l2("1").await), (None, None));
}

#[tokio::test]
async fn a_dropped_write_renews_its_mark() {
    let redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    let mark = format!("shardway:1:d:{}", reads("1").stripes[2].0);
    let guard = b.begin_write(&writes("1")).await;
    redis.command(&["DEL", &mark]).await;
    drop(guard);
    // The mark is on its way once the first of these has waited, and there once the second has.
    b.hear_all().await;
    b.hear_all().await;
    assert!(a.refuses("1").await);
}

#[tokio::test]
async fn whatever_redis_evicts_no_old_answer_comes_back() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    let version = format!("shardway:1:v:{}", reads("1").stripes[2].0);
    for victim in [version.as_str(), "shardway:1:epoch"] {
        a.fill("1", "old").await;
        a.store_all().await;
        assert!(a.in_l2("1").await.is_some());
        redis.command(&["DEL", victim]).await;
        assert_eq!(a.in_l2("1").await, None);
    }
}

#[tokio::test]
async fn two_keys_with_one_name_in_redis_do_not_answer_each_other() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    a.fill("1", "one").await;
    a.store_all().await;
    let name = |on: &str| L2::entry_name(key(on).as_bytes());
    assert!(a.in_l2("1").await.is_some());
    redis.command(&["COPY", &name("1"), &name("2")]).await;
    assert_eq!(a.in_l2("2").await, None);
    redis.command(&["SETRANGE", &name("1"), "0", "damaged"]).await;
    assert_eq!(a.in_l2("1").await, None);
}

#[tokio::test]
async fn an_answer_grows_no_older_by_moving_from_level_to_level() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    a.finish_fill(a.ticket("1").await, b"one", Some(Duration::from_secs(50)));
    a.store_all().await;
    let name = L2::entry_name(key("1").as_bytes());
    let ::redis::Value::Int(left) = redis.command(&["PTTL", &name]).await else { panic!("a number was due") };
    assert!((40_000..=50_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_proxy_that_starts_voids_what_its_last_life_may_have_left() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    a.fill("1", "old").await;
    a.store_all().await;
    let b = proxy(&redis).await;
    assert_eq!(b.in_l2("1").await, None);
    a.hear_all().await;
    assert_eq!(a.get("1"), None);
}

#[tokio::test]
async fn news_that_nobody_understands_void_everything() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    a.fill("1", "one").await;
    redis.command(&["PUBLISH", "shardway:1:news", "?"]).await;
    a.hear_all().await;
    assert_eq!(a.get("1"), None);
}
