//! LISTEN and UNLISTEN, and when a client hears of notifications: see [`crate::notify`] for who listens.
//!
//! As in Postgres, both take effect when their transaction commits, and notifications reach the client between its
//! transactions: at once while it is idle, else before ReadyForQuery. A client that listens goes the long way, where
//! ReadyForQuery is the session's to say.

use super::transaction::Answer;
use super::{End, Session, is_utf8};
use crate::error::ClientError;
use crate::notify::{Channel, Ended, Joined, Link, LinkError, Mailbox};
use crate::plan::{Access, Plan};
use crate::reply;
use crate::sql::command::Command;
use shardway_pool::Login;
use shardway_pool::buffer::Buffer;
use shardway_pool::shard::Server;
use std::future::poll_fn;
use std::sync::Arc;

/// What a client that listens has.
pub(super) struct Listening {
    mailbox: Arc<Mailbox>,
    /// In the order in which it listened to them first.
    channels: Vec<Channel>,
    /// One to each primary.
    links: Vec<Arc<Link>>,
    windows: Vec<Window>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.links.iter().for_each(|link| link.forget(self.mailbox.id()));
    }
}

/// The time in which what a server process notifies is the client's own doing.
struct Window {
    link: Arc<Link>,
    pid: u32,
    /// The mailbox's position at its start.
    from: u64,
    /// Whether all that was committed in it so far has been heard.
    settled: bool,
}

/// LISTEN or UNLISTEN, to take effect with the transaction's commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// LISTEN.
    Listen(Channel),
    /// UNLISTEN of one.
    Unlisten(Channel),
    /// UNLISTEN *.
    UnlistenAll,
}

impl Change {
    fn apply(&self, channels: &mut Vec<Channel>) {
        match self {
            Self::Listen(channel) if channels.contains(channel) => {}
            Self::Listen(channel) => channels.push(channel.clone()),
            Self::Unlisten(channel) => channels.retain(|known| known != channel),
            Self::UnlistenAll => channels.clear(),
        }
    }
}

/// How often a link that was closed for want of use is tried again.
const TRIES: usize = 3;

/// Whether a statement is LISTEN or UNLISTEN: undone with its transaction, though no server has a part in it.
pub(super) fn changes_listening(plan: &Plan) -> bool {
    matches!(plan.command, Command::Listen | Command::Unlisten)
}

impl Session {
    /// LISTEN.
    pub(super) async fn listen(&mut self, text: &str) -> Result<Answer, ClientError> {
        let Some(channel) = Channel::of_listen(text) else { return Err(self.no_channel(text).await) };
        self.change_listening(Change::Listen(channel)).await?;
        Ok(Answer::Tag("LISTEN"))
    }

    /// UNLISTEN.
    pub(super) async fn unlisten(&mut self, text: &str) -> Result<Answer, ClientError> {
        let change = match Channel::of_unlisten(text) {
            Some(Some(channel)) => Change::Unlisten(channel),
            Some(None) => Change::UnlistenAll,
            None => return Err(self.no_channel(text).await),
        };
        self.change_listening(change).await?;
        Ok(Answer::Tag("UNLISTEN"))
    }

    /// UNLISTEN *, now.
    pub(super) async fn unlisten_all(&mut self) {
        self.keep_channels(&[]).await;
    }

    async fn no_channel(&mut self, text: &str) -> ClientError {
        let error = ClientError::error("0A000", "the channel's name is not understood");
        self.text_in_postgres_words(text, error).await
    }

    async fn change_listening(&mut self, change: Change) -> Result<(), ClientError> {
        if let Some(transaction) = &mut self.transaction {
            transaction.listens.push(change);
            return Ok(());
        }
        let wanted = self.channels_after(self.channels(), &[change]);
        self.join(&wanted).await?;
        self.keep_channels(&wanted).await;
        Ok(())
    }

    /// A transaction that listens is about to commit: what it notified is the client's own.
    pub(super) async fn listen_before_commit(&mut self, changes: &[Change]) -> Result<(), ClientError> {
        let wanted = self.channels_after(self.channels(), changes);
        self.join(&wanted).await?;
        for index in 0..self.servers.len() {
            self.open_window(index, Access::Write).await;
        }
        Ok(())
    }

    /// What the client will listen to after some changes.
    pub(super) fn channels_after(&self, before: &[Channel], changes: &[Change]) -> Vec<Channel> {
        let mut channels = before.to_vec();
        changes.iter().for_each(|change| change.apply(&mut channels));
        channels
    }

