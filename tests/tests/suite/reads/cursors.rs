//! Cursors and portals over several shards, beside one database that holds the same rows.

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardway_tests::{Param, RawClient, Reply, World};

use super::world::{Pair, SALES_WORLD, Said, Way, asked, said};

/// What every statement of a script gives, on the proxy and on the one database, is the same.
async fn same_script(pair: &mut Pair, script: &[&str], way: Way) {
    for sql in script {
        let expected = asked(&mut pair.single, sql, &[], way).await;
        let got = asked(&mut pair.proxy, sql, &[], way).await;
        assert_eq!(got, expected, "{sql} of {script:#?}\n  asked by {way:?}");
    }
}

async fn query(client: &mut RawClient, sql: &str) -> Reply {
    client.query(sql).recv_until_ready().await
}

/// Statements whose rows several shards put together, combine, and gather.
const ORDERED: [&str; 4] = [
    "SELECT user_id, id, c, num FROM sale ORDER BY c DESC NULLS LAST, id",
    "SELECT id, price FROM sale WHERE a > 1 ORDER BY id LIMIT 17 OFFSET 3",
    "SELECT a, count(*), sum(price) FROM sale GROUP BY a ORDER BY a",
    "SELECT s.id, i.qty, rank() OVER (ORDER BY s.id, i.qty) FROM sale s JOIN item i ON i.sale_id = s.id ORDER BY 1, 2, 3",
];

#[tokio::test]
async fn a_cursor_is_fetched_in_every_direction() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for query in ORDERED {
        for way in [Way::Simple, Way::Text, Way::Binary] {
            let declare = format!("DECLARE c SCROLL CURSOR FOR {query}");
            let script = [
                "BEGIN",
                &declare,
                "FETCH c",
                "FETCH NEXT FROM c",
                "FETCH 3 FROM c",
                "FETCH PRIOR c",
                "FETCH 0 c",
                "FETCH BACKWARD 2 FROM c",
                "FETCH FORWARD 4 IN c",
                "FETCH ABSOLUTE 2 FROM c",
                "FETCH RELATIVE 3 c",
                "FETCH RELATIVE -2 FROM c",
                "FETCH RELATIVE 0 c",
                "FETCH LAST c",
                "FETCH c",
                "FETCH 0 c",
                "FETCH PRIOR c",
                "FETCH FIRST c",
                "FETCH PRIOR c",
                "FETCH PRIOR c",
                "FETCH 0 c",
                "MOVE 2 FROM c",
                "FETCH c",
                "MOVE BACKWARD ALL c",
                "FETCH c",
                "MOVE ALL IN c",
                "MOVE 0 c",
                "FETCH c",
                "FETCH ABSOLUTE -3 FROM c",
                "FETCH ABSOLUTE 0 c",
                "FETCH c",
                "FETCH ABSOLUTE 1000 c",
                "FETCH -2 c",
                "FETCH FORWARD -1 c",
                "FETCH BACKWARD -1 FROM c",
                "MOVE ABSOLUTE 5 c",
                "MOVE 0 c",
                "FETCH BACKWARD ALL c",
                "FETCH ALL c",
                "MOVE RELATIVE -1 c",
                "FETCH FORWARD ALL FROM c",
                "CLOSE c",
                "COMMIT",
            ];
            same_script(&mut pair, &script, way).await;
        }
    }
}

