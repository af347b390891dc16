//! PREPARE and EXECUTE of SQL: the same statements as the protocol's Parse and Bind, under the same names, as in
//! Postgres. So they are put in place on whatever server is asked, and an EXECUTE goes where its arguments say.

use super::Session;
use super::batch::{Item, Reread};
use super::prepared::{ParameterType, Prepared};
use super::servers::refused;
use super::simple::{Failure, Ready};
use super::transaction::Answer;
use crate::error::ClientError;
use crate::plan::locate::{Params, Target};
use crate::plan::{Access, Refusal, Route};
use crate::reply;
use crate::schema::{GroupId, ShardRef};
use crate::sql::command::Command;
use crate::sql::prepare::{Argument, Execute, Prepare};
use crate::sql::scan::all_tokens;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::settings::quote;
use std::ops::Range;
use std::sync::Arc;

/// Object ids from here on are given by each server for itself.
const FIRST_OWN_OID: u32 = 16384;

/// What servers know arguments by, for as long as they are worked out.
const NAME: &str = "\"shardway arguments\"";

/// What an EXECUTE was asked for with.
struct Asked<'a> {
    /// The portal's name.
    portal: &'a [u8],
    /// Result format codes, as in Bind, with their count in front.
    formats: &'a [u8],
    /// Messages behind the Bind.
    rest: &'a [u8],
    /// Where a hint sends it.
    place: Option<Target>,
}

/// A statement with the arguments of an EXECUTE.
pub(super) struct BoundByExecute {
    pub(super) statement: Arc<Prepared>,
    /// Where it leads.
    pub(super) target: Result<Target, Refusal>,
    /// Bind's body behind the names.
    pub(super) bind: Vec<u8>,
}

impl Session {
    /// PREPARE. Whether the answer is an error, which the client has.
    pub(super) async fn sql_prepare(&mut self, text: &str) -> Result<bool, Failure> {
        let Some(prepare) = Prepare::parse(text) else {
            let error = ClientError::error("42601", "syntax error in PREPARE");
            return Err(self.text_in_postgres_words(text, error).await.into());
        };
        let name = prepare.name.as_bytes();
        if self.statements.contains_key(name) {
            let message = format!("prepared statement \"{}\" already exists", prepare.name);
            return Err(ClientError::error("42P05", message).into());
        }
        if Command::of_text(prepare.statement) != Command::Plannable {
            let error =
                ClientError::error("42601", "only queries and data-modifying statements can be prepared");
            return Err(self.text_in_postgres_words(text, error).await.into());
        }
        let types = self.type_oids(text, &prepare.types).await?;
        let count = u16::try_from(types.len()).unwrap_or(u16::MAX);
        let mut body = [name, b"\0", prepare.statement.as_bytes(), b"\0"].concat();
        body.extend(count.to_be_bytes());
        types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
        let mut bytes = Buffer::default();
        frame::put(&mut bytes, b'P', &body);
        let items = self.understand_now(&bytes).await;
        let statement = match &items[..] {
            [Item::Parse { statement, .. }] => statement.clone(),
            [Item::Fail { error, .. }] => return Err(error.clone().into()),
            _ => return Err(malformed().into()),
        };
        let before = self.moved;
        self.moved += text[..prepare.at].chars().count();
        let failed = self.told_as_query(bytes, &items, &statement).await;
        self.moved = before;
        if !matches!(failed, Ok(false)) {
            self.statements.remove(name);
            self.note_prepared();
        }
        failed
    }

    async fn told_as_query(
        &mut self,
        bytes: Buffer,
        items: &[Item],
        statement: &Arc<Prepared>,
    ) -> Result<bool, Failure> {
        let shard = super::decide::first_shard(super::decide::plan_group(&statement.plan));
        self.told_on(shard, bytes, items).await
    }

    async fn told_on(&mut self, shard: ShardRef, bytes: Buffer, items: &[Item]) -> Result<bool, Failure> {
        self.is_query = true;
        let done = self.unit(shard, Access::ReadPrimary, &bytes, items, false, None).await;
        self.is_query = false;
        done
    }

