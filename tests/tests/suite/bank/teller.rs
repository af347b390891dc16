//! A client that moves money, and comes back whenever its connection is lost.

use std::time::Duration;

use rand::{Rng, rngs::StdRng};
use shardway_tests::{DATABASE, RawClient, Reply};
use tokio::time::sleep;

use super::{
    Bank, Fate,
    steps::{Step, Transfer},
};

/// The connection is of no more use.
pub(super) struct Gone;

/// Until the bank closes.
pub(super) async fn of(bank: &'static Bank, name: String, mut random: StdRng) {
    let mut client = None;
    let mut number = 0;
    while !bank.is_closing() {
        let Some(mut raw) = (match client.take() {
            Some(raw) => Some(raw),
            None => connect(bank).await,
        }) else {
            sleep(Duration::from_millis(random.random_range(1..30))).await;
            continue;
        };
        number += 1;
        let transfer = Transfer::random(format!("{name}n{number}"), &mut random);
        let (form, steps) = transfer.steps(&mut random);
        let (fate, stays) = carry_out(bank, &mut raw, &steps).await;
        bank.tally.add(format!("{form}: {fate:?}"));
        bank.record(transfer.name, fate);
        if stays.is_ok() {
            client = Some(raw);
        }
    }
}

/// Logged in, where there is a proxy.
pub(super) async fn connect(bank: &Bank) -> Option<RawClient> {
    let mut raw = RawClient::reach(bank.world.proxy().port()).await?;
    let options = "-c lock_timeout=1s -c statement_timeout=3s";
    raw.startup(&[("user", "app"), ("database", DATABASE), ("options", options)]);
    (raw.rest().await.last()?.tag == b'Z').then_some(raw)
}

/// Sends the steps up to the first that fails. How the transfer ended, as far as can be told.
pub(super) async fn carry_out(bank: &Bank, raw: &mut RawClient, steps: &[Step]) -> (Fate, Result<(), Gone>) {
    let mut fate = Fate::Failed;
    for step in steps {
        let reply = raw.query(&step.text).rest().await;
        let is_over = reply.0.last().is_none_or(|last| last.tag != b'Z');
        let error = reply.error().and_then(|error| error.field('C'));
        if let Some(code) = &error {
            bank.tally.add(format!("error {code}"));
        }
        fate = match (step.commits, &error) {
            (false, _) => Fate::Failed,
            (true, None) if is_over => Fate::Unknown,
            (true, None) => ended(&step.text, &reply),
            (true, Some(code)) if leaves_open(code) => Fate::Unknown,
            (true, Some(_)) => Fate::Failed,
        };
        if is_over {
            return (fate, Err(Gone));
        }
        // What is sent behind an error is to be refused, up to its end.
        if error.is_some() && (step.commits || !step.text.starts_with("INSERT")) {
            let back = raw.query("ROLLBACK").rest().await;
            return (fate, if back.0.last().is_some_and(|m| m.tag == b'Z') { Ok(()) } else { Err(Gone) });
        }
    }
    (fate, Ok(()))
}

/// What the last command's tag says.
fn ended(text: &str, reply: &Reply) -> Fate {
    let tag = reply.commands().last().cloned().unwrap_or_default();
    match tag.as_str() {
        "COMMIT" => Fate::Committed,
        "ROLLBACK" => Fate::Failed,
        // A text without a COMMIT of its own.
        _ if !text.contains("COMMIT") => Fate::Committed,
        other => panic!("{text} was answered {other:?}"),
    }
}

/// Whether an error to a COMMIT does not say that nothing is committed: the connection to a server was lost.
fn leaves_open(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P")
}
