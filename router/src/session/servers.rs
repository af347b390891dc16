//! Servers in a session's hands: leasing the right one, putting the client's settings in place, giving it back.

use super::clocked::in_utc;
use super::kept::{Holds, bereft};
use super::queued::poll_waiting;
use super::relay::Broken;
use super::terms::learn;
use super::transaction::Transaction;
use super::two_phase::two_unpreparable;
use super::{End, Session};
use crate::error::{ClientError, Severity};
use crate::handle::Reason;
use crate::plan::{Access, Refusal};
use crate::proxy::Phase;
use crate::schema::ShardRef;
use shardway_config::PoolMode;
use shardway_pool::server::RunError;
use shardway_pool::shard::{ReadBarrier, Server};
use shardway_pool::{Asked, Lease, Pool, PoolError, Settings};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

/// A server that works for the session.
pub struct Participant {
    /// The shard it serves.
    pub shard: ShardRef,
    /// The server.
    pub lease: Lease,
    /// Whether the running transaction wrote there.
    pub wrote: bool,
    /// Whether it may have taken locks there.
    pub locks: bool,
    /// Whether what it did there can't be prepared: temporary objects, NOTIFY.
    pub unpreparable: bool,
    /// Whether a statement of the client's has gone there; else it was asked what a setting means, and no more.
    pub asked: bool,
    /// What it holds that belongs to the session, if it does or may.
    pub holds: Option<Box<Holds>>,
}

impl Participant {
    /// A server that has nothing of the session's yet.
    pub fn new(shard: ShardRef, lease: Lease) -> Self {
        Self { shard, lease, wrote: false, locks: false, unpreparable: false, asked: true, holds: None }
    }
}

impl Session {
    /// The server for a shard: the one in hand, or a new one. Gives its index. Errors are for the client.
    pub(super) async fn acquire(&mut self, shard: ShardRef, access: Access) -> Result<usize, ClientError> {
        if self.trail.is_some() {
            self.audit_shard(shard, access);
        }
        if let Some(index) = self.servers.iter().position(|p| p.shard == shard) {
            self.note_write(index, access)?;
            self.servers[index].lease.used_until = None;
            if !self.servers[index].asked {
                self.servers[index].asked = true;
                self.check_levels().await?;
            }
            if !self.is_in_terms_at(index) {
                Box::pin(self.reread_types()).await?;
            }
            if self.listening.is_some() {
                Box::pin(self.open_window(index, access)).await;
            }
            return Ok(index);
        }
        let (index, settled) = self.seat_for(shard, access).await?;
        if (self.transaction.is_some() || !settled)
            && let Err(error) = Box::pin(self.prepare_server(index)).await
        {
            return Err(Box::pin(self.unprepared(index, settled, error)).await);
        }
        self.taken_up(index, access).await?;
        Ok(index)
    }

