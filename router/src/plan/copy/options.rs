//! COPY's options, lowered to a format. What Postgres refuses is left to it to refuse.

use super::grammar::Value;
use crate::copy::{Csv, ForceQuote, Format, Text};
use crate::plan::Refusal;

/// What the options say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The format; its key's options are those of no column.
    pub format: Format,
    /// Columns of FORCE_NOT_NULL.
    pub force_not_null: Columns,
    /// Columns of FORCE_NULL.
    pub force_null: Columns,
    /// Whether the data is in UTF-8.
    pub utf8: bool,
    /// Whether it says that it is in something else.
    pub encodes: bool,
}

/// Columns that FORCE_QUOTE names, once each; one at least.
pub fn named(options: &[(String, Value)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, value) in options.iter().filter(|(name, _)| name == "force_quote") {
        let Value::List(columns) = value else { continue };
        names.extend(columns.iter().cloned());
    }
    names.sort();
    names.dedup();
    if names.is_empty() { vec!["x".to_owned()] } else { names }
}

/// Columns that an option names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// These.
    Some(Vec<String>),
}

impl Columns {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Star => Some(Self::All),
            Value::List(names) => Some(Self::Some(names.clone())),
            _ => None,
        }
    }

    /// Whether a column is among them.
    pub fn contain(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(names) => names.iter().any(|n| n == name),
        }
    }
}

#[derive(Default)]
struct Given<'a> {
    format: Option<&'a str>,
    delimiter: Option<&'a str>,
    null: Option<&'a str>,
    header: bool,
    quote: Option<&'a str>,
    escape: Option<&'a str>,
    force_quote: Columns,
    force_not_null: Columns,
    force_null: Columns,
    encoding: Option<&'a str>,
}

/// Lowers them. Errors: what to say if the server takes them after all.
pub fn lower(options: &[(String, Value)]) -> Result<Options, Refusal> {
    let odd = || Refusal::unsupported("these options of COPY are not understood");
    let mut given = Given::default();
    for (name, value) in options {
        given.take(name, value).ok_or_else(|| match name.as_str() {
            "format" | "freeze" => odd(),
            name => Refusal::unsupported(format!("the option {} of COPY", name.to_ascii_uppercase())),
        })?;
    }
    let utf8 = match given.encoding.map(is_utf8) {
        None | Some(Some(true)) => true,
        Some(Some(false)) => false,
        Some(None) => {
            let message = "COPY in an encoding whose characters may have ASCII bytes in them";
            return Err(Refusal::unsupported(message));
        }
    };
    let format = given.format().ok_or_else(odd)?;
    Ok(Options {
        format,
        force_not_null: given.force_not_null,
        force_null: given.force_null,
        utf8,
        encodes: given.encoding.is_some_and(|name| is_utf8(name) != Some(true)),
    })
}

impl<'a> Given<'a> {
    fn take(&mut self, name: &str, value: &'a Value) -> Option<()> {
        let text = || match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        match name {
            "format" => self.format = Some(text()?),
            "delimiter" => self.delimiter = Some(text()?),
            "null" => self.null = Some(text()?),
            "quote" => self.quote = Some(text()?),
            "escape" => self.escape = Some(text()?),
            "encoding" => self.encoding = Some(text()?),
            "header" => {
                let matches = text().is_some_and(|text| text.eq_ignore_ascii_case("match"));
                self.header = matches || is_true(value)?;
            }
            // Each shard knows whether the table is of its own transaction's making.
            "freeze" => is_true(value).map(|_| ())?,
            "force_quote" => self.force_quote = Columns::of(value)?,
            "force_not_null" => self.force_not_null = Columns::of(value)?,
            "force_null" => self.force_null = Columns::of(value)?,
            _ => return None,
        }
        Some(())
    }

    fn format(&self) -> Option<Format> {
        let byte = |given: Option<&str>, default: u8| match given.map(str::as_bytes) {
            None => Some(default),
            Some([byte]) => Some(*byte),
            Some(_) => None,
        };
        let null = |default: &str| self.null.unwrap_or(default).as_bytes().to_vec();
        match self.format.unwrap_or("text") {
            "text" => Some(Format::Text(Text {
                delimiter: byte(self.delimiter, b'\t')?,
                null: null("\\N"),
                header: self.header,
            })),
            "csv" => {
                let quote = byte(self.quote, b'"')?;
                Some(Format::Csv(Csv {
                    delimiter: byte(self.delimiter, b',')?,
                    null: null(""),
                    header: self.header,
                    quote,
                    escape: byte(self.escape, quote)?,
                    key_not_null: false,
                    key_null: false,
                    force_quote: match &self.force_quote {
                        Columns::None => ForceQuote::Columns(Vec::new()),
                        Columns::All => ForceQuote::All,
                        Columns::Some(names) => ForceQuote::Columns(names.clone()),
                    },
                    marks_end: true,
                }))
            }
            "binary" => Some(Format::Binary),
            _ => None,
        }
    }
}

/// A boolean option's value, as Postgres reads it; `None` if it is not one.
fn is_true(value: &Value) -> Option<bool> {
    match value {
        Value::Nothing => Some(true),
        Value::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "1" => Some(true),
            "false" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Whether an encoding is UTF-8; `None` for one in which a byte that looks like ASCII may be a part of a character. A name
/// that no Postgres knows is its to refuse.
fn is_utf8(name: &str) -> Option<bool> {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    match plain.as_str() {
        "utf8" | "unicode" => Some(true),
        "sjis" | "shiftjis" | "mskanji" | "win932" | "windows932" | "big5" | "win950" | "windows950"
        | "gbk" | "win936" | "windows936" | "uhc" | "win949" | "windows949" | "gb18030" | "johab"
        | "shiftjis2004" | "sjis2004" => None,
        _ => Some(false),
    }
}
