//! EXPLAIN over shards (`plan/explain`): each shard is asked for its plan of what the statement would ask it, and what they
//! say goes to the client below the words on how the statement runs here.
//!
//! With ANALYZE it does run, on the primaries and in the client's transaction; what a write then does is what it does
//! without EXPLAIN (`spread/explained.rs`). For a gather see `gather/explained.rs`.

mod asking;

use super::asked::Asked as Portal;
use super::batch::Item;
use super::copy_out::Held;
use super::prepared::Prepared;
use super::simple::Failure;
use super::{Session, asked};
use crate::error::ClientError;
use crate::plan::explain::place::{Placed, placed};
use crate::plan::explain::report::{Note, Part, Report};
use crate::plan::explain::words::{actual, clauses, counted, one_line};
use crate::plan::explain::{Explained, Format};
use crate::plan::locate::{Params, Target, Values, locate};
use crate::plan::{Across, Plan, Refusal, Tier};
use crate::reply;
use crate::schema::ShardRef;
use crate::sql::command::Command;
pub(super) use asking::{Explaining, Question};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use std::sync::Arc;

/// Bind's body behind the names, for a statement without parameters.
const NO_PARAMS: &[u8] = &[0; 6];

impl Session {
    /// In simple protocol: everything but ReadyForQuery. `hint` is where a comment sends the statement. Gives the tier.
    pub(super) async fn explain_simple(
        &mut self,
        explained: &Explained,
        hint: Option<ShardRef>,
        text: &str,
    ) -> Result<Tier, Failure> {
        let located = match (&explained.plan, hint) {
            (Some(plan), None) => {
                let Explained { text, literals, .. } = explained;
                let values = Values { text, literals, params: None, types: &[] };
                locate(&plan.route, &self.database.maps, &values).map(drop)
            }
            _ => Ok(()),
        };
        if let Err(refusal) = located {
            return Err(self.text_in_postgres_words(text, refusal.into()).await.into());
        }
        let (rows, tier) = self.explained(explained, hint, &[], None).await?;
        self.give_plan(explained.asked.format, rows, Some(0));
        Ok(tier)
    }

    /// In extended protocol: the answers to a statement's messages, without ReadyForQuery. Gives the tier.
    pub(super) async fn explain_extended(
        &mut self,
        statement: &Arc<Prepared>,
        explained: &Explained,
        hint: Option<ShardRef>,
        bytes: &Buffer,
        items: &[Item],
    ) -> Result<Tier, Failure> {
        let at = items.iter().position(|item| matches!(item, Item::Bind { .. })).unwrap_or_default();
        let stays = stays(items, explained.asked.analyzes);
        if stays {
            // Portals belong to a transaction.
            self.open_together();
        }
        let portal = if stays { None } else { Some(Portal::of(items, bytes)?) };
        self.answer_before_bind(bytes, &items[..at]).await?;
        let bind = bound(bytes, &items[at]);
        let (rows, tier) = self.explained(explained, hint, &statement.types, Some(bind)).await?;
        let formats = Params::parse(bind).map_or(&[][..], |params| params.result_formats);
        let format = explained.asked.format;
        let Some(portal) = portal else {
            let rows = rows.iter().map(|row| data_row(row)).collect();
            let held = Held { columns: column(format, 0), rows, ..Held::default() };
            self.give_held(held, formats, "EXPLAIN", &items[at..]).await?;
            return Ok(tier);
        };
        if !self.is_query {
            self.client.output.extend(reply::BIND_COMPLETE);
        }
        let code = formats.get(3).copied().unwrap_or(0);
        self.give_plan(format, rows, portal.describes.then_some(code));
        self.closed(portal.closes);
        Ok(tier)
    }

