//! Bytes without sense, from generators that can be asked for the same again.

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

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
    let done = timeout(Duration::from_secs(10), conversation).await;
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
        let end = timeout(Duration::from_secs(10), client.expect_closed()).await;
        assert!(end.is_ok(), "the connection hangs after {bytes:?}");
    }
    scene.is_unharmed().await;
    assert!(!WORLD.proxy().log().contains("panicked"), "{}", WORLD.proxy().log());
}
