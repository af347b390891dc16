//! Faults on the connection that listens for all clients.

use shardway_tests::{Kind, RawClient};

use super::{WORLD, ask, code, turn};

/// The next notification's payload.
async fn heard(raw: &mut RawClient) -> String {
    let message = raw.recv().await;
    assert_eq!(char::from(message.tag), 'A', "{message:?}");
    let body = String::from_utf8_lossy(&message.body[4..]).into_owned();
    body.split('\0').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_listen_that_the_server_refuses_is_the_trouble_of_who_asked() {
    let _turn = turn().await;
    let (mut one, mut other) = (WORLD.raw("app").await, WORLD.raw("app").await);
    assert_eq!(ask(&mut one, "LISTEN faults_one").await.commands(), ["LISTEN"]);
    let garbled = WORLD
        .middle(0)
        .from_client()
        .on(Kind::Control)
        .nth_of_any(1)
        .holding("LISTEN \"faults_other\"")
        .edit(|message| {
            let at = message.windows(6).rposition(|word| word == b"LISTEN").expect("a LISTEN");
            message[at] = b'X';
        });
    let reply = ask(&mut other, "LISTEN faults_other").await;
    garbled.happened().await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("42601", 'I'), "{reply:?}");
    let mut speaker = WORLD.raw("app").await;
    ask(&mut speaker, "/* shard: 0 */ SELECT pg_notify('faults_one', 'to one')").await;
    assert_eq!(heard(&mut one).await, "to one");
    // The server is told of the channel when it is asked for again.
    assert_eq!(ask(&mut other, "LISTEN faults_other").await.commands(), ["LISTEN"]);
    ask(&mut speaker, "/* shard: 0 */ SELECT pg_notify('faults_other', 'to the other')").await;
    assert_eq!(heard(&mut other).await, "to the other");
}