    /// The rows of the column `QUERY PLAN`; and the tier.
    async fn explained(
        &mut self,
        explained: &Explained,
        hint: Option<ShardRef>,
        types: &[u32],
        bind: Option<&[u8]>,
    ) -> Result<(Vec<String>, Tier), Failure> {
        let Explained { lead, asked, text, literals, plan, .. } = explained;
        let asked = *asked;
        let Some(plan) = plan else {
            let bound = self.bound_by_execute(text).await?;
            let statement = &bound.statement;
            let of_session =
                |plan: &Plan| plan.setting.is_some() || plan.setval.is_some() || plan.current_of.is_some();
            if statement.plan.command != Command::Plannable || of_session(&statement.plan) {
                let message = "EXPLAIN of this prepared statement is not supported across shards";
                return Err(ClientError::from(Refusal::unsupported(message)).into());
            }
            let explaining = Explaining {
                lead,
                asked,
                plan: &statement.plan,
                text: &statement.text,
                literals: &statement.literals,
                types: &statement.types,
                params: params(&bound.bind)?,
                bind: Some(&bound.bind),
                is_own: false,
            };
            let target = hint.map(Target::One).map_or(bound.target, Ok).map_err(ClientError::from)?;
            return self.explain(&explaining, target).await;
        };
        let params = params(bind.unwrap_or(NO_PARAMS))?;
        let explaining = Explaining { lead, asked, plan, text, literals, types, params, bind, is_own: true };
        let target = match hint {
            Some(place) => Target::One(place),
            None => {
                locate(&plan.route, &self.database.maps, &explaining.values()).map_err(ClientError::from)?
            }
        };
        self.explain(&explaining, target).await
    }

    async fn explain(
        &mut self,
        explaining: &Explaining<'_>,
        target: Target,
    ) -> Result<(Vec<String>, Tier), Failure> {
        if explaining.asked.analyzes {
            self.begin_write(explaining.plan, None).await;
        }
        let report = self.report(explaining, target).await;
        self.end_write().await;
        let report = report?;
        self.release();
        if self.wants_tags() {
            self.audit_answer(Some(vec!["EXPLAIN".to_owned()]), None);
        }
        Ok((report.rows(explaining.asked.format), explaining.plan.tier))
    }

    /// What there is to say about a statement that leads there.
    pub(super) async fn report(
        &mut self,
        explaining: &Explaining<'_>,
        target: Target,
    ) -> Result<Report, Failure> {
        let placed = placed(explaining.plan, &target, &self.database.maps)
            .ok_or_else(|| super::simple::everywhere(explaining.plan))?;
        match (target, explaining.plan.across()) {
            (Target::Several(..), Some(Across::Gather(gather))) => {
                Box::pin(self.explain_gather(explaining, gather, placed)).await
            }
            (Target::Several(..), Some(Across::Spread(spread))) => {
                Box::pin(self.explain_spread(explaining, spread, placed)).await
            }
            (Target::Several(..), Some(across)) => self.explain_each(explaining, across, placed).await,
            (target, _) => self.explain_single(explaining, target, placed).await,
        }
    }

    /// A statement that one shard runs by itself.
    async fn explain_single(
        &mut self,
        explaining: &Explaining<'_>,
        target: Target,
        placed: Placed,
    ) -> Result<Report, Failure> {
        let shard = self.single_shard(explaining.plan, target)?;
        if explaining.asked.analyzes {
            let index = self.acquire(shard, explaining.access()).await?;
            self.doubt_by(index, explaining.plan, explaining.text);
            self.lock_before_rows(explaining.plan, shard).await?;
        }
        let mut report = self.report_of(Placed { shards: vec![shard.shard], ..placed });
        report.notes.push((Note::PushedDown, "the whole statement".to_owned()));
        self.ask_plans(explaining, vec![explaining.question(shard, explaining.text)], None, &mut report)
            .await?;
        Ok(report)
    }

    /// One that every shard answers, and whose answers are put together.
    async fn explain_each(
        &mut self,
        explaining: &Explaining<'_>,
        across: &Across,
        placed: Placed,
    ) -> Result<Report, Failure> {
        let sql = match across {
            Across::Scatter(scatter) => {
                self.check_floats(scatter)?;
                scatter.shard_sql()
            }
            Across::Combine(combine) => {
                String::from_utf8_lossy(combine.text()).trim_end_matches('\0').to_owned()
            }
            // Have ways of their own.
            Across::Gather(_) | Across::Spread(_) | Across::Explained(_) => String::new(),
        };
        // Says what is wrong with LIMIT.
        asked::Window::of(across, Some(&explaining.params))?;
        let group = placed.group;
        let at = |&shard| explaining.question(ShardRef { group, shard }, &sql);
        let questions = placed.shards.iter().map(at).collect();
        let mut report = self.report_of(placed);
        self.ask_plans(explaining, questions, None, &mut report).await?;
        let (mut travels, merged) = merging(across, explaining.text);
        if let Some(rows) = rows_of(explaining.asked.format, &report.parts) {
            travels = format!("{travels}: {rows}");
        }
        report.notes =
            vec![(Note::PushedDown, one_line(&sql)), (Note::Travels, travels), (Note::MergedBy, merged)];
        Ok(report)
    }

