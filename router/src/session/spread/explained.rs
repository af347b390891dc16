//! EXPLAIN of a write on several shards.
//!
//! With ANALYZE the statement runs as it does without EXPLAIN, with all that is checked then. The plans are of a trial
//! before it, in savepoints that are rolled back; where each shard is asked just the client's own words, they are of the run.

use super::super::explain::{Explaining, Question};
use super::super::simple::Failure;
use super::{Bound, Session, Write, unclear, wording};
use crate::error::ClientError;
use crate::plan::Refusal;
use crate::plan::explain::place::Placed;
use crate::plan::explain::report::{Note, Report};
use crate::plan::explain::words::one_line;
use crate::plan::locate::{Params, locate};
use crate::plan::spread::text::Tokens;
use crate::plan::spread::{Fed, How, Split, Spread, To};
use crate::schema::ShardRef;

impl Session {
    pub(in crate::session) async fn explain_spread(
        &mut self,
        explaining: &Explaining<'_>,
        spread: &Spread,
        placed: Placed,
    ) -> Result<Report, Failure> {
        let bound =
            |bind| Bound { types: explaining.types, bind, params: explaining.params, describes: false };
        let write = Write {
            plan: explaining.plan,
            spread,
            text: explaining.text,
            literals: explaining.literals,
            bound: explaining.bind.map(bound),
        };
        write.check_strings()?;
        if !explaining.asked.analyzes {
            return self.plans_of_write(explaining, &write, placed, false).await;
        }
        let opened = self.open_together();
        let done = self.analyze_write(explaining, &write, placed).await;
        if done.is_err()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.failed = true;
        }
        self.close_together(opened, done).await
    }

    async fn analyze_write(
        &mut self,
        explaining: &Explaining<'_>,
        write: &Write<'_>,
        placed: Placed,
    ) -> Result<Report, Failure> {
        let shards = placed.shards.clone();
        if write.spread.is_of_every_shard() {
            let servers = self.writers(&self.refs(placed.group, shards.clone())).await?;
            self.lock_copies(&write.spread.table, &servers).await?;
        }
        let is_plain = matches!(write.spread.how, How::Each) && write.spread.clock.is_none();
        let mut report = self.plans_of_write(explaining, write, placed, !is_plain).await?;
        if is_plain {
            return Ok(report);
        }
        // Nobody wants its rows.
        self.begin_holding(0).await?;
        let ran = self.spread_whole(write, shards).await;
        let held = self.end_holding();
        ran?;
        held?;
        let remark = match &write.spread.how {
            How::Fed(_) => "the query ran for its plans, and then in the statement itself",
            _ => "the plans are of a trial that was rolled back; the statement itself ran behind it",
        };
        report.notes.push((Note::Remark, remark.to_owned()));
        Ok(report)
    }

    /// The plans of what shards are asked; it `tries` them where they would have an effect that they are not to have.
    async fn plans_of_write(
        &mut self,
        explaining: &Explaining<'_>,
        write: &Write<'_>,
        placed: Placed,
        tries: bool,
    ) -> Result<Report, Failure> {
        let spread = write.spread;
        let commits = self.commits_by(placed.shards.len());
        let shards = self.refs(placed.group, placed.shards.clone());
        let mut report = self.report_of(placed);
        let whole = |shard: &ShardRef| explaining.question(*shard, explaining.text);
        let own = || one_line(explaining.text);
        let (questions, pushed): (Vec<Question>, String) = match &spread.how {
            How::Fed(fed) => {
                self.plans_of_fed(explaining, fed, &mut report).await?;
                let to = if matches!(fed.to, To::All(_)) {
                    "all on every shard"
                } else {
                    "each on the shard of its key"
                };
                (Vec::new(), format!("INSERT of the rows that the query gives, {to}"))
            }
            How::Split(split) => self.questions_of_split(explaining, write, split).await?,
            How::Copied(_) => {
                let others = "the others are told the rows that it wrote";
                (
                    shards[..1].iter().map(whole).collect(),
                    format!("shard {}: {}; {others}", shards[0].shard, own()),
                )
            }
            How::Each | How::Same(_) | How::Moved(_) => (shards.iter().map(whole).collect(), own()),
        };
        report.notes.insert(0, (Note::PushedDown, pushed));
        let tried = |question: Question| if tries { question.tried() } else { question };
        let questions = questions.into_iter().map(tried).collect();
        self.ask_plans(explaining, questions, None, &mut report).await?;
        let mut travels = if spread.returns { "rows of RETURNING" } else { "the number of rows" }.to_owned();
        match &spread.how {
            How::Moved(_) => travels.push_str("; rows whose new key is another shard's, which then go there"),
            How::Fed(_) => travels.push_str("; all rows of the query, on their way"),
            _ => {}
        }
        report.notes.push((Note::Travels, travels));
        report.notes.extend(commits.map(|commits| (Note::CommittedBy, commits)));
        Ok(report)
    }

    fn commits_by(&self, shards: usize) -> Option<String> {
        let explicit = self.transaction.as_ref().is_some_and(|transaction| transaction.explicit);
        (shards > 1).then(|| match explicit {
            true => "the transaction's COMMIT, a two-phase commit".to_owned(),
            false => "two-phase commit".to_owned(),
        })
    }

    /// INSERT … VALUES: each shard its rows.
    async fn questions_of_split(
        &mut self,
        explaining: &Explaining<'_>,
        write: &Write<'_>,
        split: &Split,
    ) -> Result<(Vec<Question>, String), Failure> {
        let (shards, rows) = self.dealt(write, split)?;
        let shards = self.refs(write.spread.group, shards);
        let servers = self.acquire_all(&shards, explaining.access()).await?;
        let frozen = self.frozen(write.spread, servers[0]).await?;
        let described = self.types_of_repeated(write, servers[0]).await?;
        let types = if described.is_empty() { explaining.types } else { &described };
        let worded = wording::split(write, split, &frozen, &rows)?;
        let question = |(shard, worded): (&ShardRef, &wording::Worded)| {
            explaining.question_with(*shard, &worded.woven.sql, &worded.woven.params, types)
        };
        let questions = shards.iter().zip(&worded).map(question).collect();
        let share =
            |(shard, rows): (&ShardRef, &Vec<usize>)| format!("{} on shard {}", rows.len(), shard.shard);
        let shares: Vec<String> = shards.iter().zip(&rows).map(share).collect();
        Ok((questions, format!("INSERT of rows of VALUES: {}", shares.join(", "))))
    }

    /// INSERT … SELECT whose rows go through here: its query.
    async fn plans_of_fed(
        &mut self,
        explaining: &Explaining<'_>,
        fed: &Fed,
        report: &mut Report,
    ) -> Result<(), Failure> {
        if !explaining.params.is_empty() {
            let message = "EXPLAIN of INSERT … SELECT over several shards, with parameters, is not supported";
            let hint = "Write the values in their place.";
            return Err(ClientError::error("0A000", message).hint(hint).into());
        }
        let tokens = Tokens::of(explaining.text).ok_or_else(unclear)?;
        let (query, _) = tokens.query(fed.conflicts).ok_or_else(unclear)?;
        let text = &explaining.text[query];
        let planned = self.plan_text(&self.planning(), text)?;
        let reading = Explaining {
            plan: &planned.plan,
            text,
            literals: &planned.literals,
            types: &[],
            params: Params::parse(&[0; 6]).ok_or_else(unclear)?,
            bind: None,
            is_own: false,
            ..*explaining
        };
        let target = locate(&planned.plan.route, &self.database.maps, &reading.values());
        if planned.plan.access == crate::plan::Access::Write || planned.plan.setting.is_some() {
            let what = "INSERT … SELECT of a query that does more than read is not supported";
            return Err(ClientError::from(Refusal::unsupported(what)).into());
        }
        let read = Box::pin(self.report(&reading, target.map_err(ClientError::from)?)).await?;
        let noted = |(note, text)| (note, format!("for its query ({}): {text}", read.tier));
        report.notes.extend(read.notes.into_iter().map(noted));
        report.parts.extend(read.parts);
        Ok(())
    }
}
