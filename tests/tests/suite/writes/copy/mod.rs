//! COPY over four shards beside the same COPY on one Postgres: what comes of any data, in any format, cut anywhere.

mod errors;
mod formats;
mod made_up;
mod out;
mod protocols;
mod reference;

use std::fmt::Write;

use shardway_tests::{PASSWORD, RawClient, Reply, SharedWorld, World};

/// Tables of one shape, one for each test that fills them. `late` is filled in transactions that are rolled back.
const TABLES: [&str; 18] = [
    "made_text",
    "made_csv",
    "made_binary",
    "wrong_text",
    "wrong_csv",
    "options",
    "errors",
    "ends",
    "protocols",
    "spread",
    "out",
    "late",
    "left_over",
    "lost",
    "batched",
    "huge",
    "kept",
    "piped",
];

fn schema() -> String {
    let mut schema = String::from("CREATE TYPE mood AS ENUM ('sad', 'happy');");
    for table in TABLES {
        let _ = write!(
            schema,
            "CREATE TABLE {table} (note text, user_id int NOT NULL, n numeric CHECK (n < 1000), extra text DEFAULT 'none');"
        );
    }
    schema.push_str(
        "CREATE TABLE word (user_id text NOT NULL, n int, note text);
         CREATE TABLE feeling (user_id mood NOT NULL, n int);
         CREATE TABLE label (id int PRIMARY KEY, label text, at timestamptz DEFAULT now());
         CREATE TABLE tag (id int PRIMARY KEY, tag text DEFAULT 'plain');
         CREATE TABLE stamped (user_id int NOT NULL, note text, made timestamptz DEFAULT now(), day date DEFAULT current_date,
           id uuid DEFAULT gen_random_uuid(), local timestamp(0) DEFAULT now());
         CREATE TABLE drawn (id int PRIMARY KEY, number float8 DEFAULT random());
         CREATE TABLE touched (id int PRIMARY KEY, at timestamptz);
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at = now(); RETURN NEW; END';
         CREATE TRIGGER touching BEFORE INSERT ON touched FOR EACH ROW EXECUTE FUNCTION touch();
         CREATE TABLE loud (user_id int PRIMARY KEY, note text);
         CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN RAISE NOTICE 'got %', NEW.user_id; RETURN NEW; END $$;
         CREATE TRIGGER shouting BEFORE INSERT ON loud FOR EACH ROW EXECUTE FUNCTION shout();",
    );
    schema
}

/// Four shards, and beside them one database with the same tables.
pub static WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(4).servers(2).schema(&schema()).oracle().start());

/// A client of the proxy, and one of the single database.
pub struct Pair {
    pub proxy: RawClient,
    pub single: RawClient,
}

/// How the data ends.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    Done,
    Fail(&'a str),
}

/// How a COPY is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Simple,
    Extended,
}

impl Pair {
    pub async fn new() -> Pair {
        let mut single = RawClient::connect(WORLD.server(0).port()).await;
        single.login("app", "oracle", PASSWORD).await;
        Pair { proxy: WORLD.raw("app").await, single }
    }

    /// Empties a table everywhere.
    pub fn empty(&self, table: &str) {
        let sql = format!("TRUNCATE {table}");
        WORLD.shards().for_each(|shard| drop(shard.sql(&sql)));
        WORLD.server(0).sql("oracle", &sql).unwrap();
    }

    /// Copies the same into both. What they say must be the same.
    pub async fn copy(&mut self, sql: &str, pieces: &[&[u8]], ending: Ending<'_>, way: Way) -> String {
        let expected = told(&copy(&mut self.single, sql, pieces, ending, way).await);
        let got = told(&copy(&mut self.proxy, sql, pieces, ending, way).await);
        assert_eq!(
            got,
            expected,
            "{sql}\n{:?}",
            pieces.iter().map(|p| p.escape_ascii().to_string()).collect::<Vec<_>>()
        );
        got
    }

    /// What is in a table, which must be the same.
    pub async fn same_rows(&mut self, table: &str) -> Vec<String> {
        let sql = format!("SELECT * FROM {table}");
        let expected = rows(&mut self.single, &sql).await;
        let got = rows(&mut self.proxy, &sql).await;
        assert_eq!(got, expected, "{table}");
        got
    }

    /// Both are asked the same, and say the same but for the order of what a COPY gives.
    pub async fn same(&mut self, sql: &str) -> Vec<u8> {
        let expected = self.single.query(sql).recv_until_ready().await;
        let got = self.proxy.query(sql).recv_until_ready().await;
        let (expected, got) = (streamed(&expected), streamed(&got));
        assert_eq!(got, expected, "{sql}");
        got.2.concat()
    }
}

/// One COPY FROM STDIN.
pub async fn copy(
    client: &mut RawClient,
    sql: &str,
    pieces: &[&[u8]],
    ending: Ending<'_>,
    way: Way,
) -> Reply {
    match way {
        Way::Simple => client.query(sql),
        Way::Extended => client.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0).sync(),
    };
    let mut messages = Vec::new();
    loop {
        let message = client.recv().await;
        let tag = message.tag;
        messages.push(message);
        match tag {
            b'G' => break,
            b'Z' => return Reply(messages),
            _ => {}
        }
    }
    for piece in pieces {
        client.copy_data(piece);
    }
    match ending {
        Ending::Done => client.copy_done(),
        Ending::Fail(reason) => client.copy_fail(reason),
    };
    if way == Way::Extended {
        client.sync();
    }
    messages.extend(client.recv_until_ready().await.0);
    Reply(messages)
}

/// Everything that matters of an answer.
pub fn told(reply: &Reply) -> String {
    let mut told = reply.tags();
    for command in reply.commands() {
        let _ = write!(told, " {command}");
    }
    if let Some(error) = reply.error() {
        for code in ['S', 'C', 'M', 'D', 'H', 'W', 's', 't', 'c'] {
            if let Some(field) = error.field(code) {
                let _ = write!(told, "\n{code} {field}");
            }
        }
    }
    if let Some(response) = reply.of('G').next() {
        let _ = write!(told, "\nG {:?}", response.body);
    }
    told
}

async fn rows(client: &mut RawClient, sql: &str) -> Vec<String> {
    let reply = client.query(sql).recv_until_ready().await;
    assert!(reply.error().is_none(), "{reply:?}");
    let mut rows: Vec<String> = reply.rows().iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

/// Messages, response, data and tags.
type Streamed = (String, Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<String>);

/// What a COPY TO gives: its messages, the response, its data in order of its bytes, and tags.
pub fn streamed(reply: &Reply) -> Streamed {
    let mut data: Vec<Vec<u8>> = reply.of('d').map(|m| m.body.to_vec()).collect();
    // A header stays where it is; the binary one stands in front of a row.
    const START: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let starts = data.first().is_some_and(|first| first.starts_with(START));
    if let (true, Some(first)) = (starts, data.first_mut()) {
        first.drain(..START.len());
    }
    data.sort();
    if starts {
        data.insert(0, START.to_vec());
    }
    let response = reply.of('H').map(|m| m.body.to_vec()).collect();
    let error = reply.error().map(|e| (e.field('C'), e.field('M')));
    (format!("{} {error:?}", reply.tags()), response, data, reply.commands())
}

/// A field of the binary format.
pub fn field(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => {
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        }
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
    }
}

/// What the binary format begins with.
pub const BINARY: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
