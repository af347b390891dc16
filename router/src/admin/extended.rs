//! The extended protocol on the admin database: drivers that prepare everything are served, too.
//!
//! A command is read when it is parsed and carried out when its portal is first executed. Parameters there are none;
//! results come in text or binary, as Bind asks.

use super::answer::{self, Answer, Column};
use super::command::Command;
use super::console::Console;
use super::run;
use crate::error::ClientError;
use crate::proxy::Proxy;
use crate::reply;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use std::collections::HashMap;
use std::sync::Arc;

/// A command that was parsed.
struct Prepared {
    command: Command,
    columns: Option<&'static [Column]>,
}

/// A command that was bound.
struct Portal {
    prepared: Arc<Prepared>,
    /// Bind's result formats: none, one for all, or one each.
    formats: Vec<i16>,
    /// Its answer once it was executed, and how many rows are sent.
    answer: Option<(Answer, usize)>,
}

impl Portal {
    fn is_binary(&self, column: usize) -> bool {
        match &self.formats[..] {
            [] => false,
            [all] => *all == 1,
            each => each.get(column) == Some(&1),
        }
    }
}

/// One connection's statements and portals.
#[derive(Default)]
pub(super) struct Extended {
    statements: HashMap<Vec<u8>, Arc<Prepared>>,
    portals: HashMap<Vec<u8>, Portal>,
    /// After an error: messages are ignored up to Sync.
    skipping: bool,
}

impl Extended {
    /// Takes one message of the extended protocol.
    pub async fn take(
        &mut self,
        proxy: &Arc<Proxy>,
        out: &mut Buffer,
        console: &Console,
        tag: u8,
        body: &[u8],
    ) {
        if tag == b'S' {
            self.skipping = false;
            self.portals.clear();
            return reply::ready(out, b'I');
        }
        if self.skipping {
            return;
        }
        let done = match tag {
            b'P' => self.parse(out, body),
            b'B' => self.bind(out, body),
            b'D' => self.describe(out, body),
            b'E' => self.execute(proxy, out, console, body).await,
            b'C' => self.close(out, body),
            // Flush: everything is sent as soon as nothing more is there to be read.
            _ => Ok(()),
        };
        if let Err(error) = done {
            reply::error(out, &error);
            self.skipping = true;
        }
    }

    fn parse(&mut self, out: &mut Buffer, body: &[u8]) -> Result<(), ClientError> {
        let (name, rest) = frame::cstr(body).ok_or_else(malformed)?;
        let (text, _) = frame::cstr(rest).ok_or_else(malformed)?;
        let command = Command::parse(&String::from_utf8_lossy(text))?;
        if !name.is_empty() && self.statements.contains_key(name) {
            let name = String::from_utf8_lossy(name);
            return Err(ClientError::error("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        let columns = run::columns(&command)?;
        self.statements.insert(name.to_vec(), Arc::new(Prepared { command, columns }));
        out.extend(reply::PARSE_COMPLETE);
        Ok(())
    }

    fn bind(&mut self, out: &mut Buffer, body: &[u8]) -> Result<(), ClientError> {
        let (portal, rest) = frame::cstr(body).ok_or_else(malformed)?;
        let (statement, rest) = frame::cstr(rest).ok_or_else(malformed)?;
        let prepared = self.statement(statement)?.clone();
        let (formats, rest) = frame::i16(rest).ok_or_else(malformed)?;
        let rest = rest.get(2 * usize::try_from(formats).unwrap_or(0)..).ok_or_else(malformed)?;
        let (parameters, mut rest) = frame::i16(rest).ok_or_else(malformed)?;
        if parameters != 0 {
            return Err(ClientError::error("08P01", "the admin database's commands take no parameters"));
        }
        let mut formats = Vec::new();
        let (count, more) = frame::i16(rest).ok_or_else(malformed)?;
        rest = more;
        for _ in 0..count {
            let (format, more) = frame::i16(rest).ok_or_else(malformed)?;
            formats.push(format);
            rest = more;
        }
        self.portals.insert(portal.to_vec(), Portal { prepared, formats, answer: None });
        out.extend(reply::BIND_COMPLETE);
        Ok(())
    }

    fn describe(&mut self, out: &mut Buffer, body: &[u8]) -> Result<(), ClientError> {
        let (kind, name) = named(body)?;
        if kind == b'S' {
            let prepared = self.statement(name)?;
            out.extend(reply::NO_PARAMETERS);
            match prepared.columns {
                Some(columns) => answer::description(out, columns, |_| false),
                None => out.extend(reply::NO_DATA),
            }
            return Ok(());
        }
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        match portal.prepared.columns {
            Some(columns) => answer::description(out, columns, |column| portal.is_binary(column)),
            None => out.extend(reply::NO_DATA),
        }
        Ok(())
    }

    async fn execute(
        &mut self,
        proxy: &Arc<Proxy>,
        out: &mut Buffer,
        console: &Console,
        body: &[u8],
    ) -> Result<(), ClientError> {
        let (name, rest) = frame::cstr(body).ok_or_else(malformed)?;
        let (limit, _) = frame::i32(rest).ok_or_else(malformed)?;
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
        if portal.prepared.command == Command::Empty {
            out.extend(reply::EMPTY_QUERY);
            return Ok(());
        }
        let (answer, sent) = match portal.answer.take() {
            Some(begun) => begun,
            None => {
                let answer = run::run(proxy, console, &portal.prepared.command).await?;
                if let Some((message, detail)) = answer.notice {
                    answer::notice(out, message, detail);
                }
                (answer, 0)
            }
        };
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let until = sent.saturating_add(limit).min(answer.rows.len());
        for row in &answer.rows[sent..until] {
            let columns = portal.prepared.columns.unwrap_or_default();
            answer::data(out, columns, row, |column| portal.is_binary(column));
        }
        if until < answer.rows.len() {
            frame::put(out, b's', &[]);
        } else {
            reply::complete(out, &answer.tag);
        }
        portal.answer = Some((answer, until));
        Ok(())
    }

    fn close(&mut self, out: &mut Buffer, body: &[u8]) -> Result<(), ClientError> {
        match named(body)? {
            (b'S', name) => drop(self.statements.remove(name)),
            (_, name) => drop(self.portals.remove(name)),
        }
        out.extend(reply::CLOSE_COMPLETE);
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<&Arc<Prepared>, ClientError> {
        self.statements.get(name).ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            ClientError::error("26000", format!("prepared statement \"{name}\" does not exist"))
        })
    }
}

/// Describe's and Close's body: a kind, `S` or `P`, and a name.
fn named(body: &[u8]) -> Result<(u8, &[u8]), ClientError> {
    match body.split_first() {
        Some((kind @ (b'S' | b'P'), rest)) => Ok((*kind, frame::cstr(rest).ok_or_else(malformed)?.0)),
        _ => Err(malformed()),
    }
}

fn no_portal(name: &[u8]) -> ClientError {
    ClientError::error("34000", format!("portal \"{}\" does not exist", String::from_utf8_lossy(name)))
}

fn malformed() -> ClientError {
    ClientError::error("08P01", "invalid message format")
}
