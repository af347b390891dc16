//! Asks the proxy and one Postgres the same, and says where they differ.

use bytes::{Buf, Bytes};
use shardway_tests::{Message, Param, RawClient, Reply};

use super::statement::{Order, Statement, Value};

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
}

pub const WAYS: [Way; 5] = [Way::Simple, Way::Text, Way::Binary, Way::Named, Way::Bare];

/// A column's name, type (0 for those that a schema makes) and modifier.
pub type Column = (String, u32, i32);

/// What a statement gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Option<Bytes>>>,
    pub tags: Vec<String>,
}

/// An answer, or an error's SQLSTATE and message.
pub type Said = Result<Answer, (String, String)>;

/// A client of the proxy, and one of the single database.
pub struct Pair {
    pub proxy: RawClient,
    pub single: RawClient,
}

/// How the two compare.
pub enum Verdict {
    Same,
    /// Both gave the same error.
    Wrong,
    /// The proxy did not answer; why.
    Refused(String),
    /// One of them took too long.
    Slow,
    /// They differ; how.
    Differs(String),
}

impl Pair {
    /// Asks both.
    pub async fn ask(&mut self, statement: &Statement, way: Way) -> Verdict {
        let (sql, params) = match way {
            Way::Simple | Way::Bare => (statement.sql(), Vec::new()),
            _ => statement.with_params(),
        };
        let binary = matches!(way, Way::Binary | Way::Bare) && !statement.textual;
        let (got, expected) = tokio::join!(
            asked(&mut self.proxy, &sql, &params, way, binary),
            asked(&mut self.single, &sql, &params, way, binary)
        );
        judged(got, expected, &statement.order)
    }
}

fn judged(got: Said, expected: Said, order: &Order) -> Verdict {
    match (got, expected) {
        (Err((code, _)), _) | (_, Err((code, _))) if code == "57014" => Verdict::Slow,
        (Err((code, _)), Err((other, _))) if code == other => Verdict::Wrong,
        (Err((code, message)), _) if code == "0A000" => Verdict::Refused(message),
        (Ok(got), Ok(expected)) => match difference(&got, &expected, order) {
            None => Verdict::Same,
            Some(difference) => Verdict::Differs(difference),
        },
        (got, expected) => {
            let short = |said: Said| said.map(|answer| format!("{} rows", answer.rows.len()));
            Verdict::Differs(format!("the proxy: {:?}\nPostgres: {:?}", short(got), short(expected)))
        }
    }
}

fn difference(got: &Answer, expected: &Answer, order: &Order) -> Option<String> {
    if got.columns != expected.columns {
        return Some(format!("columns\nthe proxy: {:?}\nPostgres: {:?}", got.columns, expected.columns));
    }
    if got.tags != expected.tags {
        return Some(format!("tags\nthe proxy: {:?}\nPostgres: {:?}", got.tags, expected.tags));
    }
    let keys = |answer: &Answer, places: &[usize]| -> Vec<Vec<Option<Bytes>>> {
        answer
            .rows
            .iter()
            .map(|row| places.iter().map(|at| row.get(*at).cloned().flatten()).collect())
            .collect()
    };
    let sorted = |answer: &Answer| {
        let mut rows = answer.rows.clone();
        rows.sort();
        rows
    };
    let same = match order {
        Order::Whole => got.rows == expected.rows,
        Order::By(places) => keys(got, places) == keys(expected, places) && sorted(got) == sorted(expected),
        Order::Any => sorted(got) == sorted(expected),
    };
    // Those that the other has not; all where only their order differs.
    let show = |answer: &Answer, other: &Answer| {
        let own = answer.rows.iter().filter(|row| !other.rows.contains(row)).collect::<Vec<_>>();
        let own = if own.is_empty() { answer.rows.iter().collect() } else { own };
        let rows = own.iter().take(6).map(|row| format!("  {row:?}").chars().take(400).collect::<String>());
        format!("{} rows, as\n{}", answer.rows.len(), rows.collect::<Vec<_>>().join("\n"))
    };
    (!same).then(|| format!("rows\nthe proxy: {}\nPostgres: {}", show(got, expected), show(expected, got)))
}

async fn asked(client: &mut RawClient, sql: &str, params: &[Value], way: Way, binary: bool) -> Said {
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
            let first = said(&client.recv_until_ready().await);
            client.bind("", "made up", &params, formats).describe_portal("").execute("", 0).sync();
            let second = said(&client.recv_until_ready().await);
            client.close_statement("made up").sync().recv_until_ready().await;
            let columns = columns(&described);
            match (&first, &second) {
                (Ok(one), Ok(two)) if one.rows.len() != two.rows.len() || columns != two.columns => {
                    Err(("XXXXX".to_owned(), "run twice, it gives two answers".to_owned()))
                }
                _ => second,
            }
        }
        Way::Text | Way::Binary | Way::Bare => {
            client.parse("", sql, &[]).bind("", "", &params, formats).describe_portal("");
            said(&client.execute("", 0).sync().recv_until_ready().await)
        }
    }
}

fn in_binary(value: &Value, binary: bool) -> Option<[u8; 4]> {
    let number: i32 = value.text.as_ref().filter(|_| binary && value.cast == "int4")?.parse().ok()?;
    Some(number.to_be_bytes())
}

fn said(reply: &Reply) -> Said {
    if let Some(error) = reply.error() {
        return Err((error.field('C').unwrap_or_default(), error.field('M').unwrap_or_default()));
    }
    Ok(Answer { columns: columns(reply), rows: reply.rows(), tags: reply.commands() })
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
