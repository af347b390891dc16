//! Who listens to what on one server, and what the server has been told of it.

use super::{Channel, Ended, LinkId, ListenerId, Mailbox, Notification};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

type Listeners = HashMap<ListenerId, Arc<Mailbox>>;

/// Clients by channel. Pure: what it wants of the server it says as SQL.
#[derive(Debug)]
pub(super) struct Roster {
    link: LinkId,
    channels: HashMap<Channel, Listeners>,
    /// The same by client.
    members: HashMap<ListenerId, HashSet<Channel>>,
    /// What the server was told to listen to.
    told: HashSet<Channel>,
    /// What it was told last, and was not told before.
    begun: Vec<Channel>,
    /// What it was told to listen to no more, last.
    ended: Vec<Channel>,
    /// Channels that it was told of and that lost their last listener.
    deserted: Vec<Channel>,
}

impl Roster {
    pub(super) fn new(link: LinkId) -> Self {
        Self {
            link,
            channels: HashMap::new(),
            members: HashMap::new(),
            told: HashSet::new(),
            begun: Vec::new(),
            ended: Vec::new(),
            deserted: Vec::new(),
        }
    }

    /// Whether nobody listens.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What the server must be told so that it listens to what is `wanted` too, and to nothing for nobody.
    pub(super) fn commands<'a>(&mut self, wanted: impl Iterator<Item = &'a Channel>) -> String {
        let wanted: HashSet<&Channel> = wanted.collect();
        let mut sql = String::new();
        self.begun.clear();
        self.ended.clear();
        for channel in std::mem::take(&mut self.deserted) {
            if !wanted.contains(&channel)
                && !self.channels.contains_key(&channel)
                && self.told.remove(&channel)
            {
                sql.push_str(&format!("UNLISTEN {};", channel.quoted()));
                self.ended.push(channel);
            }
        }
        for channel in wanted {
            if self.told.insert(channel.clone()) {
                sql.push_str(&format!("LISTEN {};", channel.quoted()));
                self.begun.push(channel.clone());
            }
        }
        sql
    }

    /// The server did nothing of what it was told last. What it listens to for nobody it may: it is told again with the
    /// next who leaves that channel.
    pub(super) fn untell(&mut self) {
        for channel in self.begun.drain(..) {
            self.told.remove(&channel);
        }
        self.told.extend(self.ended.drain(..));
    }

    /// Whether the server listens to something that nobody wants.
    pub(super) fn has_deserted(&self) -> bool {
        !self.deserted.is_empty()
    }

    /// Enters a client, whose channels the server listens to.
    pub(super) fn join(&mut self, channels: &[Channel], mailbox: &Arc<Mailbox>) {
        let own = self.members.entry(mailbox.id()).or_default();
        for channel in channels {
            own.insert(channel.clone());
            self.channels.entry(channel.clone()).or_default().insert(mailbox.id(), mailbox.clone());
        }
    }

    /// Takes a client off some channels, or (`None`) all.
    pub(super) fn leave(&mut self, listener: ListenerId, channels: Option<&[Channel]>) {
        let Some(own) = self.members.get_mut(&listener) else { return };
        let left: Vec<Channel> = match channels {
            Some(channels) => channels.iter().filter(|channel| own.remove(*channel)).cloned().collect(),
            None => own.drain().collect(),
        };
        if own.is_empty() {
            self.members.remove(&listener);
        }
        for channel in left {
            let Some(listeners) = self.channels.get_mut(&channel) else { continue };
            listeners.remove(&listener);
            if listeners.is_empty() {
                self.channels.remove(&channel);
                self.deserted.push(channel);
            }
        }
    }

    /// Hands a notification to all who listen to its channel.
    pub(super) fn deliver(&self, notification: Notification) {
        let Some(listeners) = self.channels.get(notification.channel()) else { return };
        let notification = Arc::new(notification);
        listeners.values().for_each(|mailbox| mailbox.push(&notification, self.link));
    }

    /// Nothing more will be heard.
    pub(super) fn end(&mut self, ended: &Ended) {
        for listeners in self.channels.values() {
            listeners.values().for_each(|mailbox| mailbox.end(ended.clone()));
        }
        self.channels.clear();
        self.members.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::of_listen(&format!("LISTEN {name}")).unwrap()
    }

    fn mailbox(id: u64) -> Arc<Mailbox> {
        Arc::new(Mailbox::new(ListenerId(id), Arc::default()))
    }

    fn notify(roster: &Roster, name: &str) {
        let body = [&[0, 0, 0, 1], name.as_bytes(), b"\0\0"].concat();
        roster.deliver(Notification::parse(&body).unwrap());
    }

    #[test]
    fn the_server_hears_of_a_channel_once_and_of_its_end_once() {
        let mut roster = Roster::new(LinkId(1));
        let (a, b) = (mailbox(1), mailbox(2));
        let orders = [channel("orders")];
        assert_eq!(roster.commands(orders.iter()), "LISTEN \"orders\";");
        roster.join(&orders, &a);
        assert_eq!(roster.commands(orders.iter()), "");
        roster.join(&orders, &b);
        roster.leave(a.id(), Some(&orders));
        assert!(!roster.has_deserted());
        roster.leave(b.id(), None);
        assert!(roster.has_deserted() && roster.is_empty());
        assert_eq!(roster.commands([].iter()), "UNLISTEN \"orders\";");
        assert_eq!(roster.commands([].iter()), "");
    }

    #[test]
    fn a_channel_that_is_wanted_again_is_not_given_up() {
        let mut roster = Roster::new(LinkId(1));
        let (a, orders) = (mailbox(1), [channel("orders")]);
        roster.commands(orders.iter());
        roster.join(&orders, &a);
        roster.leave(a.id(), None);
        assert_eq!(roster.commands(orders.iter()), "");
        assert!(!roster.has_deserted());
    }

    #[test]
    fn what_the_server_refused_it_is_told_again() {
        let mut roster = Roster::new(LinkId(1));
        let (a, orders, news) = (mailbox(1), [channel("orders")], [channel("news")]);
        roster.commands(orders.iter());
        roster.join(&orders, &a);
        roster.leave(a.id(), None);
        assert_eq!(roster.commands(news.iter()), "UNLISTEN \"orders\";LISTEN \"news\";");
        roster.untell();
        assert!(!roster.has_deserted());
        // It still listens to one, and does not to the other.
        assert_eq!(roster.commands(orders.iter()), "");
        assert_eq!(roster.commands(news.iter()), "LISTEN \"news\";");
    }

    #[test]
    fn everyone_hears_what_they_listen_to() {
        let mut roster = Roster::new(LinkId(1));
        let (a, b) = (mailbox(1), mailbox(2));
        roster.join(&[channel("x"), channel("y")], &a);
        roster.join(&[channel("y")], &b);
        ["x", "y", "z"].iter().for_each(|name| notify(&roster, name));
        roster.leave(a.id(), Some(&[channel("x")]));
        notify(&roster, "x");
        assert_eq!((a.take().len(), b.take().len()), (2, 1));
        roster.end(&Ended::Lost("s".into()));
        assert!(a.ended().is_some() && b.ended().is_some() && roster.is_empty());
    }
}
