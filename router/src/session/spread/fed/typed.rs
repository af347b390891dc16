//! Types of what an INSERT … SELECT has for other shards: its parameters, and the columns of its query.

use super::super::super::Session;
use super::super::super::copy_out::Held;
use super::super::super::simple::Failure;
use super::super::Write;
use super::super::wording::literal;
use super::{USERS, unread};
use crate::error::ClientError;
use crate::plan::Refusal;
use crate::plan::spread::Fed;
use crate::plan::spread::text::{Tokens, With};
use crate::schema::Table;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use std::collections::HashMap;
use std::ops::Range;

impl Session {
    /// Has a server parse the client's statement: it says what is wrong with it, and of what types the parameters are.
    pub(in crate::session::spread) async fn types_described(
        &mut self,
        write: &Write<'_>,
        index: usize,
    ) -> Result<Vec<u32>, Failure> {
        let types = write.bound.as_ref().map_or(&[][..], |bound| bound.types);
        let mut declared = (types.len() as u16).to_be_bytes().to_vec();
        types.iter().for_each(|oid| declared.extend_from_slice(&oid.to_be_bytes()));
        let mut messages = Buffer::default();
        frame::put(&mut messages, b'P', &[b"\0", write.text.as_bytes(), b"\0", &declared].concat());
        frame::put(&mut messages, b'D', b"S\0");
        frame::put(&mut messages, b'S', &[]);
        self.say(index, messages.filled());
        let server = &mut self.servers[index].lease;
        let described = server.parameter_types().await;
        let described = described.map_err(|e| Failure::from(super::super::super::servers::refused(&e)))?;
        self.servers[index].lease.unnamed = None;
        Ok(described)
    }

    /// Parameters as literals of their types.
    pub(super) async fn param_edits<'a>(
        &mut self,
        write: &Write<'_>,
        tokens: &Tokens<'_>,
        types: &[u32],
        index: usize,
    ) -> Result<Vec<(Range<usize>, With<'a>)>, Failure> {
        let Some(bound) = &write.bound else { return Ok(Vec::new()) };
        let names = self.names_of_types(types, index).await?;
        let all = bound.params.all();
        let mut edits = Vec::new();
        for (range, number) in tokens.params() {
            let missing = || ClientError::error("08P01", "bind message supplies too few parameters");
            let param = all.get(number).ok_or_else(missing)?;
            let oid = types.get(number).copied().unwrap_or(0);
            let value = match (param.bytes, param.binary) {
                (Some(bytes), true) => Some(text_of(oid, bytes).ok_or_else(|| {
                    let what =
                        "a parameter of this type in binary, in an INSERT … SELECT over several shards,";
                    let hint = "Send it as text.";
                    ClientError::error("0A000", format!("{what} is not supported")).hint(hint)
                })?),
                (bytes, _) => bytes.map(<[u8]>::to_vec),
            };
            let mut sql = b"(".to_vec();
            literal(value.as_deref(), &mut sql);
            if let Some(name) = names.get(&oid) {
                sql.extend_from_slice(format!("::{name}").as_bytes());
            }
            sql.push(b')');
            edits.push((range, With::Value(String::from_utf8(sql).map_err(|_| unread())?)));
        }
        Ok(edits)
    }

    /// Names of Postgres' own types, as SQL.
    async fn names_of_types(&mut self, types: &[u32], index: usize) -> Result<HashMap<u32, String>, Failure> {
        let own: Vec<String> =
            types.iter().filter(|&&oid| oid != 0 && oid < USERS).map(u32::to_string).collect();
        if own.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!("SELECT oid, typname FROM pg_catalog.pg_type WHERE oid IN ({})", own.join(", "));
        let rows = self.servers[index]
            .lease
            .rows(&sql)
            .await
            .map_err(|e| super::super::super::servers::refused(&e))?;
        let named = rows.into_iter().filter_map(|mut row| {
            let name = row.pop()??;
            let oid = row.pop()??.parse().ok()?;
            // By these words alone Postgres means other lengths than none.
            Some((oid, format!("pg_catalog.{}", super::super::wording::quote(&name))))
        });
        Ok(named.collect())
    }

    /// What each column of the query is cast to: its own type, or, if it has none, or one of users, the type of the column
    /// that it is for.
    pub(super) async fn casts(
        &mut self,
        write: &Write<'_>,
        fed: &Fed,
        held: &Held,
        index: usize,
    ) -> Result<Vec<String>, Failure> {
        let names = self.names_of_types(&held.types, index).await?;
        let own = |at: usize| names.get(&held.types[at]).filter(|_| !fed.bare.contains(&at)).cloned();
        let mut casts: Vec<Option<String>> = (0..held.types.len()).map(own).collect();
        if casts.iter().any(Option::is_none) {
            let columns = self.column_types(&write.spread.table, index).await?;
            for (at, cast) in casts.iter_mut().enumerate().filter(|(_, cast)| cast.is_none()) {
                let column =
                    fed.columns.get(at).copied().flatten().and_then(|at| write.spread.table.columns.get(at));
                *cast = column.and_then(|column| columns.get(&column.name)).cloned();
            }
        }
        let cast = casts.into_iter().collect::<Option<Vec<_>>>();
        let why = || Refusal::unsupported("the type of a column of this INSERT … SELECT can't be told");
        Ok(cast.ok_or_else(|| ClientError::from(why()))?)
    }

    async fn column_types(
        &mut self,
        table: &Table,
        index: usize,
    ) -> Result<HashMap<String, String>, Failure> {
        let mut name = Vec::new();
        let quote = super::super::wording::quote;
        literal(Some(format!("{}.{}", quote(&table.schema), quote(&table.name)).as_bytes()), &mut name);
        let sql = format!(
            "SELECT a.attname, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname) \
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type d ON d.oid = a.atttypid \
             JOIN pg_catalog.pg_type t ON t.oid = CASE d.typtype WHEN 'd' THEN d.typbasetype ELSE d.oid END \
             JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
             WHERE a.attrelid = {}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped",
            String::from_utf8_lossy(&name)
        );
        let rows = self.servers[index]
            .lease
            .rows(&sql)
            .await
            .map_err(|e| super::super::super::servers::refused(&e))?;
        let pair = |mut row: Vec<Option<String>>| {
            let cast = row.pop()??;
            Some((row.pop()??, cast))
        };
        Ok(rows.into_iter().filter_map(pair).collect())
    }
}

/// A binary value as text, for the types that drivers send so.
fn text_of(oid: u32, bytes: &[u8]) -> Option<Vec<u8>> {
    let number = match (oid, bytes.len()) {
        (16, 1) => return Some(if bytes[0] == 0 { b"f".to_vec() } else { b"t".to_vec() }),
        (21, 2) => i64::from(i16::from_be_bytes(bytes.try_into().ok()?)),
        (23, 4) => i64::from(i32::from_be_bytes(bytes.try_into().ok()?)),
        (20, 8) => i64::from_be_bytes(bytes.try_into().ok()?),
        (18 | 19 | 25 | 1042 | 1043, _) => return Some(bytes.to_vec()),
        (2950, 16) => {
            return Some(bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
        }
        (700, 4) => return Some(f32::from_be_bytes(bytes.try_into().ok()?).to_string().into_bytes()),
        (701, 8) => return Some(f64::from_be_bytes(bytes.try_into().ok()?).to_string().into_bytes()),
        _ => return None,
    };
    Some(number.to_string().into_bytes())
}
