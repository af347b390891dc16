//! COPY of a sharded table: which field of a line is the key, and how lines and fields are told apart.

use super::{Refusal, dml};
use crate::schema::{Kind, Table};
use shardway_pool::catalog::Column;
use sqlparser::ast::{CopyLegacyOption, CopyOption, Ident};
use std::sync::Arc;

use super::scope::folded;

/// COPY of a sharded table in text format.
#[derive(Clone, Debug)]
pub struct CopyPlan {
    /// The table.
    pub table: Arc<Table>,
    /// Out of the table; else into it.
    pub to: bool,
    /// Fields of a line.
    pub fields: usize,
    /// Which of them is the key; of no meaning on the way out.
    pub key: usize,
    /// Between fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: Vec<u8>,
}

/// Plans it. Errors say what is not supported, or that rows would have no key.
pub fn plan(
    table: &Arc<Table>,
    columns: &[Ident],
    to: bool,
    options: &[CopyOption],
    legacy: &[CopyLegacyOption],
) -> Result<CopyPlan, Refusal> {
    let Kind::Sharded { key, .. } = table.kind else {
        return Err(Refusal::unsupported("COPY of this relation is not supported"));
    };
    let names: Vec<String> = if columns.is_empty() {
        table.columns.iter().filter(|c| !c.generated).map(|c| c.name.clone()).collect()
    } else {
        columns.iter().map(folded).collect()
    };
    let counts = |c: &&Column| c.from_sequence && !names.contains(&c.name);
    if let Some(column) = table.columns.iter().find(counts).filter(|_| !to) {
        return Err(Refusal::unsupported(format!(
            "\"{}\" of sharded table \"{}\" takes its default from a sequence, which would repeat on every shard",
            column.name, table.name
        )));
    }
    let position = names.iter().position(|name| *name == table.columns[key].name);
    let position = match position {
        Some(position) => position,
        None if to => 0,
        None => return Err(dml::missing_key(table, key)),
    };
    let (delimiter, null) = text_format(options, legacy)?;
    Ok(CopyPlan { table: table.clone(), to, fields: names.len(), key: position, delimiter, null })
}

/// Delimiter and NULL of the text format. Errors: another format.
fn text_format(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<(u8, Vec<u8>), Refusal> {
    let other = || {
        Refusal::unsupported(
            "COPY of a sharded table is supported in text format only, without a header, so far",
        )
    };
    let mut delimiter = b'\t';
    let mut null = b"\\N".to_vec();
    for option in options {
        match option {
            CopyOption::Format(name) if folded(name) == "text" => {}
            CopyOption::Delimiter(c) => delimiter = u8::try_from(*c).map_err(|_| other())?,
            CopyOption::Null(text) => null = text.clone().into_bytes(),
            CopyOption::Header(false) | CopyOption::Freeze(false) => {}
            _ => return Err(other()),
        }
    }
    for option in legacy {
        match option {
            CopyLegacyOption::Delimiter(c) => delimiter = u8::try_from(*c).map_err(|_| other())?,
            CopyLegacyOption::Null(text) => null = text.clone().into_bytes(),
            _ => return Err(other()),
        }
    }
    Ok((delimiter, null))
}
