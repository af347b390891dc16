//! Servers in hand, made to speak of types as clients know them: see [`crate::oids`].

use super::relay::Broken;
use super::row_shape::RowShape;
use super::servers::{Participant, refused};
use super::simple::Failure;
use super::{SYNC, Session};
use crate::copy::Format;
use crate::database::Database;
use crate::error::ClientError;
use crate::oids::{Terms, TypeMaps};
use crate::plan::copy::grammar::{self, Source};
use crate::plan::copy::lower;
use crate::plan::gather::quoted;
use shardway_pool::catalog::types;
use shardway_pool::frame;
use shardway_pool::server::RunError;
use std::io;
use std::sync::Arc;

/// Has a server speak in terms of clients. False: nobody knows yet what it has of its own.
fn in_terms(maps: &TypeMaps, participant: &mut Participant) -> bool {
    if participant.lease.outstanding > 0 {
        return true;
    }
    match maps.at(participant.shard) {
        Terms::Unread => return false,
        Terms::Same => participant.lease.wire.translate(None),
        Terms::Own(oids) => participant.lease.wire.translate(Some(oids)),
    }
    true
}

/// Asks a server for what it has, and has it speak in terms of clients. Errors: it does not say, and can't be used.
pub(super) async fn learn(database: &Database, participant: &mut Participant) -> Result<(), ClientError> {
    let shard = participant.shard;
    database.ensure_types(shard).await;
    if !in_terms(&database.type_maps(), participant) {
        let rows = participant.lease.rows(types::QUERY).await.map_err(|e| refused(&e))?;
        database.learn_types(shard, types::of_rows(rows));
        in_terms(&database.type_maps(), participant);
    }
    Ok(())
}

impl Session {
    /// As the transaction has made them, else as they are for all.
    fn type_maps(&self) -> Arc<TypeMaps> {
        let changed = self.transaction.as_ref().and_then(|transaction| transaction.changed.as_ref());
        let own = changed.and_then(|changed| changed.types.clone());
        own.unwrap_or_else(|| self.database.type_maps())
    }

    /// Has a server speak in the client's terms. False: what it has is to be read first.
    pub(super) fn is_in_terms(&self, participant: &mut Participant) -> bool {
        !self.database.translates() || in_terms(&self.type_maps(), participant)
    }

    /// The same for one in hand.
    pub(super) fn is_in_terms_at(&mut self, index: usize) -> bool {
        !self.database.translates() || in_terms(&self.type_maps(), &mut self.servers[index])
    }

    /// Tells the connection to a server with ids of its own what a COPY in binary is of: its data does not say. Errors: the
    /// server's, in a transaction; else the COPY has the same.
    pub(super) async fn tell_copy(&mut self, index: usize, text: &str) -> Result<(), Failure> {
        if !self.servers[index].lease.wire.translates() {
            return Ok(());
        }
        let Some(query) = self.copied(text) else { return Ok(()) };
        let lease = &mut self.servers[index].lease;
        let out = &mut lease.wire.output;
        frame::put(out, b'P', &[b"\0", query.as_bytes(), b"\0\0\0"].concat());
        frame::put(out, b'D', b"S\0");
        out.extend(SYNC);
        lease.unnamed = None;
        lease.outstanding += 1;
        match lease.description().await {
            Ok(columns) => {
                let shape = columns.and_then(|body| RowShape::parse(&body)).unwrap_or_default();
                lease.wire.expect_copy(shape.types().collect());
                Ok(())
            }
            Err(RunError::Refused(body)) if self.transaction.is_some() => Err(Failure::ServerError(body)),
            Err(RunError::Refused(_)) => Ok(()),
            Err(RunError::Lost(_)) => {
                let cause = io::ErrorKind::UnexpectedEof.into();
                Err(Failure::Statement(self.broken(index, Broken::Server { cause, torn: false })?))
            }
        }
    }

    /// A query with the columns of a COPY in binary.
    fn copied(&self, text: &str) -> Option<String> {
        let read = grammar::read(text).filter(|read| read.with_client)?;
        if lower(&read.options).is_ok_and(|options| options.format != Format::Binary) {
            return None;
        }
        Some(match read.source {
            Source::Query(place) => text[place].to_owned(),
            Source::Table { name, columns, .. } => {
                let columns = if columns.is_empty() { self.written_columns(&name) } else { columns };
                let listed: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
                let listed = if listed.is_empty() { "*".to_owned() } else { listed.join(", ") };
                let name: Vec<String> = name.iter().map(|part| quoted(part)).collect();
                format!("SELECT {listed} FROM {}", name.join("."))
            }
        })
    }

    /// The columns of a table that are not computed from others; none if it is not known.
    fn written_columns(&self, name: &[String]) -> Vec<String> {
        let (schema, name) = match name {
            [name] => (None, name),
            [.., schema, name] => (Some(schema.as_str()), name),
            [] => return Vec::new(),
        };
        self.with_planning(|planning| {
            let table = planning.schema.find(&self.path.schemas, schema, name);
            let written = table.into_iter().flat_map(|table| &table.columns).filter(|c| !c.generated);
            written.map(|column| column.name.clone()).collect()
        })
    }

    /// The transaction has made types, or may have: those of the servers that it runs on are read, and hold for them to its
    /// end.
    pub(super) async fn reread_types(&mut self) -> Result<(), ClientError> {
        if !self.database.is_sharded() {
            return Ok(());
        }
        let mut found = Vec::with_capacity(self.servers.len());
        for participant in &mut self.servers {
            let rows = participant.lease.rows(types::QUERY).await.map_err(|e| refused(&e))?;
            found.push((participant.shard, types::of_rows(rows)));
        }
        let maps = Arc::new(TypeMaps::of(&self.database.types_with(found), &self.type_maps()));
        for participant in &mut self.servers {
            in_terms(&maps, participant);
        }
        if let Some(changed) = self.transaction.as_mut().and_then(|transaction| transaction.changed.as_mut())
        {
            changed.types = Some(maps);
        }
        Ok(())
    }
}
