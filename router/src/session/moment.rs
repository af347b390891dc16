//! Statements that several servers run as of one moment: between the first one's snapshot and the last one's, no transaction
//! over several servers becomes visible ([`crate::two_phase::rooms`]).
//!
//! A server answers a Bind once it has taken the snapshot for it, and with a Flush behind the Bind it does so at once, however
//! long it then works on the Execute that came in the same write. So what is waited for is one answer, and no round trip more.

use super::relay::MAX_AHEAD;
use super::servers::Participant;
use super::simple::Failure;
use super::{End, Session};
use crate::error::ClientError;
use crate::handle::ClientHandle;
use crate::two_phase::door::{Door, Place};
use crate::two_phase::rooms::{Room, Site};
use shardway_pool::frame::{self, HEADER};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How often a statement is sent again whose snapshots may be torn.
pub(super) const TRIES: usize = 10;

/// The Flush message.
const FLUSH: &[u8] = b"H\0\0\0\x04";

/// Bytes of an Execute without a name, and of the Sync behind it.
const EXECUTE_AND_SYNC: usize = 15;

/// What servers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Rows, by Parse, Bind, Describe, Execute and Sync.
    Rows,
    /// A COPY TO STDOUT.
    Copy,
}

/// What a server says first when it has taken the snapshot that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// So many BindCompletes.
    Bound(usize),
    /// CopyOutResponse.
    Copies,
}

impl Sign {
    /// Whether it stands in what a server has answered so far, or (false) something that says it will not come; `None` if
    /// more is to come first.
    fn stands_in(self, mut answered: &[u8]) -> Option<bool> {
        let mut bound = 0;
        loop {
            let (tag, body) = match frame::first(answered, frame::MAX_MESSAGE) {
                Ok(Some(message)) => message,
                Ok(None) => return None,
                Err(_) => return Some(false),
            };
            bound += usize::from(tag == b'2');
            match (tag, self) {
                (b'2', Self::Bound(due)) if bound == due => return Some(true),
                (b'H', Self::Copies) => return Some(true),
                (b'E' | b'Z', _) => return Some(false),
                _ => answered = &answered[HEADER + body.len()..],
            }
        }
    }

    /// Of messages that have one Flush: it stands behind the Bind that counts.
    pub(super) fn of(mut messages: &[u8]) -> Self {
        let mut bound = 0;
        while let Ok(Some((tag, body))) = frame::first(messages, usize::MAX) {
            match tag {
                b'H' => break,
                b'B' => bound += 1,
                _ => {}
            }
            messages = &messages[HEADER + body.len()..];
        }
        Self::Bound(bound)
    }
}

/// The same messages with a Flush in front of their Execute and Sync, the last ones.
fn with_flush(messages: &[u8]) -> Vec<u8> {
    let (bind, execute) = messages.split_at(messages.len().saturating_sub(EXECUTE_AND_SYNC));
    [bind, FLUSH, execute].concat()
}

/// The way in for a statement.
pub(super) struct Entrance {
    door: Arc<Door>,
    handle: Arc<ClientHandle>,
    sites: Vec<Site>,
    /// How long may be waited; zero: for ever.
    limit: Duration,
}

impl Entrance {
    /// Waits until no transaction is in between of being shown by some of these servers and by all. Errors: one stays there,
    /// or the client had it cancelled.
    pub(super) async fn enter(&self) -> Result<Place, ClientError> {
        let before = self.handle.cancels();
        let place = self.door.enter(Room::Reads, &self.sites);
        let late = async {
            match self.limit.is_zero() {
                true => std::future::pending().await,
                false => tokio::time::sleep(self.limit).await,
            }
        };
        let handle = &self.handle;
        tokio::select! {
            biased;
            () = place.inside() => {}
            // Who waits is woken by it.
            () = poll_fn(|_| if handle.cancels() == before { Poll::Pending } else { Poll::Ready(()) }) => {
                return Err(cancelled());
            }
            () = late => return Err(half_shown()),
        }
        Ok(place)
    }
}

fn cancelled() -> ClientError {
    ClientError::error("57014", "canceling statement due to user request")
}

/// A transaction stays half visible for longer than may be waited.
fn half_shown() -> ClientError {
    let message = "a transaction over several shards is committed, and a shard that this statement reads may not show it yet";
    let hint = "Its server could not be reached to carry it out; try again, and see SHOW TWO_PHASE.";
    ClientError::error("55P03", message).hint(hint)
}

