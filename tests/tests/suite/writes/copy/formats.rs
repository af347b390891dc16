//! Formats and options, one by one.

use super::{BINARY, Ending, Pair, WORLD, Way, field};

#[tokio::test]
async fn every_option_is_taken_as_by_one_postgres() {
    let mut pair = Pair::new().await;
    for (options, data) in [
        ("", "a\t1\t1\tx\nb\t2\t\\N\ty\n"),
        ("", "a\t0x1\t1\tx\n"),
        ("", "one\t3\t1\tx\ntwo\t4\t2\ty"),
        ("", "a\\tb\\\\\t\\x35\t1\tx\\\ny\nb\t\\066\t2\t\\.5\n"),
        ("", "a\t7\t1\tx\n\\.\nwhatever"),
        ("", "a\t8\t1\tx\r\nb\t9\t1\ty\r\n"),
        ("", "a\t10\t1\tx\rb\t11\t1\ty\r"),
        ("WITH DELIMITER '|' NULL 'none'", "a|12|none|x\nb|13|1|none\n"),
        ("USING DELIMITERS ';'", "a;14;1;x\n"),
        ("(HEADER)", "whatever\tis\there\na\t15\t1\tx\n"),
        ("(HEADER match)", "note\tuser_id\tn\textra\na\t16\t1\tx\n"),
        ("(NULL '', DELIMITER E'\\x01')", "a\u{1}17\u{1}\u{1}\n"),
        ("CSV", "a,18,1,x\n\"b,\",\"19\",,\"y\"\"z\"\n"),
        ("CSV HEADER", "odd,\"na\nme\",x,y\n\"a\nb\",20,1,x\nb,21,2,\"\"\n"),
        ("(FORMAT csv, QUOTE '''', ESCAPE '\\')", "'a\\'b\\\\',22,1,'x\\y'\n"),
        (
            "(FORMAT csv, NULL 'nil', FORCE_NULL (note, n), FORCE_NOT_NULL (extra))",
            "\"nil\",23,\"nil\",nil\n",
        ),
        ("CSV NULL AS '-' FORCE NOT NULL note, extra", "-,24,-,-\n"),
        ("(FORMAT csv, DELIMITER E'\\t', HEADER false)", "a\t25\t1\tx\n"),
        ("CSV", "\\.a,26,1,x\na,27,1,\\.\n\\.\nrest"),
        ("(FORMAT csv)", "a\r\n,28,1,x\r\n"),
        ("(FORMAT csv)", "\"a\r\n\",29,1,x\r\nb,30,1,\"\ry\"\r\n"),
        ("(ENCODING 'latin1')", "caf\u{e9}\t31\t1\tx\n"),
        ("(FORMAT csv, HEADER)", "note,user_id,n,extra"),
        ("(FORMAT csv, HEADER)", ""),
        ("", ""),
        ("", "\\.\n"),
        ("WHERE n > 1 AND note <> 'c'", "a\t32\t1\tx\nb\t33\t2\ty\nc\t34\t3\tz\n"),
        ("(FORMAT csv) WHERE user_id % 2 = 0;", "a,35,1,x\nb,36,2,y\n"),
    ] {
        for size in [1, 5, 10_000] {
            let pieces: Vec<&[u8]> = data.as_bytes().chunks(size).collect();
            pair.copy(&format!("COPY options FROM STDIN {options}"), &pieces, Ending::Done, Way::Simple)
                .await;
        }
    }
    assert!(pair.same_rows("options").await.len() > 60);
}

#[tokio::test]
async fn options_of_one_template_are_not_those_of_another() {
    let mut pair = Pair::new().await;
    pair.empty("kept");
    for delimiter in [",", "|", ";"] {
        let sql = format!("COPY kept (user_id, note) FROM STDIN (DELIMITER '{delimiter}')");
        let data = format!("1{delimiter}a\n2{delimiter}b\n");
        pair.copy(&sql, &[data.as_bytes()], Ending::Done, Way::Simple).await;
    }
    assert_eq!(pair.same_rows("kept").await.len(), 6);
}

#[tokio::test]
async fn binary_rows_go_where_their_keys_say() {
    let mut pair = Pair::new().await;
    let mut data = [&BINARY[..15], b"\0\0\0\x02ex"].concat();
    for key in 0..200i32 {
        data.extend_from_slice(&[0, 3]);
        field(&mut data, (key % 3 > 0).then_some("ein Wort, größer".as_bytes()));
        field(&mut data, Some(&key.to_be_bytes()));
        field(&mut data, None);
    }
    data.extend_from_slice(b"\xff\xff");
    let sql = "COPY spread (note, user_id, extra) FROM STDIN WITH BINARY";
    for size in [3, 1000] {
        let pieces: Vec<&[u8]> = data.chunks(size).collect();
        pair.copy(sql, &pieces, Ending::Done, Way::Extended).await;
    }
    assert_eq!(pair.same_rows("spread").await.len(), 400);
    let found = WORLD.everywhere("SELECT count(*) FROM spread");
    assert!(found.iter().all(|count| count != "0"), "{found:?}");
}

#[tokio::test]
async fn keys_of_other_types_are_read_as_their_columns() {
    let mut pair = Pair::new().await;
    let words = "Ä\t1\tx\n\t2\tempty\n'quoted'\t3\tx\na\\tb\t4\tx\n".repeat(3);
    pair.copy("COPY word FROM STDIN", &[words.as_bytes()], Ending::Done, Way::Simple).await;
    assert_eq!(pair.same_rows("word").await.len(), 12);
    pair.copy("COPY feeling FROM STDIN CSV", &[b"sad,1\nhappy,2\n"], Ending::Done, Way::Simple).await;
    let told =
        pair.copy("COPY feeling FROM STDIN CSV", &[b"sad,1\ngrim,2\n"], Ending::Done, Way::Simple).await;
    assert!(told.contains("22P02"), "{told}");
    assert_eq!(pair.same_rows("feeling").await.len(), 2);
    let ids = "SELECT * FROM word WHERE user_id = 'Ä'";
    pair.same(ids).await;
}

#[tokio::test]
async fn a_huge_field_goes_through() {
    let mut pair = Pair::new().await;
    let huge = "x".repeat(3_000_000);
    let data = format!("small\t1\t1\tx\n{huge}\t2\t1\t{huge}\nsmall\t3\t1\tx\n");
    let pieces: Vec<&[u8]> = data.as_bytes().chunks(100_000).collect();
    pair.copy("COPY huge FROM STDIN", &pieces, Ending::Done, Way::Simple).await;
    pair.copy("COPY huge FROM STDIN", &[data.as_bytes()], Ending::Done, Way::Simple).await;
    assert_eq!(pair.same_rows("huge").await.len(), 6);
}