    /// The servers for several shards, in order, each in the transaction: those that join it are told to at once, and not
    /// one after another. Errors: as [`Self::acquire`]; no server has joined then.
    pub(super) async fn acquire_all(
        &mut self,
        shards: &[ShardRef],
        access: Access,
    ) -> Result<Vec<usize>, ClientError> {
        let plainly = self.transaction.as_ref().is_some_and(Transaction::opens_plainly);
        let mut indexes = Vec::with_capacity(shards.len());
        let mut joining = Vec::new();
        for &shard in shards {
            if !plainly || self.servers.iter().any(|p| p.shard == shard) {
                match self.acquire(shard, access).await {
                    Ok(index) => indexes.push(index),
                    Err(error) => {
                        self.put_back(joining);
                        return Err(error);
                    }
                }
                continue;
            }
            if self.trail.is_some() {
                self.audit_shard(shard, access);
            }
            match self.seat_for(shard, access).await {
                Ok((index, true)) => {
                    joining.push(index);
                    indexes.push(index);
                }
                Ok((index, false)) => {
                    if let Err(error) = Box::pin(self.prepare_server(index)).await {
                        let error = Box::pin(self.unprepared(index, false, error)).await;
                        self.put_back(joining);
                        return Err(error);
                    }
                    self.taken_up(index, access).await?;
                    indexes.push(index);
                }
                Err(error) => {
                    self.put_back(joining);
                    return Err(error);
                }
            }
        }
        let opening = self.transaction.as_ref().map(Transaction::opening).unwrap_or_default();
        let mut failure = None;
        for &index in &joining {
            if let Err(error) = self.servers[index].lease.tell(&opening).await {
                failure.get_or_insert_with(|| refused(&error));
            }
        }
        for &index in &joining {
            let lease = &mut self.servers[index].lease;
            match lease.drain().await {
                Ok(()) if lease.status == b'T' => {}
                Ok(()) => {
                    let error = ClientError::error("25000", "the server did not open the transaction");
                    failure.get_or_insert(error);
                }
                Err(error) => {
                    failure.get_or_insert_with(|| refused(&error));
                }
            }
        }
        if let Some(error) = failure {
            self.put_back(joining);
            return Err(error);
        }
        for index in joining {
            self.taken_up(index, access).await?;
        }
        Ok(indexes)
    }

    /// Servers that were taken up and have not joined the transaction, or may not have, go back; one that is not clean is
    /// closed.
    fn put_back(&mut self, mut indexes: Vec<usize>) {
        indexes.sort_unstable();
        for index in indexes.into_iter().rev() {
            let participant = self.servers.remove(index);
            self.lay_by(participant);
        }
    }

    /// A server for a shard, in hand, with nothing told to it yet. Its index, and whether the client's settings are in
    /// place there.
    async fn seat_for(&mut self, shard: ShardRef, access: Access) -> Result<(usize, bool), ClientError> {
        if self.is_bereft {
            return Err(bereft());
        }
        self.check_second_writer(shard, access)?;
        if self.transaction.is_none() && !self.servers.is_empty() {
            self.default_level().map_or(Ok(()), |level| check_isolation(&level))?;
        }
        if self.transaction.as_ref().is_some_and(|transaction| transaction.closed) && !self.servers.is_empty()
        {
            return Err(Refusal::unsupported(
                "this transaction called set_config with a binary parameter; no other shard can be told of it",
            )
            .into());
        }
        let in_transaction = self.transaction.is_some();
        // One for another shard goes back first: nobody may hold a server while it waits for another.
        let leased = self.leased.take().filter(|(at, _)| *at == shard);
        let mut participant = match (self.take_kept(shard), leased) {
            (Some(kept), _) => kept,
            (None, Some((_, lease))) => Participant::new(shard, lease),
            (None, None) => Participant::new(shard, self.lease_for(shard, access, in_transaction).await?),
        };
        if !self.is_in_terms(&mut participant)
            && let Err(error) = Box::pin(learn(&self.database.clone(), &mut participant)).await
        {
            let needed = self.needs(&participant);
            participant.lease.close();
            return Err(if needed { ClientError { severity: Severity::Fatal, ..error } } else { error });
        }
        let settled = Arc::ptr_eq(&participant.lease.settings, &self.settings);
        self.servers.push(participant);
        Ok((self.servers.len() - 1, settled))
    }

    /// A server that was taken up is ready for what is asked of it.
    async fn taken_up(&mut self, index: usize, access: Access) -> Result<(), ClientError> {
        self.tell(index);
        self.publish_cancel_targets();
        self.note_write(index, access)?;
        if self.listening.is_some() {
            Box::pin(self.open_window(index, access)).await;
        }
        Ok(())
    }

    /// A server did not take the client's settings, or its BEGIN; `settled` says that the settings are in place. Gives
    /// the error for the client: one that needs this server can't go on without it.
    async fn unprepared(&mut self, index: usize, settled: bool, error: ClientError) -> ClientError {
        let mut participant = self.servers.swap_remove(index);
        if !self.needs(&participant) {
            participant.lease.close();
            return error;
        }
        let lease = &mut participant.lease;
        if settled && lease.outstanding == 0 && (lease.status == b'I' || lease.run("ROLLBACK").await.is_ok())
        {
            self.lay_by(participant);
            return error;
        }
        participant.lease.close();
        ClientError { severity: Severity::Fatal, ..error }
    }

