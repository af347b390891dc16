//! COPY of sharded tables: lines go by their key, out comes one stream.

use shardway_shardmap::{CanonicalKey, Function, ShardMap};
use shardway_tests::{RawClient, SharedWorld, World};

const SCHEMA: &str = "
CREATE TABLE line (user_id text PRIMARY KEY, n int, note text);
CREATE TABLE counted (user_id int PRIMARY KEY, n serial);
CREATE TABLE part (id int, user_id int NOT NULL, PRIMARY KEY (user_id, id));
CREATE TABLE noisy (user_id text PRIMARY KEY, note text);
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN RAISE NOTICE ''%'', repeat(''x'', 1000); RETURN NEW; END';
CREATE TRIGGER shout BEFORE INSERT ON noisy FOR EACH ROW EXECUTE FUNCTION shout();
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
    client.copy_done().send_hearing().await;
    client.recv_until_ready().await
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
async fn a_shard_with_much_to_say_while_it_copies_is_heard() {
    let mut client = WORLD.raw("app").await;
    // More, both ways, than sockets hold.
    let note = "n".repeat(1000);
    let lines: Vec<_> = keys_on(1, "noisy", 20_000).iter().map(|key| format!("{key}\t{note}\n")).collect();
    let pieces: Vec<_> = lines.iter().map(String::as_bytes).collect();
    let reply = copy(&mut client, "COPY noisy FROM STDIN", &pieces).await;
    assert_eq!(reply.commands(), ["COPY 20000"], "{:?}", reply.error());
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_large_copy_is_told_and_nothing_stays() {
    let mut client = WORLD.raw("app").await;
    let key = keys_on(1, "twice", 1).remove(0);
    let line = format!("{key}\t{}\n", "n".repeat(1000));
    let pieces = vec![line.as_bytes(); 10_000];
    let reply = copy(&mut client, "COPY noisy FROM STDIN", &pieces).await;
    assert_eq!(reply.error().and_then(|error| error.field('C')).as_deref(), Some("23505"));
    assert_eq!(WORLD.shard(1).sql("SELECT count(*) FROM noisy WHERE user_id LIKE 'twice%'"), "0");
    assert_eq!(client.query("SELECT count(*) FROM part").recv_until_ready().await.tags(), "TDCZ");
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
async fn a_line_without_a_key_or_with_a_wrong_one_is_named() {
    let mut client = WORLD.raw("app").await;
    for (data, code, words) in [
        ("1\t1\n2\t\\N\n", "23502", "COPY part, line 2: \"2\t\\N\""),
        ("1\tabc\n", "22P02", "COPY part, line 1, column user_id: \"abc\""),
        ("1\n", "22P04", "COPY part, line 1: \"1\""),
    ] {
        let reply = copy(&mut client, "COPY part FROM STDIN", &[data.as_bytes()]).await;
        let context = reply.error().expect("an error").field('W').unwrap_or_default();
        assert_eq!(reply.error().expect("an error").field('C').as_deref(), Some(code), "{context}");
        assert_eq!(context, words);
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
async fn a_copy_behind_a_flush_is_ended_by_its_data() {
    let mut client = WORLD.raw("app").await;
    for (fails, tags) in [(false, "CZ"), (true, "EZ")] {
        client.parse("", "/* shard: 0 */ COPY line FROM STDIN", &[]).bind("", "", &[], &[]);
        client.execute("", 0).flush().recv_until(b'G').await;
        // While it copies, Postgres ignores them.
        client.flush().sync();
        if fails {
            client.copy_fail("no")
        } else {
            client.copy_done()
        };
        assert_eq!(client.sync().recv_until_ready().await.tags(), tags);
        assert_eq!(client.query("SELECT 1").recv_until_ready().await.commands(), ["SELECT 1"]);
    }
}

#[tokio::test]
async fn a_column_that_each_shard_would_count_by_itself_must_be_given() {
    let mut client = WORLD.raw("app").await;
    let reply = client.query("COPY counted (user_id) FROM STDIN").recv_until_ready().await;
    assert_eq!(reply.error().expect("an error").field('C').as_deref(), Some("0A000"));
    let reply = copy(&mut client, "COPY counted FROM STDIN", &[b"1\t1\n"]).await;
    assert_eq!(reply.commands(), ["COPY 1"]);
}