/// Again and again, transactions became visible while snapshots were taken.
pub(super) fn torn() -> ClientError {
    let message = "the shards' snapshots could not be taken as of one moment";
    ClientError::error("40001", message).hint("A shard takes long to begin with the statement; try again.")
}

/// Ready when each of these servers has given its sign, or (false) one gave another answer, which is still to be read. Errors:
/// one is lost.
pub(super) fn poll_signs(
    cx: &mut Context<'_>,
    servers: &mut [Participant],
    asked: &[(usize, Sign)],
) -> Poll<Result<bool, ClientError>> {
    let mut waits = false;
    for &(index, sign) in asked {
        let server = &mut servers[index].lease;
        loop {
            match sign.stands_in(server.wire.input.filled()) {
                Some(true) => break,
                Some(false) => return Poll::Ready(Ok(false)),
                None => {}
            }
            let cause = match server.wire.poll_fill(cx) {
                Poll::Ready(Ok(read)) if read > 0 => continue,
                Poll::Ready(Ok(_)) => io::ErrorKind::UnexpectedEof.into(),
                Poll::Ready(Err(cause)) => cause,
                Poll::Pending => {
                    waits = true;
                    break;
                }
            };
            let error = server.lost(&cause);
            server.outstanding = 1;
            return Poll::Ready(Err(error.into()));
        }
    }
    if waits { Poll::Pending } else { Poll::Ready(Ok(true)) }
}

/// When a gather takes its snapshots, which is not done with one message for each server.
pub(super) struct Moment {
    entrance: Option<Entrance>,
    place: Option<Place>,
    torn: bool,
    tries: usize,
}

impl Moment {
    pub(super) fn new(entrance: Option<Entrance>) -> Self {
        Self { entrance, place: None, torn: false, tries: TRIES }
    }

    /// From here on snapshots may be taken. Errors: as [`Entrance::enter`].
    pub(super) async fn begin(&mut self) -> Result<(), ClientError> {
        if let Some(entrance) = &self.entrance {
            self.place = Some(entrance.enter().await?);
        }
        Ok(())
    }

    /// Waits until servers have begun, or failed.
    pub(super) async fn signs(
        &self,
        servers: &mut [Participant],
        asked: &[(usize, Sign)],
    ) -> Result<(), ClientError> {
        if self.entrance.is_some() {
            poll_fn(|cx| poll_signs(cx, servers, asked)).await?;
        }
        Ok(())
    }

    /// All of them are taken. Errors: they may be torn.
    pub(super) fn end(&mut self) -> Result<(), ClientError> {
        self.torn = self.place.take().is_some_and(|place| !place.leave());
        if self.torn { Err(torn()) } else { Ok(()) }
    }

    /// Whether it failed by this alone, and is worth another try.
    pub(super) fn comes_again(&mut self) -> bool {
        self.place = None;
        self.tries = self.tries.saturating_sub(1);
        std::mem::take(&mut self.torn) && self.tries > 0
    }
}

impl Session {
    /// Whether what these servers are asked takes several snapshots, and something may become visible in between.
    pub(super) fn takes_snapshots(&self, servers: &[usize]) -> bool {
        servers.len() > 1 && self.world.config.routing.two_phase_commit
    }

    /// The way in for what these servers are to be asked, if there has to be one.
    pub(super) fn entrance(&self, servers: &[usize]) -> Option<Entrance> {
        if !self.takes_snapshots(servers) {
            return None;
        }
        let shards: Vec<_> = servers.iter().map(|&index| self.servers[index].shard).collect();
        Some(Entrance {
            door: self.database.door(&self.world.databases).clone(),
            handle: self.registration.handle.clone(),
            sites: self.database.sites(&shards),
            limit: self.world.config.pool.query_wait_timeout,
        })
    }

    /// Goes in. Errors: as [`Entrance::enter`], or the client is gone.
    pub(super) async fn enter(&mut self, entrance: &Entrance) -> Result<Place, Failure> {
        let client = &mut self.client;
        tokio::select! {
            biased;
            place = entrance.enter() => Ok(place?),
            () = poll_fn(|cx| client.poll_end(cx, MAX_AHEAD)) => {
                Err(End::Client(io::ErrorKind::UnexpectedEof.into()).into())
            }
        }
    }

