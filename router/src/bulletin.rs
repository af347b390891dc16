//! Proxies tell each other through Redis that a schema has changed, so that each reads it again.
//!
//! It has a connection of its own, and works whether answers are cached or not. What is told while a proxy is cut off it
//! does not hear; so it reads every schema again when it is back.

use crate::cache::redis_client;
use crate::proxy::Proxy;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value, cmd};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The channel. The number is the format's version.
const CHANNEL: &str = "shardway:1:schemas";

/// How long Redis may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a client waits for the news of its change to be out.
const TELLING: Duration = Duration::from_millis(250);

/// Between two looks at a connection on which nothing is heard.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Before an attempt at a new connection, and the longest that this grows to.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A proxy's place on the channel.
#[derive(Default)]
pub struct Bulletin {
    /// The connection, while there is one.
    link: Mutex<Option<Link>>,
}

/// A connection, and how this proxy is named on it.
#[derive(Clone)]
struct Link {
    id: u64,
    connection: MultiplexedConnection,
}

impl Bulletin {
    fn link(&self) -> Option<Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, link: Option<Link>) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// Tells the others that a database's schema has changed, if there is a way to.
    pub async fn tell(&self, database: &str) {
        let Some(mut link) = self.link() else { return };
        let message = [&link.id.to_le_bytes()[..], database.as_bytes()].concat();
        let mut command = cmd("PUBLISH");
        command.arg(CHANNEL).arg(message);
        let told = command.query_async::<i64>(&mut link.connection);
        if !matches!(tokio::time::timeout(TELLING, told).await, Ok(Ok(_))) {
            tracing::warn!(database, "other proxies were not told of the new schema: Redis does not answer");
        }
    }
}

/// Hears what others tell, for as long as the proxy is there.
pub async fn listen(proxy: Weak<Proxy>) {
    let mut pause = FIRST_PAUSE;
    while let Some(this) = proxy.upgrade() {
        if let Some(url) = this.world().config.cache.redis_url.clone() {
            match hear(&this, &url).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => tracing::debug!("news of schemas: {error}"),
            }
            this.bulletin.put(None);
        }
        drop(this);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Until the connection is lost, or another one is configured.
async fn hear(proxy: &Arc<Proxy>, url: &str) -> Result<(), redis::RedisError> {
    let (ear, mut heard) = unbounded_channel();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
        .set_push_sender(ear);
    let client = redis_client(url)?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    connection.subscribe(CHANNEL).await?;
    let link = Link { id: rand::random(), connection };
    proxy.bulletin.put(Some(link.clone()));
    // What was told before is not heard any more.
    proxy.world().databases.keys().for_each(|database| read_again(proxy, database));
    while next(&link, &mut heard, proxy).await {
        if proxy.world().config.cache.redis_url.as_deref() != Some(url) {
            break;
        }
    }
    Ok(())
}

/// Waits for the next message, or looks whether the connection is still there. False: it is not.
async fn next(link: &Link, heard: &mut UnboundedReceiver<PushInfo>, proxy: &Arc<Proxy>) -> bool {
    match tokio::time::timeout(HEARTBEAT, heard.recv()).await {
        Ok(Some(push)) => take(&push, link, proxy),
        Ok(None) => false,
        Err(_) => cmd("PING").query_async::<()>(&mut link.connection.clone()).await.is_ok(),
    }
}

fn take(push: &PushInfo, link: &Link, proxy: &Arc<Proxy>) -> bool {
    match (&push.kind, &push.data[..]) {
        (PushKind::Message, [Value::BulkString(_), Value::BulkString(message)]) => {
            if let Some((sender, database)) = message.split_first_chunk::<8>()
                && u64::from_le_bytes(*sender) != link.id
                && let Ok(database) = std::str::from_utf8(database)
            {
                read_again(proxy, database);
            }
            true
        }
        (PushKind::Disconnection | PushKind::Unsubscribe, _) => false,
        _ => true,
    }
}

/// Reads a database's schema again, in the background.
fn read_again(proxy: &Proxy, database: &str) {
    let Some(database) = proxy.world().databases.get(database).cloned() else { return };
    tokio::spawn(async move {
        if let Err(e) = database.refresh(None).await {
            tracing::warn!(database = database.name, "the schema could not be read: {e}");
        }
    });
}
