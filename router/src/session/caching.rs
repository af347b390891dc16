//! The cache's place in a session: lookups before a server is asked, marks around writes.
//!
//! Every write is marked before it is sent, and the mark is lifted when its outcome is known: with the transaction's
//! end, or with the answer. A write whose outcome nobody knows keeps its mark.

use super::Session;
use super::batch::{Batch, Item};
use super::relay::Capture;
use crate::cache::{Cache, CacheKey, Fill, FillTicket, Question, ReadSet, WriteGuard, WriteSet};
use crate::plan::locate::{Params, Values, key_value};
use crate::plan::pin::Sources;
use crate::plan::{Access, Plan, Route};
use crate::schema::{Kind, Table};
use bytes::Bytes;
use shardway_pool::frame::{self, HEADER};
use shardway_shardmap::KeyValue;
use std::sync::Arc;
use std::time::Duration;

/// A write's mark on what it may change.
pub struct WriteMark {
    /// With the cache that knows of it; `None` if the cache was off when the write began.
    guard: Option<(Arc<Cache>, WriteGuard)>,
    _era: CacheEra,
}

/// Held by every write: while one from before the present cache is about, nothing is filled into that.
pub type CacheEra = Arc<()>;

/// What the cache says to a lookup.
pub enum Asked {
    /// The answer.
    Hit(Bytes),
    /// Ask a primary, and keep the answer.
    Fill(FillTicket, Option<Duration>),
    /// Ask a primary, and keep nothing: a write is under way, and what it did must be seen as soon as it is done.
    Primary,
    /// Nothing to do with the cache.
    No,
}

/// The shape of an extended batch that may be answered from the cache.
struct Shape<'a> {
    plan: &'a Plan,
    text: &'a str,
    types: &'a [u32],
    key: Option<&'a str>,
    bind: &'a [u8],
    frames: u8,
}

impl Session {
    /// Whether lookups may be cached at all.
    pub(super) fn caches(&self) -> bool {
        let cache = &self.world.config.cache;
        // A temporary table may stand in the place of one whose rows are kept.
        cache.enabled && !cache.rules.is_empty() && !self.holds_anything()
    }

    /// Asks the cache for a simple query's answer.
    pub(super) async fn ask_cache(&mut self, plan: &Plan, text: &str, key: Option<&str>) -> Asked {
        match self.reads(plan, key) {
            Some((reads, ttl)) => {
                let cache_key = self.cache_key(text, 0);
                self.ask(cache_key, reads, ttl).await
            }
            None => Asked::No,
        }
    }

    /// Asks the cache for the answer to a batch that is one plain lookup: Parse, Bind, Describe, Execute, of which
    /// the first and the third may be missing.
    pub(super) async fn ask_cache_for_batch(&mut self, batch: &Batch) -> Asked {
        let Some(shape) = self.shape(batch) else { return Asked::No };
        let Some((reads, ttl)) = self.reads(shape.plan, shape.key) else { return Asked::No };
        let Some(params) = Params::parse(shape.bind) else { return Asked::No };
        // A statement that was declared with more of them than it has wants values for all.
        if shape.types.len() > params.len() {
            return Asked::No;
        }
        let mut key = self.cache_key(shape.text, shape.frames);
        for n in 0..params.len() {
            let Some(param) = params.get(n) else { return Asked::No };
            key.parameter(shape.types.get(n).copied().unwrap_or(0), i16::from(param.binary), param.bytes);
        }
        let mut formats = params.result_formats.get(2..).unwrap_or_default();
        while let Some((format, rest)) = frame::i16(formats) {
            key.result_format(format);
            formats = rest;
        }
        self.ask(key, reads, ttl).await
    }

