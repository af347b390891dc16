//! COPY over several shards: what is dealt to whom, and what comes together from where.

pub mod grammar;
mod options;

use super::listed::Splice;
use super::spread::clock::{Clocked, Frozen};
use super::spread::{ClockOf, check_default, has_settled_default, is_dated, quoted};
use super::{Across, Refusal, dml};
use crate::copy::{Format, KeyField};
use crate::schema::{GroupId, Kind, Schema, Table};
pub use options::{Columns, Options, lower};
use shardway_pool::catalog::Column;
use std::ops::Range;
use std::sync::Arc;

/// A COPY that more than one shard runs.
#[derive(Clone, Debug)]
pub enum CopyPlan {
    /// Into a table.
    In(Box<CopyIn>),
    /// Out of a sharded table: each shard's rows.
    Out {
        /// Its group.
        group: GroupId,
        /// The format. Errors: what to say if the servers know one of these options.
        format: Result<Format, Refusal>,
    },
    /// Rows of a query.
    Rows {
        /// How it runs.
        across: Across,
        /// The format. Errors: what to say if the servers know these options.
        format: Result<Format, Refusal>,
        /// With options: the text with another query in the place of the client's, and where, for a server to look at.
        looks: Option<(String, Splice)>,
    },
}

/// Into a sharded or a reference table.
#[derive(Clone, Debug)]
pub struct CopyIn {
    /// The table.
    pub table: Arc<Table>,
    /// Its group.
    pub group: GroupId,
    /// Fields of a row.
    pub fields: usize,
    /// What the data is like, and the key of a sharded table's row. Errors: what to say if the servers take it.
    pub data: Result<(Format, Option<KeyField>), Refusal>,
    /// The text with the columns listed that it leaves unsaid, and where: by the time that it runs, they may stand in
    /// another order.
    pub listed: Option<(String, Splice)>,
    /// Fields with dates or times.
    pub dated: Vec<usize>,
    /// What is put in the place of words that name the clock, which each shard would look at for itself.
    pub clock: Option<Clock>,
}

/// A COPY whose shards are told the time.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The text up to its list of columns.
    before: String,
    /// Columns that the list leaves out, their types where a cast can name them, and their defaults.
    fills: Vec<(String, Option<String>, Clocked)>,
    /// The columns that are listed.
    columns: Vec<String>,
    /// How many characters their list has in the text.
    width: usize,
    /// Text behind the list, up to the condition.
    after: String,
    /// The condition, and whether it names the clock.
    condition: (String, Option<Clocked>),
}

impl Clock {
    /// Which of the clock's values it needs.
    pub fn of(&self) -> ClockOf {
        let mut all = self.fills.iter().map(|(.., fill)| fill).chain(&self.condition.1);
        if all.any(Clocked::is_of_statement) { ClockOf::Statement } else { ClockOf::Transaction }
    }

    /// Columns that are filled in: they come first.
    pub fn fills(&self) -> usize {
        self.fills.len()
    }

    /// What the shards are told, and where it is not the client's text up to what names the clock.
    pub fn text(&self, frozen: &Frozen) -> (String, Splice) {
        let list = list(self.fills.iter().map(|(name, ..)| name).chain(&self.columns));
        let condition = self.condition.1.as_ref().map(|clocked| clocked.frozen(frozen));
        let condition = condition.as_ref().unwrap_or(&self.condition.0);
        let splice = Splice { at: self.before.chars().count(), was: self.width, is: list.chars().count() };
        (format!("{}{list}{}{condition}", self.before, self.after), splice)
    }

    /// A query for the values that are filled in.
    pub fn query(&self, frozen: &Frozen) -> String {
        let value = |(name, cast, fill): &(String, Option<String>, Clocked)| {
            let cast = cast.as_ref().map(|cast| format!("::pg_catalog.{}", quoted(cast))).unwrap_or_default();
            format!("({}){cast} AS {}", fill.frozen(frozen), quoted(name))
        };
        format!("SELECT {}", self.fills.iter().map(value).collect::<Vec<_>>().join(", "))
    }
}

impl CopyIn {
    /// Whether every shard gets every row.
    pub fn is_for_all(&self) -> bool {
        matches!(self.table.kind, Kind::Reference(_))
    }

    /// The name of the key's column.
    pub fn key_name(&self) -> &str {
        match self.table.kind {
            Kind::Sharded { key, .. } => &self.table.columns[key].name,
            _ => "",
        }
    }
}

impl CopyPlan {
    /// Whether it writes.
    pub fn writes(&self) -> bool {
        matches!(self, Self::In(_))
    }
}

