//! Replicas: how far they are, and what can be done to them.

use std::time::Duration;

use crate::{Error, Result, Server, deadline::poll};

const STREAMING_WITHIN: Duration = Duration::from_secs(30);
const REPLAYED_WITHIN: Duration = Duration::from_secs(30);

/// A primary says where its WAL is flushed to, a replica how far it has replayed.
const POSITION: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
                        ELSE pg_current_wal_flush_lsn() END";

impl Server {
    /// Whether the server is a replica now.
    ///
    /// # Errors
    /// Those of [`sql`](Self::sql).
    pub fn is_in_recovery(&self) -> Result<bool> {
        Ok(self.sql("postgres", "SELECT pg_is_in_recovery()")? == "t")
    }

    /// The WAL position of the server, such as `0/1A2B3C8`: on a primary how far it has flushed, on a
    /// replica how far it has replayed.
    ///
    /// # Errors
    /// Those of [`sql`](Self::sql).
    pub fn lsn(&self) -> Result<String> {
        self.sql("postgres", POSITION)
    }

    /// Waits until this replica receives its primary's WAL as it is written.
    ///
    /// # Errors
    /// [`Error::Late`], or those of [`sql`](Self::sql).
    pub fn wait_streaming(&self) -> Result<()> {
        let streaming = poll(STREAMING_WITHIN, || {
            let status = self.sql("postgres", "SELECT status FROM pg_stat_wal_receiver")?;
            Ok::<_, Error>((status == "streaming").then_some(()))
        })?;
        streaming.ok_or_else(|| self.late("streaming from the primary", STREAMING_WITHIN))
    }

    /// Waits until this replica has replayed the WAL up to `lsn`.
    ///
    /// # Errors
    /// [`Error::Late`], or those of [`sql`](Self::sql).
    pub fn wait_replayed(&self, lsn: &str) -> Result<()> {
        // The server waits for itself: a program per look would take longer than most replays do.
        let wait = format!(
            "SET statement_timeout = '1s';
             DO $$ BEGIN
                 WHILE pg_last_wal_replay_lsn() < '{lsn}'::pg_lsn LOOP PERFORM pg_sleep(0.001); END LOOP;
             END $$"
        );
        let replayed = poll(REPLAYED_WITHIN, || match self.sql("postgres", &wait) {
            Ok(_) => Ok(Some(())),
            Err(Error::Sql { message, .. }) if message.contains("statement timeout") => Ok(None),
            Err(error) => Err(error),
        })?;
        replayed.ok_or_else(|| self.late(format!("replaying up to {lsn}"), REPLAYED_WITHIN))
    }

    /// Waits until this replica has replayed all that `primary` has committed so far.
    ///
    /// # Errors
    /// [`Error::Late`], or those of [`sql`](Self::sql) on either.
    pub fn wait_caught_up(&self, primary: &Server) -> Result<()> {
        self.wait_replayed(&primary.lsn()?)
    }

    /// Makes this replica a primary, and waits until it is.
    ///
    /// # Errors
    /// It is none, or those of [`sql`](Self::sql).
    pub fn promote(&self) -> Result<()> {
        let promoted = self.sql("postgres", "SELECT pg_promote(wait => true, wait_seconds => 30)")?;
        if promoted == "t" { Ok(()) } else { Err(self.late("promotion", Duration::from_secs(30))) }
    }

    /// Has this replica receive WAL but not show it: it falls behind until
    /// [`resume_replay`](Self::resume_replay).
    ///
    /// # Errors
    /// It is no replica, or those of [`sql`](Self::sql).
    pub fn pause_replay(&self) -> Result<()> {
        self.sql("postgres", "SELECT pg_wal_replay_pause()")?;
        let paused = poll(REPLAYED_WITHIN, || {
            let state = self.sql("postgres", "SELECT pg_get_wal_replay_pause_state()")?;
            Ok::<_, Error>((state == "paused").then_some(()))
        })?;
        paused.ok_or_else(|| self.late("the pause of replay", REPLAYED_WITHIN))
    }

    /// Ends [`pause_replay`](Self::pause_replay).
    ///
    /// # Errors
    /// It is no replica, or those of [`sql`](Self::sql).
    pub fn resume_replay(&self) -> Result<()> {
        self.sql("postgres", "SELECT pg_wal_replay_resume()").map(drop)
    }
}
