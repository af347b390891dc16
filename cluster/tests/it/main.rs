//! The servers themselves, started for real: what they are configured as, what can be done to them, and that
//! nothing of them is left behind.

mod orphans;
mod ports;
mod redis;
mod replicas;
mod servers;