#[tokio::test]
async fn errors_are_postgres_own() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let all = "SELECT id FROM sale ORDER BY id";
    let declare = |options: &str| format!("DECLARE c {options} CURSOR FOR {all}");
    let (plain, no_scroll, scroll) = (declare(""), declare("NO SCROLL"), declare("SCROLL"));
    let (locks, both) = (format!("{scroll} FOR UPDATE"), declare("SCROLL NO SCROLL"));
    let hold_locks = format!("DECLARE c CURSOR WITH HOLD FOR {all} FOR UPDATE");
    let scripts: [&[&str]; 16] = [
        &[&plain],
        &["BEGIN", &plain, &plain, "ROLLBACK"],
        &["BEGIN", &no_scroll, "FETCH 3 c", "FETCH ABSOLUTE 3 c", "ROLLBACK"],
        &["BEGIN", &no_scroll, "FETCH FIRST c", "FETCH ABSOLUTE 5 c", "FETCH PRIOR c", "ROLLBACK"],
        &["BEGIN", &no_scroll, "FETCH 2 c", "FETCH 0 c", "ROLLBACK"],
        &["BEGIN", &no_scroll, "MOVE 2 c", "MOVE 0 c", "MOVE BACKWARD ALL c", "ROLLBACK"],
        &["BEGIN", &no_scroll, "FETCH RELATIVE 0 c", "FETCH LAST c", "ROLLBACK"],
        &["BEGIN", &scroll, "FETCH d", "ROLLBACK"],
        &["BEGIN", &scroll, "CLOSE c", "FETCH c", "ROLLBACK"],
        &["BEGIN", &scroll, "CLOSE d", "ROLLBACK"],
        &["BEGIN", &locks, "ROLLBACK"],
        &["BEGIN", &hold_locks, "ROLLBACK"],
        &["BEGIN", &both, "ROLLBACK"],
        &["BEGIN", "DECLARE c CURSOR FOR SELECT nosuch FROM sale", "ROLLBACK"],
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT 1 / (id - id) FROM sale WHERE id = 3",
            "FETCH c",
            "FETCH c",
            "ROLLBACK",
        ],
        &["BEGIN", &scroll, "COMMIT", "FETCH c"],
    ];
    for script in scripts {
        same_script(&mut pair, script, Way::Simple).await;
    }
}

#[tokio::test]
async fn savepoints_end_the_cursors_that_were_made_behind_them() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let (one, other) =
        (format!("DECLARE a CURSOR FOR {}", ORDERED[0]), format!("DECLARE b CURSOR FOR {}", ORDERED[1]));
    let script = [
        "BEGIN",
        &one,
        "FETCH 2 a",
        "SAVEPOINT s",
        &other,
        "FETCH 2 b",
        "FETCH 2 a",
        "ROLLBACK TO s",
        "FETCH 2 a",
        "FETCH b",
        "ROLLBACK TO s",
        "FETCH a",
        &other,
        "FETCH b",
        "RELEASE s",
        "FETCH b",
        "CLOSE ALL",
        "SAVEPOINT t",
        "FETCH a",
        "ROLLBACK TO t",
        &other,
        "SAVEPOINT u",
        "SELECT 1 / 0",
        "ROLLBACK TO u",
        "FETCH b",
        "COMMIT",
    ];
    same_script(&mut pair, &script, Way::Simple).await;
}

#[tokio::test]
async fn a_cursor_shows_what_was_there_when_it_was_declared() {
    let world = World::builder().shards(3).servers(1).schema(JOBS).start();
    let mut client = world.raw("app").await;
    query(&mut client, "INSERT INTO job SELECT g, g, 'new' FROM generate_series(1, 30) g").await;
    for statement in ["SELECT user_id FROM job ORDER BY user_id", "SELECT count(*) FROM job GROUP BY user_id"]
    {
        query(&mut client, "BEGIN").await;
        query(&mut client, &format!("DECLARE c CURSOR FOR {statement}")).await;
        assert_eq!(query(&mut client, "FETCH 3 c").await.rows().len(), 3);
        assert!(query(&mut client, "DELETE FROM job").await.error().is_none());
        assert_eq!(query(&mut client, "SELECT count(*) FROM job").await.texts(), [[Some("0")]]);
        assert_eq!(query(&mut client, "FETCH ALL c").await.rows().len(), 27);
        query(&mut client, "ROLLBACK").await;
    }
}

const JOBS: &str = "CREATE TABLE job (user_id int PRIMARY KEY, n int, state text COLLATE \"C\");";

/// A world of jobs, beside one database that holds the same.
async fn with_jobs() -> (World, Pair) {
    let world = World::builder().shards(3).servers(1).schema(JOBS).oracle().start();
    let mut pair = Pair::of(&world).await;
    pair.both("INSERT INTO job SELECT g, g, 'new' FROM generate_series(1, 40) g").await;
    (world, pair)
}

