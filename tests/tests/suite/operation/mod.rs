//! Running Shardway: starting, configuring, watching and stopping it, and what it does when servers come and go.

mod command_line;
mod drain;
mod http;
mod listen;
mod login;
mod pool;
mod promotion;
mod reload;
mod reload_changes;
mod replicas;
pub mod support;
