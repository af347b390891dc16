//! Servers that stay with a session while they do nothing for it: in session mode all that it has touched; else those
//! that hold what can't be carried to another one (temporary objects, session advisory locks, WITH HOLD cursors), until
//! that is gone.
//!
//! What a statement leaves behind is not worked out from its words. One that may leave something, or take it away,
//! raises a doubt, and the server itself is asked what it holds before anybody else may have it. What raises no doubt
//! is a function whose body does such a thing and does not say so: see [`crate::schema::Functions::leaves_state`].

use super::servers::Participant;
use super::{End, Session};
use crate::error::ClientError;
use crate::plan::Plan;
use crate::schema::{ShardRef, TemporaryTable};
use crate::sql::command::Command;
use shardway_config::PoolMode;
use shardway_pool::Lease;
use shardway_pool::server::{RunError, TextRow, is_discard_all};
use std::time::Duration;

/// What a server holds that belongs to the session.
#[derive(Debug, Default)]
pub struct Holds {
    doubt: Doubt,
    /// There is something that can't be carried to another server.
    anything: bool,
    /// Nobody knows what: it stays with the session to its end.
    to_the_end: bool,
    /// No command takes it away (a library): the server is closed in the end.
    spoilt: bool,
    cursors: Vec<String>,
    tables: Vec<TemporaryTable>,
}

/// Whether what is known of a server is so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doubt {
    /// Yes.
    #[default]
    None,
    /// A statement may have changed it.
    Unread,
    /// Yes, but the transaction that it was changed in may still end either way.
    Unsettled,
}

/// What a server says it holds. Rows: the kind; a name; a column and its type.
const WHAT_IS_HELD: &str = "\
SELECT 'object', NULL, NULL, NULL WHERE EXISTS (SELECT FROM pg_catalog.pg_depend \
 WHERE refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND refobjid = pg_catalog.pg_my_temp_schema()) \
UNION ALL SELECT 'lock', NULL, NULL, NULL WHERE EXISTS (SELECT FROM pg_catalog.pg_locks \
 WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()) \
UNION ALL SELECT 'cursor', name, NULL, NULL FROM pg_catalog.pg_cursors WHERE is_holdable \
UNION ALL (SELECT 'table', c.relname, a.attname, a.atttypid::pg_catalog.text FROM pg_catalog.pg_class c \
 LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
 WHERE pg_catalog.pg_my_temp_schema() <> 0 AND c.relnamespace = pg_catalog.pg_my_temp_schema() \
 AND c.relname NOT LIKE 'shardway %' \
 ORDER BY c.oid, a.attnum)";

/// How long a server may take to be cleaned up behind its client.
const CLEANING: Duration = Duration::from_secs(15);

impl Holds {
    fn read(&mut self, rows: Vec<TextRow>) {
        self.anything = !rows.is_empty();
        self.cursors.clear();
        self.tables.clear();
        for row in rows {
            let mut row = row.into_iter();
            let mut next = || row.next().flatten();
            match (next().as_deref(), next()) {
                (Some("cursor"), Some(name)) => self.cursors.push(name),
                (Some("table"), Some(name)) => self.column(name, next(), next()),
                _ => {}
            }
        }
    }

    fn column(&mut self, table: String, column: Option<String>, type_oid: Option<String>) {
        if self.tables.last().is_none_or(|last| last.name != table) {
            self.tables.push(TemporaryTable { name: table, columns: Vec::new() });
        }
        let type_oid = type_oid.and_then(|oid| oid.parse().ok());
        if let (Some(last), Some(column), Some(oid)) = (self.tables.last_mut(), column, type_oid) {
            last.columns.push((column, oid));
        }
    }
}

impl Participant {
    /// A statement that runs there may change what it holds.
    pub(super) fn doubt(&mut self) {
        self.lease.claimed = true;
        self.holds.get_or_insert_default().doubt = Doubt::Unread;
    }

    /// The same of one that leaves what nothing takes away.
    fn spoil(&mut self) {
        self.doubt();
        let holds = self.holds.get_or_insert_default();
        (holds.spoilt, holds.to_the_end) = (true, true);
    }

    fn is_unread(&self) -> bool {
        self.holds.as_ref().is_some_and(|holds| holds.doubt == Doubt::Unread)
    }

    /// Whether something is there, or may be.
    pub(super) fn holds_anything(&self) -> bool {
        self.holds.as_ref().is_some_and(|h| h.anything || h.to_the_end || h.doubt != Doubt::None)
    }

    /// Whether a transaction may not end there unseen.
    pub(super) fn is_doubtful(&self) -> bool {
        self.holds.as_ref().is_some_and(|holds| holds.doubt != Doubt::None)
    }

    /// Temporary relations there, as far as they are known.
    pub(super) fn temporary_tables(&self) -> &[TemporaryTable] {
        self.holds.as_ref().map_or(&[], |holds| &holds.tables)
    }