    /// A report without notes and plans.
    pub(super) fn report_of(&self, placed: Placed) -> Report {
        Report {
            tier: placed.tier,
            group: self.database.groups[placed.group.0].name.clone(),
            shards: placed.shards,
            of: self.database.maps[placed.group.0].shard_count(),
            notes: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// RowDescription in this format where it is asked for, the rows, and CommandComplete.
    fn give_plan(&mut self, format: Format, rows: Vec<String>, described: Option<u8>) {
        let out = &mut self.client.output;
        if let Some(code) = described {
            frame::put(out, b'T', &column(format, code));
        }
        for row in rows {
            reply::row(out, &[Some(row)]);
        }
        reply::complete(out, "EXPLAIN");
    }
}

/// RowDescription of `QUERY PLAN`.
pub(super) fn column(format: Format, code: u8) -> Vec<u8> {
    let mut column = b"\0\x01QUERY PLAN\0\0\0\0\0\0\0".to_vec();
    column.extend_from_slice(&format.oid().to_be_bytes());
    column.extend_from_slice(&(-1i16).to_be_bytes());
    column.extend_from_slice(&(-1i32).to_be_bytes());
    column.extend_from_slice(&[0, code]);
    column
}

/// DataRow of one value.
fn data_row(value: &str) -> Box<[u8]> {
    [&[0, 1][..], &(value.len() as u32).to_be_bytes(), value.as_bytes()].concat().into()
}

/// Whether its portal stays when these messages are through. One that was not executed runs nothing.
fn stays(items: &[Item], analyzes: bool) -> bool {
    let limits: Vec<i32> = items
        .iter()
        .filter_map(|item| match item {
            Item::Portal { tag: b'E', max_rows, .. } => Some(*max_rows),
            _ => None,
        })
        .collect();
    limits.iter().any(|limit| *limit > 0) || limits.len() > 1 || limits.is_empty() && !analyzes
}

/// A Bind's body behind the names.
fn bound<'a>(bytes: &'a Buffer, item: &Item) -> &'a [u8] {
    let Item::Bind { at, .. } = item else { return NO_PARAMS };
    let body = &bytes.filled()[at.start + HEADER..at.end];
    let names = frame::cstr(body).and_then(|(_, rest)| frame::cstr(rest));
    names.map(|(_, rest)| rest).unwrap_or_default()
}

fn params(bind: &[u8]) -> Result<Params<'_>, ClientError> {
    Params::parse(bind).ok_or_else(|| ClientError::error("08P01", "invalid message format"))
}

/// Where a hint sends an EXPLAIN: its plan fits any shard.
pub(super) fn placed_by_hint(target: &Result<Target, Refusal>) -> Option<ShardRef> {
    match target {
        Ok(Target::One(place)) => Some(*place),
        _ => None,
    }
}

/// How many rows there were, where the plans say so.
pub(super) fn rows_of(format: Format, parts: &[Part]) -> Option<String> {
    let rows: Option<Vec<_>> = parts.iter().map(|part| actual(format, &part.rows)).collect();
    rows.filter(|rows| !rows.is_empty()).map(|rows| counted(&rows))
}

/// What comes back of shards, and how it becomes one.
fn merging(across: &Across, text: &str) -> (String, String) {
    let clauses = clauses(text);
    let then = |what: &Option<String>| what.as_ref().map(|what| format!(", then {what}")).unwrap_or_default();
    match across {
        Across::Combine(_) => {
            let merged = match &clauses.group {
                Some(group) => format!("{group}: groups of the same keys become one"),
                None => "parts of an aggregate become one".to_owned(),
            };
            let travels = "partial aggregates, a row for each group".to_owned();
            (travels, format!("{merged}{}{}", then(&clauses.order), then(&clauses.limit)))
        }
        Across::Scatter(scatter) if !scatter.order.is_empty() => {
            let order = clauses.order.unwrap_or_default();
            let keys = scatter.order.len();
            let travels =
                format!("rows in that order, with {keys} hidden column{}", if keys == 1 { "" } else { "s" });
            (travels, format!("{order}, as the rows come{}", then(&clauses.limit)))
        }
        _ => ("rows".to_owned(), format!("one shard's rows after another's{}", then(&clauses.limit))),
    }
}
