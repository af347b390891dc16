//! Collecting an extended-protocol batch: messages up to Sync or Flush, read and understood, not yet run.

use super::prepared::{Prepared, Told};
use super::{End, MAX_MESSAGE, Session, unknown_message};
use crate::error::ClientError;
use crate::plan::Refusal;
use crate::plan::ddl::Way;
use crate::plan::locate::{Params, Target, Values, locate};
use crate::plan_cache::Planning;
use crate::schema::ShardRef;
use crate::sql::command::Command;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// What a message of a batch asks for. `at` is the message's place in the batch.
#[derive(Clone)]
pub enum Item {
    /// Parse.
    Parse {
        /// Its place.
        at: Range<usize>,
        /// The statement.
        statement: Arc<Prepared>,
        /// Its name; empty for none.
        name: Vec<u8>,
    },
    /// Bind.
    Bind {
        /// Its place.
        at: Range<usize>,
        /// The statement.
        statement: Arc<Prepared>,
        /// Whether that has a name.
        named: bool,
        /// The portal's name.
        portal: Vec<u8>,
        /// Where it leads.
        target: Result<Target, Refusal>,
        /// Its one key, in canonical text: for the cache.
        key: Option<String>,
    },
    /// Describe of a statement.
    DescribeStatement {
        /// The statement.
        statement: Arc<Prepared>,
        /// Whether it has a name.
        named: bool,
    },
    /// Describe of a portal, Execute, or Close of a portal: passed on as it is.
    Portal {
        /// Its place.
        at: Range<usize>,
        /// Its tag.
        tag: u8,
        /// The portal's name.
        portal: Vec<u8>,
        /// Execute's row limit.
        max_rows: i32,
    },
    /// Close of a statement: the session's own affair.
    CloseStatement {
        /// Its name; empty for none.
        name: Vec<u8>,
    },
    /// An error that this message raises.
    Fail {
        /// The error.
        error: ClientError,
        /// Parse's body behind the name, where Postgres may have more to say about it.
        parse: Option<Box<[u8]>>,
    },
}

impl Item {
    /// The message's tag; `None` for one that was not understood.
    pub(super) fn tag(&self) -> Option<u8> {
        match self {
            Self::Parse { .. } => Some(b'P'),
            Self::Bind { .. } => Some(b'B'),
            Self::DescribeStatement { .. } => Some(b'D'),
            Self::Portal { tag, .. } => Some(*tag),
            Self::CloseStatement { .. } => Some(b'C'),
            Self::Fail { .. } => None,
        }
    }
}

/// What the messages of a batch so far do to the client's statements: the closed ones are there without one. It
/// counts for the session only when they have run.
#[derive(Default)]
struct Here(Vec<Change>);

/// A name, and the statement that it has now.
type Change = (Box<[u8]>, Option<Arc<Prepared>>);

impl Here {
    fn get(&self, name: &[u8]) -> Option<&Option<Arc<Prepared>>> {
        // The last one counts; a batch has one or two.
        self.0.iter().rev().find(|(known, _)| **known == *name).map(|(_, statement)| statement)
    }

    fn set(&mut self, name: &[u8], statement: Option<Arc<Prepared>>) {
        self.0.push((name.into(), statement));
    }
}

/// Whether the schema was read again for a relation that was not known.
pub(super) enum Reread {
    /// No.
    NotYet,
    /// Yes: what is still unknown is not there.
    Done,
    /// It could not be.
    Failed(String),
}

/// What a Parse turned out to be.
enum Understood {
    Item(Item),
    /// It names what the schema does not have.
    Unknown,
}

/// Messages of most batches: Parse, Bind, Describe, Execute.
const USUAL_ITEMS: usize = 4;

/// Bytes that a batch may have before its Sync: the largest message that Postgres takes, and some.
const MAX_BATCH: usize = MAX_MESSAGE + 1024 * 1024;

/// A batch, and how it ended.
pub struct Batch {
    /// Its messages' bytes.
    pub bytes: Buffer,
    /// Its messages, up to the first that fails, or behind which the next batch begins.
    pub items: Vec<Item>,
    /// Whether Sync ended it; else Flush, or what changes the meaning of all that stands behind it.
    pub sync: bool,
}

/// Whether the Executes of a batch may be of a COPY.
#[derive(Default)]
struct Copies {
    /// A COPY was parsed, or one that was parsed before is bound.
    parses: bool,
    /// Something was bound; else what is executed was bound before.
    binds: bool,
}

impl Copies {
    fn may_copy(&self) -> bool {
        self.parses || !self.binds
    }
}

