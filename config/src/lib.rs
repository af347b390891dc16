//! What the operator wrote, made valid once.
//!
//! A file (TOML), the environment, or both become one [`Config`]; everything that is wrong is reported
//! together, each with its place. The rest of the product sees only valid values, by reference. Nothing here
//! opens a socket or knows how a key is hashed.

mod model;

pub use model::*;
