//! The least of a PostgreSQL client: it starts up without a password, runs simple queries one at a time and counts the
//! rows. It is there to ask whether a statement is served at all, and to be one of thousands of idle clients.
//!
//! Frames: <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PROTOCOL_3_0: u32 = 196_608;
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// No answer that is asked for here has a message as long as this.
const LONGEST_MESSAGE: usize = 1 << 20;

/// Where a client connects to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// On the loopback address.
    pub port: u16,
    /// The database's name there.
    pub database: String,
    /// Comes in without a password.
    pub user: String,
}

/// Why a statement has no answer.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// An ErrorResponse.
    #[error("{code} {message}")]
    Said {
        /// The SQLSTATE.
        code: String,
        /// The primary message.
        message: String,
    },
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl WireError {
    /// Whether the statement is one that the proxy says it does not support.
    pub fn is_refusal(&self) -> bool {
        matches!(self, WireError::Said { code, .. } if code == "0A000")
    }
}

/// A connection that is logged in and idle.
pub struct Client(TcpStream);

impl Client {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Nobody listens, or the login is refused.
    pub fn connect(to: &Endpoint) -> Result<Client, WireError> {
        let stream = TcpStream::connect((shardway_cluster::HOST, to.port))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_nodelay(true)?;
        let mut client = Client(stream);
        client.0.write_all(&startup(to))?;
        client.answer()?;
        Ok(client)
    }

    /// Runs one simple query and gives the number of rows.
    ///
    /// # Errors
    /// It is answered with an error, or the connection fails.
    pub fn query(&mut self, sql: &str) -> Result<usize, WireError> {
        let mut frame = vec![b'Q'];
        frame.extend(length_of(sql.len() + 5));
        frame.extend(sql.as_bytes());
        frame.push(0);
        self.0.write_all(&frame)?;
        self.answer()
    }

    /// Reads up to ReadyForQuery; an idle client must own no buffer, so there is one for each answer.
    fn answer(&mut self) -> Result<usize, WireError> {
        let mut input = BufReader::new(&self.0);
        let (mut rows, mut error) = (0, None);
        loop {
            let (tag, body) = match message(&mut input) {
                Ok(message) => message,
                // A FATAL error is followed by the end of the connection.
                Err(end) => return Err(error.unwrap_or(WireError::Io(end))),
            };
            match tag {
                b'D' => rows += 1,
                b'E' => error = Some(said(&body)),
                b'R' if body != [0; 4] => {
                    return Err(io::Error::other("a password is asked for").into());
                }
                b'Z' => return error.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }
}

fn startup(to: &Endpoint) -> Vec<u8> {
    let mut body = PROTOCOL_3_0.to_be_bytes().to_vec();
    for text in ["user", &to.user, "database", &to.database] {
        body.extend(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut frame = length_of(body.len() + 4).to_vec();
    frame.extend(body);
    frame
}

fn length_of(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

fn message(input: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 5];
    input.read_exact(&mut header)?;
    let [tag, length @ ..] = header;
    let length = u32::from_be_bytes(length) as usize;
    if !(4..=LONGEST_MESSAGE).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not PostgreSQL's protocol"));
    }
    let mut body = vec![0; length - 4];
    input.read_exact(&mut body)?;
    Ok((tag, body))
}

/// An ErrorResponse's fields: a letter, then a text that a zero ends.
fn said(body: &[u8]) -> WireError {
    let field = |letter: u8| {
        let mut fields = body.split(|&byte| byte == 0);
        let text = fields.find(|field| field.first() == Some(&letter)).and_then(|field| field.get(1..));
        String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
    };
    WireError::Said { code: field(b'C'), message: field(b'M') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_code_and_message_and_a_refusal_is_told_by_its_code() {
        let error = said(b"SERROR\0VERROR\0C0A000\0Mnot yet\0Hwait\0\0");
        assert_eq!(error.to_string(), "0A000 not yet");
        assert!(error.is_refusal());
        assert!(!said(b"SERROR\0C42P01\0Mno such table\0\0").is_refusal());
    }

    #[test]
    fn a_startup_packet_counts_itself() {
        let to = Endpoint { port: 1, database: "d".into(), user: "u".into() };
        let frame = startup(&to);
        assert_eq!(frame[..8], [0, 0, 0, 27, 0, 3, 0, 0]);
        assert_eq!(&frame[8..], b"user\0u\0database\0d\0\0");
        assert_eq!(frame.len(), 27);
    }

    #[test]
    fn a_length_out_of_bounds_is_not_allocated_for() {
        assert!(message(&mut &b"HTTP/1.1 400 Bad Request"[..]).is_err());
        assert_eq!(message(&mut &b"Z\0\0\0\x05I"[..]).unwrap(), (b'Z', b"I".to_vec()));
    }
}
