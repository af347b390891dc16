//! What holds when all is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

use shardway_tests::RawClient;

use super::{Fate, Run};
use crate::operation::support::{at_rest, soon};

pub(super) async fn hold(run: &Run) {
    let log = run.world.proxy().log();
    assert!(!log.contains("panicked"), "{log}");
    at_rest(&run.world.admin().await).await;
    soon("servers to work for nobody", async || (busy(run) == 0).then_some(())).await;
    pairs_are_whole(run);
    servers_are_as_new(run).await;
    assert!(run.has_done_enough(), "too little was done");
}

fn busy(run: &Run) -> usize {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = 'app' \
        AND application_name LIKE 'mk%' AND state <> 'idle'";
    run.world.server(0).sql("postgres", sql).expect("the server's activity").parse().expect("a count")
}

/// Both rows of a pair or none; those that were committed, and none of those that were not.
fn pairs_are_whole(run: &Run) {
    let rows = run.world.everywhere("SELECT pair, count(*) FROM item GROUP BY pair");
    let counts: BTreeMap<&str, &str> = rows.iter().filter_map(|row| row.split_once('|')).collect();
    let torn: Vec<_> = counts.iter().filter(|(_, count)| **count != "2").collect();
    assert!(torn.is_empty(), "transactions that were kept in part: {torn:?}");
    let pairs = run.pairs.lock().unwrap_or_else(PoisonError::into_inner);
    // A pair that is first known to be rolled back and then lost with its connection is rolled back.
    let of = |fate: Fate| pairs.iter().filter(move |pair| pair.1 == fate).map(|pair| pair.0.to_string());
    let lost: Vec<_> = of(Fate::Committed).filter(|pair| !counts.contains_key(pair.as_str())).collect();
    assert!(lost.is_empty(), "committed and not there: {lost:?}");
    let kept: BTreeSet<_> = of(Fate::RolledBack).filter(|pair| counts.contains_key(pair.as_str())).collect();
    assert!(kept.is_empty(), "rolled back and there: {kept:?}");
    for (fate, name) in
        [(Fate::Committed, "committed"), (Fate::RolledBack, "rolled back"), (Fate::Unknown, "unknown")]
    {
        run.tally
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.into(), of(fate).count() as u64);
    }
}

/// Clients that set nothing find nothing set, on as many servers as the pools may have.
async fn servers_are_as_new(run: &Run) {
    let mut clients = Vec::new();
    for shard in 0..run.scene.shards {
        for _ in 0..3 {
            let mut raw = run.world.raw("app").await;
            raw.query("BEGIN").recv_until_ready().await;
            let sql = format!(
                "/* shard: {shard} */ SELECT current_setting('application_name'), current_setting('app.mk', true), \
                 current_setting('lock_timeout'), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), \
                 (SELECT count(*) FROM pg_class WHERE relpersistence = 't'), (SELECT count(*) FROM pg_cursors), \
                 (SELECT count(*) FROM pg_prepared_statements WHERE name = 'p'), \
                 (SELECT count(*) FROM pg_listening_channels())"
            );
            let row = tokio::time::timeout(std::time::Duration::from_secs(1), ask(&mut raw, &sql)).await;
            // A pool may have become smaller meanwhile.
            let Ok(row) = row else { break };
            assert!(row[1].is_empty() && row[0].is_empty(), "{row:?}");
            assert_eq!(row[2..], ["0"; 6], "{row:?}");
            clients.push(raw);
        }
    }
}

async fn ask(raw: &mut RawClient, sql: &str) -> Vec<String> {
    let reply = raw.query(sql).recv_until_ready().await;
    assert!(reply.error().is_none(), "{reply:?}");
    reply.texts().0.into_iter().flatten().map(Option::unwrap_or_default).collect()
}
