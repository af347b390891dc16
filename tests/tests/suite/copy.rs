//! COPY of sharded tables: lines go by their key, out comes one stream.

use shardway_shardmap::{CanonicalKey, Function, ShardMap};
use shardway_tests::{RawClient, SharedWorld, World};

const SCHEMA: &str = "
CREATE TABLE line (user_id text PRIMARY KEY, n int, note text);
CREATE TABLE counted (user_id int PRIMARY KEY, n serial);
CREATE TABLE part (id int, user_id int NOT NULL, PRIMARY KEY (user_id, id));
";

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(3).servers(1).schema(SCHEMA).start());

/// The shard that owns a key.
fn owner(key: &str) -> usize {
    let map = ShardMap::new(Function::Fnv1a, 3).unwrap();
    map.locate(&CanonicalKey::Text(key.into())).unwrap().0 as usize
}

/// `count` keys that one shard owns.
fn keys_on(shard: usize, prefix: &str, count: usize) -> Vec<String> {
    (0..).map(|n| format!("{prefix}{n}")).filter(|key| owner(key) == shard).take(count).collect()
}

async fn copy(client: &mut RawClient, sql: &str, pieces: &[&[u8]]) -> shardway_tests::Reply {
    client.query(sql);
    client.recv_until(b'G').await;
    for piece in pieces {
        client.copy_data(piece);
    }
    client.copy_done().recv_until_ready().await
}

#[tokio::test]
async fn lines_go_to_the_shard_of_their_key_wherever_the_stream_is_cut() {
    let mut client = WORLD.raw("app").await;
    let keys = keys_on(1, "cut", 40);
    let text: String = keys.iter().map(|k| format!("{k}\t7\ta\\tb\\\\\n")).collect();
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(7).collect();
    let reply = copy(&mut client, "COPY line FROM STDIN", &pieces).await;
    assert_eq!(reply.commands(), ["COPY 40"]);
    assert_eq!(
        WORLD.shard(1).sql("SELECT count(*), min(note) FROM line WHERE user_id LIKE 'cut%'"),
        "40|a\tb\\"
    );
}

#[tokio::test]
async fn the_key_may_stand_anywhere_and_be_written_as_postgres_allows() {
    let mut client = WORLD.raw("app").await;
    let reply =
        copy(&mut client, "COPY part (id, user_id) FROM STDIN WITH (DELIMITER ',')", &[b"1,007\n2, 7\n3,+7"])
            .await;
    assert_eq!(reply.commands(), ["COPY 3"]);
    assert_eq!(WORLD.shard(owner("7")).sql("SELECT count(*) FROM part WHERE user_id = 7"), "3");
}

#[tokio::test]
async fn what_would_write_on_several_shards_is_refused_and_nothing_stays() {
    let mut client = WORLD.raw("app").await;
    let (a, b) = (&keys_on(0, "both", 1)[0], &keys_on(2, "both", 1)[0]);
    let reply =
        copy(&mut client, "COPY line (user_id) FROM STDIN", &[format!("{a}\n{b}\n").as_bytes()]).await;
    assert_eq!(reply.error().expect("an error").field('C').as_deref(), Some("0A000"));
    for shard in WORLD.shards() {
        assert_eq!(shard.sql("SELECT count(*) FROM line WHERE user_id LIKE 'both%'"), "0");
    }
    let reply = client.query("SELECT 1").recv_until_ready().await;
    assert_eq!(reply.commands(), ["SELECT 1"], "the session goes on");
}

#[tokio::test]
async fn a_line_without_a_key_or_with_a_wrong_one_is_named() {
    let mut client = WORLD.raw("app").await;
    for (data, code, words) in [
        ("1\t1\n2\t\\N\n", "23502", "line 2"),
        ("1\tabc\n", "22P02", "line 1"),
        ("1\n", "22P04", "missing data for column \"user_id\""),
    ] {
        let reply = copy(&mut client, "COPY part FROM STDIN", &[data.as_bytes()]).await;
        let message = reply.error().expect("an error").field('M').unwrap_or_default();
        assert_eq!(reply.error().expect("an error").field('C').as_deref(), Some(code), "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn an_error_of_the_server_and_a_client_that_gives_up_end_the_copy_cleanly() {
    let mut client = WORLD.raw("app").await;
    let key = &keys_on(1, "bad", 1)[0];
    let reply =
        copy(&mut client, "COPY line FROM STDIN", &[format!("{key}\tnot a number\tx\n").as_bytes()]).await;
    assert_eq!(reply.error().expect("an error").field('C').as_deref(), Some("22P02"));
    client.query("COPY line FROM STDIN");
    client.recv_until(b'G').await;
    let reply =
        client.copy_data(format!("{key}\t1\tx\n").as_bytes()).copy_fail("no more").recv_until_ready().await;
    assert_eq!(reply.error().expect("an error").field('C').as_deref(), Some("57014"));
    let reply = client.query(&format!("SELECT * FROM line WHERE user_id = '{key}'")).recv_until_ready().await;
    assert_eq!(reply.commands(), ["SELECT 0"]);
}

#[tokio::test]
async fn a_table_comes_out_as_one_stream() {
    for shard in WORLD.shards() {
        shard.sql("CREATE TABLE IF NOT EXISTS stream (user_id int); GRANT ALL ON stream TO app");
    }
    for (n, shard) in WORLD.shards().enumerate() {
        shard.sql(&format!("INSERT INTO stream SELECT g * 10 + {n} FROM generate_series(1, 3) g"));
    }
    let mut client = WORLD.raw("app").await;
    let reply = client.query("COPY stream TO STDOUT").recv_until_ready().await;
    assert_eq!(reply.commands(), ["COPY 9"]);
    assert_eq!(reply.tags().matches('H').count(), 1);
    assert_eq!(reply.of('d').count(), 9);
}

#[tokio::test]
async fn a_copy_behind_a_flush_is_refused_rather_than_left_without_an_end() {
    let mut client = WORLD.raw("app").await;
    client
        .parse("", "/* shard: 0 */ COPY line FROM STDIN", &[])
        .bind("", "", &[], &[])
        .execute("", 0)
        .flush();
    let reply = client.sync().recv_until_ready().await;
    assert_eq!(reply.error().expect("an error").field('C').as_deref(), Some("0A000"));
    assert_eq!(client.query("SELECT 1").recv_until_ready().await.commands(), ["SELECT 1"]);
}

#[tokio::test]
async fn a_column_that_each_shard_would_count_by_itself_must_be_given() {
    let mut client = WORLD.raw("app").await;
    let reply = client.query("COPY counted (user_id) FROM STDIN").recv_until_ready().await;
    assert_eq!(reply.error().expect("an error").field('C').as_deref(), Some("0A000"));
    let reply = copy(&mut client, "COPY counted FROM STDIN", &[b"1\t1\n"]).await;
    assert_eq!(reply.commands(), ["COPY 1"]);
}
