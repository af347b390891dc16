//! The promises, one sentence each: in process, over a Redis of the test's own, and under load.

mod fills;
mod redis_down;
mod shared;
mod stress;
mod support;
