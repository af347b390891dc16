//! What the tests of this module share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::problems::Problems;

use super::Pgbouncer;

/// Lines before a text under test, so that it need not say who may log in. They are four.
const COMPLETE: &str = "[pgbouncer]\nlisten_addr = *\nauth_type = any\nunix_socket_dir = /run\n";

pub(super) fn files(named: &[(&str, &str)]) -> HashMap<PathBuf, Vec<u8>> {
    named.iter().map(|(name, text)| (PathBuf::from(name), text.as_bytes().to_vec())).collect()
}

/// Reads `p.ini` as it is, among other files.
pub(super) fn read_in(named: &[(&str, &str)]) -> Result<Pgbouncer, Problems> {
    super::read(Path::new("p.ini"), &files(named))
}

fn completed(text: &str) -> Result<Pgbouncer, Problems> {
    read_in(&[("p.ini", &format!("{COMPLETE}{text}"))])
}

pub(super) fn read(text: &str) -> Pgbouncer {
    completed(text).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(super) fn problems(text: &str) -> String {
    completed(text).unwrap_err().to_string()
}

/// One per line.
pub(super) fn warnings(text: &str) -> String {
    shown(&read(text))
}

pub(super) fn shown(pgbouncer: &Pgbouncer) -> String {
    let lines: Vec<String> = pgbouncer.warnings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
