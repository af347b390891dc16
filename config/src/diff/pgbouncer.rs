//! What changed in a `pgbouncer.ini` beside what the rest of the configuration holds of it.

use super::{ChangeKind, Changes, databases};
use crate::model::Fallback;
use crate::pgbouncer::{Pgbouncer, Settings, is_held};

const PREFIX: &str = "pgbouncer";

pub(super) fn diff_fallback(changes: &mut Changes, old: Option<&Fallback>, new: Option<&Fallback>) {
    let path = "databases.*";
    match (old, new) {
        (Some(old), Some(new)) => {
            databases::diff(changes, path, old.database(), new.database());
            changes.value(path, "idle_timeout", &old.idle_timeout, &new.idle_timeout);
        }
        (None, Some(_)) => changes.push(path.to_owned(), ChangeKind::Added),
        (Some(_), None) => changes.push(path.to_owned(), ChangeKind::Removed),
        (None, None) => {}
    }
}

/// Settings that have no place of their own in the configuration, or whose change is not to be seen there.
pub(super) fn diff(changes: &mut Changes, old: Option<&Pgbouncer>, new: Option<&Pgbouncer>) {
    let (Some(old), Some(new)) = (old, new) else { return };
    let is_told = !changes.0.is_empty();
    let rows = old.settings.rows().into_iter().zip(new.settings.rows());
    for (was, is) in rows.filter(|(was, is)| was != is && !(is_told && is_held(was.key))) {
        let value = |value: Option<String>| value.unwrap_or_default();
        changes.shown(PREFIX, was.key, value(was.value), value(is.value));
    }
}

/// Whether a path is a setting's that counts at start alone.
pub(super) fn counts_at_start(path: &str) -> bool {
    let setting = path.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('.'));
    let row = setting.and_then(|name| Settings::default().row(name));
    row.is_some_and(|row| !row.changeable)
}
