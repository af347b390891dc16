//! The second level: answers and versions in Redis, shared by all proxies.
//!
//! # In Redis
//!
//! | key                       | value                                                                        |
//! |---------------------------|------------------------------------------------------------------------------|
//! | `shardway:1:epoch`        | random; every valid entry carries it                                         |
//! | `shardway:1:v:<stripe>`   | random; the stripe's version                                                 |
//! | `shardway:1:d:<stripe>`   | sorted set of writes under way, by the second (of Redis) their mark expires  |
//! | `shardway:1:e:<hash>`     | an entry: epoch, stripes with versions, the whole key, the answer            |
//! | `shardway:1:news`         | the channel on which writes are told                                         |
//! | `shardway:1:link:<id>`    | a channel for the heartbeat of one proxy's link                              |
//!
//! The `1` is the format's version. Epoch and versions that are missing are made anew at random, so Redis may evict
//! or lose what it likes: it costs misses, never an old answer.
//!
//! # The rule
//!
//! As in process: a write marks and bumps before it is forwarded, bumps and unmarks after its outcome; a fill reads
//! versions and marks before its query, in the one round trip that also looks for the answer. A mark outlives a
//! proxy that died by ten minutes, in which nobody fills what it touched.
//!
//! # The link
//!
//! Two connections make a [`Link`]: one hears the channel, one carries commands. They live and die
//! together and never reconnect by themselves, so nothing is missed in silence. [`tend`] brings up a new link in this
//! order, and the order is the argument:
//!
//! 1. the channel is subscribed to;
//! 2. the link is installed: from here on writes are announced through it;
//! 3. a new epoch is set in Redis and told to all. Whoever did not find a link (before 2) and went unannounced had
//!    committed before it looked, so its old values are voided now, in L2 and in every L1;
//! 4. our own heartbeat is heard over the channel: both connections lead to one Redis;
//! 5. this process serves again, beginning with nothing.
//!
//! Any command of a write that fails takes the link down at once: nothing is served until all of this was done again.

mod hear;
mod link;
mod pause;
mod tend;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::{Client, IntoConnectionInfo, ProtocolVersion, RedisResult};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

use super::deps::{ReadSet, Stripe};
use super::local::Local;
use link::{Link, LinkError, LinkId, Reply};
use wire::{Change, Header, Message};

pub(super) use link::Step;
pub(super) use wire::Marks;

/// A reader waits no longer for Redis than Postgres would take.
const READ_TIMEOUT: Duration = Duration::from_millis(50);

/// A writer waits for Redis this long, and then takes the link down, so the next one does not wait at all.
const WRITE_TIMEOUT: Duration = Duration::from_millis(250);

/// A background write of an entry may take this long.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of entries that wait to be written to Redis; more are not kept there.
const STORE_BACKLOG: u32 = 8 << 20;

/// What an entry in that backlog counts for at least.
const STORE_SHARE: usize = 4 << 10;

/// The second level of one process.
pub(super) struct L2 {
    /// Names us to the other proxies, for as long as this process lives.
    id: u64,
    local: Arc<Local>,
    client: Client,
    runtime: Handle,
    state: Mutex<State>,
    up: watch::Sender<bool>,
    /// Wakes the task that tends the link: it failed, or we retire.
    disturbed: Notify,
    backlog: Arc<Semaphore>,
}

/// The local epoch is resumed and suspended only under this lock, so that the two cannot disagree.
#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    retired: bool,
}

impl State {
    fn is_current(&self, link: LinkId) -> bool {
        self.link.as_ref().is_some_and(|current| current.id == link)
    }
}

/// What one round trip found.
pub(super) enum Read {
    /// The answer, and the time it has left.
    Hit { answer: Bytes, left: Duration },
    /// No answer, nothing dirty: what a fill is valid at.
    Miss(Marks),
}

/// The client for a URL. The channel and the commands share one protocol, in which news are pushed (Redis 6).
pub(super) fn client(url: &str) -> RedisResult<Client> {
    let info = url.into_connection_info()?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(settings))
}

impl L2 {
    /// Begins without a link; a task brings one up. The local level must be suspended.
    pub(super) fn start(client: Client, local: Arc<Local>) -> Arc<Self> {
        let l2 = Arc::new(Self {
            id: rand::random(),
            local,
            client,
            runtime: Handle::current(),
            state: Mutex::default(),
            up: watch::Sender::new(false),
            disturbed: Notify::new(),
            backlog: Arc::new(Semaphore::new(STORE_BACKLOG as usize)),
        });
        l2.runtime.spawn(tend::tend(l2.clone()));
        l2
    }

    /// Looks for an answer, and for what a fill would be valid at, in one round trip. `None`: something is dirty,
    /// or Redis is slow or gone.
    pub(super) async fn read(&self, key: &[u8], reads: &ReadSet) -> Option<Read> {
        let link = self.current().filter(|link| !link.pause.is_on())?;
        match timeout(READ_TIMEOUT, link.read(key, &reads.stripes)).await {
            Ok(Ok(reply)) => judge(reply, key, reads),
            Ok(Err(error)) => {
                self.fail(link.id, &error);
                None
            }
            Err(_) => {
                link.pause.begin();
                None
            }
        }
    }

