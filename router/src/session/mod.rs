//! One client's session: reads its messages, decides, has servers work, answers.
//!
//! A session is a task that owns its client's socket, and while a server works for it, that server too: bytes pass
//! within one task, without a hand-over. What a file here does, it does for this one client.

mod abort;
mod across;
mod asked;
mod audited;
mod batch;
mod caching;
mod clocked;
mod combine;
mod copy_in;
mod copy_out;
mod copying;
mod cure;
mod cursors;
mod ddl;
mod decide;
mod explain;
mod extended;
mod gather;
mod kept;
mod lane;
mod limit;
mod listed;
mod listen;
mod meter;
mod moment;
mod parameters;
mod patience;
mod pieces;
mod portals;
mod prepared;
mod queued;
mod quick;
pub mod relay;
mod row_shape;
mod savepoints;
mod scatter;
mod servers;
mod setval;
mod simple;
mod spread;
mod sql_prepared;
mod temporary;
mod terms;
mod together;
mod transaction;
mod two_phase;
mod words;
mod writer;

use crate::database::Database;
use crate::error::{ClientError, Severity};
use crate::handle::{ClientHandle, Reason};
use crate::ini::Ways;
use crate::limits::Timeouts;
use crate::plan::Tier;
use crate::plan_cache::SearchPath;
use crate::proxy::{Phase, Proxy, World};
use crate::reply;
use crate::schema::ShardRef;
use crate::workers::WorkerId;
use caching::WriteMark;
use lane::{Next, Work};
use listen::Listening;
use meter::Meter;
use prepared::Prepared;
use relay::Step;
use servers::{Participant, cancel_abandoned};
use shardway_config::PoolMode;
use shardway_pool::buffer::Buffer;
use shardway_pool::cancel::BackendKey;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::settings::Settings;
use shardway_pool::shard::{ReadBarrier, Server};
use shardway_pool::stream::Watch;
use shardway_pool::wire::Wire;
use shardway_pool::{Lease, Pool};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use temporary::OwnPlanning;
use transaction::Transaction;

pub use parameters::{Told, is_utf8};
pub use prepared::Statements;
pub use queued::remind;

/// Why a session ends.
#[derive(Debug)]
pub enum End {
    /// The client said goodbye.
    Terminated,
    /// The client's socket failed or closed.
    Client(io::Error),
    /// The client is told why, and closed.
    Fatal(ClientError),
}

/// What a client asked for when it connected.
pub struct Greeting {
    /// Its role.
    pub user: String,
    /// Its database.
    pub database: Arc<Database>,
    /// Parameters that it wants set.
    pub settings: Settings,
    /// Its key for cancel requests.
    pub key: BackendKey,
    /// What they reach.
    pub cancel: Arc<ClientHandle>,
}

/// By what others find a client; over with its session.
struct Registration {
    proxy: Arc<Proxy>,
    key: BackendKey,
    handle: Arc<ClientHandle>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        // A cancel that comes later must not find a server that is somebody else's.
        self.handle.targets().clear();
        self.proxy.unregister(self.key);
    }
}

/// How long a process that is about to end waits for the first words of those who have connected.
pub const FIRST_WORDS: Duration = Duration::from_secs(1);

