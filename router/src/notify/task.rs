//! A listening connection at work: LISTENs in, notifications out.
//!
//! What sessions ask for while the server answers is put together and sent as one: a thousand clients that listen at
//! once take a few round trips.

use super::link::{Done, Request};
use super::roster::Roster;
use super::{Channel, Ended, LinkError, LinkId, Mailbox, Notification};
use crate::error::ClientError;
use crate::proxy::Proxy;
use shardway_pool::shard::Server;
use shardway_pool::{Login, ServerConn, frame};
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Weak};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How often it is looked whether the server is there, and still the primary.
const TICK: Duration = Duration::from_secs(1);

/// After this much silence the server is asked for a sign of life, and it has as long to give one.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a link to which nobody listens is kept.
const LINGER: Duration = Duration::from_secs(60);

/// What a link is made of.
pub(super) struct Task {
    pub(super) id: LinkId,
    pub(super) proxy: Weak<Proxy>,
    pub(super) database: String,
    pub(super) server: Arc<Server>,
    pub(super) login: Login,
    pub(super) timeout: Duration,
    pub(super) incoming: mpsc::UnboundedReceiver<Request>,
}

/// A client that waits to be entered.
struct Joining {
    channels: Vec<Channel>,
    mailbox: Arc<Mailbox>,
    done: Done,
}

/// Opens the connection and works until it is lost, or nobody needs it.
pub(super) async fn run(mut task: Task) {
    match shardway_pool::connect(&task.server.address, &task.login, task.timeout).await {
        Ok(conn) => {
            tracing::debug!(server = %task.server.address, "a connection listens for clients");
            Running::new(task, conn).run().await;
        }
        Err(error) => {
            task.incoming.close();
            while let Some(request) = task.incoming.recv().await {
                if let Request::Join { done, .. } = request {
                    let _ = done.send(Err(LinkError::Failed(error.clone().into())));
                }
            }
        }
    }
}

struct Running {
    task: Task,
    conn: ServerConn,
    roster: Roster,
    /// Those for whom nothing was sent yet.
    waiting: Vec<Joining>,
    /// Those for whom the server works.
    asked: Option<Vec<Joining>>,
    /// Why it did not do it; its ReadyForQuery is still to come.
    refusal: Option<ClientError>,
    /// When it was asked, or said something, last.
    heard: Instant,
    /// Since when nobody listens.
    idle_since: Instant,
    greeted: bool,
}

/// Why a link ends.
enum Over {
    /// Nobody needs it.
    Unused,
    /// It was lost: why.
    Lost(String),
}

impl From<io::Error> for Over {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl Running {
    fn new(task: Task, conn: ServerConn) -> Self {
        let (roster, now) = (Roster::new(task.id), Instant::now());
        let (waiting, asked, refusal) = (Vec::new(), None, None);
        Self { task, conn, roster, waiting, asked, refusal, heard: now, idle_since: now, greeted: false }
    }

    async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let over = loop {
            self.ask();
            let wire = &mut self.conn.wire;
            let traffic = poll_fn(|cx| {
                let _ = wire.poll_flush(cx)?;
                Poll::Ready(match ready!(wire.poll_fill(cx))? {
                    0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    _ => Ok(()),
                })
            });
            let step = tokio::select! {
                heard = traffic => heard.map_err(Over::from).and_then(|()| self.hear()),
                request = self.task.incoming.recv() => self.take(request),
                _ = tick.tick() => self.look(),
            };
            if let Err(over) = step {
                break over;
            }
        };
        self.end(over);
    }

    /// Takes requests, all that are there.
    fn take(&mut self, request: Option<Request>) -> Result<(), Over> {
        let mut next = request;
        if next.is_none() {
            return Err(Over::Unused);
        }
        while let Some(request) = next {
            match request {
                Request::Join { channels, mailbox, done } => {
                    self.waiting.push(Joining { channels, mailbox, done });
                }
                Request::Leave { listener, channels, done } => {
                    self.roster.leave(listener, channels.as_deref());
                    self.note_use();
                    drop(done);
                }
            }
            next = self.task.incoming.try_recv().ok();
        }
        Ok(())
    }

    fn note_use(&mut self) {
        if self.roster.is_empty() {
            self.idle_since = Instant::now();
        }
    }

    /// Asks the server for what is wanted, unless it is at work.
    fn ask(&mut self) {
        if self.asked.is_none() && (!self.waiting.is_empty() || self.roster.has_deserted()) {
            self.ask_now();
        }
    }