impl Session {
    /// Reads the messages up to Sync or Flush and runs them.
    pub(super) async fn batch(&mut self) -> Result<(), End> {
        let len = self.batch_len().await?;
        let bytes = self.take(len);
        let sync = bytes.filled()[last_message(bytes.filled())] == b'S';
        if self.skipping {
            if sync {
                self.skipping = false;
                self.end_batch_after_error().await;
            }
            return Ok(());
        }
        let items = match self.understand(bytes.filled(), &Reread::NotYet) {
            Some(items) => items,
            None => self.understand_anew(bytes.filled()).await,
        };
        self.run_batch(Batch { bytes, items, sync }).await
    }

    /// The same with the schema read again: a relation was not known.
    pub(super) async fn understand_anew(&mut self, bytes: &[u8]) -> Vec<Item> {
        let reread = match self.read_anew().await {
            Ok(()) => Reread::Done,
            Err(e) => Reread::Failed(e),
        };
        self.understand(bytes, &reread).unwrap_or_default()
    }

    /// Waits for a Sync or Flush, or for what may be a COPY FROM STDIN whose data comes next; gives the bytes up to its end.
    async fn batch_len(&mut self) -> Result<usize, End> {
        let mut at = 0;
        let mut asked = Copies::default();
        loop {
            match frame::peek(&self.client.input.filled()[at..], self.client.max_message()) {
                Ok(Some(header)) if self.client.input.len() - at >= header.len => {
                    let input = self.client.input.filled();
                    let body = &input[at + HEADER..at + header.len];
                    at += header.len;
                    match header.tag {
                        b'S' | b'H' => return Ok(at),
                        b'E' => {
                            // The server waits for data then, and says so without having been told to.
                            let data = matches!(input.get(at), None | Some(b'd' | b'c' | b'f'));
                            if data && asked.may_copy() {
                                return Ok(at);
                            }
                        }
                        b'P' => asked.parses |= copies(body),
                        b'B' => {
                            asked.binds = true;
                            asked.parses |= self.binds_copy(body);
                        }
                        b'D' | b'C' => {}
                        // A client may leave, or mix the protocols; what came before is then without an end.
                        b'X' => return Err(End::Terminated),
                        b'Q' => {
                            return Err(End::Fatal(ClientError::protocol(
                                "Query before the Sync of a batch",
                            )));
                        }
                        b'd' | b'c' | b'f' => {}
                        other => {
                            return Err(End::Fatal(unknown_message(other)));
                        }
                    }
                }
                Ok(_) if self.client.input.len() > MAX_BATCH => {
                    let message = "a batch of messages without Sync or Flush is too large";
                    return Err(End::Fatal(ClientError::fatal("54000", message)));
                }
                Ok(_) => {
                    self.wait_for_client().await?;
                    self.now = Instant::now();
                }
                Err(_) => return Err(End::Fatal(self.bad_length(at))),
            }
        }
    }

    /// Whether a Bind is of a COPY that was prepared in an earlier batch.
    fn binds_copy(&self, body: &[u8]) -> bool {
        let name = frame::cstr(body).and_then(|(_, rest)| frame::cstr(rest)).map(|(name, _)| name);
        let known = match name {
            None | Some([]) => self.unnamed.as_ref(),
            Some(name) => self.statements.get(name),
        };
        known.is_some_and(|statement| statement.plan.command == Command::Copy)
    }

    /// What stands behind a statement that changes what others mean, or whether they may run, is left in the input: it is
    /// a batch by itself, of the same transaction.
    pub(super) fn leave_rest(&mut self, batch: &mut Batch) {
        let Some(Item::Portal { tag: b'E', at, .. }) = batch.items.last() else { return };
        let rest = &batch.bytes.filled()[at.end..];
        if !asks_more(rest) {
            return;
        }
        let mut input = Buffer::default();
        input.extend(rest);
        input.extend(self.client.input.filled());
        self.client.input = input;
        batch.sync = false;
    }

