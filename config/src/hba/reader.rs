//! What the reading of several files shares: where they come from, and what is wrong in them.

use std::cell::RefCell;
use std::path::Path;

use super::files::Files;
use super::words::{Record, Word, records};
use crate::context::Context;
use crate::env::Env;
use crate::problems::{Place, Problem, Problems};
use crate::source::{Document, decode};
use crate::value::quoted;

/// How deep an `@file` may name another (PostgreSQL: `CONF_FILE_MAX_DEPTH`): one that names itself ends too.
const DEEPEST: usize = 10;

/// These files have no variables.
struct NoVariables;

impl Env for NoVariables {
    fn get(&self, _: &str) -> Option<String> {
        None
    }
}

/// The files, and what was found wrong so far.
pub(super) struct Reader<'a> {
    files: &'a dyn Files,
    problems: RefCell<Vec<Problem>>,
}

/// The file that is being read.
pub(super) struct Open<'a> {
    pub(super) context: &'a Context<'a>,
    path: &'a Path,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a dyn Files) -> Self {
        Self { files, problems: RefCell::default() }
    }

    /// What was wrong in the files.
    pub(super) fn problems(self) -> Vec<Problem> {
        Problems::collect(self.problems.into_inner())
            .map_or_else(Vec::new, |found| found.into_iter().collect())
    }

    /// Problems so far, those of the file that is read among them.
    pub(super) fn count(&self, open: &Open<'_>) -> usize {
        self.problems.borrow().len() + open.context.count()
    }

    /// The value, if nothing was wrong in any file.
    pub(super) fn conclude<T>(self, value: T) -> Result<T, Problems> {
        Problems::collect(self.problems.into_inner()).map_or(Ok(value), Err)
    }

    /// Has the records of a file read. A file that can't be had is a problem, and is empty.
    pub(super) fn file<T: Default>(&self, path: &Path, read: impl FnOnce(&Open<'_>, Vec<Record>) -> T) -> T {
        match self.document(path) {
            Ok(document) => self.open(&document, path, 0, read),
            Err(problem) => {
                self.problems.borrow_mut().push(problem);
                T::default()
            }
        }
    }

    fn open<T>(
        &self,
        document: &Document,
        path: &Path,
        depth: usize,
        read: impl FnOnce(&Open<'_>, Vec<Record>) -> T,
    ) -> T {
        let context = Context::new(document, &NoVariables);
        let records = records(&context, &document.text);
        let value = read(&Open { context: &context, path, depth }, records);
        if let Err(problems) = context.conclude(()) {
            self.problems.borrow_mut().extend(problems);
        }
        value
    }

    fn document(&self, path: &Path) -> Result<Document, Problem> {
        let name = path.display().to_string();
        let bytes = self.files.read(path).map_err(|error| Problem {
            place: Place::File { file: name.clone() },
            message: format!("cannot be read: {error}"),
        })?;
        decode(name, &bytes)
    }

    /// What the words of a list stand for, those of an `@file` in its place. What is wrong is reported and left out.
    pub(super) fn list<T>(
        &self,
        open: &Open<'_>,
        words: &[Word],
        meaning: fn(&Context<'_>, &Word) -> Option<T>,
    ) -> Vec<T> {
        let mut list = Vec::new();
        for word in words {
            match word.text.strip_prefix('@').filter(|_| !word.quoted) {
                Some(name) => list.extend(self.listed(open, name, word, meaning)),
                None => list.extend(meaning(open.context, word)),
            }
        }
        list
    }

    /// The list in an `@file`: words apart by commas, spaces or lines.
    fn listed<T>(
        &self,
        open: &Open<'_>,
        name: &str,
        word: &Word,
        meaning: fn(&Context<'_>, &Word) -> Option<T>,
    ) -> Vec<T> {
        let refuse = |why: &str| {
            open.context.report(word.at, why);
            Vec::new()
        };
        if name.is_empty() {
            return refuse("expected the name of a file behind the @");
        }
        if open.depth == DEEPEST {
            return refuse(&format!("files name each other more than {DEEPEST} deep"));
        }
        let path = open.path.parent().unwrap_or(Path::new("")).join(name);
        match self.document(&path) {
            Ok(document) => self.open(&document, &path, open.depth + 1, |open, records| {
                let words: Vec<Word> =
                    records.into_iter().flat_map(|record| record.fields).flatten().collect();
                self.list(open, &words, meaning)
            }),
            Err(Problem { place: Place::File { file }, message }) => {
                refuse(&format!("the list {} {message}", quoted(&file)))
            }
            Err(problem) => {
                self.problems.borrow_mut().push(problem);
                Vec::new()
            }
        }
    }
}
