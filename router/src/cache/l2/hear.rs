//! What comes over the channel. It is acted on at once, in the task that reads the connection: there is no queue in
//! which news could wait or grow, and whatever Redis sends after a piece of news finds it done.

use std::sync::Weak;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::watch;

use super::L2;
use super::link::{LinkError, LinkId, NEWS};
use super::wire::{Change, Message};

/// The ear of one link.
pub(super) struct Ear {
    pub(super) l2: Weak<L2>,
    pub(super) link: LinkId,
    /// The last heartbeat that was heard. Closed when the connection is.
    pub(super) beat: watch::Sender<u64>,
}

impl Ear {
    pub(super) fn hear(&self, push: &PushInfo) {
        let Some(l2) = self.l2.upgrade() else { return };
        match push.kind {
            PushKind::Message => self.message(&l2, &push.data),
            PushKind::Disconnection | PushKind::Unsubscribe => l2.fail(self.link, &LinkError::Closed),
            _ => {}
        }
    }

    fn message(&self, l2: &L2, data: &[Value]) {
        match data {
            [Value::BulkString(channel), Value::BulkString(text)] if channel == NEWS.as_bytes() => {
                l2.hear_news(text);
            }
            [Value::BulkString(_), Value::BulkString(beat)] => {
                let beat = <[u8; 8]>::try_from(beat.as_slice()).map_or(0, u64::from_le_bytes);
                self.beat.send_if_modified(|last| beat > std::mem::replace(last, beat.max(*last)));
            }
            // Not a message as we know them: it may have been news.
            _ => l2.local.forget(),
        }
    }
}

impl L2 {
    fn hear_news(&self, text: &[u8]) {
        let Some(Message { sender, change }) = Message::decode(text) else { return self.local.forget() };
        // Our own writes have bumped our own versions before they told anybody. To do it again when the news comes
        // back would only throw away what was filled since.
        if sender == self.id {
            return;
        }
        self.local.counters.invalidations.add_one();
        match change {
            Change::Everything => self.local.forget(),
            Change::Stripes(stripes) => {
                stripes.into_iter().for_each(|stripe| self.local.versions.bump(stripe))
            }
        }
    }
}
