//! Real Postgres servers as child processes.
