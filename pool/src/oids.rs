//! Object ids of types that users made, as clients know them and as each server does.
//!
//! A type made on several servers has another object id on each. Clients see one set: that of the shard which answers
//! questions about catalogs. [`maps`] lays each shard's beside it; a connection to a shard that has others is given a
//! [`door::Door`], where the ids in all that passes are put in the other side's terms: in descriptions of rows and
//! parameters, and in binary arrays and composites, which carry the types of what is in them ([`values`]). Whoever reads
//! from such a connection, or writes to it, knows of one set of ids alone.

pub mod door;
pub mod values;

use crate::catalog::Name;
use crate::catalog::types::{Objects, Type};
use fnv::{FnvHashMap, FnvHashSet};
use std::collections::HashMap;
use std::sync::Arc;

/// Object ids from here on are given out by each server for itself (`FirstNormalObjectId`).
pub const FIRST_OF_USERS: u32 = 16384;

/// Set in an id that would otherwise be taken for that of another type: no server has come that far.
const APART: u32 = 1 << 31;

/// How deep types are looked into.
const MAX_DEPTH: usize = 32;

/// `record`.
const RECORD: u32 = 2249;
/// `record[]`.
const RECORDS: u32 = 2287;
/// `anyarray`, as columns of statistics are.
const ANY_ARRAY: u32 = 2277;

/// What a type is made of; what of is said by object id, of the same side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Nothing that has a type of its own.
    Plain,
    /// Elements of a type.
    Array(u32),
    /// Values of another type.
    Domain(u32),
    /// Fields, each of which says its type.
    Record,
    /// Bounds of a type.
    Range(u32),
    /// Ranges of a type.
    Multirange(u32),
}

impl Made {
    fn map(self, with: impl Fn(u32) -> u32) -> Self {
        match self {
            Self::Plain | Self::Record => self,
            Self::Array(of) => Self::Array(with(of)),
            Self::Domain(of) => Self::Domain(with(of)),
            Self::Range(of) => Self::Range(with(of)),
            Self::Multirange(of) => Self::Multirange(with(of)),
        }
    }
}

/// A type on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// Its id on the other side, if it is there.
    there: Option<u32>,
    made: Made,
    /// Whether binary values of it have ids in them that differ.
    holds: bool,
}

/// The types of one side.
#[derive(Debug, Default, PartialEq, Eq)]
struct Side(FnvHashMap<u32, Known>);

impl Side {
    fn made(&self, oid: u32) -> Made {
        match oid {
            RECORD => Made::Record,
            RECORDS => Made::Array(RECORD),
            // What of is said in the value.
            ANY_ARRAY => Made::Array(ANY_ARRAY),
            _ => self.0.get(&oid).map_or(Made::Plain, |known| known.made),
        }
    }
}

/// One shard's ids beside those that clients see.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Oids {
    shard: Side,
    client: Side,
    /// Relations, by the shard's id.
    relations: FnvHashMap<u32, u32>,
    /// Those of clients.
    client_relations: FnvHashSet<u32>,
    /// The lowest and the highest of clients' types that have another id on the shard.
    bounds: (u32, u32),
}

/// A direction: from whose terms into whose.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    from: &'a Side,
    to: &'a Side,
}

impl Oids {
    /// From the shard's terms into the client's.
    pub fn inwards(&self) -> Way<'_> {
        Way { from: &self.shard, to: &self.client }
    }

    /// From the client's terms into the shard's.
    pub fn outwards(&self) -> Way<'_> {
        Way { from: &self.client, to: &self.shard }
    }

    /// A relation of the shard's, in the client's terms; 0, which stands for none, where that would name another one.
    pub fn relation(&self, oid: u32) -> u32 {
        match self.relations.get(&oid) {
            Some(there) => *there,
            None if self.client_relations.contains(&oid) => 0,
            None => oid,
        }
    }

    /// Whether these bytes of a client's may have an id in them that is another one on the shard.
    pub fn may_hold(&self, bytes: &[u8]) -> bool {
        let differs = |window: &[u8]| {
            let oid = u32_at(window, 0).unwrap_or(0);
            (self.bounds.0..=self.bounds.1).contains(&oid) && self.outwards().oid(oid) != oid
        };
        bytes.windows(4).any(differs)
    }

    fn is_same(&self) -> bool {
        self.shard.0.iter().all(|(oid, known)| known.there == Some(*oid))
            && self.relations.iter().all(|(here, there)| here == there)
    }
}

