//! Where a configuration comes from, read into text. Nothing is interpreted here.

use std::path::{Path, PathBuf};

use crate::lines::Lines;
use crate::problems::{Place, Problem};

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A TOML file. Gaps are filled from the environment: a `shard_count` that is not given from
    /// `DATABASE_SHARD_COUNT`, an empty `redis_url` from `REDIS_URL`, and a file without `[[databases]]`
    /// takes its database from `DATABASE_URL`, along with that URL's login where no user has its name. What
    /// the file says of `auth` stands, its default included.
    File(PathBuf),
    /// As [`Source::File`], already read.
    Text {
        /// What problems call it.
        name: String,
        /// TOML.
        text: String,
    },
    /// An existing `pgbouncer.ini`, with what it includes. The environment has no say.
    Pgbouncer(PathBuf),
    /// The environment alone: `DATABASE_URL`, `DATABASE_SHARD_COUNT` and `REDIS_URL`. When the URL has no
    /// password there is nothing that clients could prove themselves against, so `auth` becomes `trust`; with
    /// a password it is the default, `scram-sha-256`.
    Environment,
}

/// A source's text under the name that problems call it by.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// Reads the text; the environment alone is the empty file, which is all defaults.
    pub(crate) fn read(&self) -> Result<Document, Problem> {
        match self {
            Source::File(path) | Source::Pgbouncer(path) => read_file(path),
            Source::Text { name, text } => Ok(document(name.clone(), text)),
            Source::Environment => Ok(document("environment".to_owned(), "")),
        }
    }
}

fn read_file(path: &Path) -> Result<Document, Problem> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Problem {
        place: Place::File { file: name.clone() },
        message: format!("cannot be read: {error}"),
    })?;
    decode(name, &bytes)
}

/// The text of a file's bytes.
pub(crate) fn decode(name: String, bytes: &[u8]) -> Result<Document, Problem> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(document(name, text)),
        Err(error) => Err(not_utf8(name, &bytes[..error.valid_up_to()])),
    }
}

/// Editors of some systems put a byte order mark first; it would shift the first line's columns.
fn document(name: String, text: &str) -> Document {
    Document { name, text: text.strip_prefix('\u{feff}').unwrap_or(text).to_owned() }
}

fn not_utf8(file: String, valid: &[u8]) -> Problem {
    let valid = String::from_utf8_lossy(valid);
    let (line, column) = Lines::new(&valid).position(valid.len());
    Problem { place: Place::Spot { file, line, column }, message: "is not valid UTF-8".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_a_problem_with_its_name() {
        let problem = Source::File("/nowhere/shardway.toml".into()).read().unwrap_err();
        assert_eq!(problem.place, Place::File { file: "/nowhere/shardway.toml".into() });
        assert!(problem.message.starts_with("cannot be read: "), "{problem}");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_named_with_their_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"[pool]\nmode = \"\xff\"\n").unwrap();
        let problem = Source::File(file.path().into()).read().unwrap_err();
        assert_eq!(problem.to_string(), format!("{}:2:9: is not valid UTF-8", file.path().display()));
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_text() {
        let source = Source::Text { name: "x".into(), text: "\u{feff}a = 1".into() };
        assert_eq!(source.read().unwrap().text, "a = 1");
    }
}
