//! What shards are asked for an explanation, and their answers.

use crate::plan::explain::Asked;
use crate::plan::explain::report::{Part, Report};
use crate::plan::locate::{Params, Values};
use crate::plan::{Access, Plan};
use crate::schema::ShardRef;
use crate::session::Session;
use crate::session::gather::pull::{Form, plain, pull};
use crate::session::relay::position_in;
use crate::session::simple::Failure;
use crate::sql::scan::Literal;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;

/// Before and behind what is to have no effect.
const TRIAL: &str = "SAVEPOINT \"shardway explain\"";
const TRIED: [&str; 2] =
    ["ROLLBACK TO SAVEPOINT \"shardway explain\"", "RELEASE SAVEPOINT \"shardway explain\""];

/// One execution of an EXPLAIN.
pub(in crate::session) struct Explaining<'a> {
    /// EXPLAIN and its options, as the client wrote them.
    pub(in crate::session) lead: &'a str,
    pub(in crate::session) asked: Asked,
    /// The plan of the statement.
    pub(in crate::session) plan: &'a Plan,
    /// The statement.
    pub(in crate::session) text: &'a str,
    pub(in crate::session) literals: &'a [Literal],
    /// Types of parameters that the client declared.
    pub(in crate::session) types: &'a [u32],
    pub(in crate::session) params: Params<'a>,
    /// Bind's body behind the names, where there are parameters.
    pub(in crate::session) bind: Option<&'a [u8]>,
    /// Whether the statement stands in the client's text, behind `lead`.
    pub(in crate::session) is_own: bool,
}

/// What a shard is asked.
pub(in crate::session) struct Question {
    pub(in crate::session) shard: ShardRef,
    /// The text of it that may be at fault.
    sql: String,
    messages: Buffer,
}

impl<'a> Explaining<'a> {
    pub(in crate::session) fn values(&self) -> Values<'a> {
        let params = self.bind.map(|_| self.params);
        Values { text: self.text, literals: self.literals, params, types: self.types }
    }

    /// What a shard has to be for it.
    pub(in crate::session) fn access(&self) -> Access {
        match self.plan.access {
            Access::Write if self.asked.analyzes => Access::Write,
            _ => Access::ReadPrimary,
        }
    }

    /// Asks for the plan of a statement with all the parameters.
    pub(in crate::session) fn question(&self, shard: ShardRef, sql: &str) -> Question {
        let numbers: Vec<usize> = (0..self.params.len()).collect();
        self.question_with(shard, sql, &numbers, self.types)
    }

    /// The same with some of them, by their numbers from 0.
    pub(in crate::session) fn question_with(
        &self,
        shard: ShardRef,
        sql: &str,
        numbers: &[usize],
        types: &[u32],
    ) -> Question {
        let sql = format!("{}{sql}", self.lead);
        let mut messages = Buffer::default();
        pull(&mut messages, &sql, numbers, types, &self.params, Form::Nothing);
        Question { shard, sql, messages }
    }

    /// An error's fields, with a position only where that is the client's too.
    fn placed_error(&self, body: &[u8], sent: &str) -> Vec<u8> {
        let own = format!("{}{}", self.lead, if self.is_own { self.text } else { "" });
        if own == sent {
            return body.to_vec();
        }
        let common = own.chars().zip(sent.chars()).take_while(|(own, sent)| own == sent).count();
        let fields = body.split_inclusive(|&byte| byte == 0);
        fields.filter(|field| position_in(field).is_none_or(|at| at <= common)).flatten().copied().collect()
    }
}

impl Question {
    /// The same without any effect: in a savepoint that is rolled back.
    pub(in crate::session) fn tried(mut self) -> Self {
        let mut messages = Buffer::default();
        plain(&mut messages, TRIAL);
        messages.extend(self.messages.filled());
        TRIED.iter().for_each(|sql| plain(&mut messages, sql));
        self.messages = messages;
        self
    }
}

impl Session {
    /// A server's plan, and of what it is.
    pub(in crate::session) fn plan_of(&self, shard: ShardRef, of: Option<&str>, rows: Vec<String>) -> Part {
        let server = self.database.shard(shard).primary().address.to_string();
        let group = self.database.groups[shard.group.0].name.clone();
        Part { shard: shard.shard, group, server, of: of.map(str::to_owned), rows }
    }

    /// Asks shards, in their order, all at once; their answers go into the report. Errors: the first one's.
    pub(in crate::session) async fn ask_plans(
        &mut self,
        explaining: &Explaining<'_>,
        questions: Vec<Question>,
        of: Option<&str>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let access = explaining.access();
        let shards: Vec<ShardRef> = questions.iter().map(|question| question.shard).collect();
        self.acquire_all(&shards, access).await?;
        let mut servers = Vec::with_capacity(questions.len());
        for question in &questions {
            let mut messages = Buffer::default();
            messages.extend(question.messages.filled());
            frame::put(&mut messages, b'S', &[]);
            servers.push(self.send_objects(question.shard, access, &messages).await?);
        }
        for question in &questions {
            let said = self.objects_answer(question.shard).await?;
            self.client.output.extend(said.notices.filled());
            if let Some(body) = said.error {
                let cancels = self.cancel_servers(&servers);
                // What they say now is that they were cancelled.
                let _ = self.drain(&servers).await;
                cancels.arrived().await;
                return Err(self.objects_error(&explaining.placed_error(&body, &question.sql)));
            }
            let rows = said.rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
            report.parts.push(self.plan_of(question.shard, of, rows));
        }
        Ok(())
    }
}
