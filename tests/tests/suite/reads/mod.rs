//! Reads over several shards, beside one database that holds the same rows: what it says is right.

mod aggregates;
mod averages;
mod clock;
mod cursors;
mod differ;
mod explain;
mod gather_sessions;
mod gather_types;
mod gathers;
mod groups;
mod introspection;
mod limits;
mod locking;
mod made_up;
mod object_ids;
mod order_entry;
mod peers;
mod random;
mod read_only;
mod seeds;
mod trouble;
mod views;
pub mod world;
