//! One connection through a middle: two sockets and a pump for each direction.

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    Cut, Shared, Way,
    framer::{Framer, Packet},
    pump::{Ended, Pump},
};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has not said so yet.
    Unknown,
    /// A session: a client's, or one that serves clients.
    Session,
    /// Shardway's own: health, catalogs, notifications. Known once it has introduced itself.
    Control,
    /// A cancel request.
    Cancel,
}

/// What both directions of a connection know of it.
#[derive(Debug)]
pub(super) struct About {
    pub(super) kind: Kind,
    /// What the server's direction is to be read as, where the client's has just said so.
    pub(super) server: Option<Framer>,
    /// As to the client's direction.
    pub(super) client: Option<Framer>,
}

/// The application name that Shardway's own connections go by, and what they say first where they have logged in
/// as clients' connections do.
const CONTROL: &str = "shardway";
const INTRODUCTION: &[u8] = b"SET application_name = 'shardway";

impl About {
    /// A client's Query, as far as it is there.
    pub(super) fn hear_query(&mut self, sql: &[u8]) {
        if sql.starts_with(INTRODUCTION) {
            self.kind = Kind::Control;
        }
    }

    /// A client's packet without a tag.
    pub(super) fn hear(&mut self, packet: &Packet) {
        match packet {
            Packet::Encryption => self.server = Some(Framer::Answers(1)),
            Packet::Cancel => {
                self.kind = Kind::Cancel;
                self.client = Some(Framer::Opaque);
            }
            Packet::Startup(parameters) => {
                let control = parameters.iter().any(|(n, v)| n == "application_name" && v == CONTROL);
                self.kind = if control { Kind::Control } else { Kind::Session };
                self.client = Some(Framer::Tagged);
            }
        }
    }
}

/// A connection's common knowledge.
#[derive(Clone)]
pub(super) struct Link(Arc<Mutex<About>>);

impl Link {
    pub(super) fn about(&self) -> MutexGuard<'_, About> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes everything between two sockets until both are done, or something cuts them. Errors: a socket's.
pub(super) async fn run(
    mut client: TcpStream,
    mut server: TcpStream,
    shared: &Arc<Shared>,
    cut: impl Future<Output = Cut>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let link = Link(Arc::new(Mutex::new(About { kind: Kind::Unknown, server: None, client: None })));
    let how = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump::new(from_client, to_server, Way::FromClient, link.clone(), shared).run();
        let down = Pump::new(from_server, to_client, Way::FromServer, link, shared).run();
        tokio::select! {
            how = both(up, down) => how,
            how = cut => Some(how),
        }
    };
    match how {
        Some(Cut::Reset) => reset(&client).and(reset(&server)),
        Some(Cut::Fin) => {
            tokio::join!(finish(client), finish(server));
            Ok(())
        }
        None => Ok(()),
    }
}

/// Waits for the ends of both directions, or for a cut in one.
async fn both(up: impl Future<Output = Ended>, down: impl Future<Output = Ended>) -> Option<Cut> {
    let cut = async |direction| match direction {
        Ended::Cut(how) => Some(how),
        // A socket that failed has nothing more to say on either side.
        Ended::Failed => Some(Cut::Reset),
        Ended::Whole => None,
    };
    tokio::pin!(up, down);
    tokio::select! {
        ended = &mut up => match cut(ended).await {
            Some(how) => Some(how),
            None => cut(down.await).await,
        },
        ended = &mut down => match cut(ended).await {
            Some(how) => Some(how),
            None => cut(up.await).await,
        },
    }
}

/// Has the socket close with RST once it is dropped.
pub(super) fn reset(socket: &TcpStream) -> io::Result<()> {
    socket.set_zero_linger()
}

/// Closes with FIN: a socket that is dropped with something unread in it would send RST.
async fn finish(mut socket: TcpStream) {
    let _ = socket.shutdown().await;
    let mut space = [0; 4096];
    let drain = async { while socket.read(&mut space).await.is_ok_and(|n| n > 0) {} };
    let _ = timeout(Duration::from_secs(5), drain).await;
}
