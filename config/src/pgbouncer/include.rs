//! `%include`: a file's items in their order, with those of another file in the place of each include.
//!
//! The section that an included file ends in goes on behind the include, as in PgBouncer.

use std::path::{Path, PathBuf};

use crate::hba::Files;
use crate::problems::Place;
use crate::value::quoted;

use super::ini::{self, Item};
use super::report::{Piece, Report};

/// Includes within includes, as in PgBouncer.
const DEEPEST: usize = 10;

/// Files in all. Ten files that include each other often enough would be read without end.
const MOST: usize = 1000;

/// Hands every item of a file and of what it includes to `sink`.
pub(super) fn walk(path: &Path, files: &dyn Files, report: &Report, sink: &mut dyn FnMut(Item)) {
    let mut walk = Walk { files, report, sink, open: Vec::new(), count: 0 };
    let name = path.display().to_string();
    match files.read(path) {
        // Where it stops, that was reported.
        Ok(bytes) => walk.file(path, &name, &bytes).unwrap_or(()),
        Err(error) => report.problem(&Place::File { file: name }, format!("cannot be read: {error}")),
    }
}

struct Walk<'a> {
    files: &'a dyn Files,
    report: &'a Report,
    sink: &'a mut dyn FnMut(Item),
    /// The files that are being read, each including the next.
    open: Vec<PathBuf>,
    count: usize,
}

/// Reading ends here: it was reported why.
struct Stop;

impl Walk<'_> {
    fn file(&mut self, path: &Path, name: &str, bytes: &[u8]) -> Result<(), Stop> {
        self.open.push(path.to_owned());
        for item in ini::items(name, &String::from_utf8_lossy(bytes)) {
            match item {
                Item::Include(path) => self.include(&path)?,
                item => (self.sink)(item),
            }
        }
        self.open.pop();
        Ok(())
    }

    fn include(&mut self, named: &Piece) -> Result<(), Stop> {
        let path = PathBuf::from(&named.text);
        if let Some(message) = self.refusal(&path) {
            self.report.problem(&named.place, message);
            return Err(Stop);
        }
        self.count += 1;
        let bytes = self.files.read(&path).map_err(|error| {
            self.report.problem(&named.place, format!("{} cannot be read: {error}", quoted(&named.text)));
            Stop
        })?;
        self.file(&path, &named.text, &bytes)
    }

    fn refusal(&self, path: &Path) -> Option<String> {
        if path.as_os_str().is_empty() {
            return Some("%include names no file".to_owned());
        }
        if self.open.iter().any(|open| open == path) {
            return Some(format!("{} includes itself", quoted(&path.display().to_string())));
        }
        if self.open.len() > DEEPEST {
            return Some(format!("includes are nested deeper than {DEEPEST}"));
        }
        (self.count >= MOST).then(|| format!("more than {MOST} files are included"))
    }
}