    /// EXECUTE in simple protocol. Whether the answer is an error, which the client has.
    pub(super) async fn sql_execute(&mut self, text: &str, place: Option<Target>) -> Result<bool, Failure> {
        let mut rest = Buffer::default();
        frame::put(&mut rest, b'D', b"P\0");
        frame::put(&mut rest, b'E', &[0; 5]);
        let asked = Asked { portal: b"", formats: &[0, 0], rest: rest.filled(), place };
        self.is_query = true;
        let done = Box::pin(self.execute(text, asked)).await;
        self.is_query = false;
        done
    }

    /// The same in extended protocol: the messages of one piece. Whether the answer is an error.
    pub(super) async fn execute_piece(
        &mut self,
        statement: &Arc<Prepared>,
        bytes: &Buffer,
        items: &[Item],
    ) -> Result<bool, Failure> {
        for (at, item) in items.iter().enumerate() {
            match item {
                Item::Parse { .. } => {
                    self.client.output.extend(reply::PARSE_COMPLETE);
                    self.settle(&items[at..=at], 0);
                }
                Item::DescribeStatement { .. } if self.describe_execute(&statement.text).await? => {
                    return Ok(true);
                }
                Item::DescribeStatement { .. } => {}
                Item::Bind { at: place, portal, target, .. } => {
                    let body = &bytes.filled()[place.start + HEADER..place.end];
                    let params = frame::cstr(body).and_then(|(_, rest)| frame::cstr(rest));
                    let params = params.and_then(|(_, rest)| Params::parse(rest)).ok_or_else(malformed)?;
                    let behind: Vec<&[u8]> = items[at + 1..]
                        .iter()
                        .filter_map(|item| match item {
                            Item::Portal { at, .. } => Some(&bytes.filled()[at.clone()]),
                            _ => None,
                        })
                        .collect();
                    let asked = Asked {
                        portal,
                        formats: params.result_formats,
                        rest: &behind.concat(),
                        place: hinted(target),
                    };
                    return Box::pin(self.execute(&statement.text, asked)).await;
                }
                _ => {}
            }
        }
        Ok(false)
    }

    async fn execute(&mut self, text: &str, asked: Asked<'_>) -> Result<bool, Failure> {
        let (execute, statement) = self.executed(text).await?;
        check_number(&execute, &statement)?;
        let values = self.arguments(&execute.arguments, &statement).await?;
        let mut bytes = bind_message(asked.portal, &execute.name, &values, asked.formats);
        bytes.extend(asked.rest);
        let mut items = self.understand_now(&bytes).await;
        if let (Some(place), Some(Item::Bind { target, .. })) = (asked.place, items.first_mut()) {
            *target = Ok(place);
        }
        self.piece(&bytes, &items).await
    }

    /// EXPLAIN of an EXECUTE, where its statement runs on one shard: that server gets it under the name that it knows.
    /// Whether the answer is an error; `None` if it explains something else.
    pub(super) async fn explain_execute(&mut self, text: &str) -> Result<Option<bool>, Failure> {
        let tokens = all_tokens(text).unwrap_or_default();
        let Some(at) = tokens.iter().position(|token| text[token.clone()].eq_ignore_ascii_case("execute"))
        else {
            return Ok(None);
        };
        let explained = &text[tokens[at].start..];
        let Some(execute) =
            Execute::parse(explained).filter(|e| self.statements.contains_key(e.name.as_bytes()))
        else {
            return Ok(None);
        };
        let Some(statement) = self.statements.get(execute.name.as_bytes()).cloned() else { return Ok(None) };
        let values = self.arguments(&execute.arguments, &statement).await?;
        let bind = bind_message(b"", &execute.name, &values, &[0, 0]);
        let items = self.understand_now(&bind).await;
        let [Item::Bind { statement, target: Ok(target), .. }] = &items[..] else { return Ok(None) };
        let shard = self.single_shard(&statement.plan, target.clone())?;
        // With ANALYZE it is executed.
        self.begin_write(&statement.plan, None).await;
        let parse =
            Item::Parse { at: 0..0, statement: statement.clone(), name: execute.name.clone().into_bytes() };
        self.holding = true;
        let placed = self.told_on(shard, Buffer::default(), &[parse]).await;
        let answered = match placed {
            Ok(false) => {
                let name = tokens[at + 1].clone();
                let named = [&text[..name.start], &*statement.name, &text[name.end..], "\0"].concat();
                let mut message = Buffer::default();
                frame::put(&mut message, b'Q', named.as_bytes());
                self.forward(shard, Access::Write, &message, Ready::Ours, None).await
            }
            failed => failed,
        };
        self.holding = false;
        self.release();
        answered.map(Some)
    }

