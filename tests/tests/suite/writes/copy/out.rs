//! COPY TO STDOUT: one stream, as one Postgres writes it.

use tokio::sync::OnceCell;

use super::{Ending, Pair, WORLD, Way, streamed};

const DATA: &str = "a\\tb\t1\t1\tx\n\\N\t2\t\\N\t\\N\n\t3\t1.50\t\\\\.\n\\\\.\t4\t2\t\"q\"\nline\\nline\t5\t3\ta,b\nNULL\t6\t4\té\n\
                    x\\ry\t7\t5\t\\x08\n";

/// Rows in `out`, for all tests of this file: none of them writes there.
async fn filled(pair: &mut Pair) {
    static FILLED: OnceCell<()> = OnceCell::const_new();
    FILLED.get_or_init(|| fill(pair)).await;
}

async fn fill(pair: &mut Pair) {
    let data = (0..30).map(|n| format!("note {n}\t{}\t{n}\tx\n", n * 10)).collect::<String>() + DATA;
    pair.copy("COPY out FROM STDIN", &[data.as_bytes()], Ending::Done, Way::Simple).await;
}

const FORMATS: [&str; 14] = [
    "",
    "(FORMAT csv)",
    "(FORMAT binary)",
    "(HEADER)",
    "(FORMAT csv, HEADER)",
    "(FORMAT csv, FORCE_QUOTE *)",
    "(FORMAT csv, FORCE_QUOTE (note), NULL 'NULL', DELIMITER ';')",
    "CSV QUOTE '''' ESCAPE '\\' HEADER FORCE QUOTE extra, user_id",
    "WITH DELIMITER ',' NULL 'none'",
    "(DELIMITER E'\\x01', NULL '')",
    "WITH BINARY",
    "(FORMAT text, ENCODING 'utf8')",
    "(FORMAT csv, NULL '\\N')",
    "(FORMAT csv, DELIMITER E'\\t', QUOTE 'x')",
];

#[tokio::test]
async fn tables_and_queries_come_out_as_one_stream() {
    let mut pair = Pair::new().await;
    filled(&mut pair).await;
    for format in FORMATS {
        let named = format.contains("FORCE");
        for source in ["out", "out (extra, user_id, note)", "(SELECT * FROM out)"] {
            pair.same(&format!("COPY {source} TO STDOUT {format}")).await;
        }
        for query in [
            "SELECT note, user_id, extra FROM out ORDER BY user_id",
            "SELECT * FROM out ORDER BY user_id DESC LIMIT 5 OFFSET 2",
            "SELECT * FROM out WHERE user_id = 3",
            "SELECT * FROM out WHERE user_id IN (1, 2, 3, 4)",
            "SELECT extra AS note, extra, count(*) AS user_id FROM out GROUP BY extra",
            "SELECT note, extra, user_id, row_number() OVER (ORDER BY user_id) FROM out",
            "SELECT a.note, b.extra, a.user_id FROM out a JOIN out b ON a.n = b.n + 1",
            "SELECT 'a' AS note, 1 AS user_id, 'x' AS extra",
            "SELECT * FROM out WHERE user_id < 0",
        ] {
            pair.same(&format!("COPY ({query}) TO STDOUT {format}")).await;
        }
        if !named {
            for query in [
                "SELECT note FROM out",
                "SELECT count(*), sum(n), max(note) FROM out",
                "SELECT extra FROM out ORDER BY extra COLLATE \"C\"",
            ] {
                pair.same(&format!("COPY ({query}) TO STDOUT {format}")).await;
            }
        }
    }
}

#[tokio::test]
async fn an_ordered_query_comes_out_in_its_order() {
    let mut pair = Pair::new().await;
    let mut data = String::new();
    (0..500).for_each(|n| data += &format!("a\t{}\t1\tx\n", (n * 37) % 500));
    pair.same("BEGIN").await;
    pair.copy("COPY ends FROM STDIN", &[data.as_bytes()], Ending::Done, Way::Simple).await;
    let sql = "COPY (SELECT user_id FROM ends ORDER BY user_id) TO STDOUT";
    let reply = pair.proxy.query(sql).recv_until_ready().await;
    let got: Vec<String> = reply.of('d').map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect();
    assert_eq!(got, (0..500).map(|n| format!("{n}\n")).collect::<Vec<_>>());
    pair.same("ROLLBACK").await;
}

#[tokio::test]
async fn an_empty_table_gives_a_header_and_no_rows() {
    let mut pair = Pair::new().await;
    for format in FORMATS {
        pair.same(&format!("COPY late TO STDOUT {format}")).await;
        pair.same(&format!("COPY (SELECT * FROM late ORDER BY user_id) TO STDOUT {format}")).await;
    }
}

