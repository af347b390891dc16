//! The laws of the rooms, whoever comes and goes.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashSet;

fn sites(numbers: &[u64]) -> Vec<Site> {
    numbers.iter().map(|number| Site(*number)).collect()
}

#[test]
fn who_comes_later_waits_behind_who_waits_for_the_other_room() {
    let mut rooms = Rooms::default();
    let all = sites(&[0, 1]);
    let (first, inside) = rooms.enter(Room::Reads, &all);
    assert!(inside);
    let (commit, inside) = rooms.enter(Room::Commits, &all);
    assert!(!inside);
    let (second, inside) = rooms.enter(Room::Reads, &all);
    assert!(!inside, "else the commit might wait for ever");
    let (other, inside) = rooms.enter(Room::Commits, &all);
    assert!(!inside);
    assert_eq!(rooms.leave(first), (true, vec![commit, other]));
    let (third, inside) = rooms.enter(Room::Reads, &all);
    assert!(!inside);
    assert_eq!(rooms.leave(other), (true, vec![]));
    assert_eq!(rooms.leave(commit), (true, vec![second, third]));
}

#[test]
fn a_commit_that_insists_goes_in_and_readers_find_out() {
    let mut rooms = Rooms::default();
    let all = sites(&[0, 1]);
    let (reader, _) = rooms.enter(Room::Reads, &all);
    let (commit, _) = rooms.enter(Room::Commits, &all);
    let (next, _) = rooms.enter(Room::Reads, &all);
    assert_eq!(rooms.insist(commit), [commit]);
    assert_eq!(rooms.leave(reader), (false, vec![]), "what it was shown may be torn");
    assert_eq!(rooms.leave(commit), (true, vec![next]));
    assert_eq!(rooms.leave(next), (true, vec![]));
}

#[test]
fn a_commit_that_takes_long_holds_up_those_alone_who_may_see_a_part_of_it() {
    let mut rooms = Rooms::default();
    let (commit, _) = rooms.enter(Room::Commits, &sites(&[0, 1]));
    let (torn, _) = rooms.enter(Room::Reads, &sites(&[0, 1, 2]));
    let (apart, _) = rooms.enter(Room::Reads, &sites(&[1, 2]));
    assert_eq!(rooms.insist(torn), [apart]);
    assert!(rooms.insist(torn).is_empty(), "it is in nobody's way but the commit's");
    let (other, inside) = rooms.enter(Room::Reads, &sites(&[0, 2]));
    assert!(inside);
    // Who can't go in keeps nobody out.
    assert_eq!((rooms.leave(other).0, rooms.leave(apart).0), (true, true));
    let (second, inside) = rooms.enter(Room::Commits, &sites(&[2, 3]));
    assert!(inside);
    assert_eq!(rooms.leave(commit), (false, vec![]));
    assert_eq!(rooms.leave(second), (true, vec![torn]));
}

#[test]
fn a_commit_that_one_server_does_not_show_holds_up_those_who_read_that_one() {
    let mut rooms = Rooms::default();
    let (commit, _) = rooms.enter(Room::Commits, &sites(&[0, 1, 2]));
    assert!(rooms.is_late(commit, &sites(&[2])).is_empty());
    let (shown, inside) = rooms.enter(Room::Reads, &sites(&[0, 1]));
    assert!(inside);
    let (torn, inside) = rooms.enter(Room::Reads, &sites(&[1, 2]));
    assert!(!inside);
    let (without, inside) = rooms.enter(Room::Reads, &sites(&[2, 3]));
    assert!(inside);
    assert_eq!(rooms.leave(commit), (false, vec![torn]));
    assert!([shown, torn, without].into_iter().all(|ticket| rooms.leave(ticket).0));
}

#[derive(Clone, Debug)]
enum Deed {
    Enter(bool, HashSet<u64>),
    Leave(usize),
    Insist(usize),
    Late(usize, HashSet<u64>),
}

fn deed() -> impl Strategy<Value = Deed> {
    let some = || proptest::collection::hash_set(0..4_u64, 2..4);
    prop_oneof![
        3 => (any::<bool>(), some()).prop_map(|(reads, sites)| Deed::Enter(reads, sites)),
        3 => (0..64_usize).prop_map(Deed::Leave),
        1 => (0..64_usize).prop_map(Deed::Insist),
        1 => (0..64_usize, some()).prop_map(|(who, hidden)| Deed::Late(who, hidden)),
    ]
}

/// Those who are about, with what they came for.
#[derive(Default)]
struct Model {
    rooms: Rooms,
    about: Vec<(Ticket, Room, Vec<Site>)>,
    /// Readers that were in while a part of something could be seen, as who looks from outside knows it.
    torn: HashSet<Ticket>,
}

