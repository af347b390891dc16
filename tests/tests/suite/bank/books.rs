//! What must hold when a round is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{ACCOUNTS, BALANCE, Bank, Fate, SERVERS};

/// How long recovery may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for the fresh proxy's recovery, and checks.
pub(super) async fn check(bank: &Bank) {
    nothing_is_prepared(bank).await;
    let total = i64::from(ACCOUNTS) * BALANCE;
    assert_eq!(sum(bank, "SELECT sum(balance) FROM account"), total, "the total; {}", bank.log());
    let torn = bank.world.everywhere("SELECT transfer, sum(amount), count(*) FROM receipt GROUP BY transfer");
    let mut transfers: BTreeMap<String, i64> = BTreeMap::new();
    for line in &torn {
        let (transfer, rest) = line.split_once('|').expect("a transfer");
        let amount: i64 = rest.split('|').next().and_then(|text| text.parse().ok()).expect("an amount");
        *transfers.entry(transfer.to_owned()).or_default() += amount;
    }
    let halves: Vec<_> = transfers.iter().filter(|(_, sum)| **sum != 0).collect();
    assert!(halves.is_empty(), "transfers that were kept in part: {halves:?}; {}", bank.log());
    let wrong = "SELECT user_id FROM account a WHERE balance <> 1000 + \
        (SELECT coalesce(sum(amount), 0) FROM receipt r WHERE r.user_id = a.user_id)";
    assert_eq!(
        bank.world.everywhere(wrong),
        Vec::<String>::new(),
        "accounts that don't agree with their receipts"
    );
    fates_hold(bank, &transfers);
}

/// What a client was told of a transfer is so.
fn fates_hold(bank: &Bank, transfers: &BTreeMap<String, i64>) {
    let fates = bank.fates.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |fate: Fate| fates.iter().filter(move |told| told.1 == fate).map(|told| &told.0);
    let lost: BTreeSet<_> = of(Fate::Committed).filter(|name| !transfers.contains_key(*name)).collect();
    assert!(lost.is_empty(), "committed and not there: {lost:?}; {}", bank.log());
    let kept: BTreeSet<_> = of(Fate::Failed).filter(|name| transfers.contains_key(*name)).collect();
    assert!(kept.is_empty(), "failed and there: {kept:?}; {}", bank.log());
}

fn sum(bank: &Bank, sql: &str) -> i64 {
    bank.world.everywhere(sql).iter().map(|line| line.parse::<i64>().unwrap_or(0)).sum()
}

/// Recovery leaves no transaction prepared.
async fn nothing_is_prepared(bank: &Bank) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = tokio::task::block_in_place(|| prepared(bank));
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left prepared: {left:?}; {}", bank.log());
        sleep(Duration::from_millis(20)).await;
    }
}

fn prepared(bank: &Bank) -> Vec<String> {
    let all = (0..SERVERS).map(|server| {
        let listed = bank.world.server(server).sql("postgres", "SELECT gid FROM pg_prepared_xacts");
        listed.expect("the prepared transactions")
    });
    all.flat_map(|lines| lines.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}
