//! Transactions that several servers commit together (two-phase commit): who is at it now, and what is left by those who
//! are no more.
//!
//! A session's part is in [`crate::session`]: it prepares the transaction on all of its servers but one, writes its
//! decision on that one ([`decisions`]) and commits there: from then on it is committed, and the others follow. What a
//! session, or a process, leaves half-done, any Shardway brings to its end ([`resolver`]): committed if the decision
//! stands, else rolled back, for good.
//!
//! While a transaction is shown by some servers and not by others, nobody takes snapshots on several of them: see [`rooms`].

pub mod decisions;
pub mod door;
pub mod finish;
pub mod gid;
pub mod resolver;
pub mod rooms;

use crate::schema::ShardRef;
use arc_swap::ArcSwap;
use door::{Door, Place};
use gid::Name;
use rooms::Site;
use shardway_pool::Login;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How many decisions wait to be taken away before that is not put off any longer.
const ENOUGH: usize = 1000;

/// What one database's transactions have in common, over reloads.
#[derive(Debug)]
pub struct TwoPhase {
    instance: u64,
    state: Mutex<State>,
    /// There is something for the resolver to do.
    wake: Notify,
    /// What transactions are by default, where servers, databases or roles are set so.
    levels: ArcSwap<Vec<Level>>,
    /// The way to where they become visible.
    pub(crate) door: Arc<Door>,
}

/// A default isolation level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// The role that it is for; empty: any.
    pub(crate) role: String,
    /// What is said more closely counts.
    pub(crate) weight: u8,
    /// In Postgres' words.
    pub(crate) level: String,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    live: HashMap<u64, Stage>,
    /// Decisions that nobody needs any more, with where they are.
    done: Vec<(ShardRef, Name)>,
    /// Who prepared: the login of each user that did.
    owners: HashMap<String, Login>,
    /// Servers that have the table of decisions, by address.
    ready: HashSet<String>,
    /// What was found prepared when servers were asked last.
    found: Vec<Found>,
    /// Those that were handed over when some servers may have shown them already.
    late: HashMap<u64, Late>,
}

/// A transaction that nobody works on any more, and that not all of its servers may show yet.
#[derive(Debug)]
struct Late {
    /// Where it keeps out those who would see a part of it.
    _place: Place,
    /// The servers that may not show it.
    hidden: Vec<ShardRef>,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It may still be rolled back.
    InProgress,
    /// It is decided that it commits.
    Committing,
    /// Nobody works on it, and how it ended could not be found out or carried out yet.
    Orphaned,
}

impl Stage {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in progress",
            Self::Committing => "committing",
            Self::Orphaned => "orphaned",
        }
    }
}

/// A prepared transaction of ours.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it was found.
    pub shard: ShardRef,
    /// What it is called.
    pub gid: String,
    /// Who prepared it.
    pub owner: String,
    /// When, in the server's words.
    pub prepared: String,
    /// How long ago that was.
    pub age: Duration,
    /// How far it is.
    pub stage: Stage,
}

/// Who was at work at one moment.
pub(crate) struct Moment {
    last: u64,
    live: HashMap<u64, Stage>,
}

impl Default for TwoPhase {
    fn default() -> Self {
        Self {
            instance: rand::random(),
            state: Mutex::default(),
            wake: Notify::new(),
            levels: ArcSwap::default(),
            door: Arc::default(),
        }
    }
}

impl TwoPhase {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction that is about to be prepared by who logs in as this, and decided at `decider`.
    pub fn begin(self: &Arc<Self>, decider: ShardRef, owner: Login) -> Live {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.live.insert(number, Stage::InProgress);
        if state.owners.get(&owner.user) != Some(&owner) {
            state.owners.insert(owner.user.clone(), owner);
        }
        let name = Name { instance: self.instance, number };
        Live { of: self.clone(), name, decider, shown: None, ended: false }
    }

    /// How to log in as who prepared something.
    pub(crate) fn login_of(&self, owner: &str) -> Option<Login> {
        self.state().owners.get(owner).cloned()
    }

    /// Whether the server at this address is known to have the table of decisions.
    pub fn is_ready(&self, address: &str) -> bool {
        self.state().ready.contains(address)
    }

    /// It has it, or (false) is found not to.
    pub fn note_ready(&self, address: &str, ready: bool) {
        let mut state = self.state();
        if ready {
            state.ready.insert(address.to_owned());
        } else {
            state.ready.remove(address);
            self.wake.notify_one();
        }
    }