/// One client's session.
pub struct Session {
    /// Before the servers: it goes first.
    registration: Registration,
    proxy: Arc<Proxy>,
    world: Arc<World>,
    database: Arc<Database>,
    user: String,
    client: Wire,
    /// What the startup message asked for: RESET ALL goes back to it.
    startup: Arc<Settings>,
    /// What is set now.
    settings: Arc<Settings>,
    /// What the client was told of it.
    told: Arc<Told>,
    path: Arc<SearchPath>,
    /// What that is outside of transactions, with the settings that say so.
    base_path: (Arc<Settings>, Arc<SearchPath>),
    statements: HashMap<Vec<u8>, Arc<Prepared>>,
    unnamed: Option<Arc<Prepared>>,
    transaction: Option<Transaction>,
    /// Servers in hand.
    servers: Vec<Participant>,
    /// Servers that stay with it while they do nothing for it, one for a shard.
    kept: Vec<Participant>,
    /// When servers are given back.
    mode: PoolMode,
    /// A server that it kept is lost, and what was on it.
    is_bereft: bool,
    /// The schema with the session's own temporary tables in it, while it has some on one of several shards.
    own: Option<OwnPlanning>,
    /// Pools that it leased from; those of the present world.
    pools: Vec<(Arc<Server>, Arc<Pool>)>,
    /// When the message that is being worked on was taken up.
    now: Instant,
    /// When the session began; `now` is the same until the first message.
    arrived: Instant,
    /// When the last server's answer was through; `None` until there is one.
    answered: Option<Instant>,
    /// What it has counted.
    meter: Meter,
    /// Whether simple queries are refused (PgBouncer's `disable_pqexec`).
    extended_only: bool,
    /// How long things may take.
    timeouts: Timeouts,
    /// How it goes about its servers.
    ways: Ways,
    /// When the transaction began; outside of one, the last message.
    began: Instant,
    /// How far replicas must be, shard by shard of each group.
    barriers: HashMap<(usize, u32), ReadBarrier>,
    /// After an error in a batch that ended with Flush: messages are ignored up to Sync.
    skipping: bool,
    script: VecDeque<Step>,
    /// The statement that runs in the fast lane.
    flight: Option<lane::Flight>,
    /// The statement that waits for a server there.
    queued: Option<lane::Queued>,
    /// A server that was got for a statement which then had to go the long way.
    leased: Option<(ShardRef, Lease)>,
    /// Characters of the client's text in front of the statement that runs.
    moved: usize,
    /// What the text that is sent next has put in.
    spliced: Option<Box<listed::Spliced>>,
    /// The mark of what the running statement or transaction writes.
    mark: Option<WriteMark>,
    /// A server was lost while it wrote: nobody knows what it did.
    outcome_unknown: bool,
    /// The messages that run are the session's own, and their answer is that to a Query.
    is_query: bool,
    /// Parameters of a statement that is described are not the client's.
    hides_parameters: bool,
    /// Servers are not given back yet: what a statement did to them is still to be noted.
    holding: bool,
    /// Rotates over shards where any will do.
    next_shard: u32,
    /// What it has to tell the audit log, once it has written something with that on.
    trail: Option<Box<audited::Trail>>,
    /// What it listens to, if it does.
    listening: Option<Box<Listening>>,
    /// The rows that are written to the client are to be a COPY's.
    turning: Option<Box<copy_out::Turning>>,
    /// The batch's Sync came while the client copied, where Postgres ignores it: the next one ends the batch.
    resyncs: bool,
    /// The batch that runs does not end with a Sync.
    unsynced: bool,
}

/// Messages larger than this are refused before a byte of their body is kept.
const MAX_MESSAGE: usize = frame::MAX_MESSAGE;

/// The Sync message.
const SYNC: &[u8] = b"S\0\0\0\x04";

/// How often a client whose statement takes long is looked after.
const LOOKED_AFTER: Duration = Duration::from_secs(1);

/// Ends when a client has hung up and what it asked for still goes on: nobody wants that any more, and the server that it
/// waits for may never answer. Who asks for something and leaves at once gets it done.
async fn hung_up(client: Watch) -> End {
    let mut before = false;
    loop {
        tokio::time::sleep(LOOKED_AFTER).await;
        let now = client.has_hung_up();
        if before && now {
            return End::Client(io::ErrorKind::ConnectionAborted.into());
        }
        before = now;
    }
}

