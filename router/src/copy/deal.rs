//! Dealing rows to shards by their keys, as the data comes.
//!
//! What is held is the beginning of one row and what no shard has been sent yet. Every shard gets the data's header. A row
//! that no shard can be chosen for is laid by for one of them, which says what is wrong with it as Postgres says it; what
//! to say if that finds nothing wrong is here.

use super::binary::{self, Part};
use super::lines::Lines;
use super::{Breaks, Eol, Format, Found, KeyField, MAX_ROW, RowKey, csv, text};
use shardway_shardmap::{KeyValue, ShardId, ShardMap};

/// Bytes of a message before its body.
const HEADER: usize = shardway_pool::frame::HEADER;

/// Why no more is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The shard that was given the row, or its beginning, to refuse it.
    pub shard: Option<ShardId>,
    /// The client's line.
    pub line: u64,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its key is NULL.
    NullKey,
    /// Its key is no value of its type.
    Invalid,
    /// Its key can't be read without guessing.
    Unproven(&'static str),
    /// It has no shard: why.
    Nowhere(String),
    /// A date or time of it would be read from the clock.
    Clock,
    /// It has too few fields.
    NoKey,
    /// It begins with a newline, where lines end in carriage returns: behind another row of its shard that would be an end
    /// of line. Whether the format is CSV.
    Newline(bool),
    /// It is none: the data is not of its format.
    Malformed,
    /// It is larger than any may be.
    TooLong,
}

/// Fields that every row gets in front of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// Their names in the header line.
    pub header: Vec<u8>,
    /// Their values, delimiters and all.
    pub row: Vec<u8>,
    /// How many they are.
    pub fields: i16,
}

/// What is on its way to one shard.
#[derive(Debug, Default)]
pub struct Lane {
    /// A CopyData message, its length not yet written; empty for nothing.
    message: Vec<u8>,
    /// The lines it was sent.
    pub lines: Lines,
    /// It has seen an end of line, and knows what that is.
    knows_eol: bool,
    begun: bool,
    /// It got more than the header.
    has_rows: bool,
}

impl Lane {
    fn put(&mut self, bytes: &[u8]) {
        if self.message.is_empty() {
            self.message.extend_from_slice(&[b'd'; HEADER]);
        }
        self.message.extend_from_slice(bytes);
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.message.len()
    }

    /// The CopyData message of all that waits; empty for nothing.
    pub fn message(&mut self) -> &[u8] {
        if !self.message.is_empty() {
            let length = (self.message.len() - 1) as u32;
            self.message[1..HEADER].copy_from_slice(&length.to_be_bytes());
        }
        &self.message
    }

    /// That was sent.
    pub fn sent(&mut self) {
        self.message.clear();
        // One huge row is no reason to keep its room.
        self.message.shrink_to(256 * 1024);
    }
}

#[derive(Debug)]
enum Scanner {
    Text(text::Scanner),
    Csv(Box<csv::Scanner>),
    Binary,
}

impl Scanner {
    fn scan(&mut self, data: &[u8]) -> Found {
        match self {
            Self::Text(scanner) => scanner.scan(data),
            Self::Csv(scanner) => scanner.scan(data),
            Self::Binary => Found::Nothing,
        }
    }

    fn finish(&mut self) -> Found {
        match self {
            Self::Text(scanner) => scanner.finish(),
            Self::Csv(scanner) => scanner.finish(),
            Self::Binary => Found::Nothing,
        }
    }

    fn eol(&self) -> Option<Eol> {
        match self {
            Self::Text(scanner) => scanner.eol,
            Self::Csv(scanner) => scanner.eol,
            Self::Binary => None,
        }
    }

    fn take_breaks(&mut self) -> Breaks {
        match self {
            Self::Csv(scanner) => std::mem::take(&mut scanner.breaks),
            _ => Breaks::default(),
        }
    }
}

