//! Transactions: held until a statement says where, right to the status byte at every step.

use shardway_tests::{RawClient, SharedWorld, World};

use super::{SHOP, account, ask, code, same_on, value};

/// Runs statements one by one and gives the status after each.
async fn statuses(raw: &mut RawClient, statements: &[&str]) -> String {
    let mut seen = String::new();
    for sql in statements {
        seen.push(ask(raw, sql).await.status());
    }
    seen
}

fn update(id: i32, balance: i32) -> String {
    format!("UPDATE account SET balance = {balance} WHERE user_id = {id}")
}

fn read(id: i32) -> String {
    format!("SELECT balance FROM account WHERE user_id = {id}")
}

#[tokio::test]
async fn a_transaction_on_one_shard_is_as_on_a_server() {
    let id = account(1, "like a server");
    let (write, read, wrong) = (update(id, 5), read(id), update(id, -5));
    for script in [
        vec!["BEGIN", &write, &read, "ROLLBACK", &read],
        vec!["BEGIN", &write, "COMMIT", &read],
        vec!["START TRANSACTION", &read, "END"],
        vec!["BEGIN", "BEGIN", &read, "ABORT", "ROLLBACK"],
        vec!["COMMIT", "BEGIN", "COMMIT"],
        vec!["BEGIN", &wrong, &read, "SELECT 1", "COMMIT", &read],
        vec!["BEGIN", "SELECT 1/0", &read, "ROLLBACK", &read],
        vec!["BEGIN", &read, "ROLLBACK AND CHAIN", &read, "COMMIT"],
        vec!["BEGIN READ ONLY", &write, &read, "ROLLBACK"],
        vec!["BEGIN", "SAVEPOINT a", &wrong, "ROLLBACK TO a", &read, "RELEASE a", "RELEASE a", "COMMIT"],
    ] {
        same_on(&SHOP, 1, async |raw| {
            let mut messages = Vec::new();
            for sql in &script {
                messages.extend(ask(raw, sql).await.0);
            }
            shardway_tests::Reply(messages)
        })
        .await;
    }
}

#[tokio::test]
async fn a_begin_goes_nowhere_until_a_statement_says_where() {
    let id = account(3, "held");
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
    let mut raw = SHOP.raw("app").await;
    assert_eq!(ask(&mut raw, "BEGIN /* held */").await.status(), 'T');
    assert_eq!(ask(&mut raw, &update(id, 1)).await.status(), 'T');
    let all = SHOP.shard(3).sql(&format!("{running} AND query LIKE '%{id}%'"));
    assert_eq!(all, "1");
    for shard in 0..3 {
        assert_eq!(SHOP.shard(shard).sql(&format!("{running} AND query LIKE '%held%'")), "0");
    }
    ask(&mut raw, "ROLLBACK").await;
    assert_eq!(SHOP.shard(3).sql(&read(id)), "100");
}

#[tokio::test]
async fn a_failed_transaction_takes_nothing_but_its_end() {
    let id = account(0, "failed");
    let mut raw = SHOP.raw("app").await;
    let seen = statuses(&mut raw, &["BEGIN", &update(id, 7), "SELECT 1/0", "SELECT 1"]).await;
    assert_eq!(seen, "TTEE");
    assert_eq!(code(&ask(&mut raw, &read(id)).await), "25P02");
    assert_eq!(code(&ask(&mut raw, "BEGIN").await), "25P02");
    assert_eq!(code(&ask(&mut raw, "SAVEPOINT a").await), "25P02");
    let ended = ask(&mut raw, "COMMIT").await;
    assert_eq!((ended.commands(), ended.status()), (vec!["ROLLBACK".to_owned()], 'I'));
    assert_eq!(value(&ask(&mut raw, &read(id)).await), "100");
}

#[tokio::test]
async fn a_second_shard_is_read_within_a_transaction() {
    let (a, b) = (account(1, "two shards a"), account(2, "two shards b"));
    let mut raw = SHOP.raw("app").await;
    assert_eq!(statuses(&mut raw, &["BEGIN", &update(a, 1)]).await, "TT");
    assert_eq!(value(&ask(&mut raw, &read(b)).await), "100");
    assert_eq!(value(&ask(&mut raw, &read(a)).await), "1");
    assert_eq!(statuses(&mut raw, &["COMMIT"]).await, "I");
    assert_eq!(SHOP.shard(1).sql(&read(a)), "1");
}

