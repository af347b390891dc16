//! From a statement to the shard that it runs on.
//!
//! Hits are what nearly every statement costs: a scan, a lookup by template, the key read and hashed; for a prepared
//! statement the key alone. One microsecond is the most that they may take. The parts are measured by themselves too,
//! and so is the miss, which each template pays once: the parser, and the plan.

use crate::fixture::{LOOKUP, PREPARED_LOOKUP, bound, maps, schema};
use criterion::{BatchSize, Criterion};
use shardway_router::plan::locate::{Params, Target, Values, locate};
use shardway_router::plan::{Plan, Refusal, Route, build};
use shardway_router::plan_cache::{Planning, SearchPath};
use shardway_router::sql::scan::{Literal, Scan};
use shardway_shardmap::ShardMap;
use std::hint::black_box;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Templates that the plan cache holds besides those that are asked for.
const OTHERS: usize = 500;

/// A read of every shard, merged.
const SORTED: &str = "SELECT id, total FROM orders WHERE total > 10 ORDER BY created_at DESC, id LIMIT 20";

/// int4.
const INT4: &[u32] = &[23];

/// One database as sessions see it.
struct World {
    planning: Planning,
    path: SearchPath,
    maps: Vec<ShardMap>,
}

impl World {
    fn new() -> Self {
        let world =
            Self { planning: Planning::new(schema()), path: SearchPath::of_user("bench"), maps: maps() };
        let mut scan = Scan::default();
        for n in 0..OTHERS {
            world.plan(&format!("SELECT abalance AS c{n} FROM pgbench_accounts WHERE aid = 1"), &mut scan);
        }
        world
    }

    fn plan(&self, text: &str, scan: &mut Scan) -> Arc<Plan> {
        scan.run(text).expect("the text is closed");
        self.planning.plan(text, scan, &self.path)
    }

    /// A simple query.
    fn simple(&self, text: &str, scan: &mut Scan) -> Result<Target, Refusal> {
        let plan = self.plan(text, scan);
        locate(&plan.route, &self.maps, &Values { text, literals: &scan.literals, params: None, types: &[] })
    }

    /// An execution of a prepared statement, from what follows the names in its Bind.
    fn bound(&self, plan: &Plan, types: &[u32], bind: &[u8]) -> Option<Result<Target, Refusal>> {
        let params = Some(Params::parse(bind)?);
        let literals: &[Literal] = &[];
        Some(locate(&plan.route, &self.maps, &Values { text: PREPARED_LOOKUP, literals, params, types }))
    }
}

/// Measures hits, their parts, and the miss.
pub fn benches(criterion: &mut Criterion) {
    let world = World::new();
    hits(criterion, &world);
    sharing(criterion, &world);
    parts(criterion, &world);
    misses(criterion, &world);
}

fn hits(criterion: &mut Criterion, world: &World) {
    let mut group = criterion.benchmark_group("recognise");
    let mut scan = Scan::default();
    assert!(matches!(world.simple(LOOKUP, &mut scan), Ok(Target::One(_))));
    group.bench_function("hit_literal", |b| b.iter(|| world.simple(black_box(LOOKUP), &mut scan)));

    // Found by its whole text: the shards' statement has its literals in it.
    assert!(matches!(world.simple(SORTED, &mut scan), Ok(Target::Several(..))));
    group.bench_function("hit_by_text", |b| b.iter(|| world.simple(black_box(SORTED), &mut scan)));

    let plan = world.plan(PREPARED_LOOKUP, &mut scan);
    let binds =
        [("text", &[][..], bound(false, b"12345")), ("binary", INT4, bound(true, &12_345_i32.to_be_bytes()))];
    for (name, types, bind) in binds {
        assert!(matches!(world.bound(&plan, types, &bind), Some(Ok(Target::One(_)))));
        group.bench_function(format!("hit_bind_{name}"), |b| {
            b.iter(|| world.bound(&plan, types, black_box(&bind)));
        });
        // As drivers do that prepare nothing: Parse comes with every Bind.
        group.bench_function(format!("hit_parse_bind_{name}"), |b| {
            b.iter(|| {
                let plan = world.plan(black_box(PREPARED_LOOKUP), &mut scan);
                world.bound(&plan, types, black_box(&bind))
            });
        });
    }
    group.finish();
}

/// The same statement on every core at once: with plans that all workers share, as they do, and with plans of each
/// one's own. What lies between is the price of locks and counts on lines of memory that cores take from each other.
fn sharing(criterion: &mut Criterion, world: &World) {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let own: Vec<World> = (0..cores).map(|_| World::new()).collect();
    let mut group = criterion.benchmark_group("recognise_on_every_core");
    group.bench_function("shared", |b| b.iter_custom(|rounds| at_once((0..cores).map(|_| world), rounds)));
    group.bench_function("apart", |b| b.iter_custom(|rounds| at_once(own.iter(), rounds)));
    group.finish();
}

/// How long the slowest takes, with a thread per world.
fn at_once<'a>(worlds: impl Iterator<Item = &'a World>, rounds: u64) -> Duration {
    std::thread::scope(|scope| {
        let workers: Vec<_> = worlds.map(|world| scope.spawn(move || timed(world, rounds))).collect();
        let times = workers.into_iter().map(|worker| worker.join().expect("a worker measures"));
        times.max().unwrap_or_default()
    })
}

fn timed(world: &World, rounds: u64) -> Duration {
    let mut scan = Scan::default();
    let started = Instant::now();
    for _ in 0..rounds {
        let _ = black_box(world.simple(black_box(LOOKUP), &mut scan));
    }
    started.elapsed()
}

fn parts(criterion: &mut Criterion, world: &World) {
    let mut group = criterion.benchmark_group("recognise_part");
    let mut scan = Scan::default();
    scan.run(LOOKUP).expect("the text is closed");
    let template = scan.template.len();
    group.bench_function("plan_cache", |b| {
        b.iter(|| {
            // The search path joined the template.
            scan.template.truncate(template);
            world.planning.plan(black_box(LOOKUP), &mut scan, &world.path)
        });
    });
    let plan = world.plan(LOOKUP, &mut scan);
    let values = Values { text: LOOKUP, literals: &scan.literals, params: None, types: &[] };
    group.bench_function("locate_literal", |b| {
        b.iter(|| locate(&plan.route, &world.maps, black_box(&values)));
    });
    let bind = bound(true, &12_345_i32.to_be_bytes());
    group.bench_function("params", |b| b.iter(|| Params::parse(black_box(&bind))));
    group.finish();
}

fn misses(criterion: &mut Criterion, world: &World) {
    let texts = [
        ("lookup", LOOKUP),
        ("insert", "INSERT INTO orders (user_id, id, status, total) VALUES (7, 1001, 'open', 19.99)"),
        ("sorted_scatter", SORTED),
    ];
    let mut group = criterion.benchmark_group("recognise_miss");
    for (name, text) in texts {
        let mut scan = Scan::default();
        assert!(!matches!(world.plan(text, &mut scan).route, Route::Refuse(_)), "{name}");
        group.bench_function(name, |b| {
            b.iter(|| {
                scan.run(black_box(text)).expect("the text is closed");
                build::plan(&world.planning.schema, &world.path.schemas, text, &scan)
            });
        });
    }
    // What the first statement of a template takes in all, its place in the cache included.
    let mut scan = Scan::default();
    group.bench_function("lookup_and_keep", |b| {
        b.iter_batched(
            || Planning::new(world.planning.schema.clone()),
            |planning| {
                scan.run(black_box(LOOKUP)).expect("the text is closed");
                planning.plan(LOOKUP, &mut scan, &world.path);
                planning
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}
