//! COPY in both protocols, among other statements and in transactions.

use super::{Ending, Pair, WORLD, Way, copy, told};

fn data(from: i32) -> String {
    (from..from + 20).map(|n| format!("a\t{n}\t1\tx\n")).collect()
}

const COUNT: &str = "SELECT count(*), sum(user_id) FROM protocols";

#[tokio::test]
async fn a_copy_is_a_part_of_its_transaction() {
    let mut pair = Pair::new().await;
    pair.empty("protocols");
    for way in [Way::Simple, Way::Extended] {
        pair.same("BEGIN").await;
        pair.copy("COPY protocols FROM STDIN", &[data(0).as_bytes()], Ending::Done, way).await;
        pair.same(COUNT).await;
        pair.same("SAVEPOINT before").await;
        let wrong = data(100) + "a\t1\tnone\tx\n";
        pair.copy("COPY protocols FROM STDIN", &[wrong.as_bytes()], Ending::Done, way).await;
        let refused = pair.proxy.query("SELECT 1").recv_until_ready().await;
        assert_eq!(refused.error().and_then(|e| e.field('C')).as_deref(), Some("25P02"));
        pair.single.query("SELECT 1").recv_until_ready().await;
        pair.same("ROLLBACK TO before").await;
        pair.copy("COPY protocols FROM STDIN", &[data(200).as_bytes()], Ending::Done, way).await;
        pair.same(COUNT).await;
        pair.same("ROLLBACK").await;
        pair.same(COUNT).await;
        pair.same("BEGIN").await;
        pair.copy("COPY protocols FROM STDIN", &[data(300).as_bytes()], Ending::Done, way).await;
        pair.same("COMMIT").await;
        pair.same(COUNT).await;
    }
    assert_eq!(pair.same_rows("protocols").await.len(), 40);
}

#[tokio::test]
async fn a_copy_may_stand_between_other_statements() {
    let mut pair = Pair::new().await;
    for (last, wrong) in [("SELECT 2", ""), ("SELECT 1 / 0", ""), ("SELECT 2", "a\todd\t1\tx\n")] {
        let sql = format!("SELECT 1; COPY late FROM STDIN; COPY late (user_id) TO STDOUT; {last}");
        let data = data(0) + wrong;
        let mut said = Vec::new();
        for client in [&mut pair.single, &mut pair.proxy] {
            client.query("BEGIN").recv_until_ready().await;
            let mut messages = client.query(&sql).recv_until(b'G').await.0;
            client.copy_data(data.as_bytes()).copy_done();
            messages.extend(client.recv_until_ready().await.0);
            said.push(told(&shardway_tests::Reply(messages)));
            client.query("ROLLBACK").recv_until_ready().await;
        }
        assert_eq!(said[1], said[0]);
    }
    // Without a transaction of the client's, all of the text is one.
    let sql = "COPY late FROM STDIN; SELECT 1 / 0";
    let told = pair.copy(sql, &[data(0).as_bytes()], Ending::Done, Way::Simple).await;
    assert!(told.contains("22012"), "{told}");
    pair.same("SELECT count(*) FROM late").await;
}

#[tokio::test]
async fn a_batch_is_one_transaction_with_the_copy_in_it() {
    let mut pair = Pair::new().await;
    for wrong in [false, true] {
        let mut said = Vec::new();
        for client in [&mut pair.single, &mut pair.proxy] {
            client.parse("", "COPY batched FROM STDIN", &[]).describe_statement("");
            client.bind("", "", &[], &[]).describe_portal("").execute("", 0).sync();
            let mut messages = client.recv_until(b'G').await.0;
            client.copy_data(data(0).as_bytes()).copy_done();
            let sql = if wrong { "SELECT 1 / 0" } else { "DELETE FROM batched WHERE user_id = 1" };
            client.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0).sync();
            messages.extend(client.recv_until_ready().await.0);
            said.push(told(&shardway_tests::Reply(messages)));
            let sql = "BEGIN; DELETE FROM batched WHERE user_id = 5; ROLLBACK";
            said.push(told(&client.query(sql).recv_until_ready().await));
        }
        assert_eq!(said[2..], said[..2]);
        pair.empty("batched");
    }
}

#[tokio::test]
async fn nothing_may_follow_a_copy_in_its_batch() {
    let mut client = WORLD.raw("app").await;
    client.parse("", "COPY late FROM STDIN", &[]).bind("", "", &[], &[]).execute("", 0);
    let reply = client
        .parse("", "SELECT 1", &[])
        .bind("", "", &[], &[])
        .execute("", 0)
        .sync()
        .recv_until_ready()
        .await;
    let error = reply.error().expect("an error");
    assert_eq!(error.field('C').as_deref(), Some("08P01"));
    assert_eq!(client.query("SELECT 1").recv_until_ready().await.commands(), ["SELECT 1"]);
}

#[tokio::test]
async fn a_copy_behind_a_flush_waits_for_its_sync() {
    let mut client = WORLD.raw("app").await;
    client.parse("", "COPY late FROM STDIN", &[]).bind("", "", &[], &[]).execute("", 0).flush();
    client.recv_until(b'G').await;
    client.copy_data(b"a\t1\t1\tx\n").copy_fail("no").sync();
    let reply = client.recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), reply.status()), ("EZ", 'I'));
    client.query("BEGIN").recv_until_ready().await;
    client.parse("", "COPY late FROM STDIN", &[]).bind("", "", &[], &[]).execute("", 0).flush();
    client.recv_until(b'G').await;
    client.copy_data(data(0).as_bytes()).copy_done().sync();
    assert_eq!(client.recv_until_ready().await.commands(), ["COPY 20"]);
    client.query("ROLLBACK").recv_until_ready().await;
    let reply = client.query("SELECT count(*) FROM late").recv_until_ready().await;
    assert_eq!(reply.commands(), ["SELECT 1"]);
}

