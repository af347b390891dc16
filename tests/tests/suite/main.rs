//! The suites, in one program: linking several would take longer than running them.

mod bad_input;
mod cache;
mod clients;
mod copy;
mod harness;
mod leaks;
mod operation;
mod protocol;
mod reads;
mod routing;
