//! COMMIT where several servers take part. One that wrote alone commits by itself, and those that only read do so at the
//! same time. Where more than one wrote, one of them is the decider: the others prepare what they did while it takes down
//! the decision, it commits, and the others follow. Each round is sent to all before the first answer is read. Who takes
//! snapshots on several servers does so before the decider commits, or when the others have followed
//! ([`crate::two_phase::rooms`]).
//!
//! Whatever is left half-done, by a failure or because the session ends here, is the resolver's: see
//! [`crate::two_phase`].

use super::Session;
use super::servers::{Participant, refused};
use super::transaction::ROLLBACK_LIMIT;
use crate::error::ClientError;
use crate::plan::Refusal;
use crate::reply;
use crate::schema::ShardRef;
use crate::two_phase::Live;
use crate::two_phase::decisions::{self, Standing};
use crate::two_phase::finish::{insist, standing};
use crate::two_phase::gid::Gid;
use crate::two_phase::rooms::{Room, Site};
use shardway_pool::control::ControlError;
use shardway_pool::frame;
use shardway_pool::server::RunError;
use shardway_pool::settings::Settings;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a decider that was lost at COMMIT is asked what it did, while the client waits.
const ASKED: Duration = Duration::from_secs(15);

/// How long the client waits for a server that has not carried out what is decided.
const CARRIED_OUT: Duration = Duration::from_secs(5);

/// What became of a command.
type Outcome = Result<(), RunError>;

/// Why a transaction is not committed.
pub(super) struct Uncommitted {
    error: ClientError,
    /// Whether it is, nobody knows.
    unknown: bool,
}

impl From<ClientError> for Uncommitted {
    fn from(error: ClientError) -> Self {
        Self { error, unknown: false }
    }
}

/// Who does what at COMMIT: indexes of servers in hand.
struct Cast {
    /// Says whether it is committed.
    decider: usize,
    /// Prepare before that.
    prepared: Vec<usize>,
    /// Commit when all is decided: they only read.
    others: Vec<usize>,
}

/// A part of a transaction that is being prepared.
struct Part {
    index: usize,
    shard: ShardRef,
    gid: String,
}

impl Participant {
    /// Whether there is something to be ended on it.
    fn is_open(&self) -> bool {
        self.lease.status != b'I'
    }

    /// Whether it may turn out that its transaction can't be prepared.
    fn may_not_prepare(&self) -> bool {
        self.unpreparable || self.holds_anything()
    }
}

impl Session {
    /// Commits on every server. Errors: nothing of it stays, unless `outcome_unknown` is set then.
    pub(super) async fn commit_participants(
        &mut self,
        settings: Option<&Arc<Settings>>,
    ) -> Result<(), ClientError> {
        // Should the session end within this, nobody knows what became of what it wrote.
        let before = self.outcome_unknown;
        self.outcome_unknown |= self.servers.iter().any(|p| p.wrote);
        let outcome = self.commit_everywhere(settings).await;
        self.outcome_unknown =
            before || matches!(outcome, Ok(false) | Err(Uncommitted { unknown: true, .. }));
        outcome.map(drop).map_err(|uncommitted| uncommitted.error)
    }

    /// The same. Whether what it wrote is there to be seen on every shard.
    async fn commit_everywhere(&mut self, settings: Option<&Arc<Settings>>) -> Result<bool, Uncommitted> {
        if self.servers.len() > 1 {
            // What was there when the last statement ran may be gone: its locks, and what it did.
            let alive = self.servers.iter_mut().try_for_each(|participant| participant.lease.listen());
            alive.map_err(ClientError::from)?;
        }
        let writers = self.servers.iter().filter(|p| p.wrote && p.is_open()).count();
        if writers > 1 {
            let cast = self.cast()?;
            return Box::pin(self.commit_in_two_phases(cast, settings)).await;
        }
        // Whoever holds locks gives them up when what they protect is there to be seen.
        let open = |p: &&(usize, &Participant)| p.1.is_open();
        let all = || self.servers.iter().enumerate().filter(|p| open(&p));
        let (last, first): (Vec<_>, Vec<_>) = all().partition(|(_, p)| writers > 0 && p.locks && !p.wrote);
        let indexes =
            |of: Vec<(usize, &Participant)>| of.into_iter().map(|(index, _)| index).collect::<Vec<_>>();
        let (first, last) = (indexes(first), indexes(last));
        let outcomes = self.commit_on(&first, settings).await;
        for (index, outcome) in first.into_iter().zip(outcomes) {
            let Err(error) = outcome else { continue };
            let wrote = self.servers[index].wrote;
            if wrote || writers == 0 {
                let unknown = wrote && matches!(error, RunError::Lost(_));
                return Err(Uncommitted { error: refused(&error), unknown });
            }
        }
        // It is committed, whatever becomes of those that only read.
        self.commit_on(&last, settings).await;
        Ok(true)
    }

