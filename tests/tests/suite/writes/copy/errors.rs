//! What is wrong with a COPY is said as one Postgres says it, with the client's line.

use super::{BINARY, Ending, Pair, WORLD, Way, copy, field};

/// Twenty rows for four shards, of which one is `wrong`, in line 13.
fn lines(wrong: &str) -> String {
    (1..=20).map(|n| if n == 13 { wrong.to_owned() } else { format!("a note\t{n}\t{n}\tx\n") }).collect()
}

#[tokio::test]
async fn an_error_names_the_clients_line() {
    let mut pair = Pair::new().await;
    for wrong in [
        "a\t13\tmany\tx\n",
        "a\t13\n",
        "a\t13\t1\tx\ty\n",
        "a\tthirteen\t1\tx\n",
        "a\t\\N\t1\tx\n",
        "a\t13\t5000\tx\n",
        "a\t99999999999\t1\tx\n",
        "a\t13\t1\tx\ry\n",
        "a\t13\t1\tx\r\n",
        "a\\.b\t13\t1\tx\n",
        "a\n",
        "\n",
        "\\.x\n",
    ] {
        let data = lines(wrong);
        for size in [7, 4096] {
            let pieces: Vec<&[u8]> = data.as_bytes().chunks(size).collect();
            let told = pair.copy("COPY errors FROM STDIN", &pieces, Ending::Done, Way::Simple).await;
            assert!(told.contains("COPY errors, line 13"), "{told}");
            pair.copy("COPY errors FROM STDIN", &pieces, Ending::Done, Way::Extended).await;
        }
    }
    assert_eq!(pair.same_rows("errors").await, [""; 0]);
}

#[tokio::test]
async fn the_earliest_line_is_blamed_where_several_shards_find_fault() {
    let mut pair = Pair::new().await;
    let data: String =
        (1..=40).map(|n| format!("a\t{n}\t{}\tx\n", if n > 4 { "odd" } else { "1" })).collect();
    for _ in 0..10 {
        let told = pair.copy("COPY errors FROM STDIN", &[data.as_bytes()], Ending::Done, Way::Simple).await;
        assert!(told.contains("COPY errors, line 5, column n: \"odd\""), "{told}");
    }
}

#[tokio::test]
async fn errors_of_csv_count_lines_as_postgres_does() {
    let mut pair = Pair::new().await;
    let rows: String = (1..=9).map(|n| format!("\"two\nlines\",{n},1,x\n")).collect();
    for (header, last) in [
        ("", "a,10,odd,x\n"),
        ("", "\"not\nclosed,10,1,x\n"),
        ("", "a,10,1,\"x\ny\",z\n"),
        ("note,user_id,n,extra\n", "a,10,odd,x\n"),
        ("note,user_id,n,extra\n", "a,,1,x\n"),
        ("\"odd\nname\",user_id,n,extra\n", "a,10,odd,x\n"),
    ] {
        let option = if header.is_empty() { "" } else { ", HEADER" };
        let sql = format!("COPY errors FROM STDIN (FORMAT csv{option})");
        let data = format!("{header}{rows}{last}");
        let told = pair.copy(&sql, &[data.as_bytes()], Ending::Done, Way::Simple).await;
        assert!(told.contains("COPY errors, line "), "{told}");
    }
    for (names, ok) in [("note,user_id,n,extra", true), ("note,n,user_id,extra", false), ("note", false)] {
        let data = format!("{names}\nfine,1,1,x\n");
        let sql = "BEGIN; COPY errors FROM STDIN (FORMAT csv, HEADER match)";
        let told = pair.copy(sql, &[data.as_bytes()], Ending::Done, Way::Simple).await;
        assert_eq!(told.contains("COPY 1"), ok, "{told}");
        pair.same("ROLLBACK").await;
    }
}

