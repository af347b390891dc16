//! Types of one's own have other object ids on each shard; clients see those of the shard that answers questions about
//! catalogs, in descriptions and in binary values, whichever shard a row or a parameter is of.
//!
//! The servers are made so that ids do not only differ: what is one type's on one shard is another's on the next.

use std::{env, path::Path};

use bytes::Bytes;
use shardway_tests::{Message, PASSWORD, Param, Program, RawClient, Reply, SharedWorld, World};

const SCHEMA: &str = r#"
DO $$ BEGIN
    IF current_database() ~ '2$' THEN
        CREATE TYPE burnt AS ENUM ('a', 'b', 'c', 'd', 'e', 'f', 'g');
        DROP TYPE burnt;
    END IF;
    IF current_database() ~ '1$' THEN CREATE TYPE hue AS ENUM ('red', 'green', 'blue'); END IF;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    IF current_database() !~ '1$' THEN CREATE TYPE hue AS ENUM ('red', 'green', 'blue'); END IF;
END $$;
CREATE TYPE spot AS (x int, m mood, hs hue[]);
CREATE DOMAIN moods AS mood[];
CREATE TYPE span AS RANGE (subtype = spot);
CREATE TABLE kept (user_id int PRIMARY KEY, m mood, h hue, ms mood[], s spot, ss spot[], d moods, r span);
CREATE TABLE written (user_id int PRIMARY KEY, m mood, h hue, ms mood[], s spot, ss spot[], d moods, r span);
CREATE TABLE label (m mood PRIMARY KEY, h hue[]);
"#;

/// What `kept` has in each row, without its key.
const VALUES: &str = "'ok'::mood, 'blue'::hue, '{ok,NULL,sad}'::mood[], '(1,ok,\"{red,NULL}\")'::spot, \
    ARRAY['(1,happy,\"{blue,green}\")', NULL, '(,,)']::spot[], '{happy}'::moods, \
    span('(1,ok,{red})', '(2,sad,{})')";

const COLUMNS: &str = "m, h, ms, s, ss, d, r";

/// Keys of rows, on every shard.
const KEYS: std::ops::Range<i32> = 1..25;

static WORLD: SharedWorld = SharedWorld::new(|| {
    let world = World::builder().shards(3).servers(3).schema(SCHEMA).start();
    let ids = |name: &str| -> Vec<String> {
        world.shards().map(|shard| shard.sql(&format!("SELECT '{name}'::regtype::oid"))).collect()
    };
    let (moods, hues) = (ids("mood"), ids("hue"));
    assert_eq!((&moods[0], &moods[1]), (&hues[1], &hues[0]), "the shards were not made as meant");
    assert_ne!(moods[0], moods[2]);
    let filling = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = world.raw("app").await;
            for key in KEYS {
                told(&mut client, &format!("INSERT INTO kept VALUES ({key}, {VALUES})")).await;
            }
            told(&mut client, "INSERT INTO label VALUES ('ok', '{red}'), ('sad', '{blue,green}')").await;
        });
    };
    std::thread::scope(|scope| scope.spawn(filling).join().unwrap());
    for shard in world.shards() {
        assert_ne!(shard.sql("SELECT count(*) FROM kept"), "0", "no rows on {}", shard.database());
    }
    world
});

async fn told(client: &mut RawClient, sql: &str) -> Reply {
    let reply = client.query(sql).recv_until_ready().await;
    assert!(reply.error().is_none(), "{sql}: {reply:?}");
    reply
}

/// A client of the shard whose ids clients see.
async fn first(world: &World) -> RawClient {
    let shard = world.shard(0);
    let mut client = RawClient::connect(shard.primary().port()).await;
    client.login("app", shard.database(), PASSWORD).await;
    client
}

/// A statement's parameters and columns as they are described.
async fn described(client: &mut RawClient, sql: &str) -> Vec<Message> {
    let reply = client.parse("", sql, &[]).describe_statement("").sync().recv_until_ready().await;
    assert!(reply.error().is_none(), "{sql}: {reply:?}");
    reply.iter().filter(|message| matches!(message.tag, b't' | b'T' | b'n')).cloned().collect()
}

