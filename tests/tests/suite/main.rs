//! The suites, in one program: linking several would take longer than running them.

mod bad_input;
mod bank;
mod cache;
mod clients;
mod copy;
mod faults;
mod harness;
mod leaks;
mod limits;
mod operation;
mod overload;
mod pgbouncer_ini;
mod pooling;
mod protocol;
mod reads;
mod routing;
mod soak;
mod writes;
