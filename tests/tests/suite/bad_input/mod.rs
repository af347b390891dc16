//! What clients should not say and servers should not do: each is answered as Postgres would, ends that client alone,
//! and leaves no leased server behind.

mod client_limits;
mod fuzz;
mod login;
mod many;
mod messages;
mod servers;
mod startup;
mod vanishing;

use shardway_tests::{DATABASE, Message, PASSWORD, RawClient, SharedWorld, World};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Client;

use crate::operation::support::{SCHEMA, at_rest, backends, key_on, soon, value};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).servers(2).schema(SCHEMA).start());

static GATE: Mutex<()> = Mutex::const_new(());

/// One test's turn on the shared world, with a client that has nothing to do with what the test does.
struct Scene {
    bystander: Client,
    admin: Client,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    async fn set() -> Scene {
        let turn = GATE.lock().await;
        Scene { bystander: WORLD.connect("app").await, admin: WORLD.admin().await, _turn: turn }
    }

    /// Others go on on every shard, and no server is left at work, in a transaction or waited for.
    async fn is_unharmed(&self) {
        for shard in 0..2 {
            let sql = format!("SELECT count(*) FROM t WHERE user_id = -{}", key_on(shard, 2));
            assert_eq!(value(&self.bystander, &sql).await, "0");
        }
        at_rest(&self.admin).await;
        for server in 0..2 {
            // A backend that was told to stop takes a moment.
            let idle = async || (backends(&WORLD, server, "state <> 'idle'") == 0).then_some(());
            soon(&format!("server {server} to work for nobody"), idle).await;
        }
    }

    /// Says these bytes on a new connection; gives the error that closes it.
    async fn refused(&self, bytes: &[u8]) -> Message {
        let mut raw = RawClient::connect(WORLD.proxy().port()).await;
        raw.send_raw(bytes).await;
        last_words(&mut raw).await
    }
}

/// The FATAL error that a connection is closed with, and nothing else.
async fn last_words(raw: &mut RawClient) -> Message {
    let reply = raw.expect_closed().await;
    assert_eq!(reply.tags(), "E", "{reply:?}");
    let error = reply[reply.len() - 1].clone();
    assert_eq!(error.field('S').as_deref(), Some("FATAL"), "{error:?}");
    error
}

/// SQLSTATE and message.
fn words(error: &Message) -> (String, String) {
    (error.field('C').unwrap_or_default(), error.field('M').unwrap_or_default())
}

/// What [`words`] gives, in a test's own letters.
fn is(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

/// A client that speaks by hand, logged in.
async fn raw() -> RawClient {
    let mut raw = RawClient::connect(WORLD.proxy().port()).await;
    raw.login("app", DATABASE, PASSWORD).await;
    raw
}
