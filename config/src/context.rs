//! What every part of reading shares: the environment, and the one place where problems are put down.

use std::cell::RefCell;

use crate::env::Env;
use crate::lines::Lines;
use crate::problems::{Place, Problem, Problems};
use crate::source::Document;

/// Where a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Byte offset in the document.
    Offset(usize),
    /// The environment variable that it came from.
    Variable(&'static str),
}

impl At {
    /// For telling which of two places comes first in the document.
    pub(crate) fn offset(self) -> usize {
        match self {
            At::Offset(offset) => offset,
            At::Variable(_) => 0,
        }
    }
}

/// Proof that a problem was reported. Only [`Context::report`] makes one, so a value that could not be built
/// can never go missing without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported(());

/// A value, or the proof that it was reported why there is none.
pub(crate) type Checked<T> = Result<T, Reported>;

/// A string with its place, variables expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) value: String,
    pub(crate) at: At,
}

/// What every part of reading shares.
pub(crate) struct Context<'a> {
    file: &'a str,
    lines: Lines<'a>,
    env: &'a dyn Env,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(document: &'a Document, env: &'a dyn Env) -> Self {
        let lines = Lines::new(&document.text);
        Self { file: &document.name, lines, env, problems: RefCell::new(Vec::new()) }
    }

    pub(crate) fn env(&self) -> &'a dyn Env {
        self.env
    }

    /// A variable that is set to more than nothing.
    pub(crate) fn variable(&self, name: &'static str) -> Option<Text> {
        let value = self.env.get(name).filter(|value| !value.is_empty())?;
        Some(Text { value, at: At::Variable(name) })
    }

    /// Puts a problem down.
    pub(crate) fn report(&self, at: At, message: impl ToString) -> Reported {
        let problem = Problem { place: self.place(at), message: message.to_string() };
        self.problems.borrow_mut().push(problem);
        Reported(())
    }

    /// How many problems were put down so far.
    pub(crate) fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// Where something is, in the words of a problem.
    pub(crate) fn place(&self, at: At) -> Place {
        match at {
            At::Offset(offset) => {
                let (line, column) = self.lines.position(offset);
                Place::Spot { file: self.file.to_owned(), line, column }
            }
            At::Variable(variable) => Place::Environment { variable: variable.to_owned() },
        }
    }

    /// Takes over what was found wrong in other files.
    pub(crate) fn adopt(&self, problems: Problems) -> Reported {
        self.problems.borrow_mut().extend(problems);
        Reported(())
    }

    /// How a message about one place refers to another.
    pub(crate) fn refer(&self, at: At) -> String {
        match self.place(at) {
            Place::Spot { line, .. } => format!("at line {line}"),
            Place::Environment { variable } => format!("by {variable}"),
            Place::File { file } => format!("in {file}"),
        }
    }

    /// The value, if nothing was wrong with it.
    pub(crate) fn conclude<T>(self, value: T) -> Result<T, Problems> {
        match Problems::collect(self.problems.into_inner()) {
            Some(problems) => Err(problems),
            None => Ok(value),
        }
    }
}
