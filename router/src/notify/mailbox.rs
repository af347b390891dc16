//! What was heard for one client and not handed on yet.

use super::{LinkId, Notification};
use crate::handle::ClientHandle;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of notifications that are held for a client that does not take them: it does not read, or stays in a
/// transaction. Postgres holds 8 GB for all of its clients together.
pub const MAX_HELD: usize = 4 * 1024 * 1024;

/// A listening client's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u64);

/// A notification for a client.
#[derive(Debug)]
pub struct Mail {
    /// What it says.
    pub notification: Arc<Notification>,
    /// Who heard it.
    pub link: LinkId,
    /// Whether the client itself sent it.
    pub own: bool,
}

/// Why there will be no more notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A link was lost; this one.
    Lost(String),
    /// The client took too few of them.
    TooMany,
    /// The client's encoding is not UTF-8, and one of them reads otherwise in it.
    Encoding,
}

/// A client's notifications, in the order in which they were heard.
#[derive(Debug)]
pub struct Mailbox {
    id: ListenerId,
    client: Arc<ClientHandle>,
    /// Whether there is something to look at.
    flag: AtomicBool,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    mail: VecDeque<Mail>,
    /// Bytes that it holds.
    held: usize,
    /// How many were taken out so far.
    taken: u64,
    ended: Option<Ended>,
}

impl Mailbox {
    /// An empty one.
    pub fn new(id: ListenerId, client: Arc<ClientHandle>) -> Self {
        Self { id, client, flag: AtomicBool::new(false), content: Mutex::default() }
    }

    /// Whose it is.
    pub fn id(&self) -> ListenerId {
        self.id
    }

    /// Whether there is something to look at, without a lock.
    pub fn has_mail(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Puts a notification in, and wakes the client for the first one.
    pub fn push(&self, notification: &Arc<Notification>, link: LinkId) {
        let mut content = self.content();
        if content.ended.is_some() {
            return;
        }
        content.held += notification.weight();
        if content.held > MAX_HELD {
            return self.end_with(content, Ended::TooMany);
        }
        content.mail.push_back(Mail { notification: notification.clone(), link, own: false });
        let first = !self.flag.swap(true, Ordering::AcqRel);
        drop(content);
        if first {
            self.client.wake();
        }
    }

    /// There will be no more.
    pub fn end(&self, ended: Ended) {
        let content = self.content();
        if content.ended.is_none() {
            self.end_with(content, ended);
        }
    }

    fn end_with(&self, mut content: MutexGuard<'_, Content>, ended: Ended) {
        content.mail = VecDeque::new();
        content.held = 0;
        content.ended = Some(ended);
        self.flag.store(true, Ordering::Release);
        drop(content);
        // Even if it was woken before: it may be writing what it got then.
        self.client.wake();
    }

    /// Why there will be no more, if that is so.
    pub fn ended(&self) -> Option<Ended> {
        self.content().ended.clone()
    }

    /// Takes out what is there.
    pub fn take(&self) -> VecDeque<Mail> {
        let mut content = self.content();
        if content.ended.is_none() {
            self.flag.store(false, Ordering::Release);
        }
        content.held = 0;
        content.taken += content.mail.len() as u64;
        std::mem::take(&mut content.mail)
    }

    /// How many were put in so far.
    pub fn position(&self) -> u64 {
        let content = self.content();
        content.taken + content.mail.len() as u64
    }

    /// What came since `position` from this server process is the client's own.
    pub fn claim(&self, position: u64, link: LinkId, pid: u32) {
        let mut content = self.content();
        let skip = usize::try_from(position.saturating_sub(content.taken)).unwrap_or(usize::MAX);
        for mail in content.mail.iter_mut().skip(skip) {
            mail.own |= mail.link == link && mail.notification.pid() == pid;
        }
    }

    /// Drops what is on a channel that `stays` does not want.
    pub fn retain(&self, stays: impl Fn(&[u8]) -> bool) {
        let mut content = self.content();
        let before = content.mail.len();
        content.mail.retain(|mail| stays(mail.notification.channel()));
        content.taken += (before - content.mail.len()) as u64;
        content.held = content.mail.iter().map(|mail| mail.notification.weight()).sum();
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(1);

    fn mailbox() -> Mailbox {
        Mailbox::new(ListenerId(1), Arc::default())
    }

    fn notification(pid: u8, payload: &str) -> Arc<Notification> {
        let body = [&[0, 0, 0, pid], &b"c\0"[..], payload.as_bytes(), b"\0"].concat();
        Arc::new(Notification::parse(&body).unwrap())
    }

    #[test]
    fn mail_is_taken_once_and_in_order() {
        let mailbox = mailbox();
        assert!(!mailbox.has_mail());
        let sent: Vec<_> = ["a", "b", "c"].iter().map(|payload| notification(1, payload)).collect();
        sent.iter().for_each(|notification| mailbox.push(notification, LINK));
        assert!(mailbox.has_mail());
        let taken: Vec<_> = mailbox.take().into_iter().map(|mail| mail.notification).collect();
        assert_eq!(taken, sent);
        assert!(!mailbox.has_mail() && mailbox.take().is_empty());
    }

    #[test]
    fn what_is_held_has_a_bound() {
        let mailbox = mailbox();
        let large = notification(1, &"x".repeat(8000));
        for _ in 0..MAX_HELD / large.weight() {
            mailbox.push(&large, LINK);
        }
        assert_eq!(mailbox.ended(), None);
        mailbox.push(&large, LINK);
        assert_eq!(mailbox.ended(), Some(Ended::TooMany));
        assert!(mailbox.take().is_empty() && mailbox.has_mail());
    }

    #[test]
    fn one_process_at_a_time_is_the_clients_own() {
        let mailbox = mailbox();
        mailbox.push(&notification(7, "another's, before"), LINK);
        let position = mailbox.position();
        mailbox.push(&notification(7, "own"), LINK);
        mailbox.push(&notification(8, "another's"), LINK);
        mailbox.push(&notification(7, "on another server"), LinkId(2));
        mailbox.claim(position, LINK, 7);
        let own: Vec<_> = mailbox.take().into_iter().map(|mail| mail.own).collect();
        assert_eq!(own, [false, true, false, false]);
    }

    #[test]
    fn an_end_is_told_once_and_stays() {
        let mailbox = mailbox();
        mailbox.end(Ended::Lost("a".into()));
        mailbox.end(Ended::TooMany);
        mailbox.push(&notification(1, ""), LINK);
        assert!(mailbox.take().is_empty() && mailbox.has_mail());
        assert_eq!(mailbox.ended(), Some(Ended::Lost("a".into())));
    }
}
