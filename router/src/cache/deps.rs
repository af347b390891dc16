//! What an answer depends on and what a write touches, as stripe numbers.
//!
//! Keys are without number, memory is not: every key, table and database is hashed to one of 65,536 stripes, and it
//! is stripes that carry versions. Two keys on one stripe cost each other a miss now and then and nothing else.
//! Databases and tables have stripes of their own, because a busy key that shared one with a table would empty the
//! cache of the whole table with every write.
//!
//! All proxies must agree on the numbers, whatever machine they run on: the hash is FNV-1a 64 over bytes whose
//! order is fixed here.

use std::hash::Hasher;

use fnv::FnvHasher;

/// Stripes for "everything in this database", tables, and keys; together every value of a `u16`.
const DATABASES: u64 = 256;
const TABLES: u64 = 3_840;
const KEYS: u64 = STRIPES as u64 - TABLES - DATABASES;

/// How many stripes there are.
pub(super) const STRIPES: usize = 1 << 16;

/// Keys that one write names before it counts as a write to the whole table.
const KEYS_NAMED: usize = 64;

/// The number of a stripe. Every `u16` is one, so a number read from a peer is always good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Stripe(pub(super) u16);

impl Stripe {
    fn within(first: u64, count: u64, hash: u64) -> Self {
        // first + count is at most 65,536 for each of the three kinds.
        Self((first + hash % count) as u16)
    }

    fn everything(database: u64) -> Self {
        Self::within(0, DATABASES, database)
    }

    fn table(table: u64) -> Self {
        Self::within(DATABASES, TABLES, table)
    }

    fn key(key: u64) -> Self {
        Self::within(DATABASES + TABLES, KEYS, key)
    }
}

/// Continues a hash with one name. The length goes first, so that ("ab", "c") and ("a", "bc") part.
fn hash(so_far: u64, name: &str) -> u64 {
    let mut hasher = FnvHasher::with_key(so_far);
    hasher.write(&(name.len() as u64).to_le_bytes());
    hasher.write(name.as_bytes());
    hasher.finish()
}

fn hash_of(database: &str) -> u64 {
    hash(FnvHasher::default().finish(), database)
}

/// What the answer to a point lookup depends on: its key, its table, and everything in its database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadSet {
    pub(super) stripes: [Stripe; 3],
}

impl ReadSet {
    /// A lookup of the rows of `table` that belong to `key`.
    ///
    /// `key` is the value of the table's key column, written the same way here and in [`WriteSet::add_key`]
    /// (`7`, never `07` or `7.0`): every write that can change the answer must name this key, its table, or
    /// everything.
    pub fn new(database: &str, table: &str, key: &str) -> Self {
        let database = hash_of(database);
        let table = hash(database, table);
        Self { stripes: [Stripe::everything(database), Stripe::table(table), Stripe::key(hash(table, key))] }
    }
}

/// What a write touches, in one database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteSet {
    database: u64,
    keys: usize,
    /// Sorted, each once.
    stripes: Vec<Stripe>,
}

impl WriteSet {
    /// A write that touches nothing yet.
    pub fn new(database: &str) -> Self {
        Self { database: hash_of(database), keys: 0, stripes: Vec::new() }
    }

    /// The write is pinned to the rows of `table` that belong to `key`; see [`ReadSet::new`].
    ///
    /// A write of very many keys counts as a write to the whole table.
    pub fn add_key(&mut self, table: &str, key: &str) {
        if self.keys >= KEYS_NAMED {
            return self.add_table(table);
        }
        self.keys += 1;
        let table = hash(self.database, table);
        insert(&mut self.stripes, Stripe::key(hash(table, key)));
    }

    /// The write may touch any row of `table`.
    pub fn add_table(&mut self, table: &str) {
        insert(&mut self.stripes, Stripe::table(hash(self.database, table)));
    }

    /// Nobody knows what the write touches: DDL, a function, COPY, a cascade.
    pub fn add_everything(&mut self) {
        let everything = self.everything();
        insert(&mut self.stripes, everything);
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.stripes.is_empty()
    }

    pub(super) fn everything(&self) -> Stripe {
        Stripe::everything(self.database)
    }

    pub(super) fn stripes(&self) -> &[Stripe] {
        &self.stripes
    }
}

/// Puts a stripe into a sorted list, once. Says whether it is new.
pub(super) fn insert(stripes: &mut Vec<Stripe>, stripe: Stripe) -> bool {
    match stripes.binary_search(&stripe) {
        Ok(_) => false,
        Err(at) => {
            stripes.insert(at, stripe);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_touches_exactly_the_stripe_that_the_lookup_watches() {
        let read = ReadSet::new("shop", "orders", "7");
        let mut write = WriteSet::new("shop");
        write.add_key("orders", "7");
        assert_eq!(write.stripes(), [read.stripes[2]]);
        let mut write = WriteSet::new("shop");
        write.add_table("orders");
        assert_eq!(write.stripes(), [read.stripes[1]]);
        let mut write = WriteSet::new("shop");
        write.add_everything();
        assert_eq!(write.stripes(), [read.stripes[0]]);
    }

    #[test]
    fn stripes_are_the_same_in_every_process() {
        // Computed apart, from the definition of FNV-1a 64 over (length, name) pairs; a change here is a new format.
        let read = ReadSet::new("shop", "orders", "7");
        assert_eq!(read.stripes, [Stripe(237), Stripe(2362), Stripe(16452)]);
    }

    #[test]
    fn no_key_shares_a_stripe_with_a_table_or_a_database() {
        for n in 0..100_000_u64 {
            let stripes =
                ReadSet::new("d", &format!("t{}", n % 5_000), &n.to_string()).stripes.map(|s| u64::from(s.0));
            assert!(stripes[0] < DATABASES);
            assert!((DATABASES..DATABASES + TABLES).contains(&stripes[1]));
            assert!(stripes[2] >= DATABASES + TABLES);
        }
    }

    #[test]
    fn names_that_flow_into_each_other_are_kept_apart() {
        assert_ne!(ReadSet::new("ab", "c", "1").stripes, ReadSet::new("a", "bc", "1").stripes);
    }

    #[test]
    fn a_write_of_many_keys_is_a_write_to_the_table() {
        let mut write = WriteSet::new("shop");
        for key in 0..10_000 {
            write.add_key("orders", &key.to_string());
        }
        assert!(write.stripes().len() <= KEYS_NAMED + 1);
        assert!(write.stripes().contains(&ReadSet::new("shop", "orders", "9999").stripes[1]));
    }
}
