//! From text to records of words: spaces, commas, quotes, comments, and lines that go on behind a backslash. What a
//! word means is said elsewhere.
//!
//! Spaces around a comma do not end a list, in which PgBouncer is more generous than PostgreSQL.

use crate::context::{At, Checked, Context};

/// One word of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Whether it begins with a quote: then it is a name, whatever it looks like.
    pub(super) quoted: bool,
    pub(super) at: At,
}

impl Word {
    /// Whether it is this keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

/// A record's field: words with commas between them, at least one.
pub(super) type Field = Vec<Word>;

/// A record: its fields, at least one, and where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) fields: Vec<Field>,
    pub(super) end: At,
}

/// Every record of a text. One that can't be told into words is reported and left out.
pub(super) fn records(context: &Context<'_>, text: &str) -> Vec<Record> {
    let mut cursor = Cursor { text, at: 0 };
    let mut records = Vec::new();
    while cursor.peek().is_some() {
        if let Ok(record) = cursor.record(context)
            && !record.fields.is_empty()
        {
            records.push(record);
        }
        cursor.skip_line();
    }
    records
}

/// A place in the text. A backslash that ends a line is not there, and neither is the line's end.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn peek(&mut self) -> Option<char> {
        loop {
            let rest = &self.text[self.at..];
            let folded = ["\\\n", "\\\r\n"].into_iter().find(|fold| rest.starts_with(fold));
            match folded {
                Some(fold) => self.at += fold.len(),
                None if rest == "\\" || rest == "\\\r" => self.at = self.text.len(),
                None => return rest.chars().next(),
            }
        }
    }

    fn advance(&mut self, past: char) {
        self.at += past.len_utf8();
    }

    /// Past the end of the line.
    fn skip_line(&mut self) {
        while let Some(c) = self.peek() {
            self.advance(c);
            if c == '\n' {
                return;
            }
        }
    }

    /// The words up to the end of the line or a comment.
    fn record(&mut self, context: &Context<'_>) -> Checked<Record> {
        let mut fields: Vec<Field> = Vec::new();
        let mut comma = None;
        while let Some(c) = self.peek() {
            match c {
                '\n' | '#' => break,
                c if is_blank(c) => self.advance(c),
                ',' if fields.is_empty() || comma.is_some() => {
                    return Err(context.report(At::Offset(self.at), "there is nothing before this comma"));
                }
                ',' => {
                    comma = Some(At::Offset(self.at));
                    self.advance(c);
                }
                _ => {
                    let word = self.word(context)?;
                    match fields.last_mut() {
                        Some(list) if comma.take().is_some() => list.push(word),
                        _ => fields.push(vec![word]),
                    }
                }
            }
        }
        match comma {
            Some(at) => Err(context.report(at, "there is nothing behind this comma")),
            None => Ok(Record { fields, end: At::Offset(self.at) }),
        }
    }

    /// One word; quotes may begin and end anywhere in it.
    fn word(&mut self, context: &Context<'_>) -> Checked<Word> {
        let at = At::Offset(self.at);
        let quoted = self.peek() == Some('"');
        let mut text = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\n' | '#' | ',' => break,
                c if is_blank(c) => break,
                '"' => self.quotation(context, &mut text)?,
                c => {
                    text.push(c);
                    self.advance(c);
                }
            }
        }
        Ok(Word { text, quoted, at })
    }

    /// What stands in quotes, which must end on their line; a doubled quote is one.
    fn quotation(&mut self, context: &Context<'_>, text: &mut String) -> Checked<()> {
        let opened = At::Offset(self.at);
        self.advance('"');
        loop {
            match self.peek() {
                None | Some('\n') => {
                    return Err(context.report(opened, "this quote is not closed on its line"));
                }
                Some('"') => {
                    self.advance('"');
                    if self.peek() != Some('"') {
                        return Ok(());
                    }
                    text.push('"');
                    self.advance('"');
                }
                Some(c) => {
                    text.push(c);
                    self.advance(c);
                }
            }
        }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}
