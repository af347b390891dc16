//! What is said when a transaction has failed: an error on one shard is an error on all, at once.

use super::Session;
use super::relay::CANCELED;
use crate::error::{ClientError, Severity};

/// Fails wherever it is said in a transaction, without anybody's rights being asked. As any error it ends the transaction, or
/// what it did since its last savepoint, and gives up the locks of that.
const FAIL: &str = "ROLLBACK TO SAVEPOINT \"the client was told that this transaction has failed\"";

impl Session {
    /// Whether the transaction has failed, and some of its servers don't know.
    pub(super) fn fails_apart(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.failed)
            && self.servers.iter().any(|participant| goes_on(&participant.lease))
    }

    /// Lets them know: what others wait for there they get now, and not when the client says ROLLBACK.
    pub(super) async fn fail_everywhere(&mut self) {
        let limit = self.rollback_limit();
        let unaware = self.servers.iter_mut().filter(|participant| goes_on(&participant.lease));
        let mut told: Vec<_> = unaware.map(|participant| &mut participant.lease).collect();
        let telling = async {
            for lease in &mut told {
                // One that is lost is found out when the transaction is rolled back.
                let _ = lease.tell(FAIL).await;
            }
            for lease in &mut told {
                let _ = lease.drain().await;
            }
        };
        // Whoever does not answer in time is not clean, and closed in the end.
        let _ = tokio::time::timeout(limit, telling).await;
    }

    /// What the client is told for an error: why it was canceled, if that is known better here.
    pub(super) fn judged(&self, error: ClientError) -> ClientError {
        if error.severity == Severity::Fatal || error.code.as_bytes() != CANCELED {
            return error;
        }
        self.registration.handle.takes_verdict().unwrap_or(error)
    }
}

fn goes_on(server: &shardway_pool::server::ServerConn) -> bool {
    server.status == b'T' && server.outstanding == 0
}