    /// What was found prepared when servers were asked last.
    pub fn found(&self) -> Vec<Found> {
        self.state().found.clone()
    }

    pub(crate) fn publish(&self, found: Vec<Found>) {
        self.state().found = found;
    }

    pub(crate) fn publish_levels(&self, levels: Vec<Level>) {
        if **self.levels.load() != levels {
            self.levels.store(Arc::new(levels));
        }
    }

    /// The default isolation level of who logs in so, as far as it was found to be set: the strictest, where servers differ.
    pub fn level_of(&self, user: impl FnOnce() -> String) -> Option<String> {
        let levels = self.levels.load();
        if levels.is_empty() {
            return None;
        }
        let user = user();
        let own = || levels.iter().filter(|level| level.role.is_empty() || level.role == user);
        let closest = own().map(|level| level.weight).max()?;
        // By their names, the strictest is the last.
        own().filter(|level| level.weight == closest).map(|level| level.level.clone()).max()
    }

    pub(crate) fn moment(&self) -> Moment {
        let state = self.state();
        Moment { last: state.last, live: state.live.clone() }
    }

    /// How far a transaction was at a moment, if somebody here was at work on it then, or may have begun since.
    pub(crate) fn stage(&self, moment: &Moment, name: &Name) -> Option<Stage> {
        if name.instance != self.instance {
            return None;
        }
        let begun = (name.number > moment.last).then_some(Stage::InProgress);
        moment.live.get(&name.number).copied().or(begun)
    }

    /// Whether it is of this process.
    pub(crate) fn is_own(&self, name: &Name) -> bool {
        name.instance == self.instance
    }

    /// What was found on servers at a moment: those who read are held up no more by what was handed over before it, where
    /// `looked` says of each server that may not have shown it that it was asked, and the transaction is not `left`.
    pub(crate) fn lift(
        &self,
        moment: &Moment,
        looked: impl Fn(ShardRef) -> bool,
        left: impl Fn(&Name) -> bool,
    ) {
        let is_over = |number: &u64, late: &mut Late| {
            let name = Name { instance: self.instance, number: *number };
            *number <= moment.last
                && !moment.live.contains_key(number)
                && !left(&name)
                && late.hidden.iter().all(|shard| looked(*shard))
        };
        let over: Vec<_> = self.state().late.extract_if(|number, late| is_over(number, late)).collect();
        // Not under the lock: it wakes others.
        drop(over);
    }

    pub(crate) fn take_done(&self) -> Vec<(ShardRef, Name)> {
        std::mem::take(&mut self.state().done)
    }

    /// Waits until there is something to do, but no longer than so.
    pub(crate) async fn rest(&self, time: Duration) {
        // Either way it is time.
        let _ = tokio::time::timeout(time, self.wake.notified()).await;
    }
}

/// A transaction that somebody works on. Dropped before it has ended, it is the resolver's.
#[derive(Debug)]
pub struct Live {
    of: Arc<TwoPhase>,
    /// What it is called.
    pub name: Name,
    /// Where it is decided.
    decider: ShardRef,
    /// Since it began to be shown: its place, and the servers that may not show it yet.
    shown: Option<(Place, Vec<ShardRef>)>,
    ended: bool,
}

impl Live {
    /// It is decided: it commits.
    pub fn commits(&self) {
        self.of.state().live.insert(self.name.number, Stage::Committing);
    }

    /// From here on some servers may show it, and others not: until it has ended, nobody takes snapshots on several of
    /// `shards`.
    pub fn is_shown(&mut self, place: Place, shards: Vec<ShardRef>) {
        self.shown = Some((place, shards));
    }

    /// It turned out that no server shows it, and none will.
    pub fn stays_hidden(&mut self) {
        self.shown = None;
    }

    /// All servers show it but these.
    pub fn is_late(&mut self, shards: Vec<ShardRef>, sites: &[Site]) {
        if let Some((place, hidden)) = &mut self.shown {
            place.is_late(sites);
            *hidden = shards;
        }
    }

