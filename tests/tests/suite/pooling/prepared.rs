//! Prepared statements over pooled servers: one copy on a server serves all clients, and what happens to it there is
//! nobody's business.

use shardway_tests::{Param, RawClient, Reply, SharedWorld, World};

use crate::protocol::{ask, code, value};

/// One server connection for all clients: whatever one leaves there the next one meets.
static ONE: SharedWorld =
    SharedWorld::new(|| World::builder().config("[pool]\ndefault_pool_size = 1").start());

static TWO: SharedWorld =
    SharedWorld::new(|| World::builder().config("[pool]\ndefault_pool_size = 2").start());

/// Makes a table of two columns with one row.
async fn table(world: &World, name: &str) -> String {
    let mut raw = world.raw("app").await;
    let made = ask(&mut raw, &format!("CREATE TABLE {name} (a int, b text)")).await;
    assert_eq!(made.tags(), "CZ", "{made:?}");
    ask(&mut raw, &format!("INSERT INTO {name} VALUES (1, 'x')")).await;
    format!("SELECT * FROM {name} WHERE a::text = $1")
}

/// Changes a table past Shardway.
fn alter(world: &World, name: &str, how: &str) {
    world.shard(0).sql(&format!("ALTER TABLE {name} {how}"));
}

/// A client that has prepared the statement, was told of its result, and has used it.
async fn prepared(world: &World, sql: &str) -> RawClient {
    let mut raw = world.raw("app").await;
    assert_eq!(
        raw.parse("s", sql, &[]).describe_statement("s").sync().recv_until_ready().await.tags(),
        "1tTZ"
    );
    assert_eq!(run(&mut raw).await.tags(), "2DCZ");
    raw
}

/// Runs it as drivers do that remember what they were told.
async fn run(raw: &mut RawClient) -> Reply {
    raw.bind("", "s", &[Param::Text("1")], &[]).execute("", 0).sync().recv_until_ready().await
}

/// Runs it as drivers do that ask each time.
async fn run_and_ask(raw: &mut RawClient) -> Reply {
    raw.bind("", "s", &[Param::Text("1")], &[]).describe_portal("").execute("", 0).sync();
    raw.recv_until_ready().await
}

fn columns(reply: &Reply) -> usize {
    reply.of('D').next().unwrap_or_else(|| panic!("no row: {reply:?}")).row().len()
}

#[tokio::test]
async fn a_driver_that_does_not_ask_is_told_what_one_postgres_would_tell_it() {
    for world in [&*ONE, &*TWO] {
        let sql = table(world, "told").await;
        let (client, other) = (world.connect("app").await, world.connect("app").await);
        let mut statement = client.prepare(&sql).await.unwrap();
        for (n, past) in [(0, false), (1, true)] {
            let ddl = format!("ALTER TABLE told ADD COLUMN c{n} int");
            match past {
                true => drop(world.shard(0).sql(&ddl)),
                false => other.batch_execute(&ddl).await.unwrap(),
            }
            // Its rows would not fit what it remembers of the statement.
            let error = client.query(&statement, &[&"1"]).await.unwrap_err();
            assert_eq!(error.code().map(|state| state.code()), Some("0A000"), "{error:?}");
            statement = client.prepare(&sql).await.unwrap();
            let rows = client.query(&statement, &[&"1"]).await.unwrap();
            assert_eq!((rows[0].get::<_, i32>("a"), rows[0].len()), (1, 3 + n));
        }
        other.batch_execute("DROP TABLE told").await.unwrap();
    }
}

#[tokio::test]
async fn who_asks_for_the_columns_is_told_the_new_ones() {
    let sql = table(&ONE, "asks").await;
    let mut raw = prepared(&ONE, &sql).await;
    for (how, count) in [("ADD c int", 3), ("DROP b", 2), ("ALTER a TYPE text", 2)] {
        alter(&ONE, "asks", how);
        let reply = run_and_ask(&mut raw).await;
        assert_eq!((reply.tags().as_str(), columns(&reply)), ("2TDCZ", count), "{how}: {reply:?}");
        alter(&ONE, "asks", "ADD again int");
        assert_eq!(raw.describe_statement("s").sync().recv_until_ready().await.tags(), "tTZ");
        alter(&ONE, "asks", "DROP again");
    }
}