#[tokio::test]
async fn a_copy_takes_its_data_out_of_its_batch() {
    let mut pair = Pair::new().await;
    for wrong in ["", "a\todd\t1\tx\n"] {
        for behind in [None, Some("DELETE FROM piped WHERE user_id = 1"), Some("SELECT 1 / 0")] {
            let mut said = Vec::new();
            for client in [&mut pair.single, &mut pair.proxy] {
                client
                    .parse("", "DELETE FROM piped WHERE user_id = 2", &[])
                    .bind("", "", &[], &[])
                    .execute("", 0);
                client.parse("", "COPY piped FROM STDIN", &[]).bind("", "", &[], &[]).execute("", 0);
                client.copy_data(data(0).as_bytes()).copy_data((data(100) + wrong).as_bytes()).copy_done();
                if let Some(sql) = behind {
                    client.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0);
                }
                said.push(told(&client.sync().recv_until_ready().await));
            }
            assert_eq!(said[1], said[0], "{wrong}{behind:?}");
            assert!(said[0].starts_with("12C12G"), "{said:?}");
            pair.same_rows("piped").await;
        }
    }
    assert_eq!(pair.same_rows("piped").await.len(), 40 + 40 - 3);
}

#[tokio::test]
async fn a_copy_that_nothing_follows_asks_for_its_data() {
    let mut pair = Pair::new().await;
    for ending in [Ending::Done, Ending::Fail("no")] {
        let mut said = Vec::new();
        for client in [&mut pair.single, &mut pair.proxy] {
            client.query("BEGIN").recv_until_ready().await;
            client.parse("", "COPY late FROM STDIN", &[]).bind("", "", &[], &[]).execute("", 0);
            let mut messages = client.recv_until(b'G').await.0;
            client.copy_data(data(0).as_bytes());
            match ending {
                Ending::Done => client.copy_done(),
                Ending::Fail(reason) => client.copy_fail(reason),
            };
            messages.extend(client.sync().recv_until_ready().await.0);
            messages.extend(client.query("ROLLBACK").recv_until_ready().await.0);
            said.push(told(&shardway_tests::Reply(messages)));
        }
        assert_eq!(said[1], said[0]);
    }
}

#[tokio::test]
async fn notices_come_through_while_lines_go_out() {
    let mut client = WORLD.raw("app").await;
    let rows: String = (0..20_000).map(|n| format!("{n}\t{}\n", "x".repeat(40))).collect();
    client.query("BEGIN").recv_until_ready().await;
    client.query("COPY loud FROM STDIN");
    client.recv_until(b'G').await;
    client.copy_data(rows.as_bytes()).copy_done().send_hearing().await;
    let reply = client.recv_until_ready().await;
    assert_eq!((reply.of('N').count(), reply.commands()), (20_000, vec!["COPY 20000".to_owned()]));
    let context = reply.of('N').nth(100).and_then(|notice| notice.field('W')).unwrap_or_default();
    let got = reply.of('N').nth(100).and_then(|notice| notice.field('M')).unwrap_or_default();
    let line: i32 = got.trim_start_matches("got ").parse::<i32>().unwrap() + 1;
    assert!(context.contains(&format!("COPY loud, line {line}: ")), "{got}: {context}");
    client.query("ROLLBACK").recv_until_ready().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let mut client = WORLD.raw("app").await;
    client.query("COPY left_over FROM STDIN");
    client.recv_until(b'G').await;
    client.copy_data(data(0).as_bytes()).send().await;
    drop(client);
    crate::operation::support::soon("the copy to be undone", async || {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY left_over%' AND state <> 'idle'";
        WORLD.everywhere(sql).iter().all(|count| count == "0").then_some(())
    })
    .await;
    assert!(WORLD.everywhere("SELECT count(*) FROM left_over").iter().all(|count| count == "0"));
}

#[tokio::test]
async fn a_server_lost_in_the_middle_undoes_the_copy_everywhere() {
    let mut client = WORLD.raw("app").await;
    client.query("COPY lost FROM STDIN");
    client.recv_until(b'G').await;
    client.copy_data(data(0).as_bytes()).send().await;
    let ended = crate::operation::support::soon("a server that copies", async || {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY lost %FROM STDIN' AND state = 'active'
                   AND datname = current_database() LIMIT 1";
        (WORLD.shard(1).sql(sql) == "t").then_some(())
    });
    ended.await;
    let reply = client.copy_data(data(50).as_bytes()).copy_done().recv_until_ready().await;
    let error = reply.error().expect("an error");
    assert!(["57P01", "08006"].contains(&error.field('C').unwrap_or_default().as_str()), "{reply:?}");
    assert!(WORLD.everywhere("SELECT count(*) FROM lost").iter().all(|count| count == "0"));
    let reply = copy(&mut client, "COPY lost FROM STDIN", &[], Ending::Done, Way::Simple).await;
    assert_eq!(reply.commands(), ["COPY 0"]);
}