    /// What the client listens to.
    pub(super) fn channels(&self) -> &[Channel] {
        self.listening.as_ref().map_or(&[], |listening| &listening.channels)
    }

    /// RowDescription of SELECT pg_listening_channels().
    pub(super) fn describe_channels(&mut self) {
        describe_channels(&mut self.client.output);
    }

    /// The answer to it. As in Postgres, what the running transaction changed is not in it.
    pub(super) fn list_channels(&mut self) {
        let names: Vec<String> = self.channels().iter().map(|channel| channel.name().to_owned()).collect();
        let count = names.len();
        for name in names {
            reply::row(&mut self.client.output, &[Some(name)]);
        }
        reply::complete(&mut self.client.output, &format!("SELECT {count}"));
        self.proxy.metrics.local();
    }

    /// Listens to what is wanted and not listened to yet, for sure: nothing that is committed from here on is missed.
    pub(super) async fn join(&mut self, wanted: &[Channel]) -> Result<(), ClientError> {
        let new: Vec<Channel> =
            wanted.iter().filter(|channel| !self.channels().contains(channel)).cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut tries = TRIES;
        let failure = loop {
            tries -= 1;
            match self.try_join(&new).await {
                Ok(()) => return Ok(()),
                Err(LinkError::Closed) if tries > 0 => {}
                Err(failure) => break failure,
            }
        };
        self.leave(&new).await;
        Err(match failure {
            LinkError::Failed(error) => error,
            LinkError::Closed => ClientError::error("08006", "the connection that listens was closed"),
        })
    }

    async fn try_join(&mut self, new: &[Channel]) -> Result<(), LinkError> {
        let servers = self.primaries();
        let links: Vec<_> = servers.iter().map(|server| self.link(server)).collect();
        let (hub, handle) = (&self.proxy.notify, &self.registration.handle);
        let fresh = || {
            let mailbox = hub.mailbox(handle.clone());
            Box::new(Listening { mailbox, channels: Vec::new(), links: Vec::new(), windows: Vec::new() })
        };
        let listening = self.listening.get_or_insert_with(fresh);
        if listening.channels.is_empty() {
            listening.links = links;
        } else if !fits(&listening.links, &servers) {
            // It does not hear all that it listens to: it will be told so.
            listening.mailbox.end(Ended::Lost("a shard".to_owned()));
        }
        let asked: Vec<Joined> =
            listening.links.iter().map(|link| link.join(new.to_vec(), &listening.mailbox)).collect();
        let mut outcome = Ok(());
        for joined in asked {
            outcome = outcome.and(joined.wait().await);
        }
        outcome?;
        listening.channels.extend_from_slice(new);
        Ok(())
    }

    /// Listens no more to what is not among these.
    pub(super) async fn keep_channels(&mut self, kept: &[Channel]) {
        let gone: Vec<Channel> =
            self.channels().iter().filter(|channel| !kept.contains(channel)).cloned().collect();
        if !gone.is_empty() {
            self.leave(&gone).await;
        }
    }

    async fn leave(&mut self, gone: &[Channel]) {
        let Some(listening) = &mut self.listening else { return };
        listening.channels.retain(|channel| !gone.contains(channel));
        if listening.channels.is_empty() {
            self.listening = None;
            return;
        }
        for link in &listening.links {
            link.leave(listening.mailbox.id(), gone.to_vec()).await;
        }
        let left = |name: &[u8]| gone.iter().any(|channel| channel.name().as_bytes() == name);
        listening.mailbox.retain(|name| !left(name));
    }

    /// The servers whose clients may notify this one.
    fn primaries(&self) -> Vec<Arc<Server>> {
        let mut servers: Vec<Arc<Server>> = Vec::new();
        for at in self.database.all_shards() {
            let primary = self.database.shard(at).primary();
            if !servers.iter().any(|known| Arc::ptr_eq(known, primary)) {
                servers.push(primary.clone());
            }
        }
        servers
    }

    fn link(&self, server: &Arc<Server>) -> Arc<Link> {
        self.proxy.notify.link(&self.proxy, &self.database.name, server, self.listening_login(server))
    }

    /// Who listens: whoever watches the server's health, or the client itself if no password is known for that.
    fn listening_login(&self, server: &Server) -> Login {
        let control = self.database.control_login().filter(|login| login.credential.is_some());
        let known = server.login.as_ref().or(control).cloned();
        known.unwrap_or_else(|| self.world.server_login(&self.database, &self.user))
    }

