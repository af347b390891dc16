//! Everything that talks to clients: listener, session, SQL analysis, plan, execution, cache, admin, HTTP.
//!
//! The planner ([`sql`], [`schema`], [`plan`], [`merge`], [`combine`]) is pure: values in, values out. I/O lives in [`session`],
//! [`client`], [`admin`] and [`http`].

pub mod admin;
pub mod audit;
mod autodb;
pub mod bulletin;
pub mod cache;
pub mod client;
pub mod combine;
pub mod copy;
mod crossed;
pub mod daemon;
pub mod database;
pub mod deadlock;
pub mod demo;
pub mod error;
pub mod handle;
mod handover;
pub mod http;
mod identity;
mod idle_pools;
mod ini;
pub mod limits;
pub mod listener;
pub mod log;
pub mod merge;
pub mod metrics;
pub mod notify;
pub mod oids;
mod pid_file;
pub mod plan;
pub mod plan_cache;
pub mod proxy;
pub mod reload;
pub mod reply;
pub mod schema;
pub mod serve;
pub mod session;
mod signals;
pub mod sql;
pub mod support;
mod syslog;
pub mod two_phase;
pub mod workers;
