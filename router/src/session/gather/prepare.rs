//! Before anything travels: the transaction or savepoint that is undone in the end, the checks of the statement, and the
//! temporary tables.

use super::answers::{Answer, FIRST_OF_USERS, alike, answer, fields, query, without_tables};
use super::engine::Engine;
use super::shapes::{Shape, check_sorts, create, shapes};
use super::values::Valued;
use crate::error::ClientError;
use crate::plan::gather::Brought;
use crate::schema::GroupId;
use crate::session::servers::{Participant, refused};
use crate::session::simple::Failure;
use shardway_pool::frame;
use shardway_pool::server::ServerConn;

/// Opens what is undone in the end, where there is no transaction: temporary tables are no writes, but a read-only
/// transaction takes them for such. The engine's own tables are seen as of one moment.
const OPEN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE";

/// The same in a transaction.
const SAVE: &str = "SAVEPOINT \"shardway gather\"";

/// Goes back to it.
pub(super) const BACK: &[&str] =
    &["ROLLBACK TO SAVEPOINT \"shardway gather\"", "RELEASE SAVEPOINT \"shardway gather\""];

/// A statement that can run on the engine as soon as its rows are there.
pub(super) struct Prepared {
    /// Its parameters and columns.
    pub(super) meant: Answer,
    /// Where no temporary tables are made.
    pub(super) valued: Option<Valued>,
}

