//! COPY of reference tables: the same rows on every shard.

use super::{Ending, Pair, WORLD, Way, copy};

#[tokio::test]
async fn rows_of_a_reference_table_go_to_every_shard() {
    let mut pair = Pair::new().await;
    let csv = "id,tag\n1,one\n2,\"two\nlines\"\n3,\n";
    let told = pair
        .copy("COPY tag FROM STDIN (FORMAT csv, HEADER)", &[csv.as_bytes()], Ending::Done, Way::Simple)
        .await;
    assert!(told.contains("COPY 3"), "{told}");
    let pieces: Vec<&[u8]> = b"4\tfour\n5\t\\N\n".chunks(3).collect();
    pair.copy("COPY tag FROM STDIN", &pieces, Ending::Done, Way::Extended).await;
    pair.copy("COPY tag (id) FROM STDIN WHERE id > 6", &[b"6\n7\n"], Ending::Done, Way::Simple).await;
    let rows = "SELECT count(*), string_agg(id || coalesce(tag, '-'), ',' ORDER BY id) FROM tag";
    for shard in WORLD.shards() {
        assert_eq!(shard.sql(rows), "6|1one,2two\nlines,3-,4four,5-,7plain");
    }
    for (data, words) in
        [("8\teight\n1\tagain\n", "23505"), ("8\teight\n9\tx\ty\n", "line 2"), ("x\ty\n", "line 1")]
    {
        let told = pair.copy("COPY tag FROM STDIN", &[data.as_bytes()], Ending::Done, Way::Simple).await;
        assert!(told.contains(words), "{told}");
    }
    pair.same("COPY tag TO STDOUT (FORMAT csv, HEADER)").await;
    pair.same("COPY (SELECT * FROM tag WHERE id < 4) TO STDOUT").await;
}

#[tokio::test]
async fn what_each_shard_would_fill_in_differently_is_refused() {
    let mut client = WORLD.raw("app").await;
    for sql in ["COPY drawn (id) FROM STDIN", "COPY label FROM STDIN WHERE random() < 0.5"] {
        let reply = copy(&mut client, sql, &[], Ending::Done, Way::Simple).await;
        assert_eq!(reply.error().and_then(|e| e.field('C')).as_deref(), Some("0A000"), "{sql}");
    }
    let reply = copy(&mut client, "COPY drawn FROM STDIN", &[b"1\t0.5\n"], Ending::Done, Way::Simple).await;
    assert_eq!(reply.commands(), ["COPY 1"]);
}

#[tokio::test]
async fn every_shard_is_told_the_same_time() {
    let mut pair = Pair::new().await;
    let binary = [super::BINARY, b"\0\x02\0\0\0\x04\0\0\0\x03\0\0\0\x01c\xff\xff"].concat();
    for (sql, data) in [
        ("COPY label (id, label) FROM STDIN", &b"1\ta\n"[..]),
        ("COPY label (label, id) FROM STDIN (FORMAT csv, HEADER match)", b"label,id\n\"b, b\",2\n"),
        ("COPY label (id, label) FROM STDIN (FORMAT binary)", &binary),
        ("COPY label (id, label) FROM STDIN WHERE now() > '2020-01-01';", b"4\td\n"),
    ] {
        let told = pair.copy(sql, &[data], Ending::Done, Way::Simple).await;
        assert!(told.contains("COPY 1"), "{told}");
    }
    let stamps = WORLD.everywhere("SELECT string_agg(id || label || at, ',' ORDER BY id) FROM label");
    assert!(stamps.iter().all(|stamp| *stamp == stamps[0]), "{stamps:?}");
    assert!(stamps[0].contains("1a20"), "{stamps:?}");
    for data in ["5\n", "5\te\textra\n", "x\te\n", "6\tf\n1\tf\n"] {
        pair.copy("COPY label (id, label) FROM STDIN", &[data.as_bytes()], Ending::Done, Way::Simple).await;
    }
    pair.copy("COPY label (id, label) FROM STDIN CSV HEADER", &[b"id,label\n7\n"], Ending::Done, Way::Simple)
        .await;
}

#[tokio::test]
async fn rows_of_one_copy_have_one_time_on_all_shards() {
    let mut pair = Pair::new().await;
    let csv: String = (0..50).map(|n| format!("{n},note\n")).collect();
    let mut binary = super::BINARY.to_vec();
    for n in 0..50i32 {
        binary.extend_from_slice(b"\0\x01\0\0\0\x04");
        binary.extend_from_slice(&n.to_be_bytes());
    }
    for (sql, data) in [
        ("COPY stamped (user_id, note) FROM STDIN CSV", csv.as_bytes()),
        ("COPY stamped (user_id) FROM STDIN BINARY", &binary),
    ] {
        pair.copy(sql, &[data], Ending::Done, Way::Simple).await;
    }
    let wrong = csv.replace("30,", "30,x,");
    let told = pair
        .copy("COPY stamped (user_id, note) FROM STDIN CSV", &[wrong.as_bytes()], Ending::Done, Way::Simple)
        .await;
    assert!(told.contains("COPY stamped, line 31: \"30,x,note\""), "{told}");
    let sql = "SELECT count(*), count(DISTINCT made), count(DISTINCT id),
               bool_and(local = made::timestamp(0)), bool_and(day = made::date) FROM stamped";
    let rows = pair.same(&format!("COPY ({sql}) TO STDOUT")).await;
    assert_eq!(String::from_utf8_lossy(&rows), "100\t2\t100\tt\tt\n");
}

#[tokio::test]
async fn words_that_each_shard_would_read_from_its_clock_are_refused() {
    let mut client = WORLD.raw("app").await;
    for (sql, data) in [
        ("COPY label FROM STDIN", "21\ta\t2020-01-01\n22\tnow\tNow\n"),
        ("COPY label (at, id) FROM STDIN CSV", "2020-01-01,21\n\" to\"\"day\",23\ntoday,22\n"),
        ("COPY stamped (user_id, day) FROM STDIN", "21\t2020-01-01\n22\tyesterday\n"),
    ] {
        let reply = copy(&mut client, sql, &[data.as_bytes()], Ending::Done, Way::Simple).await;
        let error = reply.error().and_then(|error| error.field('C'));
        assert!(["0A000", "22007"].contains(&error.unwrap_or_default().as_str()), "{sql}: {reply:?}");
    }
    let found = WORLD.everywhere("SELECT count(*) FROM label WHERE id > 20");
    assert!(found.iter().all(|count| count == "0"), "{found:?}");
    let reply = copy(&mut client, "COPY touched FROM STDIN", &[], Ending::Done, Way::Simple).await;
    assert_eq!(reply.error().and_then(|error| error.field('C')).as_deref(), Some("0A000"));
}
