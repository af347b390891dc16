//! Triggers of INSERT and DELETE don't fire for rows that move: one Postgres would not delete and insert them.
//!
//! A login that may, and a table that needs none of what else is switched off by it, has its rows moved as those of a
//! replica. Else its owner disables the triggers, for as long as it takes: nobody else writes to the table meanwhile, and
//! they are enabled again as they were.

use super::super::super::Session;
use super::super::super::simple::Failure;
use super::super::Write;
use super::movable::{Quiet, family};

/// What has triggers fire again on a server.
pub(super) type Loud = Option<String>;

impl Session {
    /// Waits until nobody else writes to a table whose triggers are to be disabled.
    pub(super) async fn alone(
        &mut self,
        write: &Write<'_>,
        quiet: &Quiet,
        servers: &[usize],
    ) -> Result<(), Failure> {
        let Quiet::Disable(tables) = quiet else { return Ok(()) };
        for &index in servers {
            let sql = format!("LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE");
            self.tell_one(write, index, sql.into_bytes()).await?;
        }
        Ok(())
    }

    /// Keeps triggers of INSERT and DELETE from firing on a server.
    pub(super) async fn hush(
        &mut self,
        write: &Write<'_>,
        quiet: &Quiet,
        index: usize,
    ) -> Result<Loud, Failure> {
        let asked = match quiet {
            Quiet::Still => return Ok(None),
            Quiet::Replica => REPLICA.to_owned(),
            Quiet::Disable(_) => {
                self.alone(write, quiet, &[index]).await?;
                format!("WITH {} {DISABLED}", family(&write.spread.table))
            }
        };
        let rows = self.servers[index].lease.rows(&asked).await;
        let rows = rows.map_err(|e| super::super::super::servers::refused(&e))?;
        let mut row = rows.into_iter().next().unwrap_or_default().into_iter();
        let (Some(still), loud) = (row.next().flatten(), row.next().flatten()) else { return Ok(None) };
        self.tell_one(write, index, still.into_bytes()).await?;
        Ok(loud)
    }

    /// Has them fire again.
    pub(super) async fn unhush(
        &mut self,
        write: &Write<'_>,
        loud: Loud,
        index: usize,
    ) -> Result<(), Failure> {
        match loud {
            Some(sql) => self.tell_one(write, index, sql.into_bytes()).await.map(drop),
            None => Ok(()),
        }
    }
}

const REPLICA: &str = "SELECT 'SET LOCAL session_replication_role = replica', \
    'SET LOCAL session_replication_role = ' || pg_catalog.current_setting('session_replication_role')";

/// What disables the triggers, and what enables them as they are.
const DISABLED: &str = "SELECT pg_catalog.string_agg(pg_catalog.format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', \
    g.tgrelid::pg_catalog.regclass, g.tgname), '; ' ORDER BY g.oid), \
    pg_catalog.string_agg(pg_catalog.format('ALTER TABLE ONLY %s ENABLE %sTRIGGER %I', g.tgrelid::pg_catalog.regclass, \
      CASE g.tgenabled WHEN 'A' THEN 'ALWAYS ' WHEN 'R' THEN 'REPLICA ' ELSE '' END, g.tgname), '; ' ORDER BY g.oid) \
    FROM acting g WHERE g.tgtype & 12 <> 0";