    /// Whether what stands behind the Execute of a portal, the last of these items, can be understood only when it has run.
    fn turns(&self, items: &[Item]) -> bool {
        let Some(Item::Portal { tag: b'E', portal, .. }) = items.last() else { return false };
        let bound = items.iter().rev().find_map(|item| match item {
            Item::Bind { statement, portal: to, .. } if to == portal => Some(&statement.plan),
            _ => None,
        });
        let Some(plan) = bound.filter(|plan| !plan.plain) else { return false };
        let sharded = || self.with_planning(|planning| !planning.schema.is_unsharded());
        match &plan.command {
            Command::Commit { .. } | Command::Rollback { .. } | Command::Savepoint => {
                let failed = self.transaction.as_ref().is_some_and(|transaction| transaction.failed);
                let changed =
                    self.transaction.as_ref().is_some_and(|transaction| transaction.changed.is_some());
                failed || (changed || !Arc::ptr_eq(&self.path, &self.base_path.1)) && sharded()
            }
            Command::Set { name, .. } => name == "search_path" && sharded(),
            Command::SetLocal { search_path } => search_path.is_some() && sharded(),
            Command::Reset { name } => matches!(name.as_str(), "search_path" | "all") && sharded(),
            Command::DiscardAll => sharded(),
            _ if plan.setting.as_ref().is_some_and(|setting| setting.search_path().is_some()) => sharded(),
            _ => plan.objects.as_ref().is_some_and(|o| o.changes && o.way != Way::Apart),
        }
    }

    /// Reads every message; stops at the first that fails, since what follows will be skipped, and at one behind which all
    /// is read when it has run. `None`: a relation is not known, and the schema has not been read again for it yet.
    pub(super) fn understand(&mut self, bytes: &[u8], reread: &Reread) -> Option<Vec<Item>> {
        let mut items = Vec::with_capacity(USUAL_ITEMS);
        let mut here = Here::default();
        let mut at = 0;
        while at < bytes.len() {
            let Ok(Some(header)) = frame::peek(&bytes[at..], MAX_MESSAGE) else { break };
            let range = at..at + header.len;
            let body = &bytes[at + HEADER..range.end];
            at = range.end;
            let item = match header.tag {
                b'P' => match self.understand_parse(body, range, &mut here, reread) {
                    Ok(Understood::Unknown) => return None,
                    Ok(Understood::Item(item)) => Ok(item),
                    Err(error) => Err(error),
                },
                b'B' => self.understand_bind(body, range, &here),
                b'D' | b'E' | b'C' => self.understand_other(header.tag, body, range, &mut here),
                _ => continue,
            };
            let item = item.unwrap_or_else(|error| Item::Fail { error, parse: None });
            let failed = matches!(item, Item::Fail { .. });
            items.push(item);
            if failed || self.turns(&items) && asks_more(&bytes[at..]) {
                break;
            }
        }
        super::cure::refuse_changed(&mut items);
        Some(items)
    }

