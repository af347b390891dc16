//! Ports: reserved ones are nobody else's.

use std::{collections::HashSet, net::TcpListener, sync::Mutex, thread};

use shardway_cluster::{Port, Server};

#[test]
fn no_two_holders_get_the_same_port() {
    let held = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| held.lock().unwrap().push(Port::reserve().unwrap())));
        }
    });
    let held = held.into_inner().unwrap();
    let numbers: HashSet<u16> = held.iter().map(Port::number).collect();
    assert_eq!(numbers.len(), 160);
}

#[test]
fn a_start_waits_for_its_port_to_become_free() {
    let server = Server::builder().prepare().unwrap();
    let squatter = TcpListener::bind(("127.0.0.1", server.port())).unwrap();
    thread::scope(|scope| {
        let start = scope.spawn(|| server.start());
        while !server.log().unwrap().contains("Address already in use") && !start.is_finished() {
            thread::yield_now();
        }
        drop(squatter);
        start.join().unwrap().unwrap();
    });
}
