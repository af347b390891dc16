//! Bytes without sense, from generators that can be asked for the same again.

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use shardway_tests::{DATABASE, PASSWORD, Param, RawClient};

use super::{Scene, WORLD, raw};

/// `SHARDWAY_FUZZ_SEED` repeats a run.
fn seed() -> u64 {
    let given = std::env::var("SHARDWAY_FUZZ_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("SHARDWAY_FUZZ_SEED={seed}");
    seed
}

/// Bytes that begin like something.
fn noise(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(1..400)];
    random.fill(&mut bytes[..]);
    if random.random_bool(0.5) {
        // A startup length that is possible, and a version that is.
        let length = u32::try_from(bytes.len()).unwrap().max(8);
        let head = [length.to_be_bytes(), (3u32 << 16).to_be_bytes()].concat();
        bytes.splice(..bytes.len().min(8), head);
    }
    bytes
}

/// A run of messages: tags that exist, lengths that are mostly right, bodies of zeros, letters and anything.
fn messages(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..8) {
        let tag = b"QPBDECSHFdcfpXz"[random.random_range(0..15)];
        let mut body = vec![0; random.random_range(0..40)];
        for byte in &mut body {
            *byte = match random.random_range(0..4) {
                0 => 0,
                1 => random.random(),
                _ => b"SELECT 1;$'\"/*-- tP"[random.random_range(0..19)],
            };
        }
        let wrong = if random.random_bool(0.1) { random.random_range(-9..9) } else { 0 };
        let length = i32::try_from(body.len()).unwrap() + 4 + wrong;
        bytes.push(tag);
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
    }
    bytes
}

/// Says the bytes and the end of them, and hears out what is answered.
async fn say(mut socket: TcpStream, bytes: &[u8]) {
    let conversation = async {
        // It may have hung up before the last byte.
        let _ = socket.write_all(bytes).await;
        let _ = socket.shutdown().await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    };
    let done = timeout(shardway_tests::PATIENCE, conversation).await;
    assert!(done.is_ok(), "the connection hangs after {bytes:?}");
}

#[tokio::test]
async fn noise_before_the_login_harms_nobody() {
    let scene = Scene::set().await;
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..200 {
        let bytes = noise(&mut random);
        say(TcpStream::connect(("127.0.0.1", WORLD.proxy().port())).await.unwrap(), &bytes).await;
    }
    scene.is_unharmed().await;
    assert!(!WORLD.proxy().log().contains("panicked"), "{}", WORLD.proxy().log());
}

#[tokio::test]
async fn noise_after_the_login_harms_nobody() {
    let scene = Scene::set().await;
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..60 {
        let bytes = messages(&mut random);
        let mut client = raw().await;
        client.send_raw(&bytes).await;
        client.half_close().await;
        // Whatever it is told: the connection ends.
        let end = timeout(shardway_tests::PATIENCE, client.expect_closed()).await;
        assert!(end.is_ok(), "the connection hangs after {bytes:?}");
    }
    scene.is_unharmed().await;
    assert!(!WORLD.proxy().log().contains("panicked"), "{}", WORLD.proxy().log());
}

/// What a client of every protocol there is might say, its login apart.
fn conversation(raw: &mut RawClient) {
    raw.query("BEGIN; SELECT 1").query("SELECT count(*) FROM t").query("SET app.x = 'y'");
    raw.parse("s", "SELECT name FROM t WHERE user_id = $1", &[23]).describe_statement("s");
    raw.bind("p", "s", &[Param::Text("7")], &[0]).describe_portal("p").execute("p", 1).flush();
    raw.bind("", "s", &[Param::Binary(&[0, 0, 0, 7])], &[1]).execute("", 0).close_statement("s").sync();
    raw.query("/* shard: 0 */ COPY t FROM STDIN").copy_data(b"x\ty\n").copy_fail("no").query("ROLLBACK");
    raw.message(b'F', &[0; 10]).terminate();
}

/// The same with something wrong in it.
fn mutated(bytes: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..bytes.len());
        let end = (at + random.random_range(1..60)).min(bytes.len());
        match random.random_range(0..7) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => bytes[at..end].fill(0),
            5 => {
                let wild = [0u8, 0xff, 0x7f, 0x80][random.random_range(0..4)];
                bytes[at..(at + 4).min(end)].fill(wild);
            }
            _ => bytes.truncate(at.max(1)),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

#[tokio::test]
async fn conversations_with_something_wrong_in_them_harm_nobody() {
    let scene = Scene::set().await;
    let mut random = StdRng::seed_from_u64(seed());
    let mut template = raw().await;
    conversation(&mut template);
    let whole = template.unsent().to_vec();
    template.cut_short(0);
    for _ in 0..100 {
        let bytes = mutated(&whole, &mut random);
        let mut client = raw().await;
        client.send_raw(&bytes).await;
        client.half_close().await;
        // What it is told is a conversation, whatever it said.
        let end = timeout(shardway_tests::PATIENCE, client.expect_closed()).await;
        assert!(end.is_ok(), "the connection hangs after {bytes:?}");
    }
    scene.is_unharmed().await;
    assert!(!WORLD.proxy().log().contains("panicked"), "{}", WORLD.proxy().log());
}

#[tokio::test]
async fn logins_with_something_wrong_in_them_harm_nobody() {
    let scene = Scene::set().await;
    let mut random = StdRng::seed_from_u64(seed());
    let mut startup = RawClient::connect(WORLD.proxy().port()).await;
    startup.startup(&[
        ("user", "app"),
        ("database", DATABASE),
        ("options", "-c work_mem=5MB"),
        ("application_name", "x"),
    ]);
    startup
        .message(b'p', b"SCRAM-SHA-256\0\0\0\0\x20n,,n=app,r=0123456789abcdefghijklmn")
        .password(PASSWORD.as_bytes());
    let whole = startup.unsent().to_vec();
    for _ in 0..150 {
        let bytes = mutated(&whole, &mut random);
        say(TcpStream::connect(("127.0.0.1", WORLD.proxy().port())).await.unwrap(), &bytes).await;
    }
    scene.is_unharmed().await;
    assert!(!WORLD.proxy().log().contains("panicked"), "{}", WORLD.proxy().log());
}