    fn shape<'a>(&self, batch: &'a Batch) -> Option<Shape<'a>> {
        if !self.caches() || !batch.sync {
            return None;
        }
        let mut frames = 0b1000_0000;
        let (mut parsed, mut bound) = (None, None);
        for (place, item) in batch.items.iter().enumerate() {
            match item {
                Item::Parse { statement, .. } if place == 0 => {
                    parsed = Some(statement);
                    frames |= 1;
                }
                Item::Bind { statement, at, key, .. } if bound.is_none() => {
                    bound = Some((statement, at, key))
                }
                Item::Portal { tag: b'D', .. } if bound.is_some() && frames & 6 == 0 => frames |= 2,
                Item::Portal { tag: b'E', max_rows: 0, .. } if bound.is_some() && frames & 4 == 0 => {
                    frames |= 4
                }
                _ => return None,
            }
        }
        let (statement, at, key) = bound.filter(|_| frames & 4 != 0)?;
        // Postgres has to see a statement that is parsed beside the one that runs.
        if parsed.is_some_and(|parsed| !Arc::ptr_eq(parsed, statement)) {
            return None;
        }
        let body = &batch.bytes.filled()[at.start + HEADER..at.end];
        let (_, bind) = frame::cstr(body).and_then(|(_, rest)| frame::cstr(rest))?;
        Some(Shape {
            plan: &statement.plan,
            text: &statement.text,
            types: &statement.types,
            key: key.as_deref(),
            bind,
            frames,
        })
    }

    /// What a lookup depends on and how long it may be kept; `None` if it is not to be cached.
    fn reads(&self, plan: &Plan, key: Option<&str>) -> Option<(ReadSet, Option<Duration>)> {
        if !self.caches() || self.transaction.is_some() || plan.access != Access::Read {
            return None;
        }
        let table = &plan.cacheable.as_ref()?.table;
        let rules = &self.world.config.cache.rules;
        let rule = rules.iter().find(|rule| {
            rule.table.name == table.name && rule.table.schema.as_ref().is_none_or(|s| *s == table.schema)
        })?;
        // A sharded table's lookups depend on their key, a reference table's on the table; so do all where there is one
        // shard in all, and no key is looked for.
        let key = match (&table.kind, &plan.route) {
            (Kind::Sharded { .. }, Route::Any(_)) => "",
            (Kind::Sharded { .. }, _) => key?,
            _ => "",
        };
        Some((ReadSet::new(&self.database.name, &kept_name(table), key), rule.ttl))
    }

    fn cache_key(&self, text: &str, frames: u8) -> CacheKey {
        let question = Question { database: &self.database.name, role: &self.user, statement: text, frames };
        let mut key = CacheKey::new(&question);
        for (name, command) in self.settings.iter() {
            key.setting(name, command);
        }
        key
    }

    async fn ask(&self, key: CacheKey, reads: ReadSet, ttl: Option<Duration>) -> Asked {
        let Some(cache) = (**self.proxy.cache.load()).clone() else { return Asked::No };
        if let Some(answer) = cache.lookup(&key) {
            return Asked::Hit(answer);
        }
        if self.proxy.has_older_writes() {
            return Asked::Primary;
        }
        match cache.begin_fill(&key, &reads).await {
            Fill::Answer(answer) => Asked::Hit(answer),
            Fill::Ticket(ticket) => Asked::Fill(ticket, ttl),
            Fill::Bypass => Asked::Primary,
        }
    }

    /// A copy of the answer to come, for a fill.
    pub(super) fn capture(&self) -> Capture {
        let max = usize::try_from(self.world.config.cache.max_entry_bytes).unwrap_or(usize::MAX);
        Capture { max, ..Capture::default() }
    }

    /// Keeps a captured answer. `ready` is the length of the ReadyForQuery that was captured with it.
    pub(super) fn finish_fill(
        &self,
        ticket: FillTicket,
        ttl: Option<Duration>,
        capture: &Capture,
        ready: usize,
    ) {
        let Some(cache) = (**self.proxy.cache.load()).clone() else { return };
        // The answer may be of servers that the configuration has left since.
        if self.world.generation != self.proxy.generation() {
            return;
        }
        if !capture.spoiled && capture.bytes.len() >= ready {
            cache.finish_fill(ticket, &capture.bytes[..capture.bytes.len() - ready], ttl);
        }
    }

    /// Marks what a statement may change, before it is sent.
    pub(super) async fn begin_write(&mut self, plan: &Plan, key: Option<&str>) {
        if plan.access != Access::Write {
            return;
        }
        // The era first: a cache that comes between the two finds the write among those of an older one.
        let era = self.proxy.cache_era();
        let cache = (**self.proxy.cache.load()).clone();
        let mark = self.mark.get_or_insert(WriteMark { guard: None, _era: era });
        if mark.guard.is_none() && cache.is_none() {
            return;
        }
        // Where servers are reached by several names, whoever uses another one has to hear of it, too; and there the table
        // may have another key.
        let namesakes = self.database.namesakes(&self.world.databases).iter().map(|name| (name, None));
        for (name, key) in std::iter::once((&self.database.name, key)).chain(namesakes) {
            let writes = write_set(name, plan, key);
            match (&mut mark.guard, &cache) {
                (Some((_, guard)), _) => guard.extend(&writes).await,
                (none, Some(cache)) => *none = Some((cache.clone(), cache.begin_write(&writes).await)),
                (None, None) => {}
            }
        }
    }

    /// The same where there is no cache: nothing is to be told, only that a write is about. False if there is one.
    pub(super) fn mark_now(&mut self, access: Access) -> bool {
        if access != Access::Write {
            return true;
        }
        if self.is_audited() {
            return false;
        }
        // The era first: a cache that comes between the two finds the write among those of an older one.
        let era = self.proxy.cache_era();
        if self.proxy.cache.load().is_some() {
            return false;
        }
        let mark = self.mark.get_or_insert(WriteMark { guard: None, _era: era });
        mark.guard.is_none()
    }

    /// Whether no cache is to be told of what is being written.
    pub(super) fn is_unmarked(&self) -> bool {
        self.mark.as_ref().is_none_or(|mark| mark.guard.is_none())
    }

    /// Lifts such a mark, unless the transaction goes on.
    pub(super) fn unmark_now(&mut self) {
        if self.transaction.is_none() && self.is_unmarked() {
            self.outcome_unknown = false;
            self.mark = None;
        }
    }

    /// Lifts the mark, unless the transaction goes on or nobody knows how the write ended.
    pub(super) async fn end_write(&mut self) {
        if self.transaction.is_some() {
            return;
        }
        let unknown = std::mem::take(&mut self.outcome_unknown);
        if let Some((cache, guard)) = self.mark.take().and_then(|mark| mark.guard)
            && !unknown
        {
            cache.release(guard).await;
        }
    }
}