    /// Sends servers what they are asked, until they have it as of one moment. Their answers are all still to be read.
    pub(super) async fn ask_at_once(
        &mut self,
        servers: &[usize],
        messages: &[u8],
        asking: Asking,
    ) -> Result<(), Failure> {
        let Some(entrance) = self.entrance(servers) else {
            self.send(servers, messages);
            return self.flush_all(servers).await;
        };
        let sign = if asking == Asking::Copy { Sign::Copies } else { Sign::Bound(1) };
        let messages = if asking == Asking::Copy { messages.to_vec() } else { with_flush(messages) };
        let asked: Vec<_> = servers.iter().map(|&index| (index, sign)).collect();
        let before = self.registration.handle.cancels();
        for _ in 0..TRIES {
            let place = self.enter(&entrance).await?;
            self.send(servers, &messages);
            self.flush_all(servers).await?;
            let given = self.signs(&asked).await?;
            // What went wrong, the answers say.
            if place.leave() || !given {
                return Ok(());
            }
            self.pass_over(servers).await?;
            if self.registration.handle.cancels() != before {
                return Err(cancelled().into());
            }
        }
        Err(torn().into())
    }

    async fn flush_all(&mut self, servers: &[usize]) -> Result<(), Failure> {
        for &index in servers {
            let server = &mut self.servers[index].lease;
            server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
        }
        Ok(())
    }

    /// Waits for the servers' signs. Whether all of them came. Errors: a server is lost, or the client is gone.
    pub(super) async fn signs(&mut self, asked: &[(usize, Sign)]) -> Result<bool, Failure> {
        let (servers, client) = (&mut self.servers[..], &mut self.client);
        poll_fn(|cx| match poll_signs(cx, servers, asked) {
            Poll::Ready(given) => Poll::Ready(given.map_err(Failure::from)),
            Poll::Pending => {
                let gone = || Err(End::Client(io::ErrorKind::UnexpectedEof.into()).into());
                client.poll_end(cx, MAX_AHEAD).map(|()| gone())
            }
        })
        .await
    }

    /// Reads over all that servers answer. Outside of a transaction they need not come to the end of it.
    async fn pass_over(&mut self, servers: &[usize]) -> Result<(), Failure> {
        if self.transaction.is_some() {
            return Ok(self.drain(servers).await?);
        }
        let cancels = self.cancel_servers(servers);
        // They were cancelled; one that is lost says so again.
        let _ = self.drain(servers).await;
        cancels.arrived().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
    }

    #[test]
    fn a_sign_is_found_behind_what_comes_first_and_an_error_takes_its_place() {
        let begun = [message(b'1', b""), message(b'N', b"SNOTICE\0\0")].concat();
        let bound = [&begun[..], &message(b'2', b"")].concat();
        let one = Sign::Bound(1);
        assert_eq!(
            (one.stands_in(&[]), one.stands_in(&begun), one.stands_in(&begun[..7])),
            (None, None, None)
        );
        assert_eq!((one.stands_in(&bound), Sign::Bound(2).stands_in(&bound)), (Some(true), None));
        assert_eq!(Sign::Bound(2).stands_in(&[&bound[..], &bound].concat()), Some(true));
        assert_eq!(one.stands_in(&[&begun[..], &message(b'E', b"\0")].concat()), Some(false));
        assert_eq!(Sign::Copies.stands_in(&message(b'H', &[0; 3])), Some(true));
    }

    #[test]
    fn the_bind_that_counts_is_the_last_one_before_the_flush() {
        let ours = [message(b'P', b"\0BEGIN\0\0\0"), message(b'B', &[0; 8]), message(b'E', &[0; 5])].concat();
        let query = [message(b'P', b"\0SELECT 1\0\0\0"), message(b'B', &[0; 8])].concat();
        let rest = [message(b'E', &[0; 5]), message(b'S', b"")].concat();
        let whole = [&ours[..], &query, &rest].concat();
        let flushing = with_flush(&whole);
        assert_eq!(flushing, [&ours[..], &query, FLUSH, &rest].concat());
        assert_eq!(Sign::of(&flushing), Sign::Bound(2));
    }
}
