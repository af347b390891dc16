//! Reads over several shards, beside one database that holds the same rows: what it says is right.

mod aggregates;
mod averages;
mod limits;
mod peers;
mod random;
mod trouble;
mod world;
