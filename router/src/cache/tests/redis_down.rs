//! Redis hangs, dies, and comes back.

use std::time::Instant;

use super::super::*;
use super::support::*;

#[tokio::test]
async fn without_redis_nothing_is_served_and_writes_do_not_wait() {
    let mut redis = Redis::start().await;
    let a = proxy(&redis).await;
    a.fill("1", "one").await;
    redis.kill();
    a.redis_becomes(false).await;
    assert_eq!(a.get("1"), None);
    assert!(a.refuses("1").await);
    let began = Instant::now();
    for _ in 0..1000 {
        a.write("1").await;
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(!a.stats().redis_up);
}

#[tokio::test]
async fn redis_comes_back_and_the_cache_begins_empty() {
    let mut redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    a.hear_all().await;
    a.fill("1", "one").await;
    redis.kill();
    a.redis_becomes(false).await;
    redis.restart().await;
    a.redis_becomes(true).await;
    b.redis_becomes(true).await;
    assert_eq!(a.get("1"), None);
    a.hear_all().await;
    a.fill("1", "new").await;
    assert_eq!(a.get("1").as_deref(), Some(&b"new"[..]));
    b.write("1").await;
    a.hear_all().await;
    assert_eq!(a.get("1"), None);
}

#[tokio::test]
async fn writes_that_went_by_unannounced_are_made_up_for_before_anything_is_served() {
    let redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    a.hear_all().await;
    a.fill("1", "old").await;
    b.hear_all().await;
    a.store_all().await;
    assert!(b.in_l2("1").await.is_some());
    // Only a is cut off, and it writes.
    let mut down = a.l2.load_full().expect("configured").watch();
    a.l2.load_full().expect("configured").cut();
    down.wait_for(|up| !up).await.expect("alive");
    a.write("1").await;
    assert!(b.get("1").is_some(), "nobody could tell it");
    a.redis_becomes(true).await;
    b.hear_all().await;
    assert_eq!((b.get("1"), b.in_l2("1").await), (None, None));
    assert_eq!((a.get("1"), a.in_l2("1").await), (None, None));
}

#[tokio::test]
async fn a_fill_from_before_an_outage_is_thrown_away_after_it() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    let ticket = a.ticket("1").await;
    a.l2.load_full().expect("configured").cut();
    a.redis_becomes(true).await;
    a.finish_fill(ticket, b"old", None);
    assert_eq!((a.get("1"), a.in_l2("1").await), (None, None));
}

#[tokio::test]
async fn a_write_that_was_lost_while_redis_was_gone_is_marked_when_it_is_back() {
    let redis = Redis::start().await;
    let (a, b) = (proxy(&redis).await, proxy(&redis).await);
    a.l2.load_full().expect("configured").cut();
    drop(a.begin_write(&writes("1")).await);
    a.redis_becomes(true).await;
    b.hear_all().await;
    assert!(b.refuses("1").await);
}

#[tokio::test]
async fn a_redis_that_hangs_costs_a_reader_little_and_a_writer_once() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    a.fill("1", "one").await;
    redis.signal("STOP");
    let began = Instant::now();
    for _ in 0..100 {
        assert!(a.refuses("2").await);
    }
    for _ in 0..100 {
        a.write("2").await;
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(a.get("1"), None);
    redis.signal("CONT");
    a.redis_becomes(true).await;
    assert!(!a.refuses("1").await);
}

#[tokio::test]
async fn silence_on_the_channel_is_noticed() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    a.fill("1", "one").await;
    redis.signal("STOP");
    a.redis_becomes(false).await;
    assert_eq!(a.get("1"), None);
    redis.signal("CONT");
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_given_again() {
    let redis = Redis::start().await;
    let a = proxy(&redis).await;
    redis.command(&["SCRIPT", "FLUSH"]).await;
    assert!(a.refuses("1").await);
    a.redis_becomes(true).await;
    a.fill("1", "one").await;
    assert!(a.get("1").is_some());
}

#[tokio::test]
async fn the_url_may_change_and_go_away() {
    let (first, second) = (Redis::start().await, Redis::start().await);
    let a = proxy(&first).await;
    let old = a.l2.load_full().expect("configured");
    a.fill("1", "one").await;
    a.reconfigure(&settings(Some(&second))).expect("good");
    assert!(!old.is_up(), "the old link has no say any more");
    assert_eq!(a.get("1"), None);
    a.redis_becomes(true).await;
    a.fill("1", "one").await;
    a.reconfigure(&settings(None)).expect("good");
    assert_eq!(a.get("1"), None);
    a.fill("1", "one").await;
    assert!(a.get("1").is_some());
}