    /// The statement that an EXECUTE names, where it leads, and its arguments: Bind's body behind the names.
    pub(super) async fn bound_by_execute(&mut self, text: &str) -> Result<BoundByExecute, Failure> {
        let (execute, statement) = self.executed(text).await?;
        check_number(&execute, &statement)?;
        let values = self.arguments(&execute.arguments, &statement).await?;
        let bytes = bind_message(b"", &execute.name, &values, &[0, 0]);
        let items = self.understand_now(&bytes).await;
        let names = 1 + execute.name.len() + 1;
        let bind = bytes.filled()[HEADER + names..].to_vec();
        match items.into_iter().next() {
            Some(Item::Bind { statement, target, .. }) => Ok(BoundByExecute { statement, target, bind }),
            Some(Item::Fail { error, .. }) => Err(error.into()),
            _ => Err(malformed().into()),
        }
    }

    /// The statement that an EXECUTE names.
    async fn executed<'a>(&mut self, text: &'a str) -> Result<(Execute<'a>, Arc<Prepared>), ClientError> {
        let Some(execute) = Execute::parse(text) else {
            let error = ClientError::error("42601", "syntax error in EXECUTE");
            return Err(self.text_in_postgres_words(text, error).await);
        };
        match self.statements.get(execute.name.as_bytes()).cloned() {
            Some(statement) => Ok((execute, statement)),
            None => {
                let message = format!("prepared statement \"{}\" does not exist", execute.name);
                Err(ClientError::error("26000", message))
            }
        }
    }

    /// What an EXECUTE's answer will look like: it has no parameters of its own.
    async fn describe_execute(&mut self, text: &str) -> Result<bool, Failure> {
        let (execute, statement) = self.executed(text).await?;
        let mut bytes = Buffer::default();
        frame::put(&mut bytes, b'D', &[b"S", execute.name.as_bytes(), b"\0"].concat());
        let items = self.understand_now(&bytes).await;
        self.hides_parameters = true;
        let shard = super::decide::first_shard(super::decide::plan_group(&statement.plan));
        let done = self.unit(shard, Access::Read, &bytes, &items, false, None).await;
        self.hides_parameters = false;
        done
    }

    async fn understand_now(&mut self, bytes: &Buffer) -> Vec<Item> {
        match self.understand(bytes.filled(), &Reread::NotYet) {
            Some(items) => items,
            None => self.understand_anew(bytes.filled()).await,
        }
    }

    /// Arguments as parameters take them: what is more than a string is assigned to the parameters' types, and expressions are
    /// worked out, by a server, once, as in Postgres.
    async fn arguments(
        &mut self,
        texts: &[&str],
        statement: &Prepared,
    ) -> Result<Vec<Option<String>>, Failure> {
        let read: Vec<Argument> = texts.iter().map(|text| Argument::of(text)).collect();
        let is_untyped = |argument: &Argument| matches!(argument, Argument::Null | Argument::Text(_));
        if read.iter().all(is_untyped) {
            return Ok(read.into_iter().map(|argument| taken(argument, 0).flatten()).collect());
        }
        let types = match statement.parameters.get() {
            Some(types) => types.clone(),
            None => {
                let types: Box<[_]> = self.parameter_types(statement).await?.into();
                let _ = statement.parameters.set(types.clone());
                types
            }
        };
        let oid = |at: usize| types.get(at).map_or(0, |kind: &ParameterType| kind.oid);
        let values: Vec<_> = read.into_iter().enumerate().map(|(at, a)| taken(a, oid(at))).collect();
        if values.iter().all(Option::is_some) || types.len() != texts.len() {
            return Ok(values.into_iter().map(Option::flatten).collect());
        }
        self.check_arguments(&format!("SELECT {}", texts.join(", ")))?;
        self.assigned_arguments(texts, &types).await
    }

    /// What a server makes of arguments that are assigned to parameters.
    async fn assigned_arguments(
        &mut self,
        texts: &[&str],
        types: &[ParameterType],
    ) -> Result<Vec<Option<String>>, Failure> {
        let names: Vec<_> = types.iter().map(|kind| &*kind.name).collect();
        let numbers: Vec<_> = (1..=texts.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "PREPARE {NAME} ({}) AS SELECT {};EXECUTE {NAME}({});DEALLOCATE {NAME}",
            names.join(", "),
            numbers.join(", "),
            texts.join(", ")
        );
        self.one_row(&sql).await
    }

    /// Refuses arguments that mean anything on another server than on this one, or leave something there. Postgres takes
    /// no subquery for one either.
    fn check_arguments(&self, sql: &str) -> Result<(), ClientError> {
        let refused = || {
            ClientError::from(Refusal::unsupported(
                "this kind of expression as an argument of EXECUTE is not supported",
            ))
        };
        let words = all_tokens(sql).ok_or_else(refused)?;
        let is = |token: &Range<usize>, word: &str| sql[token.clone()].eq_ignore_ascii_case(word);
        let reads = ["select", "from", "table", "values", "into", "where"];
        if words.iter().skip(1).any(|token| reads.iter().any(|word| is(token, word))) {
            return Err(refused());
        }
        let planned = self.plan_text(&self.planning(), sql)?.plan;
        let sharded = self.with_planning(|planning| !planning.schema.is_unsharded());
        let elsewhere =
            !matches!(planned.route, Route::Any(_) | Route::One(_)) || planned.access == Access::Write;
        let leaves = planned.setting.is_some() || planned.forbidden || planned.unknown.is_some();
        if leaves || sharded && elsewhere { Err(refused()) } else { Ok(()) }
    }

    /// The types that are written there.
    async fn type_oids(&mut self, text: &str, names: &[Range<usize>]) -> Result<Vec<u32>, Failure> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let oid = |name: &Range<usize>| {
            format!("{}::pg_catalog.regtype::pg_catalog.oid", quote(&text[name.clone()]))
        };
        let sql = format!("SELECT {}", names.iter().map(oid).collect::<Vec<_>>().join(", "));
        let row = match self.one_row(&sql).await {
            Err(Failure::Statement(error)) => {
                // Which of them is not there, and where it stands.
                for name in names {
                    let width = self.moved + text[..name.start].chars().count();
                    self.one_row(&format!("{:<width$}{}", "SELECT", oid(name))).await?;
                }
                return Err(error.into());
            }
            row => row?,
        };
        let oids: Vec<u32> = row.iter().flatten().filter_map(|oid| oid.parse().ok()).collect();
        let unsharded = self.with_planning(|planning| planning.schema.is_unsharded());
        if oids.len() != names.len() || !unsharded && oids.iter().any(|oid| *oid >= FIRST_OWN_OID) {
            let what =
                "parameters of types that are not Postgres' own, in PREPARE, are not supported across shards";
            return Err(ClientError::from(Refusal::unsupported(what)).into());
        }
        Ok(oids)
    }

    /// The types of a statement's parameters: those that were declared, and those that Postgres finds for the others.
    async fn parameter_types(&mut self, statement: &Prepared) -> Result<Vec<ParameterType>, Failure> {
        let declared = self.type_names(&statement.types).await?;
        let declared: Vec<String> =
            declared.into_iter().map(|name| name.unwrap_or_else(|| "unknown".to_owned())).collect();
        let list = if declared.is_empty() { String::new() } else { format!("({})", declared.join(", ")) };
        let ask = "SELECT t::pg_catalog.oid, pg_catalog.format_type(t, -1) FROM pg_catalog.pg_prepared_statements, \
                   pg_catalog.unnest(parameter_types) WITH ORDINALITY AS u (t, n) \
                   WHERE name = 'shardway arguments' ORDER BY n";
        let sql = format!("PREPARE {NAME} {list} AS {}\n;{ask};DEALLOCATE {NAME}", statement.text);
        let shard = super::decide::first_shard(super::decide::plan_group(&statement.plan));
        let index = self.acquire(shard, Access::ReadPrimary).await?;
        let asked = self.servers[index].lease.rows(&sql).await;
        self.release();
        let rows = asked.map_err(|error| refused(&error))?;
        let kind = |row: Vec<Option<String>>| {
            let mut row = row.into_iter().flatten();
            Some(ParameterType { oid: row.next()?.parse().ok()?, name: row.next()?.into() })
        };
        Ok(rows.into_iter().filter_map(kind).collect())
    }

    /// How types are written; `None` for one that was not declared.
    async fn type_names(&mut self, oids: &[u32]) -> Result<Vec<Option<String>>, Failure> {
        if oids.is_empty() {
            return Ok(Vec::new());
        }
        let name = |oid: &u32| match oid {
            0 => "NULL".to_owned(),
            oid => format!("pg_catalog.format_type({oid}, -1)"),
        };
        let sql = format!("SELECT {}", oids.iter().map(name).collect::<Vec<_>>().join(", "));
        self.one_row(&sql).await
    }

    /// The one row of a query of ours.
    async fn one_row(&mut self, sql: &str) -> Result<Vec<Option<String>>, Failure> {
        let shard = self.any_shard(GroupId(0));
        let index = self.acquire(shard, Access::ReadPrimary).await?;
        if sql.to_ascii_lowercase().contains("advisory") {
            self.servers[index].doubt();
        }
        let mut asked = self.servers[index].lease.rows(sql).await;
        if asked.is_err()
            && sql.contains(NAME)
            && let Err(lost) = self.servers[index].lease.close_statement(NAME.trim_matches('"')).await
        {
            asked = Err(lost);
        }
        self.release();
        let rows = asked.map_err(|error| refused(&error))?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// PREPARE's answer.
    pub(super) fn answer_prepare(&mut self) {
        self.answer(Answer::Tag("PREPARE"));
    }
}

