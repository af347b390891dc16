//! What goes wrong meanwhile: a fault every few milliseconds, between Shardway and its servers, at a random message.

use std::time::Duration;

use rand::{Rng, rngs::StdRng};
use shardway_tests::{Cut, Fault, Middle, Shape, Spot};
use tokio::time::{sleep, timeout};

use super::Run;

/// Until the run is over.
pub(super) async fn rule(run: &'static Run, mut random: StdRng) {
    let terminator = run.world.shard_direct(0).await;
    while !run.is_over() {
        match random.random_range(0..40) {
            0 => {
                run.world.middle(0).cut_all(cut(&mut random));
                run.tally.add("fault: all cut");
            }
            1 => reconfigure(run, &mut random),
            2 | 3 => {
                // What an administrator does. A backend that went by itself is no error.
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' \
                    AND application_name LIKE 'mk%' ORDER BY random() LIMIT 1";
                let _ = terminator.simple_query(sql).await;
                run.tally.add("fault: terminated");
            }
            _ => strike(run, &mut random).await,
        }
        sleep(Duration::from_millis(random.random_range(0..30))).await;
    }
}

fn cut(random: &mut StdRng) -> Cut {
    if random.random_bool(0.5) { Cut::Fin } else { Cut::Reset }
}

/// Sessions move from worker to worker, pools grow and shrink.
fn reconfigure(run: &Run, random: &mut StdRng) {
    let workers = if random.random_bool(0.5) { "all" } else { "auto" };
    let size = run.scene.servers + random.random_range(0..3);
    run.world
        .proxy()
        .reconfigure(&format!("[server]\nworker_use = '{workers}'\n[pool]\ndefault_pool_size = {size}"));
    run.world.proxy().sighup();
    run.tally.add("reloads");
}

/// One fault, for as long as it takes to strike and a little more.
async fn strike(run: &Run, random: &mut StdRng) {
    let replicas = run.scene.replicas;
    let middle = match random.random_range(0..=2 * replicas) {
        0 | 2.. => run.world.middle(0),
        _ => run.world.replica_middle(0, 0),
    };
    let (fault, name) = fault(middle, random);
    let happened = timeout(Duration::from_millis(200), fault.happened()).await;
    if happened.is_ok() {
        run.tally.add(format!("fault: {name}"));
        let length = if random.random_bool(0.1) { 300 } else { 20 };
        sleep(Duration::from_millis(random.random_range(0..length))).await;
    }
}

fn fault<'a>(middle: &'a Middle, random: &mut StdRng) -> (Fault<'a>, &'static str) {
    let spot = spot(middle, random);
    match random.random_range(0..10) {
        0..=3 => (spot.cut(cut(random)), "cut"),
        4..=6 => (spot.stall(), "stall"),
        7 => (middle.from_server().on_any().shape(Shape::Split(random.random_range(1..9))), "split"),
        8 => (middle.from_client().on_any().shape(Shape::Split(random.random_range(1..9))), "split"),
        _ => (middle.from_server().shape(Shape::Merge(Duration::from_millis(2))), "merge"),
    }
}

/// Somewhere in some message to come.
fn spot<'a>(middle: &'a Middle, random: &mut StdRng) -> Spot<'a> {
    let from_server = random.random_bool(0.6);
    let spot = if from_server { middle.from_server() } else { middle.from_client() };
    // Cancels, logins and Shardway's own connections now and then.
    let spot = if random.random_bool(0.3) { spot.on_any() } else { spot };
    let tags: &[u8] = if from_server { b"TDCZE12nSR" } else { b"QPBESX" };
    let n = random.random_range(1..30);
    let spot = match random.random_bool(0.7) {
        true => spot.nth(n.min(8), tags[random.random_range(0..tags.len())]),
        false => spot.nth_of_any(n),
    };
    match random.random_range(0..4) {
        0 => spot,
        1 => spot.after(),
        _ => spot.inside(random.random_range(1..40)),
    }
}
