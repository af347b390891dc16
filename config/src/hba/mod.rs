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

use crate::problems::{Place, Problem, Problems};
use reader::Reader;

pub use files::{Disk, Files};
pub use ident::{IdentMap, UserMap};
pub use method::{ClientCert, Method};
pub use rule::{Origin, Peer, Rule};

/// A file of comments.
fn no_rule(path: &Path) -> Problem {
    let message = "there is no rule in this file: nobody could log in".to_owned();
    Problem { place: Place::File { file: path.display().to_string() }, message }
}

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
        let is_empty = rules.is_empty();
        let hba = reader.conclude(Self { rules })?;
        if is_empty { Err(no_rule(path).into()) } else { Ok(hba) }
    }

    /// As [`Hba::read`], but as PgBouncer does it: lines that are wrong are left out, and a file that can't be read has no
    /// rules, so that nobody is let in. Gives what is wrong beside the rules, sorted by place.
    pub fn read_what_can_be(path: &Path, ident: Option<&Path>, files: &dyn Files) -> (Self, Vec<Problem>) {
        let reader = Reader::new(files);
        let maps = ident.map(|path| ident::read(&reader, path));
        let rules = record::read(&reader, path, maps.as_ref());
        let hba = Self { rules };
        match reader.problems() {
            problems if problems.is_empty() && hba.rules.is_empty() => (hba, vec![no_rule(path)]),
            problems => (hba, problems),
        }
    }

    /// The rule for a connection: the first that matches it. There is no falling through to a later one; where none
    /// matches, nobody is let in.
    pub fn decide(&self, peer: &Peer<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches(peer))
    }

    /// Every rule, in the file's order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}