    /// Refuses what would make a second writer that the transaction could not be committed with, before anything is sent.
    fn check_second_writer(&self, shard: ShardRef, access: Access) -> Result<(), ClientError> {
        let mut others = self.servers.iter().filter(|p| p.wrote && p.shard != shard).peekable();
        if self.transaction.is_none() || access != Access::Write || others.peek().is_none() {
            return Ok(());
        }
        if !self.world.config.routing.two_phase_commit {
            let what = "this transaction wrote on another shard already, and routing.two_phase_commit is off";
            let hint = "Turn routing.two_phase_commit on, or write on one shard in a transaction.";
            return Err(Refusal { code: "0A000", message: what.to_owned(), hint }.into());
        }
        let here = self.servers.iter().any(|p| p.shard == shard && p.unpreparable);
        if here && others.any(|p| p.unpreparable) { Err(two_unpreparable()) } else { Ok(()) }
    }

    /// The level of the transactions that servers make of single statements, where it is not Postgres' own default.
    fn default_level(&self) -> Option<String> {
        if let Some(level) = self.settings.value("default_transaction_isolation") {
            return Some(level.to_owned());
        }
        let user = || match (&self.database.config.user, self.servers.first()) {
            (None, Some(p)) => {
                self.database.shard(p.shard).primary().login.as_ref().map(|login| login.user.clone())
            }
            _ => None,
        };
        let login = || user().unwrap_or_else(|| self.world.server_login(&self.database, &self.user).user);
        self.database.two_phase.level_of(login)
    }

    /// Whether a transaction's first word to a shard is a SHOW: that takes no part in what it sees.
    pub(super) fn only_looks(&self, shard: ShardRef, mut plans: impl Iterator<Item = bool>) -> bool {
        self.transaction.is_some()
            && !self.servers.iter().any(|p| p.shard == shard && p.asked)
            && plans.all(|shows| shows)
    }

    /// What ran there was such a SHOW.
    pub(super) fn only_looked(&mut self, shard: ShardRef) {
        if let Some(participant) = self.servers.iter_mut().find(|p| p.shard == shard) {
            (participant.asked, participant.locks) = (false, false);
        }
    }

    /// A server that was in hand is asked something: where others were too, the transaction's level has to allow that.
    async fn check_levels(&mut self) -> Result<(), ClientError> {
        if self.transaction.is_none() || self.servers.iter().filter(|p| p.asked).count() < 2 {
            return Ok(());
        }
        let row = self.servers[0].lease.last_row(&["SHOW transaction_isolation"]).await;
        let level = row.map_err(|e| refused(&e))?.and_then(|row| row.into_iter().next().flatten());
        level.map_or(Ok(()), |level| check_isolation(&level))
    }

    fn note_write(&mut self, index: usize, access: Access) -> Result<(), ClientError> {
        let shard = self.servers[index].shard;
        self.check_second_writer(shard, access)?;
        let participant = &mut self.servers[index];
        participant.wrote |= access == Access::Write;
        participant.locks |= access == Access::ReadPrimary;
        Ok(())
    }

    /// A server for a shard. A replica that can't be reached is passed over: nothing was asked of it yet.
    async fn lease_for(
        &mut self,
        shard: ShardRef,
        access: Access,
        in_transaction: bool,
    ) -> Result<Lease, ClientError> {
        loop {
            let (server, replica) = self.choose(shard, access, in_transaction);
            if !replica {
                // Its role is as fresh as the last health check; what changed since, Postgres itself refuses.
                if self.database.shard(shard).lacks_primary() {
                    return Err(no_primary(&server));
                }
                return self.lease(&server).await;
            }
            match self.lease(&server).await {
                Err(error) if is_unreachable(&error) => server.health.lost(error.message),
                outcome => {
                    self.proxy.metrics.replica_reads.inc();
                    return outcome;
                }
            }
        }
    }

