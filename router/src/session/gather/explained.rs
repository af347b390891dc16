//! EXPLAIN of a gather: the plans of what is brought, shard by shard, and the engine's plan of the statement. With ANALYZE the
//! rows are brought; else the temporary tables stay empty, and the engine plans for what it knows of empty tables.

use super::{Client, Session};
use crate::plan::explain::place::Placed;
use crate::plan::explain::report::{Note, Report};
use crate::plan::explain::words::one_line;
use crate::plan::gather::Gather;
use crate::plan::locate::Values;
use crate::schema::ShardRef;
use crate::session::explain::{Explaining, rows_of};
use crate::session::servers::refused;
use crate::session::simple::Failure;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_pool::server::text_row;

impl Session {
    pub(in crate::session) async fn explain_gather(
        &mut self,
        explaining: &Explaining<'_>,
        gather: &Gather,
        placed: Placed,
    ) -> Result<Report, Failure> {
        let (text, literals) = (&*gather.text, &*gather.literals);
        let values = Values { text, literals, ..explaining.values() };
        let from = self.shards_with_rows(gather, &values);
        let engine = self.engine(gather, &from);
        let mut all: Vec<ShardRef> = from.iter().flatten().copied().chain([engine]).collect();
        all.sort_unstable();
        all.dedup();
        // In order, as every other statement takes them.
        let servers = self.acquire_all(&all, explaining.access()).await?;
        let types = match gather.is_foreign() {
            true => self.types_beyond_any_shard(explaining, gather).await?,
            false => self.types_of_params(explaining, gather, servers[0]).await?,
        };
        let spans = gather.spans_groups();
        let (own, others): (Vec<ShardRef>, Vec<ShardRef>) =
            all.iter().partition(|at| at.group == gather.group);
        let mut report = self.report_of(Placed { shards: own.iter().map(|at| at.shard).collect(), ..placed });
        let groups = others.chunk_by(|one, next| one.group == next.group);
        report.notes.extend(groups.map(|shards| (Note::Groups, self.list(shards, true))));
        report.notes.push((Note::Engine, self.name_of_engine(engine, spans)));
        let mut travels = Vec::new();
        for (table, from) in gather.tables.iter().zip(&from) {
            let (sql, numbers) = table.select();
            let at = |&shard| explaining.question_with(shard, &sql, &numbers, &types);
            let questions = from.iter().map(at).collect();
            let begin = report.parts.len();
            let of = format!("rows of {}", table.of);
            self.ask_plans(explaining, questions, Some(&of), &mut report).await?;
            let some = match *from == all {
                true => String::new(),
                false => format!("{}: ", self.list(from, spans)),
            };
            report.notes.push((Note::PushedDown, format!("{some}{}", one_line(&sql))));
            let others: Vec<ShardRef> = from.iter().copied().filter(|shard| *shard != engine).collect();
            let parts = report.parts[begin..].iter().zip(from);
            let brought: Vec<_> =
                parts.filter(|(_, at)| **at != engine).map(|(part, _)| part.clone()).collect();
            let rows = rows_of(explaining.asked.format, &brought).map(|rows| format!(": {rows}"));
            travels.push(match others.is_empty() {
                true => format!("nothing of {}", table.of),
                false => {
                    let (columns, others) = (table.columns(), self.list(&others, spans));
                    format!("{} ({columns}) of {others}{}", table.of, rows.unwrap_or_default())
                }
            });
        }
        report.notes.extend(travels.into_iter().map(|travels| (Note::Travels, travels)));
        report.notes.push((Note::Runs, one_line(gather.sql())));
        report.notes.push((Note::MergedBy, "the engine".to_owned()));
        report.notes.push((Note::Remark, remark(explaining.asked.analyzes).to_owned()));
        let rows = self.plan_of_engine(explaining, gather, engine).await?;
        report.parts.insert(0, self.plan_of(engine, Some("as the engine"), rows));
        Ok(report)
    }

    /// The types of parameters, as the whole statement tells them.
    async fn types_of_params(
        &mut self,
        explaining: &Explaining<'_>,
        gather: &Gather,
        index: usize,
    ) -> Result<Vec<u32>, Failure> {
        if explaining.params.is_empty() {
            return Ok(Vec::new());
        }
        let mut declared = (explaining.types.len() as u16).to_be_bytes().to_vec();
        explaining.types.iter().for_each(|oid| declared.extend_from_slice(&oid.to_be_bytes()));
        let mut messages = Buffer::default();
        frame::put(&mut messages, b'P', &[b"\0", gather.asked().as_bytes(), b"\0", &declared].concat());
        frame::put(&mut messages, b'D', b"S\0");
        frame::put(&mut messages, b'S', &[]);
        self.send(&[index], messages.filled());
        let server = &mut self.servers[index].lease;
        server.parameter_types().await.map_err(|e| refused(&e).into())
    }

    /// The same where no shard understands that.
    async fn types_beyond_any_shard(
        &mut self,
        explaining: &Explaining<'_>,
        gather: &Gather,
    ) -> Result<Vec<u32>, Failure> {
        if explaining.params.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.described_gather(gather, explaining.types).await?.meant.types())
    }

    /// Shards of one group, and that group where the statement is over several.
    fn list(&self, shards: &[ShardRef], named: bool) -> String {
        let group = shards.first().filter(|_| named).map(|at| &self.database.groups[at.group.0].name);
        let of = group.map(|name| format!(" of group {name}")).unwrap_or_default();
        let shards = shards.iter().map(|at| at.shard.to_string()).collect::<Vec<_>>().join(", ");
        format!("shards {shards}{of}")
    }

    fn name_of_engine(&self, engine: ShardRef, named: bool) -> String {
        let group = &self.database.groups[engine.group.0].name;
        let of = if named { format!(" of group {group}") } else { String::new() };
        format!("shard {}{of}", engine.shard)
    }

    async fn plan_of_engine(
        &mut self,
        explaining: &Explaining<'_>,
        gather: &Gather,
        engine: ShardRef,
    ) -> Result<Vec<String>, Failure> {
        let told = gather.explained(explaining.lead, engine.shard, explaining.asked.analyzes);
        // A plan is text in every format.
        let bind = match explaining.bind {
            Some(bind) => [&bind[..bind.len() - explaining.params.result_formats.len()], &[0, 0]].concat(),
            None => vec![0; 6],
        };
        let client = Client {
            types: explaining.types,
            bind: &bind,
            describes: false,
            bound: explaining.bind.is_some(),
        };
        self.begin_holding(self.world.config.routing.gather_max_bytes).await?;
        let ran = self.gather(&told, explaining.access(), client).await;
        let held = self.end_holding();
        ran?;
        let first = |row: &[u8]| text_row(row)?.into_iter().next().flatten();
        Ok(held?.rows.iter().filter_map(|row| first(row)).collect())
    }
}

fn remark(analyzes: bool) -> &'static str {
    match analyzes {
        true => "the shards' plans are of runs of their own, before those that brought the rows",
        false => "the engine's plan is one for empty tables: how many rows come is known once they have",
    }
}