#[tokio::test]
async fn a_statement_prepared_after_the_change_never_meets_the_older_one() {
    let sql = table(&ONE, "younger").await;
    let mut old = prepared(&ONE, &sql).await;
    alter(&ONE, "younger", "ADD c int");
    let mut young = ONE.raw("app").await;
    // The server has a statement of this text, and Parse alone is not sent to it.
    assert_eq!(young.parse("s", &sql, &[]).sync().recv_until_ready().await.tags(), "1Z");
    assert_eq!(young.describe_statement("s").sync().recv_until_ready().await.tags(), "tTZ");
    assert_eq!(columns(&run(&mut young).await), 3);
    assert_eq!(code(&run(&mut old).await), "0A000");
    // All in one batch: nothing is answered twice.
    alter(&ONE, "younger", "ADD d int");
    let mut youngest = ONE.raw("app").await;
    youngest.parse("s", &sql, &[]).bind("", "s", &[Param::Text("1")], &[]).execute("", 0).sync();
    let reply = youngest.recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), columns(&reply)), ("12DCZ", 4));
    alter(&ONE, "younger", "ADD e int");
    youngest
        .parse("t", &sql, &[])
        .describe_statement("t")
        .bind("", "t", &[Param::Text("1")], &[])
        .execute("", 0)
        .sync();
    let reply = youngest.recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), columns(&reply)), ("1tT2DCZ", 5));
    assert_eq!(columns(&run_and_ask(&mut old).await), 5);
}

#[tokio::test]
async fn rows_are_never_taken_for_what_they_are_not() {
    let sql = table(&ONE, "types").await;
    let (mut old, mut other) = (prepared(&ONE, &sql).await, prepared(&ONE, &sql).await);
    alter(&ONE, "types", "ALTER a TYPE text USING a::text");
    // It was told of an int: it is told what one Postgres would tell it.
    for _ in 0..2 {
        assert_eq!(code(&run(&mut old).await), "0A000");
    }
    // Others use the statement as it is now, and that changes nothing.
    let mut young = prepared(&ONE, &sql).await;
    assert_eq!(run(&mut young).await.tags(), "2DCZ");
    for raw in [&mut old, &mut other] {
        assert_eq!(code(&run(raw).await), "0A000");
        assert_eq!(run_and_ask(raw).await.tags(), "2TDCZ");
        raw.close_statement("s").parse("s", &sql, &[]).describe_statement("s").sync();
        assert_eq!(raw.recv_until_ready().await.tags(), "31tTZ");
        assert_eq!(run(raw).await.tags(), "2DCZ");
    }
}

#[tokio::test]
async fn a_copy_that_another_client_has_had_made_is_looked_at_first() {
    let sql = table(&ONE, "copies").await;
    let mut blind = prepared(&ONE, &sql).await;
    let mut asking = ONE.raw("app").await;
    asking.parse("s", &sql, &[]).sync().recv_until_ready().await;
    alter(&ONE, "copies", "ALTER a TYPE text USING a::text");
    // It makes the server have a copy of the present day, and is never told of another.
    assert_eq!(run_and_ask(&mut asking).await.tags(), "2TDCZ");
    assert_eq!(code(&run(&mut blind).await), "0A000");
    assert_eq!(run_and_ask(&mut asking).await.tags(), "2TDCZ");
}

#[tokio::test]
async fn within_a_transaction_it_is_postgres_own_error() {
    let sql = table(&ONE, "within").await;
    let mut raw = prepared(&ONE, &sql).await;
    alter(&ONE, "within", "ADD c int");
    ask(&mut raw, "BEGIN").await;
    let reply = run(&mut raw).await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("0A000", 'E'));
    ask(&mut raw, "ROLLBACK").await;
    assert_eq!(run_and_ask(&mut raw).await.tags(), "2TDCZ");
    // What came before it in its batch is undone, as it must be: it was answered, and is not run twice.
    alter(&ONE, "within", "ADD d int");
    raw.parse("", "INSERT INTO within VALUES (2, 'twice')", &[]).bind("", "", &[], &[]).execute("", 0);
    raw.bind("", "s", &[Param::Text("1")], &[]).describe_portal("").execute("", 0).sync();
    let reply = raw.recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), code(&reply).as_str()), ("12CEZ", "0A000"));
    assert_eq!(value(&ask(&mut raw, "SELECT count(*) FROM within").await), "1");
}

#[tokio::test]
async fn a_server_that_has_forgotten_its_statements_is_told_them_again() {
    let sql = table(&ONE, "forgotten").await;
    // The servers of a proxy of its own: what others have prepared must not go within their transactions.
    let proxy = ONE.another_proxy();
    let mut raw = proxy.raw("app").await;
    raw.parse("s", &sql, &[]).describe_statement("s").sync();
    assert_eq!(raw.recv_until_ready().await.tags(), "1tTZ");
    for _ in 0..3 {
        let forget = "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$";
        assert_eq!(ask(&mut proxy.raw("app").await, forget).await.tags(), "CZ");
        assert_eq!(run(&mut raw).await.tags(), "2DCZ");
        ask(&mut proxy.raw("app").await, forget).await;
        assert_eq!(raw.describe_statement("s").sync().recv_until_ready().await.tags(), "tTZ");
    }
}