    /// Primary or replica. Inside a transaction, and for all but plain reads, the primary.
    pub(super) fn choose(
        &mut self,
        at: ShardRef,
        access: Access,
        in_transaction: bool,
    ) -> (Arc<Server>, bool) {
        let shard = self.database.shard(at);
        let routing = &self.world.config.routing;
        // A session that keeps its servers has one for each shard, for all that it asks.
        let primary = in_transaction || access != Access::Read || self.mode == PoolMode::Session;
        if primary || !routing.replica_reads || !shard.has_replicas() {
            return (shard.primary().clone(), false);
        }
        let barrier = self.barriers.entry((at.group.0, at.shard.0)).or_insert(ReadBarrier::None);
        let load = |server: &Arc<Server>| server.pools().iter().map(|(_, pool)| pool.load()).sum();
        match shard.replica(barrier, routing.replica_max_lag, load) {
            Some(server) => (server.clone(), true),
            None => (shard.primary().clone(), false),
        }
    }

    /// The pool for this client on a server. Remembered until a reload.
    pub(super) fn pool(&mut self, server: &Arc<Server>) -> Arc<Pool> {
        if let Some((_, pool)) = self.pools.iter().find(|(known, _)| Arc::ptr_eq(known, server)) {
            return pool.clone();
        }
        let pool = self.find_pool(server);
        self.pools.push((server.clone(), pool.clone()));
        pool
    }

    fn find_pool(&self, server: &Server) -> Arc<Pool> {
        let login = match (&self.database.config.user, &server.login) {
            (None, Some(login)) => login.clone(),
            _ => self.world.server_login(&self.database, &self.user),
        };
        server.pool(&login, || self.world.bounds(&self.database, &login.user))
    }

    /// A server from the pool. A client that leaves while it waits gives up its place.
    pub(super) async fn lease(&mut self, server: &Arc<Server>) -> Result<Lease, ClientError> {
        let pool = self.pool(server);
        // Whoever holds a server has begun something that a PAUSE waits for.
        let engaged = !self.servers.is_empty() || !self.kept.is_empty();
        // The message may have come long ago: a COPY is one, and takes servers as its lines come.
        let now = Instant::now();
        let asked = if engaged { pool.ask_engaged(now) } else { pool.ask(now) };
        if let Asked::Lease(lease) = asked {
            self.meter_lease();
            return Ok(lease);
        }
        if engaged {
            self.registration.handle.waits_in(&pool);
            self.note_span();
        }
        self.registration.handle.waits(now);
        let leased = match asked {
            Asked::Wait(mut turn) => self.unless_client_leaves(poll_fn(move |cx| turn.poll(cx))).await,
            _ if engaged => self.unless_client_leaves(async move { pool.checkout_engaged().await }).await,
            _ => self.unless_client_leaves(async move { pool.checkout().await }).await,
        };
        self.registration.handle.waits_no_more();
        let leased = leased.inspect(|lease| self.meter_wait(now, lease))?;
        self.database.check_names(now)?;
        Ok(leased)
    }

    /// Whether it has begun what waiting for servers to be released waits for: it holds one, or its transaction is to.
    pub(super) fn is_engaged(&self) -> bool {
        !self.servers.is_empty()
            || !self.kept.is_empty()
            || self.transaction.as_ref().is_some_and(|transaction| transaction.explicit)
    }

