//! The key of an entry: the exact bytes of everything that can change the answer.
//!
//! Keys are compared whole, never by a hash alone, so two questions share an entry only if they are the same
//! question. Every part is written with its kind and its length; hence no two lists of parts make the same bytes.

use std::fmt;

/// What every key begins with.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The database that the client named.
    pub database: &'a str,
    /// The role whose rights decide what is seen.
    pub role: &'a str,
    /// The statement's text or template.
    pub statement: &'a str,
    /// Which frames the answer consists of (simple or extended protocol, described or not), in the caller's own
    /// code: the kept bytes must be the ones that this client expects.
    pub frames: u8,
}

/// A key under construction and a finished one. Reuse it from lookup to lookup: the buffer stays.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CacheKey {
    bytes: Vec<u8>,
}

/// The kinds of parts.
#[repr(u8)]
enum Kind {
    Question,
    Null,
    Parameter,
    ResultFormat,
    Setting,
}

impl CacheKey {
    /// The key of a question that has no parameters and depends on no settings yet.
    pub fn new(question: &Question<'_>) -> Self {
        let mut key = Self::default();
        key.ask(question);
        key
    }

    /// Begins anew in the same buffer.
    pub fn ask(&mut self, question: &Question<'_>) {
        self.bytes.clear();
        self.bytes.extend([Kind::Question as u8, question.frames]);
        self.put(question.database.as_bytes());
        self.put(question.role.as_bytes());
        self.put(question.statement.as_bytes());
    }

    /// The next parameter: its declared type (0: none), its format, and its value as it is on the wire.
    pub fn parameter(&mut self, type_oid: u32, format: i16, value: Option<&[u8]>) {
        self.bytes.push(if value.is_some() { Kind::Parameter } else { Kind::Null } as u8);
        self.bytes.extend(type_oid.to_le_bytes());
        self.bytes.extend(format.to_le_bytes());
        self.put(value.unwrap_or_default());
    }

    /// The next of the formats that Bind asked for.
    pub fn result_format(&mut self, format: i16) {
        self.bytes.push(Kind::ResultFormat as u8);
        self.bytes.extend(format.to_le_bytes());
    }

    /// A setting of the session that can change the answer; callers keep to one order.
    pub fn setting(&mut self, name: &str, value: &str) {
        self.bytes.push(Kind::Setting as u8);
        self.put(name.as_bytes());
        self.put(value.as_bytes());
    }

    /// The exact bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn put(&mut self, part: &[u8]) {
        self.bytes.extend((part.len() as u64).to_le_bytes());
        self.bytes.extend(part);
    }
}

/// Parameters are the client's data and stay out of logs.
impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    enum Part {
        Parameter(u32, i16, Option<Vec<u8>>),
        ResultFormat(i16),
        Setting(String, String),
    }

    /// Few and short values, so that near misses are common.
    fn part() -> impl Strategy<Value = Part> {
        prop_oneof![
            (0..3_u32, 0..2_i16, proptest::option::of(vec(0..3_u8, 0..3)))
                .prop_map(|(oid, format, value)| Part::Parameter(oid, format, value)),
            (0..2_i16).prop_map(Part::ResultFormat),
            ("[ab]{0,2}", "[ab]{0,2}").prop_map(|(name, value)| Part::Setting(name, value)),
        ]
    }

    fn question() -> impl Strategy<Value = (String, String, String, u8)> {
        ("[ab]{0,2}", "[ab]{0,2}", "[ab]{0,2}", 0..2_u8)
    }

    fn key((database, role, statement, frames): &(String, String, String, u8), parts: &[Part]) -> CacheKey {
        let mut key = CacheKey::new(&Question { database, role, statement, frames: *frames });
        for part in parts {
            match part {
                Part::Parameter(oid, format, value) => key.parameter(*oid, *format, value.as_deref()),
                Part::ResultFormat(format) => key.result_format(*format),
                Part::Setting(name, value) => key.setting(name, value),
            }
        }
        key
    }

    proptest! {
        #[test]
        fn two_keys_are_equal_only_if_all_their_parts_are(
            a in (question(), vec(part(), 0..4)),
            b in (question(), vec(part(), 0..4)),
        ) {
            prop_assert_eq!(key(&a.0, &a.1) == key(&b.0, &b.1), a == b);
        }
    }

    #[test]
    fn a_null_is_not_an_empty_value() {
        let question = Question { database: "d", role: "r", statement: "select $1", frames: 0 };
        let (mut null, mut empty) = (CacheKey::new(&question), CacheKey::new(&question));
        null.parameter(25, 0, None);
        empty.parameter(25, 0, Some(b""));
        assert_ne!(null, empty);
    }

    #[test]
    fn a_reused_key_forgets_the_last_question() {
        let question = Question { database: "d", role: "r", statement: "select 1", frames: 0 };
        let mut key = CacheKey::new(&question);
        key.setting("search_path", "a");
        key.ask(&question);
        assert_eq!(key, CacheKey::new(&question));
    }
}