impl Session {
    /// A session for a client that has logged in.
    pub fn new(proxy: Arc<Proxy>, world: Arc<World>, client: Wire, greeting: Greeting) -> Box<Self> {
        let settings = proxy.settings.share(greeting.settings);
        let mode = world.pool_mode(&greeting.database, &greeting.user);
        let timeouts = world.timeouts(&greeting.database, &greeting.user);
        let ways = world.ways();
        let client = client.limited(world.max_message());
        let registration = Registration { proxy: proxy.clone(), key: greeting.key, handle: greeting.cancel };
        let meter = Meter::new(&proxy, &greeting.database.name, &client);
        let now = Instant::now();
        let extended_only =
            world.config.pgbouncer.as_ref().is_some_and(|ini| ini.settings.serving.disable_pqexec);
        let mut session = Box::new(Self {
            path: Arc::default(),
            base_path: Default::default(),
            proxy,
            world,
            database: greeting.database,
            user: greeting.user,
            client,
            next_shard: greeting.key.pid,
            trail: None,
            registration,
            startup: settings.clone(),
            settings,
            told: Arc::default(),
            statements: HashMap::new(),
            unnamed: None,
            transaction: None,
            servers: Vec::new(),
            kept: Vec::new(),
            mode,
            is_bereft: false,
            own: None,
            pools: Vec::new(),
            now,
            arrived: now,
            answered: None,
            meter,
            extended_only,
            timeouts,
            ways,
            began: Instant::now(),
            barriers: HashMap::new(),
            skipping: false,
            script: VecDeque::new(),
            flight: None,
            queued: None,
            leased: None,
            moved: 0,
            spliced: None,
            mark: None,
            outcome_unknown: false,
            is_query: false,
            hides_parameters: false,
            holding: false,
            listening: None,
            turning: None,
            resyncs: false,
            unsynced: false,
        });
        session.settings_changed();
        session
    }

    /// Serves the client until it leaves, or is to move to another worker: then this gives the session back, with
    /// nothing under way.
    pub async fn run(mut self: Box<Self>, here: WorkerId) -> Option<Box<Self>> {
        poll_fn(|cx| {
            self.registration.handle.attend(cx.waker(), here);
            Poll::Ready(())
        })
        .await;
        self.meter_here();
        let end = loop {
            let work = match poll_fn(|cx| self.poll_ordered_lane(cx)).await {
                Ok(Next::Long(work)) => work,
                Ok(Next::Move) => return Some(self),
                Err(end) => break end,
            };
            let before = work.is_none().then_some(self.now);
            if let Err(end) = self.ordered_turn(work).await {
                break end;
            }
            if before != Some(self.now) {
                self.meter_answer(Instant::now());
            }
            self.leased = None;
        };
        Box::pin(self.end(end)).await;
        None
    }