    async fn unless_client_leaves(
        &mut self,
        lease: impl Future<Output = Result<Lease, PoolError>>,
    ) -> Result<Lease, ClientError> {
        let limit = self.wait_limit();
        let (proxy, engaged) = (self.proxy.clone(), self.is_engaged());
        let (client, handle) = (&mut self.client, &self.registration.handle);
        let leased = tokio::select! {
            biased;
            leased = limit.within(lease) => leased.map_err(|_| limit.exceeded())?,
            error = poll_fn(|_| handle.parted().map_or(Poll::Pending, Poll::Ready)) => return Err(error),
            () = poll_fn(|cx| poll_waiting(client, handle, cx)) => {
                return Err(ClientError::fatal("08006", "the client is gone"));
            }
            // Who waits is woken by the change.
            () = poll_fn(|_| match proxy.stage() {
                Phase::Releasing if !engaged => Poll::Ready(()),
                _ => Poll::Pending,
            }) => return Err(Reason::ShuttingDown.error()),
        };
        leased.map_err(no_lease)
    }

    /// Puts the client's settings in place, and opens the transaction that it is in.
    pub(super) async fn prepare_server(&mut self, index: usize) -> Result<(), ClientError> {
        let lease = &mut self.servers[index].lease;
        if self.database.config.limits.connect_query.is_some()
            && !Arc::ptr_eq(&lease.settings, &self.settings)
        {
            // What goes is not what Postgres would have had, but what the query had set.
            let resets = lease.settings.change_to(&Settings::default());
            if !resets.is_empty() {
                lease.run(&resets).await.map_err(|e| refused(&e))?;
                lease.settings = Arc::default();
                lease.introduce().await?;
            }
        }
        let settings = match Arc::ptr_eq(&lease.settings, &self.settings) {
            true => String::new(),
            false => lease.settings.change_to(&self.settings),
        };
        let mut opening = self.transaction.as_ref().map(Transaction::opening).unwrap_or_default();
        let alone = self.servers.iter().enumerate().all(|(other, p)| other == index || !p.asked);
        let asks_clock = alone && self.transaction.as_ref().is_some_and(|transaction| transaction.asks_clock);
        if asks_clock {
            opening.push_str(&format!("\n;SELECT {}", in_utc("now")));
        } else if !alone && !opening.is_empty() {
            opening.push_str(SHOW_ISOLATION);
        }
        let lease = &mut self.servers[index].lease;
        if !settings.is_empty() {
            // Should it fail half-way, nobody knows what is in place: then the server is closed.
            lease.settings = Arc::default();
        }
        // Apart, so that the settings stay when the transaction is rolled back.
        let texts = [settings.as_str(), &opening];
        match &texts[usize::from(settings.is_empty())..2 - usize::from(opening.is_empty())] {
            [] => {}
            texts => {
                let row = lease.last_row(texts).await.map_err(|e| refused(&e))?;
                let said = row.and_then(|row| row.into_iter().next().flatten());
                if asks_clock && let Some(transaction) = &mut self.transaction {
                    (transaction.clock, transaction.asks_clock) = (said, false);
                } else if let Some(level) = said.filter(|_| !alone) {
                    check_isolation(&level)?;
                }
            }
        }
        if !opening.is_empty() && lease.status != b'T' {
            return Err(ClientError::error("25000", "the server did not open the transaction"));
        }
        lease.settings = self.settings.clone();
        Ok(())
    }

    /// Lets a cancel request find the servers in hand.
    pub(super) fn publish_cancel_targets(&self) {
        let mut targets = self.registration.handle.targets();
        targets.clear();
        targets.extend(self.servers.iter().map(|p| p.lease.cancel_target().clone()));
        if self.servers.len() > 1 {
            self.note_span();
        }
    }

    /// Gives back every server, unless a transaction holds them.
    pub(super) fn release(&mut self) {
        if self.transaction.is_some() || self.holding {
            return;
        }
        self.release_all();
    }

    /// Gives back every server. What it wrote is remembered for reads to come.
    pub(super) fn release_all(&mut self) {
        // First the cancel targets: a cancel that comes later must not find a server that is somebody else's.
        self.registration.handle.targets().clear();
        self.close_windows();
        while let Some(participant) = self.servers.pop() {
            let shard = self.database.shard(participant.shard);
            if participant.wrote && shard.has_replicas() {
                let key = (participant.shard.group.0, participant.shard.shard.0);
                self.barriers.insert(key, shard.barrier_after_write());
            }
            self.lay_by(participant);
        }
    }

