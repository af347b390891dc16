//! ORDER BY, LIMIT and OFFSET over groups, and what happens when there are too many of them.

use shardway_tests::{Param, World};

use super::world::{Pair, SALES_WORLD, said};

#[tokio::test]
async fn groups_are_ordered_as_postgres_orders_them() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for column in ["a", "s", "big", "c", "v", "u", "b", "d", "ts", "tz", "tm", "y", "o"] {
        for direction in ["", "DESC", "NULLS FIRST", "DESC NULLS LAST"] {
            let order = format!("{column} {direction}");
            pair.same(&format!("SELECT {column}, count(*) FROM sale GROUP BY {column} ORDER BY {order}"))
                .await;
        }
        pair.same(&format!("SELECT count(*) FROM sale GROUP BY {column} ORDER BY {column}")).await;
        pair.same(&format!("SELECT DISTINCT {column} FROM sale ORDER BY 1 LIMIT 3")).await;
    }
}

#[tokio::test]
async fn groups_are_ordered_by_their_aggregates() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for aggregate in [
        "count(*)",
        "sum(a)",
        "avg(a)",
        "sum(big)",
        "avg(num)",
        "max(price)",
        "min(c)",
        "max(ts)",
        "bool_or(b)",
        "bit_xor(a)",
        "sum(price)",
        "min(d)",
        "max(f)",
    ] {
        for direction in ["", "DESC", "DESC NULLS LAST"] {
            let groups = "FROM sale WHERE f <> 0 OR f IS NULL GROUP BY user_id ORDER BY";
            for sql in [
                format!("SELECT user_id, {aggregate} {groups} {aggregate} {direction}, user_id"),
                format!("SELECT user_id, {aggregate} AS x {groups} x {direction}, 1 LIMIT 5"),
                format!("SELECT user_id, {aggregate} {groups} 2 {direction}, user_id DESC OFFSET 70"),
                format!("SELECT user_id {groups} {aggregate} {direction}, user_id LIMIT 7"),
            ] {
                pair.same(&sql).await;
            }
        }
    }
}

#[tokio::test]
async fn limit_and_offset_count_combined_groups() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for cut in [
        "LIMIT 5",
        "LIMIT 0",
        "LIMIT 1000",
        "OFFSET 3",
        "LIMIT 4 OFFSET 9",
        "OFFSET 9 LIMIT 4",
        "OFFSET 1000",
        "LIMIT ALL OFFSET 2",
        "LIMIT NULL",
    ] {
        pair.same(&format!("SELECT user_id, count(*) FROM sale GROUP BY user_id ORDER BY user_id {cut}"))
            .await;
    }
    let sql = "SELECT a, count(*) FROM sale GROUP BY a ORDER BY count(*) DESC, a LIMIT $1 OFFSET $2";
    for (limit, offset) in [("3", "0"), ("2", "2"), ("-1", "0"), ("1", "-1"), ("0", "5")] {
        pair.same_with(sql, &[Param::Text(limit), Param::Text(offset)]).await;
    }
    pair.same_with(sql, &[Param::Null, Param::Text("2")]).await;
    let any = pair.proxy.query("SELECT a FROM sale GROUP BY a LIMIT 3").recv_until_ready().await;
    assert_eq!(any.rows().len(), 3);
}

#[tokio::test]
async fn an_order_of_groups_that_only_postgres_knows_is_gathered() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for sql in [
        "SELECT t, count(*) FROM sale GROUP BY t ORDER BY t",
        "SELECT e, count(*) FROM sale GROUP BY e ORDER BY e",
        "SELECT s, count(*) FROM sale GROUP BY s ORDER BY s + 1",
        "SELECT s, count(*) FROM sale GROUP BY s ORDER BY sum(s + 1), s",
        "SELECT a, count(*) FROM sale GROUP BY a ORDER BY count(DISTINCT s), a",
    ] {
        pair.same(sql).await;
    }
    for sql in [
        "SELECT a AS x, s AS x FROM sale GROUP BY a, s ORDER BY x",
        "SELECT a FROM sale GROUP BY a ORDER BY user_id",
        "SELECT DISTINCT a FROM sale ORDER BY s",
        "SELECT DISTINCT a FROM sale ORDER BY count(*)",
    ] {
        pair.same_with(sql, &[]).await;
    }
}