    /// An empty query is a round trip too: notifications of what was committed before come ahead of its end.
    fn ask_now(&mut self) {
        let joining = std::mem::take(&mut self.waiting);
        let mut sql = self.roster.commands(joining.iter().flat_map(|joining| &joining.channels));
        if !std::mem::replace(&mut self.greeted, true) {
            sql.insert_str(0, "SET application_name = 'shardway listen';");
        }
        frame::put(&mut self.conn.wire.output, b'Q', &[sql.as_bytes(), b"\0"].concat());
        self.asked = Some(joining);
        self.heard = Instant::now();
    }

    /// Works through what the server said.
    fn hear(&mut self) -> Result<(), Over> {
        self.heard = Instant::now();
        loop {
            let first = frame::first(self.conn.wire.input.filled(), frame::MAX_MESSAGE);
            let message = first.map_err(|_| Over::Lost("the server broke the protocol".to_owned()))?;
            let Some((tag, body)) = message else { return Ok(()) };
            let len = body.len();
            match tag {
                b'A' => {
                    if let Some(notification) = Notification::parse(body) {
                        self.roster.deliver(notification);
                    }
                }
                b'E' if !matches!(frame::error_field(body, b'V'), Some(b"FATAL" | b"PANIC")) => {
                    self.refusal.get_or_insert_with(|| ClientError::of_server(body));
                }
                b'E' => {
                    let words = frame::error_field(body, b'M').unwrap_or_default();
                    return Err(Over::Lost(String::from_utf8_lossy(words).into_owned()));
                }
                b'Z' => match self.refusal.take() {
                    Some(error) => self.refuse(&error),
                    None => self.enter(),
                },
                _ => {}
            }
            self.conn.wire.consume_message(len);
        }
    }

    /// The server has done what it was asked for.
    fn enter(&mut self) {
        for Joining { channels, mailbox, done } in self.asked.take().unwrap_or_default() {
            if !channels.is_empty() {
                self.roster.join(&channels, &mailbox);
            }
            // Whoever asked is gone.
            if done.send(Ok(())).is_err() {
                self.roster.leave(mailbox.id(), Some(&channels));
            }
        }
        self.note_use();
    }

    /// The server has done nothing of what it was asked for. Those who asked are told; nobody else missed anything.
    fn refuse(&mut self, error: &ClientError) {
        self.roster.untell();
        self.greeted = false;
        for Joining { done, .. } in self.asked.take().unwrap_or_default() {
            let _ = done.send(Err(LinkError::Failed(error.clone())));
        }
        self.note_use();
    }

    /// Looks whether all is well.
    fn look(&mut self) -> Result<(), Over> {
        if self.roster.is_empty() && self.asked.is_none() && self.waiting.is_empty() {
            let unused = self.idle_since.elapsed() >= LINGER || !self.is_primary();
            return if unused { Err(Over::Unused) } else { Ok(()) };
        }
        if !self.is_primary() {
            return Err(Over::Lost("the server is no primary any more".to_owned()));
        }
        if self.heard.elapsed() >= SILENCE {
            if self.asked.is_some() {
                return Err(Over::Lost("the server does not answer".to_owned()));
            }
            self.ask_now();
        }
        Ok(())
    }

    /// Whether some shard's writes go to the server, as the configuration and the last election have it.
    fn is_primary(&self) -> bool {
        let Some(proxy) = self.task.proxy.upgrade() else { return false };
        let world = proxy.world();
        let Some(database) = world.databases.get(&self.task.database) else { return false };
        database.all_shards().any(|at| Arc::ptr_eq(database.shard(at).primary(), &self.task.server))
    }

    fn end(mut self, over: Over) {
        // From here on sessions open another one.
        self.task.incoming.close();
        let server = &self.task.server.address;
        let error = match over {
            Over::Unused => {
                tracing::debug!(%server, "nobody listens any more");
                LinkError::Closed
            }
            Over::Lost(cause) => {
                tracing::warn!(%server, "the connection that listens for clients was lost: {cause}");
                self.roster.end(&Ended::Lost(server.to_string()));
                let message = format!("server {server}: the connection that listens was lost: {cause}");
                LinkError::Failed(ClientError::error("08006", message))
            }
        };
        for joining in self.asked.take().into_iter().flatten().chain(self.waiting) {
            let _ = joining.done.send(Err(error.clone()));
        }
        while let Ok(request) = self.task.incoming.try_recv() {
            if let Request::Join { done, .. } = request {
                let _ = done.send(Err(error.clone()));
            }
        }
        // Terminate, if it still can be told.
        self.conn.wire.output.clear();
        self.conn.wire.send(b"X\0\0\0\x04");
    }
}
