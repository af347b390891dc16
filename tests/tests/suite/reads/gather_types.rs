//! Values of every type come through a gather as they are.

use shardway_tests::{SharedWorld, World};

use super::world::{Pair, Way, asked};

const SCHEMA: &str = r#"
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE spot AS (x int, name text, mood mood);
CREATE DOMAIN small AS int CHECK (VALUE < 1000);
CREATE DOMAIN word AS text COLLATE "C";
CREATE TYPE moods AS RANGE (subtype = mood);
CREATE TABLE typed (
    user_id int PRIMARY KEY, note text, e mood, es mood[], sp spot, sps spot[], sm small, wd word, ms moods,
    f8 float8, f4 float4, num numeric, n8 numeric(20,5), b bool, i2 int2, i8 int8, vc varchar(7), ch char(4), by bytea,
    d date, t time, tt timetz, ts timestamp, tz timestamptz(3), iv interval, j json, jb jsonb, u uuid, ip inet,
    cidr cidr, mac macaddr, bits bit(4), vbits varbit, m money, pt point, bx box, ir int4range, tr tstzrange, tv tsvector,
    tq tsquery, ai int[], at text[], ats timestamp[], x xml, o oid, c "char", nm name, rc regclass, rt regtype[]
);
CREATE TABLE "Odd ""name""" (user_id int, "Column x" int, "select" text, "ä" int);
"#;

