//! One logged-in server connection and what Shardway knows of its state.

use crate::address::ServerAddress;
use crate::cancel::{BackendKey, CancelSlot, CancelTarget};
use crate::error::PoolError;
use crate::frame;
use crate::prepared::{PreparedSet, StatementId};
use crate::settings::Settings;
use crate::wire::Wire;
use postgres_protocol::message::frontend;
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

thread_local! {
    static WORKER: Cell<u32> = const { Cell::new(0) };
}

/// Names the calling thread's runtime, so that a server is known to be at home there.
pub fn set_worker(id: u32) {
    WORKER.with(|worker| worker.set(id));
}

/// The calling thread's runtime, as [`set_worker`] named it.
pub fn worker() -> u32 {
    WORKER.with(Cell::get)
}

/// Parameters a server reports of its own accord (`GUC_REPORT`), in the order it reported them first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Takes a ParameterStatus body; `None` if it is not one.
    pub fn report(&mut self, body: &[u8]) -> Option<()> {
        let (name, rest) = frame::cstr(body)?;
        let (value, _) = frame::cstr(rest)?;
        let name = String::from_utf8_lossy(name);
        let value = String::from_utf8_lossy(value).into_owned();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.into_owned(), value)),
        }
        Some(())
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A server connection. Whoever holds it is the only one that talks on it.
#[derive(Debug)]
pub struct ServerConn {
    /// The socket and its buffers.
    pub wire: Wire,
    /// What it reports.
    pub parameters: Parameters,
    /// Whether it reported something since this was looked at last.
    pub reported: bool,
    /// What was put in place for the client it last served.
    pub settings: Arc<Settings>,
    /// Named statements it holds.
    pub prepared: PreparedSet,
    /// How many it may hold.
    pub max_prepared: usize,
    /// What its unnamed statement is.
    pub unnamed: Option<StatementId>,
    /// ReadyForQuery's status byte: `I`, `T` or `E`.
    pub status: u8,
    /// ReadyForQuery messages that are still to come.
    pub outstanding: u32,
    /// It may hold what belongs to one client's session (temporary tables, advisory locks, …): nobody else may have it
    /// before that is gone.
    pub claimed: bool,
    /// When its last answer was through, where whoever holds it has looked at the clock: the pool need not.
    pub used_until: Option<Instant>,
    cancel: Arc<CancelTarget>,
    worker: u32,
    born: Instant,
    /// When it was last given back.
    pub(crate) idle_since: Instant,
}

impl ServerConn {
    pub(crate) fn new(
        wire: Wire,
        address: Arc<ServerAddress>,
        parameters: Parameters,
        key: BackendKey,
    ) -> Self {
        let now = Instant::now();
        let tls = wire.stream.tls().is_some();
        Self {
            wire,
            parameters,
            reported: false,
            settings: Arc::default(),
            prepared: PreparedSet::default(),
            max_prepared: 0,
            unnamed: None,
            status: b'I',
            outstanding: 0,
            claimed: false,
            used_until: None,
            cancel: Arc::new(CancelTarget {
                address,
                key,
                tls,
                slot: CancelSlot::default(),
                prepared: AtomicUsize::new(0),
            }),
            worker: worker(),
            born: now,
            idle_since: now,
        }
    }

    /// Where it is.
    pub fn address(&self) -> &Arc<ServerAddress> {
        &self.cancel.address
    }

    /// What it takes to cancel what it does.
    pub fn cancel_target(&self) -> &Arc<CancelTarget> {
        &self.cancel
    }

    /// Whether a cancel is on its way to it.
    pub fn cancel_slot(&self) -> &CancelSlot {
        &self.cancel.slot
    }

    /// The server's process, for people.
    pub fn pid(&self) -> u32 {
        self.cancel.key.pid
    }

    /// Since it logged in.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }

    /// Says how many named statements it holds.
    pub fn note_prepared(&self) {
        self.cancel.prepared.store(self.prepared.len(), Ordering::Relaxed);
    }

    /// When it had nothing to do last: it was given back then, or has logged in.
    pub fn free_since(&self) -> Instant {
        self.idle_since
    }

    /// Runtime it is at home in.
    pub(crate) fn home(&self) -> u32 {
        self.worker
    }

    /// Moves it to the caller's runtime, if it is at home in another.
    pub(crate) fn rehome(mut self: Box<Self>) -> io::Result<Box<Self>> {
        if self.worker == worker() {
            return Ok(self);
        }
        self.wire = self.wire.rehome()?;
        self.worker = worker();
        Ok(self)
    }

