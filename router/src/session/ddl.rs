//! Commands on objects of several shards.
//!
//! One that can run in a transaction runs on the lowest shard first, so that two of them that are in each other's way wait
//! there and not crosswise. Then its catalog is read over the same connection and checked: what plans rely on must still
//! hold. Only then the others are asked, all at once; what each of them has made of it must be the same. To the end of the transaction the session plans with what it has
//! made; when it has committed, the schema is read again for all.

mod alike;
mod apart;
mod asking;
mod filled;
mod turns;
mod within;

use super::Session;
use super::asked::Asked;
use super::batch::Item;
use super::decide::Decided;
use super::prepared::Prepared;
use super::simple::Failure;
use crate::error::ClientError;
use crate::oids::TypeMaps;
use crate::plan::ddl::checks::{self, Read};
use crate::plan::ddl::{Objects, Way};
use crate::plan::locate::Params;
use crate::plan::{Access, Refusal};
use crate::plan_cache::Planning;
use crate::reply;
use crate::schema::placing::Home;
use crate::schema::{Kind, Schema, ShardRef, Table};
use shardway_pool::buffer::Buffer;
use shardway_pool::catalog::Name;
use shardway_pool::frame;
use shardway_pool::server::TextRow;
use std::sync::Arc;

/// A schema that a transaction has made, which nobody else sees.
#[derive(Debug)]
pub struct Changed {
    /// It and its plans.
    pub planning: Arc<Planning>,
    /// What it was read from.
    pub read: Arc<Read>,
    /// The object ids of types on the shards that it runs on.
    pub types: Option<Arc<TypeMaps>>,
}

/// What a server said to a command.
#[derive(Default)]
pub(super) struct Said {
    tag: String,
    /// NoticeResponses, whole.
    pub(super) notices: Buffer,
    /// Rows, where it was a question of ours.
    pub(super) rows: Vec<TextRow>,
    /// An ErrorResponse's body.
    pub(super) error: Option<Vec<u8>>,
}

impl Session {
    /// In simple protocol: notices and CommandComplete, without ReadyForQuery.
    pub(super) async fn objects_simple(&mut self, text: &str) -> Result<(), Failure> {
        let tag = self.on_objects(text).await?;
        reply::complete(&mut self.client.output, &tag);
        Ok(())
    }

    /// In extended protocol: the answers to a statement's messages, without ReadyForQuery.
    pub(super) async fn objects_extended(
        &mut self,
        statement: &Arc<Prepared>,
        bytes: &Buffer,
        items: &[Item],
    ) -> Result<(), Failure> {
        let asked = Asked::of(items, bytes)?;
        self.answer_before_bind(bytes, &items[..asked.bind]).await?;
        let given = Params::parse(asked.params).map_or(0, |params| params.len());
        if given > 0 {
            let message = format!("bind message supplies {given} parameters, but the command takes none");
            return Err(ClientError::error("08P01", message).into());
        }
        self.client.output.extend(reply::BIND_COMPLETE);
        if asked.describes {
            self.client.output.extend(reply::NO_DATA);
        }
        let tag = self.on_objects(&statement.text).await?;
        reply::complete(&mut self.client.output, &tag);
        self.closed(asked.closes);
        Ok(())
    }

    /// Runs a command wherever it belongs. Gives its tag.
    async fn on_objects(&mut self, text: &str) -> Result<String, Failure> {
        let objects = self.objects_of(text)?;
        let tag = match objects.way {
            Way::Apart => Box::pin(self.apart(&objects, text)).await?,
            Way::ApartIfAlone if self.transaction.is_none() => Box::pin(self.apart(&objects, text)).await?,
            // Postgres has words for it.
            Way::InBlock if self.transaction.is_none() => Box::pin(self.not_in_block(&objects, text)).await?,
            Way::Together | Way::InBlock | Way::ApartIfAlone => {
                let opened = self.open_together();
                let done = Box::pin(self.made(&objects, text)).await;
                self.close_together(opened, done).await?
            }
        };
        if self.wants_tags() {
            self.audit_answer(Some(vec![tag.clone()]), None);
        }
        Ok(tag)
    }

