//! Servers that do not keep to the protocol: lengths, counts, tags and texts that can't be. Whoever is hit may be told
//! anything but somebody else's rows; the proxy stays up, keeps its memory, and serves everybody else as before.

use std::{
    fs,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardway_tests::{Cut, DATABASE, Fault, Middle, PASSWORD, Param, RawClient, SharedWorld, Spot, World};
use tokio::{sync::Mutex, time::timeout};

use crate::operation::support::{SCHEMA, at_rest, soon};

const CONFIG: &str = "[server]\nauth = 'trust'\n[pool]\ndefault_pool_size = 2\nserver_login_retry = '10ms'\n\
    server_connect_timeout = '2s'\n\
    [routing]\nhealth_check_interval = '50ms'";

static WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(2).middles().schema(SCHEMA).config(CONFIG).start());

static GATE: Mutex<()> = Mutex::const_new(());

/// Rounds with something wrong that make a run mean something, and how much longer it may take for them.
const ENOUGH: usize = 8;
const GRACE: Duration = Duration::from_secs(60);

/// `SHARDWAY_FUZZ_SEED` repeats a run, `SHARDWAY_FUZZ_SECONDS` makes it longer.
fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn memory() -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", WORLD.proxy().pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Changes a message into one that no server sends. It never becomes a whole ReadyForQuery: after that, what follows
/// would be the answer to somebody else, and who believes nothing of a server can't be a proxy for it.
fn garble(message: &mut Vec<u8>, random: &mut StdRng) {
    let at = random.random_range(0..message.len());
    match random.random_range(0..10) {
        0 => message[at] ^= 1 << random.random_range(0..8),
        1 => message[at] = random.random(),
        2 if message.len() >= 5 => {
            let length: i32 =
                [0, -1, 3, 4, 5, 8, 0x3fff_ffff, i32::MAX, i32::MIN, 70_000][random.random_range(0..10)];
            message[1..5].copy_from_slice(&length.to_be_bytes());
        }
        3 => message.truncate(at),
        4 => message[0] = b"TDCEN123nstGHWdcIAKRSv?\0"[random.random_range(0..24)],
        5 => {
            let tag = b"TDCEN123nstGHWdcIAKRSv"[random.random_range(0..22)];
            let length = 4 + random.random_range(0..20u8);
            let body: Vec<u8> = (4..length).map(|_| random.random()).collect();
            message.splice(0..0, [vec![tag, 0, 0, 0, length], body].concat());
        }
        6 if message[0] != b'Z' => message.extend(message.clone()),
        // An answer to SSLRequest is one byte.
        7 => message.iter_mut().skip(5).for_each(|byte| *byte = 0),
        8 => message.iter_mut().skip(5).for_each(|byte| *byte = 0xff),
        _ => message.clear(),
    }
    if message.starts_with(b"Z\0\0\0\x05") && message.len() > 6 || message.first() == Some(&b'Z') {
        message[0] = b'z';
    }
}

/// Somewhere in what a server says.
fn spot<'a>(middle: &'a Middle, random: &mut StdRng) -> Spot<'a> {
    let spot = middle.from_server();
    let spot = if random.random_bool(0.3) { spot.on_any() } else { spot };
    match random.random_bool(0.6) {
        true => spot.nth(random.random_range(1..4), b"TDCEZ12nsGHdcRSK"[random.random_range(0..16)]),
        false => spot.nth_of_any(random.random_range(1..12)),
    }
}

fn malice(random: &mut StdRng) -> Fault<'static> {
    let mut own = StdRng::seed_from_u64(random.random());
    spot(WORLD.middle(0), random).edit(move |message| garble(message, &mut own))
}

