//! The files behind a trait, so that tests bring their own.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};

/// Where files are read.
pub trait Files {
    /// The file's bytes. Errors: the system's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The machine's own files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

/// Files made up for a test.
impl<S: BuildHasher> Files for HashMap<PathBuf, Vec<u8>, S> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
