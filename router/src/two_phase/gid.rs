//! Names of transactions that several servers commit together: what a prepared transaction is called on its server, and
//! what its decision is called. Whoever finds one there can tell from its name alone where its fate is written.
//!
//! `shardway:<database>:<transaction>:<decider's group>.<shard>:<own group>.<shard>`, where a transaction is
//! `<instance>-<number>`. Names are escaped, and cut where they are long: Postgres takes less than 200 bytes.

use std::fmt::{self, Display, Write as _};

/// What all of ours begin with.
pub const PREFIX: &str = "shardway:";

/// The longest that a database's or a group's name is written out.
const LONGEST: usize = 40;

/// How much of a longer one is: a hash stands for the rest.
const KEPT: usize = LONGEST - 17;

/// A transaction: which proxy's, and which of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Random for each start of a proxy.
    pub instance: u64,
    /// Counts up.
    pub number: u64,
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.instance, self.number)
    }
}

impl Name {
    /// As it is displayed; `None` if it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (instance, number) = text.split_once('-')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let name = Self { instance: hex(instance)?, number: hex(number)? };
        (name.to_string() == text).then_some(name)
    }
}

/// A shard, by the names that stay over reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    group: String,
    /// Its number in the group.
    pub shard: u32,
}

impl Place {
    /// A shard of a group.
    pub fn new(group: &str, shard: u32) -> Self {
        Self { group: written(group), shard }
    }

    /// Whether this is the group.
    pub fn is_of(&self, group: &str) -> bool {
        self.group == written(group)
    }

    fn parse(text: &str) -> Option<Self> {
        let (group, shard) = text.rsplit_once('.')?;
        Some(Self { group: group.to_owned(), shard: shard.parse().ok()? })
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.group, self.shard)
    }
}

/// What a prepared transaction is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gid {
    database: String,
    /// The transaction.
    pub name: Name,
    /// Where it is decided.
    pub decider: Place,
    /// Where this part of it is.
    pub own: Place,
}

impl Gid {
    /// The part of a transaction that is at `own`.
    pub fn new(database: &str, name: Name, decider: Place, own: Place) -> Self {
        Self { database: written(database), name, decider, own }
    }

    /// What one is called; `None` if it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.split(':');
        let mut next = || parts.next();
        let gid = Self {
            database: next()?.to_owned(),
            name: Name::parse(next()?)?,
            decider: Place::parse(next()?)?,
            own: Place::parse(next()?)?,
        };
        // What is not written as we write it is somebody else's.
        (gid.to_string() == text).then_some(gid)
    }

    /// Whether it belongs to this database of ours: others may have the same servers.
    pub fn is_of(&self, database: &str) -> bool {
        self.database == written(database)
    }
}

impl Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}:{}:{}", self.database, self.name, self.decider, self.own)
    }
}

/// A name with nothing in it that would have to be quoted, or taken for a separator.
fn written(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => out.push(byte.into()),
            // Writing to a String does not fail.
            _ => {
                let _ = write!(out, "%{byte:02x}");
            }
        }
    }
    if out.len() > LONGEST {
        out.truncate(KEPT);
        let _ = write!(out, "~{:016x}", shardway_shardmap::fnv1a64(name.as_bytes()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: Name = Name { instance: 0xabc, number: 17 };

    fn gid(database: &str, group: &str) -> Gid {
        Gid::new(database, NAME, Place::new(group, 3), Place::new(group, 12))
    }

    #[test]
    fn a_gid_names_database_transaction_and_places() {
        let text = "shardway:shop:0000000000000abc-11:main.3:main.12";
        assert_eq!(gid("shop", "main").to_string(), text);
        assert_eq!(Gid::parse(text), Some(gid("shop", "main")));
        assert!(gid("shop", "main").is_of("shop") && !gid("shop", "main").is_of("shop2"));
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        for text in [
            "shardway:shop:0000000000000abc-11:main.3",
            "shardway:shop:abc-11:main.3:main.12",
            "shardway:shop:0000000000000abc-11:main.3:main.12:more",
            "shardway:shop:0000000000000abc-11:main.03:main.12",
            "shardway:shop:0000000000000abc-+1:main.3:main.12",
            "other:shop:0000000000000abc-11:main.3:main.12",
            "",
        ] {
            assert_eq!(Gid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn long_names_are_cut_and_still_told_apart() {
        let (one, other) = ("é".repeat(60) + "1", "é".repeat(60) + "2");
        let (first, second) = (gid(&one, &one).to_string(), gid(&other, &one).to_string());
        assert!(first.len() < 200 && second.len() < 200 && first != second, "{first}");
        assert!(Gid::parse(&first).is_some_and(|gid| gid.is_of(&one) && !gid.is_of(&other)));
    }

    proptest! {
        #[test]
        fn every_gid_is_read_back_and_fits(
            database in any::<String>(), group in any::<String>(), a in any::<u32>(), b in any::<u32>(),
            instance in any::<u64>(), number in any::<u64>(),
        ) {
            let name = Name { instance, number };
            let gid = Gid::new(&database, name, Place::new(&group, a), Place::new(&group, b));
            let text = gid.to_string();
            prop_assert!(text.len() < 200 && !text.contains(['\'', '\\', ' ']));
            prop_assert_eq!(Gid::parse(&text), Some(gid.clone()));
            prop_assert!(gid.is_of(&database) && gid.decider.is_of(&group));
        }
    }
}
