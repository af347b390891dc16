//! What is wrong with a configuration, and where: the only error type of this package.
//!
//! Nothing here decides what is wrong. Messages never hold a password or a whole URL.

use std::fmt;

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file as a whole: it could not be read.
    File {
        /// The file, as it was named.
        file: String,
    },
    /// A spot in a file.
    Spot {
        /// The file, as it was named.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file } => f.write_str(file),
            Place::Spot { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::Environment { variable } => write!(f, "environment:{variable}"),
        }
    }
}

/// One thing that is wrong. Shown as `shardway.toml:12:5: unknown key …`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What it is and, where that is not plain, what to do about it.
    pub message: String,
}

/// Everything that is wrong: at least one problem, sorted by place. Shown one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts what was found; `None` when nothing was. The same problem at the same place counts once, so a
    /// URL that is used by many shards is not reported for each of them.
    pub(crate) fn collect(mut found: Vec<Problem>) -> Option<Self> {
        found.sort();
        found.dedup();
        (!found.is_empty()).then_some(Self(found))
    }

    /// The problems, sorted by place; never empty.
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }

    /// The problems one by one, sorted by place.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let end_of_last = if index == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: usize, column: usize, message: &str) -> Problem {
        Problem { place: Place::Spot { file: "f".into(), line, column }, message: message.into() }
    }

    #[test]
    fn problems_are_sorted_by_line_and_column_and_shown_one_per_line() {
        let found = vec![problem(10, 1, "c"), problem(2, 9, "b"), problem(2, 3, "a"), problem(10, 1, "c")];
        let problems = Problems::collect(found).unwrap();
        assert_eq!(problems.to_string(), "f:2:3: a\nf:2:9: b\nf:10:1: c");
    }

    #[test]
    fn nothing_wrong_is_no_problems() {
        assert_eq!(Problems::collect(Vec::new()), None);
    }

    #[test]
    fn a_variable_is_a_place_without_a_line() {
        let place = Place::Environment { variable: "DATABASE_URL".into() };
        let problem = Problem { place, message: "is not set".into() };
        assert_eq!(problem.to_string(), "environment:DATABASE_URL: is not set");
    }
}