    /// After a reload: a client that does not listen to every primary would miss something.
    pub(super) fn recheck_links(&self) {
        if let Some(listening) = &self.listening
            && !fits(&listening.links, &self.primaries())
        {
            listening.mailbox.end(Ended::Lost("a shard that was configured anew".to_owned()));
        }
    }

    /// Whether there is something that the client should hear of now.
    pub(super) fn has_mail(&self) -> bool {
        self.listening.as_ref().is_some_and(|listening| listening.mailbox.has_mail())
            && self.transaction.is_none()
            && !self.skipping
    }

    /// Writes what came for the client. It is between transactions.
    pub(super) fn hand_over_mail(&mut self) {
        let Some(listening) = &self.listening else { return };
        if !listening.mailbox.has_mail() {
            return;
        }
        let utf8 = self.settings.value("client_encoding").is_none_or(is_utf8);
        let own = self.registration.key.pid;
        for mail in listening.mailbox.take() {
            if !utf8 && !mail.notification.is_ascii() {
                return listening.mailbox.end(Ended::Encoding);
            }
            let pid = match mail.notification.pid() {
                _ if mail.own => own,
                // Another server's process may have the number that this client was given.
                pid if pid == own => 0,
                pid => pid,
            };
            mail.notification.put(&mut self.client.output, pid);
        }
    }

    /// The same for a client that is idle, written through. Errors: it has missed something.
    pub(super) async fn tell_mail(&mut self) -> Result<(), End> {
        self.hand_over_mail();
        poll_fn(|cx| {
            // While it does not read, too.
            self.check_mailbox()?;
            self.client.poll_flush(cx).map_err(End::Client)
        })
        .await
    }

    fn check_mailbox(&self) -> Result<(), End> {
        let ended = self.listening.as_ref().and_then(|listening| listening.mailbox.ended());
        ended.map_or(Ok(()), |ended| Err(End::Fatal(ended_error(&ended))))
    }

    /// What the server does from here on is the client's own doing: so are its notifications, and what came before was
    /// somebody else's.
    pub(super) async fn open_window(&mut self, index: usize, access: Access) {
        let Some(listening) = self.listening.as_mut().filter(|_| access != Access::Read) else { return };
        let participant = &self.servers[index];
        let server = self.database.shard(participant.shard).primary();
        let Some(link) = listening.links.iter().find(|link| link.is_to(server)).cloned() else { return };
        let pid = participant.lease.pid();
        let mut windows = listening.windows.iter_mut();
        if let Some(open) = windows.find(|window| window.link.id == link.id && window.pid == pid) {
            open.settled = false;
            return;
        }
        if link.sync(&listening.mailbox).wait().await.is_ok() {
            let from = listening.mailbox.position();
            listening.windows.push(Window { link, pid, from, settled: false });
        }
    }

    /// A transaction has ended on the servers in hand: what it notified is heard before the client is told.
    pub(super) async fn settle_notifications(&mut self) {
        let Some(listening) = &mut self.listening else { return };
        let mailbox = &listening.mailbox;
        for window in listening.windows.iter_mut().filter(|window| !window.settled) {
            let _ = window.link.sync(mailbox).wait().await;
            mailbox.claim(window.from, window.link.id, window.pid);
            window.settled = true;
        }
    }

    /// The servers are somebody else's from here on.
    pub(super) fn close_windows(&mut self) {
        if let Some(listening) = &mut self.listening {
            listening.windows.clear();
        }
    }
}

pub(super) fn describe_channels(out: &mut Buffer) {
    reply::columns(out, &[("pg_listening_channels", reply::oid::TEXT)]);
}

/// Whether links are to these servers, and to no others.
fn fits(links: &[Arc<Link>], servers: &[Arc<Server>]) -> bool {
    links.len() == servers.len()
        && servers.iter().all(|server| links.iter().any(|link| link.is_to(server) && link.is_open()))
}

fn ended_error(ended: &Ended) -> ClientError {
    match ended {
        Ended::Lost(server) => {
            let message = format!(
                "terminating connection: the connection that listens to {server} was lost, and notifications with it"
            );
            ClientError::fatal("57P01", message).hint("Connect again, and LISTEN again.")
        }
        Ended::TooMany => {
            ClientError::fatal("54000", "terminating connection: too many notifications were not read")
                .hint("A client that listens must read, and not stay in a transaction for long.")
        }
        Ended::Encoding => ClientError::fatal(
            "22P05",
            "terminating connection: a notification can't be converted to client_encoding",
        )
        .hint("Set client_encoding to UTF8."),
    }
}
