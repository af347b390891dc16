//! What signals ask for, and the way to the process's end.
//!
//! | signal | asks for | by a `pgbouncer.ini` |
//! |---|---|---|
//! | HUP | RELOAD | the same |
//! | USR1, USR2 | PAUSE, RESUME | the same |
//! | TERM | clients finish their transactions and go; nobody else comes in. A second one: QUIT | SHUTDOWN WAIT_FOR_CLIENTS; a second one: QUIT |
//! | INT | QUIT | SHUTDOWN WAIT_FOR_SERVERS; a second one: QUIT |
//! | QUIT | the end, at once | the same |

use crate::admin::standing;
use crate::listener::SocketFile;
use crate::proxy::{Phase, Proxy};
use crate::reload;
use crate::session::FIRST_WORDS;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often it is looked whether clients have gone.
const LOOK: Duration = Duration::from_millis(10);

/// Every signal that means something.
struct Signals {
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
    term: Signal,
    int: Signal,
    quit: Signal,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Reload,
    Pause,
    Resume,
    /// To go on to a phase, if that is nearer to the end.
    End(Phase),
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// The next one. `phase` is how near the end is.
    async fn next(&mut self, as_pgbouncer: bool, phase: Phase) -> Asked {
        let end = |phase_asked| Asked::End(if phase.is_ending() { Phase::Stopping } else { phase_asked });
        tokio::select! {
            _ = self.hup.recv() => Asked::Reload,
            _ = self.usr1.recv() => Asked::Pause,
            _ = self.usr2.recv() => Asked::Resume,
            _ = self.term.recv() => end(if as_pgbouncer { Phase::Leaving } else { Phase::Draining }),
            _ = self.int.recv() => end(if as_pgbouncer { Phase::Releasing } else { Phase::Stopping }),
            _ = self.quit.recv() => Asked::End(Phase::Stopping),
        }
    }
}

/// Does what signals and admins ask for until all is to stop. `files` go when nobody is let in any more. Errors: signals can't be
/// had.
pub async fn until_the_end(proxy: &Arc<Proxy>, files: Vec<SocketFile>) -> io::Result<()> {
    let mut signals = Signals::listen()?;
    let mut files = Some(files);
    let (mut phase, mut late, mut drains) = (proxy.phase(), None, false);
    loop {
        let now = *phase.borrow_and_update();
        if now.is_ending() && !std::mem::replace(&mut drains, true) {
            tracing::info!(clients = proxy.connections.load(Ordering::Acquire), "draining");
        }
        if now.is_ending() && !now.lets_admins_in() {
            drop(files.take());
        }
        if matches!(now, Phase::Releasing | Phase::Draining) && late.is_none() {
            late = drain_limit(proxy);
            tokio::spawn(wake_those_who_are_new(proxy.clone()));
        }
        if now == Phase::Stopping {
            return Ok(());
        }
        let as_pgbouncer = proxy.world().config.pgbouncer.is_some();
        tokio::select! {
            asked = signals.next(as_pgbouncer, now) => act(proxy, asked).await,
            _ = phase.changed() => {}
            () = have_left(proxy), if now.is_ending() => return Ok(()),
            () = reached(late) => {
                tracing::warn!("shutdown_timeout: clients are closed in the middle of their transactions");
                return Ok(());
            }
        }
    }
}

/// Has those who came in last look whether they may stay.
async fn wake_those_who_are_new(proxy: Arc<Proxy>) {
    tokio::time::sleep(FIRST_WORDS).await;
    proxy.wake_clients();
}

async fn act(proxy: &Arc<Proxy>, asked: Asked) {
    tracing::info!("a signal asks for: {asked:?}");
    match asked {
        Asked::Reload => {
            // Its outcome is logged. It goes on beside what comes next.
            let proxy = proxy.clone();
            tokio::spawn(async move { reload::reload(&proxy).await });
        }
        Asked::Pause => told(standing::begin_pause(proxy, None)),
        Asked::Resume => told(standing::resume(proxy, None)),
        Asked::End(phase @ (Phase::Releasing | Phase::Draining)) => standing::drain(proxy, phase),
        Asked::End(phase) => proxy.enter(phase),
    }
}

fn told(outcome: Result<(), crate::error::ClientError>) {
    if let Err(error) = outcome {
        tracing::info!("{}", error.message);
    }
}

/// When clients that are in a transaction are waited for no longer; `None`: they are.
fn drain_limit(proxy: &Proxy) -> Option<Instant> {
    let limit = proxy.world().config.server.shutdown_timeout;
    (!limit.is_zero()).then(|| Instant::now() + limit)
}

async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Ready when nobody is connected. Admins may watch servers being released, and are not waited for.
async fn have_left(proxy: &Proxy) {
    let admins = || if proxy.stage() == Phase::Releasing { proxy.admin.consoles_open() } else { 0 };
    while proxy.connections.load(Ordering::Acquire) > admins() {
        tokio::time::sleep(LOOK).await;
    }
}
