//! Cancel: a packet on a connection of its own that asks a server to stop what one backend does.
//!
//! The signal reaches whatever that backend runs when it arrives. So a server that a cancel is on its way to is
//! not given to another client until the packet's connection has closed, by when the signal was sent. Where that can't be
//! seen, the packet may still arrive one day: that server is given to nobody any more.

use crate::address::ServerAddress;
use crate::frame;
use crate::tls::open::{Channel, open};
use crate::wire::Wire;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// CancelRequest's code: 1234 << 16 | 5678.
pub const CANCEL_CODE: u32 = 80_877_102;

/// How a server knows its backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendKey {
    /// Process id.
    pub pid: u32,
    /// Its secret.
    pub secret: u32,
}

impl BackendKey {
    /// From BackendKeyData's body, or a CancelRequest's after its code.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (pid, rest) = frame::i32(body)?;
        let (secret, _) = frame::i32(rest)?;
        Some(Self { pid: pid as u32, secret: secret as u32 })
    }
}

/// The cancels that are on their way to one server connection.
#[derive(Debug, Default)]
pub struct CancelSlot {
    /// How many, and [`LOST`].
    in_flight: AtomicUsize,
    done: Notify,
}

/// In a slot's count, for good: a cancel was sent, and nobody knows whether it has arrived.
const LOST: usize = 1 << (usize::BITS - 1);

impl CancelSlot {
    /// Whether a cancel is on its way, or was lost there.
    pub fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// Waits until none is on its way. False if one was lost: it may still reach the server.
    pub async fn settled(&self) -> bool {
        loop {
            let done = self.done.notified();
            let in_flight = self.in_flight.load(Ordering::Acquire);
            if in_flight & !LOST == 0 {
                return in_flight == 0;
            }
            done.await;
        }
    }
}

/// What it takes to cancel what one server connection does; shared with the connection.
#[derive(Debug)]
pub struct CancelTarget {
    /// The server.
    pub address: Arc<ServerAddress>,
    /// Its backend.
    pub key: BackendKey,
    /// Whether its connection is by TLS: then so are its cancels.
    pub tls: bool,
    /// The cancels on their way to it.
    pub slot: CancelSlot,
    /// Named statements that it holds, for those who look at it while it works.
    pub prepared: AtomicUsize,
}

/// A cancel that has been announced on its connection's slot; sending consumes it.
#[derive(Debug)]
pub struct PendingCancel {
    target: Arc<CancelTarget>,
    /// Bytes of it may be under way, and the server has not closed yet.
    unanswered: bool,
}

impl CancelTarget {
    /// Announces a cancel. To be called while the connection is known to work for the client that asks, so that it
    /// is not given to another one before the packet is through.
    pub fn announce(self: &Arc<Self>) -> PendingCancel {
        self.slot.in_flight.fetch_add(1, Ordering::AcqRel);
        PendingCancel { target: self.clone(), unanswered: false }
    }
}

impl PendingCancel {
    /// Sends the packet and waits for the server to close; whatever fails, there is nobody to tell.
    pub async fn send(mut self, timeout: Duration) {
        let timeout = if timeout.is_zero() { Duration::from_secs(60) } else { timeout };
        let _ = tokio::time::timeout(timeout, self.deliver()).await;
    }

    async fn deliver(&mut self) -> Option<()> {
        let channel = if self.target.tls { Channel::Tls } else { Channel::Plain };
        let mut wire = Wire::new(open(&self.target.address, channel).await.ok()?);
        for word in [16, CANCEL_CODE, self.target.key.pid, self.target.key.secret] {
            wire.output.extend(&word.to_be_bytes());
        }
        self.unanswered = true;
        wire.flush().await.ok()?;
        // The server answers by closing; a connection that breaks says nothing about it.
        while poll_fn(|cx| wire.poll_fill(cx)).await.ok()? > 0 {
            wire.input.clear();
        }
        self.unanswered = false;
        Some(())
    }
}

impl Drop for PendingCancel {
    fn drop(&mut self) {
        let slot = &self.target.slot;
        if self.unanswered {
            slot.in_flight.fetch_or(LOST, Ordering::AcqRel);
        }
        slot.in_flight.fetch_sub(1, Ordering::AcqRel);
        slot.done.notify_waiters();
    }
}
