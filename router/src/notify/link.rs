//! One listening connection, as sessions see it.

use super::task::{self, Task};
use super::{Channel, ListenerId, Mailbox};
use crate::error::ClientError;
use crate::proxy::Proxy;
use shardway_pool::Login;
use shardway_pool::shard::Server;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A link's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(pub u32);

/// Why a link did not do what it was asked for.
#[derive(Clone, Debug)]
pub enum LinkError {
    /// It was closed, since nobody needed it any more: another one may be asked.
    Closed,
    /// It can't be opened, or was lost.
    Failed(ClientError),
}

/// What sessions ask for.
#[derive(Debug)]
pub(super) enum Request {
    /// To be entered, once the server listens for sure.
    Join {
        /// What to listen to; nothing is as good as any, and says when all that was committed so far has been heard.
        channels: Vec<Channel>,
        /// Whom to tell.
        mailbox: Arc<Mailbox>,
        /// The answer.
        done: Done,
    },
    /// To be taken off channels, or (`None`) all.
    Leave {
        /// Who.
        listener: ListenerId,
        /// The channels.
        channels: Option<Vec<Channel>>,
        /// Gone when that is done.
        done: Option<oneshot::Sender<()>>,
    },
}

pub(super) type Done = oneshot::Sender<Result<(), LinkError>>;

/// An answer that is on its way.
#[derive(Debug)]
pub struct Joined(oneshot::Receiver<Result<(), LinkError>>);

impl Joined {
    /// Waits for it.
    pub async fn wait(self) -> Result<(), LinkError> {
        self.0.await.unwrap_or(Err(LinkError::Closed))
    }
}

/// A listening connection. It lives in a task of its own, with the control plane.
#[derive(Debug)]
pub struct Link {
    /// Its number.
    pub id: LinkId,
    server: Arc<Server>,
    requests: mpsc::UnboundedSender<Request>,
}

impl Link {
    /// Opens one in the background.
    pub(super) fn open(
        id: LinkId,
        proxy: &Arc<Proxy>,
        database: &str,
        server: &Arc<Server>,
        login: Login,
    ) -> Self {
        let (requests, incoming) = mpsc::unbounded_channel();
        let task = Task {
            id,
            proxy: Arc::downgrade(proxy),
            database: database.to_owned(),
            server: server.clone(),
            login,
            timeout: proxy.world().config.pool.server_connect_timeout,
            incoming,
        };
        proxy.control.spawn(task::run(task));
        Self { id, server: server.clone(), requests }
    }

    /// Whether it can be asked.
    pub fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Whether it listens to this server.
    pub fn is_to(&self, server: &Arc<Server>) -> bool {
        Arc::ptr_eq(&self.server, server)
    }

    /// Has a client entered. All that it is told of was committed after this was asked, and it is told of all that is
    /// committed after this was answered.
    pub fn join(&self, channels: Vec<Channel>, mailbox: &Arc<Mailbox>) -> Joined {
        let (done, joined) = oneshot::channel();
        let _ = self.requests.send(Request::Join { channels, mailbox: mailbox.clone(), done });
        Joined(joined)
    }

    /// Answered when all that was committed before has been heard.
    pub fn sync(&self, mailbox: &Arc<Mailbox>) -> Joined {
        self.join(Vec::new(), mailbox)
    }

    /// Has a client taken off channels; once this is through nothing more is heard of them.
    pub async fn leave(&self, listener: ListenerId, channels: Vec<Channel>) {
        let (done, left) = oneshot::channel();
        let request = Request::Leave { listener, channels: Some(channels), done: Some(done) };
        if self.requests.send(request).is_ok() {
            let _ = left.await;
        }
    }

    /// Has a client taken off all.
    pub fn forget(&self, listener: ListenerId) {
        let _ = self.requests.send(Request::Leave { listener, channels: None, done: None });
    }
}