    /// COMMIT on these servers. What became of each.
    async fn commit_on(&mut self, servers: &[usize], settings: Option<&Arc<Settings>>) -> Vec<Outcome> {
        let commands = servers.iter().map(|&index| (index, "COMMIT".to_owned())).collect();
        self.round(commands, settings).await
    }

    /// Has each server run a command that ends its transaction well; all are asked before the first answer is read. What
    /// became of each.
    async fn round(
        &mut self,
        commands: Vec<(usize, String)>,
        settings: Option<&Arc<Settings>>,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(commands.len());
        for (index, sql) in &commands {
            outcomes.push(self.servers[*index].lease.tell(sql).await);
        }
        for ((index, _), outcome) in commands.iter().zip(&mut outcomes) {
            let lease = &mut self.servers[*index].lease;
            if outcome.is_ok() {
                *outcome = lease.drain().await;
            }
            // It was told of every SET inside, and keeps them from here on, whatever becomes of the others.
            if outcome.is_ok()
                && lease.status == b'I'
                && let Some(settings) = settings
            {
                lease.settings = settings.clone();
            }
            self.tell(*index);
        }
        outcomes
    }

    /// Who decides, and who prepares. Errors: more than one of those that wrote can't prepare.
    fn cast(&self) -> Result<Cast, ClientError> {
        let open = || self.servers.iter().enumerate().filter(|(_, p)| p.is_open());
        let writers = || open().filter(|(_, p)| p.wrote);
        if writers().filter(|(_, p)| p.unpreparable).count() > 1 {
            return Err(two_unpreparable());
        }
        let decider = writers()
            .find(|(_, p)| p.unpreparable)
            .or_else(|| writers().find(|(_, p)| p.may_not_prepare()))
            .or_else(|| writers().next());
        let decider = decider.map(|(index, _)| index).unwrap_or_default();
        // Locks have to be held until it is decided.
        let prepares = |p: &Participant| p.wrote || p.locks && !p.may_not_prepare();
        let rest = open().filter(|(index, _)| *index != decider);
        let (prepared, others): (Vec<_>, Vec<_>) = rest.partition(|(_, p)| prepares(p));
        let indexes = |of: Vec<(usize, &Participant)>| of.into_iter().map(|(index, _)| index).collect();
        Ok(Cast { decider, prepared: indexes(prepared), others: indexes(others) })
    }

