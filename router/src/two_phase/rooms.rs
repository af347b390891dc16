//! Two rooms that are never both in use: in one of them transactions over several servers become visible, in the other one
//! statements over several servers take their snapshots. So whoever reads sees all of such a transaction, or nothing.
//!
//! Any number may be in a room. Who wants the other one waits, and from then on newcomers of the room in use wait behind: when
//! it is empty, all that wait for the other one go in. Nobody has to wait for ever for who does not come out:
//!
//! - a commit that waits too long pushes readers aside ([`Rooms::insist`]), who find out when they leave
//!   ([`Rooms::leave`]): what they were shown may be torn, and they ask again;
//! - a reader that waits too long sets commits apart. Those hold up from then on only who would see a part of them: who reads
//!   a server that may not show it yet, and another one of it.
//!
//! This is what is decided, without a clock or a task; [`super::door`] is where it is waited.

use std::collections::HashMap;

/// A server's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site(pub u64);

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Take snapshots.
    Reads,
    /// Become visible.
    Commits,
}

/// What tells one who came from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Somebody who is not in yet.
#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    room: Room,
    sites: Box<[Site]>,
}

/// A commit that takes long.
#[derive(Debug)]
struct Apart {
    all: Box<[Site]>,
    /// Those that may not show it yet.
    hidden: Box<[Site]>,
}

impl Apart {
    /// Whether who reads these may see a part of it.
    fn tears(&self, read: &[Site]) -> bool {
        read.iter().any(|site| self.hidden.contains(site))
            && read.iter().filter(|site| self.all.contains(site)).count() > 1
    }
}

/// Who is where.
#[derive(Debug, Default)]
pub struct Rooms {
    next: u64,
    /// The room in use.
    open: Option<Room>,
    /// Who is in it.
    inside: HashMap<Ticket, Box<[Site]>>,
    /// Who came first stands first.
    waiting: Vec<Waiter>,
    apart: HashMap<Ticket, Apart>,
}

impl Rooms {
    /// Somebody comes, with the servers that this is about. Whether it is in at once.
    pub fn enter(&mut self, room: Room, sites: &[Site]) -> (Ticket, bool) {
        self.next += 1;
        let waiter = Waiter { ticket: Ticket(self.next), room, sites: sites.into() };
        let ticket = waiter.ticket;
        let is_free = self.inside.is_empty() || self.open == Some(room);
        let goes_in = is_free && self.is_able(&waiter) && !self.others_wait(room);
        if goes_in {
            self.open = Some(room);
            self.inside.insert(ticket, waiter.sites);
        } else {
            self.waiting.push(waiter);
        }
        (ticket, goes_in)
    }

    /// Somebody goes, from wherever it is. Whether it was in its room up to now; and who is in from now on.
    pub fn leave(&mut self, ticket: Ticket) -> (bool, Vec<Ticket>) {
        let was_inside = self.inside.remove(&ticket).is_some();
        if !was_inside && self.apart.remove(&ticket).is_none() {
            self.waiting.retain(|waiter| waiter.ticket != ticket);
        }
        (was_inside, self.settle())
    }

    /// Somebody has waited for long enough: who is in the other room is pushed aside, or set apart. Who is in from now on.
    pub fn insist(&mut self, ticket: Ticket) -> Vec<Ticket> {
        let Some(waiter) = self.waiting.iter().find(|waiter| waiter.ticket == ticket) else {
            return Vec::new();
        };
        // It waits for what is apart, and not for those inside.
        if !self.is_able(waiter) || self.open == Some(waiter.room) {
            return Vec::new();
        }
        let inside = std::mem::take(&mut self.inside);
        if self.open == Some(Room::Commits) {
            let apart = inside.into_iter().map(|(ticket, all)| (ticket, Apart { hidden: all.clone(), all }));
            self.apart.extend(apart);
        }
        self.settle()
    }

    /// A commit is shown, but by these servers. It holds up nobody else from here on. Who is in from now on.
    pub fn is_late(&mut self, ticket: Ticket, hidden: &[Site]) -> Vec<Ticket> {
        if let Some(all) = self.inside.remove(&ticket) {
            self.apart.insert(ticket, Apart { all, hidden: hidden.into() });
        } else if let Some(apart) = self.apart.get_mut(&ticket) {
            apart.hidden = hidden.into();
        }
        self.settle()
    }

    /// Whether it is in its room.
    #[cfg(test)]
    fn is_inside(&self, ticket: Ticket) -> bool {
        self.inside.contains_key(&ticket)
    }

    /// Whether nothing that is apart is in its way.
    fn is_able(&self, waiter: &Waiter) -> bool {
        waiter.room == Room::Commits || !self.apart.values().any(|apart| apart.tears(&waiter.sites))
    }

    fn others_wait(&self, room: Room) -> bool {
        self.waiting.iter().any(|waiter| waiter.room != room && self.is_able(waiter))
    }

    /// Lets in who may. An empty room makes way for whoever waits longest, and for all that want the same.
    fn settle(&mut self) -> Vec<Ticket> {
        if self.inside.is_empty() {
            self.open = self.waiting.iter().find(|waiter| self.is_able(waiter)).map(|waiter| waiter.room);
        } else if self.open.is_some_and(|room| self.others_wait(room)) {
            return Vec::new();
        }
        let Some(room) = self.open else { return Vec::new() };
        let waiting = std::mem::take(&mut self.waiting);
        let (admitted, waiting): (Vec<Waiter>, Vec<Waiter>) =
            waiting.into_iter().partition(|waiter| waiter.room == room && self.is_able(waiter));
        self.waiting = waiting;
        let tickets = admitted.iter().map(|waiter| waiter.ticket).collect();
        self.inside.extend(admitted.into_iter().map(|waiter| (waiter.ticket, waiter.sites)));
        tickets
    }
}

#[cfg(test)]
mod tests;
