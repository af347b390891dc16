//! Rows land on the shard that FNV-1a says, whatever the key's type and however it is sent.

use shardway_tests::{Param, SharedWorld, World};

use super::{ask, counts, only_on, shard_of};

const SHARDS: u64 = 5;

const SCHEMA: &str = r#"
CREATE EXTENSION citext;
CREATE TYPE colour AS ENUM ('red', 'green', 'blue');
CREATE TABLE k_int2 (user_id int2, via text);
CREATE TABLE k_int4 (user_id int4, via text);
CREATE TABLE k_int8 (user_id int8, via text);
CREATE TABLE k_text (user_id text, via text);
CREATE TABLE k_varchar (user_id varchar(12), via text);
CREATE TABLE k_char (user_id char(12), via text);
CREATE TABLE k_citext (user_id citext, via text);
CREATE TABLE k_uuid (user_id uuid, via text);
CREATE TABLE k_enum (user_id colour, via text);
CREATE TABLE "Snapshot" ("configurationId" text PRIMARY KEY, "userId" int, via text);
"#;

static WORLD: SharedWorld = SharedWorld::new(|| {
    // citext is trusted: the owner of a database may create it.
    World::builder().shards(SHARDS as usize).servers(2).schema(SCHEMA).start()
});

/// Table, a spelling of the key, its canonical form, and its binary form where that is not its text.
const KEYS: &[(&str, &str, &str, &[u8])] = &[
    ("k_int2", "-7", "-7", &[0xff, 0xf9]),
    ("k_int4", "0042", "42", &[0, 0, 0, 42]),
    (
        "k_int8",
        "9223372036854775807",
        "9223372036854775807",
        &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ),
    ("k_text", "Zoë", "Zoë", "Zoë".as_bytes()),
    ("k_text", "", "", b""),
    ("k_varchar", "user 1", "user 1", b"user 1"),
    ("k_char", "SKU-9  ", "SKU-9", b"SKU-9  "),
    ("k_citext", "SKU-9", "sku-9", b"SKU-9"),
    (
        "k_uuid",
        "8F14E45F-CEEA-467F-A830-8D4C0E6B6A3D",
        "8f14e45f-ceea-467f-a830-8d4c0e6b6a3d",
        &[0x8f, 0x14, 0xe4, 0x5f, 0xce, 0xea, 0x46, 0x7f, 0xa8, 0x30, 0x8d, 0x4c, 0x0e, 0x6b, 0x6a, 0x3d],
    ),
    ("k_enum", "green", "green", b"green"),
];

#[tokio::test]
async fn every_key_type_lands_by_its_canonical_text_in_every_way() {
    let mut client = WORLD.raw("app").await;
    for (table, spelling, canonical, binary) in KEYS {
        let literal = format!("INSERT INTO {table} VALUES ('{spelling}', 'literal')");
        assert_eq!(ask(&mut client, &literal).await, Ok(vec![]), "{literal}");
        let sql = format!("INSERT INTO {table} (via, user_id) VALUES ($1, $2)");
        for (via, param) in [("text", Param::Text(spelling)), ("binary", Param::Binary(binary))] {
            client.parse("", &sql, &[]).bind("", "", &[Param::Text(via), param], &[]).execute("", 0).sync();
            let reply = client.recv_until_ready().await;
            assert_eq!(reply.commands(), ["INSERT 0 1"], "{table} {via}: {:?}", reply.error());
        }
        for via in ["literal", "text", "binary"] {
            let condition = format!("user_id = '{spelling}' AND via = '{via}'");
            assert_eq!(counts(&WORLD, table, &condition), only_on(canonical, SHARDS), "{table} by {via}");
        }
        let found =
            ask(&mut client, &format!("SELECT via FROM {table} WHERE user_id = '{spelling}' ORDER BY via"))
                .await;
        assert_eq!(found.unwrap(), ["binary", "literal", "text"], "{table}");
    }
}