/// What a parameter of this type takes for an argument; `None`: a server has to say.
fn taken(argument: Argument, oid: u32) -> Option<Option<String>> {
    const INT2: u64 = i16::MAX as u64;
    const INT4: u64 = i32::MAX as u64;
    const INT8: u64 = i64::MAX as u64;
    match argument {
        Argument::Null => Some(None),
        Argument::Text(value) => Some(Some(value)),
        Argument::Integer(number) => {
            // int2, int4 and int8, float8 and numeric, text and varchar.
            let fits = match oid {
                21 => number <= INT2,
                23 => number <= INT4,
                20 | 701 | 1700 | 25 | 1043 => number <= INT8,
                _ => false,
            };
            fits.then(|| Some(number.to_string()))
        }
        Argument::Expression => None,
    }
}

/// Bind of a statement, with parameters in text.
fn bind_message(portal: &[u8], name: &str, values: &[Option<String>], formats: &[u8]) -> Buffer {
    let mut body = [portal, b"\0", name.as_bytes(), b"\0\0\0"].concat();
    body.extend(u16::try_from(values.len()).unwrap_or(u16::MAX).to_be_bytes());
    for value in values {
        let length = value.as_ref().map_or(-1, |value| i32::try_from(value.len()).unwrap_or(i32::MAX));
        body.extend(length.to_be_bytes());
        body.extend(value.as_deref().unwrap_or_default().as_bytes());
    }
    body.extend(formats);
    let mut bytes = Buffer::default();
    frame::put(&mut bytes, b'B', &body);
    bytes
}