#[tokio::test]
async fn a_cursor_that_locks_passes_over_rows_that_its_transaction_has_changed() {
    let (_world, mut pair) = with_jobs().await;
    for order in ["ORDER BY n", "ORDER BY state, user_id DESC", "ORDER BY n LIMIT 15 OFFSET 2"] {
        for lock in ["FOR UPDATE", "FOR NO KEY UPDATE OF job", "FOR SHARE"] {
            let declare = format!("DECLARE c CURSOR FOR SELECT user_id, n, state FROM job {order} {lock}");
            let script = [
                "BEGIN",
                "UPDATE job SET state = 'seen' WHERE user_id IN (3, 30)",
                &declare,
                "FETCH 3 c",
                "UPDATE job SET n = n + 1000 WHERE user_id BETWEEN 4 AND 9 OR user_id > 33",
                "FETCH 2 c",
                "DELETE FROM job WHERE user_id IN (12, 13, 14, 28, 29)",
                "FETCH c",
                "SAVEPOINT s",
                "UPDATE job SET n = 0",
                "ROLLBACK TO s",
                "FETCH 3 c",
                "INSERT INTO job VALUES (50, 10, 'late')",
                "MOVE 2 c",
                "FETCH ALL c",
                "FETCH c",
                "ROLLBACK",
            ];
            same_script(&mut pair, &script, Way::Simple).await;
            same_script(&mut pair, &script, Way::Binary).await;
        }
    }
    // What was changed before the cursor was declared is what it shows; the common loop goes on.
    for client in [&mut pair.proxy, &mut pair.single] {
        query(client, "BEGIN").await;
        query(client, "DECLARE c CURSOR FOR SELECT user_id FROM job ORDER BY n FOR UPDATE").await;
        for n in 1..=40 {
            let row = query(client, "FETCH c").await;
            assert_eq!(row.texts(), [[Some(n.to_string().as_str())]]);
            let done = query(client, &format!("UPDATE job SET state = 'done' WHERE user_id = {n}")).await;
            assert!(done.error().is_none(), "{done:?}");
        }
        assert_eq!(query(client, "FETCH c").await.commands(), ["FETCH 0"]);
        query(client, "ROLLBACK").await;
    }
    // Of two tables it can't be told.
    let client = &mut pair.proxy;
    let both =
        "SELECT a.user_id FROM job a JOIN job b ON a.user_id = b.user_id ORDER BY a.user_id FOR UPDATE";
    for (write, code) in [("UPDATE job SET n = 0", "0A000"), ("SELECT count(*) FROM job", "")] {
        query(client, "BEGIN").await;
        query(client, &format!("DECLARE c CURSOR FOR {both}")).await;
        assert_eq!(query(client, "FETCH c").await.rows().len(), 1);
        assert!(query(client, write).await.error().is_none());
        let next = query(client, "FETCH 4 c").await;
        assert_eq!(next.error().and_then(|error| error.field('C')).unwrap_or_default(), code, "{next:?}");
        query(client, "ROLLBACK").await;
    }
}

#[tokio::test]
async fn a_cursor_of_rows_that_one_shard_works_out_is_used_in_the_text_that_declares_it() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let one = "SELECT id FROM sale WHERE user_id = 3 ORDER BY id";
    for query_of in ORDERED.into_iter().chain([one]) {
        let declare = format!("DECLARE c CURSOR FOR {query_of}");
        let texts = [
            format!("BEGIN; {declare}; FETCH ALL FROM c; COMMIT"),
            format!(
                "BEGIN; SELECT id FROM sale WHERE user_id = 9 ORDER BY id; {declare}; MOVE 2 c; FETCH 3 c; CLOSE c; COMMIT"
            ),
            format!("{declare}; FETCH 4 FROM c; CLOSE c"),
        ];
        for text in &texts {
            let expected = said(&query(&mut pair.single, text).await);
            assert!(expected.is_ok(), "{expected:?}");
            assert_eq!(said(&query(&mut pair.proxy, text).await), expected, "{text}");
        }
        let mut answers = Vec::new();
        for client in [&mut pair.proxy, &mut pair.single] {
            query(client, "BEGIN").await;
            query(client, "SELECT id FROM sale WHERE user_id = 9").await;
            for sql in [&declare, "FETCH ALL FROM c", "CLOSE c"] {
                client.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0);
            }
            answers.push(said(&client.sync().recv_until_ready().await));
            query(client, "ROLLBACK").await;
        }
        assert!(answers[1].is_ok(), "{answers:?}");
        assert_eq!(answers[0], answers[1], "{query_of}");
    }
}