#[tokio::test]
async fn integers_land_alike_from_columns_and_parameters_of_any_width() {
    let client = WORLD.connect("app").await;
    for n in 1000..1020_i32 {
        client.execute("INSERT INTO k_int8 VALUES ($1, 'width')", &[&i64::from(n)]).await.unwrap();
        client.execute("INSERT INTO k_int4 VALUES ($1, 'width')", &[&n]).await.unwrap();
        let joined = client
            .query("SELECT 1 FROM k_int4 a JOIN k_int8 b USING (user_id) WHERE a.user_id = $1", &[&n])
            .await
            .unwrap();
        assert_eq!(joined.len(), 1, "{n}");
        assert_eq!(counts(&WORLD, "k_int4", &format!("user_id = {n}")), only_on(&n.to_string(), SHARDS));
    }
}

#[tokio::test]
async fn quoted_camel_case_is_kept_and_folded_names_are_not_it() {
    let mut client = WORLD.raw("app").await;
    for n in 0..10 {
        let insert =
            format!("INSERT INTO \"Snapshot\" (\"userId\", \"configurationId\") VALUES ({n}, 'cfg_{n}')");
        assert_eq!(ask(&mut client, &insert).await, Ok(vec![]));
        let condition = format!("\"configurationId\" = 'cfg_{n}'");
        assert_eq!(counts(&WORLD, "\"Snapshot\"", &condition), only_on(&format!("cfg_{n}"), SHARDS));
        let read =
            format!("SELECT \"userId\" FROM public.\"Snapshot\" s WHERE s.\"configurationId\" = 'cfg_{n}'");
        assert_eq!(ask(&mut client, &read).await.unwrap(), [n.to_string()]);
    }
    assert_eq!(
        ask(&mut client, "SELECT 1 FROM Snapshot WHERE configurationId = 'cfg_1'").await,
        Err("42P01".into())
    );
}

#[tokio::test]
async fn one_write_touches_one_shard() {
    let mut client = WORLD.raw("app").await;
    for n in 2000..2010 {
        ask(&mut client, &format!("INSERT INTO k_int4 VALUES ({n}, 'old')")).await.unwrap();
        ask(&mut client, &format!("UPDATE k_int4 SET via = 'new' WHERE user_id = {n}")).await.unwrap();
    }
    assert_eq!(ask(&mut client, "DELETE FROM k_int4 WHERE user_id = 2003 AND via = 'new'").await, Ok(vec![]));
    assert_eq!(counts(&WORLD, "k_int4", "user_id = 2003"), vec!["0"; SHARDS as usize]);
    assert_eq!(counts(&WORLD, "k_int4", "user_id = 2004 AND via = 'new'"), only_on("2004", SHARDS));
}

#[tokio::test]
async fn a_hint_sends_a_statement_as_told_and_a_string_is_no_hint() {
    let mut client = WORLD.raw("app").await;
    let other = (shard_of("3000", SHARDS) + 1) % SHARDS as usize;
    ask(&mut client, &format!("/* shard: {other} */ INSERT INTO k_int4 VALUES (3000, 'told')"))
        .await
        .unwrap();
    assert_eq!(WORLD.shard(other).sql("SELECT via FROM k_int4 WHERE user_id = 3000"), "told");
    let by_key = "SELECT count(*) /* sharding_key: '3001' */ FROM k_int4 WHERE user_id = 3000";
    let expected = u8::from(shard_of("3001", SHARDS) == other).to_string();
    assert_eq!(ask(&mut client, by_key).await.unwrap(), [expected]);
    let data = format!("INSERT INTO k_int4 VALUES (3002, '/* shard: {other} */') /* app: shop */");
    ask(&mut client, &data).await.unwrap();
    assert_eq!(counts(&WORLD, "k_int4", "user_id = 3002"), only_on("3002", SHARDS));
    assert_eq!(ask(&mut client, "/* shard: 5 */ SELECT 1").await, Err("22023".into()));
}