/// One COPY's data on its way to the shards.
#[derive(Debug)]
pub struct Dealer<'a> {
    format: Format,
    /// Where the key is; `None` if all is laid by for `home`.
    key: Option<KeyField>,
    prefix: Prefix,
    /// Fields with dates or times, which some words would have each shard read from its clock.
    dated: Vec<usize>,
    map: &'a ShardMap,
    /// Fields of a binary row.
    fields: usize,
    scanner: Scanner,
    /// What the end of line was known to be when the row began.
    eol_before: Option<Eol>,
    /// The beginning of a row whose end has not come.
    partial: Vec<u8>,
    /// Bytes that a binary row has at least.
    needs: usize,
    /// The header, end of line and all, and whether it is still to come.
    header: Vec<u8>,
    /// Lines that it is.
    header_lines: u32,
    awaits_header: bool,
    ended: bool,
    /// The client's lines so far.
    line: u64,
    /// The shard that is told what no other is.
    home: ShardId,
    lanes: Vec<Lane>,
}

impl<'a> Dealer<'a> {
    /// For data of so many fields in a row. `home` gets the header even where there are no rows.
    pub fn new(
        format: Format,
        key: Option<KeyField>,
        fields: usize,
        map: &'a ShardMap,
        home: ShardId,
    ) -> Self {
        let scanner = match &format {
            Format::Text(_) => Scanner::Text(text::Scanner::default()),
            Format::Csv(csv) => Scanner::Csv(Box::new(csv::Scanner::new(csv))),
            Format::Binary => Scanner::Binary,
        };
        Self {
            awaits_header: format.header(),
            format,
            key,
            prefix: Prefix::default(),
            dated: Vec::new(),
            map,
            fields,
            scanner,
            eol_before: None,
            partial: Vec::new(),
            needs: 0,
            header: Vec::new(),
            header_lines: 0,
            ended: false,
            line: 0,
            home,
            lanes: map.shards().map(|_| Lane::default()).collect(),
        }
    }

    /// Rows get these fields in front.
    #[must_use]
    pub fn prefixed(mut self, prefix: Prefix) -> Self {
        self.prefix = prefix;
        self
    }

    /// Rows with dates or times in these fields must not have them read from the clock.
    #[must_use]
    pub fn dated(mut self, fields: Vec<usize>) -> Self {
        self.dated = fields;
        self
    }

    /// Where all is laid by, if rows have no keys.
    pub fn home_of_all(&self) -> Option<ShardId> {
        self.key.is_none().then_some(self.home)
    }

