//! A man in the middle: between Shardway and a server, or between a client and Shardway, it cuts, stalls, alters and
//! reshapes what passes, at the very byte or message that a test names.
//!
//! ```no_run
//! # async fn test() {
//! use shardway_tests::{Cut, World};
//!
//! let world = World::builder().middles().start();
//! // The third row that a server gives a client ends after seven bytes, and so does the connection.
//! let cut = world.middle(0).from_server().nth(3, b'D').inside(7).cut(Cut::Reset);
//! let mut raw = world.raw("app").await;
//! raw.query("SELECT generate_series(1, 9)").send().await;
//! cut.happened().await;
//! # }
//! ```
//!
//! A fault lasts as long as its [`Fault`] is held: dropped, it is lifted, and what it stalled goes on. It strikes once,
//! on the first connection where its point is reached; messages and bytes are counted from when it was asked for, over
//! all connections that it [is about](Spot::on). The middle works in a thread of its own, so that a shared world may
//! have one, and a test that blocks does not stop it.

mod fault;
mod framer;
mod link;
mod pump;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use shardway_cluster::HOST;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    time::timeout,
};

pub use fault::{Cut, Fault, Shape, Spot};
pub use link::Kind;

use crate::{must, wait::PATIENCE};
use fault::Faults;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From who connected.
    FromClient,
    /// From who was connected to.
    FromServer,
}

/// The connections that a middle has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// All that were ever made.
    pub made: usize,
    /// Those that are there now.
    pub open: usize,
}

/// A man in the middle; see the module. Dropping it cuts all that goes through it.
pub struct Middle {
    port: u16,
    shared: Arc<Shared>,
    // Its end ends the thread.
    _life: oneshot::Sender<()>,
}

/// What the connections and those who command have in common.
pub(crate) struct Shared {
    target: u16,
    faults: Mutex<Faults>,
    seen: watch::Sender<Seen>,
    /// Counts up to cut all connections that are there.
    cuts: watch::Sender<(u64, Cut)>,
}

impl Shared {
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Middle {
    /// In front of a port of this machine.
    ///
    /// # Panics
    /// The system has no port or no thread for it.
    #[track_caller]
    pub fn before(target: u16) -> Middle {
        let listener = must("listening", std::net::TcpListener::bind((HOST, 0)));
        let port = must("listening", listener.local_addr()).port();
        must("listening", listener.set_nonblocking(true));
        let (seen, cuts) = (watch::Sender::new(Seen::default()), watch::Sender::new((0, Cut::Reset)));
        let shared = Arc::new(Shared { target, faults: Mutex::default(), seen, cuts });
        let (life, end) = oneshot::channel();
        let worker = shared.clone();
        let runtime = must("a runtime", tokio::runtime::Builder::new_current_thread().enable_all().build());
        let work = move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(listener, worker) => {}
                    _ = end => {}
                }
            });
        };
        must("a thread", thread::Builder::new().name("middle".into()).spawn(work));
        Middle { port, shared, _life: life }
    }

    /// Where to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A fault in what the server says.
    pub fn from_server(&self) -> Spot<'_> {
        Spot::new(self, Way::FromServer)
    }

    /// A fault in what the client says.
    pub fn from_client(&self) -> Spot<'_> {
        Spot::new(self, Way::FromClient)
    }

    /// Cuts all connections that are there.
    pub fn cut_all(&self, how: Cut) {
        self.shared.cuts.send_modify(|cut| *cut = (cut.0 + 1, how));
    }

    /// Cuts every new connection before the server hears of it, as long as this is held.
    pub fn refuse(&self) -> Fault<'_> {
        fault::refuse(self)
    }

    /// The connections seen so far.
    pub fn seen(&self) -> Seen {
        *self.shared.seen.borrow()
    }

    /// Waits until the connections are like this.
    ///
    /// # Panics
    /// They are not within ten seconds.
    pub async fn wait_until(&self, what: &str, like: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.shared.seen.subscribe();
        let waited = timeout(PATIENCE, seen.wait_for(like)).await;
        match waited {
            Ok(Ok(seen)) => *seen,
            _ => panic!("waited {PATIENCE:?} for {what}; the connections are {:?}", self.seen()),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = must("listening", TcpListener::from_std(listener));
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                shared.seen.send_modify(|seen| *seen = Seen { made: seen.made + 1, open: seen.open + 1 });
                let shared = shared.clone();
                tokio::spawn(async move {
                    // How it ends is seen on both sides.
                    let _ = connect_through(client, &shared).await;
                    shared.seen.send_modify(|seen| seen.open -= 1);
                });
            }
            // Out of descriptors, most likely.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connect_through(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    if shared.faults().refuses() {
        return link::reset(&client);
    }
    let mut cuts = shared.cuts.subscribe();
    let number = cuts.borrow_and_update().0;
    let server = match TcpStream::connect((HOST, shared.target)).await {
        Ok(server) => server,
        Err(_) => return link::reset(&client),
    };
    let cut = cut_all(&mut cuts, number);
    link::run(client, server, shared, cut).await
}

/// Waits for a cut of all connections.
async fn cut_all(cuts: &mut watch::Receiver<(u64, Cut)>, number: u64) -> Cut {
    match cuts.wait_for(|(later, _)| *later > number).await {
        Ok(cut) => cut.1,
        Err(_) => Cut::Reset,
    }
}
