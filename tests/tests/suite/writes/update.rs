//! UPDATE and DELETE over several shards.

use shardway_tests::Param;

use super::pair::{WRITES_WORLD, both, holds_the_same, same};
use super::{ask, code};
use crate::reads::world::{Pair, Way};

/// Rows of `spot` and `line` for users `first` to `first + 7`.
async fn fill(pair: &mut Pair, first: i32) {
    for user in first..first + 8 {
        let spots = format!("INSERT INTO spot VALUES ({user}, 1, 'a', 1), ({user}, 2, 'b', 2)");
        pair.both(&spots).await;
        pair.both(&format!("INSERT INTO line VALUES ({user}, 1, {user}), ({user}, 2, 5)")).await;
    }
}

#[tokio::test]
async fn updates_and_deletes_over_shards_are_done_as_by_one_postgres() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    fill(&mut pair, 100).await;
    let mine = "user_id BETWEEN 100 AND 107";
    let statements = [
        format!("UPDATE spot SET n = n + 1 WHERE {mine}"),
        format!("UPDATE spot SET n = n + 1 WHERE {mine} AND id = 1 RETURNING user_id, id, n * 2 AS twice"),
        "UPDATE spot SET note = 'in' WHERE user_id IN (100, 101, 102, 103) RETURNING user_id, id, note, n".to_owned(),
        "UPDATE spot s SET n = l.qty FROM line l WHERE l.user_id = s.user_id AND l.spot_id = s.id AND l.qty < 100 AND \
         s.user_id BETWEEN 100 AND 107 RETURNING s.user_id, l.qty, s.n"
            .to_owned(),
        format!("UPDATE spot SET note = (SELECT max(qty)::text FROM line l WHERE l.user_id = spot.user_id) WHERE {mine}"),
        format!("UPDATE line SET qty = 0 WHERE user_id IN (SELECT user_id FROM spot WHERE n > 5) AND {mine} RETURNING *"),
        format!(
            "DELETE FROM line WHERE (user_id, spot_id) IN (SELECT user_id, id FROM spot WHERE id = 2) AND {mine} RETURNING qty"
        ),
        format!("DELETE FROM line l USING spot s WHERE s.user_id = l.user_id AND s.id = l.spot_id AND l.{mine}"),
        format!("DELETE FROM spot WHERE NOT EXISTS (SELECT FROM line l WHERE l.user_id = spot.user_id) AND id = 2 AND {mine}"),
        "DELETE FROM spot WHERE user_id = ANY ('{100,101,105}') RETURNING user_id, id".to_owned(),
        "UPDATE spot SET n = 1 WHERE user_id = 100 AND user_id = 101".to_owned(),
        format!("UPDATE spot SET n = 5000 WHERE {mine} AND id = 1"),
        format!("UPDATE spot SET n = 1 / 0 WHERE {mine}"),
        format!("UPDATE spot SET nothing = 1 WHERE {mine}"),
        format!("DELETE FROM spot WHERE {mine}"),
    ];
    for (n, sql) in statements.iter().enumerate() {
        for way in [[Way::Simple, Way::Binary], [Way::Text, Way::Simple]][n % 2] {
            same(&mut pair, sql, way).await;
            holds_the_same(&mut pair, &format!("(SELECT user_id, id, note, n FROM spot WHERE {mine}) x"))
                .await;
            holds_the_same(&mut pair, &format!("line WHERE {mine}")).await;
        }
    }
}