impl Engine<'_> {
    /// Checks the statement as it came, so that what is wrong with it is said in Postgres's own words before anything
    /// travels; then makes the tables, and checks that the statement means the same on these. Where the engine does not have
    /// all of its tables, it can say that of the statement over the temporary ones only.
    pub(super) async fn prepare(&self, servers: &mut [Participant]) -> Result<Prepared, Failure> {
        let known = self.foreign_shapes(servers).await?;
        let knows_all = !self.gather.is_foreign();
        let server = &mut servers[self.parts.engine].lease;
        if knows_all {
            self.parse(server, self.gather.asked());
        }
        self.check_views(servers).await?;
        let server = &mut servers[self.parts.engine].lease;
        self.create(server, if self.nested { SAVE } else { OPEN }, &known, false);
        self.parse(server, self.gather.sql());
        let asked = if knows_all { Some(answer(server).await?) } else { None };
        let checks = self.own_views().count() > 0;
        let allowed = if checks { Some(answer(server).await?) } else { None };
        let [created, renamed] = [answer(server).await?, answer(server).await?];
        let asked = asked.map(Answer::succeeded).transpose()?;
        allowed.map_or(Ok(()), |allowed| allowed.succeeded().map(drop))?;
        if created.may_not() {
            let (renamed, valued) = self.prepare_values(servers, asked.as_ref(), &known).await?;
            let meant = self.meant_to_client(asked, renamed, &mut servers[self.parts.engine].lease).await?;
            return Ok(Prepared { meant, valued: Some(valued) });
        }
        created.succeeded().map_err(not_made)?;
        // It selects what hangs on the key that it groups by.
        let renamed = match renamed.code() {
            Some(b"42803") => self.prepare_with_keys(server, &known).await?,
            _ => renamed,
        };
        let renamed = self.meant(renamed, 0)?;
        if asked.as_ref().is_some_and(|asked| !alike(asked, &renamed)) {
            return Err(unlike().into());
        }
        let meant = self.meant_to_client(asked, renamed, server).await?;
        Ok(Prepared { meant, valued: None })
    }

    /// The answer to the statement over what is brought, without the parameters that are not the client's.
    pub(super) fn meant(&self, renamed: Answer, own: usize) -> Result<Answer, Failure> {
        let mut renamed = renamed.succeeded().map_err(|failure| match failure {
            Failure::ServerError(body) if self.gather.is_foreign() => {
                Failure::ServerError(super::placed(&body, |position| self.gather.position(position)))
            }
            Failure::ServerError(body) => {
                let said = ClientError::of_server(&body);
                let message =
                    format!("this statement could not be run over several shards: {}", said.message);
                ClientError::error("0A000", message).into()
            }
            failure => failure,
        })?;
        if let (Some((count, _)), true) = (frame::i16(&renamed.params), own > 0) {
            let count = (count as u16).saturating_sub(own as u16);
            renamed.params.truncate(2 + usize::from(count) * 4);
            renamed.params[..2].copy_from_slice(&count.to_be_bytes());
        }
        Ok(renamed)
    }

    /// What the client is told of the statement: what was said of its own text, where that was understood; else what was said
    /// of the other one, but for the tables that the columns are of.
    async fn meant_to_client(
        &self,
        asked: Option<Answer>,
        mut renamed: Answer,
        server: &mut ServerConn,
    ) -> Result<Answer, Failure> {
        if let Some(asked) = asked {
            return Ok(asked);
        }
        let own: Vec<String> = fields(&renamed.columns)
            .into_iter()
            .flatten()
            .filter(|field| field.oid >= FIRST_OF_USERS)
            .map(|field| field.oid.to_string())
            .collect();
        if !own.is_empty() {
            let sql = format!(
                "SELECT FROM pg_catalog.pg_type WHERE oid IN ({}) AND typnamespace = pg_catalog.pg_my_temp_schema()",
                own.join(", ")
            );
            if !server.rows(&sql).await.map_err(|e| refused(&e))?.is_empty() {
                return Err(unlike().into());
            }
        }
        without_tables(&mut renamed.columns);
        Ok(renamed)
    }

    /// The columns of the tables that the engine does not have, as a shard of theirs tells them.
    async fn foreign_shapes(&self, servers: &mut [Participant]) -> Result<Vec<Option<Vec<Shape>>>, Failure> {
        let mut known = vec![None; self.gather.tables.len()];
        if !self.gather.is_foreign() {
            return Ok(known);
        }
        for (n, table) in self.gather.tables.iter().enumerate() {
            if !table.is_foreign {
                continue;
            }
            let source = self.parts.sources[n].first().copied().unwrap_or(self.parts.engine);
            known[n] = shapes(&mut servers[source].lease, &[table]).await?.pop();
        }
        let engine = &mut servers[self.parts.engine].lease;
        check_sorts(engine, &known).await?;
        Ok(known)
    }

    /// Views that the engine's group has.
    fn own_views(&self) -> impl Iterator<Item = &str> {
        let own = |(group, _): &&(GroupId, String)| *group == self.gather.group;
        self.gather.views.iter().filter(own).map(|(_, view)| view.as_str())
    }

    /// Who may not read a view may not have it read by its query either. The engine is asked, and has not answered yet.
    async fn check_views(&self, servers: &mut [Participant]) -> Result<(), Failure> {
        let check = |view: &str| format!("SELECT FROM {view} LIMIT 0");
        for ((group, view), index) in self.gather.views.iter().zip(&self.parts.views) {
            if *group != self.gather.group {
                let server = &mut servers[*index].lease;
                query(server, &check(view));
                answer(server).await?.succeeded()?;
            }
        }
        let checks: Vec<String> = self.own_views().map(check).collect();
        if !checks.is_empty() {
            query(&mut servers[self.parts.engine].lease, &checks.join("; "));
        }
        Ok(())
    }

    async fn prepare_with_keys(
        &self,
        server: &mut ServerConn,
        known: &[Option<Vec<Shape>>],
    ) -> Result<Answer, Failure> {
        if !self.nested {
            query(server, "ROLLBACK");
        }
        self.create(server, if self.nested { BACK[0] } else { OPEN }, known, true);
        self.parse(server, self.gather.sql());
        if !self.nested {
            answer(server).await?.succeeded()?;
        }
        let (created, renamed) = (answer(server).await?, answer(server).await?);
        created.succeeded().map_err(not_made)?;
        Ok(renamed)
    }

    /// Makes the tables behind a command that sees to their end. It is one text: should the command fail, there are no
    /// tables that nobody would take away.
    fn create(&self, server: &mut ServerConn, first: &str, known: &[Option<Vec<Shape>>], keys: bool) {
        let mut sql = first.to_owned();
        for (table, known) in self.gather.tables.iter().zip(known) {
            sql.push(';');
            sql.push_str(&match known {
                Some(shapes) => create(table, shapes, keys),
                None if keys => table.create_with_keys(),
                None => Brought::create(table),
            });
        }
        query(server, &sql);
    }

    fn parse(&self, server: &mut ServerConn, sql: &str) {
        self.parse_with(server, sql, self.types);
    }

    /// Parse, Describe and Sync.
    pub(super) fn parse_with(&self, server: &mut ServerConn, sql: &str, types: &[u32]) {
        let out = &mut server.wire.output;
        let mut declared = (types.len() as u16).to_be_bytes().to_vec();
        types.iter().for_each(|oid| declared.extend_from_slice(&oid.to_be_bytes()));
        frame::put(out, b'P', &[b"\0", sql.as_bytes(), b"\0", &declared].concat());
        frame::put(out, b'D', b"S\0");
        frame::put(out, b'S', &[]);
        server.unnamed = None;
        server.outstanding += 1;
    }
}

/// Why there are no temporary tables: a type or a collation of another shard group may be missing.
fn not_made(failure: Failure) -> Failure {
    let Failure::ServerError(body) = &failure else { return failure };
    let said = ClientError::of_server(body);
    match said.code.as_str() {
        "42704" => {
            let message = format!("this statement can't be run on this shard group: {}", said.message);
            let hint = "Create it there too, or leave the columns that need it out of the statement.";
            ClientError::error("0A000", message).hint(hint).into()
        }
        _ => failure,
    }
}

/// The statement would mean something else.
pub(super) fn unlike() -> ClientError {
    ClientError::error("0A000", "this statement's columns are not the same over several shards")
}
