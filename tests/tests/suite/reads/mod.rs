//! Reads over several shards, beside one database that holds the same rows: what it says is right.

mod aggregates;
mod averages;
mod gather_sessions;
mod gather_types;
mod gathers;
mod limits;
mod made_up;
mod order_entry;
mod peers;
mod random;
mod trouble;
pub mod world;
