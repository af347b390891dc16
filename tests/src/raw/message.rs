//! The messages of a server, looked into as far as tests care.

use std::{fmt, ops::Deref};

use bytes::{Buf, Bytes};

/// A message as it came: its tag, and what follows its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The message's kind.
    pub tag: u8,
    /// Its content.
    pub body: Bytes,
}

impl Message {
    /// A field of an ErrorResponse or a NoticeResponse: `'C'` the SQLSTATE, `'M'` the message, `'D'` the
    /// detail, `'H'` the hint, `'S'` the severity, and so on.
    pub fn field(&self, code: char) -> Option<String> {
        self.strings().find_map(|field| field.strip_prefix(code).map(str::to_owned))
    }

    /// The strings that the body consists of, up to an empty one.
    pub fn strings(&self) -> impl Iterator<Item = String> {
        let strings = self.body.split(|&byte| byte == 0).take_while(|string| !string.is_empty());
        strings.map(|string| String::from_utf8_lossy(string).into_owned())
    }

    /// A DataRow's values.
    ///
    /// # Panics
    /// It is none.
    #[track_caller]
    pub fn row(&self) -> Vec<Option<Bytes>> {
        assert_eq!(char::from(self.tag), 'D', "not a DataRow: {self:?}");
        let mut body = self.body.clone();
        let count = body.get_i16();
        let value =
            |body: &mut Bytes| usize::try_from(body.get_i32()).ok().map(|length| body.split_to(length));
        (0..count).map(|_| value(&mut body)).collect()
    }

    /// A RowDescription's columns: their names and type oids.
    ///
    /// # Panics
    /// It is none.
    #[track_caller]
    pub fn columns(&self) -> Vec<(String, u32)> {
        assert_eq!(char::from(self.tag), 'T', "not a RowDescription: {self:?}");
        let mut body = self.body.clone();
        let count = body.get_i16();
        let column = |body: &mut Bytes| {
            let end = body.iter().position(|&byte| byte == 0).expect("a column's name ends");
            let name = String::from_utf8_lossy(&body.split_to(end)).into_owned();
            body.advance(1 + 4 + 2); // the name's end, the table's oid, the column's number
            let oid = body.get_u32();
            body.advance(2 + 4 + 2); // the type's size and modifier, the format
            (name, oid)
        };
        (0..count).map(|_| column(&mut body)).collect()
    }

    /// The text of a CommandComplete, such as `INSERT 0 1`.
    pub fn command(&self) -> String {
        self.strings().next().unwrap_or_default()
    }

    /// The transaction status of a ReadyForQuery: `'I'` idle, `'T'` in a transaction, `'E'` in a failed one.
    pub fn status(&self) -> char {
        self.body.first().map_or('?', |&status| status.into())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = char::from(self.tag);
        match tag {
            'E' | 'N' => write!(f, "{tag}{:?}", self.strings().collect::<Vec<_>>()),
            _ => write!(f, "{tag}{:?}", self.body),
        }
    }
}

/// The messages that answer a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(pub Vec<Message>);

impl Deref for Reply {
    type Target = [Message];

    fn deref(&self) -> &[Message] {
        &self.0
    }
}

impl Reply {
    /// The tags in order, such as `TDDCZ`, without the notices and parameter reports that may come anywhere.
    pub fn tags(&self) -> String {
        let tags = self.iter().map(|message| char::from(message.tag));
        tags.filter(|tag| !matches!(tag, 'N' | 'S')).collect()
    }

    /// The values of all rows.
    pub fn rows(&self) -> Vec<Vec<Option<Bytes>>> {
        self.of('D').map(Message::row).collect()
    }

    /// The values of all rows as text.
    ///
    /// # Panics
    /// A value is not UTF-8.
    #[track_caller]
    pub fn texts(&self) -> Texts {
        let text = |value: Option<Bytes>| {
            value.map(|bytes| String::from_utf8(bytes.into()).expect("a value is not text"))
        };
        Texts(self.rows().into_iter().map(|row| row.into_iter().map(text).collect()).collect())
    }

    /// The first ErrorResponse.
    pub fn error(&self) -> Option<&Message> {
        self.of('E').next()
    }

    /// The texts of the CommandCompletes.
    pub fn commands(&self) -> Vec<String> {
        self.of('C').map(Message::command).collect()
    }

    /// The transaction status that the last ReadyForQuery reports; `'?'` without one.
    pub fn status(&self) -> char {
        self.of('Z').last().map_or('?', Message::status)
    }

    /// The messages with this tag.
    pub fn of(&self, tag: char) -> impl Iterator<Item = &Message> {
        self.iter().filter(move |message| char::from(message.tag) == tag)
    }
}

/// Rows of text that can be compared with literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts(pub Vec<Vec<Option<String>>>);

impl<const ROWS: usize, const COLUMNS: usize> PartialEq<[[Option<&str>; COLUMNS]; ROWS]> for Texts {
    fn eq(&self, rows: &[[Option<&str>; COLUMNS]; ROWS]) -> bool {
        let same = |(ours, theirs): (&Vec<Option<String>>, &[Option<&str>; COLUMNS])| {
            ours.iter().map(Option::as_deref).eq(theirs.iter().copied())
        };
        self.0.len() == ROWS && self.0.iter().zip(rows).all(same)
    }
}
