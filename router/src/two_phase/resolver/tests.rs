//! What the sweep takes away and what it leaves, on a real server; time is the test's.

use super::*;
use crate::client::auth::SaltKey;
use crate::proxy::World;
use shardway_cluster::Server;
use shardway_config::Source;
use shardway_pool::Login;
use std::collections::BTreeSet;

/// A database of two shards, which nobody else looks after.
struct House {
    server: Server,
    _world: World,
    database: Arc<Database>,
}

impl House {
    async fn new() -> Self {
        let server = Server::builder().name("decisions").start().expect("a server");
        for shard in 0..2 {
            server.sql("postgres", &format!("CREATE DATABASE shop_{shard}")).expect("a database");
        }
        let port = server.port();
        let text = format!(
            "[[users]]\nname = 'postgres'\npassword = 'trusted'\n\
             [[databases]]\nname = 'shop'\n\
             [[databases.groups]]\nname = 'main'\nshard_count = 2\nkeys = ['user_id']\n\
             [[databases.groups.shards]]\nids = [0, 1]\nprimary = 'postgres://127.0.0.1:{port}/shop_{{shard}}'"
        );
        let source = Source::Text { name: "a test".to_owned(), text };
        let config = shardway_config::load(&source, &shardway_config::ProcessEnv).expect("a configuration");
        let world = World::build(config, None, &SaltKey::random()).expect("a world");
        let database = world.databases["shop"].clone();
        database.stop_watching();
        for shard in database.all_shards() {
            decisions::prepare(database.control_at(shard).expect("a control")).await.expect("the table");
        }
        Self { server, _world: world, database }
    }

    fn place(&self, shard: u32) -> crate::two_phase::gid::Place {
        crate::two_phase::gid::Place::new("main", shard)
    }

    /// The part of a transaction at a shard; shard 0 decides.
    fn gid(&self, database: &str, name: Name, shard: u32) -> String {
        Gid::new(database, name, self.place(0), self.place(shard)).to_string()
    }

    fn write(&self, name: Name, committed: bool, parts: &str, age: &str) {
        let sql = format!(
            "INSERT INTO shardway.decisions (name, committed, parts, made) \
             VALUES ('{name}', {committed}, '{parts}', clock_timestamp() - interval '{age}')"
        );
        self.server.sql("shop_0", &sql).expect("a row");
    }

    fn left(&self) -> BTreeSet<String> {
        let names = self.server.sql("shop_0", "SELECT name FROM shardway.decisions").expect("the rows");
        names.lines().map(str::to_owned).collect()
    }
}

fn name(number: u64) -> Name {
    Name { instance: 0xff, number }
}

fn names(numbers: &[u64]) -> BTreeSet<String> {
    numbers.iter().map(|number| name(*number).to_string()).collect()
}

#[tokio::test]
async fn decisions_go_when_nothing_is_prepared_and_a_minute_is_over() {
    let house = House::new().await;
    let of = |number: u64| house.gid("shop", name(number), 1);
    house.write(name(1), true, &of(1), "1 hour");
    house.write(name(2), true, &of(2), "1 hour");
    // A part on a shard that is not configured, another database's, and one of which nothing is known.
    house.write(name(3), true, &format!("{} {}", of(3), house.gid("shop", name(3), 7)), "1 hour");
    house.write(name(4), true, &house.gid("other", name(4), 1), "1 hour");
    house.write(name(5), true, "", "1 hour");
    // Those that say that nothing is committed stay for a day, by the server's clock.
    house.write(name(6), false, "", "23 hours");
    house.write(name(7), false, "", "25 hours");
    let (mut memory, begun) = (Memory::default(), Instant::now());
    let (none, second) = (HashSet::new(), HashSet::from([name(2)]));
    let at = |seconds: u64| begun + Duration::from_secs(seconds);

    sweep(&house.database, &mut memory, Some(&second), begun).await;
    assert_eq!(house.left(), names(&[1, 2, 3, 4, 5, 6]), "however old: nobody here knew of them");
    sweep(&house.database, &mut memory, Some(&second), at(59)).await;
    assert_eq!(house.left(), names(&[1, 2, 3, 4, 5, 6]));
    // What a server does not say may be prepared there.
    sweep(&house.database, &mut memory, None, at(61)).await;
    assert_eq!(house.left(), names(&[1, 2, 3, 4, 5, 6]));
    sweep(&house.database, &mut memory, Some(&second), at(62)).await;
    assert_eq!(house.left(), names(&[2, 3, 4, 5, 6]));
    sweep(&house.database, &mut memory, Some(&none), at(63)).await;
    assert_eq!(house.left(), names(&[3, 4, 5, 6]));
    sweep(&house.database, &mut memory, Some(&none), at(100_000)).await;
    assert_eq!(house.left(), names(&[3, 4, 5, 6]), "others may need these");
}

#[tokio::test]
async fn a_decision_stays_for_as_long_as_anything_of_it_is_prepared() {
    let house = House::new().await;
    house.server.sql("shop_1", "CREATE TABLE t (n int)").expect("a table");
    let first = house.database.all_shards().next().expect("a shard");
    let live = house.database.two_phase.begin(first, Login { user: "postgres".into(), credential: None });
    let gid = house.gid("shop", live.name, 1);
    let prepare = format!("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{gid}'");
    house.server.sql("shop_1", &prepare).expect("to be prepared");
    house.write(live.name, true, &gid, "1 hour");
    live.commits();
    let decision = BTreeSet::from([live.name.to_string()]);
    let (mut memory, begun) = (Memory::default(), Instant::now());
    // Whoever works on it takes its time.
    for seconds in [0, 100, 10_000] {
        turn(&house.database, &mut memory, begun + Duration::from_secs(seconds)).await;
        assert_eq!(house.left(), decision, "after {seconds} s");
    }
    let found = house.database.two_phase.found();
    assert_eq!((found.len(), found[0].stage), (1, Stage::Committing));
    // Nobody works on it any more: it is brought to its end, and its decision is not needed for longer.
    drop(live);
    turn(&house.database, &mut memory, begun + Duration::from_secs(10_001)).await;
    assert_eq!(house.server.sql("shop_1", "SELECT n FROM t").expect("the rows"), "1");
    assert_eq!(house.left(), decision, "it was prepared a moment ago");
    turn(&house.database, &mut memory, begun + Duration::from_secs(10_020)).await;
    assert_eq!(house.left(), BTreeSet::new());
}
