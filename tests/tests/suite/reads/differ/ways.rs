//! The ways in which a statement is asked, and what comes of it.

use bytes::{Buf, Bytes};
use shardway_tests::{Message, Param, RawClient, Reply};

use super::statement::Value;

/// How a statement is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Simple,
    /// Extended, with parameters, results as text.
    Text,
    /// The same with results in binary.
    Binary,
    /// A prepared statement that is run twice.
    Named,
    /// Without parameters, in binary.
    Bare,
    /// By a portal, some rows after the others, in binary.
    Portal,
    /// By PREPARE and EXECUTE.
    Prepared,
    /// By a cursor, in a transaction.
    Cursor,
}

pub const WAYS: [Way; 8] =
    [Way::Simple, Way::Text, Way::Binary, Way::Named, Way::Bare, Way::Portal, Way::Prepared, Way::Cursor];

/// A column's name, type (0 for those that a schema makes) and modifier.
pub type Column = (String, u32, i32);

/// What a statement gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Option<Bytes>>>,
    pub tags: Vec<String>,
}

impl Answer {
    /// What came behind it.
    fn take(&mut self, more: Self) {
        if !more.columns.is_empty() {
            self.columns = more.columns;
        }
        self.rows.extend(more.rows);
        self.tags.extend(more.tags);
    }
}

/// An error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// Its SQLSTATE.
    pub code: String,
    pub message: String,
    /// Where in the text it is, if that is said.
    pub position: Option<String>,
}

/// An answer, or an error.
pub type Said = Result<Answer, Fault>;

/// Asks.
pub async fn asked(client: &mut RawClient, sql: &str, params: &[Value], way: Way, binary: bool) -> Said {
    let formats: &[i16] = if binary { &[1] } else { &[] };
    // Integers travel in binary where all else does.
    let numbers: Vec<Option<[u8; 4]>> = params.iter().map(|value| in_binary(value, binary)).collect();
    let params: Vec<Param<'_>> = (params.iter().zip(&numbers))
        .map(|(value, number)| match (&value.text, number) {
            (None, _) => Param::Null,
            (_, Some(bytes)) => Param::Binary(bytes),
            (Some(text), _) => Param::Text(text),
        })
        .collect();
    match way {
        Way::Simple => said(&client.query(sql).recv_until_ready().await),
        Way::Named => {
            client.parse("made up", sql, &[]).describe_statement("made up").sync();
            let described = client.recv_until_ready().await;
            if described.error().is_some() {
                return said(&described);
            }
            client.bind("", "made up", &params, formats).execute("", 0).sync();
            client.bind("", "made up", &params, formats).describe_portal("").execute("", 0).sync();
            client.close_statement("made up").sync();
            let first = said(&client.recv_until_ready().await);
            let second = said(&client.recv_until_ready().await);
            client.recv_until_ready().await;
            twice(first, second, &columns(&described))
        }
        Way::Portal => {
            client.parse("", sql, &[]).bind("", "", &params, formats).describe_portal("");
            said(&client.execute("", 2).execute("", 3).execute("", 0).sync().recv_until_ready().await)
        }
        Way::Prepared => {
            let prepared = client.query(&format!("PREPARE made_up AS {sql}")).recv_until_ready().await;
            if prepared.error().is_some() {
                return said(&prepared);
            }
            let execute = format!("EXECUTE made_up{}", arguments(&params));
            client.query(&execute);
            client.query(&execute);
            client.query("DEALLOCATE made_up");
            let first = said(&client.recv_until_ready().await);
            let second = said(&client.recv_until_ready().await);
            client.recv_until_ready().await;
            let columns = first.as_ref().map(|answer| answer.columns.clone()).unwrap_or_default();
            twice(first, second, &columns)
        }
        Way::Cursor => {
            let declare = format!("DECLARE made_up CURSOR FOR {sql}");
            let fetch = ["FETCH 2 FROM made_up", "FETCH FORWARD 3 FROM made_up", "FETCH ALL FROM made_up"];
            let all = ["BEGIN", &declare].into_iter().chain(fetch).chain(["COMMIT"]);
            let mut whole = Answer::default();
            let mut failed = None;
            for one in all.clone() {
                client.query(one);
            }
            for _ in all {
                match said(&client.recv_until_ready().await) {
                    Ok(answer) => whole.take(answer),
                    Err(fault) => failed = failed.or(Some(fault)),
                }
            }
            failed.map_or(Ok(whole), Err)
        }
        Way::Text | Way::Binary | Way::Bare => {
            client.parse("", sql, &[]).bind("", "", &params, formats).describe_portal("");
            said(&client.execute("", 0).sync().recv_until_ready().await)
        }
    }
}

/// What a statement says that was run twice.
fn twice(first: Said, second: Said, columns: &[Column]) -> Said {
    match (&first, &second) {
        (Ok(one), Ok(two)) if one.rows.len() != two.rows.len() || columns != two.columns => {
            let message = format!("run twice, it gives two answers: {columns:?}, {one:?}, {two:?}");
            Err(Fault { code: "XXXXX".to_owned(), message, position: None })
        }
        _ => second,
    }
}

/// Parameters as EXECUTE takes them.
fn arguments(params: &[Param<'_>]) -> String {
    let one = |param: &Param<'_>| match param {
        Param::Text(text) => format!("'{}'", text.replace('\'', "''")),
        _ => "NULL".to_owned(),
    };
    let all: Vec<String> = params.iter().map(one).collect();
    if all.is_empty() { String::new() } else { format!("({})", all.join(", ")) }
}

fn in_binary(value: &Value, binary: bool) -> Option<[u8; 4]> {
    let number: i32 = value.text.as_ref().filter(|_| binary && value.cast == "int4")?.parse().ok()?;
    Some(number.to_be_bytes())
}

fn said(reply: &Reply) -> Said {
    if let Some(error) = reply.error() {
        let field = |code| error.field(code).unwrap_or_default();
        return Err(Fault { code: field('C'), message: field('M'), position: error.field('P') });
    }
    let mut tags = reply.commands();
    tags.extend(reply.of('s').map(|_| "suspended".to_owned()));
    Ok(Answer { columns: columns(reply), rows: reply.rows(), tags })
}

fn columns(reply: &Reply) -> Vec<Column> {
    reply.of('T').last().map(described).unwrap_or_default()
}

fn described(message: &Message) -> Vec<Column> {
    let mut body = message.body.clone();
    let count = body.get_i16();
    let column = |body: &mut Bytes| {
        let end = body.iter().position(|&byte| byte == 0).expect("a column's name ends");
        let name = String::from_utf8_lossy(&body.split_to(end)).into_owned();
        body.advance(1 + 4 + 2); // the name's end, the table's oid, the column's number
        let oid = body.get_u32();
        body.advance(2);
        let modifier = body.get_i32();
        body.advance(2);
        (name, if oid < 16384 { oid } else { 0 }, modifier)
    };
    (0..count).map(|_| column(&mut body)).collect()
}
