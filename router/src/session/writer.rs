//! Messages of the extended protocol, put in a server's own terms.

use super::batch::Item;
use super::prepared::Prepared;
use super::relay::Step;
use crate::admin::tally::{Count, Tally};
use crate::reply;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::prepared::StatementId;
use shardway_pool::server::ServerConn;
use std::collections::VecDeque;

/// Writes messages for a server, with statement names that it knows, and the script of what they are answered with.
pub(super) struct Writer<'a> {
    pub(super) server: &'a mut ServerConn,
    pub(super) script: &'a mut VecDeque<Step>,
    pub(super) tally: &'a Tally,
}

impl Writer<'_> {
    pub(super) fn item(&mut self, bytes: &[u8], item: &Item) {
        match item {
            Item::Parse { at, statement, name } if name.is_empty() => {
                self.server.unnamed = Some(statement.id);
                match &statement.told {
                    None => self.server.wire.output.extend(&bytes[at.clone()]),
                    Some(told) => {
                        frame::put(&mut self.server.wire.output, b'P', &[b"\0", &told.tail[..]].concat());
                    }
                }
                self.script.push_back(Step::ForwardUnnamed);
            }
            Item::Parse { statement, .. } => {
                self.tally.add(Count::ClientParses, 1);
                let version = statement.version();
                if self.server.prepared.touch(statement.id, version) {
                    self.script.push_back(Step::KnownParse(statement.id));
                } else {
                    self.parse(statement);
                    self.script.push_back(Step::ForwardParse(statement.id));
                    self.server.prepared.insert(statement.id, version);
                }
            }
            Item::Bind { at, statement, named, .. } => {
                self.ensure(statement, *named);
                // The client may have a name for one that the server has none for.
                let renamed = *named || statement.name.is_empty();
                if renamed { self.bind(&bytes[at.clone()], statement) } else { self.copy(&bytes[at.clone()]) }
            }
            Item::DescribeStatement { statement, named } => {
                self.ensure(statement, *named);
                let name = if *named { statement.name.as_bytes() } else { b"" };
                frame::put(&mut self.server.wire.output, b'D', &[b"S", name, b"\0"].concat());
                self.script.push_back(Step::ForwardShape);
            }
            Item::Portal { at, .. } => self.copy(&bytes[at.clone()]),
            Item::CloseStatement { .. } => self.script.push_back(Step::Fabricate(reply::CLOSE_COMPLETE)),
            Item::Fail { .. } => {}
        }
    }

    fn copy(&mut self, message: &[u8]) {
        self.server.wire.output.extend(message);
        self.script.push_back(Step::Forward);
    }

    /// Sees to it that the server has the statement.
    pub(super) fn ensure(&mut self, statement: &Prepared, named: bool) {
        if !self.has(statement, named) {
            self.prepare(statement, named);
        }
    }

    /// Whether the server has the statement; counts as use.
    pub(super) fn has(&mut self, statement: &Prepared, named: bool) -> bool {
        match named {
            true => self.server.prepared.touch(statement.id, statement.version()),
            false => self.server.unnamed == Some(statement.id),
        }
    }

    /// Has the server prepare it, unseen by the client.
    pub(super) fn prepare(&mut self, statement: &Prepared, named: bool) {
        if !named {
            self.server.unnamed = Some(statement.id);
            frame::put(&mut self.server.wire.output, b'P', &[b"\0", statement.tail()].concat());
            self.script.push_back(Step::Swallow);
            return;
        }
        self.parse(statement);
        self.script.push_back(Step::SwallowParse(statement.id));
        self.server.prepared.insert(statement.id, statement.version());
    }

    fn parse(&mut self, statement: &Prepared) {
        if self.server.prepared.holds(statement.id) {
            self.close(statement.id);
        }
        self.tally.add(Count::ServerParses, 1);
        let body = [statement.name.as_bytes(), b"\0", statement.tail()].concat();
        frame::put(&mut self.server.wire.output, b'P', &body);
    }

    /// Closes those that the server used longest ago if it has more than it may have when a batch is through. Not within
    /// one: what it has just been asked about would go.
    pub(super) fn trim(&mut self) {
        while let Some(old) = self.server.prepared.surplus(self.server.max_prepared) {
            self.close(old);
        }
        self.server.note_prepared();
    }

    fn close(&mut self, id: StatementId) {
        let name = id.server_name();
        frame::put(&mut self.server.wire.output, b'C', &[b"S", name.as_bytes(), b"\0"].concat());
        self.script.push_back(Step::SwallowClose(id));
    }

    /// Bind, with the server's name of the statement in the place of the client's.
    pub(super) fn bind(&mut self, message: &[u8], statement: &Prepared) {
        let body = &message[HEADER..];
        let Some((portal, rest)) = frame::cstr(body) else { return };
        let Some((_, rest)) = frame::cstr(rest) else { return };
        let name = &statement.name;
        let length = 4 + portal.len() + 1 + name.len() + 1 + rest.len();
        let out = &mut self.server.wire.output;
        out.push(b'B');
        out.extend(&(length as u32).to_be_bytes());
        for part in [portal, b"\0", name.as_bytes(), b"\0", rest] {
            out.extend(part);
        }
        self.script.push_back(Step::Forward);
        self.tally.add(Count::Binds, 1);
    }
}
