//! One proxy, in process alone.

use std::time::Duration;

use super::super::*;
use super::support::*;

#[tokio::test]
async fn an_answer_is_kept_until_its_key_is_written() {
    let cache = alone();
    assert_eq!(cache.get("1"), None);
    cache.fill("1", "one").await;
    assert_eq!(cache.get("1").as_deref(), Some(&b"one"[..]));
    cache.write("2").await;
    assert!(cache.get("1").is_some());
    cache.write("1").await;
    assert_eq!(cache.get("1"), None);
}

#[tokio::test]
async fn a_ticket_is_good_for_the_cache_that_gave_it_and_no_other() {
    let (old, new) = (alone(), alone());
    let Fill::Ticket(ticket) = old.begin_fill(&key("1"), &reads("1")).await else { panic!("a ticket") };
    // A write that only the old one knows of is over by now.
    old.write("1").await;
    new.finish_fill(ticket, b"one", None);
    assert_eq!(new.get("1"), None);
}

#[tokio::test]
async fn a_write_to_the_table_or_to_nobody_knows_what_voids_every_key_of_it() {
    let cache = alone();
    for add in [|w: &mut WriteSet| w.add_table("t"), WriteSet::add_everything] {
        cache.fill("1", "one").await;
        let mut writes = WriteSet::new("shop");
        add(&mut writes);
        let guard = cache.begin_write(&writes).await;
        assert_eq!(cache.get("1"), None);
        assert!(cache.refuses("1").await);
        cache.release(guard).await;
        assert_eq!(cache.get("1"), None);
    }
}

#[tokio::test]
async fn another_table_and_another_database_stay() {
    let cache = alone();
    cache.fill("1", "one").await;
    let mut table = WriteSet::new("shop");
    table.add_table("other");
    let mut database = WriteSet::new("other");
    database.add_everything();
    for writes in [table, database] {
        let guard = cache.begin_write(&writes).await;
        assert!(cache.get("1").is_some());
        cache.release(guard).await;
        assert!(cache.get("1").is_some());
    }
}

#[tokio::test]
async fn a_fill_that_began_before_a_write_is_thrown_away_wherever_the_write_then_is() {
    let cache = alone();
    // Finished while the write is under way.
    let ticket = cache.ticket("1").await;
    let guard = cache.begin_write(&writes("1")).await;
    cache.finish_fill(ticket, b"old", None);
    assert_eq!(cache.get("1"), None);
    assert!(cache.refuses("1").await);
    cache.release(guard).await;
    assert_eq!(cache.get("1"), None);
    // Finished after its release.
    let ticket = cache.ticket("1").await;
    cache.write("1").await;
    cache.finish_fill(ticket, b"old", None);
    assert_eq!(cache.get("1"), None);
    assert_eq!(cache.stats().discarded_fills, 2);
    // And one that began after is kept.
    cache.fill("1", "new").await;
    assert_eq!(cache.get("1").as_deref(), Some(&b"new"[..]));
}

#[tokio::test]
async fn a_transaction_holds_what_it_touched_until_its_end() {
    let cache = alone();
    cache.fill("1", "one").await;
    cache.fill("2", "two").await;
    let mut guard = cache.begin_write(&writes("1")).await;
    assert!(cache.get("2").is_some());
    guard.extend(&writes("2")).await;
    guard.extend(&writes("2")).await;
    assert_eq!((cache.get("1"), cache.get("2")), (None, None));
    assert!(cache.refuses("1").await && cache.refuses("2").await);
    cache.release(guard).await;
    cache.fill("1", "one").await;
    cache.fill("2", "two").await;
    assert!(cache.get("1").is_some() && cache.get("2").is_some());
}

#[tokio::test]
async fn a_transaction_of_very_many_keys_holds_everything_in_bounded_memory() {
    let cache = alone();
    let mut guard = cache.begin_write(&writes("0")).await;
    for key in 0..1000 {
        guard.extend(&writes(&key.to_string())).await;
    }
    assert!(cache.refuses("an untouched key").await);
    cache.release(guard).await;
    cache.fill("0", "nought").await;
    assert!(cache.get("0").is_some());
}