/// COPY of a query's rows out of several shards. `text` has the query at `place`.
pub fn rows(
    across: Across,
    text: &str,
    place: Range<usize>,
    options: &[(String, grammar::Value)],
) -> CopyPlan {
    let format = match lower(options) {
        Ok(Options { encodes: true, .. }) => {
            Err(Refusal::unsupported("COPY of a query's rows in another encoding than UTF-8"))
        }
        lowered => lowered.map(|options| options.format),
    };
    let looks = (!options.is_empty()).then(|| {
        let columns: Vec<String> =
            options::named(options).iter().map(|name| format!("NULL AS {}", quoted(name))).collect();
        let query = format!("SELECT {} WHERE false", columns.join(", "));
        let chars = |range: Range<usize>| text[range].chars().count();
        let splice =
            Splice { at: chars(0..place.start), was: chars(place.clone()), is: query.chars().count() };
        ([&text[..place.start], &query, &text[place.end..]].concat(), splice)
    });
    CopyPlan::Rows { across, format, looks }
}

/// A list of columns for a text that has none.
fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = names.map(|name| quoted(name)).collect();
    format!(" ({}) ", quoted.join(", "))
}

/// Types from here on are the database's own.
const FIRST_OF_USERS: u32 = 16384;

/// Plans COPY FROM STDIN of columns (none for all) into a sharded or a reference table.
pub fn copy_in(schema: &Schema, table: &Arc<Table>, text: &str, read: &grammar::Copy) -> CopyIn {
    let (columns, list) = match &read.source {
        grammar::Source::Table { columns, list, .. } => (&columns[..], list.clone()),
        grammar::Source::Query(_) => (&[][..], 0..0),
    };
    let names: Vec<&String> = match columns.is_empty() {
        true => table.columns.iter().filter(|c| !c.generated).map(|c| &c.name).collect(),
        false => columns.iter().collect(),
    };
    let left_out = || table.columns.iter().filter(|c| !c.generated && !names.contains(&&c.name));
    let fill = |c: &Column| {
        let cast = (c.type_oid < FIRST_OF_USERS).then(|| c.type_name.clone());
        Some((c.name.clone(), cast, Clocked::of(c.default.as_deref()?)?))
    };
    let fills: Vec<_> = left_out().filter_map(fill).collect();
    let at = read.condition.clone().unwrap_or(text.len()..text.len());
    let condition = Clocked::of(&text[at.clone()]);
    let clock = (!fills.is_empty() || condition.is_some()).then(|| Clock {
        before: text[..list.start].to_owned(),
        fills,
        columns: names.iter().map(|name| (*name).clone()).collect(),
        width: text[list.clone()].chars().count(),
        after: text[list.end..at.start].to_owned(),
        condition: (text[at.start..].to_owned(), condition),
    });
    let unsaid = columns.is_empty() && !names.is_empty();
    let listed = unsaid.then(|| {
        let (before, behind) = text.split_at(list.start);
        let own = self::list(names.iter().copied());
        let splice = Splice { at: before.chars().count(), was: 0, is: own.chars().count() };
        ([before, &own, behind].concat(), splice)
    });
    let dated = |at: &usize| table.column(names[*at]).is_some_and(|at| is_dated(&table.columns[at]));
    CopyIn {
        dated: (0..names.len()).filter(dated).collect(),
        group: table.group().unwrap_or(GroupId(0)),
        fields: names.len(),
        listed,
        data: data(schema, table, &names, &read.options),
        table: table.clone(),
        clock,
    }
}

fn data(
    schema: &Schema,
    table: &Table,
    names: &[&String],
    options: &[(String, grammar::Value)],
) -> Result<(Format, Option<KeyField>), Refusal> {
    let Options { mut format, force_not_null, force_null, utf8, .. } = lower(options)?;
    refuse_defaults(schema, table, names)?;
    let Kind::Sharded { key, key_type, .. } = table.kind else { return Ok((format, None)) };
    let name = &table.columns[key].name;
    let place = names.iter().position(|n| *n == name).ok_or_else(|| dml::missing_key(table, key))?;
    if let Format::Csv(csv) = &mut format {
        csv.key_not_null = force_not_null.contain(name);
        csv.key_null = force_null.contain(name);
    }
    Ok((format, Some(KeyField { place, key_type, utf8 })))
}

/// Refuses to leave out columns whose defaults each shard would work out otherwise, or count by itself.
fn refuse_defaults(schema: &Schema, table: &Table, names: &[&String]) -> Result<(), Refusal> {
    let is_for_all = matches!(table.kind, Kind::Reference(_));
    if is_for_all && table.has_triggers {
        return Err(Refusal {
            code: "0A000",
            message: format!(
                "COPY into reference table \"{}\", which has triggers or rules, is not supported",
                table.name
            ),
            hint: "INSERT the rows: then what came of them is compared on all shards.",
        });
    }
    table.check_defaults(|column| !names.iter().any(|name| *name == column))?;
    for column in table.columns.iter().filter(|c| !c.generated && !names.contains(&&c.name)) {
        if column.from_sequence && !is_for_all {
            return Err(dml::from_sequence(column, table));
        }
        if is_for_all && !has_settled_default(schema, column) {
            return Err(Refusal {
                code: "0A000",
                message: format!(
                    "the default of \"{}\" would not be the same on every shard of reference table \"{}\"",
                    column.name, table.name
                ),
                hint: "Give the column a value.",
            });
        }
        check_default(schema, table, column)?;
    }
    Ok(())
}