impl Way<'_> {
    /// A type's id on the other side. One that is not there gets an id that is not another type's.
    pub fn oid(&self, oid: u32) -> u32 {
        if oid < FIRST_OF_USERS {
            return oid;
        }
        match self.from.0.get(&oid) {
            Some(Known { there: Some(there), .. }) => *there,
            Some(_) if self.to.0.contains_key(&oid) => oid | APART,
            Some(_) => oid,
            None if oid & APART != 0 && self.from.0.contains_key(&(oid & !APART)) => oid & !APART,
            None if self.to.0.contains_key(&oid) => oid | APART,
            None => oid,
        }
    }

    /// Whether binary values of a type have ids in them that may have to be put in other terms.
    pub fn holds(&self, oid: u32) -> bool {
        match oid {
            RECORD | RECORDS | ANY_ARRAY => true,
            _ => self.from.0.get(&oid).is_some_and(|known| known.holds),
        }
    }

    /// The same by what the type is made of.
    fn holds_by_making(&self, oid: u32, depth: usize) -> bool {
        let differs = |of: u32| self.oid(of) != of;
        let holds = |of: u32| depth == 0 || self.holds_by_making(of, depth - 1);
        match self.from.made(oid) {
            Made::Plain => false,
            Made::Record => true,
            Made::Array(of) => oid == ANY_ARRAY || differs(of) || holds(of),
            Made::Domain(of) | Made::Range(of) | Made::Multirange(of) => holds(of),
        }
    }
}

/// Lays the ids of shards beside those that clients see: each name's of the first shard that has it. `None` for a shard
/// that has the same, and for one of which nothing is known.
pub fn maps(shards: &[Option<&Objects>]) -> Vec<Option<Arc<Oids>>> {
    let seen = Seen::of(shards);
    let of = |shard: &Option<&Objects>| {
        let oids = seen.beside((*shard)?);
        (!oids.is_same()).then(|| Arc::new(oids))
    };
    shards.iter().map(of).collect()
}

/// A type's name, and whether it is the array type of that name.
type TypeName<'a> = (&'a Name, bool);

/// What clients see.
struct Seen<'a> {
    types: HashMap<TypeName<'a>, (u32, Made)>,
    relations: HashMap<&'a Name, u32>,
}

fn name_of(known: &Type) -> TypeName<'_> {
    (&known.name, known.is_array)
}

impl<'a> Seen<'a> {
    fn of(shards: &[Option<&'a Objects>]) -> Self {
        let mut ids: HashMap<TypeName<'a>, u32> = HashMap::new();
        let mut first: Vec<(&Objects, &Type)> = Vec::new();
        let (mut taken, mut relations) = (FnvHashSet::default(), HashMap::new());
        let mut taken_relations = FnvHashSet::default();
        for objects in shards.iter().flatten() {
            for known in
                objects.types.iter().filter(|known| !ids.contains_key(&name_of(known))).collect::<Vec<_>>()
            {
                ids.insert(name_of(known), claim(&mut taken, known.oid));
                first.push((objects, known));
            }
            for (name, oid) in &objects.relations {
                if !relations.contains_key(name) {
                    relations.insert(name, claim(&mut taken_relations, *oid));
                }
            }
        }
        let mut types = HashMap::with_capacity(ids.len());
        for (objects, own) in objects_of(&first) {
            let names: FnvHashMap<u32, TypeName<'_>> =
                objects.types.iter().map(|known| (known.oid, name_of(known))).collect();
            let seen = |oid: u32| names.get(&oid).and_then(|name| ids.get(name)).copied().unwrap_or(oid);
            types.extend(
                own.iter().map(|known| (name_of(known), (ids[&name_of(known)], known.made.map(seen)))),
            );
        }
        Self { types, relations }
    }

    fn beside(&self, objects: &Objects) -> Oids {
        let own: HashMap<TypeName<'_>, u32> =
            objects.types.iter().map(|known| (name_of(known), known.oid)).collect();
        let known = |there, made| Known { there, made, holds: false };
        let there = |of: &Type| self.types.get(&name_of(of)).map(|(oid, _)| *oid);
        let mut oids = Oids {
            shard: Side(objects.types.iter().map(|of| (of.oid, known(there(of), of.made))).collect()),
            client: Side(
                self.types
                    .iter()
                    .map(|(name, (oid, made))| (*oid, known(own.get(name).copied(), *made)))
                    .collect(),
            ),
            relations: objects
                .relations
                .iter()
                .filter_map(|(name, oid)| Some((*oid, *self.relations.get(name)?)))
                .collect(),
            client_relations: self.relations.values().copied().collect(),
            bounds: (u32::MAX, 0),
        };
        let holding = |way: Way<'_>| -> Vec<u32> {
            let all = way.from.0.keys().copied();
            all.filter(|oid| way.holds_by_making(*oid, MAX_DEPTH)).collect()
        };
        let (inwards, outwards) = (holding(oids.inwards()), holding(oids.outwards()));
        for (side, all) in [(&mut oids.shard, inwards), (&mut oids.client, outwards)] {
            for oid in all {
                side.0.entry(oid).and_modify(|known| known.holds = true);
            }
        }
        let differing = oids.client.0.keys().copied().filter(|oid| oids.outwards().oid(*oid) != *oid);
        let bounds = differing.fold((u32::MAX, 0), |(low, high), oid| (oid.min(low), oid.max(high)));
        oids.bounds = bounds;
        oids
    }
}

