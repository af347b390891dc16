//! Where problems and warnings are put down, and text that knows where it stands.

use std::cell::RefCell;
use std::fmt::Display;

use crate::problems::{Place, Problem};

/// Text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) place: Place,
}

impl Piece {
    /// What begins at byte `from` of this text and, quotes taken off, says `text`.
    pub(super) fn part(&self, from: usize, text: String) -> Piece {
        let before = self.text.get(..from).map_or(0, |before| before.chars().count());
        Piece { text, place: later(&self.place, before) }
    }
}

/// The spot so many characters further on in the same line.
fn later(place: &Place, by: usize) -> Place {
    match place {
        Place::Spot { file, line, column } => {
            Place::Spot { file: file.clone(), line: *line, column: column + by }
        }
        other => other.clone(),
    }
}

/// The one place where problems and warnings are put down.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Report {
    /// What keeps the file from being run.
    pub(super) fn problem(&self, place: &Place, message: impl Display) {
        self.problems.borrow_mut().push(problem(place, message));
    }

    /// What is odd and does not.
    pub(super) fn warn(&self, place: &Place, message: impl Display) {
        self.warnings.borrow_mut().push(problem(place, message));
    }

    /// Whether there is any problem so far.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// The problems as they were found, and the warnings, sorted.
    pub(super) fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        let mut warnings = self.warnings.into_inner();
        warnings.sort();
        warnings.dedup();
        (self.problems.into_inner(), warnings)
    }
}

fn problem(place: &Place, message: impl Display) -> Problem {
    Problem { place: place.clone(), message: message.to_string() }
}
