//! What people rely on a pooler for: the state of a session, over servers that it shares.

mod listen;
mod pinning;
mod prepared;
mod session_mode;
mod sql_prepared;
mod statement_mode;
mod temporary_on_shards;