/// Says this or that.
fn talk(raw: &mut RawClient, random: &mut StdRng) {
    match random.random_range(0..8) {
        0 => raw.query("/* shard: 0 */ SELECT 'victim', generate_series(1, 5)"),
        1 => raw.query("SELECT user_id, name FROM t ORDER BY name, user_id LIMIT 5"),
        2 => raw.query("SELECT count(*), sum(user_id), avg(user_id), max(name) FROM t GROUP BY name"),
        3 => raw
            .parse("v", "SELECT name FROM t WHERE user_id = $1", &[])
            .describe_statement("v")
            .bind("", "v", &[Param::Text("1")], &[])
            .execute("", 0)
            .sync(),
        4 => raw
            .query("BEGIN")
            .query("INSERT INTO t VALUES (77, 'victim')")
            .query("SAVEPOINT s")
            .query("ROLLBACK"),
        5 => raw.query("COPY t FROM STDIN").copy_data(b"78\tvictim\n79\tvictim\n").copy_fail("enough"),
        6 => raw.query("/* shard: 1 */ COPY (SELECT 'victim', 1) TO STDOUT"),
        _ => raw
            .query("SET TimeZone = 'Asia/Tokyo'")
            .query("SELECT name FROM t WHERE user_id = 1; SELECT 'victim'"),
    };
}

/// A victim's conversation; it has little patience.
async fn victim(random: &mut StdRng) {
    let mut raw = RawClient::connect(WORLD.proxy().port()).await;
    let patience = Duration::from_millis(150);
    // In a task of its own: what it is told may be no protocol, and its panic is nobody's.
    let mut own = StdRng::seed_from_u64(random.random());
    let conversation = tokio::spawn(async move {
        let startup = [("user", "app"), ("database", DATABASE)];
        if raw.try_login(&startup, PASSWORD).await.is_ok() {
            talk(&mut raw, &mut own);
            raw.send().await;
            raw.expect_closed().await;
        }
    });
    let abort = conversation.abort_handle();
    if timeout(patience, conversation).await.is_err() {
        abort.abort();
    }
}

async fn others_are_served(other: &mut RawClient) {
    for shard in 0..2 {
        // The login that was hit may be what this one waited for.
        soon("somebody else to be served", async || {
            let sql =
                format!("/* shard: {shard} */ SELECT 'other', current_setting('TimeZone') <> 'Asia/Tokyo'");
            let reply = other.query(&sql).recv_until_ready().await;
            if let Some(error) = reply.error() {
                assert_eq!(error.field('C').as_deref().unwrap_or_default().get(..2), Some("08"), "{reply:?}");
                return None;
            }
            assert_eq!(reply.texts(), [[Some("other"), Some("t")]], "{reply:?}");
            Some(())
        })
        .await;
    }
}

#[tokio::test]
async fn servers_that_break_the_protocol_harm_only_whom_they_serve() {
    let _turn = GATE.lock().await;
    let seed = given("SHARDWAY_FUZZ_SEED").unwrap_or_else(rand::random);
    eprintln!("SHARDWAY_FUZZ_SEED={seed}");
    let end = Instant::now() + Duration::from_secs(given("SHARDWAY_FUZZ_SECONDS").unwrap_or(4));
    let mut random = StdRng::seed_from_u64(seed);
    let mut other = WORLD.raw("app").await;
    let (mut rounds, mut struck) = (0, 0);
    let before = memory();
    // A slow machine gets more time, to some end.
    while Instant::now() < end || struck < ENOUGH && Instant::now() < end + GRACE {
        let fault = malice(&mut random);
        if random.random_bool(0.2) {
            WORLD.middle(0).cut_all(Cut::Fin);
        }
        victim(&mut random).await;
        struck += usize::from(fault.has_happened());
        drop(fault);
        others_are_served(&mut other).await;
        rounds += 1;
        let log = WORLD.proxy().log();
        assert!(!log.contains("panicked"), "seed {seed}, round {rounds}: {log}");
    }
    assert!(struck >= ENOUGH, "{struck} of {rounds} rounds had something wrong");
    let grown = memory().saturating_sub(before);
    assert!(grown < 64 << 20, "it grew by {grown} bytes");
    WORLD.middle(0).cut_all(Cut::Fin);
    at_rest(&WORLD.admin().await).await;
    others_are_served(&mut other).await;
    assert_eq!(WORLD.everywhere("SELECT count(*) FROM t WHERE name = 'victim'"), ["0", "0"]);
}