    fn understand_parse(
        &mut self,
        body: &[u8],
        at: Range<usize>,
        here: &mut Here,
        reread: &Reread,
    ) -> Result<Understood, ClientError> {
        let (name, tail) = frame::cstr(body).ok_or_else(malformed)?;
        let (text, types) = frame::cstr(tail).ok_or_else(malformed)?;
        let text = std::str::from_utf8(text)
            .map_err(|_| ClientError::error("22021", "invalid byte sequence for encoding \"UTF8\""))?;
        let named = !name.is_empty();
        if named && self.find_statement(name, here).is_some() {
            let name = String::from_utf8_lossy(name);
            return Err(ClientError::error("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        let types = parameter_types(types).ok_or_else(malformed)?;
        let fail = |error| Ok(Understood::Item(Item::Fail { error, parse: Some(tail.into()) }));
        let statement = match self.prepare(text, types, tail, named, reread) {
            Ok(Some(statement)) => statement,
            Ok(None) => return Ok(Understood::Unknown),
            Err(error) => return fail(error),
        };
        self.check_failed(&statement.plan.command)?;
        if let crate::plan::Route::Refuse(refusal) = &statement.plan.route
            && (!statement.may_hint || statement.plan.forbidden)
            && statement.plan.current_of.is_none()
            && self.let_through(&statement.plan).is_none()
        {
            return fail(refusal.clone().into());
        }
        here.set(name, Some(statement.clone()));
        Ok(Understood::Item(Item::Parse { at, statement, name: name.to_vec() }))
    }

    /// A statement's plan, made or remembered. `None`: it names what the schema does not have, and the schema has not
    /// been read again for it yet.
    fn prepare(
        &mut self,
        text: &str,
        types: Box<[u32]>,
        tail: &[u8],
        named: bool,
        reread: &Reread,
    ) -> Result<Option<Arc<Prepared>>, ClientError> {
        let planning = self.planning();
        if let Some(known) = self.known_statement(tail, named, &planning) {
            return Ok(Some(known));
        }
        let planned = self.plan_text(&planning, text)?;
        if let Some(name) = &planned.plan.unknown
            && !self.may_be_temporary([&*planned.plan])
        {
            match reread {
                Reread::NotYet => return Ok(None),
                Reread::Failed(why) => return Err(ClientError::error("58000", why.clone())),
                Reread::Done if planning.schema.is_unsharded() => {}
                Reread::Done => {
                    let message = format!("relation \"{name}\" does not exist");
                    return Err(ClientError::error("42P01", message));
                }
            }
        }
        let id = self.proxy.statements.number();
        let statement = Arc::new(Prepared {
            id,
            name: id.server_name().into(),
            text: text.into(),
            types,
            literals: planned.literals.into(),
            told: Told::of(&planned.plan, text, tail),
            plan: planned.plan,
            planning: planned.planning,
            path: self.path.clone(),
            may_hint: planned.may_hint,
            parse_tail: tail.into(),
            served: Arc::default(),
            parameters: OnceLock::new(),
        });
        if named {
            self.proxy.statements.add(&statement);
        }
        Ok(Some(statement))
    }

    /// A statement of this Parse body that was planned with the schema and search path as they are: any client's if it
    /// is to have a name, else the unnamed one of this client, prepared again.
    fn known_statement(&self, tail: &[u8], named: bool, planning: &Arc<Planning>) -> Option<Arc<Prepared>> {
        if named {
            return self.proxy.statements.find(tail, &self.path, planning);
        }
        let same = |s: &&Arc<Prepared>| {
            *s.parse_tail == *tail && Arc::ptr_eq(&s.planning, planning) && s.path == self.path
        };
        self.unnamed.as_ref().filter(same).cloned()
    }

    fn find_statement(&self, name: &[u8], here: &Here) -> Option<Arc<Prepared>> {
        if let Some(known) = here.get(name) {
            return known.clone();
        }
        if name.is_empty() { self.unnamed.clone() } else { self.statements.get(name).cloned() }
    }

    fn statement(&self, name: &[u8], here: &Here) -> Result<Arc<Prepared>, ClientError> {
        self.find_statement(name, here).ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name))
            };
            ClientError::error("26000", message)
        })
    }

    fn understand_bind(&mut self, body: &[u8], at: Range<usize>, here: &Here) -> Result<Item, ClientError> {
        let (portal, rest) = frame::cstr(body).ok_or_else(malformed)?;
        let (name, rest) = frame::cstr(rest).ok_or_else(malformed)?;
        let params = Params::parse(rest).ok_or_else(malformed)?;
        let statement = self.statement(name, here)?;
        let statement = self.current(name, statement, here)?;
        self.check_failed(&statement.plan.command)?;
        let hinted = self.hinted(&statement.text, statement.may_hint, &statement.plan)?;
        self.assigned(&statement.plan, Some((&params, &statement.types)))?;
        let values = Values {
            text: &statement.text,
            literals: &statement.literals,
            params: Some(params),
            types: &statement.types,
        };
        let key = if self.caches() { super::caching::pinned_key(&statement.plan, &values) } else { None };
        let target = match hinted {
            Some(place) => Ok(Target::One(place)),
            None => locate(&statement.plan.route, &self.database.maps, &values).or_else(|why| {
                let through = self.let_through(&statement.plan);
                through.ok_or_else(|| self.or_no_cursor(&statement.text, why))
            }),
        };
        Ok(Item::Bind { at, named: !name.is_empty(), statement, portal: portal.to_vec(), target, key })
    }

    /// The statement with a plan of the schema and the search path as they are now: Postgres analyses it anew too.
    fn current(
        &mut self,
        name: &[u8],
        statement: Arc<Prepared>,
        here: &Here,
    ) -> Result<Arc<Prepared>, ClientError> {
        let planning = self.planning();
        if Arc::ptr_eq(&planning, &statement.planning) && statement.path == self.path {
            return Ok(statement);
        }
        let planned = self.plan_text(&planning, &statement.text)?;
        let told = Told::of(&planned.plan, &statement.text, &statement.parse_tail);
        // Servers have another text under its number.
        let id = if told == statement.told { statement.id } else { self.proxy.statements.number() };
        let renewed = Arc::new(Prepared {
            id,
            name: id.server_name().into(),
            text: statement.text.clone(),
            types: statement.types.clone(),
            literals: planned.literals.into(),
            plan: planned.plan,
            planning,
            path: self.path.clone(),
            may_hint: statement.may_hint,
            parse_tail: statement.parse_tail.clone(),
            told,
            served: statement.served.clone(),
            parameters: statement.parameters.clone(),
        });
        if here.get(name).is_none() {
            self.name_statement(name, renewed.clone());
        }
        Ok(renewed)
    }

    /// Takes over what messages did to the client's statements. The last `undone` of those that do something were
    /// skipped.
    pub(super) fn settle(&mut self, items: &[Item], undone: usize) {
        let does = |item: &&Item| matches!(item, Item::Parse { .. } | Item::CloseStatement { .. });
        let done = items.iter().filter(does).count().saturating_sub(undone);
        for item in items.iter().filter(does).take(done) {
            match item {
                Item::Parse { statement, name, .. } => self.name_statement(name, statement.clone()),
                // Closing what is not there is no error.
                Item::CloseStatement { name } if name.is_empty() => self.unnamed = None,
                Item::CloseStatement { name } => {
                    self.statements.remove(name);
                    self.note_prepared();
                }
                _ => {}
            }
        }
    }

    fn name_statement(&mut self, name: &[u8], statement: Arc<Prepared>) {
        if name.is_empty() {
            self.unnamed = Some(statement);
        } else {
            self.statements.insert(name.to_vec(), statement);
            self.note_prepared();
        }
    }

    fn understand_other(
        &mut self,
        tag: u8,
        body: &[u8],
        at: Range<usize>,
        here: &mut Here,
    ) -> Result<Item, ClientError> {
        if tag == b'E' {
            let (portal, rest) = frame::cstr(body).ok_or_else(malformed)?;
            let (max_rows, _) = frame::i32(rest).ok_or_else(malformed)?;
            return Ok(Item::Portal { at, tag, portal: portal.to_vec(), max_rows });
        }
        let (&kind, rest) = body.split_first().ok_or_else(malformed)?;
        let (name, _) = frame::cstr(rest).ok_or_else(malformed)?;
        match (tag, kind) {
            (b'D', b'S') => {
                let mut statement = self.statement(name, here)?;
                if statement.told.is_some() {
                    statement = self.current(name, statement, here)?;
                }
                self.check_failed(&statement.plan.command)?;
                Ok(Item::DescribeStatement { statement, named: !name.is_empty() })
            }
            (b'C', b'S') => {
                here.set(name, None);
                Ok(Item::CloseStatement { name: name.to_vec() })
            }
            (_, b'P') => Ok(Item::Portal { at, tag, portal: name.to_vec(), max_rows: 0 }),
            _ => Err(malformed()),
        }
    }

    /// The shard on which a portal of an earlier batch is.
    pub(super) fn portal_shard(&self, portal: &[u8]) -> Option<ShardRef> {
        let bound = self.transaction.as_ref().and_then(|transaction| transaction.portals.get(portal));
        bound.copied().or_else(|| self.held_cursor(&String::from_utf8_lossy(portal)))
    }
}

