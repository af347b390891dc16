//! COPY's formats: a stream of data is cut into rows wherever its messages are cut, each row is dealt to the shard of its
//! key, and rows that shards gave become a stream again.
//!
//! Pure: bytes in, bytes out. The rules are those of Postgres's `copyfromparse.c` and `copyto.c`. A row crosses as the
//! bytes it came in; what no shard can be chosen for is left to one of them to refuse, in its own words.

pub mod binary;
pub mod csv;
pub mod deal;
pub mod lines;
pub mod out;
pub mod text;

use shardway_shardmap::{KeyType, KeyValue, ParamType, Use};

/// The largest row that is held: Postgres holds no larger one either, and with what stands before it, it is to fit in a
/// message.
pub const MAX_ROW: usize = shardway_pool::frame::MAX_MESSAGE - 1024 * 1024;

/// A data format with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// TEXT.
    Text(Text),
    /// CSV.
    Csv(Csv),
    /// BINARY.
    Binary,
}

/// Options of the text format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Between fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: Vec<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
}

/// Options of the CSV format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csv {
    /// Between fields.
    pub delimiter: u8,
    /// What stands for NULL where it is not quoted.
    pub null: Vec<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// Around fields.
    pub quote: u8,
    /// In front of a quote within quotes.
    pub escape: u8,
    /// Whether a NULL key is the null string instead.
    pub key_not_null: bool,
    /// Whether a quoted null string is a NULL key.
    pub key_null: bool,
    /// Columns whose values are quoted on the way out.
    pub force_quote: ForceQuote,
    /// Whether `\.` alone on a line ends the data: it does not for a Postgres of version 18 or later.
    pub marks_end: bool,
}

/// FORCE_QUOTE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForceQuote {
    /// All columns.
    All,
    /// These, by name.
    Columns(Vec<String>),
}

impl Format {
    /// CopyInResponse's and CopyOutResponse's code.
    pub fn code(&self) -> u8 {
        u8::from(matches!(self, Self::Binary))
    }

    /// Whether a field of a row without its end of line is a date or time that is read from the clock.
    fn reads_clock(&self, row: &[u8], field: usize) -> bool {
        let is = crate::plan::spread::clock::is_read_from_clock;
        match self {
            Self::Text(text) => shardway_shardmap::copy::field(row, field, text.delimiter)
                .and_then(|raw| shardway_shardmap::copy::unescape(raw, &text.null))
                .is_some_and(|data| is(&data)),
            Self::Csv(csv) => csv::field(row, field, csv).flatten().is_some_and(|data| is(&data)),
            Self::Binary => false,
        }
    }

    /// It as COPY's options, without those of its columns.
    pub fn options(&self) -> String {
        let literal = |bytes: &[u8]| {
            let digits: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            format!("E'{digits}'")
        };
        match self {
            Self::Text(Text { delimiter, null, header }) => {
                let header = if *header { ", HEADER" } else { "" };
                format!("FORMAT text, DELIMITER {}, NULL {}{header}", literal(&[*delimiter]), literal(null))
            }
            Self::Csv(csv) => {
                let [delimiter, quote, escape] =
                    [csv.delimiter, csv.quote, csv.escape].map(|byte| literal(&[byte]));
                let (null, header) = (literal(&csv.null), csv.header);
                format!(
                    "FORMAT csv, DELIMITER {delimiter}, NULL {null}, QUOTE {quote}, ESCAPE {escape}, HEADER {header}"
                )
            }
            Self::Binary => "FORMAT binary".to_owned(),
        }
    }

    /// The one row of a COPY TO as so many fields in front of others; `None` if it is not one.
    pub fn prefix(&self, messages: &[Vec<u8>], fields: i16) -> Option<deal::Prefix> {
        let delimiter = match self {
            Self::Text(text) => text.delimiter,
            Self::Csv(csv) => csv.delimiter,
            Self::Binary => {
                let row = messages.first()?.strip_prefix(binary::START)?.get(2..)?.to_vec();
                return Some(deal::Prefix { header: Vec::new(), row, fields });
            }
        };
        let line = |message: &Vec<u8>| {
            let mut line = message.strip_suffix(b"\n")?.to_vec();
            line.push(delimiter);
            Some(line)
        };
        let (header, row) = match (self.header(), messages) {
            (true, [header, row]) => (line(header)?, line(row)?),
            (false, [row]) => (Vec::new(), line(row)?),
            _ => return None,
        };
        Some(deal::Prefix { header, row, fields })
    }