/// What every type's column holds, value by value; NULL beside them.
const VALUES: [(&str, [&str; 3]); 45] = [
    ("note", ["plain", "tab\tnew\nline\\N back\\slash\r\u{b}\u{c}\u{8}", "\\."]),
    ("e", ["happy", "sad", "ok"]),
    ("es", ["{happy,NULL,sad}", "{}", "{{ok},{sad}}"]),
    ("sp", ["(1,\"a \\\"b\\\" c\",ok)", "(,,)", "(-5,\"x,y\",)"]),
    ("sps", ["{\"(1,a,ok)\",NULL}", "{}", "{\"(2,\\\"q w\\\",sad)\"}"]),
    ("sm", ["1", "-999", "999"]),
    ("wd", ["a", "B", "ä"]),
    ("ms", ["[sad,ok]", "(,)", "empty"]),
    ("f8", ["0.1", "1e-300", "-0"]),
    ("f4", ["0.1", "NaN", "-Infinity"]),
    ("num", ["1.10", "-1e40", "NaN"]),
    ("n8", ["1.1", "-0.00001", "123456789012345.12345"]),
    ("b", ["t", "f", "t"]),
    ("i2", ["1", "-32768", "32767"]),
    ("i8", ["1", "-9223372036854775808", "9223372036854775807"]),
    ("vc", ["abc", "", "äöü"]),
    ("ch", ["a", "ab ", "é"]),
    ("by", ["\\x00ff0a09", "\\x", "\\x5c4e"]),
    ("d", ["2024-02-29", "infinity", "0044-03-15 BC"]),
    ("t", ["00:00", "24:00", "12:34:56.789012"]),
    ("tt", ["00:00+05", "24:00-12", "12:34:56.789012+00"]),
    ("ts", ["2024-02-29 01:02:03.000001", "-infinity", "0044-03-15 BC"]),
    ("tz", ["2024-02-29 01:02:03+05", "infinity", "1900-01-01 00:00:00+00"]),
    ("iv", ["1 mon -2 days 03:04:05.6", "-1 year", "0"]),
    ("j", ["{\"a\" :  [1, 2]}", "null", "\"\\u0041\""]),
    ("jb", ["{\"b\": 1.50, \"a\": null}", "[]", "\"x\""]),
    (
        "u",
        [
            "8f14e45f-ceea-467f-a830-8d4c0e6b6a3d",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
    ),
    ("ip", ["10.0.0.1", "::1/64", "192.168.0.0/16"]),
    ("cidr", ["10.0.0.0/8", "::/0", "192.168.1.0/24"]),
    ("mac", ["08:00:2b:01:02:03", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"]),
    ("bits", ["1010", "0000", "1111"]),
    ("vbits", ["1", "", "10101010101"]),
    ("m", ["12.34", "-0.01", "1000000"]),
    ("pt", ["(1,2)", "(0.1,-1e10)", "(NaN,Infinity)"]),
    ("ir", ["[1,5)", "empty", "(,3]"]),
    ("tr", ["[2024-01-01 00:00:00+00,)", "empty", "(,)"]),
    ("tv", ["'a':1A 'b':2", "", "'it''s'"]),
    ("tq", ["'a' & 'b'", "!'x'", "'a' <-> 'b'"]),
    ("ai", ["{1,NULL,3}", "{}", "[2:3]={7,8}"]),
    ("at", ["{a,\"b c\",NULL,\"\\\"\"}", "{}", "{\"\"}"]),
    ("ats", ["{\"2024-01-01 00:00:00\"}", "{infinity}", "{NULL}"]),
    ("o", ["1", "0", "4294967295"]),
    ("c", ["a", "", "\\"]),
    ("nm", ["a", "", "a name"]),
    ("rc", ["typed", "pg_class", "-"]),
];

static TYPES: SharedWorld = SharedWorld::new(|| {
    let world = World::builder().shards(3).schema(SCHEMA).oracle().start();
    let server = world.server(0);
    // On whichever shard: a gather takes them from all.
    for row in 0..12 {
        let set: Vec<String> = VALUES
            .iter()
            .enumerate()
            .filter(|(n, _)| (row + n) % 4 != 3)
            .map(|(n, (column, values))| {
                format!("{column} = '{}'", values[(row + n) % 4].replace('\'', "''"))
            })
            .collect();
        let sql = format!(
            "INSERT INTO typed (user_id) VALUES ({row}); UPDATE typed SET {} WHERE user_id = {row}",
            set.join(", ")
        );
        world.shard(row % 3).sql(&sql);
        server.sql("oracle", &sql).unwrap();
        let odd = format!("INSERT INTO \"Odd \"\"name\"\"\" VALUES ({row}, {row} % 5, 's{row}', 1)");
        world.shard(row % 3).sql(&odd);
        server.sql("oracle", &odd).unwrap();
    }
    world
});

/// Those whose binary form holds numbers that every database has of its own.
const NUMBERED: [&str; 4] = ["es", "sp", "sps", "rc"];

async fn same_in_text(pair: &mut Pair, sql: &str) {
    for way in [Way::Simple, Way::Text] {
        let expected = asked(&mut pair.single, sql, &[], way).await;
        assert!(expected.is_ok(), "{sql}: {expected:?}");
        assert_eq!(asked(&mut pair.proxy, sql, &[], way).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn every_type_comes_through_as_it_is() {
    let mut pair = Pair::of(&TYPES).await;
    for (column, _) in VALUES {
        // Each column by itself, so that it decides the form in which it travels.
        let sql = format!("SELECT user_id, {column} FROM typed ORDER BY user_id + 0");
        if NUMBERED.contains(&column) {
            same_in_text(&mut pair, &sql).await;
        } else {
            pair.same(&sql).await;
        }
    }
    let columns: Vec<&str> = VALUES.iter().map(|(column, _)| *column).collect();
    let all = format!("SELECT {} FROM typed ORDER BY user_id + 0", columns.join(", "));
    same_in_text(&mut pair, &all).await;
    pair.same("SELECT count(DISTINCT es), count(DISTINCT sp), max(e), min(e) FROM typed").await;
    pair.same("SELECT (sp).name, (sp).mood, (sps[1]).x FROM typed ORDER BY user_id + 0").await;
    pair.same("SELECT wd, sm + 1 FROM typed ORDER BY wd || 'x', sm").await;
}

#[tokio::test]
async fn names_that_need_quotes_are_found() {
    let mut pair = Pair::of(&TYPES).await;
    for sql in [
        "SELECT \"Column x\", count(DISTINCT \"select\") FROM \"Odd \"\"name\"\"\" GROUP BY 1 ORDER BY 1",
        "SELECT \"Odd \"\"name\"\"\".\"ä\", count(DISTINCT \"Odd \"\"name\"\"\".\"Column x\") FROM public.\"Odd \"\"name\"\"\" GROUP BY 1",
        "SELECT count(DISTINCT o.*) FROM \"public\".\"Odd \"\"name\"\"\" AS o WHERE o.\"select\" <> 's3' AND \"Column x\" = 3",
        "SELECT /* typed */ count(DISTINCT a.sm) -- FROM typed\nFROM typed a,\n\ttyped AS b WHERE a.user_id = b.user_id + 1",
    ] {
        pair.same(sql).await;
    }
}

#[tokio::test]
async fn styles_that_are_not_exact_are_refused_where_values_travel_in_text() {
    let mut pair = Pair::of(&TYPES).await;
    for set in ["datestyle = 'SQL, DMY'", "intervalstyle = 'sql_standard'", "array_nulls = off"] {
        pair.both(&format!("SET {set}")).await;
        pair.same("SELECT f8, f4, d, ts, tz, iv, at FROM typed ORDER BY user_id + 0").await;
        let said =
            asked(&mut pair.proxy, "SELECT es, iv, ts FROM typed ORDER BY user_id + 0", &[], Way::Simple)
                .await;
        assert_eq!(said.unwrap_err().0, "0A000");
        pair.both("RESET datestyle").await;
        pair.both("RESET intervalstyle").await;
        pair.both("RESET array_nulls").await;
    }
}

#[tokio::test]
async fn floats_in_types_of_ones_own_come_through_in_full_whoever_wants_fewer_digits() {
    let schema = "CREATE TYPE place AS (x float8, y float4); CREATE TABLE placed (user_id int, at place)";
    let world = World::builder().shards(3).schema(schema).setting("extra_float_digits", -3).start();
    let same = "count(*) FILTER (WHERE at = ROW(0.1::float8 + 0.2, 1/3.0)::place)";
    let row = format!("SELECT count(DISTINCT at), {same} FROM placed");
    world.shards().for_each(|shard| {
        shard.sql("INSERT INTO placed VALUES (1, (0.1::float8 + 0.2, 1/3.0))");
    });
    let mut client = world.raw("app").await;
    let shown = "SELECT at FROM placed ORDER BY user_id + 0 LIMIT 1";
    for (set, written) in [
        ("BEGIN", "(0.3,0.333)"),
        ("SET LOCAL extra_float_digits = 3", "(0.30000000000000004,0.33333334)"),
        ("COMMIT", "(0.3,0.333)"),
        ("SET extra_float_digits = 0", "(0.3,0.333333)"),
        ("RESET extra_float_digits", "(0.3,0.333)"),
    ] {
        client.query(set).recv_until_ready().await;
        let reply = client.query(&row).recv_until_ready().await;
        assert_eq!(reply.texts(), [[Some("1"), Some("3")]], "{set}: {:?}", reply.error());
        assert_eq!(client.query(shown).recv_until_ready().await.texts(), [[Some(written)]], "{set}");
        // What a shard itself says is as it was before.
        for shard in 0..3 {
            let sql = format!("/* shard: {shard} */ SELECT at FROM placed");
            assert_eq!(client.query(&sql).recv_until_ready().await.texts(), [[Some(written)]], "{set}");
        }
    }
}