    /// What to do after an exchange that did not end: the server is useless. Gives the error for the client, or the
    /// session's end if nothing can be said to it any more.
    pub(super) fn broken(&mut self, index: usize, broken: Broken) -> Result<ClientError, End> {
        let participant = self.servers.swap_remove(index);
        // As one Postgres, it takes the session with it.
        let needed = self.needs(&participant);
        let error = match &broken {
            Broken::Server { cause, .. } => Some(participant.lease.lost(cause)),
            Broken::Client(_) => None,
        };
        if matches!(broken, Broken::Client(_)) {
            // Nobody waits for it any more: do not let the server finish.
            cancel_abandoned(&participant, self.world.config.pool.cancel_wait_timeout);
        }
        self.outcome_unknown |= participant.wrote;
        let shard = self.database.shard(participant.shard);
        if participant.wrote && shard.has_replicas() {
            // It may have committed: reads to come must not miss it.
            let key = (participant.shard.group.0, participant.shard.shard.0);
            self.barriers.insert(key, shard.barrier_after_write());
        }
        participant.lease.close();
        self.publish_cancel_targets();
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
            transaction.lost = true;
        }
        match broken {
            Broken::Client(end) => Err(end),
            Broken::Server { torn: true, cause } => Err(End::Client(cause)),
            Broken::Server { torn: false, .. } => {
                let gone = || ClientError::error("08006", "the server is gone");
                let error = error.map_or_else(gone, ClientError::from);
                Ok(if needed { ClientError { severity: Severity::Fatal, ..error } } else { error })
            }
        }
    }
}

/// Why there is no server, for the client: one that waited too long is closed, as by PgBouncer.
pub(super) fn no_lease(error: PoolError) -> ClientError {
    let fatal = matches!(error, PoolError::WaitTimeout(_));
    let mut client = ClientError::from(error);
    if fatal {
        client.severity = Severity::Fatal;
    }
    client
}

/// What a server that joins others is asked: behind the transaction's own opening, and with it.
const SHOW_ISOLATION: &str = "\n;SHOW transaction_isolation";

/// Whether a transaction at this level may go to several shards. Each has a snapshot of its own: to take a new one for
/// each statement is all that they can do together.
pub(super) fn check_isolation(level: &str) -> Result<(), ClientError> {
    let level = level.to_ascii_lowercase();
    if !matches!(level.as_str(), "repeatable read" | "serializable") {
        return Ok(());
    }
    let message = format!(
        "a transaction at isolation level \"{level}\" is not supported across shards unless all reads and writes stay on one shard"
    );
    let hint = "Use READ COMMITTED, or pin all of its statements to one shard by their key.";
    Err(Refusal { code: "0A000", message, hint }.into())
}

/// Whether a server could not be reached, or says that it takes nobody right now.
fn is_unreachable(error: &ClientError) -> bool {
    error.severity == Severity::Error && (error.code.starts_with("08") || error.code == "57P03")
}

/// What was the primary is in recovery, and no other server took its place yet.
fn no_primary(server: &Server) -> ClientError {
    let message = format!("server {} is in recovery, and no other one takes writes", server.address);
    ClientError::error("57P03", message).hint("A replica is probably being promoted; try again.")
}

/// Asks the server to stop what a client that is gone asked for.
pub(super) fn cancel_abandoned(participant: &Participant, timeout: std::time::Duration) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let cancel = participant.lease.cancel_target().announce();
    runtime.spawn(cancel.send(timeout));
}

/// The error of a command of ours, for the client.
pub(super) fn refused(error: &RunError) -> ClientError {
    match error {
        RunError::Lost(error) => error.clone().into(),
        RunError::Refused(body) => ClientError::of_server(body),
    }
}
