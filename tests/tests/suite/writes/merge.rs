//! MERGE over several shards: where each shard can do its part by itself, it does what one Postgres does.

use shardway_tests::{Param, SharedWorld, World};

use super::pair::{both, holds_the_same, same};
use crate::reads::world::{Pair, Way};

const SCHEMA: &str = "
CREATE TABLE stock (user_id int, id int, n int CHECK (n < 1000), t text, PRIMARY KEY (user_id, id));
CREATE TABLE change (user_id int, id int, n int, what text);
CREATE TABLE rate (id int PRIMARY KEY, factor int);
CREATE TABLE serials (user_id int, id serial, n int);
";

static WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start());

#[tokio::test]
async fn each_shard_merges_its_rows() {
    let world = &*WORLD;
    let mut pair = Pair::of(world).await;
    for user in 1..=12 {
        pair.both(&format!("INSERT INTO stock VALUES ({user}, 1, {user}, 'a'), ({user}, 2, 5, 'b')")).await;
        pair.both(&format!(
            "INSERT INTO change VALUES ({user}, 1, 3, 'add'), ({user}, {}, 7, 'set')",
            user % 4 + 2
        ))
        .await;
    }
    pair.both("INSERT INTO rate VALUES (1, 10), (2, 20)").await;
    let whole = "MERGE INTO stock s USING change c ON s.user_id = c.user_id AND s.id = c.id";
    let statements = [
        format!("{whole} WHEN MATCHED THEN UPDATE SET n = s.n + c.n WHEN NOT MATCHED THEN INSERT (user_id, id, n) VALUES (c.user_id, c.id, c.n)"),
        format!("{whole} WHEN MATCHED AND c.what = 'add' THEN DELETE WHEN MATCHED THEN UPDATE SET t = c.what, n = 1"),
        format!("{whole} WHEN NOT MATCHED AND c.n > 3 THEN INSERT VALUES (c.user_id, c.id, c.n, 'new') WHEN MATCHED THEN DO NOTHING"),
        "MERGE INTO stock USING (SELECT user_id AS u, id, n FROM change WHERE what = 'set') AS c ON u = stock.user_id AND \
         stock.id = c.id WHEN MATCHED THEN UPDATE SET n = c.n WHEN NOT MATCHED THEN INSERT (id, user_id) VALUES (c.id, c.u)"
            .to_owned(),
        "MERGE INTO stock s USING rate r ON s.id = r.id WHEN MATCHED THEN UPDATE SET n = s.n + r.factor".to_owned(),
        "MERGE INTO stock s USING (SELECT 40 AS user_id, 1 AS id) c ON s.user_id = c.user_id AND s.id = c.id WHEN MATCHED THEN \
         UPDATE SET n = 2 WHEN NOT MATCHED THEN INSERT VALUES (c.user_id, c.id, 1, 'one')"
            .to_owned(),
        "MERGE INTO stock s USING (SELECT 40 AS user_id, 1 AS id) c ON s.user_id = c.user_id AND s.id = c.id WHEN MATCHED THEN \
         DELETE"
            .to_owned(),
        format!("{whole} WHEN MATCHED THEN UPDATE SET n = 5000"),
        format!("{whole} WHEN NOT MATCHED THEN INSERT (user_id, id, n) VALUES (c.user_id, 1, c.n)"),
        "MERGE INTO stock s USING change c ON s.user_id = c.user_id WHEN MATCHED THEN UPDATE SET n = c.n".to_owned(),
    ];
    for (n, sql) in statements.iter().enumerate() {
        same(&mut pair, sql, [Way::Simple, Way::Text][n % 2]).await;
        holds_the_same(&mut pair, "stock").await;
    }
    let sql = "MERGE INTO stock s USING (SELECT $1::int AS user_id, $2::int AS id) c ON s.user_id = c.user_id AND s.id = c.id \
               WHEN MATCHED THEN UPDATE SET n = s.n + 1 WHEN NOT MATCHED THEN INSERT VALUES (c.user_id, c.id, 1, 'p')";
    for _ in 0..2 {
        both(&mut pair, sql, &[Param::Text("77"), Param::Text("1")], Way::Text, false).await;
        holds_the_same(&mut pair, "stock").await;
    }
}

#[tokio::test]
async fn what_one_shard_cannot_do_by_itself_is_refused() {
    let world = &*WORLD;
    let mut pair = Pair::of(world).await;
    for sql in [
        "MERGE INTO stock s USING change c ON s.id = c.id WHEN MATCHED THEN DELETE",
        "MERGE INTO stock s USING change c ON s.user_id = c.n WHEN MATCHED THEN DELETE",
        "MERGE INTO stock s USING change c ON s.user_id = c.user_id WHEN MATCHED THEN UPDATE SET user_id = 5",
        "MERGE INTO stock s USING change c ON s.user_id = c.user_id WHEN NOT MATCHED THEN INSERT VALUES (c.id, 1, 1, 'x')",
        "MERGE INTO stock s USING change c ON s.user_id = c.user_id WHEN NOT MATCHED THEN INSERT VALUES (5, 1, 1, 'x')",
        "MERGE INTO stock s USING rate r ON s.user_id = r.id WHEN NOT MATCHED THEN INSERT VALUES (r.id, 1, 1, 'x')",
        "MERGE INTO stock s USING (SELECT user_id, id FROM change LIMIT 3) c ON s.user_id = c.user_id WHEN MATCHED THEN DELETE",
        "MERGE INTO stock s USING (SELECT a.user_id FROM change a JOIN change b ON a.id = b.id) c ON s.user_id = c.user_id WHEN \
         MATCHED THEN DELETE",
        "MERGE INTO stock s USING (VALUES (1, 2), (3, 4)) c (u, i) ON s.user_id = c.u WHEN NOT MATCHED THEN INSERT VALUES (c.u, 1, 1, 'x')",
        "MERGE INTO rate r USING change c ON r.id = c.id WHEN MATCHED THEN DELETE",
        "MERGE INTO stock s USING change c ON s.user_id = c.user_id WHEN MATCHED AND (SELECT count(*) FROM change) > 1 THEN DELETE",
        "MERGE INTO serials s USING change c ON s.user_id = c.user_id WHEN NOT MATCHED THEN INSERT (user_id) VALUES (c.user_id)",
    ] {
        pair.refused(sql).await;
    }
}
