//! Who may connect from where, and how they have to prove who they are: a file in the form of `pg_hba.conf`, and one
//! in the form of `pg_ident.conf` for the names that operating systems and certificates give.
//!
//! Sources: PostgreSQL documentation, "The pg_hba.conf File" and "User Name Maps"; PgBouncer documentation, "HBA file
//! format" and "Ident map file format". Taken is what PgBouncer takes; what else PostgreSQL knows is refused by name,
//! since a rule that is read in part lets in the wrong people. One thing goes further than PgBouncer: a map's system
//! user may be a regular expression, as in PostgreSQL.
//!
//! Nothing here authenticates: a rule says what has to be done.

mod address;
mod files;
mod ident;
mod lists;
mod method;
mod pattern;
mod reader;
mod record;
mod rule;
mod words;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::problems::Problems;
use reader::Reader;

pub use files::{Disk, Files};
pub use ident::{IdentMap, UserMap};
pub use method::{ClientCert, Method};
pub use rule::{Origin, Peer, Rule};

/// The rules of one file, in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct Hba {
    rules: Vec<Rule>,
}

impl Hba {
    /// Reads the rules at `path`, and the maps that they name at `ident`. Paths that do not begin with `/` start at
    /// the working directory, as PgBouncer's do; those of an `@file` at the directory of the file that names it.
    ///
    /// # Errors
    /// Everything that is wrong in any of the files, sorted by place. A file without a single rule is wrong: nobody
    /// could log in.
    pub fn read(path: &Path, ident: Option<&Path>, files: &dyn Files) -> Result<Self, Problems> {
        let reader = Reader::new(files);
        let maps = ident.map(|path| ident::read(&reader, path));
        let rules = record::read(&reader, path, maps.as_ref());
        reader.conclude(Self { rules })
    }

    /// The rule for a connection: the first that matches it. There is no falling through to a later one; where none
    /// matches, nobody is let in.
    pub fn decide(&self, peer: &Peer<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches(peer))
    }

    /// Every rule, in the file's order; never empty.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}
