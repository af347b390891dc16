//! From items to what they mean: which section they are in, and what an entry replaces.

use std::collections::BTreeMap;
use std::path::Path;

use crate::problems::Place;
use crate::suggest::nearest;
use crate::value::quoted;

use super::database::{self, FALLBACK};
use super::ini::Item;
use super::peer;
use super::report::{Piece, Report};
use super::settings::{SetError, Settings, WITHOUT_DEFAULT};
use super::{Pgbouncer, user};

/// `service_name` is another name of this one.
const JOB_NAME: &str = "job_name";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// No section yet.
    None,
    /// One that does not exist: it was reported, and its entries are not looked at.
    Unknown,
    Pgbouncer,
    Databases,
    Users,
    Peers,
}

const SECTIONS: [(&str, Section); 4] = [
    ("pgbouncer", Section::Pgbouncer),
    ("databases", Section::Databases),
    ("users", Section::Users),
    ("peers", Section::Peers),
];

/// What is read so far.
pub(super) struct Reader<'a> {
    report: &'a Report,
    section: Section,
    /// Whether there was a `[pgbouncer]`.
    begun: bool,
    main: Place,
    found: Pgbouncer,
}

impl<'a> Reader<'a> {
    pub(super) fn new(report: &'a Report, path: &Path) -> Self {
        let mut settings = Settings::default();
        settings.listening.conffile = Some(path.to_owned());
        let found = Pgbouncer {
            settings,
            databases: Vec::new(),
            fallback: None,
            users: Vec::new(),
            peers: Vec::new(),
            logins: Vec::new(),
            hba: None,
            warnings: Vec::new(),
            places: BTreeMap::new(),
        };
        let main = Place::File { file: path.display().to_string() };
        Self { report, section: Section::None, begun: false, main, found }
    }

    /// What was read. That there was no `[pgbouncer]` is reported, unless a file could not be read.
    pub(super) fn finish(self) -> Pgbouncer {
        if !self.begun && !self.report.has_problems() {
            self.report.problem(&self.main, "there is no [pgbouncer] section");
        }
        self.found
    }

    /// Takes the next item.
    pub(super) fn take(&mut self, item: Item) {
        match item {
            Item::Section(name) => self.enter(&name),
            Item::Wrong { place, message } => self.report.problem(&place, message),
            Item::Pair { name, value } => self.pair(&name, &value),
            // Whoever walks through the files puts their items in its place.
            Item::Include(_) => {}
        }
    }

    fn enter(&mut self, name: &Piece) {
        let known = SECTIONS.iter().find(|(known, _)| *known == name.text);
        self.section = known.map_or(Section::Unknown, |(_, section)| *section);
        match self.section {
            Section::Unknown => {
                let names = SECTIONS.map(|(name, _)| name);
                let hint = nearest(&name.text, &names)
                    .map_or_else(String::new, |near| format!("; did you mean [{near}]?"));
                self.report.problem(&name.place, format!("unknown section {}{hint}", quoted(&name.text)));
            }
            Section::Pgbouncer if self.begun => self.begin_again(&name.place),
            Section::Pgbouncer => self.begun = true,
            _ => {}
        }
    }

    /// A second `[pgbouncer]` starts from the defaults, as in PgBouncer.
    fn begin_again(&mut self, place: &Place) {
        let mut lost = Vec::new();
        for row in self.found.settings.rows() {
            let Some(default) = row.default.filter(|_| !WITHOUT_DEFAULT.contains(&row.key)) else { continue };
            if self.found.places.remove(row.key).is_some() && row.value.as_ref() != Some(&default) {
                lost.push(row.key);
            }
            let reset = self.found.settings.put(row.key, &default);
            debug_assert!(reset.is_ok(), "a default is a value that the setting takes");
        }
        if !lost.is_empty() {
            let lost = lost.join(", ");
            self.report.warn(
                place,
                format!("[pgbouncer] begins again, so that these are at their defaults: {lost}"),
            );
        }
    }

    fn pair(&mut self, name: &Piece, value: &Piece) {
        match self.section {
            Section::None => self.report.problem(&name.place, "a value stands before the first section"),
            Section::Unknown => {}
            Section::Pgbouncer => self.setting(name, value),
            Section::Databases => self.database(name, value),
            Section::Users => {
                let user = user::read(name, value, self.report);
                put(&mut self.found.users, user, |user| user.name.clone());
            }
            Section::Peers => {
                if let Some(peer) = peer::read(name, value, self.report) {
                    put(&mut self.found.peers, peer, |peer| peer.id);
                }
            }
        }
    }

    fn setting(&mut self, name: &Piece, value: &Piece) {
        let known = if name.text == "service_name" { JOB_NAME } else { &name.text };
        match self.found.settings.put(known, &value.text) {
            Ok(known) => drop(self.found.places.insert(known, value.place.clone())),
            Err(error @ SetError::Unknown { .. }) => {
                self.report.problem(&name.place, format!("{error} (in [pgbouncer])"));
            }
            Err(error) => self.report.problem(&value.place, error),
        }
    }

    fn database(&mut self, name: &Piece, value: &Piece) {
        let mut database = database::read(name, value, self.report);
        if name.text == FALLBACK {
            self.found.fallback = Some(database);
            return;
        }
        let before = self.found.databases.iter().find(|other| other.name == database.name);
        if let Some(before) = before.filter(|before| database.user.is_none() && before.user.is_some()) {
            (database.user, database.password) = (before.user.clone(), before.password.clone());
            let message =
                format!("the earlier entry at {} had a user, which stays, as in PgBouncer", before.place);
            self.report.warn(&name.place, message);
        }
        put(&mut self.found.databases, database, |database| database.name.clone());
    }
}

/// Puts an entry in the place of an earlier one of the same key.
fn put<T, K: PartialEq>(entries: &mut Vec<T>, entry: T, key: impl Fn(&T) -> K) {
    match entries.iter_mut().find(|other| key(other) == key(&entry)) {
        Some(earlier) => *earlier = entry,
        None => entries.push(entry),
    }
}

#[cfg(test)]
mod tests;