#[tokio::test]
async fn errors_of_binary_data_are_those_of_one_postgres() {
    let mut pair = Pair::new().await;
    let row = |key: Option<&[u8]>| {
        let mut row = vec![0, 2];
        field(&mut row, key);
        field(&mut row, Some(b"word"));
        row
    };
    let one = row(Some(&[0, 0, 0, 1]));
    for data in [
        b"".to_vec(),
        b"PGCOPY\n".to_vec(),
        b"no signature at all".to_vec(),
        [&BINARY[..15], b"\xff\xff\xff\xff"].concat(),
        [&BINARY[..11], b"\0\x01\0\0\0\0\0\0"].concat(),
        [&BINARY[..11], b"\0\0\0\x01\0\0\0\0"].concat(),
        [BINARY, &one, b"\0\x03"].concat(),
        [BINARY, &one, b"\0"].concat(),
        [BINARY, &one, &one[..9]].concat(),
        [BINARY, &one, &row(None)].concat(),
        [BINARY, &one, &row(Some(b"too long a key"))].concat(),
        [BINARY, &one, b"\0\x02\0\0\0\x04\0\0\0\x02\xff\xff\xff\xf0"].concat(),
        [BINARY, &one, b"\xff\xff more"].concat(),
        [BINARY, &one, b"\xff\xff"].concat(),
        [BINARY, &one].concat(),
        [BINARY].concat(),
        [&BINARY[..15], b"\0\0\0\x03abc", &one].concat(),
    ] {
        for size in [1, 1000] {
            let pieces: Vec<&[u8]> = data.chunks(size).collect();
            let sql = "COPY errors (user_id, note) FROM STDIN (FORMAT binary)";
            pair.same("BEGIN").await;
            pair.copy(sql, &pieces, Ending::Done, Way::Simple).await;
            pair.same("ROLLBACK").await;
        }
    }
}

#[tokio::test]
async fn options_are_refused_in_postgres_words_before_any_data() {
    let mut pair = Pair::new().await;
    for options in [
        "(DELIMITER 'ab')",
        "(FORMAT odd)",
        "(FORMAT csv, QUOTE ',')",
        "(FORMAT binary, HEADER)",
        "(HEADER odd)",
        "(NULL 'a', NULL 'b')",
        "(ESCAPE 'x')",
        "(ENCODING 'no-such')",
        "(FORMAT csv, FORCE_NULL (nothing))",
        "(FORMAT csv, FORCE_QUOTE (note))",
        "(unheard_of 3)",
    ] {
        let told =
            pair.copy(&format!("COPY errors FROM STDIN {options}"), &[], Ending::Done, Way::Simple).await;
        assert!(told.starts_with("EZ"), "{options}: {told}");
    }
    for sql in [
        "COPY errors (nothing) FROM STDIN",
        "COPY errors (n, n) FROM STDIN",
        "COPY errors (user_id) FROM STDIN WHERE nothing > 1",
    ] {
        let told = pair.copy(sql, &[], Ending::Done, Way::Simple).await;
        assert!(told.starts_with("EZ"), "{sql}: {told}");
    }
    let mut client = WORLD.raw("app").await;
    for sql in [
        "COPY errors FROM STDIN (FREEZE)",
        "COPY errors FROM STDIN (ENCODING 'sjis')",
        "COPY errors (note) FROM STDIN",
    ] {
        let reply = copy(&mut client, sql, &[], Ending::Done, Way::Simple).await;
        assert_eq!(reply.tags(), "EZ", "{sql}");
    }
}

#[tokio::test]
async fn who_may_not_write_is_told_so_before_any_data() {
    let mut pair = Pair::new().await;
    pair.same("BEGIN READ ONLY").await;
    let told = pair.copy("COPY errors FROM STDIN", &[], Ending::Done, Way::Simple).await;
    assert!(told.contains("25006"), "{told}");
    pair.same("ROLLBACK").await;
}

#[tokio::test]
async fn a_client_that_gives_up_is_told_so_with_its_line() {
    let mut pair = Pair::new().await;
    let data: String = (1..=10).map(|n| format!("a\t{n}\t1\tx\n")).collect();
    for way in [Way::Simple, Way::Extended] {
        let told = pair.copy("COPY ends FROM STDIN", &[data.as_bytes()], Ending::Fail("enough"), way).await;
        assert!(told.contains("COPY from stdin failed: enough"), "{told}");
        assert!(told.contains("COPY ends, line 11"), "{told}");
    }
    pair.copy("COPY ends FROM STDIN", &[], Ending::Fail("at once"), Way::Simple).await;
    assert_eq!(pair.same_rows("ends").await, [""; 0]);
}

#[tokio::test]
async fn an_error_ends_the_copy_while_the_client_still_sends() {
    let rows: String = (0..2000).map(|n| format!("fine\t{n}\t1\tx\n")).collect();
    let mut client = WORLD.raw("app").await;
    client.query("COPY late FROM STDIN");
    client.recv_until(b'G').await;
    client.copy_data(rows.as_bytes()).copy_data(b"fine\t1\twrong\tx\n");
    for _ in 0..300 {
        client.copy_data(rows.as_bytes());
    }
    let reply = client.copy_done().recv_until_ready().await;
    let error = reply.error().expect("an error");
    assert_eq!(error.field('W').as_deref(), Some("COPY late, line 2001, column n: \"wrong\""));
    let reply = client.query("SELECT count(*) FROM late").recv_until_ready().await;
    assert_eq!(reply.texts(), [[Some("0")]]);
}
