//! What a client may be told.

use std::fmt;

use shardway_tests::{Message, Reply};

/// A text that is nobody else's: of one client, in one of its lives, for one of its statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) client: u32,
    pub(super) life: u32,
    pub(super) number: u32,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mk{}n{}s{}q", self.client, self.life, self.number)
    }
}

/// All marks in some bytes; a torn one at the end is none.
pub(super) fn marks(bytes: &[u8]) -> Vec<Mark> {
    let starts = bytes.windows(2).enumerate().filter(|(_, two)| *two == b"mk");
    starts.filter_map(|(at, _)| mark(&bytes[at + 2..])).collect()
}

fn mark(bytes: &[u8]) -> Option<Mark> {
    let (client, rest) = number(bytes, b'n')?;
    let (life, rest) = number(rest, b's')?;
    let (number, _) = number(rest, b'q')?;
    Some(Mark { client, life, number })
}

/// The digits up to `end`, and what follows it.
fn number(bytes: &[u8], end: u8) -> Option<(u32, &[u8])> {
    let at = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    if bytes[at] != end {
        return None;
    }
    let number = std::str::from_utf8(&bytes[..at]).ok()?.parse().ok()?;
    Some((number, &bytes[at + 1..]))
}

/// Who hears, and what it has done that explains what it hears.
#[derive(Clone, Debug)]
pub(super) struct Ear {
    pub(super) client: u32,
    /// It has asked for a cancel.
    pub(super) cancelled: bool,
    /// Time zones that it has had.
    pub(super) zones: Vec<String>,
    /// Application names that it has had.
    pub(super) names: Vec<String>,
}

/// Errors of lost servers, of transactions that have failed or wait for each other's servers, of what is not supported: the
/// same for everybody.
const NEUTRAL: [&str; 9] = ["08001", "08006", "08007", "40P01", "57P01", "57P03", "25P02", "0A000", "53300"];

/// Notices that name nobody; 01000 is of a commit that a lost server does not show yet.
const NEUTRAL_NOTICES: [&str; 3] = ["25001", "25P01", "01000"];

impl Ear {
    /// Panics if something in the answer is not its own.
    pub(super) fn judge(&self, reply: &Reply, rest: &[u8], asked: &str) {
        for message in reply.iter() {
            if let Err(wrong) = self.message(message) {
                panic!("client {} heard {wrong}: {message:?}\nin {reply:?}\nafter {asked}", self.client);
            }
        }
        assert!(self.owns_all(rest), "client {} heard {rest:?}, after {asked}", self.client);
    }

    fn owns_all(&self, bytes: &[u8]) -> bool {
        marks(bytes).iter().all(|mark| mark.client == self.client)
    }

    fn owns(&self, bytes: &[u8]) -> bool {
        !marks(bytes).is_empty() && self.owns_all(bytes)
    }

    fn message(&self, message: &Message) -> Result<(), &'static str> {
        if !self.owns_all(&message.body) {
            return Err("what is another's");
        }
        let code = message.field('C').unwrap_or_default();
        let fine = match message.tag {
            // A COPY that its client fails goes by the same code, and tells its reason.
            b'E' if code == "57014" => self.cancelled || self.owns(&message.body),
            b'E' => NEUTRAL.contains(&code.as_str()) || self.owns(&message.body),
            b'N' => NEUTRAL_NOTICES.contains(&code.as_str()) || self.owns(&message.body),
            b'A' => self.owns(&message.body),
            b'S' => self.parameter(message),
            b'T' | b'D' | b'C' | b'Z' | b'I' | b'd' | b'c' | b'G' | b'H' | b't' => true,
            b'1' | b'2' | b'3' | b'n' | b's' => true,
            _ => false,
        };
        if fine { Ok(()) } else { Err("what nobody should say to it") }
    }

    fn parameter(&self, message: &Message) -> bool {
        let mut strings = message.body.split(|&byte| byte == 0).map(String::from_utf8_lossy);
        let (name, value) = (strings.next().unwrap_or_default(), strings.next().unwrap_or_default());
        match &*name {
            "application_name" => self.names.iter().any(|own| *own == value),
            "TimeZone" => self.zones.iter().any(|own| *own == value),
            _ => true,
        }
    }
}

#[test]
fn marks_are_found_wherever_they_are() {
    let mark = Mark { client: 17, life: 3, number: 42 };
    let text = format!("\0\0mk{mark}mk1n2s3 {mark}");
    assert_eq!(marks(text.as_bytes()), [mark, mark]);
    assert_eq!(marks(b"mk17n3s4"), []);
    assert_eq!(marks(b"mk"), []);
}