    fn header(&self) -> bool {
        match self {
            Self::Text(text) => text.header,
            Self::Csv(csv) => csv.header,
            Self::Binary => true,
        }
    }
}

/// Which field of a row is the key, and how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyField {
    /// Its place in a row.
    pub place: usize,
    /// How it is read.
    pub key_type: KeyType,
    /// Whether the data is UTF-8; else only keys of ASCII letters can be read.
    pub utf8: bool,
}

/// What a row's key was found to be.
#[derive(Debug, PartialEq, Eq)]
pub enum RowKey<'a> {
    /// The row has fewer fields.
    Missing,
    /// It is there.
    Value(KeyValue<'a>),
}

const NOT_ASCII: &str = "the key is not in ASCII, and the data not in UTF-8";

impl KeyField {
    /// The key of a row without its end of line.
    fn of<'a>(&self, format: &Format, row: &'a [u8]) -> RowKey<'a> {
        match format {
            Format::Text(text) => match shardway_shardmap::copy::field(row, self.place, text.delimiter) {
                None => RowKey::Missing,
                Some(raw) if self.is_foreign(raw) => RowKey::Value(KeyValue::Unproven(NOT_ASCII)),
                Some(raw) => RowKey::Value(self.key_type.read_copy_field(raw, &text.null)),
            },
            Format::Csv(csv) => match csv::field(row, self.place, csv) {
                None => RowKey::Missing,
                Some(None) => RowKey::Value(KeyValue::Null),
                Some(Some(data)) if self.is_foreign(&data) => RowKey::Value(KeyValue::Unproven(NOT_ASCII)),
                Some(Some(std::borrow::Cow::Borrowed(data))) => {
                    RowKey::Value(self.key_type.read_text(data, Use::Store))
                }
                Some(Some(std::borrow::Cow::Owned(data))) => {
                    RowKey::Value(self.key_type.read_text(&data, Use::Store).into_owned())
                }
            },
            Format::Binary => match binary::field(row, self.place) {
                None => RowKey::Missing,
                Some(None) => RowKey::Value(KeyValue::Null),
                Some(Some(data)) if self.is_foreign(data) && !self.is_bytes() => {
                    RowKey::Value(KeyValue::Unproven(NOT_ASCII))
                }
                Some(Some(data)) => {
                    RowKey::Value(self.key_type.read_binary(ParamType::Column, data, Use::Store))
                }
            },
        }
    }

    fn is_foreign(&self, data: &[u8]) -> bool {
        !self.utf8 && !data.is_ascii()
    }

    /// Whether its binary form is no text.
    fn is_bytes(&self) -> bool {
        self.key_type.is_integer() || self.key_type == KeyType::Uuid
    }
}

/// Ends of lines, as the first one of the data has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Eol {
    Nl,
    Cr,
    CrNl,
}

impl Eol {
    fn len(self) -> usize {
        if self == Self::CrNl { 2 } else { 1 }
    }
}

/// What a scanner found in the bytes that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// All of them belong to a row whose end has not come.
    Nothing,
    /// A row ends before this byte; its end of line is so long.
    Row {
        /// First byte behind it.
        end: usize,
        /// Bytes of its end of line.
        eol: usize,
    },
    /// The data's end mark ends before this byte, and is so long; what stands before it is a row, if it is not empty.
    End {
        /// First byte behind it.
        end: usize,
        /// Bytes of the mark; some may have been in earlier pieces.
        mark: usize,
    },
    /// No shard will take what stands before this byte.
    Odd(usize),
}

/// Ends of line within quotes that Postgres counts as lines, according to what it takes for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Breaks {
    nl: u32,
    cr: u32,
}

impl Breaks {
    /// Lines that a row with these has, for who knows what an end of line is, or does not yet.
    fn lines(self, eol: Option<Eol>) -> u32 {
        1 + if eol == Some(Eol::Nl) { self.nl } else { self.cr }
    }
}