#[tokio::test]
async fn a_table_can_t_be_changed_while_a_cursor_reads_it() {
    let (_world, mut pair) = with_jobs().await;
    for reads in [
        "SELECT user_id FROM job ORDER BY user_id",
        "SELECT state, count(*) FROM job GROUP BY state",
        "SELECT n, rank() OVER (ORDER BY n) FROM job ORDER BY n",
    ] {
        let declare = format!("DECLARE c CURSOR FOR {reads}");
        let hold = format!("DECLARE c CURSOR WITH HOLD FOR {reads}");
        let scripts: [&[&str]; 6] = [
            &["BEGIN", &declare, "ALTER TABLE job ADD COLUMN more int", "ROLLBACK"],
            &["BEGIN", &declare, "FETCH c", "DROP TABLE job", "ROLLBACK"],
            &["BEGIN", &declare, "FETCH c", "TRUNCATE job", "ROLLBACK"],
            &[
                "BEGIN",
                &declare,
                "CLOSE c",
                "ALTER TABLE job ADD COLUMN more int",
                &declare,
                "FETCH c",
                "CLOSE ALL",
                "DROP TABLE job",
                "ROLLBACK",
            ],
            &[
                "BEGIN",
                "SAVEPOINT s",
                &declare,
                "FETCH c",
                "ROLLBACK TO s",
                "TRUNCATE job",
                &declare,
                "FETCH c",
                "ROLLBACK",
            ],
            &[
                &hold,
                "BEGIN",
                "ALTER TABLE job ADD COLUMN more int",
                "FETCH c",
                "CLOSE c",
                "ROLLBACK",
                "CLOSE ALL",
            ],
        ];
        for script in scripts {
            same_script(&mut pair, script, Way::Simple).await;
        }
    }
    let mut answers = Vec::new();
    for client in [&mut pair.proxy, &mut pair.single] {
        query(client, "BEGIN").await;
        query(client, "DECLARE c CURSOR FOR SELECT state, count(*) FROM job GROUP BY state").await;
        client.parse("", "CLOSE c", &[]).bind("", "", &[], &[]).execute("", 0).sync();
        let closed = said(&client.recv_until_ready().await);
        let altered = said(&query(client, "ALTER TABLE job ADD COLUMN more int").await);
        answers.push((closed, altered));
        query(client, "ROLLBACK").await;
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_cursor_that_is_not_there_is_34000() {
    let (_world, mut pair) = with_jobs().await;
    let (update, delete) =
        ("UPDATE job SET n = 1 WHERE CURRENT OF nope", "DELETE FROM job WHERE CURRENT OF \"No pe\"");
    let scripts: [&[&str]; 3] = [
        &[update, delete, "BEGIN", update, "ROLLBACK"],
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT * FROM job WHERE user_id = 3",
            "CLOSE c",
            "UPDATE job SET n = 1 WHERE CURRENT OF c",
            "ROLLBACK",
        ],
        &["BEGIN", "SELECT * FROM job WHERE user_id = 3", delete, "ROLLBACK"],
    ];
    for script in scripts {
        for way in [Way::Simple, Way::Text] {
            same_script(&mut pair, script, way).await;
        }
    }
    // One over several shards stands at none of their rows.
    query(&mut pair.proxy, "BEGIN").await;
    query(&mut pair.proxy, "DECLARE nope CURSOR FOR SELECT * FROM job").await;
    pair.refused(update).await;
}

#[tokio::test]
async fn cursors_of_one_shard_and_of_several_stand_side_by_side() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let several = format!("DECLARE many CURSOR FOR {}", ORDERED[0]);
    let combined = format!("DECLARE sums SCROLL CURSOR FOR {}", ORDERED[2]);
    let script = [
        "BEGIN",
        "DECLARE one SCROLL CURSOR FOR SELECT id FROM sale WHERE user_id = 3 ORDER BY id",
        &several,
        &combined,
        "DECLARE another CURSOR FOR SELECT id FROM sale WHERE user_id = 4 ORDER BY id",
        "FETCH one",
        "FETCH 2 many",
        "FETCH 2 sums",
        "FETCH another",
        "FETCH LAST sums",
        "FETCH LAST one",
        "FETCH FIRST one",
        "FETCH many",
        "SELECT count(*) FROM sale",
        "CLOSE sums",
        "FETCH many",
        "CLOSE ALL",
        "SAVEPOINT s",
        "FETCH one",
        "ROLLBACK TO s",
        "FETCH sums",
        "ROLLBACK TO s",
        "DECLARE all_labels CURSOR FOR TABLE label",
        "FETCH 0 all_labels",
        "DECLARE every CURSOR FOR SELECT count(*) FROM (TABLE sale) _",
        "FETCH every",
        &several,
        "SAVEPOINT t",
        "DECLARE many CURSOR FOR SELECT id FROM sale WHERE user_id = 3",
        "ROLLBACK TO t",
        "DECLARE one CURSOR FOR SELECT id FROM sale WHERE user_id = 3",
        "SAVEPOINT u",
        "DECLARE one CURSOR FOR SELECT id FROM sale WHERE user_id = 4",
        "ROLLBACK TO u",
        "DECLARE one CURSOR FOR SELECT id FROM sale ORDER BY id",
        "ROLLBACK",
    ];
    same_script(&mut pair, &script, Way::Simple).await;
}

