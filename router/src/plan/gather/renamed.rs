//! The client's statement with its tables' names replaced, and where each character of it came from.

use crate::plan::as_of::{AsOf, edited};
use crate::plan::pin::Places;
use crate::plan::query::Named;
use crate::plan::scope::{folded, relation_name};
use crate::plan::spread::clock::Frozen;
use sqlparser::ast::{
    Expr, Ident, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor,
    Visit, Visitor,
};
use std::ops::{ControlFlow, Range};

/// A statement over temporary tables.
#[derive(Clone, Debug, Default)]
pub(in crate::plan) struct Renamed {
    /// Its text.
    pub(in crate::plan) sql: String,
    /// Where pieces were replaced: in the client's text, in characters, and how many stand there now.
    edits: Vec<(Range<usize>, usize)>,
}

/// A piece of the text in bytes, and what stands there instead.
type Edit = (Range<usize>, String);

impl Renamed {
    /// With every mention's name replaced. `None` if one is not found where it should be.
    pub(in crate::plan) fn of(text: &str, query: &Query, mentions: &[(&Named, String)]) -> Option<Self> {
        let places = Places::new(text, &[]);
        let mut edits: Vec<Edit> = Vec::new();
        for (named, new) in mentions {
            let start = ident_range(text, &places, named.name.0.first()?.as_ident()?)?.start;
            let end = ident_range(text, &places, named.name.0.last()?.as_ident()?)?.end;
            let alias = match named.aliased {
                true => String::new(),
                false => format!(" AS {}", super::quoted(&named.label)),
            };
            edits.push((start..end, format!("{new}{alias}")));
        }
        let mut qualified = Qualified { query, text, places: &places, mentions, edits: Some(edits) };
        let _ = query.visit(&mut qualified);
        let mut edits = qualified.edits?;
        edits.sort_by_key(|(range, _)| range.start);
        edits.windows(2).all(|pair| pair[0].0.end <= pair[1].0.start).then(|| Self::edited(text, &edits))
    }

    fn edited(text: &str, edits: &[Edit]) -> Self {
        let mut renamed = Self::default();
        let (mut at, mut characters) = (0, 0);
        for (range, new) in edits {
            let before = &text[at..range.start];
            renamed.sql.push_str(before);
            renamed.sql.push_str(new);
            let start = characters + before.chars().count();
            characters = start + text[range.clone()].chars().count();
            renamed.edits.push((start..characters, new.chars().count()));
            at = range.end;
        }
        renamed.sql.push_str(&text[at..]);
        renamed
    }

    /// The same with values in the place of calls of the clock. `text` is the client's. `None` if the calls are not the same
    /// in both.
    pub(super) fn told(&self, text: &str, clock: &AsOf, frozen: &Frozen) -> Option<Self> {
        let (own, theirs) = (clock.edits(&self.sql, frozen), clock.edits(text, frozen));
        if own.len() != theirs.len() {
            return None;
        }
        let characters = |at: usize| text[..at].chars().count();
        let calls = theirs
            .iter()
            .map(|(range, told)| (characters(range.start)..characters(range.end), told.chars().count()));
        let mut edits: Vec<_> = self.edits.iter().cloned().chain(calls).collect();
        edits.sort_by_key(|(range, _)| range.start);
        Some(Self { sql: edited(&self.sql, own).0, edits })
    }

    /// The same behind words that stay as they are.
    pub(super) fn behind(&self, lead: &str) -> Self {
        let by = lead.chars().count();
        let moved = |(range, new): &(Range<usize>, usize)| (range.start + by..range.end + by, *new);
        Self { sql: format!("{lead}{}", self.sql), edits: self.edits.iter().map(moved).collect() }
    }

    /// The same with other pieces in the places of those that were put in, where `other` has some.
    pub(super) fn with(&self, other: impl Fn(&str) -> Option<String>) -> Self {
        let mut renamed = Self::default();
        let (mut rest, mut done) = (self.sql.as_str(), 0);
        for (old, new) in &self.edits {
            let (before, behind) = split(rest, old.start - done);
            let (piece, after) = split(behind, *new);
            let piece = other(piece).unwrap_or_else(|| piece.to_owned());
            renamed.sql.push_str(before);
            renamed.sql.push_str(&piece);
            renamed.edits.push((old.clone(), piece.chars().count()));
            (rest, done) = (after, old.end);
        }
        renamed.sql.push_str(rest);
        renamed
    }

    /// A position in the new text, in characters from 1, as one in the client's.
    pub(super) fn position(&self, position: usize) -> usize {
        let mut shift = 0isize;
        let at = position.saturating_sub(1);
        for (old, new) in &self.edits {
            let start = old.start.saturating_add_signed(shift);
            if at < start {
                break;
            }
            if at < start + new {
                return old.start + 1;
            }
            shift += *new as isize - old.len() as isize;
        }
        at.saturating_add_signed(-shift) + 1
    }
}

/// A text in two, the first part of so many characters.
fn split(text: &str, characters: usize) -> (&str, &str) {
    let at = text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at);
    text.split_at(at)
}

/// Where an identifier stands, quotes included; `None` if the text there is something else.
fn ident_range(text: &str, places: &Places<'_>, ident: &Ident) -> Option<Range<usize>> {
    let start = places.offset(ident.span.start.line, ident.span.start.column)?;
    let written = match ident.quote_style {
        Some('"') => super::quoted(&ident.value),
        Some(_) => return None,
        None => ident.value.clone(),
    };
    text.get(start..)?.starts_with(&written).then(|| start..start + written.len())
}

/// Counts the relations that a name stands for.
struct Labels {
    name: String,
    count: usize,
}

impl Visitor for Labels {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let label = match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. } => Some(folded(&alias.name)),
            TableFactor::Table { name, .. } => relation_name(name).map(|(_, bare)| bare),
            _ => None,
        };
        self.count += usize::from(label.as_ref() == Some(&self.name));
        ControlFlow::Continue(())
    }
}

/// Finds column references with a schema in front (`public.orders.id`), which no alias answers to.
struct Qualified<'a> {
    query: &'a Query,
    text: &'a str,
    places: &'a Places<'a>,
    mentions: &'a [(&'a Named, String)],
    edits: Option<Vec<Edit>>,
}

impl Qualified<'_> {
    /// Cuts the schema off, if the table is one of those that were renamed.
    fn cut(&mut self, schema: &Ident, table: &Ident) {
        let is_meant = |named: &Named| {
            !named.aliased && named.table.schema == folded(schema) && named.table.name == folded(table)
        };
        if !self.mentions.iter().any(|(named, _)| is_meant(named)) {
            return;
        }
        // Without its schema it would mean a nearer one of that name.
        let mut labels = Labels { name: folded(table), count: 0 };
        let _ = self.query.visit(&mut labels);
        if labels.count != 1 {
            self.edits = None;
            return;
        }
        let range = |ident| ident_range(self.text, self.places, ident);
        let edit = range(schema).zip(range(table)).map(|(schema, table)| schema.start..table.start);
        match (edit, &mut self.edits) {
            (Some(range), Some(edits)) => edits.push((range, String::new())),
            _ => self.edits = None,
        }
    }
}

impl Visitor for Qualified<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
                && let [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(table)] = &name.0[..]
            {
                self.cut(schema, table);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [schema, table, _] = &parts[..]
        {
            self.cut(schema, table);
        }
        ControlFlow::Continue(())
    }
}
