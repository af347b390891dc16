//! A proxy that ends in the middle of a commit over several shards: who waits hears the true outcome, and whatever is left
//! another one brings to its end.

use std::sync::atomic::{AtomicBool, Ordering};

use shardway_tests::{DATABASE, PASSWORD, RawClient, World};
use tokio::{net::TcpStream, task::JoinSet};

use super::recovery::{STEPS, Step, settled, write_on_both};
use super::{both, code, put, two_servers};
use crate::operation::support::soon;

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Transactions are waited for.
    Sigterm,
    /// Clients are.
    WaitForClients,
    /// Nobody is.
    Sigint,
    Shutdown,
}

impl End {
    async fn ask(self, world: &World) {
        let command = match self {
            End::Sigterm => return world.proxy().sigterm(),
            End::Sigint => return world.proxy().signal(libc::SIGINT),
            End::WaitForClients => "SHUTDOWN WAIT_FOR_CLIENTS",
            End::Shutdown => "SHUTDOWN",
        };
        let mut admin = RawClient::connect(world.proxy().port()).await;
        admin.login("admin", "shardway", PASSWORD).await;
        admin.query(command).rest().await;
    }
}

/// A commit that stands still at a step when the process is asked to end.
async fn committing<'a>(
    world: &'a World,
    step: &Step,
    after: bool,
    end: End,
) -> (RawClient, [i32; 2], shardway_tests::Fault<'a>) {
    let ids = both(world);
    let mut raw = world.raw("app").await;
    write_on_both(&mut raw, ids, 7).await;
    let stalled = step.spot(world, after).stall();
    raw.query("COMMIT").send().await;
    stalled.happened().await;
    end.ask(world).await;
    (raw, ids, stalled)
}

#[tokio::test]
async fn a_commit_under_way_is_waited_for() {
    let world = two_servers();
    for end in [End::Sigterm, End::WaitForClients] {
        for step in &STEPS {
            for after in [false, true] {
                let place = format!("{end:?} at {step:?}, after: {after}");
                let (mut raw, ids, stalled) = committing(&world, step, after, end).await;
                soon("the door to be shut", async || {
                    TcpStream::connect(("127.0.0.1", world.proxy().port())).await.err()
                })
                .await;
                stalled.lift();
                let reply = raw.recv_until_ready().await;
                assert_eq!((reply.commands(), reply.status()), (vec!["COMMIT".to_owned()], 'I'), "{place}");
                if end == End::Sigterm {
                    assert_eq!(code(&raw.expect_closed().await), "57P01", "{place}");
                }
                drop(raw);
                assert_eq!(world.proxy().wait_exit().code(), Some(0), "{place}");
                // Nothing is left for anybody.
                let prepared = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
                assert_eq!(world.everywhere(prepared), ["0", "0"], "{place}");
                world.proxy().start();
                assert_eq!(settled(&world, ids).await, ["7", "7"], "{place}");
            }
        }
    }
}

#[tokio::test]
async fn a_commit_that_is_not_waited_for_is_ended_by_whoever_comes_next() {
    let world = two_servers();
    for (n, (end, step, after)) in [
        (End::Sigint, &STEPS[0], true),
        (End::Sigint, &STEPS[3], false),
        (End::Shutdown, &STEPS[1], true),
        (End::Shutdown, &STEPS[2], true),
    ]
    .into_iter()
    .enumerate()
    {
        let place = format!("{end:?} at {step:?}, after: {after}");
        let (mut raw, ids, stalled) = committing(&world, step, after, end).await;
        let last = raw.rest().await;
        assert_eq!(world.proxy().wait_exit().code(), Some(0), "{place}");
        stalled.lift();
        // A second process in front of the same servers, or the same one again.
        let another = (n % 2 == 0).then(|| world.another_proxy());
        if another.is_none() {
            world.proxy().start();
        }
        let found = settled(&world, ids).await;
        assert_eq!(found[0], found[1], "{place}");
        if step.commits[usize::from(after)] {
            assert_eq!(found[0], "7", "{place}: it was decided");
        }
        // What the client was told, if anything, is so.
        match last.commands().first().map(String::as_str) {
            Some("COMMIT") => assert_eq!(found[0], "7", "{place}: {last:?}"),
            Some(other) => panic!("{place}: {other}"),
            None => {
                let code = code(&last);
                assert!(["", "57P01", "08006", "08007"].contains(&code.as_str()), "{place}: {last:?}");
            }
        }
        if another.is_some() {
            drop(another);
            world.proxy().start();
        }
    }
}

/// Moves two accounts on together until it is over. How far it was told that they are.
async fn moves_on(world: &World, ids: [i32; 2], over: &AtomicBool) -> i32 {
    let mut told = 0;
    while told == 0 || !over.load(Ordering::Relaxed) {
        let Some(mut raw) = RawClient::reach(world.proxy().port()).await else {
            tokio::task::yield_now().await;
            continue;
        };
        raw.startup(&[("user", "app"), ("database", DATABASE)]);
        if raw.rest().await.last().is_none_or(|last| last.tag != b'Z') {
            continue;
        }
        loop {
            let text = format!("BEGIN; {}; {}; COMMIT", put(ids[0], told + 1), put(ids[1], told + 1));
            let reply = raw.query(&text).rest().await;
            if reply.commands().last().is_some_and(|tag| tag == "COMMIT") {
                told += 1;
            } else {
                // A drain loses no transaction: it was not begun.
                assert!(["57P01", ""].contains(&code(&reply).as_str()), "{reply:?}");
                break;
            }
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_commit_while_processes_take_turns_are_told_what_is_so() {
    static OVER: AtomicBool = AtomicBool::new(false);
    // Lives as long as the program, as a shared world does: tasks may borrow it.
    let world: &'static World = Box::leak(Box::new(two_servers()));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let ids = both(world);
        clients.spawn(async move { (ids, moves_on(world, ids, &OVER).await) });
    }
    for _ in 0..3 {
        let id = both(world);
        // Something is done in between.
        let mut raw = world.raw("app").await;
        write_on_both(&mut raw, id, 1).await;
        drop(raw);
        tokio::task::block_in_place(|| {
            world.proxy().sigterm();
            assert_eq!(world.proxy().wait_exit().code(), Some(0));
            world.proxy().start();
        });
    }
    OVER.store(true, Ordering::Relaxed);
    while let Some(done) = clients.join_next().await {
        let (ids, told) = done.expect("a client");
        assert_eq!(settled(world, ids).await, [told.to_string(), told.to_string()]);
    }
    world.stop();
}