#[tokio::test]
async fn parameters_and_formats_are_as_with_one_postgres() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    fill(&mut pair, 200).await;
    let sql =
        "UPDATE spot SET note = $1 WHERE n >= $2 AND user_id BETWEEN 200 AND 207 RETURNING user_id, note, n";
    for way in [Way::Text, Way::Binary] {
        both(&mut pair, sql, &[Param::Text("x"), Param::Binary(&2i32.to_be_bytes())], way, false).await;
    }
    let sql = "DELETE FROM spot WHERE user_id = ANY ($1) AND id = $2 RETURNING id";
    both(&mut pair, sql, &[Param::Text("{200,201,202}"), Param::Text("1")], Way::Binary, false).await;
    // Described before it is bound, run twice, its portals closed.
    for client in [&mut pair.proxy, &mut pair.single] {
        let sql = "UPDATE spot SET n = $1 WHERE user_id BETWEEN 200 AND 207 AND id = 2 RETURNING n";
        client.parse("u", sql, &[]).describe_statement("u").sync();
        assert_eq!(client.recv_until_ready().await.tags(), "1tTZ");
        for _ in 0..2 {
            client.bind("", "u", &[Param::Text("4")], &[1]).execute("", 0).close_portal("").sync();
            assert_eq!(client.recv_until_ready().await.tags(), "2DDDDDDDDC3Z");
        }
        client.bind("", "u", &[Param::Text("many")], &[]).describe_portal("").execute("", 0).sync();
        let failed = client.recv_until_ready().await;
        assert_eq!((code(&failed).as_str(), failed.status()), ("22P02", 'I'), "{failed:?}");
        client.parse("", "DELETE FROM spot WHERE user_id BETWEEN 200 AND 207", &[]).bind("", "", &[], &[]);
        let gone = client.describe_portal("").execute("", 0).sync().recv_until_ready().await;
        assert_eq!(gone.tags(), "12nCZ");
    }
}

#[tokio::test]
async fn an_error_on_one_shard_undoes_all() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    fill(&mut pair, 300).await;
    pair.both("UPDATE spot SET n = 999 WHERE user_id = 304 AND id = 1").await;
    for way in [Way::Simple, Way::Text] {
        let sql = "UPDATE spot SET n = n + 1 WHERE user_id BETWEEN 300 AND 307 RETURNING n";
        let said = same(&mut pair, sql, way).await;
        assert_eq!(said.0.unwrap_err().0, "23514");
        holds_the_same(&mut pair, "(SELECT user_id, id, n FROM spot WHERE user_id BETWEEN 300 AND 307) x")
            .await;
    }
    for client in [&mut pair.proxy, &mut pair.single] {
        // A text of several statements, and a batch, are one transaction each.
        let sql =
            "UPDATE spot SET n = 3 WHERE user_id IN (300, 301); UPDATE spot SET n = 1001 WHERE user_id = 304";
        assert_eq!(code(&ask(client, sql).await), "23514");
        client.parse("", "UPDATE spot SET n = 3 WHERE user_id BETWEEN 300 AND 307", &[]).bind(
            "",
            "",
            &[],
            &[],
        );
        client.execute("", 0).parse("", "UPDATE spot SET n = 1001 WHERE user_id = 304", &[]).bind(
            "",
            "",
            &[],
            &[],
        );
        assert_eq!(code(&client.execute("", 0).sync().recv_until_ready().await), "23514");
        // And so is a block, but for what stands before a savepoint.
        ask(client, "BEGIN").await;
        ask(client, "UPDATE spot SET n = 50 WHERE user_id BETWEEN 300 AND 303").await;
        ask(client, "SAVEPOINT s").await;
        let failed = ask(client, "UPDATE spot SET n = n + 1 WHERE user_id BETWEEN 300 AND 307").await;
        assert_eq!((code(&failed).as_str(), failed.status()), ("23514", 'E'));
        assert_eq!(code(&ask(client, "DELETE FROM spot WHERE user_id < 308").await), "25P02");
        ask(client, "ROLLBACK TO s").await;
        let done =
            ask(client, "UPDATE spot SET n = n + 1 WHERE user_id IN (300, 301, 302) RETURNING id").await;
        assert_eq!((done.tags().as_str(), done.status()), ("TDDDDDDCZ", 'T'));
        assert_eq!(ask(client, "COMMIT").await.commands(), ["COMMIT"]);
    }
    holds_the_same(&mut pair, "(SELECT user_id, id, n FROM spot WHERE user_id BETWEEN 300 AND 307) x").await;
    pair.both("DELETE FROM spot WHERE user_id BETWEEN 300 AND 307").await;
    pair.both("DELETE FROM line WHERE user_id BETWEEN 300 AND 307").await;
}