    /// Every server has carried it out; `committed` or not, nothing is left to be done.
    pub fn ended(mut self, committed: bool) {
        self.ended = true;
        let mut state = self.of.state();
        if committed {
            state.done.push((self.decider, self.name));
            if state.done.len() == ENOUGH {
                self.of.wake.notify_one();
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let shown = self.shown.take();
        let mut state = self.of.state();
        state.live.remove(&self.name.number);
        if !self.ended {
            let late = shown.map(|(place, hidden)| Late { _place: place, hidden });
            state.late.extend(late.map(|late| (self.name.number, late)));
            drop(state);
            self.of.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::GroupId;
    use shardway_shardmap::ShardId;

    const AT: ShardRef = ShardRef { group: GroupId(0), shard: ShardId(0) };

    fn login(user: &str) -> Login {
        Login { user: user.to_owned(), credential: None }
    }

    #[tokio::test]
    async fn what_is_dropped_half_way_is_handed_over_at_once() {
        let all = Arc::new(TwoPhase::default());
        let live = all.begin(AT, login("app"));
        let name = live.name;
        assert_eq!(all.stage(&all.moment(), &name), Some(Stage::InProgress));
        live.commits();
        let before = all.moment();
        assert_eq!(all.stage(&before, &name), Some(Stage::Committing));
        drop(live);
        all.wake.notified().await;
        assert_eq!(
            all.stage(&before, &name),
            Some(Stage::Committing),
            "it was at work when servers were asked"
        );
        assert_eq!(all.stage(&all.moment(), &name), None);
        assert!(all.take_done().is_empty() && all.is_own(&name) && all.login_of("app").is_some());
    }

    #[test]
    fn what_has_ended_leaves_a_decision_to_be_taken_away_and_no_more() {
        let all = Arc::new(TwoPhase::default());
        let (kept, undone) = (all.begin(AT, login("app")), all.begin(AT, login("app")));
        let name = kept.name;
        kept.ended(true);
        undone.ended(false);
        assert_eq!(all.take_done(), [(AT, name)]);
        assert!(all.moment().live.is_empty());
    }

    #[tokio::test]
    async fn what_some_servers_show_keeps_readers_out_until_the_others_were_looked_at() {
        const BOTH: &[Site] = &[Site(0), Site(1)];
        let other = ShardRef { shard: ShardId(1), ..AT };
        let all = Arc::new(TwoPhase::default());
        let mut live = all.begin(AT, login("app"));
        let name = live.name;
        let place = all.door.enter(rooms::Room::Commits, BOTH);
        place.inside().await;
        live.is_shown(place, vec![AT, other]);
        live.is_late(vec![other], &BOTH[1..]);
        let early = all.moment();
        drop(live);
        let reader = all.door.enter(rooms::Room::Reads, BOTH);
        let waits = || tokio::time::timeout(Duration::from_millis(1), reader.inside());
        all.lift(&early, |_| true, |_| false);
        assert!(waits().await.is_err(), "it was handed over later");
        let moment = all.moment();
        all.lift(&moment, |shard| shard == AT, |_| false);
        assert!(waits().await.is_err(), "the other one did not answer");
        all.lift(&moment, |_| true, |left| *left == name);
        assert!(waits().await.is_err(), "it is still there");
        all.lift(&moment, |shard| shard == other, |_| false);
        reader.inside().await;
        assert!(reader.leave());
    }

    #[test]
    fn what_begins_after_a_look_is_not_taken_for_left() {
        let all = Arc::new(TwoPhase::default());
        let before = all.moment();
        let live = all.begin(AT, login("app"));
        let name = live.name;
        live.ended(true);
        assert_eq!(all.stage(&before, &name), Some(Stage::InProgress));
        let other = Name { instance: name.instance ^ 1, ..name };
        assert_eq!(all.stage(&before, &other), None, "another process knows");
    }

    #[test]
    fn the_level_that_is_said_most_closely_counts() {
        let all = TwoPhase::default();
        let level =
            |role: &str, weight, level: &str| Level { role: role.into(), weight, level: level.into() };
        assert_eq!(all.level_of(|| "app".to_owned()), None);
        all.publish_levels(vec![
            level("", 0, "serializable"),
            level("", 2, "repeatable read"),
            level("ada", 3, "read committed"),
            level("bob", 4, "serializable"),
            level("bob", 4, "read committed"),
        ]);
        let of = |user: &str| all.level_of(|| user.to_owned());
        assert_eq!(of("app").as_deref(), Some("repeatable read"));
        assert_eq!(of("ada").as_deref(), Some("read committed"));
        assert_eq!(of("bob").as_deref(), Some("serializable"), "where servers differ, the strictest");
    }
}