impl Model {
    fn reads(&self) -> Vec<(Ticket, Vec<Site>)> {
        let inside = |(ticket, room, sites): &(Ticket, Room, Vec<Site>)| {
            (*room == Room::Reads && self.rooms.is_inside(*ticket)).then(|| (*ticket, sites.clone()))
        };
        self.about.iter().filter_map(inside).collect()
    }

    /// What holds whenever nothing moves.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let commits = |(ticket, room, _): &&(Ticket, Room, Vec<Site>)| {
            *room == Room::Commits && self.rooms.is_inside(*ticket)
        };
        let reads = self.reads();
        prop_assert!(reads.is_empty() || self.about.iter().filter(commits).count() == 0, "both are in use");
        for (_, sites) in &reads {
            prop_assert!(!self.rooms.apart.values().any(|apart| apart.tears(sites)), "a part can be seen");
        }
        if self.rooms.inside.is_empty() {
            let mut waiting = self.rooms.waiting.iter();
            prop_assert!(
                !waiting.any(|waiter| self.rooms.is_able(waiter)),
                "nobody is in, and somebody waits"
            );
        }
        let known = self.rooms.inside.len() + self.rooms.waiting.len() + self.rooms.apart.len();
        prop_assert!(known <= self.about.len(), "somebody is there who has left");
        Ok(())
    }

    fn run(&mut self, deed: Deed) -> Result<(), TestCaseError> {
        let before: HashSet<Ticket> = self.reads().into_iter().map(|(ticket, _)| ticket).collect();
        let who = |n: usize| self.about.get(n % self.about.len().max(1)).cloned();
        match deed {
            Deed::Enter(reads, sites) => {
                let room = if reads { Room::Reads } else { Room::Commits };
                let sites: Vec<Site> = sites.into_iter().map(Site).collect();
                let waits = self.rooms.others_wait(room);
                let (ticket, inside) = self.rooms.enter(room, &sites);
                prop_assert!(!(inside && waits), "it went past somebody");
                self.about.push((ticket, room, sites));
            }
            Deed::Leave(n) => {
                if let Some((ticket, room, _)) = who(n) {
                    self.about.retain(|other| other.0 != ticket);
                    let (whole, _) = self.rooms.leave(ticket);
                    prop_assert!(room == Room::Commits || !(whole && self.torn.remove(&ticket)), "not told");
                }
            }
            Deed::Insist(n) => {
                if let Some((ticket, ..)) = who(n) {
                    self.rooms.insist(ticket);
                }
            }
            Deed::Late(n, hidden) => {
                if let Some((ticket, Room::Commits, _)) = who(n) {
                    let hidden: Vec<Site> = hidden.into_iter().map(Site).collect();
                    // Only who has begun can be late, and what is shown stays so.
                    let before = self.rooms.apart.get(&ticket).map(|apart| apart.hidden.to_vec());
                    let still = |site: &Site| before.as_ref().is_none_or(|before| before.contains(site));
                    let hidden: Vec<Site> = hidden.into_iter().filter(still).collect();
                    self.rooms.is_late(ticket, &hidden);
                }
            }
        }
        let after: HashSet<Ticket> = self.reads().into_iter().map(|(ticket, _)| ticket).collect();
        self.torn.extend(before.difference(&after).filter(|t| self.about.iter().any(|other| other.0 == **t)));
        self.check()
    }
}

proptest! {
    #[test]
    fn the_rooms_are_never_both_in_use_and_nobody_waits_for_ever(deeds in vec(deed(), 0..60)) {
        let mut model = Model::default();
        for deed in deeds {
            model.run(deed)?;
        }
        // Everybody who is in goes, twice: then whoever waited has been in.
        let waited: Vec<Ticket> = model.rooms.waiting.iter().map(|waiter| waiter.ticket).collect();
        let apart: Vec<Ticket> = model.rooms.apart.keys().copied().collect();
        for ticket in apart {
            model.rooms.leave(ticket);
        }
        let mut served: HashSet<Ticket> = HashSet::new();
        for _ in 0..3 {
            let inside: Vec<Ticket> = model.rooms.inside.keys().copied().collect();
            served.extend(&inside);
            for ticket in inside {
                model.rooms.leave(ticket);
            }
        }
        prop_assert!(waited.iter().all(|ticket| served.contains(ticket)), "somebody is left waiting");
        let all: Vec<Ticket> = model.about.iter().map(|(ticket, ..)| *ticket).collect();
        for ticket in all {
            model.rooms.leave(ticket);
        }
        let rooms = &model.rooms;
        prop_assert!(rooms.inside.is_empty() && rooms.waiting.is_empty() && rooms.apart.is_empty());
        prop_assert_eq!(rooms.open, None);
    }
}