#[tokio::test]
async fn the_clock_is_the_same_on_every_shard() {
    let world = &*WRITES_WORLD;
    let mut raw = world.raw("app").await;
    let keys: Vec<String> = (400..440).map(|user| format!("({user})")).collect();
    let calls = [
        "now()",
        "CURRENT_TIMESTAMP(2)",
        "transaction_timestamp() - interval '1 day'",
        "LOCALTIMESTAMP",
        "statement_timestamp()",
    ];
    for call in calls {
        let made = ask(&mut raw, &format!("INSERT INTO stamp (user_id) VALUES {}", keys.join(", "))).await;
        assert_eq!(made.commands(), ["INSERT 0 40"], "{made:?}");
        for change in [None, Some(format!("UPDATE stamp SET at = {call} WHERE user_id BETWEEN 400 AND 439"))]
        {
            if let Some(sql) = change {
                assert_eq!(ask(&mut raw, &sql).await.commands(), ["UPDATE 40"], "{sql}");
            }
            let seen =
                ask(&mut raw, "SELECT at FROM stamp WHERE user_id BETWEEN 400 AND 439 GROUP BY at").await;
            assert_eq!(seen.of('D').count(), 1, "{call}: {seen:?}");
        }
        ask(&mut raw, "DELETE FROM stamp WHERE user_id BETWEEN 400 AND 439").await;
    }
    // In a transaction it is the same for all of its statements that several shards run, and that of the first server.
    ask(&mut raw, "BEGIN").await;
    let one = ask(&mut raw, "INSERT INTO stamp (user_id, k) VALUES (400, 1) RETURNING at").await.texts();
    let all = ask(&mut raw, "INSERT INTO stamp (user_id, day, k) VALUES (401, DEFAULT, 1), (402, DEFAULT, 2), (403, '2024-01-01', 3), \
                             (404, current_date, 4) RETURNING at").await;
    assert!(all.texts().0.iter().all(|row| *row == one.0[0]), "{one:?} and then {all:?}");
    let updated =
        ask(&mut raw, "UPDATE stamp SET at = now() WHERE user_id BETWEEN 400 AND 404 RETURNING at").await;
    assert!(updated.texts().0.iter().all(|row| *row == one.0[0]), "{one:?} and then {updated:?}");
    ask(&mut raw, "ROLLBACK").await;
    let refused = ask(&mut raw, "UPDATE stamp SET at = 'now'").await;
    assert_eq!(code(&refused), "0A000");
    let unnamed = ask(&mut raw, "UPDATE stamp SET k = 1 RETURNING now()").await;
    assert_eq!(code(&unnamed), "0A000");
    assert_eq!(code(&ask(&mut raw, "UPDATE stamp SET k = 1 RETURNING now() AS now").await), "");
}

#[tokio::test]
async fn what_is_not_right_on_each_shard_by_itself_is_refused() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    for sql in [
        "UPDATE spot SET n = (SELECT count(*) FROM line)",
        "UPDATE spot SET n = l.qty FROM line l WHERE l.spot_id = spot.id",
        "DELETE FROM spot WHERE id IN (SELECT spot_id FROM line)",
        "DELETE FROM spot WHERE user_id IN (SELECT user_id FROM line ORDER BY qty LIMIT 1)",
        "UPDATE spot SET n = (SELECT id FROM plain LIMIT 1)",
        "UPDATE spot SET note = (SELECT random()::text)",
        "UPDATE spot SET n = 1 RETURNING ctid",
        "UPDATE spot SET note = current_database()",
    ] {
        pair.refused(sql).await;
    }
}
