//! Statements that wait while somebody else changes the tables that they were planned with.

use std::sync::LazyLock;

use shardway_tests::{Param, RawClient, SharedWorld, World};
use tokio::sync::Mutex;

use super::{ask, code};
use crate::operation::support::{key_on, pooled, show, soon};
use crate::reads::world::{Pair, Way, asked};

const SCHEMA: &str = "
CREATE TABLE turned (a int, user_id int);
CREATE TABLE poured (a int, user_id int);
CREATE TABLE sieved (a int, user_id int);
CREATE TABLE lone (a int, user_id int);
CREATE TABLE lone_unnamed (a int, user_id int);
CREATE TABLE lone_named (a int, user_id int);
CREATE TABLE lone_text (a int, user_id int);
CREATE TABLE lone_merged (a int, user_id int);
CREATE TABLE lone_with (a int, user_id int);
CREATE TABLE lone_picked (a int, user_id int);
CREATE TABLE source (user_id int, n int);
CREATE TABLE moved (a int, user_id int);
CREATE TABLE named (a int, user_id int);
CREATE TABLE spot (user_id int, a int DEFAULT 5, g int GENERATED ALWAYS AS (a * 2) STORED, t text);
CREATE TABLE \"Spöt\" (user_id int, \"Ä\" int, t text);
";

static WAITING_WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(3).schema(SCHEMA).oracle().start());

/// One changes tables at a time.
static ALONE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

/// The rows as they are found by their key.
async fn found(raw: &mut RawClient, table: &str, keys: [i32; 3]) -> Vec<String> {
    let mut rows = Vec::new();
    for key in keys {
        let sql = format!("SELECT user_id, a FROM {table} WHERE user_id = {key}");
        let reply = ask(raw, &sql).await;
        assert!(reply.error().is_none(), "{reply:?}");
        rows.extend(reply.texts().0.iter().map(|row| format!("{row:?}")));
    }
    rows
}

/// Has the first column of a table take the last place while `other` has a write under way.
async fn turn(table: &str, other: &mut RawClient) {
    let _alone = ALONE.lock().await;
    let world = &*WAITING_WORLD;
    let mut raw = world.raw("app").await;
    for sql in [
        "BEGIN".to_owned(),
        format!("ALTER TABLE {table} DROP COLUMN a"),
        format!("ALTER TABLE {table} ADD COLUMN a int"),
    ] {
        let reply = ask(&mut raw, &sql).await;
        assert!(reply.error().is_none(), "{sql}: {reply:?}");
    }
    other.send().await;
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ '\\m{table}\\M'"
    );
    soon("the write to wait", async || {
        let counted = world.server(0).sql("postgres", &waiting).expect("the activity");
        (counted != "0").then_some(())
    })
    .await;
    let reply = ask(&mut raw, "COMMIT").await;
    assert!(reply.error().is_none(), "{reply:?}");
}