    /// Whether the next client may have it: nothing asked and unanswered, nothing open, nothing left over.
    pub fn is_clean(&self) -> bool {
        self.status == b'I' && self.outstanding == 0 && !self.claimed && self.wire.is_through()
    }

    /// Looks, without a system call where nothing came, whether an idle server said something: a notice or a
    /// changed parameter is taken in; an end or a FATAL makes it useless.
    pub(crate) fn is_alive(&mut self) -> bool {
        let mut space = [0; 256];
        loop {
            match self.wire.stream.try_read(&mut space) {
                Ok(0) => return false,
                Ok(n) => self.wire.input.extend(&space[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        while !self.wire.input.is_empty() {
            match frame::first(self.wire.input.filled(), frame::MAX_MESSAGE) {
                Ok(Some((b'S', body))) => {
                    let len = body.len();
                    if self.parameters.report(body).is_none() {
                        return false;
                    }
                    self.wire.consume_message(len);
                }
                Ok(Some((b'N', body))) => {
                    let len = body.len();
                    self.wire.consume_message(len);
                }
                _ => return false,
            }
        }
        true
    }

    /// The error for a client whose server went away.
    pub fn lost(&self, cause: &io::Error) -> PoolError {
        PoolError::Lost { server: self.cancel.address.to_string(), cause: cause.to_string().into() }
    }

    /// Runs commands whose results nobody wants (settings, BEGIN, ROLLBACK), and fails with the first error's body.
    pub async fn run(&mut self, sql: &str) -> Result<(), RunError> {
        self.run_each(&[sql]).await
    }

    /// The same for several texts, each a Query of its own: what one begins does not take in what another did.
    pub async fn run_each(&mut self, texts: &[&str]) -> Result<(), RunError> {
        for sql in texts {
            self.write_query(sql)?;
        }
        self.flush_queries().await?;
        self.drain().await
    }

    /// Sends a command, of which [`Self::drain`] says what became: others can be asked before it is waited for. Errors: as
    /// [`Self::run`].
    pub async fn tell(&mut self, sql: &str) -> Result<(), RunError> {
        self.write_query(sql)?;
        self.flush_queries().await
    }

    fn write_query(&mut self, sql: &str) -> Result<(), RunError> {
        let mut message = bytes::BytesMut::new();
        frontend::query(sql, &mut message).map_err(|e| RunError::Lost(self.lost(&e)))?;
        self.wire.output.extend(&message);
        self.outstanding += 1;
        Ok(())
    }

    async fn flush_queries(&mut self) -> Result<(), RunError> {
        self.unnamed = None;
        self.used_until = None;
        self.wire.flush().await.map_err(|e| RunError::Lost(self.lost(&e)))
    }

    /// The rows that a query of ours gives, as text. Errors: as [`Self::run`].
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, RunError> {
        self.write_query(sql)?;
        self.flush_queries().await?;
        let mut rows = Vec::new();
        let mut take = |tag, body: &[u8]| rows.extend((tag == b'D').then(|| text_row(body)).flatten());
        self.drain_into(&mut take).await?;
        Ok(rows)
    }

    /// The last row that texts give, each a Query of its own. Errors: as [`Self::run`].
    pub async fn last_row(&mut self, texts: &[&str]) -> Result<Option<TextRow>, RunError> {
        for sql in texts {
            self.write_query(sql)?;
        }
        self.flush_queries().await?;
        let mut last = None;
        self.drain_into(&mut |tag, body| {
            if tag == b'D' {
                last = text_row(body);
            }
        })
        .await?;
        Ok(last)
    }

    /// Takes in what the server said of its own accord, without waiting. Errors: it is gone, with its last words if it had
    /// some.
    pub fn listen(&mut self) -> Result<(), PoolError> {
        if self.outstanding > 0 || self.is_alive() {
            return Ok(());
        }
        let said = match frame::first(self.wire.input.filled(), frame::MAX_MESSAGE) {
            Ok(Some((b'E', body))) => {
                frame::error_field(body, b'M').map(|m| String::from_utf8_lossy(m).into_owned())
            }
            _ => None,
        };
        Err(self.lost(&said.map_or_else(|| io::ErrorKind::UnexpectedEof.into(), io::Error::other)))
    }

    /// Gives up all that its sessions left behind, by `query`: DISCARD ALL, or what stands for it. An empty one is not
    /// sent.
    /// Errors: as [`Self::run`]; it is not to be used again then.
    pub async fn reset(&mut self, query: &str) -> Result<(), RunError> {
        if !query.trim().is_empty() {
            self.run(query).await?;
        }
        if !is_discard_all(query) {
            // What else the query does nobody knows; settings and statements are as good as new from here on.
            self.run_each(&["RESET SESSION AUTHORIZATION", "RESET ALL", "DEALLOCATE ALL"]).await?;
        }
        self.settings = Arc::default();
        self.forget_statements();
        self.claimed = false;
        Ok(())
    }

    /// It was told to DEALLOCATE ALL.
    pub fn forget_statements(&mut self) {
        self.prepared = PreparedSet::default();
        self.unnamed = None;
        self.wire.forget_statements();
    }

    /// Sends what was written, and reads to the last ReadyForQuery: the RowDescription's body, if there is one. Errors: as
    /// [`Self::run`].
    pub async fn description(&mut self) -> Result<Option<Vec<u8>>, RunError> {
        self.used_until = None;
        self.wire.flush().await.map_err(|e| RunError::Lost(self.lost(&e)))?;
        let mut description = None;
        self.drain_into(&mut |tag, body| {
            if tag == b'T' {
                description = Some(body.to_vec());
            }
        })
        .await?;
        Ok(description)
    }

    /// Sends what was written, and reads to the last ReadyForQuery: the types of ParameterDescription. Errors: as
    /// [`Self::run`].
    pub async fn parameter_types(&mut self) -> Result<Vec<u32>, RunError> {
        self.used_until = None;
        self.wire.flush().await.map_err(|e| RunError::Lost(self.lost(&e)))?;
        let mut types = Vec::new();
        self.drain_into(&mut |tag, body| {
            if tag == b't' {
                types = body.get(2..).unwrap_or_default().chunks_exact(4).map(oid).collect();
            }
        })
        .await?;
        Ok(types)
    }

    /// Has it forget a statement, whatever state its transaction is in. Errors: as [`Self::run`].
    pub async fn close_statement(&mut self, name: &str) -> Result<(), RunError> {
        frame::put(&mut self.wire.output, b'C', &[b"S", name.as_bytes(), b"\0"].concat());
        frame::put(&mut self.wire.output, b'S', b"");
        self.outstanding += 1;
        self.wire.flush().await.map_err(|e| RunError::Lost(self.lost(&e)))?;
        self.drain().await
    }

    /// Reads to the last outstanding ReadyForQuery.
    pub async fn drain(&mut self) -> Result<(), RunError> {
        self.drain_into(&mut |_, _| {}).await
    }

    async fn drain_into(&mut self, take: &mut (dyn FnMut(u8, &[u8]) + Send)) -> Result<(), RunError> {
        let mut failure = None;
        while self.outstanding > 0 {
            let message = self.wire.message(frame::MAX_MESSAGE).await;
            let (tag, len) = message.map_err(|e| RunError::Lost(self.lost(&e)))?;
            let body = self.wire.body(len);
            match tag {
                b'Z' => {
                    self.status = body.first().copied().unwrap_or(b'E');
                    self.outstanding -= 1;
                }
                b'S' => {
                    self.parameters.report(body);
                    self.reported = true;
                }
                b'E' if failure.is_none() => failure = Some(body.to_vec()),
                b'D' | b'T' | b't' => take(tag, body),
                b'G' => return Err(RunError::Lost(self.lost(&io::Error::other("unexpected COPY")))),
                _ => {}
            }
            self.wire.consume_message(len);
        }
        failure.map_or(Ok(()), |body| Err(RunError::Refused(body)))
    }
}

fn oid(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_be_bytes)
}

/// One row: a text for each column, `None` for NULL.
pub type TextRow = Vec<Option<String>>;

/// A row, of a DataRow's body; `None` if it is not one.
pub fn text_row(body: &[u8]) -> Option<TextRow> {
    let (columns, mut rest) = frame::i16(body)?;
    let mut row = Vec::with_capacity(usize::from(columns as u16));
    for _ in 0..columns {
        let (len, more) = frame::i32(rest)?;
        let Ok(len) = usize::try_from(len) else {
            row.push(None);
            rest = more;
            continue;
        };
        let (value, more) = more.split_at_checked(len)?;
        row.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = more;
    }
    Some(row)
}

/// Whether a command is DISCARD ALL and no more.
pub fn is_discard_all(sql: &str) -> bool {
    let mut words = sql.trim().trim_end_matches(';').split_ascii_whitespace();
    let mut next_is = |word: &str| words.next().is_some_and(|w| w.eq_ignore_ascii_case(word));
    next_is("discard") && next_is("all") && words.next().is_none()
}

/// Why a command of ours did not go through.
#[derive(Debug)]
pub enum RunError {
    /// The server said no: its ErrorResponse's body.
    Refused(Vec<u8>),
    /// The server is gone.
    Lost(PoolError),
}