    /// Asks the server what it holds.
    async fn look(&mut self) -> Result<(), RunError> {
        let rows = self.lease.rows(WHAT_IS_HELD).await?;
        let in_transaction = self.lease.status != b'I';
        let holds = self.holds.get_or_insert_default();
        let before = std::mem::take(&mut holds.tables);
        holds.read(rows);
        holds.doubt = if in_transaction { Doubt::Unsettled } else { Doubt::None };
        if before != holds.tables {
            // A statement means the tables that were there when it was prepared, by this client or another.
            self.lease.run("DEALLOCATE ALL").await?;
            self.lease.forget_statements();
        }
        Ok(())
    }
}

impl Session {
    /// Servers that may hold what belongs to the session: in hand, and laid by.
    fn holders(&self) -> impl Iterator<Item = &Participant> {
        self.servers.iter().chain(&self.kept).filter(|participant| participant.holds_anything())
    }

    /// Whether one of its servers holds, or may hold, what can't be carried to another.
    pub(super) fn holds_anything(&self) -> bool {
        self.holders().next().is_some()
    }

    /// Temporary relations, with their places.
    pub(super) fn temporary_tables(&self) -> Vec<(ShardRef, TemporaryTable)> {
        let of = |p: &Participant| {
            p.temporary_tables().iter().map(|table| (p.shard, table.clone())).collect::<Vec<_>>()
        };
        self.holders().flat_map(of).collect()
    }

    /// The shard that has a WITH HOLD cursor of this name.
    pub(super) fn held_cursor(&self, name: &str) -> Option<ShardRef> {
        let has = |p: &&Participant| p.holds.as_ref().is_some_and(|h| h.cursors.iter().any(|c| c == name));
        self.holders().find(has).map(|p| p.shard)
    }

