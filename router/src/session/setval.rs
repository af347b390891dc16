//! setval of a sequence that counts on every shard (`plan/setval.rs`): its arguments are worked out first, by whatever tier
//! that query has; then each shard's sequence is told where to go on in its turn.
//!
//! As in one Postgres this is undone by no ROLLBACK, and needs none: whatever part of it was done, no value is given twice.

use super::Session;
use super::asked::Asked;
use super::batch::Item;
use super::parameters::with_values;
use super::prepared::Prepared;
use super::servers::refused;
use super::simple::Failure;
use crate::error::ClientError;
use crate::plan::ddl::interleave;
use crate::plan::locate::Params;
use crate::plan::setval::{Partly, SetVal};
use crate::plan::{Access, Refusal};
use crate::reply::{self, oid};
use crate::schema::ShardRef;
use shardway_pool::buffer::Buffer;
use shardway_pool::catalog::{Name, Sequence};
use shardway_pool::frame;
use shardway_shardmap::ShardId;
use std::sync::Arc;

/// What the first argument means, by the search path and the rights of the client.
const NAME: &str = "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = (";

impl Session {
    /// In simple protocol: the rows and CommandComplete, without ReadyForQuery.
    pub(super) async fn setval_simple(&mut self, setval: &SetVal, text: &str) -> Result<(), Failure> {
        if let Some(error) = self.postgres_says(&[text.as_bytes(), b"\0\0\0"].concat()).await {
            return Err(error.into());
        }
        let values = self.setval(setval, &setval.arguments, setval.partly.as_ref()).await?;
        reply::columns(&mut self.client.output, &[(&setval.label, oid::INT8)]);
        self.tell_values(&values, false);
        Ok(())
    }

    /// In extended protocol: the answers to a statement's messages, without ReadyForQuery.
    pub(super) async fn setval_extended(
        &mut self,
        setval: &SetVal,
        statement: &Arc<Prepared>,
        bytes: &Buffer,
        items: &[Item],
    ) -> Result<(), Failure> {
        let asked = Asked::of(items, bytes)?;
        self.answer_before_bind(bytes, &items[..asked.bind]).await?;
        let malformed = || ClientError::error("08P01", "invalid message format");
        let params = Params::parse(asked.params).ok_or_else(malformed)?;
        let arguments = with_values(&setval.arguments, &setval.types(&statement.types), &params)
            .ok_or_else(|| ClientError::from(Refusal::unsupported("setval with a binary parameter")))?;
        let partly = setval.partly.as_ref().filter(|_| params.is_empty());
        let values = self.setval(setval, &arguments, partly).await?;
        if !self.is_query {
            self.client.output.extend(reply::BIND_COMPLETE);
        }
        let binary = is_binary(params.result_formats);
        if asked.describes {
            describe(&mut self.client.output, &setval.label, binary);
        }
        self.tell_values(&values, binary);
        self.closed(asked.closes);
        Ok(())
    }

    /// The rows of the answer, and its end.
    fn tell_values(&mut self, values: &[Option<i64>], binary: bool) {
        for value in values {
            let value =
                value.map(|n| if binary { n.to_be_bytes().to_vec() } else { n.to_string().into_bytes() });
            let length = value.as_ref().map_or(-1, |value| value.len() as i32);
            let body = [&1i16.to_be_bytes()[..], &length.to_be_bytes(), value.as_deref().unwrap_or_default()];
            frame::put(&mut self.client.output, b'D', &body.concat());
        }
        let tag = format!("SELECT {}", values.len());
        reply::complete(&mut self.client.output, &tag);
        if self.wants_tags() {
            self.audit_answer(Some(vec![tag]), None);
        }
    }

