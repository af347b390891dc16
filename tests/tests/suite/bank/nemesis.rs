//! What goes wrong: processes die, connections are cut.

use std::time::Duration;

use rand::{Rng, rngs::StdRng};
use shardway_tests::Cut;
use tokio::{
    task::block_in_place,
    time::{sleep, timeout},
};

use super::{
    Bank, SERVERS,
    points::{POINTS, Side},
};

/// Kills the proxy and servers until the bank closes; each is up again at the end.
pub(super) async fn destroys(bank: &'static Bank, mut random: StdRng) {
    while !bank.is_closing() {
        let server = bank.world.server(random.random_range(0..SERVERS));
        let pause = Duration::from_millis(random.random_range(0..100));
        match random.random_range(0..6) {
            0..=2 => {
                bank.tally.add("fault: proxy killed");
                block_in_place(|| bank.world.proxy().kill());
                sleep(pause).await;
                block_in_place(|| bank.world.proxy().start());
            }
            3 => {
                bank.tally.add("fault: server killed");
                block_in_place(|| server.kill()).expect("the server's death");
                sleep(pause).await;
                block_in_place(|| server.start()).expect("the server's return");
            }
            4 => {
                bank.tally.add("fault: server restarted");
                block_in_place(|| server.restart()).expect("the server's restart");
            }
            _ => {
                bank.tally.add("fault: all connections cut");
                bank.world.middle(random.random_range(0..SERVERS)).cut_all(how(&mut random));
            }
        }
        sleep(Duration::from_millis(random.random_range(200..1200))).await;
    }
}

/// Cuts connections at a random step of a commit, until the bank closes.
pub(super) async fn cuts(bank: &'static Bank, mut random: StdRng) {
    while !bank.is_closing() {
        let middle = bank.world.middle(random.random_range(0..SERVERS));
        let point = &POINTS[random.random_range(0..POINTS.len())];
        let side = if random.random_bool(0.5) { Side::Before } else { Side::After };
        let fault = point.spot(middle, side).cut(how(&mut random));
        if timeout(Duration::from_millis(300), fault.happened()).await.is_ok() {
            bank.tally.add(format!("fault: cut {side:?} {}", point.name));
        }
        drop(fault);
        sleep(Duration::from_millis(random.random_range(0..100))).await;
    }
}

fn how(random: &mut StdRng) -> Cut {
    if random.random_bool(0.5) { Cut::Fin } else { Cut::Reset }
}