#[tokio::test]
async fn a_cursor_that_is_held_outlives_its_transaction() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for query in ORDERED {
        let declare = format!("DECLARE h SCROLL CURSOR WITH HOLD FOR {query}");
        let script = [
            "BEGIN",
            &declare,
            "FETCH 2 h",
            "COMMIT",
            "FETCH 2 h",
            "SELECT count(*) FROM sale",
            "FETCH FIRST h",
            "FETCH ALL h",
            "BEGIN",
            "FETCH PRIOR h",
            "ROLLBACK",
            "FETCH PRIOR h",
            "CLOSE h",
            "FETCH h",
            &declare,
            "FETCH h",
            "CLOSE ALL",
            "FETCH h",
            "BEGIN",
            &declare,
            "ROLLBACK",
            "FETCH h",
            &declare,
            "DISCARD ALL",
            "FETCH h",
        ];
        same_script(&mut pair, &script, Way::Simple).await;
    }
    assert!(query(&mut pair.proxy, "SELECT count(*) FROM sale").await.error().is_none());
}

#[tokio::test]
async fn statements_in_one_text_or_batch_use_the_cursor_that_one_of_them_declares() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let text = format!("DECLARE c CURSOR FOR {}; FETCH 2 FROM c; MOVE 3 c; FETCH c", ORDERED[0]);
    let in_block = format!("BEGIN; {text}; COMMIT");
    for text in [text, in_block] {
        let expected = said(&query(&mut pair.single, &text).await);
        assert!(expected.is_ok(), "{expected:?}");
        assert_eq!(said(&query(&mut pair.proxy, &text).await), expected, "{text}");
    }
    let mut answers = Vec::new();
    for client in [&mut pair.proxy, &mut pair.single] {
        query(client, "BEGIN").await;
        let declare = "DECLARE c CURSOR FOR SELECT id, c FROM sale WHERE id > $1 AND a > $2 ORDER BY id";
        client
            .parse("", declare, &[])
            .bind("", "", &[Param::Text("20"), Param::Text("1")], &[])
            .execute("", 0);
        client
            .parse("f", "FETCH 4 FROM c", &[])
            .bind("", "f", &[], &[1])
            .describe_portal("")
            .execute("", 0)
            .sync();
        let first = said(&client.recv_until_ready().await);
        client.bind("", "f", &[], &[1]).execute("", 0).bind("", "f", &[], &[1]).execute("", 0).sync();
        let second = said(&client.recv_until_ready().await);
        let moved = said(&query(client, "MOVE 2 c").await);
        client
            .describe_statement("f")
            .bind("p", "f", &[], &[1])
            .execute("p", 3)
            .execute("p", 3)
            .execute("p", 3)
            .sync();
        let reply = client.recv_until_ready().await;
        answers.push((first, second, moved, reply.tags(), reply.rows()));
        query(client, "ROLLBACK").await;
        client.close_statement("f").sync().recv_until_ready().await;
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].0.is_ok(), "{answers:?}");
}

/// A cursor's commands at random. Each goes to both, in a transaction of its own script.
fn command(rng: &mut StdRng, scroll: bool) -> String {
    let verb = if rng.random_bool(0.3) { "MOVE" } else { "FETCH" };
    let n: i32 = rng.random_range(if scroll { -60..60 } else { 1..12 });
    let way = match rng.random_range(0..if scroll { 12 } else { 4 }) {
        0 => "NEXT".to_owned(),
        1 => format!("{n}"),
        2 => format!("FORWARD {n}"),
        3 => format!("RELATIVE {n}"),
        4 => format!("BACKWARD {n}"),
        5 => format!("ABSOLUTE {n}"),
        6 => "PRIOR".to_owned(),
        7 => "FIRST".to_owned(),
        8 => "LAST".to_owned(),
        9 => "BACKWARD ALL".to_owned(),
        10 => "ALL".to_owned(),
        _ => "FORWARD 0".to_owned(),
    };
    format!("{verb} {way} FROM c")
}