    /// Tells Redis, and through it the others, of a step of a write. Returns when that is done, or when it can't be
    /// and the link is down: then nothing is served until the next link's epoch voids what this write made old.
    pub(super) async fn announce(&self, step: Step, token: u64, stripes: &[Stripe]) {
        let news = self.message(Change::Stripes(stripes.to_vec()));
        // A link that came up while we waited for the last one may have set its epoch before our write's commit, so
        // this goes on until one link has taken it or there is none. A new one takes its time to come up.
        while let Some(link) = self.current() {
            match within(WRITE_TIMEOUT, link.announce(step, token, stripes, &news)).await {
                Ok(()) => return,
                Err(error) => self.fail(link.id, &error),
            }
        }
    }

    /// Nobody saw the end of a write: its mark, under a name that nobody will remove, counts from now.
    pub(super) fn announce_lost(l2: &Arc<Self>, stripes: Vec<Stripe>) {
        let this = l2.clone();
        l2.runtime.spawn(async move { this.announce(Step::Begin, rand::random(), &stripes).await });
    }

    /// Writes an entry in the background, or doesn't: readers judge it by its marks, so it may come at any time.
    pub(super) fn store(
        self: &Arc<Self>,
        key: &[u8],
        reads: &ReadSet,
        marks: &Marks,
        answer: &[u8],
        ttl: Duration,
    ) {
        let size = u32::try_from((key.len() + answer.len()).max(STORE_SHARE)).unwrap_or(u32::MAX);
        let Ok(room) = self.backlog.clone().try_acquire_many_owned(size.min(STORE_BACKLOG)) else { return };
        let Some(link) = self.current() else { return };
        let entry = Header { stripes: reads.stripes, marks, key }.encode(answer);
        let name = link::entry_name(key);
        self.runtime.spawn(async move {
            if let Err(error) = within(STORE_TIMEOUT, link.store(&name, &entry, ttl)).await {
                tracing::debug!(%error, "cache: an entry was not written to Redis");
            }
            drop(room);
        });
    }

    /// Ends for good; the local level stays suspended.
    pub(super) fn retire(&self) {
        let mut state = self.state();
        state.retired = true;
        self.take_down(&mut state);
    }

    pub(super) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    fn current(&self) -> Option<Arc<Link>> {
        self.state().link.clone()
    }

    fn is_retired(&self) -> bool {
        self.state().retired
    }

    /// Writes are announced through this link from now on. False: we have retired.
    fn install(&self, link: &Arc<Link>) -> bool {
        let mut state = self.state();
        state.link = Some(link.clone()).filter(|_| !state.retired);
        state.link.is_some()
    }

    /// The link has voided all that was before it. False: it has failed since.
    fn serve(&self, link: &Link) -> bool {
        let state = self.state();
        let current = state.is_current(link.id);
        if current {
            self.local.resume();
            self.up.send_replace(true);
        }
        current
    }

    /// Takes this link down, if it is still the current one.
    fn fail(&self, link: LinkId, error: &LinkError) {
        let mut state = self.state();
        if !state.is_current(link) {
            return;
        }
        self.take_down(&mut state);
        // Writers wait for this lock and shall not wait for the log as well.
        drop(state);
        tracing::warn!(%error, "cache: lost Redis; answers come from Postgres until it is back");
    }

    fn is_current(&self, link: LinkId) -> bool {
        self.state().is_current(link)
    }

    fn take_down(&self, state: &mut State) {
        state.link = None;
        self.local.suspend();
        self.up.send_replace(false);
        self.disturbed.notify_one();
    }

    fn message(&self, change: Change) -> Vec<u8> {
        Message { sender: self.id, change }.encode()
    }

    /// Nothing panics under this lock, and a poisoned one would hold nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a reply means for who asked with this key.
fn judge(reply: Reply, key: &[u8], reads: &ReadSet) -> Option<Read> {
    if !reply.clean {
        return None;
    }
    let header = Header { stripes: reads.stripes, marks: &reply.marks, key };
    let found = reply.entry.and_then(|entry| header.answer_in(&entry).map(|at| Bytes::from(entry).slice(at)));
    match found {
        Some(answer) if !reply.left.is_zero() => Some(Read::Hit { answer, left: reply.left }),
        _ => Some(Read::Miss(reply.marks)),
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    timeout(time, work).await.unwrap_or(Err(LinkError::TimedOut(time)))
}

#[cfg(test)]
impl L2 {
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Returns when all news that was published before has been heard.
    pub(super) async fn hear_all(&self) {
        self.current().expect("the link is up").beat().await.expect("the link works");
    }

    /// Returns when no entry waits to be written any more.
    pub(super) async fn store_all(&self) {
        drop(self.backlog.acquire_many(STORE_BACKLOG).await);
    }

    /// Where the answer to this key is.
    pub(super) fn entry_name(key: &[u8]) -> String {
        link::entry_name(key)
    }

    /// The link fails now.
    pub(super) fn cut(&self) {
        let link = self.current().expect("the link is up");
        self.fail(link.id, &LinkError::Closed);
    }
}
