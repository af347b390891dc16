//! Groups by their keys: each shard's row of a group meets the others' here.

use super::fold::{Part, Partial};
use super::rows::{self, Cell};
use super::value::{Described, Value};
use super::{By, CombineError, Shape, Sort};
use std::cmp::Ordering;
use std::collections::HashMap;

/// What a group costs beside its bytes: its entry, its key's box, its place in the index.
const OVERHEAD: usize = 128;

/// A group: the first row that came of it, and what came later.
#[derive(Debug)]
struct Group {
    /// The row's values among the bytes that are held.
    start: usize,
    end: usize,
    /// Bytes of the visible columns' values.
    visible: usize,
    /// The shard that gave it last.
    shard: usize,
    /// Place of its aggregates, once a second shard gave it.
    partials: Option<usize>,
}

/// Shards' answers, while they are combined.
#[derive(Debug)]
pub struct Combiner<'a> {
    shape: &'a Shape,
    /// Bytes that may be held.
    max: usize,
    columns: Vec<Described>,
    index: HashMap<Box<[u8]>, usize>,
    groups: Vec<Group>,
    held: Vec<u8>,
    partials: Vec<Partial>,
    cells: Vec<Cell>,
    key: Vec<u8>,
}

impl<'a> Combiner<'a> {
    /// For answers of a shape, in so many bytes.
    pub fn new(shape: &'a Shape, max: usize) -> Self {
        Self {
            shape,
            max,
            columns: Vec::new(),
            index: HashMap::new(),
            groups: Vec::new(),
            held: Vec::new(),
            partials: Vec::new(),
            cells: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Takes in the body of a shard's RowDescription, before any row.
    pub fn describe(&mut self, body: &[u8]) -> Result<(), CombineError> {
        self.columns = rows::describe(body, self.shape)?;
        Ok(())
    }

    /// Takes in the body of a DataRow of the shard with this number.
    pub fn row(&mut self, shard: usize, body: &[u8]) -> Result<(), CombineError> {
        let columns = self.columns.len();
        let values = rows::values(body, columns).ok_or(CombineError::Malformed)?;
        let mut cells = std::mem::take(&mut self.cells);
        rows::cells(values, columns, &mut cells).ok_or(CombineError::Malformed)?;
        self.key.clear();
        for &column in &self.shape.keys {
            self.key.extend_from_slice(cells[column].framed(values));
        }
        let done = match self.index.get(&self.key[..]) {
            Some(&group) => self.meet(group, shard, values, &cells),
            None => self.add(shard, values, &cells),
        };
        self.cells = cells;
        done
    }

    /// A group that no shard gave before.
    fn add(&mut self, shard: usize, values: &[u8], cells: &[Cell]) -> Result<(), CombineError> {
        let start = self.held.len();
        self.held.extend_from_slice(values);
        let visible = self.shape.visible.checked_sub(1).map_or(0, |last| cells[last].end());
        self.index.insert(self.key.as_slice().into(), self.groups.len());
        self.groups.push(Group { start, end: self.held.len(), visible, shard, partials: None });
        self.check_memory()
    }

    fn check_memory(&self) -> Result<(), CombineError> {
        let partials = self.partials.len() * size_of::<Partial>();
        let index = self.groups.len() * (OVERHEAD + self.key.len());
        if self.held.len() + partials + index > self.max {
            return Err(CombineError::Memory(self.max));
        }
        Ok(())
    }

    /// A group that another shard gave already.
    fn meet(
        &mut self,
        group: usize,
        shard: usize,
        values: &[u8],
        cells: &[Cell],
    ) -> Result<(), CombineError> {
        if self.groups[group].shard == shard {
            return Err(CombineError::Repeated);
        }
        self.groups[group].shard = shard;
        let at = self.partials_of(group)?;
        let part = Part { values, cells, columns: &self.columns };
        let partials = &mut self.partials[at..];
        for (aggregate, partial) in self.shape.aggregates.iter().zip(partials) {
            partial.fold(aggregate, &part, &mut self.held)?;
        }
        self.check_memory()
    }

    /// The place of a group's aggregates; the first shard's parts are in them.
    fn partials_of(&mut self, group: usize) -> Result<usize, CombineError> {
        if let Some(at) = self.groups[group].partials {
            return Ok(at);
        }
        let at = self.partials.len();
        let Group { start, end, .. } = self.groups[group];
        let values = &self.held[start..end];
        let mut cells = Vec::with_capacity(self.columns.len());
        rows::cells(values, self.columns.len(), &mut cells).ok_or(CombineError::Malformed)?;
        let part = Part { values, cells: &cells, columns: &self.columns };
        for aggregate in &self.shape.aggregates {
            self.partials.push(Partial::of(aggregate, &part, start)?);
        }
        self.groups[group].partials = Some(at);
        Ok(at)
    }

    /// The groups in the order that was asked for, by their numbers.
    pub fn order(&self) -> Result<Vec<usize>, CombineError> {
        if self.shape.order.is_empty() {
            return Ok((0..self.groups.len()).collect());
        }
        let mut keyed = Vec::with_capacity(self.groups.len());
        for group in 0..self.groups.len() {
            keyed.push((self.sort_values(group)?, group));
        }
        keyed.sort_by(|(a, _), (b, _)| compare(&self.shape.order, a, b));
        Ok(keyed.into_iter().map(|(_, group)| group).collect())
    }

    fn sort_values(&self, group: usize) -> Result<Vec<Option<Value<'_>>>, CombineError> {
        let Group { start, end, partials, .. } = self.groups[group];
        let values = &self.held[start..end];
        let mut cells = Vec::with_capacity(self.columns.len());
        rows::cells(values, self.columns.len(), &mut cells).ok_or(CombineError::Malformed)?;
        let part = Part { values, cells: &cells, columns: &self.columns };
        let value = |sort: &Sort| match sort.by {
            By::Column(column, compared) => cells[column]
                .of(values)
                .map(|bytes| {
                    Value::read(bytes, self.columns[column].format, compared).ok_or(CombineError::Malformed)
                })
                .transpose(),
            By::Aggregate(n) => {
                let aggregate = &self.shape.aggregates[n];
                let partial = match partials {
                    Some(at) => self.partials[at + n].clone(),
                    None => Partial::of(aggregate, &part, start)?,
                };
                Ok(partial.value(aggregate, &self.columns, &self.held))
            }
        };
        self.shape.order.iter().map(value).collect()
    }

    /// Makes the body of a group's DataRow.
    pub fn write(&self, group: usize, row: &mut Vec<u8>) -> Result<(), CombineError> {
        let Group { start, visible, partials, .. } = self.groups[group];
        let values = &self.held[start..start + visible];
        row.clear();
        row.extend_from_slice(&(self.shape.visible as u16).to_be_bytes());
        let Some(at) = partials else {
            row.extend_from_slice(values);
            return Ok(());
        };
        let mut cells = Vec::with_capacity(self.shape.visible);
        rows::cells(values, self.shape.visible, &mut cells).ok_or(CombineError::Malformed)?;
        for (column, cell) in cells.iter().enumerate() {
            match self.shape.aggregates.iter().position(|a| a.column == column) {
                None => row.extend_from_slice(cell.framed(values)),
                Some(n) => self.partials[at + n].write(self.columns[column], &self.held, row)?,
            }
        }
        Ok(())
    }
}

fn compare(order: &[Sort], a: &[Option<Value<'_>>], b: &[Option<Value<'_>>]) -> Ordering {
    for (sort, (a, b)) in order.iter().zip(a.iter().zip(b)) {
        let one = match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) if sort.nulls_first => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) if sort.nulls_first => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) if sort.descending => b.compare(a),
            (Some(a), Some(b)) => a.compare(b),
        };
        if one != Ordering::Equal {
            return one;
        }
    }
    Ordering::Equal
}
