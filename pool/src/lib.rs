//! Everything that talks to servers.