#[tokio::test]
async fn nobody_notices_changes_while_many_work() {
    const CHANGES: usize = 20;
    let sql = table(&TWO, "busy").await;
    let workers: Vec<_> = (0..6)
        .map(|_| {
            let sql = sql.clone();
            tokio::spawn(async move {
                let mut raw = TWO.raw("app").await;
                raw.parse("s", &sql, &[]).sync().recv_until_ready().await;
                for n in 0.. {
                    let reply = run_and_ask(&mut raw).await;
                    assert_eq!(reply.tags(), "2TDCZ", "{reply:?}");
                    let told = reply.of('T').next().unwrap().columns().len();
                    assert_eq!(columns(&reply), told);
                    if told == 2 + CHANGES {
                        break;
                    }
                    if n % 5 == 0 {
                        raw = TWO.raw("app").await;
                        raw.parse("s", &sql, &[]).describe_statement("s").sync();
                        assert_eq!(raw.recv_until_ready().await.tags(), "1tTZ");
                    }
                }
            })
        })
        .collect();
    let mut changer = TWO.raw("app").await;
    for n in 0..CHANGES {
        let ddl = format!("ALTER TABLE busy ADD c{n} int");
        match n % 2 {
            0 => assert_eq!(ask(&mut changer, &ddl).await.tags(), "CZ"),
            _ => drop(TWO.shard(0).sql(&ddl)),
        }
    }
    for worker in workers {
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn a_server_keeps_as_many_as_it_may_and_clients_as_many_as_they_like() {
    for max in [0, 1, 3] {
        let config = format!("[pool]\ndefault_pool_size = 1\nmax_prepared_statements = {max}");
        let proxy = TWO.another_proxy_with(&config);
        let mut raw = proxy.raw("app").await;
        for n in 0..10 {
            assert_eq!(
                raw.parse(&format!("s{n}"), &format!("SELECT {n}"), &[])
                    .sync()
                    .recv_until_ready()
                    .await
                    .tags(),
                "1Z"
            );
        }
        for n in [0, 9, 5, 5, 0] {
            let reply =
                raw.bind("", &format!("s{n}"), &[], &[]).execute("", 0).sync().recv_until_ready().await;
            assert_eq!(value(&reply), n.to_string());
            let held = value(&ask(&mut raw, "SELECT count(*) FROM pg_prepared_statements").await);
            assert!(held.parse::<usize>().unwrap() <= max, "{held} of {max}");
        }
    }
}

#[tokio::test]
async fn one_batch_may_take_more_statements_than_a_server_keeps() {
    for max in [0, 1] {
        let config = format!("[pool]\ndefault_pool_size = 1\nmax_prepared_statements = {max}");
        let proxy = TWO.another_proxy_with(&config);
        let (mut raw, mut other) = (proxy.raw("app").await, proxy.raw("app").await);
        for n in 0..3 {
            let prepared = raw.parse(&format!("s{n}"), &format!("SELECT {n}"), &[]);
            let prepared = prepared.describe_statement(&format!("s{n}")).sync().recv_until_ready().await;
            assert_eq!(prepared.tags(), "1tTZ");
            // The same name, and something else.
            let theirs =
                other.parse(&format!("s{n}"), "SELECT 'theirs'", &[]).sync().recv_until_ready().await;
            assert_eq!(theirs.tags(), "1Z");
        }
        for n in 0..3 {
            raw.bind("", &format!("s{n}"), &[], &[]).execute("", 0);
        }
        let reply = raw.sync().recv_until_ready().await;
        assert_eq!(reply.tags(), "2DC2DC2DCZ", "{max}: {reply:?}");
        assert_eq!(reply.texts(), [[Some("0")], [Some("1")], [Some("2")]]);
        let held = value(&ask(&mut raw, "SELECT count(*) FROM pg_prepared_statements").await);
        assert!(held.parse::<usize>().unwrap() <= max, "{held} of {max}");
        // An error leaves nothing behind either, and the statement is there still.
        raw.bind("", "s0", &[], &[]).execute("", 0).parse("bad", "SELECT no_such", &[]);
        let failed = raw.bind("", "s1", &[], &[]).execute("", 0).sync().recv_until_ready().await;
        assert_eq!(failed.tags(), "2DCEZ", "{failed:?}");
        let again = raw.bind("", "s1", &[], &[]).execute("", 0).sync().recv_until_ready().await;
        assert_eq!(again.texts(), [[Some("1")]]);
    }
}
