//! pgbench: its own scripts where nothing is sharded, and one by key over shards, in its three modes.

use std::fs;

use shardway_tests::{Program, Ran, World};

const MODES: [&str; 3] = ["simple", "extended", "prepared"];

fn pgbench(world: &World, args: &[&str]) -> Ran {
    Program::of_postgres("pgbench").args(args).arg(world.proxy().url("app")).run()
}

/// That all transactions of eight clients were processed and none failed.
#[track_caller]
fn all_went_well(ran: &Ran) {
    let report = ran.said();
    assert!(
        report.contains("number of transactions actually processed: 1600/1600"),
        "{report}{}",
        ran.stderr
    );
    // Versions before 15 don't count failures; there a failed client ends the run.
    let failed = report.lines().find(|line| line.starts_with("number of failed transactions"));
    assert!(failed.is_none_or(|line| line.contains(": 0 ")), "{report}{}", ran.stderr);
}

#[test]
fn its_own_scripts_run_in_every_mode() {
    let world = World::builder().start();
    assert_eq!(pgbench(&world, &["-i", "-q", "-s", "1"]).said(), "");
    assert_eq!(world.shard(0).sql("SELECT count(*) FROM pgbench_accounts"), "100000");
    for mode in MODES {
        all_went_well(&pgbench(&world, &["-M", mode, "-c", "8", "-j", "2", "-t", "200"]));
        all_went_well(&pgbench(&world, &["-S", "-n", "-M", mode, "-c", "8", "-j", "2", "-t", "200"]));
    }
    // Each run begins by emptying the history.
    assert_eq!(world.shard(0).sql("SELECT count(*) FROM pgbench_history"), "1600");
    let agree =
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches)";
    assert_eq!(world.shard(0).sql(agree), "t", "every transaction counted once, in every table");
}

#[test]
fn a_script_by_key_runs_over_shards_in_every_mode() {
    let world = World::builder()
        .shards(4)
        .servers(2)
        .schema("CREATE TABLE counter (user_id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")
        .start();
    let insert: String = (1..=100).map(|id| format!("INSERT INTO counter VALUES ({id});\n")).collect();
    super::psql(&world.proxy().url("app")).args(["-v", "ON_ERROR_STOP=1"]).input(insert).run().said();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("by_key.sql");
    fs::write(
        &script,
        "\\set id random(1, 100)\nSELECT n FROM counter WHERE user_id = :id;\n\
         UPDATE counter SET n = n + 1 WHERE user_id = :id;\n",
    )
    .unwrap();
    for (round, mode) in (1..).zip(MODES) {
        let script = script.to_str().unwrap();
        all_went_well(&pgbench(&world, &["-n", "-M", mode, "-c", "8", "-j", "2", "-t", "200", "-f", script]));
        let counted = world.everywhere("SELECT sum(n) FROM counter");
        assert_eq!(counted.iter().map(|n| n.parse::<i64>().unwrap()).sum::<i64>(), round * 1600, "{mode}");
        assert!(counted.iter().all(|n| n != "0"), "every shard took part: {counted:?}");
    }
}
