//! A link to Redis: a connection that hears the channel, one that carries commands, and the commands.
//!
//! Two connections, because an entry may be large: news must not queue behind it, and Redis closes a subscriber that
//! has too much on the way to it.

use std::convert::Infallible;
use std::hash::Hasher;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fnv::FnvHasher;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, cmd};
use tokio::sync::watch;

use super::super::LOST_WRITE;
use super::super::deps::Stripe;
use super::hear::Ear;
use super::pause::Pause;
use super::wire::Marks;

/// The channel on which writes are told.
pub(super) const NEWS: &str = "shardway:1:news";

const EPOCH: &str = "shardway:1:epoch";

/// Connecting, and any command at all, takes no longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a link is of no use, or why a command of it did nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("the channel was closed")]
    Closed,
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("Redis holds, under our names, what we never write")]
    Foreign,
    #[error("the link failed while it was coming up")]
    Superseded,
}

/// Tells one link from the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LinkId(pub(super) u64);

/// A step of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Step {
    /// It is about to be forwarded.
    Begin,
    /// Its outcome is known.
    Release,
}

/// What the round trip before a fill brings.
pub(super) struct Reply {
    pub(super) entry: Option<Vec<u8>>,
    pub(super) left: Duration,
    pub(super) clean: bool,
    pub(super) marks: Marks,
}

/// Both connections, up.
pub(super) struct Link {
    pub(super) id: LinkId,
    commands: MultiplexedConnection,
    /// Only held: the subscription ends with it.
    _channel: MultiplexedConnection,
    scripts: Scripts,
    /// Set by readers that waited in vain.
    pub(super) pause: Pause,
    beats: AtomicU64,
    heard: watch::Receiver<u64>,
}

/// Names that Redis gave to our scripts. Should it forget them, commands fail, and the next link gives them again.
struct Scripts {
    read: String,
    begin: String,
    release: String,
    epoch: String,
}

impl Link {
    /// Connects and subscribes.
    pub(super) async fn open(
        client: &Client,
        id: LinkId,
        ear: Ear,
        heard: watch::Receiver<u64>,
    ) -> Result<Self, LinkError> {
        let config = || {
            let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE));
            config.set_response_timeout(Some(PATIENCE))
        };
        let hears = config().set_push_sender(move |push| {
            ear.hear(&push);
            Ok::<_, Infallible>(())
        });
        let mut channel = client.get_multiplexed_async_connection_with_config(&hears).await?;
        channel.subscribe(&[NEWS, &beat_channel(id)]).await?;
        let mut commands = client.get_multiplexed_async_connection_with_config(&config()).await?;
        let scripts = Scripts::load(&mut commands).await?;
        let (pause, beats) = (Pause::new(), AtomicU64::new(0));
        Ok(Self { id, commands, _channel: channel, scripts, pause, beats, heard })
    }

    /// One round trip: the entry, versions, and marks, all of one moment.
    pub(super) async fn read(&self, key: &[u8], stripes: &[Stripe]) -> Result<Reply, LinkError> {
        let mut command = script(&self.scripts.read, 2 + 2 * stripes.len());
        command.arg(entry_name(key)).arg(EPOCH);
        name_stripes(&mut command, stripes);
        command.arg(fresh().as_slice());
        let (entry, left, clean, marks): (_, i64, i64, Vec<Vec<u8>>) =
            command.query_async(&mut self.commands.clone()).await?;
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        let marks = Marks::parse(&marks).ok_or(LinkError::Foreign)?;
        Ok(Reply { entry, left, clean: clean == 1, marks })
    }

    /// A step of a write: new versions, marks, news.
    pub(super) async fn announce(
        &self,
        step: Step,
        token: u64,
        stripes: &[Stripe],
        news: &[u8],
    ) -> Result<(), LinkError> {
        let sha = if step == Step::Begin { &self.scripts.begin } else { &self.scripts.release };
        let mut command = script(sha, 2 * stripes.len());
        name_stripes(&mut command, stripes);
        command.arg(token.to_le_bytes().as_slice()).arg(fresh().as_slice());
        if step == Step::Begin {
            command.arg(LOST_WRITE.as_secs());
        }
        command.arg(NEWS).arg(news);
        self.run(command).await
    }

    /// Voids every entry.
    pub(super) async fn new_epoch(&self, news: &[u8]) -> Result<(), LinkError> {
        let mut command = script(&self.scripts.epoch, 1);
        command.arg(EPOCH).arg(fresh().as_slice()).arg(NEWS).arg(news);
        self.run(command).await
    }

    /// Writes an entry.
    pub(super) async fn store(&self, name: &str, entry: &[u8], ttl: Duration) -> Result<(), LinkError> {
        let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut command = cmd("SET");
        command.arg(name).arg(entry).arg("PX").arg(milliseconds);
        self.run(command).await
    }

    /// Sends a heartbeat round: through the commands' connection and back over the channel. When it is heard, so is
    /// all news that was published before it.
    pub(super) async fn beat(&self) -> Result<(), LinkError> {
        let beat = 1 + self.beats.fetch_add(1, Relaxed);
        let mut command = cmd("PUBLISH");
        command.arg(beat_channel(self.id)).arg(beat.to_le_bytes().as_slice());
        self.run(command).await?;
        let mut heard = self.heard.clone();
        let heard = tokio::time::timeout(PATIENCE, heard.wait_for(|heard| *heard >= beat)).await;
        heard.map_err(|_| LinkError::TimedOut(PATIENCE))?.map_err(|_| LinkError::Closed)?;
        Ok(())
    }

    async fn run(&self, command: Cmd) -> Result<(), LinkError> {
        Ok(command.query_async(&mut self.commands.clone()).await?)
    }
}

impl Scripts {
    async fn load(commands: &mut MultiplexedConnection) -> Result<Self, RedisError> {
        let mut load = async |text: &str| cmd("SCRIPT").arg("LOAD").arg(text).query_async(commands).await;
        Ok(Self {
            read: load(include_str!("../scripts/read.lua")).await?,
            begin: load(include_str!("../scripts/begin.lua")).await?,
            release: load(include_str!("../scripts/release.lua")).await?,
            epoch: load(include_str!("../scripts/epoch.lua")).await?,
        })
    }
}

/// Where an entry is. Two keys may share a name and then take turns: an entry holds its whole key.
pub(super) fn entry_name(key: &[u8]) -> String {
    let mut hasher = FnvHasher::default();
    hasher.write(key);
    format!("shardway:1:e:{:016x}", hasher.finish())
}

fn beat_channel(link: LinkId) -> String {
    format!("shardway:1:link:{:016x}", link.0)
}

fn script(sha: &str, keys: usize) -> Cmd {
    let mut command = cmd("EVALSHA");
    command.arg(sha).arg(keys);
    command
}

fn name_stripes(command: &mut Cmd, stripes: &[Stripe]) {
    for kind in ['v', 'd'] {
        for stripe in stripes {
            command.arg(format!("shardway:1:{kind}:{}", stripe.0));
        }
    }
}

/// A version that was never there before.
fn fresh() -> [u8; 8] {
    rand::random()
}