#[tokio::test]
async fn scripts_made_up_at_random_give_what_one_postgres_gives() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let mut rng = StdRng::seed_from_u64(6);
    for n in 0..60 {
        let scroll = rng.random_bool(0.7);
        let kind = if scroll { "SCROLL" } else { "NO SCROLL" };
        let declare = format!("DECLARE c {kind} CURSOR FOR {}", ORDERED[n % ORDERED.len()]);
        let mut script = vec!["BEGIN".to_owned(), declare];
        script.extend((0..12).map(|_| command(&mut rng, scroll)));
        script.push("ROLLBACK".to_owned());
        let script: Vec<&str> = script.iter().map(String::as_str).collect();
        let way = [Way::Simple, Way::Text, Way::Binary][n % 3];
        same_script(&mut pair, &script, way).await;
    }
}

#[tokio::test]
async fn a_cursor_that_says_nothing_of_scroll_goes_back_a_little() {
    let world = World::builder().shards(2).servers(1).schema("CREATE TABLE t (user_id int, x text)").start();
    world.shards().for_each(|shard| {
        drop(shard.sql("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g"));
    });
    let mut client = world.raw("app").await;
    query(&mut client, "BEGIN").await;
    query(&mut client, "DECLARE c CURSOR FOR SELECT user_id, x FROM t ORDER BY user_id").await;
    assert_eq!(query(&mut client, "FETCH 100 c").await.rows().len(), 100);
    let back = query(&mut client, "FETCH BACKWARD ALL c").await;
    assert_eq!(back.rows().len(), 99);
    assert_eq!(query(&mut client, "FETCH ALL c").await.rows().len(), 6000);
    assert_eq!(query(&mut client, "FETCH BACKWARD 10 c").await.rows().len(), 10);
    let error = said(&query(&mut client, "FETCH FIRST c").await).unwrap_err();
    assert_eq!(error, ("55000".to_owned(), "cursor can only scan forward".to_owned()));
    query(&mut client, "ROLLBACK").await;
}

#[tokio::test]
async fn cursors_that_may_have_no_temporary_table_are_answered() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    pair.both("BEGIN READ ONLY").await;
    for (name, sql) in [("c", ORDERED[2]), ("d", ORDERED[3])] {
        pair.both(&format!("DECLARE {name} CURSOR FOR {sql}")).await;
        pair.same(&format!("FETCH 5 {name}")).await;
    }
    pair.both("ROLLBACK").await;
}

/// What an Execute gave: its rows, and whether more are to come or the tag.
fn executed(reply: &Reply) -> Vec<String> {
    let row = |message: &shardway_tests::Message| format!("{:?}", message.row());
    let messages = reply.iter();
    messages
        .map(|message| match message.tag {
            b'D' => row(message),
            b's' => "suspended".to_owned(),
            b'C' => message.command(),
            b'E' => format!("{:?} {:?}", message.field('C'), message.field('M')),
            tag => char::from(tag).to_string(),
        })
        .collect()
}

#[tokio::test]
async fn portals_give_as_many_rows_as_they_are_asked_for() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for sql in ORDERED {
        for formats in [&[][..], &[1]] {
            let mut answers = Vec::new();
            for client in [&mut pair.proxy, &mut pair.single] {
                let mut all = Vec::new();
                query(client, "BEGIN").await;
                client
                    .parse("", sql, &[])
                    .bind("p", "", &[], formats)
                    .describe_portal("p")
                    .execute("p", 3)
                    .sync();
                all.push(executed(&client.recv_until_ready().await));
                // Others may run in between, bound and not.
                all.push(executed(&query(client, "SELECT count(*) FROM sale").await));
                client
                    .parse("", "SELECT id FROM sale ORDER BY id", &[])
                    .bind("", "", &[], &[])
                    .execute("", 2)
                    .sync();
                all.push(executed(&client.recv_until_ready().await));
                client.execute("p", 4).execute("p", 1).describe_portal("p").sync();
                all.push(executed(&client.recv_until_ready().await));
                client.execute("", 2).sync();
                all.push(executed(&client.recv_until_ready().await));
                client
                    .parse("", "SELECT 1", &[])
                    .bind("", "", &[], &[])
                    .execute("", 0)
                    .execute("p", 0)
                    .sync();
                all.push(executed(&client.recv_until_ready().await));
                client.execute("p", 5).sync();
                all.push(executed(&client.recv_until_ready().await));
                client.close_portal("p").execute("p", 1).sync();
                all.push(executed(&client.recv_until_ready().await));
                query(client, "ROLLBACK").await;
                answers.push(all);
            }
            assert_eq!(answers[0], answers[1], "{sql} in {formats:?}");
        }
    }
}