    async fn commit_in_two_phases(
        &mut self,
        cast: Cast,
        settings: Option<&Arc<Settings>>,
    ) -> Result<bool, Uncommitted> {
        let decider = self.servers[cast.decider].shard;
        self.can_decide(decider).await?;
        let owner = self.world.server_login(&self.database, &self.user);
        let mut live = self.database.two_phase.begin(decider, owner);
        let parts = self.parts_of(&cast, &live);
        let committed = self.reach_decision(&cast, &parts, &mut live, settings).await;
        let outcome = match &committed {
            Ok(()) => "committed",
            Err(uncommitted) if uncommitted.unknown => "unknown",
            Err(_) => "rolled_back",
        };
        self.proxy.metrics.two_phase.with_label_values(&[outcome]).inc();
        if let Err(uncommitted) = committed {
            if !uncommitted.unknown {
                live.stays_hidden();
            }
            // What could not be taken back, the resolver does.
            if uncommitted.unknown || !self.undo_parts(&parts).await {
                drop(live);
            } else {
                live.ended(false);
            }
            return Err(uncommitted);
        }
        live.commits();
        let mut commands: Vec<_> =
            parts.iter().map(|p| (p.index, format!("COMMIT PREPARED '{}'", p.gid))).collect();
        commands.extend(cast.others.iter().map(|&index| (index, "COMMIT".to_owned())));
        // From here on nobody may stop it.
        self.registration.handle.targets().clear();
        let outcomes = self.round(commands, settings).await;
        let late: Vec<&Part> = parts
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_err())
            .map(|(part, _)| part)
            .collect();
        if !late.is_empty() {
            let shards: Vec<ShardRef> = late.iter().map(|part| part.shard).collect();
            let sites = self.database.sites(&shards);
            live.is_late(shards, &sites);
        }
        if late.is_empty() || self.carry_out(late.into_iter()).await {
            live.ended(true);
            Ok(true)
        } else {
            let message = "this transaction is committed, but a shard does not show it yet: its server could not be reached";
            reply::warning(&mut self.client.output, "01000", message);
            Ok(false)
        }
    }

    /// What each server prepares, and its name.
    fn parts_of(&self, cast: &Cast, live: &Live) -> Vec<Part> {
        let decider = self.database.place_of(self.servers[cast.decider].shard);
        let part = |&index: &usize| {
            let shard = self.servers[index].shard;
            let own = self.database.place_of(shard);
            let gid = Gid::new(&self.database.name, live.name, decider.clone(), own).to_string();
            Part { index, shard, gid }
        };
        cast.prepared.iter().map(part).collect()
    }

    /// The first two rounds. Errors: it is not committed, and never will be, unless that is unknown.
    async fn reach_decision(
        &mut self,
        cast: &Cast,
        parts: &[Part],
        live: &mut Live,
        settings: Option<&Arc<Settings>>,
    ) -> Result<(), Uncommitted> {
        let gids: Vec<&str> = parts.iter().map(|part| &*part.gid).collect();
        let mut commands = vec![(cast.decider, decisions::decide(&live.name, &gids))];
        commands.extend(parts.iter().map(|p| (p.index, format!("PREPARE TRANSACTION '{}'", p.gid))));
        let mut outcomes = self.round(commands, settings).await.into_iter();
        let decision = outcomes.next().ok_or_else(unasked)?;
        let prepared: Result<Vec<()>, RunError> = outcomes.collect();
        prepared.map_err(|error| refused(&error))?;
        decision.map_err(|error| self.undecided(cast.decider, &error))?;
        self.begin_to_show(cast, parts, live).await;
        let outcome = self.commit_on(&[cast.decider], settings).await.pop();
        match outcome {
            Some(Ok(())) => Ok(()),
            None => Err(unasked().into()),
            Some(Err(error @ RunError::Refused(_))) => Err(refused(&error).into()),
            Some(Err(error @ RunError::Lost(_))) => {
                self.ask_what_it_did(cast.decider, parts, live, refused(&error)).await
            }
        }
    }

    /// Waits until nobody is about to take snapshots on several of these servers, and keeps others from it.
    async fn begin_to_show(&self, cast: &Cast, parts: &[Part], live: &mut Live) {
        let decider = self.servers[cast.decider].shard;
        let shards: Vec<ShardRef> = parts.iter().map(|part| part.shard).chain([decider]).collect();
        let sites: Vec<Site> = self.database.sites(&shards);
        let place = self.database.door(&self.world.databases).enter(Room::Commits, &sites);
        place.inside().await;
        live.is_shown(place, shards);
    }

    /// The decision could not be written: in words that say what to do.
    fn undecided(&self, decider: usize, error: &RunError) -> ClientError {
        let participant = &self.servers[decider];
        let of_ours = match error {
            RunError::Refused(body) => is_of_decisions(body),
            RunError::Lost(_) => false,
        };
        let error = refused(error);
        match error.code.as_str() {
            // What the transaction itself left to its end.
            _ if !of_ours => return error,
            "42P01" | "3F000" => {
                self.database.two_phase.note_ready(&participant.lease.address().to_string(), false);
            }
            // Somebody who took this process for dead was faster.
            "23505" => {
                let message = "this transaction took so long to commit that it was given up";
                return ClientError::error("40001", message)
                    .hint("It is rolled back on every shard; try again.");
            }
            _ => return error,
        }
        let server = participant.lease.address();
        let message = format!(
            "server {server} has no table shardway.decisions, where commits over several shards are written"
        );
        ClientError::error("55000", message)
            .hint("Shardway makes it when it may; try again, and see its log.")
    }

    /// The decider was lost at COMMIT: asks it what it did. Errors: as [`Self::reach_decision`].
    async fn ask_what_it_did(
        &mut self,
        decider: usize,
        parts: &[Part],
        live: &Live,
        error: ClientError,
    ) -> Result<(), Uncommitted> {
        let (database, shard, name) = (self.database.clone(), self.servers[decider].shard, live.name);
        let asked = self
            .proxy
            .control
            .spawn(async move { standing(&database, shard, &name, Instant::now() + ASKED).await });
        match asked.await {
            Ok(Ok(Standing::Committed)) => return Ok(()),
            Ok(Ok(Standing::Aborted)) => return Err(error.into()),
            // As long as a part of it was prepared, no decision was taken away.
            Ok(Ok(Standing::Fenced)) if self.undo_any(parts).await => return Err(error.into()),
            Ok(Ok(Standing::Fenced) | Err(_)) | Err(_) => {}
        }
        let server = self.servers[decider].lease.address();
        let message = format!(
            "server {server} was lost while it committed this transaction, and does not say whether it did"
        );
        let hint =
            "It is committed on all shards or on none, as soon as that server is back; see SHOW TWO_PHASE.";
        Err(Uncommitted { error: ClientError::error("08007", message).hint(hint), unknown: true })
    }

    /// Rolls back what is prepared. Whether there was something.
    async fn undo_any(&mut self, parts: &[Part]) -> bool {
        self.roll_back_parts(parts).await.iter().any(Result::is_ok)
    }

    async fn roll_back_parts(&mut self, parts: &[Part]) -> Vec<Outcome> {
        let commands = parts.iter().map(|p| (p.index, format!("ROLLBACK PREPARED '{}'", p.gid))).collect();
        let limit = self.rollback_limit();
        tokio::time::timeout(limit, self.round(commands, None)).await.unwrap_or_default()
    }

    /// Rolls back what was prepared. Whether nothing of it is left.
    async fn undo_parts(&mut self, parts: &[Part]) -> bool {
        let open: Vec<usize> =
            parts.iter().map(|p| p.index).filter(|&i| self.servers[i].lease.outstanding > 0).collect();
        let there = |part: &&Part| !open.contains(&part.index) && !self.servers[part.index].is_open();
        let parts: Vec<Part> = parts.iter().filter(there).map(Part::again).collect();
        let outcomes = self.roll_back_parts(&parts).await;
        // What failed to be prepared is not there.
        let gone = |outcome: &Outcome| match outcome {
            Ok(()) => true,
            Err(RunError::Refused(body)) => ClientError::of_server(body).code == "42704",
            Err(RunError::Lost(_)) => false,
        };
        open.is_empty() && outcomes.len() == parts.len() && outcomes.iter().all(gone)
    }

    /// Has parts that did not carry out what is decided do so. Whether they did in time.
    async fn carry_out(&mut self, parts: impl Iterator<Item = &Part>) -> bool {
        let deadline = Instant::now() + CARRIED_OUT;
        let insist = |part: &Part| {
            let (database, shard, gid) = (self.database.clone(), part.shard, part.gid.clone());
            self.proxy.control.spawn(async move { insist(&database, shard, &gid, true, deadline).await })
        };
        let at_work: Vec<_> = parts.map(insist).collect();
        let mut all = true;
        for work in at_work {
            all &= matches!(work.await, Ok(Ok(_)));
        }
        all
    }

    /// Sees to it that a shard has the table of decisions. Errors: it has not.
    async fn can_decide(&self, shard: ShardRef) -> Result<(), ClientError> {
        let address = self.database.shard(shard).primary().address.to_string();
        if self.database.two_phase.is_ready(&address) {
            return Ok(());
        }
        let database = self.database.clone();
        let prepared = self.proxy.control.spawn(async move {
            decisions::prepare(database.control_at(shard)?).await?;
            database.two_phase.note_ready(&address, true);
            Ok::<(), ControlError>(())
        });
        let why = match prepared.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let server = &self.database.shard(shard).primary().address;
        let message = format!(
            "this transaction can't be committed: server {server} has no table shardway.decisions: {why}"
        );
        let hint =
            "Give the user that Shardway reads catalogs with the right to make it: GRANT CREATE ON DATABASE.";
        Err(ClientError::error("55000", message).hint(hint))
    }

    /// How long a server may take to roll back.
    pub(super) fn rollback_limit(&self) -> Duration {
        let timeout = self.world.config.pool.cancel_wait_timeout;
        if timeout.is_zero() { ROLLBACK_LIMIT } else { timeout }
    }
}

impl Part {
    fn again(&self) -> Self {
        Self { index: self.index, shard: self.shard, gid: self.gid.clone() }
    }
}

/// Whether a server's error is about the table of decisions, or that there is none.
fn is_of_decisions(error: &[u8]) -> bool {
    let says = |field| String::from_utf8_lossy(frame::error_field(error, field).unwrap_or_default());
    match &*says(b'C') {
        "42P01" | "3F000" => says(b'M').contains("shardway"),
        _ => says(b's') == "shardway",
    }
}

/// Nobody was told to commit, so nothing is.
fn unasked() -> ClientError {
    ClientError::error("XX000", "this transaction has no server that could decide it")
}

/// For the client: two servers that can't prepare can't commit together.
pub(super) fn two_unpreparable() -> ClientError {
    let what = "this transaction wrote on several shards where it used temporary tables or NOTIFY, which can't be committed together";
    Refusal {
        code: "0A000",
        message: what.to_owned(),
        hint: "Use them on one shard only, or in transactions of their own.",
    }
    .into()
}