    /// What a command is by the schema of this moment: one before it in its text or batch may have changed it.
    fn objects_of(&self, text: &str) -> Result<Arc<Objects>, ClientError> {
        let Decided::One(decision) = self.decide_with(&self.planning(), text)? else {
            return Err(ClientError::error("0A000", "the command was not understood"));
        };
        if let Some(objects) = &decision.plan.objects {
            return Ok(objects.clone());
        }
        let unknown = || Refusal::unsupported("this command is not supported behind those before it");
        Err(decision.target.err().unwrap_or_else(unknown).into())
    }

    fn shards_at(&self, objects: &Objects) -> Vec<ShardRef> {
        let mut shards: Vec<ShardRef> = objects
            .homes
            .iter()
            .flat_map(|home| match home {
                Home::Group(group) => self.database.shards_of(*group).collect(),
                Home::Shard(place) => vec![*place],
            })
            .collect();
        shards.sort_unstable();
        shards.dedup();
        if objects.per_server {
            let mut servers = Vec::new();
            shards.retain(|shard| {
                let address = &self.database.shard(*shard).primary().address;
                let server = (address.host.clone(), address.port);
                let is_new = !servers.contains(&server);
                servers.push(server);
                is_new
            });
        }
        shards
    }

    /// On all of its shards, in the running transaction.
    async fn together(&mut self, objects: &Objects, text: &str) -> Result<String, Failure> {
        let access = if objects.reads { Access::ReadPrimary } else { Access::Write };
        let message = query(text);
        let (mut firsts, mut others): (Vec<ShardRef>, Vec<ShardRef>) = (Vec::new(), Vec::new());
        let shards = self.shards_at(objects);
        let changes = objects.changes && !objects.per_server;
        let items = if changes { self.items_on(objects, &shards).await? } else { Vec::new() };
        for &shard in &shards {
            let known = firsts.iter().any(|first| first.group == shard.group);
            if known { others.push(shard) } else { firsts.push(shard) }
        }
        let mut tag = None;
        for &shard in &firsts {
            let said = self.ask_objects(shard, access, &message, tag.is_none()).await?;
            tag.get_or_insert(said);
        }
        let before = self.last_read();
        let mut after = None;
        let mut empty: Vec<Name> = objects.only_empty.to_vec();
        if changes {
            let read = self.read_within(&before, &objects.homes, &firsts).await?;
            let committed = self.database.last_read();
            let compared = checks::compare(&before, &read, &committed.schema, objects.renames);
            empty.extend(compared.map_err(ClientError::from)?);
            after = Some(read);
        }
        let tags = self.ask_others(&others, access, &message).await?;
        if let Some(read) = &mut after {
            tag = tag.map(|tag| of_all(tag, &tags, &before.schema, &read.schema));
            empty.extend(self.must_be_alike(objects, text, &shards, items, read).await?);
            if objects.counts {
                self.interleave(objects, &before, read).await?;
            }
            self.must_be_empty(&empty, read).await?;
        }
        if let Some(read) = after {
            self.take_up(read);
            self.reread_types().await?;
        }
        Ok(tag.unwrap_or_default())
    }
}

/// The tag of a command: where it has made a materialized view whose rows are dealt out, these of all shards are counted.
fn of_all(tag: String, others: &[String], before: &Schema, after: &Schema) -> String {
    let rows = |tag: &str| tag.strip_prefix("SELECT ").and_then(|count| count.parse::<u64>().ok());
    let is_new = |table: &&Arc<Table>| before.get(&table.schema, &table.name).is_none();
    let dealt = || {
        let made = after.tables().find(is_new);
        made.is_some_and(|view| matches!(after.as_read(view).kind, Kind::Sharded { .. }))
    };
    match rows(&tag) {
        Some(own) if dealt() => {
            format!("SELECT {}", own + others.iter().filter_map(|tag| rows(tag)).sum::<u64>())
        }
        _ => tag,
    }
}

/// A Query message.
fn query(text: &str) -> Buffer {
    let mut message = Buffer::default();
    frame::put(&mut message, b'Q', &[text.as_bytes(), b"\0"].concat());
    message
}