    /// The fast lane, unless there are orders.
    fn poll_ordered_lane(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, End>> {
        match self.registration.handle.poll_orders() {
            Poll::Ready(Ok(())) => self.poll_lane(cx),
            Poll::Ready(Err(reason)) => Poll::Ready(Err(End::Fatal(reason.error()))),
            Poll::Pending => {
                self.hold_still(cx);
                Poll::Pending
            }
        }
    }

    /// Only writes what is still to be written; what fails is found out later.
    #[cold]
    fn hold_still(&mut self, cx: &mut Context<'_>) {
        let mut flushed = self.client.poll_flush(cx).is_ready();
        for participant in &mut self.servers {
            flushed &= participant.lease.wire.poll_flush(cx).is_ready();
        }
        if flushed {
            self.registration.handle.rests();
        }
    }

    /// A turn, unless there are orders: one to hold still stops it where it is.
    async fn ordered_turn(&mut self, work: Option<Work>) -> Result<(), End> {
        let handle = self.registration.handle.clone();
        let watch = self.client.stream.watch();
        // On the heap while it lasts: an idle client waits in the fast lane.
        let mut turn = Box::pin(async {
            let work = async {
                if self.fails_apart() {
                    self.fail_everywhere().await;
                }
                self.turn(work).await?;
                if self.fails_apart() {
                    self.fail_everywhere().await;
                }
                if self.has_doubts() { self.settle_doubts().await } else { Ok(()) }
            };
            tokio::select! {
                biased;
                done = work => done,
                end = hung_up(watch) => Err(end),
            }
        });
        poll_fn(|cx| match handle.poll_orders() {
            Poll::Ready(Ok(())) => turn.as_mut().poll(cx),
            Poll::Ready(Err(reason)) => Poll::Ready(Err(End::Fatal(reason.error()))),
            Poll::Pending => {
                handle.rests();
                Poll::Pending
            }
        })
        .await
    }

    /// The client is gone, or must go.
    async fn end(mut self: Box<Self>, end: End) {
        if self.registration.handle.is_killed() {
            self.give_up_servers();
        }
        match end {
            End::Terminated => {}
            End::Client(e) => tracing::debug!(user = self.user, "client is gone: {e}"),
            // In the middle of a message that it was being sent, nothing can be said.
            End::Fatal(_) if self.client.is_midway => {}
            End::Fatal(error) => {
                reply::error(&mut self.client.output, &self.world.worded(error));
                let _ = tokio::time::timeout(Duration::from_secs(5), self.client.flush()).await;
            }
        }
        // A client that left in a transaction leaves it rolled back, and clean servers behind.
        self.transaction = None;
        self.roll_back_servers().await;
        self.give_up_kept().await;
        self.end_write().await;
    }

    /// Closes every server in hand at once; what they were doing is cancelled.
    fn give_up_servers(&mut self) {
        self.registration.handle.targets().clear();
        (self.flight, self.queued, self.leased) = (None, None, None);
        // Nobody knows what they did of it.
        self.outcome_unknown = true;
        for participant in self.servers.drain(..).chain(self.kept.drain(..)) {
            if participant.lease.outstanding > 0 {
                cancel_abandoned(&participant, self.world.config.pool.cancel_wait_timeout);
            }
            participant.lease.close();
        }
    }

    /// Serves what a client is to hear first, or says why it is not served. `here` is the worker that calls.
    pub async fn welcome(&mut self, here: WorkerId) -> Result<(), ClientError> {
        let handle = self.registration.handle.clone();
        let mut greeting = Box::pin(self.greet());
        poll_fn(|cx| {
            handle.attend(cx.waker(), here);
            match handle.poll_orders() {
                Poll::Ready(Ok(())) => greeting.as_mut().poll(cx),
                Poll::Ready(Err(reason)) => Poll::Ready(Err(reason.error())),
                Poll::Pending => {
                    handle.rests();
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The worker that it is to move to.
    pub fn destination(&self) -> Option<WorkerId> {
        self.registration.handle.destination()
    }

    /// Makes its client's socket, and the servers that stay with it, at home on the worker that calls. Errors: the system's.
    pub fn rehome(self: Box<Self>) -> io::Result<Box<Self>> {
        let session = *self;
        let moved = |kept: Participant| {
            let lease = kept.lease.rehome().map_err(io::Error::other)?;
            Ok(Participant { lease, ..kept })
        };
        let kept = session.kept.into_iter().map(moved).collect::<io::Result<_>>()?;
        Ok(Box::new(Self { client: session.client.rehome()?, kept, ..session }))
    }

    /// Tells a client why it can't be served, and closes it.
    pub async fn refuse(&mut self, error: &ClientError) {
        reply::error(&mut self.client.output, &self.world.worded(error.clone()));
        let _ = tokio::time::timeout(Duration::from_secs(5), self.client.flush()).await;
    }

    /// Does what the client asks for: `work`, or whatever it says next.
    async fn turn(&mut self, work: Option<Work>) -> Result<(), End> {
        match work {
            Some(Work::Simple(message, decided)) => return self.simple(message, decided).await,
            Some(Work::Batch(batch)) => return self.run_batch(batch).await,
            Some(Work::Quick(quick)) => self.take_back(quick),
            Some(Work::Again(again)) => return self.again(*again).await,
            None => {}
        }
        if self.has_mail() {
            self.tell_mail().await?;
        }
        relay::flush(&mut self.client).await?;
        if self.client.input.is_empty() {
            let waits_in_lane = self.idle_limit().is_none() && !self.skipping && !self.is_disturbed();
            if waits_in_lane || !self.hear().await? {
                return Ok(());
            }
        }
        let header = loop {
            match frame::peek(self.client.input.filled(), self.client.max_message()) {
                Ok(Some(header)) => break header,
                Ok(None) => self.wait_for_client().await?,
                Err(_) => return Err(End::Fatal(self.bad_length(0))),
            }
        };
        self.refresh_world()?;
        self.follow_schema();
        self.now = Instant::now();
        if self.transaction.is_none() {
            self.began = self.now;
        }
        self.note_request();
        match header.tag {
            b'Q' if self.extended_only => Err(End::Fatal(ClientError::protocol("PQexec disallowed"))),
            b'Q' => {
                let message = self.take_message(header.len).await?;
                // Up to Sync, Postgres does not even look at it.
                if self.skipping { Ok(()) } else { self.simple(message, None).await }
            }
            b'P' | b'B' | b'D' | b'E' | b'C' | b'S' | b'H' => self.batch().await,
            b'X' => Err(End::Terminated),
            // Left over from a COPY that failed; Postgres ignores them too.
            b'd' | b'c' | b'f' => self.take_message(header.len).await.map(drop),
            b'F' => {
                self.take_message(header.len).await?;
                let error = ClientError::error("0A000", "the function call protocol is not supported");
                self.statement_failed(error.hint("Use SELECT function(…)."))?;
                self.ready();
                Ok(())
            }
            other => Err(End::Fatal(unknown_message(other))),
        }
    }

    /// Between transactions, what a reload changed is taken up. Whether there was something.
    fn refresh_world(&mut self) -> Result<bool, End> {
        if self.proxy.generation() == self.world.generation || self.transaction.is_some() {
            return Ok(false);
        }
        let world = self.proxy.world();
        if let Some(error) = self.evicted(&world) {
            return Err(End::Fatal(error));
        }
        self.world = world;
        self.pools.clear();
        // Of the old world: what is at its place now may be another server.
        self.leased = None;
        if let Some(database) = self.world.databases.get(&self.database.name) {
            self.database = database.clone();
            self.carry_barriers();
            self.recheck_links();
        }
        self.timeouts = self.world.timeouts(&self.database, &self.user);
        self.ways = self.world.ways();
        self.client.limit(self.world.max_message());
        self.check_kept()?;
        self.follow_mode();
        Ok(true)
    }

    /// Why the session may not stay in a new world. PgBouncer, too, closes the clients of a database that is gone.
    fn evicted(&self, world: &World) -> Option<ClientError> {
        let gone = if !world.databases.contains_key(&self.database.name) {
            if world.ini().is_some() {
                return Some(Reason::DatabaseRemoved.error());
            }
            format!("database \"{}\"", self.database.name)
        } else if !world.has_user(&self.database.name, &self.user) {
            format!("user \"{}\"", self.user)
        } else {
            return None;
        };
        Some(ClientError::fatal("57P01", format!("terminating connection: {gone} is no longer configured")))
    }

    /// A message of the client, `at` so many bytes in its input, says that it is longer than it may be, or no length at all.
    #[cold]
    fn bad_length(&self, at: usize) -> ClientError {
        if self.world.ini().is_none() {
            return ClientError::protocol("invalid message length");
        }
        let hex = self.client.input.filled()[at..]
            .iter()
            .take(8)
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        ClientError::protocol(format!("bad packet header: '{hex}'"))
    }

    /// What the session wrote it goes on seeing: the shards may be other ones now, so all of them wait for a look at
    /// their primary.
    fn carry_barriers(&mut self) {
        if std::mem::take(&mut self.barriers).is_empty() {
            return;
        }
        let database = &self.database;
        let barrier = |at: ShardRef| ((at.group.0, at.shard.0), database.shard(at).barrier_after_write());
        self.barriers = database.all_shards().map(barrier).collect();
    }

    /// Waits for more of a message: no longer than an idle client may, and not past a shutdown.
    async fn wait_for_client(&mut self) -> Result<(), End> {
        while !self.hear().await? {}
        Ok(())
    }

    /// Waits until the client says something, or (false) there is something else to look at.
    async fn hear(&mut self) -> Result<bool, End> {
        let limit = self.idle_limit();
        limit.within(poll_fn(|cx| self.poll_heard(cx))).await?
    }

    /// Whether the client has just come in and asked for nothing yet: it connected to be served, and may have meant the
    /// process that takes this one's place.
    fn is_new(&self) -> bool {
        self.now == self.arrived && self.arrived.elapsed() < FIRST_WORDS
    }

    /// Whether nothing is lost when it ends here.
    fn is_at_rest(&self) -> bool {
        self.transaction.is_none() && self.client.input.is_empty() && !self.is_new()
    }

    /// Ready when the client said something, or (false) when a reload may have changed how long it may be silent, or it
    /// is to move.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, End>> {
        let leave = match self.proxy.stage() {
            Phase::Serving | Phase::Suspended | Phase::Leaving => false,
            Phase::Releasing if self.is_at_rest() && self.kept.is_empty() => {
                return Poll::Ready(Err(End::Fatal(Reason::ShuttingDown.error())));
            }
            Phase::Releasing => false,
            Phase::Draining => self.is_at_rest(),
            Phase::Stopping => true,
        };
        if leave {
            let error = ClientError::fatal("57P01", "terminating connection due to administrator command");
            return Poll::Ready(Err(End::Fatal(error)));
        }
        let between = self.transaction.is_none() && self.client.input.is_empty() && !self.skipping;
        let moves = between && self.destination().is_some();
        if self.refresh_world()? || moves || between && self.has_mail() {
            return Poll::Ready(Ok(false));
        }
        match ready!(self.client.poll_fill(cx)).map_err(End::Client)? {
            0 => Poll::Ready(Err(End::Client(io::ErrorKind::UnexpectedEof.into()))),
            _ => Poll::Ready(Ok(true)),
        }
    }

    /// Takes one whole message out of the input.
    async fn take_message(&mut self, len: usize) -> Result<Buffer, End> {
        if self.client.input.len() < len {
            while self.client.input.len() < len {
                self.wait_for_client().await?;
            }
            self.now = Instant::now();
        }
        Ok(self.take(len))
    }

    /// Takes bytes out of the input: the whole buffer, if that is all there is.
    fn take(&mut self, len: usize) -> Buffer {
        if self.client.input.len() == len {
            return std::mem::take(&mut self.client.input);
        }
        let mut taken = Buffer::default();
        taken.extend(&self.client.input.filled()[..len]);
        self.client.input.consume(len);
        taken
    }

    /// Tells the client that its statement failed; the transaction it is in fails too.
    fn statement_failed(&mut self, error: ClientError) -> Result<(), End> {
        let error = self.judged(error);
        if error.severity == Severity::Fatal {
            return Err(End::Fatal(error));
        }
        let error = if error.poolers.is_some() { self.world.worded(error) } else { error };
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
        }
        reply::error(&mut self.client.output, &error);
        Ok(())
    }

    /// A server's answer is through: the clock is looked at once, for the pool and the metrics.
    fn answered(&mut self, index: usize) {
        let now = Instant::now();
        self.answered = Some(now);
        self.servers[index].lease.used_until = Some(now);
    }

    /// Counts a statement that servers ran.
    fn count(&mut self, tier: Tier) {
        let end = self.answered.take().unwrap_or_else(Instant::now);
        self.proxy.metrics.ran(tier, end.saturating_duration_since(self.now));
    }

    /// ReadyForQuery with the session's true state.
    fn ready(&mut self) {
        let status = self.status();
        if status == b'I' && self.listening.is_some() {
            self.hand_over_mail();
        }
        reply::ready(&mut self.client.output, status);
    }

    fn status(&self) -> u8 {
        match &self.transaction {
            Some(t) if t.explicit => {
                if t.failed {
                    b'E'
                } else {
                    b'T'
                }
            }
            _ => b'I',
        }
    }
}

/// A message that no client says here.
fn unknown_message(tag: u8) -> ClientError {
    ClientError::protocol(format!("invalid frontend message type {tag}")).or_poolers("unknown pkt")
}

/// The body of a message taken whole.
fn body(message: &Buffer) -> &[u8] {
    &message.filled()[HEADER..]
}