    /// Runs it: what it gives for each row of its arguments.
    async fn setval(
        &mut self,
        setval: &SetVal,
        arguments: &str,
        partly: Option<&Partly>,
    ) -> Result<Vec<Option<i64>>, Failure> {
        let opened = self.open_together();
        let done = Box::pin(self.setval_within(setval, arguments, partly)).await;
        if done.is_err()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.failed = true;
        }
        self.close_together(opened, done).await
    }

    async fn setval_within(
        &mut self,
        setval: &SetVal,
        arguments: &str,
        partly: Option<&Partly>,
    ) -> Result<Vec<Option<i64>>, Failure> {
        let name = self.sequence_meant(setval).await?;
        let known = match partly {
            Some(partly) => self.aggregates(partly).await?,
            None => None,
        };
        let rows = self.pairs(known.as_deref().unwrap_or(arguments)).await?;
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            values.push(match (&name, row) {
                (Some(name), (Some(value), Some(called))) => {
                    self.set_sequence(setval, name, value, called).await?;
                    Some(value)
                }
                _ => None,
            });
        }
        Ok(values)
    }

    /// The sequence; `None` where the first argument is NULL.
    async fn sequence_meant(&mut self, setval: &SetVal) -> Result<Option<Name>, Failure> {
        let first = ShardRef { group: setval.group, shard: ShardId(0) };
        let index = self.acquire(first, Access::ReadPrimary).await?;
        let sql = format!("{NAME}{}\n)::pg_catalog.regclass", setval.sequence);
        let rows = self.servers[index].lease.rows(&sql).await.map_err(|e| unplaced(refused(&e)))?;
        let Some([Some(schema), Some(name)]) = rows.first().map(Vec::as_slice) else { return Ok(None) };
        let name = (schema.clone(), name.clone());
        let counts = self.with_planning(|planning| planning.schema.placing.counts_everywhere(&name));
        if !counts {
            let message = format!("\"{}\" is not known to be a sharded table's sequence", name.1);
            return Err(ClientError::from(Refusal::unsupported(message)).into());
        }
        Ok(Some(name))
    }

    /// The query for the other arguments with its aggregates worked out; `None` if they are no whole numbers.
    async fn aggregates(&mut self, partly: &Partly) -> Result<Option<String>, Failure> {
        let held = self.held(&partly.aggregates, "setval").await?;
        let [row] = &held.rows[..] else { return Ok(None) };
        let Some(values) = super::spread::values_of(row) else { return Ok(None) };
        let literal = |(value, oid): (&Option<&[u8]>, &u32)| {
            let name = match oid {
                20 => "int8",
                21 => "int2",
                23 => "int4",
                _ => return None,
            };
            let value = match value {
                Some(digits) => format!("'{}'", std::str::from_utf8(digits).ok()?),
                None => "NULL".to_owned(),
            };
            Some(format!("({value}::pg_catalog.{name})"))
        };
        let values: Option<Vec<String>> = values.iter().zip(&held.types).map(literal).collect();
        Ok(values.map(|values| partly.with(&values)))
    }

    /// What a query gives for the other arguments.
    async fn pairs(&mut self, sql: &str) -> Result<Vec<(Option<i64>, Option<bool>)>, Failure> {
        let held = self.held(sql, "setval").await?;
        let unread = || ClientError::error("XX000", "the arguments of setval can't be read");
        Ok(held.rows.iter().map(|row| pair(row)).collect::<Option<_>>().ok_or_else(unread)?)
    }

    async fn set_sequence(
        &mut self,
        setval: &SetVal,
        name: &Name,
        value: i64,
        called: bool,
    ) -> Result<(), Failure> {
        let stand = self.stand(setval, name).await?;
        let first = stand[0];
        if !(first.min..=first.max).contains(&value) {
            let message = format!(
                "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                name.1, first.min, first.max
            );
            return Err(ClientError::error("22003", message).into());
        }
        let turns = interleave::set(&stand, value, called).ok_or_else(|| ClientError::from(apart(name)))?;
        let shards: Vec<ShardRef> = self.database.shards_of(setval.group).collect();
        let servers = self.acquire_all(&shards, Access::ReadPrimary).await?;
        for (&index, (value, called)) in servers.iter().zip(turns) {
            let sql = format!("SELECT pg_catalog.setval({}, {value}, {called})", literal(name));
            self.servers[index].lease.tell(&sql).await.map_err(|e| refused(&e))?;
        }
        let mut failure = Ok(());
        for index in servers {
            let done = self.servers[index].lease.drain().await.map_err(|e| refused(&e));
            failure = failure.and(done);
        }
        Ok(failure?)
    }

    /// How the sequence stands on each shard. Where it counts in steps of more than one, who sets it waits for others that do.
    async fn stand(&mut self, setval: &SetVal, name: &Name) -> Result<Vec<Sequence>, Failure> {
        let names = [name.clone()];
        let mut locked = false;
        loop {
            let stand = self.sequences_on(setval.group, &names).await?;
            let all: Vec<Option<Sequence>> = stand.iter().map(|shard| shard.get(name).copied()).collect();
            let known: Option<Vec<Sequence>> = all.iter().copied().collect();
            let Some(known) = known.filter(|known| !known.is_empty()) else {
                let message = format!("permission denied for sequence {}", name.1);
                let hint =
                    "It counts on several shards: setval reads how it stands there, which takes SELECT.";
                return Err(ClientError::error("42501", message).hint(hint).into());
            };
            if !interleave::is_interleaved(&all) {
                return Err(ClientError::from(apart(name)).into());
            }
            if locked || known[0].increment.unsigned_abs() == known.len() as u64 {
                return Ok(known);
            }
            let first = ShardRef { group: setval.group, shard: ShardId(0) };
            let index = self.acquire(first, Access::ReadPrimary).await?;
            let sql = format!(
                "SELECT pg_catalog.pg_advisory_xact_lock({CLASS}, {}::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int4)",
                literal(name)
            );
            self.servers[index].lease.run(&sql).await.map_err(|e| refused(&e))?;
            locked = true;
        }
    }
}

