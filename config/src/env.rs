//! The environment behind a trait, so that tests bring their own and nothing here is global.

use std::collections::HashMap;
use std::hash::BuildHasher;

/// Environment variables.
pub trait Env {
    /// The variable's value; `None` when it is not set or is not UTF-8.
    fn get(&self, name: &str) -> Option<String>;
}

/// The process's own environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// An environment made up for a test.
impl<S: BuildHasher> Env for HashMap<String, String, S> {
    fn get(&self, name: &str) -> Option<String> {
        HashMap::get(self, name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_unset_and_not_a_panic() {
        assert_eq!(ProcessEnv.get(""), None);
        assert_eq!(ProcessEnv.get("A=B\0"), None);
    }
}