const RIGHT: [&str; 3] =
    [r#"[Some("1"), Some("3")]"#, r#"[Some("3"), Some("1")]"#, r#"[Some("7"), Some("5")]"#];

#[tokio::test]
async fn rows_that_waited_for_another_order_of_columns_are_where_their_keys_say() {
    let mut writer = WAITING_WORLD.raw("app").await;
    writer.query("INSERT INTO turned VALUES (3, 1), (1, 3), (5, 7)");
    turn("turned", &mut writer).await;
    let reply = writer.recv_until_ready().await;
    assert_eq!(reply.commands(), ["INSERT 0 3"], "{reply:?}");
    assert_eq!(found(&mut writer, "turned", [1, 3, 7]).await, RIGHT);

    writer.query("COPY poured FROM STDIN");
    turn("poured", &mut writer).await;
    writer.recv_until(b'G').await;
    let reply = writer.copy_data(b"3\t1\n1\t3\n5\t7\n").copy_done().recv_until_ready().await;
    assert_eq!(reply.commands(), ["COPY 3"], "{reply:?}");
    assert_eq!(found(&mut writer, "poured", [1, 3, 7]).await, RIGHT);
}

/// A writer of `table` runs what it `says` while somebody turns the table; rows are where their keys say.
async fn turned_meanwhile(table: &str, says: impl FnOnce(&mut RawClient) -> &mut RawClient, tag: &str) {
    let mut writer = WAITING_WORLD.raw("app").await;
    says(&mut writer);
    turn(table, &mut writer).await;
    let reply = writer.recv_until_ready().await;
    assert_eq!(reply.commands().last().map(String::as_str), Some(tag), "{table}: {reply:?}");
    assert_eq!(found(&mut writer, table, [1, 2, 3]).await, [r#"[Some("1"), Some("3")]"#], "{table}");
}

#[tokio::test]
async fn a_row_for_one_shard_that_waited_for_another_order_of_columns_is_where_its_key_says() {
    let one = [Param::Text("3"), Param::Text("1")];
    turned_meanwhile("lone", |writer| writer.query("INSERT INTO lone VALUES (3, 1)"), "INSERT 0 1").await;
    let insert = "INSERT INTO lone_unnamed VALUES ($1, $2)";
    let unnamed = turned_meanwhile(
        "lone_unnamed",
        |writer| {
            let writer = writer.parse("", insert, &[]).bind("", "", &one, &[]);
            writer.describe_portal("").execute("", 0).sync()
        },
        "INSERT 0 1",
    );
    unnamed.await;
    // Both are for the shard of key 1.
    let text =
        "SELECT n FROM source WHERE user_id = 1; INSERT INTO lone_text AS l VALUES (3, 1) RETURNING l.a";
    turned_meanwhile("lone_text", |writer| writer.query(text), "INSERT 0 1").await;
    let merge = "MERGE INTO lone_merged l USING (SELECT 1 AS user_id, 3 AS a) s ON l.user_id = s.user_id \
                 WHEN NOT MATCHED THEN INSERT VALUES (s.a, s.user_id)";
    turned_meanwhile("lone_merged", |writer| writer.query(merge), "MERGE 1").await;
    let with = "WITH w AS (INSERT INTO lone_with VALUES (3, 1) RETURNING user_id) SELECT user_id FROM w";
    turned_meanwhile("lone_with", |writer| writer.query(with), "SELECT 1").await;
}

#[tokio::test]
async fn a_prepared_insert_that_waited_goes_by_the_columns_it_was_planned_by_and_then_by_the_new_ones() {
    let mut writer = WAITING_WORLD.raw("app").await;
    writer.parse("s", "INSERT INTO lone_named VALUES ($1, $2)", &[23, 23]).describe_statement("s").sync();
    let reply = writer.recv_until_ready().await;
    assert!(reply.error().is_none(), "{reply:?}");
    writer.bind("", "s", &[Param::Text("3"), Param::Text("1")], &[]).execute("", 0).sync();
    turn("lone_named", &mut writer).await;
    let reply = writer.recv_until_ready().await;
    assert_eq!(reply.commands(), ["INSERT 0 1"], "{reply:?}");
    assert_eq!(found(&mut writer, "lone_named", [1, 2, 3]).await, [r#"[Some("1"), Some("3")]"#]);
    // The columns are the other way round now, as one Postgres has it.
    writer.bind("", "s", &[Param::Text("2"), Param::Text("7")], &[]).execute("", 0).sync();
    let reply = writer.recv_until_ready().await;
    assert_eq!(reply.commands(), ["INSERT 0 1"], "{reply:?}");
    assert_eq!(found(&mut writer, "lone_named", [2, 7, 9]).await, [r#"[Some("2"), Some("7")]"#]);
}

#[tokio::test]
async fn rows_that_are_picked_on_every_shard_keep_their_keys_while_the_table_is_turned() {
    let mut writer = WAITING_WORLD.raw("app").await;
    let reply = ask(&mut writer, "INSERT INTO source VALUES (1, 3), (3, 1), (7, 5)").await;
    assert!(reply.error().is_none(), "{reply:?}");
    writer.query("INSERT INTO lone_picked SELECT n, user_id FROM source");
    turn("lone_picked", &mut writer).await;
    let reply = writer.recv_until_ready().await;
    assert_eq!(reply.commands(), ["INSERT 0 3"], "{reply:?}");
    assert_eq!(found(&mut writer, "lone_picked", [1, 3, 7]).await, RIGHT);
}

#[tokio::test]
async fn rows_that_are_sifted_by_a_copy_that_waited_are_where_their_keys_say() {
    let mut writer = WAITING_WORLD.raw("app").await;
    writer.query("COPY sieved FROM STDIN (DELIMITER ',') WHERE a < 100");
    turn("sieved", &mut writer).await;
    writer.recv_until(b'G').await;
    let reply = writer.copy_data(b"3,1\n1,3\n100,1\n5,7\n").copy_done().recv_until_ready().await;
    assert_eq!(reply.commands(), ["COPY 3"], "{reply:?}");
    assert_eq!(found(&mut writer, "sieved", [1, 3, 7]).await, RIGHT);
}

#[tokio::test]
async fn rows_without_a_list_of_columns_are_stored_as_on_one_postgres() {
    let mut pair = Pair::of(&WAITING_WORLD).await;
    for (n, sql) in [
        "INSERT INTO spot VALUES (1)",
        "INSERT INTO spot VALUES (2, 7)",
        "INSERT INTO spot VALUES (3, DEFAULT, DEFAULT, 'x') RETURNING user_id, g, t",
        "INSERT INTO public.spot AS s VALUES (4, 9, DEFAULT) RETURNING s.g",
        "INSERT INTO spot VALUES (5, 1, 2)",
        "INSERT INTO spot VALUES (5, 1), (5, 1, DEFAULT)",
        "INSERT INTO spot VALUES (5, 1, DEFAULT, 'x', 6)",
        "INSERT INTO spot OVERRIDING SYSTEM VALUE VALUES (6, 2)",
        "INSERT INTO spot SELECT 7, 8",
        "INSERT INTO spot (SELECT user_id + 1, a FROM spot WHERE user_id = 1 AND false)",
        "INSERT INTO \"Spöt\" AS \"é\" VALUES (1, 2, 'ä') RETURNING \"é\".\"Ä\"",
        "INSERT INTO spot VALUES (8, 1); INSERT INTO spot VALUES (8, 2) RETURNING g",
    ]
    .into_iter()
    .enumerate()
    {
        let way = if sql.contains(';') { Way::Simple } else { [Way::Simple, Way::Text, Way::Binary][n % 3] };
        let (got, expected) =
            (asked(&mut pair.proxy, sql, &[], way).await, asked(&mut pair.single, sql, &[], way).await);
        assert_eq!(got, expected, "{sql} by {way:?}");
    }
    pair.same("SELECT user_id, a, g, t FROM spot ORDER BY user_id, a").await;
}

#[tokio::test]
async fn errors_of_texts_that_get_a_list_are_placed_in_the_clients_own() {
    let mut pair = Pair::of(&WAITING_WORLD).await;
    for sql in [
        "INSERT INTO named VALUES ('x', 1)",
        "INSERT INTO named VALUES (1, 1, 3)",
        "INSERT INTO named VALUES (nope, 1)",
        "/* é */ INSERT INTO public . named AS ü VALUES (1, 1) RETURNING nope",
        "INSERT INTO named VALUES (1, 1), (2)",
        "INSERT INTO named VALUES (1, 1) ON CONFLICT (user_id, a) DO NOTHING",
        "INSERT INTO named SELECT 'é'::int, 1",
        "INSERT INTO \"Spöt\" VALUES (1, 'x', 'é')",
        "INSERT INTO named VALUES (1, 1); INSERT INTO named VALUES (1, 1), (now(), 1)",
        "WITH w AS (INSERT INTO named VALUES (1, 1) RETURNING user_id) SELECT nope FROM w",
        "COPY named FROM STDIN WHERE nope > 1",
        "COPY named FROM STDIN (FORMAT csv) WHERE a > 'x'",
    ] {
        for way in [Way::Simple, Way::Text] {
            if way == Way::Text && sql.contains(';') {
                continue;
            }
            let mut said = Vec::new();
            for client in [&mut pair.proxy, &mut pair.single] {
                match way {
                    Way::Simple => client.query(sql),
                    _ => client.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0).sync(),
                };
                let reply = client.recv_until_ready().await;
                let error = reply.error().unwrap_or_else(|| panic!("{sql}: {reply:?}"));
                said.push(['C', 'M', 'P'].map(|field| error.field(field)));
            }
            assert_eq!(said[0], said[1], "{sql} by {way:?}");
        }
    }
    // Which of several messages it was is known.
    let mut places = Vec::new();
    for client in [&mut pair.proxy, &mut pair.single] {
        client.parse("a", "INSERT INTO named VALUES ($1, 1)", &[]).parse("b", "SELECT $1::int", &[]);
        client.parse("c", "INSERT INTO named AS n VALUES (2, 1) RETURNING n.nope", &[]).sync();
        let reply = client.recv_until_ready().await;
        places.push(reply.error().and_then(|e| e.field('P')));
    }
    assert!(places[0].is_some() && places[0] == places[1], "{places:?}");
}

#[tokio::test]
async fn a_proxy_that_was_not_told_of_a_change_learns_of_it_by_the_first_error() {
    let world = &*WAITING_WORLD;
    let other = world.another_proxy();
    let (mut here, mut there) = (world.raw("app").await, other.raw("app").await);
    let insert = "INSERT INTO moved VALUES (3, 1)";
    assert_eq!(code(&ask(&mut there, insert).await), "");
    {
        let _alone = ALONE.lock().await;
        let reply = ask(&mut here, "ALTER TABLE moved DROP COLUMN a").await;
        assert!(reply.error().is_none(), "{reply:?}");
        let reply = ask(&mut here, "ALTER TABLE moved ADD COLUMN b int").await;
        assert!(reply.error().is_none(), "{reply:?}");
    }
    assert_eq!(code(&ask(&mut there, insert).await), "42703");
    assert_eq!(code(&ask(&mut there, insert).await), "");
    let reply = ask(&mut there, "SELECT user_id, b FROM moved WHERE user_id = 3").await;
    assert_eq!(reply.texts().0, [[Some("3".to_owned()), Some("1".to_owned())]]);
}

#[tokio::test]
async fn what_waited_for_a_server_does_not_go_where_the_rows_of_another_table_would_be() {
    let schema = "CREATE TABLE other (user_id int, n int); CREATE TABLE gave_way (user_id int, n int)";
    let config = "[server]\nauth = 'trust'\n[pool]\ndefault_pool_size = 1";
    let world = World::builder().shards(2).schema(schema).config(config).start();
    let admin = world.admin().await;
    let (mut holder, mut alone, mut several) =
        (world.raw("app").await, world.raw("app").await, world.raw("app").await);
    let keys = [0, 1].map(|shard| key_on(shard, 2));
    assert_eq!(code(&ask(&mut alone, "SELECT FROM gave_way WHERE user_id = 1").await), "");
    for sql in ["BEGIN".to_owned(), format!("INSERT INTO other VALUES ({}, 1), ({}, 1)", keys[0], keys[1])] {
        assert_eq!(code(&ask(&mut holder, &sql).await), "");
    }
    alone.query(&format!("INSERT INTO gave_way (user_id, n) VALUES ({}, 1)", keys[1])).send().await;
    let rows = format!("INSERT INTO gave_way (user_id, n) VALUES ({}, 1), ({}, 1)", keys[0], keys[1]);
    several.query(&rows).send().await;
    soon("both to wait", async || (pooled(&admin, "cl_waiting").await == 2).then_some(())).await;
    world.everywhere(
        "DROP TABLE gave_way; CREATE TABLE gave_way (\"configurationId\" int, user_id int, n int)",
    );
    admin.simple_query("RELOAD").await.expect("RELOAD");
    // The key is another one now.
    soon("the new table to be known", async || {
        let routed = show(&admin, "TABLES").await;
        routed
            .iter()
            .any(|row| row["name"] == "public.gave_way" && row["key"] == "configurationId")
            .then_some(())
    })
    .await;
    ask(&mut holder, "ROLLBACK").await;
    for client in [&mut alone, &mut several] {
        let reply = client.recv_until_ready().await;
        assert_eq!(code(&reply), "40001", "{reply:?}");
    }
    assert_eq!(code(&ask(&mut alone, &rows).await), "23502", "a row without a key");
    assert_eq!(world.everywhere("SELECT count(*) FROM gave_way"), ["0", "0"]);
}