/// Where a hint sends an EXECUTE: without one, its plan fits any shard.
pub(super) fn hinted(target: &Result<Target, Refusal>) -> Option<Target> {
    match target {
        Ok(target @ Target::One(_)) => Some(target.clone()),
        _ => None,
    }
}

/// Refuses an EXECUTE that has not as many arguments as its statement has parameters, declared or not.
fn check_number(execute: &Execute<'_>, statement: &Prepared) -> Result<(), ClientError> {
    let text = &statement.text;
    let tokens = all_tokens(text).unwrap_or_default();
    let number = |token: Range<usize>| text[token].strip_prefix('$')?.parse::<usize>().ok();
    let last = tokens.into_iter().filter_map(number).max().unwrap_or(0);
    let expected = last.max(statement.types.len());
    match execute.arguments.len() {
        got if got == expected => Ok(()),
        got => Err(wrong_number(&execute.name, expected, got)),
    }
}

/// Postgres' error for an EXECUTE with too few arguments, or too many.
fn wrong_number(name: &str, expected: usize, got: usize) -> ClientError {
    let message = format!("wrong number of parameters for prepared statement \"{name}\"");
    let detail = format!("Expected {expected} parameters but got {got}.");
    let body = format!("SERROR\0VERROR\0C42601\0M{message}\0D{detail}\0\0");
    ClientError { body: Some(body.into_bytes().into()), ..ClientError::error("42601", message) }
}

fn malformed() -> ClientError {
    ClientError::error("08P01", "invalid message format")
}