#[tokio::test]
async fn a_portal_lives_to_the_end_of_its_transaction_and_its_name_is_its_own() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let mut answers = Vec::new();
    for client in [&mut pair.proxy, &mut pair.single] {
        let mut all = Vec::new();
        let sql = "SELECT id FROM sale WHERE a > $1 ORDER BY id";
        // Outside of a transaction to the Sync.
        client
            .parse("s", sql, &[])
            .bind("p", "s", &[Param::Text("1")], &[])
            .execute("p", 2)
            .execute("p", 2)
            .sync();
        all.push(executed(&client.recv_until_ready().await));
        client.execute("p", 2).sync();
        all.push(executed(&client.recv_until_ready().await));
        client.bind("", "s", &[Param::Text("1")], &[]).execute("", 2).sync();
        all.push(executed(&client.recv_until_ready().await));
        // Bound in one batch, executed in another.
        query(client, "BEGIN").await;
        client.bind("p", "s", &[Param::Text("2")], &[]).sync();
        all.push(executed(&client.recv_until_ready().await));
        client.execute("p", 2).sync();
        all.push(executed(&client.recv_until_ready().await));
        client.bind("p", "s", &[Param::Text("2")], &[]).sync();
        all.push(executed(&client.recv_until_ready().await));
        all.push(executed(&query(client, "ROLLBACK").await));
        client.execute("p", 2).sync();
        all.push(executed(&client.recv_until_ready().await));
        // A cursor is a portal, and a portal a cursor.
        query(client, "BEGIN").await;
        query(client, "DECLARE c CURSOR FOR SELECT id FROM sale ORDER BY id").await;
        client.execute("c", 2).bind("q", "s", &[Param::Text("2")], &[]).sync();
        all.push(executed(&client.recv_until_ready().await));
        all.push(executed(&query(client, "FETCH 2 q").await));
        client.close_portal("c").sync();
        all.push(executed(&client.recv_until_ready().await));
        all.push(executed(&query(client, "FETCH c").await));
        query(client, "ROLLBACK").await;
        client.close_statement("s").sync().recv_until_ready().await;
        answers.push(all);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_client_that_flushes_reads_on_without_a_sync() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let mut answers = Vec::new();
    for client in [&mut pair.proxy, &mut pair.single] {
        let mut all = Vec::new();
        client.parse("", ORDERED[0], &[]).bind("", "", &[], &[]).describe_portal("").execute("", 7).flush();
        all.push(executed(&client.recv_until(b's').await));
        client.execute("", 5).flush();
        all.push(executed(&client.recv_until(b's').await));
        client.execute("", 1000).flush();
        all.push(executed(&client.recv_until(b'C').await));
        client.close_portal("").sync();
        all.push(executed(&client.recv_until_ready().await));
        answers.push(all);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn tables_are_free_when_their_portals_have_come_to_an_end() {
    let world = World::builder().shards(3).servers(1).schema(JOBS).start();
    let mut client = world.raw("app").await;
    query(&mut client, "INSERT INTO job SELECT g, g, 'new' FROM generate_series(1, 30) g").await;
    query(&mut client, "BEGIN").await;
    client.parse("", "SELECT * FROM job ORDER BY n", &[]).bind("", "", &[], &[]).execute("", 1000).sync();
    assert_eq!(client.recv_until_ready().await.rows().len(), 30);
    assert_eq!(
        said(&query(&mut client, "TRUNCATE job").await).map(|said| said.2),
        Ok(vec!["TRUNCATE TABLE".into()])
    );
    query(&mut client, "ROLLBACK").await;
}

#[tokio::test]
async fn more_rows_than_may_be_held_are_an_error_and_what_streams_is_not_held() {
    let world = World::builder()
        .shards(3)
        .schema("CREATE TABLE t (user_id int, x text)")
        .config("[routing]\ngather_max_bytes = '1MiB'")
        .start();
    world.shards().for_each(|shard| {
        drop(shard.sql("INSERT INTO t SELECT g, repeat('x', 100) || g FROM generate_series(1, 20000) g"));
    });
    let mut client = world.raw("app").await;
    query(&mut client, "BEGIN").await;
    for sql in ["SELECT x FROM t ORDER BY user_id", "SELECT x FROM t"] {
        client.parse("", sql, &[]).bind("p", "", &[], &[]).sync().recv_until_ready().await;
        let mut rows = 0;
        loop {
            let reply = client.execute("p", 997).sync().recv_until_ready().await;
            assert!(reply.error().is_none(), "{reply:?}");
            rows += reply.rows().len();
            if reply.of('s').next().is_none() {
                break;
            }
        }
        assert_eq!(rows, 60000);
        client.close_portal("p").sync().recv_until_ready().await;
    }
    query(&mut client, "DECLARE c SCROLL CURSOR FOR SELECT x FROM t").await;
    assert_eq!(query(&mut client, "MOVE ALL c").await.commands(), ["MOVE 60000"]);
    assert_eq!(query(&mut client, "FETCH PRIOR c").await.rows().len(), 1);
    let refused: Said = said(&query(&mut client, "FETCH FIRST c").await);
    assert_eq!(refused.unwrap_err().0, "54000");
    query(&mut client, "ROLLBACK").await;
    for sql in [
        "DECLARE c CURSOR WITH HOLD FOR SELECT x FROM t",
        "DECLARE c CURSOR WITH HOLD FOR SELECT DISTINCT x FROM t",
    ] {
        let refused = said(&query(&mut client, sql).await);
        assert_eq!(refused.unwrap_err().0, "54000", "{sql}");
    }
    assert_eq!(query(&mut client, "SELECT count(*) FROM t").await.texts(), [[Some("60000")]]);
}

#[tokio::test]
async fn a_row_limit_is_nothing_to_statements_without_rows_and_counts_those_that_are_returned() {
    let world = World::builder().shards(3).servers(1).schema(JOBS).start();
    let mut client = world.raw("app").await;
    let mut run = async |sql: &str, limit: i32| {
        client.parse("", sql, &[]).bind("", "", &[], &[]).describe_portal("").execute("", limit).sync();
        let reply = client.recv_until_ready().await;
        (reply.tags(), reply.commands())
    };
    // Some drivers limit whatever gives no rows that they want.
    let insert = "INSERT INTO job VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 4, 'd')";
    assert_eq!(run(insert, 1).await, ("12nCZ".into(), vec!["INSERT 0 4".into()]));
    assert_eq!(run("UPDATE job SET n = n + 1", 1).await, ("12nCZ".into(), vec!["UPDATE 4".into()]));
    assert_eq!(run("CREATE INDEX ON job (n)", 1).await, ("12nCZ".into(), vec!["CREATE INDEX".into()]));
    assert_eq!(run("DELETE FROM job WHERE n > 3 RETURNING n", 1).await, ("12TDsZ".into(), vec![]));
    assert_eq!(run("SELECT n FROM job", 10).await, ("12TDDCZ".into(), vec!["SELECT 2".into()]));
    client.query("BEGIN").recv_until_ready().await;
    client.parse("", "INSERT INTO job VALUES (5, 5), (6, 6), (7, 7) RETURNING user_id", &[]);
    client.bind("p", "", &[], &[]).describe_portal("p").execute("p", 2).sync();
    let first = client.recv_until_ready().await;
    assert_eq!((first.tags(), first.texts()), ("12TDDsZ".into(), shardway_tests::Texts(rows(&["5", "6"]))));
    assert_eq!(client.query("SELECT count(*) FROM job").recv_until_ready().await.texts(), [[Some("5")]]);
    let rest = client.execute("p", 2).execute("p", 2).sync().recv_until_ready().await;
    assert_eq!(
        (rest.tags(), rest.commands()),
        ("DCCZ".into(), vec!["INSERT 0 1".into(), "INSERT 0 0".into()])
    );
    client.query("COMMIT").recv_until_ready().await;
}

fn rows(values: &[&str]) -> Vec<Vec<Option<String>>> {
    values.iter().map(|value| vec![Some((*value).to_owned())]).collect()
}
