//! What a victim is told.

use crate::error::ClientError;

/// SQLSTATE deadlock_detected.
const CODE: &str = "40P01";

const MESSAGE: &str = "deadlock detected";

const HINT: &str =
    "Transactions on several shards waited for each other. Roll back and try the transaction again.";

/// The error, in Postgres' form.
pub(super) fn error(detail: &str) -> ClientError {
    let fields =
        [(b'S', "ERROR"), (b'V', "ERROR"), (b'C', CODE), (b'M', MESSAGE), (b'D', detail), (b'H', HINT)];
    let mut body = Vec::new();
    for (tag, text) in fields {
        body.push(tag);
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    ClientError { body: Some(body.into()), ..ClientError::error(CODE, MESSAGE).hint(HINT) }
}
