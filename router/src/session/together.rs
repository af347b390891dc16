//! Statements that several shards run as one: in the client's transaction, else in one of their own.

use super::Session;
use super::simple::Failure;
use super::transaction::Transaction;

impl Session {
    /// Opens a transaction for a statement that several shards run, unless there is one. Whether it did.
    pub(super) fn open_together(&mut self) -> bool {
        let opens = self.transaction.is_none();
        if opens {
            self.transaction = Some(Transaction::implicit());
        }
        opens
    }

    /// Commits what `open_together` opened, or rolls it back if the statement failed. Errors: the statement's, else the
    /// commit's: nothing of it stays then.
    pub(super) async fn close_together<T>(
        &mut self,
        opened: bool,
        done: Result<T, Failure>,
    ) -> Result<T, Failure> {
        if !opened {
            return done;
        }
        match done {
            Ok(value) => {
                self.commit(false).await?;
                Ok(value)
            }
            Err(failure) => {
                self.rollback(false).await;
                Err(failure)
            }
        }
    }
}
