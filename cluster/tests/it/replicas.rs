//! Replicas: they stream, fall behind when told, come back, and take over.

use std::time::Instant;

use shardway_cluster::{Error, Server};

fn count(server: &Server) -> String {
    server.sql("postgres", "SELECT count(*) FROM t").unwrap()
}

#[test]
fn a_replica_sees_what_its_primary_commits() {
    let primary = Server::builder().start().unwrap();
    let replica = Server::replica_of(&primary).name("mirror").start().unwrap();
    assert!(replica.is_in_recovery().unwrap() && !primary.is_in_recovery().unwrap());
    primary.sql("postgres", "CREATE TABLE t AS SELECT generate_series(1, 1000)").unwrap();
    replica.wait_caught_up(&primary).unwrap();
    assert_eq!(count(&replica), "1000");
    let names = primary.sql("postgres", "SELECT application_name, state FROM pg_stat_replication");
    assert_eq!(names.unwrap(), "mirror|streaming");
}

#[test]
fn a_primary_that_has_dropped_its_first_wal_is_copied() {
    let primary = Server::builder().setting("wal_keep_size", "0").setting("max_wal_size", "32MB").start();
    let primary = primary.unwrap();
    primary.sql("postgres", "CREATE TABLE t AS SELECT 1; SELECT pg_switch_wal(); CHECKPOINT").unwrap();
    primary.sql("postgres", "INSERT INTO t VALUES (2); SELECT pg_switch_wal(); CHECKPOINT").unwrap();
    assert!(!primary.dir().join("pg_wal/000000010000000000000001").exists());
    let replica = Server::replica_of(&primary).start().unwrap();
    assert_eq!(count(&replica), "2");
}

#[test]
fn a_replica_falls_behind_while_replay_is_paused() {
    let primary = Server::builder().start().unwrap();
    let replica = Server::replica_of(&primary).start().unwrap();
    primary.sql("postgres", "CREATE TABLE t AS SELECT 1").unwrap();
    replica.wait_caught_up(&primary).unwrap();

    replica.pause_replay().unwrap();
    primary.sql("postgres", "INSERT INTO t VALUES (2)").unwrap();
    let written = primary.lsn().unwrap();
    assert_eq!(count(&replica), "1");
    replica.resume_replay().unwrap();
    replica.wait_replayed(&written).unwrap();
    assert_eq!(count(&replica), "2");
}

#[test]
fn a_replica_outlives_restarts_on_either_side() {
    let primary = Server::builder().start().unwrap();
    let replica = Server::replica_of(&primary).start().unwrap();
    replica.kill().unwrap();
    primary.sql("postgres", "CREATE TABLE t AS SELECT 1").unwrap();
    replica.start().unwrap();
    primary.restart().unwrap();
    primary.sql("postgres", "INSERT INTO t VALUES (2)").unwrap();
    replica.wait_caught_up(&primary).unwrap();
    assert_eq!(count(&replica), "2");
}

#[test]
fn a_replica_takes_over_when_promoted() {
    let primary = Server::builder().start().unwrap();
    let replica = Server::replica_of(&primary).start().unwrap();
    primary.kill().unwrap();
    replica.promote().unwrap();
    assert!(!replica.is_in_recovery().unwrap());
    replica.sql("postgres", "CREATE TABLE t AS SELECT 1").unwrap();
    let follower = Server::replica_of(&replica).start().unwrap();
    follower.wait_caught_up(&replica).unwrap();
    assert_eq!(count(&follower), "1");
}

#[test]
fn a_kept_replica_that_was_promoted_does_not_follow_again() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let primary = Server::builder().start().unwrap();
    let kept = || Server::replica_of(&primary).data_dir(home.path().join("replica"));
    kept().start().unwrap();
    kept().start().unwrap().promote().unwrap();
    assert!(matches!(kept().start(), Err(Error::NotAReplica { .. })));
}

#[test]
fn two_servers_with_a_replica_each_start_side_by_side_in_seconds() {
    let started = Instant::now();
    let primaries = ["a", "b"].map(|name| Server::builder().name(name).prepare().unwrap());
    let replicas = primaries.each_ref().map(|primary| Server::replica_of(primary).prepare().unwrap());
    let prepared = started.elapsed();
    Server::start_all(primaries.iter().chain(&replicas)).unwrap();
    for replica in &replicas {
        replica.wait_streaming().unwrap();
    }
    eprintln!("2 servers and 2 replicas: prepared after {prepared:?}, ready after {:?}", started.elapsed());
}
