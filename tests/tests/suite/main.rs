//! The suites, in one program: linking several would take longer than running them.

mod cache;
mod copy;
mod harness;
