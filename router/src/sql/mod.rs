//! Recognising statements: one scan that lifts literals out, the words a statement starts with, hints, literals.
//!
//! Nothing here knows tables or shards; [`crate::plan`] does.

pub mod command;
pub mod cursor;
pub mod hint;
pub mod literal;
pub mod prepare;
pub mod scan;
