//! Data made up at random, right and wrong, cut anywhere: the same becomes of it as on one Postgres.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{BINARY, Ending, Pair, Way, field};
use crate::writes::seed;

/// Data sets to make up for each test; `SHARDWAY_STATEMENTS` says otherwise.
const ROUNDS: usize = 60;

fn rounds() -> usize {
    std::env::var("SHARDWAY_STATEMENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS)
}

const VALUES: [&str; 20] = [
    "",
    "a",
    "plain words",
    "NULL",
    "\\N",
    "\\",
    "\\.",
    "\"",
    "\"\"",
    "'",
    ",",
    ";",
    "\t",
    "\n",
    "\r\n",
    "é ü 漢",
    "a\nb",
    "tab\tand, comma",
    "\\\\x",
    " x ",
];

/// A row: note, key, number, extra.
type Row = (Option<String>, i32, Option<i32>, Option<String>);

fn value(rng: &mut StdRng) -> Option<String> {
    let parts = rng.random_range(0..3);
    let text = (0..=parts).map(|_| *VALUES.choose(rng).unwrap()).collect();
    rng.random_bool(0.85).then_some(text)
}

fn made_rows(rng: &mut StdRng) -> Vec<Row> {
    let count = rng.random_range(0..60);
    let number = |rng: &mut StdRng| rng.random_bool(0.8).then(|| rng.random_range(-5..999));
    (0..count).map(|_| (value(rng), rng.random_range(-9..99), number(rng), value(rng))).collect()
}

/// Cuts data anywhere.
fn pieces<'a>(rng: &mut StdRng, data: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = data;
    let largest = *[1, 3, 20, 500, 100_000].choose(rng).unwrap();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rng.random_range(1..=largest).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn way(rng: &mut StdRng) -> Way {
    if rng.random_bool(0.5) { Way::Simple } else { Way::Extended }
}

fn in_text(value: &str, delimiter: char) -> String {
    let mut out = String::new();
    for c in value.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c == '\\' || c == delimiter => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

fn in_csv(value: &str, quote: char, escape: char) -> String {
    let mut out = String::from(quote);
    for c in value.chars() {
        if c == quote || c == escape {
            out.push(escape);
        }
        out.push(c);
    }
    out.push(quote);
    out
}

#[tokio::test]
async fn text_made_up_at_random() {
    let mut pair = Pair::new().await;
    let mut rng = StdRng::seed_from_u64(seed(7));
    for _ in 0..rounds() {
        let (delimiter, null) = *[('\t', "\\N"), (',', ""), ('|', "null")].choose(&mut rng).unwrap();
        let eol = *["\n", "\r\n", "\r"].choose(&mut rng).unwrap();
        let header = rng.random_bool(0.3);
        let mut data = if header { format!("some{delimiter}header{eol}") } else { String::new() };
        for (note, key, n, extra) in made_rows(&mut rng) {
            let text = |v: Option<String>| v.map_or(null.to_owned(), |v| in_text(&v, delimiter));
            let n = n.map_or(null.to_owned(), |n| n.to_string());
            let fields = [text(note), key.to_string(), n, text(extra)];
            data.push_str(&fields.join(&delimiter.to_string()));
            data.push_str(eol);
        }
        let delimiter = if delimiter == '\t' { "E'\\t'".to_owned() } else { format!("'{delimiter}'") };
        let sql =
            format!("COPY made_text FROM STDIN (DELIMITER {delimiter}, NULL '{null}', HEADER {header})");
        let (pieces, way) = (pieces(&mut rng, data.as_bytes()), way(&mut rng));
        pair.copy(&sql, &pieces, Ending::Done, way).await;
    }
    assert!(pair.same_rows("made_text").await.len() > rounds());
}

#[tokio::test]
async fn csv_made_up_at_random() {
    let mut pair = Pair::new().await;
    let mut rng = StdRng::seed_from_u64(seed(7));
    for _ in 0..rounds() {
        let delimiter = *[',', ';', '|'].choose(&mut rng).unwrap();
        let quote = *['"', '\''].choose(&mut rng).unwrap();
        let escape = *[quote, '\\'].choose(&mut rng).unwrap();
        let null = *["", "NULL", "\\N"].choose(&mut rng).unwrap();
        let eol = *["\n", "\r\n"].choose(&mut rng).unwrap();
        let header = rng.random_bool(0.3);
        let forced = *["", ", FORCE_NULL (note, extra)", ", FORCE_NOT_NULL (note)"].choose(&mut rng).unwrap();
        let mut data =
            if header { format!("{quote}some{eol}name{quote}{delimiter}x{eol}") } else { String::new() };
        for (note, key, n, extra) in made_rows(&mut rng) {
            let mut text = |v: Option<String>| match v {
                None => null.to_owned(),
                Some(v) if rng.random_bool(0.2) && v.chars().all(char::is_alphanumeric) => v,
                Some(v) => in_csv(&v, quote, escape),
            };
            let (note, extra) = (text(note), text(extra));
            let key = if key % 2 == 0 { key.to_string() } else { in_csv(&key.to_string(), quote, escape) };
            let n = n.map_or(null.to_owned(), |n| n.to_string());
            data.push_str(&[note, key, n, extra].join(&delimiter.to_string()));
            data.push_str(eol);
        }
        let doubled = |c: char| if c == '\'' { "''".to_owned() } else { c.to_string() };
        let sql = format!(
            "COPY made_csv FROM STDIN (FORMAT csv, DELIMITER '{delimiter}', NULL '{null}', QUOTE '{}', ESCAPE '{}', \
             HEADER {header}{forced})",
            doubled(quote),
            doubled(escape)
        );
        let (pieces, way) = (pieces(&mut rng, data.as_bytes()), way(&mut rng));
        pair.copy(&sql, &pieces, Ending::Done, way).await;
    }
    assert!(pair.same_rows("made_csv").await.len() > rounds());
}

#[tokio::test]
async fn binary_data_made_up_at_random() {
    let mut pair = Pair::new().await;
    let mut rng = StdRng::seed_from_u64(seed(7));
    for _ in 0..rounds() {
        let mut data = BINARY.to_vec();
        for (note, key, _, extra) in made_rows(&mut rng) {
            data.extend_from_slice(&[0, 3]);
            field(&mut data, note.as_deref().map(str::as_bytes));
            field(&mut data, extra.as_deref().map(str::as_bytes));
            field(&mut data, Some(&key.to_be_bytes()));
        }
        data.extend_from_slice(b"\xff\xff");
        let (pieces, way) = (pieces(&mut rng, &data), way(&mut rng));
        let sql = "COPY made_binary (note, extra, user_id) FROM STDIN (FORMAT binary)";
        pair.copy(sql, &pieces, Ending::Done, way).await;
    }
    assert!(pair.same_rows("made_binary").await.len() > rounds());
}

/// Data that is mostly right, with some characters of it changed.
fn spoiled(rng: &mut StdRng, row: impl Fn(&mut StdRng, i32) -> String, with: &[&str]) -> String {
    let count = rng.random_range(1..30);
    let mut data: String = (1..count).map(|n| row(rng, n)).collect();
    for _ in 0..rng.random_range(0..3) {
        let places: Vec<usize> = data.char_indices().map(|(at, _)| at).collect();
        let Some(&at) = places.choose(rng) else { break };
        let len = if rng.random_bool(0.5) { 0 } else { data[at..].chars().next().map_or(0, char::len_utf8) };
        data.replace_range(at..at + len, with.choose(rng).unwrap());
    }
    data
}

#[tokio::test]
async fn wrong_text_is_refused_in_the_same_words() {
    let mut pair = Pair::new().await;
    let mut rng = StdRng::seed_from_u64(seed(7));
    let mut failed = 0;
    for _ in 0..rounds() * 3 {
        let eol = *["\n", "\r\n", "\r"].choose(&mut rng).unwrap();
        let row = |_: &mut StdRng, n: i32| format!("note {n}\t{n}\t1\tx{eol}");
        let data = spoiled(
            &mut rng,
            row,
            &["\t", "\n", "\r", "\\", "\\.", "\\.\n", "\\N", "9", "", "\\\n", "\u{1}"],
        );
        let (pieces, way) = (pieces(&mut rng, data.as_bytes()), way(&mut rng));
        let told = pair.copy("COPY wrong_text FROM STDIN", &pieces, Ending::Done, way).await;
        failed += usize::from(told.contains("\nC "));
    }
    assert!(failed > rounds() / 2, "{failed}");
    pair.same_rows("wrong_text").await;
}

#[tokio::test]
async fn wrong_csv_is_refused_in_the_same_words() {
    let mut pair = Pair::new().await;
    let mut rng = StdRng::seed_from_u64(seed(7));
    let mut failed = 0;
    for _ in 0..rounds() * 3 {
        let (eol, escape) = *[("\n", '"'), ("\r\n", '\\'), ("\n", '\\')].choose(&mut rng).unwrap();
        let row = |rng: &mut StdRng, n: i32| {
            let note = if rng.random_bool(0.3) { format!("\"no{eol}te\"") } else { "note".to_owned() };
            format!("{note},{n},1,x{eol}")
        };
        let data =
            spoiled(&mut rng, row, &["\"", ",", "\n", "\r", "\\", "\\.", "\\.\n", "9", "\"\"", "\",\""]);
        let (pieces, way) = (pieces(&mut rng, data.as_bytes()), way(&mut rng));
        let sql = format!("COPY wrong_csv FROM STDIN (FORMAT csv, ESCAPE '{escape}')");
        let told = pair.copy(&sql, &pieces, Ending::Done, way).await;
        failed += usize::from(told.contains("\nC "));
    }
    assert!(failed > rounds() / 2, "{failed}");
    pair.same_rows("wrong_csv").await;
}
