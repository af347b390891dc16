//! Going into the [rooms](super::rooms) and out again: a task waits, and a place that is dropped is left, wherever its task
//! was.

use super::rooms::{Room, Rooms, Site, Ticket};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// How long those in one room are waited for by those who want the other one.
const PATIENCE: Duration = Duration::from_millis(200);

/// The way into the rooms of databases that have servers in common.
#[derive(Debug, Default)]
pub struct Door(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rooms: Rooms,
    /// Who waits; who does not has no entry.
    tasks: HashMap<Ticket, Option<Waker>>,
}

/// A place in a room, or in front of it. Dropped, it is left.
#[derive(Debug)]
pub struct Place {
    door: Arc<Door>,
    ticket: Ticket,
    /// It was in its room at once.
    inside: bool,
    gone: bool,
}

impl Door {
    /// Comes to a room. See [`Place::inside`].
    pub fn enter(self: &Arc<Self>, room: Room, sites: &[Site]) -> Place {
        let mut inner = self.inner();
        let (ticket, inside) = inner.rooms.enter(room, sites);
        if !inside {
            inner.tasks.insert(ticket, None);
        }
        Place { door: self.clone(), ticket, inside, gone: false }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that may let others in.
    fn change<T>(&self, change: impl FnOnce(&mut Rooms) -> (T, Vec<Ticket>)) -> T {
        let mut inner = self.inner();
        let (given, admitted) = change(&mut inner.rooms);
        let tasks: Vec<Waker> =
            admitted.iter().filter_map(|ticket| inner.tasks.remove(ticket)).flatten().collect();
        drop(inner);
        tasks.into_iter().for_each(Waker::wake);
        given
    }
}

impl Place {
    /// Waits until it is in its room. Who is in the other one is not waited for longer than [`PATIENCE`]; a commit that is
    /// set apart is, for ever, by a reader that it concerns.
    pub async fn inside(&self) {
        if self.inside {
            return;
        }
        while tokio::time::timeout(PATIENCE, self.let_in()).await.is_err() {
            self.door.change(|rooms| ((), rooms.insist(self.ticket)));
        }
    }

    async fn let_in(&self) {
        poll_fn(|cx| match self.door.inner().tasks.get_mut(&self.ticket) {
            Some(task) => {
                *task = Some(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
    }

    /// Leaves. Whether it was in its room up to now; else somebody became visible meanwhile.
    pub fn leave(mut self) -> bool {
        self.go()
    }

    fn go(&mut self) -> bool {
        self.gone = true;
        self.door.inner().tasks.remove(&self.ticket);
        self.door.change(|rooms| rooms.leave(self.ticket))
    }

    /// A commit is shown, but by these servers.
    pub fn is_late(&self, hidden: &[Site]) {
        self.door.change(|rooms| ((), rooms.is_late(self.ticket, hidden)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.gone {
            self.go();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &[Site] = &[Site(0), Site(1)];

    fn is_empty(door: &Door) -> bool {
        door.inner().tasks.is_empty()
    }

    #[tokio::test]
    async fn a_place_that_is_dropped_is_left_inside_and_in_front() {
        let door = Arc::new(Door::default());
        let commit = door.enter(Room::Commits, BOTH);
        commit.inside().await;
        let gives_up = door.enter(Room::Reads, BOTH);
        let waits = tokio::time::timeout(PATIENCE / 4, gives_up.inside());
        assert!(waits.await.is_err());
        drop(gives_up);
        assert!(is_empty(&door));
        let reader = door.enter(Room::Reads, BOTH);
        let (_, ()) = tokio::join!(reader.inside(), async { drop(commit) });
        assert!(is_empty(&door) && reader.leave());
        door.enter(Room::Commits, BOTH).inside().await;
    }

    #[tokio::test]
    async fn a_commit_does_not_wait_long_for_readers_and_they_are_told() {
        let door = Arc::new(Door::default());
        let reader = door.enter(Room::Reads, BOTH);
        reader.inside().await;
        let began = std::time::Instant::now();
        let commit = door.enter(Room::Commits, BOTH);
        commit.inside().await;
        assert!(began.elapsed() >= PATIENCE);
        assert!(!reader.leave());
    }

    #[tokio::test]
    async fn a_reader_waits_for_a_commit_that_takes_long_and_others_do_not() {
        let door = Arc::new(Door::default());
        let commit = door.enter(Room::Commits, BOTH);
        commit.inside().await;
        let (torn, other) = (door.enter(Room::Reads, BOTH), door.enter(Room::Reads, &[Site(1), Site(2)]));
        let waits = tokio::time::timeout(PATIENCE * 3, torn.inside());
        let (waited, ()) = tokio::join!(waits, other.inside());
        assert!(waited.is_err() && other.leave());
        let ((), ()) = tokio::join!(torn.inside(), async { drop(commit) });
        assert!(torn.leave());
    }
}
