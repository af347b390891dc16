//! Before a client has said who it is.

use shardway_tests::{DATABASE, PASSWORD, RawClient};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, time::Duration};

use super::{Scene, WORLD, is, last_words, words};

fn packet(length: i32, rest: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), rest].concat()
}

fn startup(version: u32, parameters: &[u8]) -> Vec<u8> {
    let body = [&version.to_be_bytes(), parameters].concat();
    packet(i32::try_from(body.len()).unwrap() + 4, &body)
}

const V3: u32 = 3 << 16;

#[tokio::test]
async fn garbage_is_told_off() {
    let scene = Scene::set().await;
    for garbage in
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), &[0xff; 64], &[0; 64], b"\x16\x03\x01\x02\x00\x01"]
    {
        let refusal = scene.refused(garbage).await;
        assert_eq!(words(&refusal), is("08P01", "invalid length of startup packet"), "{garbage:?}");
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_wrong_startup_length_is_told_off_before_anything_is_kept() {
    let scene = Scene::set().await;
    for length in [i32::MIN, -1, 0, 3, 4, 7, 10_001, i32::MAX] {
        let refusal = scene.refused(&packet(length, &V3.to_be_bytes())).await;
        assert_eq!(words(&refusal), is("08P01", "invalid length of startup packet"), "{length}");
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_truncated_startup_ends_with_the_connection() {
    let scene = Scene::set().await;
    for bytes in [&b""[..], b"\0\0", &packet(100, &V3.to_be_bytes()), &packet(100, b"\0\x03\0\0user\0ap")] {
        let mut socket = TcpStream::connect(("127.0.0.1", WORLD.proxy().port())).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"", "there is nothing to say to {bytes:?}");
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_startup_without_its_terminator_or_a_user_is_told_off() {
    let scene = Scene::set().await;
    let layout = is("08P01", "invalid startup packet layout: expected terminator as last byte");
    for parameters in [&b"user\0app"[..], b"user\0app\0", b"user\0app\0\0more", b"user", b""] {
        assert_eq!(words(&scene.refused(&startup(V3, parameters)).await), layout, "{parameters:?}");
    }
    let nameless = scene.refused(&startup(V3, b"database\0shop\0\0")).await;
    assert_eq!(words(&nameless), is("28000", "no PostgreSQL user name specified in startup packet"));
    let latin = scene.refused(&startup(V3, b"user\0\xe4pp\0\0")).await;
    assert_eq!(words(&latin).0, "08P01");
    scene.is_unharmed().await;
}

#[tokio::test]
async fn an_unknown_protocol_version_is_told_which_one_is_spoken() {
    let scene = Scene::set().await;
    for (version, name) in [(2 << 16, "2.0"), (4 << 16, "4.0"), (0, "0.0"), (1234 << 16 | 5677, "1234.5677")]
    {
        let refusal = scene.refused(&startup(version, b"user\0app\0\0")).await;
        let expected = format!("unsupported frontend protocol {name}: server supports 3.0 to 3.0");
        assert_eq!(words(&refusal), is("0A000", &expected));
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_newer_minor_version_is_talked_down_before_the_login() {
    let scene = Scene::set().await;
    let mut raw = RawClient::connect(WORLD.proxy().port()).await;
    raw.send_raw(&startup(V3 + 2, b"user\0app\0database\0shop\0_pq_.wish\0on\0\0")).await;
    let negotiated = raw.recv().await;
    assert_eq!((negotiated.tag, &negotiated.body[..]), (b'v', &b"\0\x03\0\0\0\0\0\x01_pq_.wish\0"[..]));
    assert_eq!(raw.recv().await.tag, b'R');
    drop(raw);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_client_that_asks_for_encryption_is_told_no_and_goes_on_without() {
    let scene = Scene::set().await;
    let mut raw = RawClient::connect(WORLD.proxy().port()).await;
    raw.send_raw(&packet(8, &80_877_104u32.to_be_bytes())).await;
    assert_eq!(raw.recv_byte().await, b'N', "GSSENCRequest");
    raw.ssl_request();
    assert_eq!(raw.recv_byte().await, b'N', "SSLRequest");
    raw.login("app", DATABASE, PASSWORD).await;
    assert_eq!(raw.query("SELECT 7").recv_until_ready().await.texts(), [[Some("7")]]);
    drop(raw);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn what_is_smuggled_in_behind_an_encryption_request_is_refused() {
    let scene = Scene::set().await;
    for request in [80_877_103u32, 80_877_104] {
        let smuggled = [packet(8, &request.to_be_bytes()), startup(V3, b"user\0app\0\0")].concat();
        let refusal = scene.refused(&smuggled).await;
        assert_eq!(words(&refusal), is("08P01", "received unencrypted data after SSL or GSSAPI request"));
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_cancel_request_with_a_key_of_nobody_is_ignored() {
    let scene = Scene::set().await;
    RawClient::cancel(WORLD.proxy().port(), (1, 2)).await;
    let mut raw = RawClient::connect(WORLD.proxy().port()).await;
    raw.send_raw(&packet(12, &[80_877_102u32.to_be_bytes(), [0; 4]].concat())).await;
    assert!(raw.expect_closed().await.is_empty(), "half a key is no key");
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_replication_connection_and_unknown_options_are_refused() {
    let scene = Scene::set().await;
    let replication = scene.refused(&startup(V3, b"user\0app\0replication\0database\0\0")).await;
    assert_eq!(words(&replication).0, "0A000");
    let options = scene.refused(&startup(V3, b"user\0app\0options\0-X\0\0")).await;
    assert_eq!(words(&options).0, "0A000");
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_startup_that_trickles_in_is_ended_by_client_login_timeout() {
    let proxy = WORLD.another_proxy_with("[server]\nclient_login_timeout = '1s'");
    let socket = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (mut answers, mut words_in) = socket.into_split();
    let trickle = tokio::spawn(async move {
        for byte in startup(V3, b"user\0app\0database\0shop\0application_name\0trickle\0\0") {
            // Nobody listens any more at some point.
            let _ = words_in.write_all(&[byte]).await;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    });
    let mut answer = Vec::new();
    // A reset is an end as well: what was sent last met a closed door.
    let _ = answers.read_to_end(&mut answer).await;
    assert!(String::from_utf8_lossy(&answer).contains("C08P01\0Mclient_login_timeout\0"), "{answer:?}");
    assert!(!trickle.is_finished(), "the proxy was quicker than the startup packet");

    let mut silent = RawClient::connect(proxy.port()).await;
    silent.startup(&[("user", "app"), ("database", DATABASE)]);
    assert_eq!(silent.recv().await.tag, b'R');
    assert_eq!(words(&last_words(&mut silent).await), is("08P01", "client_login_timeout"));
}
