//! Cancel: a packet on a connection of its own that asks a server to stop what one backend does.
//!
//! The signal reaches whatever that backend runs when it arrives. So a server that a cancel is on its way to is
//! not given to another client until the packet's connection has closed, by when the signal was sent.

use crate::address::ServerAddress;
use crate::frame;
use crate::tls::open::{Channel, open};
use crate::wire::Wire;
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
    in_flight: AtomicUsize,
    done: Notify,
}

impl CancelSlot {
    /// Whether a cancel is on its way.
    pub fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// Waits until none is.
    pub async fn settled(&self) {
        loop {
            let done = self.done.notified();
            if !self.is_busy() {
                return;
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
}

/// A cancel that has been announced on its connection's slot; sending consumes it.
#[derive(Debug)]
pub struct PendingCancel(Arc<CancelTarget>);

impl CancelTarget {
    /// Announces a cancel. To be called while the connection is known to work for the client that asks, so that it
    /// is not given to another one before the packet is through.
    pub fn announce(self: &Arc<Self>) -> PendingCancel {
        self.slot.in_flight.fetch_add(1, Ordering::AcqRel);
        PendingCancel(self.clone())
    }
}

impl PendingCancel {
    /// Sends the packet and waits for the server to close; whatever fails, there is nobody to tell.
    pub async fn send(self, timeout: Duration) {
        let timeout = if timeout.is_zero() { Duration::from_secs(60) } else { timeout };
        let _ = tokio::time::timeout(timeout, self.deliver()).await;
    }

    async fn deliver(&self) -> Option<()> {
        let channel = if self.0.tls { Channel::Tls } else { Channel::Plain };
        let mut wire = Wire::new(open(&self.0.address, channel).await.ok()?);
        for word in [16, CANCEL_CODE, self.0.key.pid, self.0.key.secret] {
            wire.output.extend(&word.to_be_bytes());
        }
        wire.flush().await.ok()?;
        // The server answers by closing.
        while wire.fill().await.is_ok() {
            wire.input.clear();
        }
        Some(())
    }
}

impl Drop for PendingCancel {
    fn drop(&mut self) {
        self.0.slot.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.slot.done.notify_waiters();
    }
}
