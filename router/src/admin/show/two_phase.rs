//! SHOW TWO_PHASE: transactions of Shardway's that are prepared on servers, as of the last look.

use crate::admin::answer::{Row, row};
use crate::admin::gather::by_name;
use crate::proxy::Proxy;

pub(super) fn rows(proxy: &Proxy) -> Vec<Row> {
    let world = proxy.world();
    let mut rows = Vec::new();
    for database in by_name(&world) {
        for found in database.two_phase.found() {
            // A reload may have taken the shard away since.
            let Some(group) = database.groups.get(found.shard.group.0) else { continue };
            rows.push(row![
                &database.name,
                &group.name,
                found.shard.shard.0 as usize,
                &found.gid,
                &found.owner,
                &found.prepared,
                format!("{:.1}", found.age.as_secs_f64()),
                found.stage.name(),
            ]);
        }
    }
    rows
}
