//! From a statement's text to a decision: which plan, and where it leads this time.

use super::Session;
use crate::error::ClientError;
use crate::plan::build::cursor_of;
pub(super) use crate::plan::hinted::group as plan_group;
use crate::plan::locate::{Target, Values, locate};
use crate::plan::{Access, Plan, Refusal, hinted};
use crate::plan_cache::Planning;
use crate::schema::{GroupId, ShardRef};
use crate::sql::command::Command;
use crate::sql::scan::{Literal, Scan};
use shardway_config::PoolMode;
use shardway_shardmap::ShardId;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    /// Reused from statement to statement; borrowed within one call only.
    static SCAN: RefCell<Scan> = RefCell::default();
}

/// A recognised statement.
pub struct Decision {
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Where it leads with the values at hand.
    pub target: Result<Target, Refusal>,
    /// Its one key, in canonical text: for the cache.
    pub key: Option<String>,
}

/// A text that was planned to be executed later, or more than once.
pub struct Planned {
    /// Its plan.
    pub plan: Arc<Plan>,
    /// The schema and plans that it is of.
    pub planning: Arc<Planning>,
    /// Its literals.
    pub literals: Vec<Literal>,
    /// Whether it has a block comment, which may be a hint.
    pub may_hint: bool,
}

/// What a simple query's text holds.
pub enum Decided {
    /// Nothing.
    Empty,
    /// One statement.
    One(Decision),
    /// Several: byte ranges of the text with their decisions.
    Many(Vec<(std::ops::Range<usize>, Decision)>),
    /// Quotes or comments that are not closed: Postgres words the error.
    Unclosed,
}

impl Decided {
    /// The plans of its statements.
    fn plans(&self) -> Vec<&Plan> {
        match self {
            Self::One(decision) => vec![&decision.plan],
            Self::Many(all) => all.iter().map(|(_, decision)| &*decision.plan).collect(),
            Self::Empty | Self::Unclosed => Vec::new(),
        }
    }
}

impl Session {
    /// Recognises a simple query. Relations that are not known make the schema be read again, once.
    pub(super) async fn decide(
        &mut self,
        text: &str,
        decided: Option<Decided>,
    ) -> Result<Decided, ClientError> {
        let decided = match decided {
            Some(decided) => decided,
            None => self.with_planning(|planning| self.decide_with(planning, text))?,
        };
        if !has_unknown(&decided) || self.may_be_temporary(decided.plans()) {
            return Ok(decided);
        }
        Box::pin(self.decide_anew(text)).await
    }

    /// The same with the schema read again.
    async fn decide_anew(&mut self, text: &str) -> Result<Decided, ClientError> {
        self.read_anew().await.map_err(|e| ClientError::error("58000", e))?;
        let decided = self.decide_with(&self.planning(), text)?;
        match unknown(&decided) {
            // Sent to one shard it could be answered from rows of that shard alone, if the table appeared meanwhile.
            Some(name) if !self.database.with_planning(|planning| planning.schema.is_unsharded()) => {
                Err(ClientError::error("42P01", format!("relation \"{name}\" does not exist")))
            }
            _ => Ok(decided),
        }
    }

    /// Reads the schema again, for a relation that is not known: over the transaction's own servers if it has changed it.
    /// Errors: in words.
    pub(super) async fn read_anew(&mut self) -> Result<(), String> {
        let unread = |e| format!("the schema could not be read: {e}");
        let changed = |t: &super::transaction::Transaction| t.changed.is_some() && !t.failed;
        if self.transaction.as_ref().is_some_and(changed) {
            return Box::pin(self.reread_within()).await.map_err(|e| unread(e.message));
        }
        let planning = self.database.planning();
        let read = self.database.refresh(Some(&planning)).await.map_err(unread);
        self.follow_schema();
        read
    }

    pub(super) fn decide_with(&self, planning: &Planning, text: &str) -> Result<Decided, ClientError> {
        SCAN.with(|scan| {
            let scan = &mut *scan.borrow_mut();
            if scan.run(text).is_err() {
                return Ok(Decided::Unclosed);
            }
            if scan.words.is_empty() {
                return Ok(Decided::Empty);
            }
            let last = scan.semicolons.last().copied();
            let several = scan.semicolons.len() > 1 || last.is_some_and(|at| at + 1 < scan.end);
            let atomic =
                several && creates_routine(scan, text) && text.to_ascii_uppercase().contains("ATOMIC");
            if atomic
                && !text[..scan.end].trim_end_matches([';', ' ', '\n']).to_ascii_uppercase().ends_with("END")
            {
                return Err(ClientError::error("0A000", "a routine with BEGIN ATOMIC must be sent alone"));
            }
            if !several || atomic {
                if scan.starts_with(text, ";") {
                    return Ok(Decided::Empty);
                }
                return self.decision(planning, text, scan).map(Decided::One);
            }
            let semicolons = std::mem::take(&mut scan.semicolons);
            let mut statements = Vec::new();
            let mut start = 0;
            for end in semicolons.into_iter().map(|at| at + 1).chain([text.len()]) {
                let piece = &text[start..end];
                if scan.run(piece).is_ok() && !matches!(scan.word_at(piece, 0).as_str(), "" | ";") {
                    statements.push((start..end, self.decision(planning, piece, scan)?));
                }
                start = end;
            }
            Ok(match statements.len() {
                0 => Decided::Empty,
                _ => Decided::Many(statements),
            })
        })
    }