#[tokio::test]
async fn options_of_a_querys_copy_are_what_one_postgres_takes() {
    let mut pair = Pair::new().await;
    filled(&mut pair).await;
    for options in [
        "(ENCODING 'no-such')",
        "(HEADER MATCH)",
        "(HEADER, HEADER)",
        "(HEADER 2)",
        "(DELIMITER 'a')",
        "(DELIMITER E'\\n')",
        "(NULL 'é\t')",
        "(QUOTE 'x')",
        "(FORCE_QUOTE *)",
        "(FORMAT binary, HEADER)",
        "(FORMAT csv, QUOTE ',')",
        "(FORMAT csv, FORCE_NULL (note))",
        "(FORMAT csv, FORCE_NOT_NULL (note))",
        "(FORMAT csv, FORCE_QUOTE (note, nothing))",
        "(FORMAT csv, FORCE_QUOTE (note, note))",
        "(FORMAT 'Csv')",
        "(UNHEARD_OF)",
    ] {
        for query in
            ["SELECT note FROM out ORDER BY user_id", "SELECT note, count(*) AS \"é\" FROM out GROUP BY 1"]
        {
            let sql = format!("/* é */ COPY ({query}) TO STDOUT {options}");
            let mut said = Vec::new();
            for client in [&mut pair.proxy, &mut pair.single] {
                let reply = client.query(&sql).recv_until_ready().await;
                let error = reply.error().unwrap_or_else(|| panic!("{sql}: {reply:?}"));
                said.push((reply.tags(), ['C', 'M', 'P'].map(|field| error.field(field))));
            }
            assert_eq!(said[0], said[1], "{sql}");
        }
    }
    // What comes from several shards comes in UTF-8.
    let sql = "COPY (SELECT note FROM out ORDER BY user_id) TO STDOUT (ENCODING 'LATIN1')";
    let reply = pair.proxy.query(sql).recv_until_ready().await;
    assert_eq!(reply.error().and_then(|error| error.field('C')).as_deref(), Some("0A000"), "{reply:?}");
    pair.same("COPY (SELECT note FROM out ORDER BY user_id) TO STDOUT (ENCODING 'utf-8')").await;
}

#[tokio::test]
async fn what_can_not_come_out_says_so_at_once() {
    let mut pair = Pair::new().await;
    filled(&mut pair).await;
    for sql in [
        "COPY out (nothing) TO STDOUT",
        "COPY out TO STDOUT (FORMAT odd)",
        "COPY out TO STDOUT (unheard_of)",
        "COPY out TO STDOUT (FORMAT csv, FORCE_NULL (note))",
        "COPY (SELECT nothing FROM out) TO STDOUT",
        "COPY nothing TO STDOUT",
        "COPY (SELECT 1 / (user_id - user_id) FROM out) TO STDOUT",
    ] {
        pair.same(sql).await;
        let reply = pair.proxy.query("SELECT 1").recv_until_ready().await;
        assert_eq!(reply.commands(), ["SELECT 1"], "{sql}");
    }
}

#[tokio::test]
async fn a_stream_comes_out_in_extended_protocol_and_in_a_transaction() {
    let mut pair = Pair::new().await;
    for source in ["kept", "(SELECT * FROM kept ORDER BY user_id)", "(SELECT count(*) FROM kept)"] {
        let sql = format!("COPY {source} TO STDOUT (FORMAT csv, HEADER)");
        let mut told = Vec::new();
        for client in [&mut pair.single, &mut pair.proxy] {
            client
                .query("BEGIN; INSERT INTO kept (user_id, note) VALUES (1, 'mine')")
                .recv_until_ready()
                .await;
            client.parse("", &sql, &[]).describe_statement("").bind("", "", &[], &[]).describe_portal("");
            let reply = client.execute("", 0).sync().recv_until_ready().await;
            told.push(streamed(&reply));
            client.query("ROLLBACK").recv_until_ready().await;
        }
        assert_eq!(told[0].0, told[1].0, "{sql}");
        assert_eq!(told[0].1, told[1].1, "{sql}");
    }
}

#[tokio::test]
async fn a_table_may_be_copied_through_and_back() {
    let mut client = WORLD.raw("app").await;
    client.query("BEGIN").recv_until_ready().await;
    let mut pair = Pair::new().await;
    for options in ["", "(FORMAT csv, HEADER)", "(FORMAT binary)"] {
        let out = client.query(&format!("COPY made_text TO STDOUT {options}")).recv_until_ready().await;
        let data: Vec<u8> = out.of('d').flat_map(|m| m.body.to_vec()).collect();
        pair.same("BEGIN").await;
        let sql = format!("COPY late FROM STDIN {options}");
        pair.copy(&sql, &[&data], Ending::Done, Way::Simple).await;
        let after = client.query("SELECT 1").recv_until_ready().await;
        assert_eq!(after.commands(), ["SELECT 1"]);
        pair.same("ROLLBACK").await;
    }
}