    /// Shards that have WITH HOLD cursors.
    pub(super) fn shards_with_cursors(&self) -> impl Iterator<Item = ShardRef> + '_ {
        let has = |p: &&Participant| p.holds.as_ref().is_some_and(|holds| !holds.cursors.is_empty());
        self.holders().filter(has).map(|p| p.shard)
    }

    /// Raises a doubt about a server if the statement gives reason to: one in hand, before it is sent.
    pub(super) fn doubt_by(&mut self, index: usize, plan: &Plan, text: &str) {
        self.servers[index].unpreparable |= plan.unpreparable;
        if plan.command == Command::Load {
            return self.servers[index].spoil();
        }
        let takes_away = || match plan.command {
            Command::Cursor => text.trim_start().get(..5).is_some_and(|w| w.eq_ignore_ascii_case("close")),
            Command::Ddl | Command::Utility | Command::Temporary => true,
            _ => false,
        };
        if plan.leaves || self.servers[index].holds_anything() && takes_away() {
            self.servers[index].doubt();
        }
    }

    /// Lays a server by if it is to stay with the session; else it goes back to its pool.
    pub(super) fn lay_by(&mut self, mut participant: Participant) {
        if self.mode != PoolMode::Session && participant.holds.is_none() {
            if self.ways.resets_always {
                self.reset_behind(participant.lease);
            }
            return self.note_kept();
        }
        let lease = &mut participant.lease;
        if lease.status != b'I' || lease.outstanding > 0 || !lease.wire.output.is_empty() {
            // What it held is lost with it.
            self.is_bereft = true;
            return participant.lease.close();
        }
        lease.claimed = true;
        (participant.wrote, participant.locks, participant.unpreparable) = (false, false, false);
        participant.asked = true;
        if let Some(holds) = &mut participant.holds
            && holds.doubt == Doubt::Unsettled
        {
            holds.doubt = Doubt::Unread;
        }
        self.kept.push(participant);
        self.note_kept();
    }

    /// Gives a server back as `server_reset_query` leaves it (PgBouncer's `server_reset_query_always`): nobody else has it
    /// before. The session does not wait for that.
    fn reset_behind(&self, mut lease: Lease) {
        let query = self.world.config.pool.server_reset_query.clone();
        if query.trim().is_empty() || !lease.is_clean() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        lease.claimed = true;
        runtime.spawn(async move {
            let cleaned = async {
                lease.reset(&query).await?;
                lease.introduce().await.map_err(RunError::Lost)
            };
            if !matches!(tokio::time::timeout(CLEANING, cleaned).await, Ok(Ok(()))) {
                lease.close();
            }
        });
    }

    /// The server of a shard that was laid by.
    pub(super) fn take_kept(&mut self, shard: ShardRef) -> Option<Participant> {
        let at = self.kept.iter().position(|participant| participant.shard == shard)?;
        Some(self.kept.swap_remove(at))
    }

    /// Whether the session must not lose this server.
    pub(super) fn needs(&self, participant: &Participant) -> bool {
        self.mode == PoolMode::Session || participant.holds_anything()
    }

    /// Whether there is something for [`Session::settle_doubts`] to do.
    pub(super) fn has_doubts(&self) -> bool {
        self.is_bereft || self.servers.iter().chain(&self.kept).any(Participant::is_unread)
    }

    /// Asks servers that a doubt was raised about what they hold, and gives back those that hold nothing.
    pub(super) async fn settle_doubts(&mut self) -> Result<(), End> {
        for participant in self.servers.iter_mut().chain(&mut self.kept) {
            // In a transaction that failed it can't be asked; when that is over it is.
            if !participant.is_unread() || participant.lease.status == b'E' {
                continue;
            }
            match participant.look().await {
                Ok(()) => {}
                Err(RunError::Lost(_)) => self.is_bereft = true,
                Err(RunError::Refused(_)) => {
                    let holds = participant.holds.get_or_insert_default();
                    (holds.doubt, holds.to_the_end) = (Doubt::None, true);
                    if let Some(transaction) = &mut self.transaction {
                        transaction.failed |= participant.lease.status == b'E';
                    }
                }
            }
        }
        if self.is_bereft {
            return Err(End::Fatal(bereft()));
        }
        if self.mode != PoolMode::Session {
            for mut done in self.kept.extract_if(.., |participant| !participant.holds_anything()) {
                done.lease.claimed = false;
            }
            self.list_kept();
        }
        self.redraw_planning();
        Ok(())
    }

    /// The client is gone: what servers hold of it goes too.
    pub(super) async fn give_up_kept(&mut self) {
        let query = match self.mode {
            PoolMode::Session => self.world.config.pool.server_reset_query.clone(),
            PoolMode::Transaction | PoolMode::Statement => DISCARD_ALL.to_owned(),
        };
        for mut participant in std::mem::take(&mut self.kept) {
            let spoilt = participant.holds.as_ref().is_some_and(|holds| holds.spoilt);
            let discards = participant.holds_anything() && !is_discard_all(&query);
            let lease = &mut participant.lease;
            let cleaned = async {
                if discards {
                    lease.reset(DISCARD_ALL).await?;
                }
                lease.reset(&query).await?;
                lease.introduce().await.map_err(RunError::Lost)
            };
            let cleaned = tokio::time::timeout(CLEANING, cleaned).await;
            if spoilt || !matches!(cleaned, Ok(Ok(()))) {
                participant.lease.close();
            }
        }
    }

    /// DISCARD ALL: what servers hold goes, and so do those that are not needed any more.
    pub(super) async fn discard_kept(&mut self) -> Result<(), ClientError> {
        let mut lost = false;
        for participant in &mut self.kept {
            lost |= participant.lease.reset(DISCARD_ALL).await.is_err();
            lost |= participant.lease.introduce().await.is_err();
            participant.lease.claimed = true;
            let stays = participant.holds.take().filter(|holds| holds.to_the_end);
            participant.holds = stays
                .map(|holds| Box::new(Holds { to_the_end: true, spoilt: holds.spoilt, ..Holds::default() }));
        }
        if lost {
            return Err(bereft());
        }
        if self.mode != PoolMode::Session {
            for mut done in self.kept.extract_if(.., |participant| participant.holds.is_none()) {
                done.lease.claimed = false;
            }
            self.list_kept();
        }
        self.redraw_planning();
        Ok(())
    }

    /// The pool mode is what the configuration says now. Servers that a session kept by an older one stay to its end.
    pub(super) fn follow_mode(&mut self) {
        let mode = self.world.pool_mode(&self.database, &self.user);
        if std::mem::replace(&mut self.mode, mode) == PoolMode::Session && mode != PoolMode::Session {
            for participant in &mut self.kept {
                participant.holds.get_or_insert_default().to_the_end = true;
            }
        }
    }

    /// Servers that were laid by must still be their shards' after a reload.
    pub(super) fn check_kept(&self) -> Result<(), End> {
        let stays = |participant: &Participant| {
            let ShardRef { group, shard } = participant.shard;
            let shards = self.database.groups.get(group.0).map(|group| &group.shards);
            let shard = shards.and_then(|shards| shards.get(shard.0 as usize));
            shard.is_some_and(|s| s.servers.iter().any(|s| s.address == *participant.lease.address()))
        };
        if self.ways.closes_fast && self.kept.iter().any(|p| !stays(p) || p.lease.pool().is_retired()) {
            return Err(End::Fatal(ClientError::protocol("database configuration changed")));
        }
        if self.ways.keeps_former || self.kept.iter().all(stays) {
            return Ok(());
        }
        let message = "terminating connection: the server of this session is no longer configured";
        Err(End::Fatal(ClientError::fatal("57P01", message)))
    }

    /// Whether the client may be in a transaction block between two of its messages.
    pub(super) fn check_mode(&self) -> Result<(), End> {
        let open = self.transaction.as_ref().is_some_and(|transaction| transaction.explicit);
        if self.mode == PoolMode::Statement && open { Err(End::Fatal(no_blocks())) } else { Ok(()) }
    }
}

/// The command that takes all away.
const DISCARD_ALL: &str = "DISCARD ALL";

/// PgBouncer's words, and its SQLSTATE.
pub(super) fn no_blocks() -> ClientError {
    ClientError::fatal("08P01", "transaction blocks not allowed in statement pooling mode")
}

/// A server that held what belongs to the session is gone: as one Postgres, it takes the session with it.
pub(super) fn bereft() -> ClientError {
    ClientError::fatal("08006", "the server connection that held this session's state is gone")
        .hint("Connect again; temporary tables, advisory locks and cursors are lost.")
}