/// The rows that a statement gives in binary, asked for in one batch.
async fn binary(client: &mut RawClient, sql: &str, params: &[Param<'_>]) -> Vec<Vec<Option<Bytes>>> {
    let reply = client.parse("", sql, &[]).bind("", "", params, &[1]).execute("", 0).sync();
    let reply = reply.recv_until_ready().await;
    assert!(reply.error().is_none(), "{sql}: {reply:?}");
    reply.rows()
}

/// What each row has behind its key, in binary, in the ids that clients see.
async fn expected() -> Vec<Option<Bytes>> {
    binary(&mut first(&WORLD).await, &format!("SELECT {VALUES}"), &[]).await.remove(0)
}

#[tokio::test]
async fn rows_and_parameters_are_described_alike_by_all_shards() {
    let (mut client, mut first) = (WORLD.raw("app").await, first(&WORLD).await);
    for sql in [
        "SELECT * FROM kept WHERE user_id = $1",
        "UPDATE kept SET m = $2, s = $3, ss = $4, ms = $5, r = $6 WHERE user_id = $1 RETURNING *",
        "SELECT k.s, (k.s).hs, k, ROW(k.m), l.h FROM kept k JOIN label l USING (m) WHERE k.user_id = $1",
        "SELECT m, h, ms, s, ss, d, r FROM kept ORDER BY user_id",
    ] {
        let expected = described(&mut first, sql).await;
        for _ in 0..6 {
            assert_eq!(described(&mut client, sql).await, expected, "{sql}");
        }
        for shard in 0..3 {
            let placed = format!("/* shard: {shard} */ {sql}");
            assert_eq!(described(&mut client, &placed).await, expected, "{placed}");
        }
    }
    // In simple protocol, and where shards are merged or gathered.
    let columns = |reply: &Reply| reply.of('T').next().unwrap().columns();
    for sql in [
        "SELECT * FROM kept ORDER BY user_id",
        "SELECT * FROM kept",
        "SELECT m, count(*) FROM kept GROUP BY m",
        "SELECT max(m), array_agg(h ORDER BY user_id), count(DISTINCT s) FROM kept",
        "SELECT a.ss, b.r FROM kept a JOIN kept b ON a.user_id = b.user_id + 1 ORDER BY a.user_id",
        "SELECT DISTINCT d, s FROM kept",
        "SELECT * FROM label",
    ] {
        let (got, expected) = (told(&mut client, sql).await, told(&mut first, sql).await);
        assert_eq!(columns(&got), columns(&expected), "{sql}");
    }
    for key in KEYS {
        let sql = format!("SELECT * FROM kept WHERE user_id = {key}");
        let (got, expected) = (told(&mut client, &sql).await, told(&mut first, &sql).await);
        assert_eq!(got.of('T').next(), expected.of('T').next(), "{sql}");
    }
}

#[tokio::test]
async fn binary_values_are_the_same_from_whichever_shard() {
    let mut client = WORLD.raw("app").await;
    let expected = expected().await;
    let select = format!("SELECT {COLUMNS} FROM kept WHERE user_id = $1");
    client.parse("named", &select, &[23]).sync().recv_until_ready().await;
    for key in KEYS {
        let bytes = key.to_be_bytes();
        let text = key.to_string();
        // Undescribed, described as a portal, and of a statement that was described on another shard, if at all.
        assert_eq!(
            binary(&mut client, &select, &[Param::Text(&text)]).await,
            std::slice::from_ref(&expected)
        );
        let reply = client.parse("", &select, &[]).bind("", "", &[Param::Text(&text)], &[1]);
        let reply = reply.describe_portal("").execute("", 0).sync().recv_until_ready().await;
        assert_eq!((reply.tags(), reply.rows()), ("12TDCZ".into(), vec![expected.clone()]));
        let reply = client.bind("", "named", &[Param::Binary(&bytes)], &[1]).execute("", 0).sync();
        let reply = reply.recv_until_ready().await;
        assert_eq!((reply.tags(), reply.rows()), ("2DCZ".into(), vec![expected.clone()]));
        // Some columns alone, the others in text.
        let reply = client.bind("", "named", &[Param::Binary(&bytes)], &[0, 0, 0, 1, 0, 0, 0]);
        let rows = reply.execute("", 0).sync().recv_until_ready().await.rows();
        assert_eq!((&rows[0][3], rows[0][2].as_deref()), (&expected[3], Some(&b"{ok,NULL,sad}"[..])));
        if key == 5 {
            client.describe_statement("named").sync().recv_until_ready().await;
        }
    }
}

#[tokio::test]
async fn values_that_shards_bring_together_are_in_one_set_of_ids() {
    let mut client = WORLD.raw("app").await;
    let expected = expected().await;
    let count = KEYS.len();
    for sql in [
        format!("SELECT {COLUMNS} FROM kept"),
        format!("SELECT {COLUMNS} FROM kept ORDER BY user_id DESC"),
        format!("SELECT {COLUMNS} FROM kept ORDER BY m, user_id LIMIT 100"),
        format!("/* all */ UPDATE kept SET user_id = user_id RETURNING {COLUMNS}")
            .replace("/* all */ ", "")
            .replace("user_id = user_id", "m = m"),
    ] {
        assert_eq!(binary(&mut client, &sql, &[]).await, vec![expected.clone(); count], "{sql}");
    }
    for sql in [
        "SELECT DISTINCT ms, s, ss FROM kept",
        "SELECT (array_agg(ms))[1:3], (array_agg(s))[1], max(ss) FROM kept WHERE user_id > 0",
        "SELECT ROW(m, h, ROW(s)) FROM kept WHERE user_id = 3",
        "SELECT ARRAY[ROW(m), ROW(h)] FROM kept ORDER BY user_id LIMIT 1",
    ] {
        let one = format!("WITH kept(user_id, {COLUMNS}) AS (VALUES (3, {VALUES}))");
        let of_one = sql.replace("WHERE user_id > 0", "");
        let first = &mut first(&WORLD).await;
        let expected = if sql.contains("array_agg") {
            let three = format!("{one}, three AS (SELECT k.* FROM kept k, generate_series(1, 3))");
            binary(first, &format!("{three} {}", of_one.replace("kept", "three")), &[]).await
        } else {
            binary(first, &format!("{one} {of_one}"), &[]).await
        };
        let got = binary(&mut client, sql, &[]).await;
        assert_eq!(got, expected, "{sql}");
    }
}

#[tokio::test]
async fn portals_and_cursors_give_them_too() {
    let mut client = WORLD.raw("app").await;
    let expected = expected().await;
    for sql in
        [format!("SELECT {COLUMNS} FROM kept WHERE user_id = 4"), format!("SELECT {COLUMNS} FROM kept")]
    {
        told(&mut client, "BEGIN").await;
        client.parse("", &sql, &[]).bind("p", "", &[], &[1]).execute("p", 1).sync();
        let reply = client.recv_until_ready().await;
        assert_eq!(reply.rows(), std::slice::from_ref(&expected), "{sql}: {reply:?}");
        // In a batch of its own.
        let reply = client.execute("p", 1).sync().recv_until_ready().await;
        assert!(
            reply.error().is_none() && reply.rows().iter().all(|row| *row == expected),
            "{sql}: {reply:?}"
        );
        told(&mut client, "COMMIT").await;
    }
    told(&mut client, "BEGIN").await;
    told(&mut client, &format!("DECLARE c BINARY CURSOR FOR SELECT {COLUMNS} FROM kept WHERE user_id = 7"))
        .await;
    assert_eq!(told(&mut client, "FETCH ALL FROM c").await.rows(), std::slice::from_ref(&expected));
    told(&mut client, "COMMIT").await;
}

#[tokio::test]
async fn parameters_mean_the_same_on_every_shard() {
    let (mut client, mut first) = (WORLD.raw("app").await, first(&WORLD).await);
    let expected = expected().await;
    let insert = format!("INSERT INTO written (user_id, {COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
    let types = described(&mut first, &insert).await[0].body[2..]
        .chunks(4)
        .map(|oid| u32::from_be_bytes(oid.try_into().unwrap()))
        .collect::<Vec<_>>();
    let select = format!("SELECT {COLUMNS} FROM written WHERE user_id = $1");
    client.parse("told", &insert, &types).parse("untold", &insert, &[23]).sync().recv_until_ready().await;
    let mut key = 100i32;
    for declared in [&types[..], &[], &[23]] {
        for _ in 0..12 {
            let id = key.to_be_bytes();
            let mut params = vec![Param::Binary(&id)];
            params.extend(expected.iter().map(|value| value.as_deref().map_or(Param::Null, Param::Binary)));
            let reply = match key % 3 {
                0 => client.parse("", &insert, declared).bind("", "", &params, &[]),
                1 => client.bind("", "told", &params, &[]),
                _ => client.bind("", "untold", &params, &[]),
            };
            let reply = reply.execute("", 0).sync().recv_until_ready().await;
            assert_eq!(reply.commands(), ["INSERT 0 1"], "{key}: {reply:?}");
            let read = binary(&mut client, &select, &[Param::Text(&key.to_string())]).await;
            assert_eq!(read, std::slice::from_ref(&expected), "{key}");
            key += 1;
        }
    }
    let texts: Vec<String> =
        WORLD.shards().map(|shard| shard.sql(&format!("SELECT DISTINCT {COLUMNS} FROM written"))).collect();
    assert_eq!(texts, vec![WORLD.shard(0).sql(&format!("SELECT {VALUES}")); 3]);
    // Over all shards, and of a type that is declared and not the one that is meant.
    let all = "SELECT count(*) FROM kept WHERE s = $1::spot AND ms = $2 AND m = $3";
    let params: Vec<Param<'_>> =
        [3, 2, 0].map(|n: usize| Param::Binary(expected[n].as_deref().unwrap())).into();
    for declared in [&[][..], &[types[4], types[3], types[1]]] {
        let reply = client.parse("", all, declared).bind("", "", &params, &[0]).execute("", 0).sync();
        assert_eq!(reply.recv_until_ready().await.texts(), [[Some("24")]]);
    }
    for (sql, declared) in [("SELECT m FROM kept WHERE user_id = 1 AND m = $1", types[2])] {
        for key in KEYS {
            let sql = sql.replace("= 1", &format!("= {key}"));
            let mut said = Vec::new();
            for client in [&mut client, &mut first] {
                let reply = client.parse("", &sql, &[declared]).sync().recv_until_ready().await;
                let error = reply.error().expect("another type was taken");
                said.push((error.field('C'), error.field('M')));
            }
            assert_eq!(said[0], said[1], "{sql}");
        }
    }
}

#[tokio::test]
async fn an_error_in_front_of_parameters_that_wait_is_told_as_it_came() {
    let mut client = WORLD.raw("app").await;
    let value = expected().await[3].clone().unwrap();
    for key in KEYS {
        // What the value is taken for has to be asked first, and that fails.
        let sql = format!("SELECT x FROM kept WHERE user_id = {key} AND s = $1::spot");
        let params = [Param::Binary(&value)];
        client.parse("", &sql, &[]).bind("", "", &params, &[1]).execute("", 0).sync();
        let reply = client.recv_until_ready().await;
        assert_eq!(
            (reply.tags().as_str(), reply.error().unwrap().field('C').unwrap().as_str()),
            ("EZ", "42703")
        );
        let sql = format!("SELECT user_id FROM kept WHERE user_id = {key} AND s = $1::spot");
        client.parse("", &sql, &[]).bind("", "", &params, &[0]).execute("", 0).sync();
        client.parse("", "SELECT 1/0", &[]).bind("", "", &[], &[1]).execute("", 0).sync();
        client.parse("", &sql, &[]).bind("", "", &params, &[0]).execute("", 0).sync();
        let mut tags = Vec::new();
        for _ in 0..3 {
            tags.push(client.recv_until_ready().await.tags());
        }
        assert_eq!(tags, ["12DCZ", "1EZ", "12DCZ"]);
    }
}

#[tokio::test]
async fn what_is_made_through_the_proxy_is_known_at_once() {
    let world = World::builder().shards(3).schema("CREATE TABLE t (user_id int)").start();
    let mut client = world.raw("app").await;
    let mut first = first(&world).await;
    told(&mut client, "CREATE TYPE late AS ENUM ('a', 'b')").await;
    told(&mut client, "CREATE TYPE pair AS (l late, n int)").await;
    told(&mut client, "CREATE TABLE made (user_id int PRIMARY KEY, p pair, ls late[])").await;
    let insert = "INSERT INTO made VALUES ($1, $2, $3) RETURNING *";
    let expected = described(&mut first, insert).await;
    let values = binary(&mut first, "SELECT '(a,1)'::pair, '{b,NULL}'::late[]", &[]).await.remove(0);
    for key in 1..13 {
        assert_eq!(described(&mut client, &format!("/* shard: {} */ {insert}", key % 3)).await, expected);
        let text = key.to_string();
        let params = [
            Param::Text(&text),
            Param::Binary(values[0].as_ref().unwrap()),
            Param::Binary(values[1].as_ref().unwrap()),
        ];
        assert_eq!(binary(&mut client, insert, &params).await[0][1..], values);
    }
    // Within the transaction that makes it.
    told(&mut client, "BEGIN").await;
    told(&mut client, "CREATE TYPE later AS ENUM ('a')").await;
    told(&mut client, "CREATE TABLE made_later (user_id int, l later[])").await;
    for key in 1..13 {
        told(&mut client, &format!("INSERT INTO made_later VALUES ({key}, '{{a}}')")).await;
    }
    let mut values = binary(&mut client, "SELECT l FROM made_later", &[]).await;
    values.dedup();
    told(&mut client, "COMMIT").await;
    assert_eq!(values, binary(&mut first, "SELECT '{a}'::later[]", &[]).await);
}

#[test]
fn drivers_that_learn_types_from_the_catalogs_find_them_in_rows_and_parameters() {
    let python = env::var_os("SHARDWAY_PYTHON")
        .expect("SHARDWAY_PYTHON names a Python that has psycopg: run `make test`");
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/psycopg_types.py");
    let program = Program::new(python).arg(suite).env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = program.env("SHOP_URL", WORLD.proxy().url("app")).run();
    assert!(ran.said().contains("every type was known"), "the suite did not reach its end: {ran:?}");
}

#[tokio::test]
async fn copies_in_binary_have_them_too() {
    let schema = "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE spot AS (x int, m mood, ms mood[]);
        CREATE TABLE t (user_id int, s spot, n int GENERATED ALWAYS AS (user_id + 1) STORED, ms mood[], m mood);
        CREATE TABLE l (s spot)";
    let world = World::builder().shards(3).schema(schema).start();
    let (mut client, mut first) = (world.raw("app").await, first(&world).await);
    let rows = "SELECT g, '(1,ok,\"{sad,NULL}\")'::spot, '{ok,sad}'::mood[], NULL::mood FROM generate_series(1, 30) g";
    let copied = |reply: &Reply| reply.of('d').flat_map(|data| data.body.to_vec()).collect::<Vec<u8>>();
    let expected = copied(&told(&mut first, &format!("COPY ({rows}) TO STDOUT (FORMAT binary)")).await);
    // In pieces that end anywhere.
    for (piece, sql) in [(1, "t"), (7, "t (user_id, s, ms, m)"), (100_000, "public.t")] {
        told(&mut client, "DELETE FROM t").await;
        client.query(&format!("COPY {sql} FROM STDIN (FORMAT binary)"));
        expected.chunks(piece).for_each(|data| {
            client.copy_data(data);
        });
        let reply = client.copy_done().recv_until_ready().await;
        assert_eq!(reply.commands(), ["COPY 30"], "{reply:?}");
        for shard in world.shards() {
            let wrong = "SELECT count(*) FROM t WHERE s IS DISTINCT FROM '(1,ok,\"{sad,NULL}\")'::spot OR ms <> '{ok,sad}'";
            assert_eq!(shard.sql(wrong), "0");
        }
    }
    let mut of_one: Vec<Vec<u8>> = Vec::new();
    for sql in ["COPY (SELECT user_id, s, ms, m FROM t ORDER BY user_id) TO STDOUT (FORMAT binary)"] {
        assert_eq!(copied(&told(&mut client, sql).await), expected, "{sql}");
    }
    for key in 1..=30 {
        let sql =
            format!("COPY (SELECT user_id, s, ms, m FROM t WHERE user_id = {key}) TO STDOUT (FORMAT binary)");
        let got = copied(&told(&mut client, &sql).await);
        let row = rows.replace("g,", "$,").replace("generate_series(1, 30) g", "generate_series(1, 1)");
        let row = format!("COPY ({}) TO STDOUT (FORMAT binary)", row.replace('$', &key.to_string()));
        assert_eq!(got, copied(&told(&mut first, &row).await), "{sql}");
        of_one.push(got[19..got.len() - 2].to_vec());
    }
    // A table's rows come shard by shard.
    let all = copied(&told(&mut client, "COPY t TO STDOUT (FORMAT binary)").await);
    let len = of_one[0].len();
    let mut got: Vec<Vec<u8>> = all[19..all.len() - 2].chunks(len).map(<[u8]>::to_vec).collect();
    got.sort();
    of_one.sort();
    assert_eq!(got, of_one);
    // To and from one shard, by either protocol, and with nothing to be put in other terms.
    for shard in 0..3 {
        let hint = format!("/* shard: {shard} */");
        let value =
            copied(&told(&mut first, "COPY (SELECT '(1,ok,{ok})'::spot) TO STDOUT (FORMAT binary)").await);
        client.query(&format!("{hint} COPY l FROM STDIN WITH (FORMAT binary)"));
        value.chunks(9).for_each(|data| {
            client.copy_data(data);
        });
        let reply = client.copy_done().recv_until_ready().await;
        assert_eq!(reply.commands(), ["COPY 1"], "{reply:?}");
        assert_eq!(world.shard(shard).sql("SELECT s FROM l"), "(1,ok,{ok})");
        let out = format!("{hint} COPY l TO STDOUT (FORMAT binary)");
        client.parse("", &out, &[]).bind("", "", &[], &[]).execute("", 0).sync();
        assert_eq!(copied(&client.recv_until_ready().await), value);
        let numbers = format!("{hint} COPY (SELECT 16500, 1) TO STDOUT (FORMAT binary)");
        assert_eq!(copied(&told(&mut client, &numbers).await), copied(&told(&mut first, &numbers).await));
    }
}