#[tokio::test]
async fn all_shards_are_read_within_a_transaction() {
    let ids = [0, 1, 2, 3].map(|shard| account(shard, &format!("read {shard}")));
    let mut raw = SHOP.raw("app").await;
    assert_eq!(statuses(&mut raw, &["BEGIN", &update(ids[2], 1)]).await, "TT");
    let all =
        ask(&mut raw, "SELECT name, balance FROM account WHERE name LIKE 'read _' ORDER BY user_id").await;
    let mut seen: Vec<_> = all.texts().0.into_iter().map(|row| row[1].clone().unwrap()).collect();
    seen.sort();
    assert_eq!(seen, ["1", "100", "100", "100"]);
    assert_eq!(ask(&mut raw, "ROLLBACK").await.status(), 'I');
    assert_eq!(value(&ask(&mut raw, &read(ids[2])).await), "100");
}

#[tokio::test]
async fn writes_on_two_shards_are_one_transaction() {
    let (a, b) = (account(1, "two writers one"), account(2, "two writers two"));
    let mut raw = SHOP.raw("app").await;
    for (end, expected) in [("ROLLBACK", "100"), ("COMMIT", "1")] {
        assert_eq!(statuses(&mut raw, &["BEGIN", &update(a, 1), &update(b, 1)]).await, "TTT");
        assert_eq!([SHOP.shard(1).sql(&read(a)), SHOP.shard(2).sql(&read(b))], ["100", "100"]);
        assert_eq!(ask(&mut raw, end).await.commands(), [end]);
        assert_eq!([SHOP.shard(1).sql(&read(a)), SHOP.shard(2).sql(&read(b))], [expected, expected]);
    }
}

#[tokio::test]
async fn options_of_begin_reach_every_server() {
    let (a, b) = (account(0, "options a"), account(1, "options b"));
    let show = |id: i32| {
        format!(
            "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only') FROM account WHERE user_id = {id}"
        )
    };
    let mut raw = SHOP.raw("app").await;
    for (begin, isolation, read_only) in [
        ("BEGIN ISOLATION LEVEL READ UNCOMMITTED", "read uncommitted", "off"),
        ("BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY", "read committed", "on"),
        ("START TRANSACTION READ ONLY", "read committed", "on"),
        ("BEGIN; SET TRANSACTION READ ONLY", "read committed", "on"),
    ] {
        assert_eq!(ask(&mut raw, begin).await.status(), 'T');
        for id in [a, b] {
            assert_eq!(
                ask(&mut raw, &show(id)).await.texts(),
                [[Some(isolation), Some(read_only)]],
                "{begin}"
            );
        }
        assert_eq!(ask(&mut raw, "COMMIT").await.status(), 'I');
    }
    ask(&mut raw, "BEGIN READ ONLY").await;
    assert_eq!(code(&ask(&mut raw, &update(a, 1)).await), "25006");
    ask(&mut raw, "ROLLBACK").await;
}

static GUARDED: SharedWorld = SharedWorld::new(|| {
    let schema = "
        CREATE TABLE secret (user_id int, owner text);
        ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
        ALTER TABLE secret FORCE ROW LEVEL SECURITY;
        CREATE POLICY own ON secret USING (owner = current_setting('app.current_user_id', true));
    ";
    World::builder().shards(2).schema(schema).start()
});

#[tokio::test]
async fn a_policy_sees_the_setting_of_its_transaction_on_every_shard() {
    for shard in GUARDED.shards() {
        shard.sql(
            "INSERT INTO secret SELECT n, o FROM generate_series(1, 8) n, unnest(ARRAY['ada', 'bob']) o",
        );
    }
    let mut raw = GUARDED.raw("app").await;
    let all = "SELECT user_id, owner FROM secret WHERE user_id < 3 ORDER BY user_id";
    for (set, expected) in [
        ("SET LOCAL app.current_user_id = 'ada'", "ada ada ada ada"),
        ("SET LOCAL app.current_user_id TO 'bob'", "bob bob bob bob"),
        ("SELECT set_config('app.current_user_id', 'ada', true)", "ada ada ada ada"),
        ("SELECT 1", ""),
    ] {
        assert_eq!(statuses(&mut raw, &["BEGIN", set]).await, "TT");
        let owners = ask(&mut raw, all).await.texts().0.into_iter().map(|mut row| row.remove(1).unwrap());
        assert_eq!(owners.collect::<Vec<_>>().join(" "), expected, "{set}");
        assert_eq!(ask(&mut raw, "COMMIT").await.status(), 'I');
    }
    assert_eq!(ask(&mut raw, all).await.texts().0.len(), 0);
}