#[tokio::test]
async fn more_groups_than_may_be_held_are_an_error_and_the_session_goes_on() {
    let world = World::builder()
        .shards(3)
        .schema("CREATE TABLE t (user_id int, x text)")
        .config("[routing]\ngather_max_bytes = '1MiB'")
        .start();
    world.shards().for_each(|shard| {
        drop(shard.sql("INSERT INTO t SELECT g, repeat('x', 100) || g FROM generate_series(1, 20000) g"));
    });
    let mut client = world.raw("app").await;
    let many = "SELECT x, count(*) FROM t GROUP BY x";
    for sql in [many, "SELECT DISTINCT x FROM t"] {
        let (code, message) = said(&client.query(sql).recv_until_ready().await).unwrap_err();
        assert_eq!(code, "54000", "{message}");
        let reply = client.query("SELECT count(*), sum(user_id) FROM t").recv_until_ready().await;
        assert_eq!(reply.texts(), [[Some("60000"), Some("600030000")]]);
    }
    client.query("BEGIN").recv_until_ready().await;
    let reply = client.query(many).recv_until_ready().await;
    assert_eq!(reply.status(), 'E', "{reply:?}");
    assert_eq!(client.query("ROLLBACK").recv_until_ready().await.status(), 'I');
}

#[tokio::test]
async fn a_shards_error_is_the_statements() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for sql in [
        "SELECT sum(1 / (a - 3::int8)) FROM sale",
        "SELECT count(1 / (a - 3::int8)) FROM sale",
        "SELECT sum(nosuch) FROM sale",
    ] {
        let (proxy, single) =
            (pair.proxy.query(sql).recv_until_ready().await, pair.single.query(sql).recv_until_ready().await);
        assert_eq!(said(&proxy).unwrap_err(), said(&single).unwrap_err(), "{sql}");
        pair.same("SELECT count(*) FROM sale").await;
    }
    let sql = "SELECT sum(big * 2) FROM sale";
    let reply = pair.proxy.query(sql).recv_until_ready().await;
    assert_eq!(said(&reply).unwrap_err(), ("22003".to_owned(), "bigint out of range".to_owned()));
}

#[tokio::test]
async fn transactions_and_named_statements_combine_too() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    pair.both("BEGIN").await;
    pair.same("SELECT b, count(*) FROM sale GROUP BY b").await;
    pair.both("INSERT INTO item VALUES (1, 1, 1, 'new')").await;
    pair.same("SELECT note, count(*) FROM item GROUP BY note").await;
    pair.both("ROLLBACK").await;
    pair.same("SELECT note, count(*) FROM item GROUP BY note").await;
    for client in [&mut pair.proxy, &mut pair.single] {
        let sql = "SELECT b, count(*) AS n FROM sale WHERE a > $1 GROUP BY b ORDER BY n, b";
        client.parse("named", sql, &[23]).describe_statement("named").sync();
        let described = client.recv_until_ready().await;
        assert_eq!(described.tags(), "1tTZ");
        assert_eq!(described.of('T').next().unwrap().columns(), [("b".into(), 16), ("n".into(), 20)]);
    }
    for n in ["1", "2"] {
        let mut answers = Vec::new();
        for client in [&mut pair.proxy, &mut pair.single] {
            client.bind("", "named", &[Param::Text(n)], &[0, 1]).execute("", 0).sync();
            answers.push(said(&client.recv_until_ready().await));
        }
        assert_eq!(answers[0], answers[1]);
    }
}
