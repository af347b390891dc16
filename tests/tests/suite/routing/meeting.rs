//! Literal, text parameter, binary parameter and COPY field of one value meet on one shard, through the real binary.

use std::cell::RefCell;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use shardway_tests::{Param, RawClient, SharedWorld, World};

use super::{ask, counts, only_on};

const SHARDS: u64 = 4;

const SCHEMA: &str =
    "CREATE TABLE words (user_id text, via text); CREATE TABLE numbers (user_id int8, via text);";

static WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(SHARDS as usize).schema(SCHEMA).start());

/// Stores the value in every way, and gives the ways.
async fn store(client: &mut RawClient, table: &str, text: &str, binary: &[u8]) -> [&'static str; 4] {
    let quoted = text.replace('\'', "''");
    ask(client, &format!("INSERT INTO {table} VALUES ('{quoted}', 'literal')")).await.unwrap();
    for (via, param) in [("text", Param::Text(text)), ("binary", Param::Binary(binary))] {
        client.parse("", &format!("INSERT INTO {table} VALUES ($1, '{via}')"), &[]);
        client.bind("", "", &[param], &[]).execute("", 0).sync();
        assert_eq!(client.recv_until_ready().await.commands(), ["INSERT 0 1"]);
    }
    let escaped: String =
        text.chars().map(|c| if "\\\t\n\r".contains(c) { escape(c) } else { c.to_string() }).collect();
    client.query(&format!("COPY {table} FROM STDIN")).recv_until(b'G').await;
    let copied =
        client.copy_data(format!("{escaped}\tcopy\n").as_bytes()).copy_done().recv_until_ready().await;
    assert_eq!(copied.commands(), ["COPY 1"], "{text:?}: {:?}", copied.error());
    ["literal", "text", "binary", "copy"]
}

fn escape(c: char) -> String {
    match c {
        '\\' => r"\\".into(),
        '\t' => r"\t".into(),
        '\n' => r"\n".into(),
        _ => r"\r".into(),
    }
}

fn check<T: std::fmt::Debug + Clone>(
    values: impl Strategy<Value = T>,
    table: &'static str,
    forms: impl Fn(&T) -> (String, Vec<u8>),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = RefCell::new(runtime.block_on(WORLD.raw("app")));
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    runner
        .run(&values, |value| {
            let client = &mut *client.borrow_mut();
            let (text, binary) = forms(&value);
            let ways = runtime.block_on(store(client, table, &text, &binary));
            let quoted = text.replace('\'', "''");
            for way in ways {
                let condition = format!("user_id = '{quoted}' AND via = '{way}'");
                prop_assert_eq!(
                    counts(&WORLD, table, &condition),
                    only_on(&text, SHARDS),
                    "{:?} by {}",
                    &text,
                    way
                );
            }
            let found = format!("SELECT via FROM {table} WHERE user_id = '{quoted}'");
            prop_assert_eq!(runtime.block_on(ask(client, &found)).unwrap().len(), 4);
            // Values may come twice.
            let gone =
                runtime.block_on(ask(client, &format!("DELETE FROM {table} WHERE user_id = '{quoted}'")));
            prop_assert_eq!(gone, Ok(vec![]));
            Ok(())
        })
        .unwrap();
}

#[test]
fn texts_meet() {
    // Everything but NUL, which no text has.
    check("[^\0]{0,12}", "words", |text: &String| (text.clone(), text.clone().into_bytes()));
}

#[test]
fn integers_meet() {
    check(any::<i64>(), "numbers", |n| (n.to_string(), n.to_be_bytes().to_vec()));
}