    /// Where a text leads that is one plain statement without a hint, and was planned before, and whether it takes the clock;
    /// `None` if it is anything else.
    pub(super) fn known_place(&self, text: &str) -> Option<(Target, Access, bool)> {
        SCAN.with(|scan| {
            let scan = &mut *scan.borrow_mut();
            scan.run(text).ok()?;
            let alone = match scan.semicolons[..] {
                [] => true,
                [only] => only + 1 >= scan.end,
                _ => false,
            };
            if !alone || scan.has_block_comment {
                return None;
            }
            let place = |plan: &Plan, scan: &Scan| {
                let values = Values { text, literals: &scan.literals, params: None, types: &[] };
                let target = plan.plain.then(|| locate(&plan.route, &self.database.maps, &values).ok());
                target.flatten().map(|target| (target, plan.access, plan.clocked.is_some()))
            };
            self.with_planning(|planning| planning.look(scan, &self.path, place)).flatten()
        })
    }

    fn decision(&self, planning: &Planning, text: &str, scan: &mut Scan) -> Result<Decision, ClientError> {
        let plan = planning.plan(text, scan, &self.path);
        let values = Values { text, literals: &scan.literals, params: None, types: &[] };
        let target = match self.hinted(text, scan.has_block_comment, &plan)? {
            Some(place) => Ok(Target::One(place)),
            None => locate(&plan.route, &self.database.maps, &values)
                .or_else(|why| self.let_through(&plan).ok_or_else(|| self.or_no_cursor(text, why))),
        };
        let key = if self.caches() { super::caching::pinned_key(&plan, &values) } else { None };
        Ok(Decision { plan, target, key })
    }

    /// Scans and plans a text that is to be prepared, with the schema as given.
    pub(super) fn plan_text(&self, planning: &Arc<Planning>, text: &str) -> Result<Planned, ClientError> {
        SCAN.with(|scan| {
            let scan = &mut *scan.borrow_mut();
            scan.run(text)
                .map_err(|_| ClientError::error("42601", "unterminated quoted string or comment"))?;
            let last = scan.semicolons.last().copied();
            if scan.semicolons.len() > 1 || last.is_some_and(|at| at + 1 < scan.end) {
                return Err(ClientError::error(
                    "42601",
                    "cannot insert multiple commands into a prepared statement",
                ));
            }
            let plan = planning.plan(text, scan, &self.path);
            Ok(Planned {
                plan,
                planning: planning.clone(),
                literals: scan.literals.clone(),
                may_hint: scan.has_block_comment,
            })
        })
    }

    /// Where a hint sends the statement.
    pub(super) fn hinted(
        &self,
        text: &str,
        may_be: bool,
        plan: &Plan,
    ) -> Result<Option<ShardRef>, ClientError> {
        if plan.command == crate::sql::command::Command::Cursor {
            return Ok(self.cursor_shard(text));
        }
        if let Some(cursor) = &plan.current_of {
            return Ok(self.portal_shard(cursor.as_bytes()));
        }
        if may_be { hinted::place(&self.database.maps, plan, text) } else { Ok(None) }
    }

    /// Why a statement is refused: it may be of the row that a cursor stands at, and there is no such cursor.
    pub(super) fn or_no_cursor(&self, text: &str, why: Refusal) -> Refusal {
        match cursor_of(text) {
            Some(name)
                if !self.has_portal(name.as_bytes()) && self.portal_shard(name.as_bytes()).is_none() =>
            {
                Refusal { code: "34000", message: format!("cursor \"{name}\" does not exist"), hint: "" }
            }
            _ => why,
        }
    }

    /// What would leave something on a server that others use, and may on one that stays with the session.
    pub(super) fn let_through(&self, plan: &Plan) -> Option<Target> {
        let may = self.mode == PoolMode::Session
            && plan.forbidden
            && matches!(plan.command, Command::Plannable | Command::Explain)
            && self.with_planning(|planning| planning.schema.is_unsharded());
        may.then_some(Target::Any(GroupId(0)))
    }

    /// A shard of a group, where any will do: the one that works for the session already, else the next in turn.
    pub(super) fn any_shard(&mut self, group: GroupId) -> ShardRef {
        if let Some(participant) = self.servers.iter().find(|p| p.shard.group == group) {
            return participant.shard;
        }
        // One that stays with the session has room for all that it asks.
        if let Some(kept) = self.kept.iter().find(|p| p.shard.group == group) {
            return kept.shard;
        }
        if let Some((at, _)) = self.leased.as_ref().filter(|(at, _)| at.group == group) {
            return *at;
        }
        let count = self.database.maps[group.0].shard_count();
        self.next_shard = self.next_shard.wrapping_add(1);
        ShardRef { group, shard: ShardId(self.next_shard % count) }
    }
}

/// Where statements are described before their key is known: object ids differ from shard to shard, so always there.
pub(super) fn first_shard(group: GroupId) -> ShardRef {
    ShardRef { group, shard: ShardId(0) }
}

/// CREATE [OR REPLACE] FUNCTION or PROCEDURE: its body may have semicolons of its own.
fn creates_routine(scan: &Scan, text: &str) -> bool {
    let what = if scan.word_at(text, 1) == "OR" { 3 } else { 1 };
    scan.word_at(text, 0) == "CREATE" && matches!(scan.word_at(text, what).as_str(), "FUNCTION" | "PROCEDURE")
}

fn unknown(decided: &Decided) -> Option<&str> {
    match decided {
        Decided::One(decision) => decision.plan.unknown.as_deref(),
        // What stands behind one that makes tables is planned again when it is its turn.
        Decided::Many(all) => {
            let makes = |plan: &Plan| plan.objects.as_ref().is_some_and(|objects| objects.changes);
            let before = all.iter().take_while(|(_, d)| !makes(&d.plan));
            before.into_iter().find_map(|(_, d)| d.plan.unknown.as_deref())
        }
        _ => None,
    }
}

fn has_unknown(decided: &Decided) -> bool {
    unknown(decided).is_some()
}
