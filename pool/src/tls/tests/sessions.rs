//! Bytes through sessions: however they are cut, whoever has to wait, wherever they are moved.

use super::*;
use proptest::prelude::*;
use std::future::poll_fn;
use std::task::Poll;

async fn pair() -> (Stream, Stream) {
    let (certificate, key) = self_signed("localhost");
    let files = files(&certificate, &key, Some(&certificate));
    let (server, client) =
        shake_hands(sockets(), (TlsMode::Allow, &files), (TlsMode::VerifyFull, &files)).await;
    (server.unwrap(), client.unwrap())
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// Writes everything, at most so much at a time.
async fn write(stream: &mut Stream, bytes: &[u8], most: usize) {
    let mut done = 0;
    while done < bytes.len() {
        let piece = &bytes[done..bytes.len().min(done + most)];
        done += poll_fn(|cx| stream.poll_write(cx, piece)).await.unwrap();
    }
}

async fn read(stream: &mut Stream, count: usize, spaces: &[usize]) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut spaces = spaces.iter().cycle();
    while seen.len() < count {
        let mut space = vec![0; *spaces.next().unwrap()];
        let n = poll_fn(|cx| stream.poll_read(cx, &mut space)).await.unwrap();
        assert!(n > 0, "the end after {}", seen.len());
        seen.extend(&space[..n]);
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_come_out_as_they_went_in(
        count in 1usize..700_000,
        most in 1000usize..200_000,
        spaces in proptest::collection::vec(1usize..70_000, 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut server, mut client) = pair().await;
            let sent = bytes(count);
            let (_, seen) = tokio::join!(write(&mut server, &sent, most), read(&mut client, count, &spaces));
            assert!(seen == sent);
            let (_, seen) = tokio::join!(write(&mut client, &sent, most), read(&mut server, count, &spaces));
            assert!(seen == sent);
        });
    }
}

#[tokio::test]
async fn what_could_not_be_written_at_once_is_neither_lost_nor_doubled() {
    let (mut server, mut client) = pair().await;
    let sent = bytes(3_000_000);
    let mut done = 0;
    // Nobody reads, so this ends in having to wait.
    let refused = loop {
        match server.try_write(&sent[done..done + 50_000]) {
            Ok(n) => done += n,
            Err(e) => break e,
        }
    };
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    let rest = &sent[done..];
    let (_, seen) = tokio::join!(write(&mut server, rest, 1 << 20), read(&mut client, sent.len(), &[9_000]));
    assert!(seen == sent);
}

#[tokio::test]
async fn reading_without_waiting_gives_what_is_there() {
    let (mut server, mut client) = pair().await;
    let mut space = [0; 7];
    assert_eq!(client.try_read(&mut space).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    write(&mut server, b"twelve bytes", 12).await;
    assert_eq!(read(&mut client, 1, &[1]).await, b"t");
    assert_eq!(client.try_read(&mut space).unwrap(), 7);
    assert_eq!(&space, b"welve b");
    assert_eq!(client.try_read(&mut space).unwrap(), 4);
    drop(server);
    let end = poll_fn(|cx| client.poll_read(cx, &mut space)).await;
    assert_eq!(end.unwrap(), 0, "it said goodbye");
}

#[test]
fn a_session_moves_from_one_runtime_to_another_with_all_that_is_in_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (one, other) = (runtime(), runtime());
    let sent = bytes(90_000);
    let (mut server, client) = one.block_on(async {
        let (mut server, mut client) = pair().await;
        write(&mut server, &sent, 1 << 20).await;
        // More is decrypted, or waits to be, than was asked for.
        assert_eq!(read(&mut client, 10, &[10]).await, sent[..10]);
        (server, client)
    });
    other.block_on(async {
        let mut client = client.rehome().unwrap();
        assert!(read(&mut client, sent.len() - 10, &[5_000]).await == sent[10..]);
        write(&mut client, b"back", 4).await;
    });
    assert_eq!(one.block_on(read(&mut server, 4, &[4])), b"back");
}

#[tokio::test]
async fn what_is_not_from_the_session_ends_it() {
    let (server, mut client) = pair().await;
    let Stream::Unix(below) = server.socket() else { panic!("a Unix socket") };
    below.try_write(b"\x17\x03\x03\x00\x20 something that nobody has encrypted").unwrap();
    let mut space = [0; 64];
    let error = poll_fn(|cx| client.poll_read(cx, &mut space)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_handshake_with_nobody_fails() {
    let (certificate, key) = self_signed("localhost");
    let acceptor = Acceptor::new(TlsMode::Allow, &files(&certificate, &key, None)).unwrap().unwrap();
    let (ours, theirs) = sockets();
    drop(theirs);
    assert!(acceptor.accept(ours, &[]).await.is_err());
    let (ours, _theirs) = sockets();
    let error = acceptor.accept(ours, b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let (ours, _theirs) = sockets();
    let waits = acceptor.accept(ours, &[0x16, 3, 1]);
    tokio::pin!(waits);
    assert!(poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await);
}