/// Types by the shard that they are taken from.
fn objects_of<'a>(first: &[(&'a Objects, &'a Type)]) -> Vec<(&'a Objects, Vec<&'a Type>)> {
    let same = |(a, _): &(&Objects, &Type), (b, _): &(&Objects, &Type)| std::ptr::eq(*a, *b);
    first.chunk_by(same).map(|all| (all[0].0, all.iter().map(|(_, own)| *own).collect())).collect()
}

/// The id itself, or one apart if another has it.
fn claim(taken: &mut FnvHashSet<u32>, oid: u32) -> u32 {
    let mut claimed = oid;
    while !taken.insert(claimed) {
        claimed = (claimed | APART).wrapping_add(u32::from(claimed & APART != 0));
    }
    claimed
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, is_array: bool, oid: u32, made: Made) -> Type {
        Type { name: ("public".into(), name.into()), is_array, oid, made }
    }

    fn mood(at: u32) -> [Type; 2] {
        [kind("mood", false, at, Made::Plain), kind("mood", true, at - 1, Made::Array(at))]
    }

    fn objects(types: impl IntoIterator<Item = Type>) -> Objects {
        Objects { types: types.into_iter().collect(), relations: Vec::new() }
    }

    #[test]
    fn shards_that_agree_need_no_map() {
        let one = objects(mood(16400));
        assert_eq!(maps(&[Some(&one), None, Some(&one.clone())]), [None, None, None]);
    }

    #[test]
    fn the_first_shard_that_has_a_name_says_its_id() {
        let (first, second) = (objects(mood(16400)), objects(mood(16500)));
        let all = maps(&[Some(&first), Some(&second)]);
        assert!(all[0].is_none());
        let oids = all[1].as_ref().unwrap();
        assert_eq!((oids.inwards().oid(16500), oids.outwards().oid(16400)), (16400, 16500));
        assert_eq!((oids.inwards().oid(16499), oids.outwards().oid(16399)), (16399, 16499));
        assert!(oids.inwards().holds(16499) && !oids.inwards().holds(16500));
        assert!(oids.outwards().holds(16399) && oids.outwards().holds(RECORD));
        assert!(oids.may_hold(&16400u32.to_be_bytes()) && !oids.may_hold(&16500u32.to_be_bytes()));
    }

    #[test]
    fn an_id_that_is_another_types_on_the_other_side_is_set_apart() {
        let first = objects(mood(16400));
        let second = objects(mood(16500).into_iter().chain([kind("own", false, 16400, Made::Plain)]));
        let oids = maps(&[Some(&first), Some(&second)]).remove(1).unwrap();
        let own = 16400 | APART;
        assert_eq!((oids.inwards().oid(16400), oids.outwards().oid(own)), (own, 16400));
        // Of what came after the catalog was read, likewise.
        let (new, apart) = (16399, 16399 | APART);
        assert_eq!((oids.inwards().oid(new), oids.outwards().oid(16500)), (apart, 16500 | APART));
        assert_eq!(oids.inwards().oid(17000), 17000);
        // What the shard does not have is no type of its own there.
        let swapped = maps(&[Some(&second), Some(&first)]).remove(1).unwrap();
        assert_eq!(swapped.outwards().oid(16400), 16400 | APART);
    }

    #[test]
    fn what_types_are_made_of_is_said_in_the_terms_of_their_side() {
        let made = |mood: u32, own: u32| {
            objects([
                kind("mood", false, mood, Made::Plain),
                kind("sure", false, own, Made::Domain(own + 1)),
                kind("mood", true, own + 1, Made::Array(mood)),
            ])
        };
        let (first, second) = (made(16400, 16410), made(16500, 16510));
        let oids = maps(&[Some(&first), Some(&second)]).remove(1).unwrap();
        assert_eq!(oids.client.made(16410), Made::Domain(16411));
        assert_eq!(oids.shard.made(16510), Made::Domain(16511));
        assert!(oids.outwards().holds(16410) && oids.inwards().holds(16510));
    }

    #[test]
    fn relations_are_told_by_name_and_never_taken_for_another() {
        let with = |all: &[(&str, u32)]| Objects {
            types: Vec::new(),
            relations: all.iter().map(|(name, oid)| (("public".into(), (*name).into()), *oid)).collect(),
        };
        let (first, second) = (with(&[("a", 1), ("b", 2)]), with(&[("a", 2), ("b", 3)]));
        let oids = maps(&[Some(&first), Some(&second)]).remove(1).unwrap();
        assert_eq!([2, 3, 1, 9].map(|oid| oids.relation(oid)), [1, 2, 0, 9]);
    }
}
