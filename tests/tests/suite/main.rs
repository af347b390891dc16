//! The suites, in one program: linking several would take longer than running them.

mod harness;