/// A value and whether it was given, of a DataRow's body.
fn pair(row: &[u8]) -> Option<(Option<i64>, Option<bool>)> {
    let values = super::spread::values_of(row)?;
    let [value, called] = values[..] else { return None };
    let value = match value {
        Some(digits) => Some(std::str::from_utf8(digits).ok()?.parse().ok()?),
        None => None,
    };
    Some((value, called.map(|called| called == b"t")))
}

/// A class of advisory locks: who sets a sequence.
const CLASS: i32 = 0x5368_6473;

fn apart((_, name): &Name) -> Refusal {
    Refusal {
        code: "0A000",
        message: format!("sequence \"{name}\" is of a sharded table, and does not count in turns"),
        hint: "Send ALTER SEQUENCE … NO CYCLE through Shardway first.",
    }
}

/// The name as a string that means just it.
fn literal((schema, name): &Name) -> String {
    let quote = |part: &String| format!("\"{}\"", part.replace('"', "\"\""));
    format!("'{}'", format!("{}.{}", quote(schema), quote(name)).replace('\'', "''"))
}

/// Without the place in a text that is not the client's.
fn unplaced(error: ClientError) -> ClientError {
    let without = |body: Box<[u8]>| {
        let fields = body.split_inclusive(|&byte| byte == 0).filter(|field| !field.starts_with(b"P"));
        fields.flatten().copied().collect()
    };
    ClientError { body: error.body.map(without), ..error }
}

/// Whether the first column is to be binary.
fn is_binary(formats: &[u8]) -> bool {
    frame::i16(formats).is_some_and(|(count, codes)| count > 0 && codes.get(..2) == Some(&[0, 1]))
}

fn describe(out: &mut Buffer, label: &str, binary: bool) {
    let mut body = [&1i16.to_be_bytes()[..], label.as_bytes(), &[0; 7], &oid::INT8.to_be_bytes()].concat();
    body.extend_from_slice(&8i16.to_be_bytes());
    body.extend_from_slice(&(-1i32).to_be_bytes());
    body.extend_from_slice(&i16::from(binary).to_be_bytes());
    frame::put(out, b'T', &body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_as_it_is() {
        assert_eq!(literal(&("s".to_owned(), "it's \"x\"".to_owned())), "'\"s\".\"it''s \"\"x\"\"\"'");
    }

    #[test]
    fn the_answers_column_is_an_int8() {
        let (mut own, mut known) = (Buffer::default(), Buffer::default());
        describe(&mut own, "setval", false);
        reply::columns(&mut known, &[("setval", oid::INT8)]);
        assert_eq!(own.filled(), known.filled());
        assert!(is_binary(&[0, 1, 0, 1]) && !is_binary(&[0, 0]) && !is_binary(&[0, 1, 0, 0]));
    }
}