#[tokio::test]
async fn a_write_whose_end_nobody_saw_stays_dirty() {
    let cache = alone();
    cache.fill("1", "one").await;
    drop(cache.begin_write(&writes("1")).await);
    assert_eq!(cache.get("1"), None);
    assert!(cache.refuses("1").await);
    // A later write that ends well does not make it clean.
    cache.write("1").await;
    assert!(cache.refuses("1").await);
    assert_eq!(cache.stats().lost_writes, 1);
}

#[tokio::test]
async fn an_answer_or_a_key_that_is_too_large_is_not_kept() {
    let cache = alone();
    cache.finish_fill(cache.ticket("1").await, &[0; 1000], None);
    assert!(cache.get("1").is_some());
    cache.finish_fill(cache.ticket("2").await, &[0; 1001], None);
    assert_eq!(cache.get("2"), None);
    assert!(cache.refuses(&"k".repeat(1001)).await);
}

#[tokio::test]
async fn memory_stays_within_both_bounds() {
    let cache = alone();
    for n in 0..5000 {
        let on = n.to_string();
        cache.finish_fill(cache.ticket(&on).await, &[0; 900], None);
    }
    cache.local.l1.load().as_ref().expect("it is on").settle();
    let stats = cache.stats();
    assert!(stats.l1_entries > 0 && stats.l1_entries <= 1000 && stats.l1_bytes <= 1 << 20, "{stats:?}");
}

#[tokio::test]
async fn a_rule_may_have_a_time_to_live_of_its_own() {
    let cache = alone();
    cache.finish_fill(cache.ticket("1").await, b"one", Some(Duration::ZERO));
    assert_eq!(cache.get("1"), None);
    cache.finish_fill(cache.ticket("1").await, b"one", Some(Duration::MAX));
    assert!(cache.get("1").is_some());
}

#[tokio::test]
async fn other_questions_get_other_answers_though_they_depend_on_the_same_row() {
    let cache = alone();
    cache.fill("1", "one").await;
    let question =
        Question { database: "shop", role: "app", statement: "select * from t where k = $1", frames: 1 };
    let mut other = CacheKey::new(&question);
    other.parameter(25, 0, Some(b"1"));
    assert_eq!(cache.lookup(&other), None);
}

#[tokio::test]
async fn settings_change_while_a_write_is_under_way_and_it_stays_known() {
    let cache = alone();
    let guard = cache.begin_write(&writes("1")).await;
    cache.reconfigure(&Settings { max_entry_bytes: 200, ..settings(None) }).expect("good");
    assert!(cache.refuses("1").await);
    cache.release(guard).await;
    cache.fill("1", "one").await;
    assert!(cache.get("1").is_some());
    cache.finish_fill(cache.ticket("2").await, &[0; 201], None);
    assert_eq!(cache.get("2"), None);
}

#[tokio::test]
async fn a_cache_that_is_switched_off_keeps_nothing_and_still_sees_writes() {
    let off = Settings { enabled: false, redis_url: Some("redis://127.0.0.1:1".into()), ..settings(None) };
    let cache = Cache::start(&off).expect("good");
    assert!(cache.refuses("1").await);
    let guard = cache.begin_write(&writes("1")).await;
    cache.reconfigure(&settings(None)).expect("good");
    assert!(cache.refuses("1").await);
    cache.release(guard).await;
    cache.fill("1", "one").await;
    assert!(cache.get("1").is_some());
    cache.reconfigure(&off).expect("good");
    assert_eq!(cache.get("1"), None);
}

#[test]
fn a_url_that_can_never_work_is_an_error_that_keeps_the_password() {
    let bad = Settings { redis_url: Some("rediss://:secret@host".into()), ..settings(None) };
    let error = Cache::start(&bad).expect_err("TLS is not built in").to_string();
    assert!(error.contains("redis_url") && !error.contains("secret"), "{error}");
}