    /// What rows get in front.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix.row
    }

    /// What is on its way to a shard.
    pub fn lane(&mut self, shard: ShardId) -> &mut Lane {
        &mut self.lanes[shard.0 as usize]
    }

    /// Shards for which rows wait.
    pub fn wanting(&self) -> impl Iterator<Item = ShardId> + use<'_, 'a> {
        let wanting = self.lanes.iter().enumerate().filter(|(_, lane)| lane.has_rows && lane.waiting() > 0);
        wanting.map(|(n, _)| ShardId(n as u32))
    }

    /// Whether a shard knows the end of a line only by what comes behind it: then the last one must be told that nothing
    /// does.
    pub fn looks_ahead(&self) -> bool {
        self.scanner.eol() == Some(Eol::Cr)
    }

    /// The line that the data ends in.
    pub fn line(&self) -> u64 {
        self.line + 1
    }

    /// Takes a piece of data.
    pub fn feed(&mut self, mut data: &[u8]) -> Result<(), Stop> {
        if matches!(self.scanner, Scanner::Binary) {
            return self.feed_binary(data);
        }
        while !data.is_empty() && !self.ended {
            match self.scanner.scan(data) {
                Found::Nothing => {
                    if self.partial.len() + data.len() > MAX_ROW {
                        return Err(Stop { shard: None, line: self.line(), why: Why::TooLong });
                    }
                    self.partial.extend_from_slice(data);
                    return Ok(());
                }
                Found::Row { end, eol } => {
                    self.whole(&data[..end], eol)?;
                    data = &data[end..];
                }
                Found::End { end, mark } => {
                    self.ended = true;
                    let mut row = std::mem::take(&mut self.partial);
                    row.extend_from_slice(&data[..end]);
                    row.truncate(row.len() - mark);
                    return if row.is_empty() { Ok(()) } else { self.row(&row, 0) };
                }
                Found::Odd(end) => {
                    self.partial.extend_from_slice(&data[..end]);
                    return Err(self.odd());
                }
            }
        }
        Ok(())
    }

    /// A row that ends with this.
    fn whole(&mut self, end: &[u8], eol: usize) -> Result<(), Stop> {
        if self.partial.is_empty() {
            return self.row(end, eol);
        }
        let mut row = std::mem::take(&mut self.partial);
        row.extend_from_slice(end);
        let done = self.row(&row, eol);
        row.clear();
        row.shrink_to(256 * 1024);
        self.partial = row;
        done
    }

    /// Nothing comes any more.
    pub fn finish(&mut self) -> Result<(), Stop> {
        if matches!(self.scanner, Scanner::Binary) {
            // Ended by its trailer, or without one behind a whole row: half a count is none to Postgres.
            let whole = self.ended || self.partial.len() < 2 && !self.awaits_header;
            return if whole { Ok(()) } else { Err(self.odd()) };
        }
        if self.ended {
            return Ok(());
        }
        match self.scanner.finish() {
            Found::Row { eol, .. } => self.whole(&[], eol),
            Found::Odd(_) => Err(self.odd()),
            _ if self.partial.is_empty() => Ok(()),
            _ => self.whole(&[], 0),
        }
    }

    /// A whole row, with an end of line of so many bytes.
    fn row(&mut self, row: &[u8], eol: usize) -> Result<(), Stop> {
        let breaks = self.scanner.take_breaks();
        let before = std::mem::replace(&mut self.eol_before, self.scanner.eol());
        self.line += u64::from(breaks.lines(before));
        if std::mem::take(&mut self.awaits_header) {
            self.header = [&self.prefix.header, row].concat();
            self.header_lines = breaks.lines(before);
            let home = self.home;
            self.begin(home);
            return Ok(());
        }
        let body = &row[..row.len() - eol];
        if self.dated.iter().any(|field| self.format.reads_clock(body, *field)) {
            return Err(Stop { shard: None, line: self.line, why: Why::Clock });
        }
        match self.shard_of(body) {
            Ok(shard) => {
                self.lay_by(shard, row, breaks, before);
                self.lane(shard).knows_eol |= eol > 0;
                Ok(())
            }
            Err(why) => Err(self.refuse(row, breaks, before, why)),
        }
    }

    fn shard_of(&self, row: &[u8]) -> Result<ShardId, Why> {
        let Some(key) = &self.key else { return Ok(self.home) };
        let value = match key.of(&self.format, row) {
            RowKey::Value(value) => value,
            RowKey::Missing => return Err(Why::NoKey),
        };
        match value {
            KeyValue::Key(key) => self.map.locate(&key).map_err(|e| Why::Nowhere(e.to_string())),
            KeyValue::Null => Err(Why::NullKey),
            KeyValue::Invalid => Err(Why::Invalid),
            KeyValue::Unproven(why) => Err(Why::Unproven(why)),
        }
    }

    /// Lays a row by for a shard.
    fn lay_by(&mut self, shard: ShardId, row: &[u8], breaks: Breaks, eol_before: Option<Eol>) {
        self.begin(shard);
        let line = self.line;
        let lane = &mut self.lanes[shard.0 as usize];
        match (&self.format, self.prefix.fields) {
            (_, 0) => lane.put(row),
            (Format::Binary, more) => {
                if let Some((fields, rest)) = shardway_pool::frame::i16(row) {
                    lane.put(&fields.wrapping_add(more).to_be_bytes());
                    lane.put(&self.prefix.row);
                    lane.put(rest);
                }
            }
            _ => {
                lane.put(&self.prefix.row);
                lane.put(row);
            }
        }
        lane.has_rows = true;
        let known = eol_before.filter(|_| lane.knows_eol);
        lane.lines.row(breaks.lines(known), breaks.lines(eol_before), line);
    }

    /// A shard gets the header before its first row.
    fn begin(&mut self, shard: ShardId) {
        if std::mem::replace(&mut self.lane(shard).begun, true) || self.header.is_empty() {
            return;
        }
        let header = std::mem::take(&mut self.header);
        let lines = self.header_lines;
        let lane = self.lane(shard);
        lane.put(&header);
        if lines > 0 {
            lane.lines.row(lines, lines, u64::from(lines));
            lane.knows_eol = header.ends_with(b"\n") || header.ends_with(b"\r");
        }
        self.header = header;
    }

    /// What stands in `partial` is no row.
    fn odd(&mut self) -> Stop {
        let bytes = std::mem::take(&mut self.partial);
        let breaks = self.scanner.take_breaks();
        self.line += u64::from(breaks.lines(self.eol_before));
        self.awaits_header = false;
        self.refuse(&bytes, breaks, self.eol_before, Why::Malformed)
    }

    /// Has one shard say what is wrong with a row: one that knows the data's end of line.
    fn refuse(&mut self, row: &[u8], breaks: Breaks, eol_before: Option<Eol>, why: Why) -> Stop {
        let line = self.line;
        if matches!(why, Why::Nowhere(_)) {
            return Stop { shard: None, line, why };
        }
        if self.looks_ahead() && row.starts_with(b"\n") {
            let why = Why::Newline(matches!(self.format, Format::Csv(_)));
            return Stop { shard: None, line, why };
        }
        let knows = self.lanes.iter().position(|lane| lane.knows_eol);
        let shard = knows.map_or(self.home, |n| ShardId(n as u32));
        self.lay_by(shard, row, breaks, eol_before);
        Stop { shard: Some(shard), line, why }
    }

    fn feed_binary(&mut self, mut data: &[u8]) -> Result<(), Stop> {
        while !data.is_empty() {
            if self.ended {
                // One byte is enough to say that there should be none.
                self.partial = [binary::TRAILER, &data[..1]].concat();
                return Err(self.odd());
            }
            if self.partial.is_empty() {
                match self.part(data) {
                    Part::Whole(len) => {
                        self.record(&data[..len])?;
                        data = &data[len..];
                        continue;
                    }
                    Part::Needs(needs) => self.needs = needs,
                    Part::Trailer => {
                        self.ended = true;
                        data = &data[2..];
                        continue;
                    }
                    Part::Odd(end) => {
                        self.partial.extend_from_slice(&data[..end]);
                        return Err(self.odd());
                    }
                }
            }
            if self.needs > MAX_ROW {
                return Err(Stop { shard: None, line: self.line(), why: Why::TooLong });
            }
            let missing = (self.needs - self.partial.len()).min(data.len());
            self.partial.extend_from_slice(&data[..missing]);
            data = &data[missing..];
            if self.partial.len() == self.needs {
                self.resume()?;
            }
        }
        Ok(())
    }

    /// As many bytes have come as were needed.
    fn resume(&mut self) -> Result<(), Stop> {
        let partial = std::mem::take(&mut self.partial);
        match self.part(&partial) {
            Part::Whole(_) => return self.record(&partial),
            Part::Trailer => self.ended = true,
            Part::Needs(needs) => (self.needs, self.partial) = (needs, partial),
            Part::Odd(_) => {
                self.partial = partial;
                return Err(self.odd());
            }
        }
        Ok(())
    }

    fn part(&self, bytes: &[u8]) -> Part {
        if self.awaits_header { binary::header(bytes) } else { binary::row(bytes, self.fields) }
    }

    /// A whole header or row.
    fn record(&mut self, record: &[u8]) -> Result<(), Stop> {
        if !self.awaits_header {
            return self.row(record, 0);
        }
        self.awaits_header = false;
        self.header = record.to_vec();
        let home = self.home;
        self.begin(home);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