fn malformed() -> ClientError {
    ClientError::error("08P01", "invalid message format")
}

/// Whether a Parse is of a COPY.
fn copies(body: &[u8]) -> bool {
    let text = frame::cstr(body).and_then(|(_, rest)| frame::cstr(rest)).map_or(&b""[..], |(text, _)| text);
    match text.trim_ascii_start() {
        // Comments may come first.
        text @ [b'/' | b'-' | b';', ..] => {
            std::str::from_utf8(text).is_ok_and(|text| Command::of_text(text) == Command::Copy)
        }
        text => text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"copy")),
    }
}

/// Whether there is a message among these that asks for more than the end of a batch.
fn asks_more(mut bytes: &[u8]) -> bool {
    while let Ok(Some(header)) = frame::peek(bytes, MAX_MESSAGE) {
        if matches!(header.tag, b'P' | b'B' | b'D' | b'E') {
            return true;
        }
        bytes = &bytes[header.len.min(bytes.len())..];
    }
    false
}

/// Types declared in Parse.
fn parameter_types(tail: &[u8]) -> Option<Box<[u32]>> {
    let (count, mut rest) = frame::i16(tail)?;
    let count = usize::from(count as u16);
    if rest.len() != count * 4 {
        return None;
    }
    let mut types = Vec::with_capacity(count);
    while let Some((oid, more)) = frame::i32(rest) {
        types.push(oid as u32);
        rest = more;
    }
    Some(types.into())
}

/// Where the last message of a run of whole messages starts.
fn last_message(bytes: &[u8]) -> usize {
    let (mut at, mut last) = (0, 0);
    while let Ok(Some(header)) = frame::peek(&bytes[at..], MAX_MESSAGE) {
        last = at;
        at += header.len;
    }
    last
}
