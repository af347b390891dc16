//! Running Shardway: starting, configuring, watching and stopping it, and what it does when servers come and go.

mod admin;
mod admin_columns;
mod admin_commands;
mod admin_protocol;
mod admin_route;
mod admin_standing;
mod admin_stats;
mod audit;
mod audit_shards;
mod auth_query;
mod command_line;
mod drain;
mod hba;
mod http;
mod listen;
mod login;
mod pass_through;
mod pool;
mod promotion;
mod reload;
mod reload_changes;
mod replicas;
mod rolling;
pub mod support;
mod tls;
mod workers;