/// What a statement may change: a key of a table where that is certain, else more.
fn write_set(database: &str, plan: &Plan, key: Option<&str>) -> WriteSet {
    let mut writes = WriteSet::new(database);
    let acts = |table: &Arc<Table>| table.has_triggers || table.cascades;
    if plan.writes.is_empty() || plan.reaches_out || plan.writes.iter().any(acts) {
        writes.add_everything();
        return writes;
    }
    for table in &plan.writes {
        match (&table.kind, key) {
            (Kind::Sharded { .. }, Some(key)) => writes.add_key(&kept_name(table), key),
            _ => writes.add_table(&kept_name(table)),
        }
    }
    writes
}

/// The name that a table's answers are kept by: tables that share rows have one together.
fn kept_name(table: &Table) -> String {
    match &table.family {
        Some(family) => family.to_string(),
        None => format!("{}.{}", table.schema, table.name),
    }
}

/// A statement's one key in canonical text; `None` if it has several, or none, or it can't be read.
pub(super) fn pinned_key(plan: &Plan, values: &Values<'_>) -> Option<String> {
    let Route::Keyed { pins, .. } = &plan.route else { return None };
    let [pin] = &pins[..] else { return None };
    let Sources::List(sources) = &pin.sources else { return None };
    let [source] = &sources[..] else { return None };
    match key_value(pin, source, values) {
        KeyValue::Key(key) => Some(key.to_string()),
        _ => None,
    }
}
