//! A server's connection that ends in the middle of its answer: at every byte.

use shardway_tests::{Cut, Param, RawClient, Reply};

use super::{WORLD, code, others_are_served, turn};

/// What a client asks for.
type Say = fn(&mut RawClient);

/// The bytes that the server answers with: where to cut.
async fn length(say: Say) -> u64 {
    let mut raw = WORLD.raw("app").await;
    say(&mut raw);
    let reply = raw.recv_until_ready().await;
    assert!(reply.error().is_none(), "{reply:?}");
    reply.iter().map(|message| message.body.len() as u64 + 5).sum()
}

/// An answer that was cut is an error or ends in the middle of a row; what came before it was as it should be.
fn is_honest(reply: &Reply, rest: &[u8], whole: &Reply, at: u64) {
    let place = format!("cut after {at} bytes: {reply:?}, then {rest:?}");
    let shown: Vec<_> = reply.iter().take_while(|message| message.tag != b'E').collect();
    let before = shown
        .iter()
        .copied()
        .filter(|message| message.tag != b'Z')
        .eq(whole.iter().take(shown.iter().filter(|message| message.tag != b'Z').count()));
    assert!(before, "{place}");
    if reply.status() == 'I' {
        assert!(reply == whole || code(reply) == "08006", "{place}");
        assert!(rest.is_empty(), "{place}");
    } else {
        // Half a row: nothing can be said any more.
        assert!(rest.first() == Some(&b'D') && reply.error().is_none(), "{place}");
    }
}

async fn cut_everywhere(say: Say, step: usize) {
    let _turn = turn().await;
    let bytes = length(say).await;
    let mut whole = WORLD.raw("app").await;
    say(&mut whole);
    let whole = whole.recv_until_ready().await;
    for at in (0..bytes).step_by(step) {
        for how in [Cut::Fin, Cut::Reset] {
            others_are_served().await;
            let mut raw = WORLD.raw("app").await;
            let cut = WORLD.middle(0).from_server().byte(at).cut(how);
            say(&mut raw);
            raw.send().await;
            let reply = raw.rest().await;
            cut.happened().await;
            is_honest(&reply, raw.unread(), &whole, at);
        }
    }
    others_are_served().await;
}

fn simple(raw: &mut RawClient) {
    raw.query("/* shard: 0 */ SELECT 'first', 1 UNION ALL SELECT 'second', 2");
}

fn extended(raw: &mut RawClient) {
    raw.parse("", "/* shard: 0 */ SELECT $1::text", &[]).bind("", "", &[Param::Text("first")], &[]);
    raw.describe_portal("").execute("", 0).sync();
}

#[tokio::test]
async fn a_simple_answer_that_is_cut_is_an_error() {
    cut_everywhere(simple, 1).await;
}

#[tokio::test]
async fn an_extended_answer_that_is_cut_is_an_error() {
    cut_everywhere(extended, 1).await;
}

#[tokio::test]
async fn a_client_that_copies_to_a_server_that_is_lost_is_heard_afterwards() {
    let _turn = turn().await;
    let piece = vec![b'x'; 4000];
    for at in (60_000..180_000).step_by(10_000) {
        let mut raw = WORLD.raw("app").await;
        let cut = WORLD.middle(0).from_client().byte(at).cut(Cut::Reset);
        raw.query("/* shard: 0 */ COPY t FROM STDIN");
        let begun = raw.recv_until(b'G').await;
        // Without a pause, so that the reader still waits for more when the end comes.
        for _ in 0..60 {
            raw.copy_data(&piece).send().await;
        }
        let reply = raw.copy_fail("enough").recv_until_ready().await;
        cut.happened().await;
        assert_eq!((code(&reply).as_str(), reply.status()), ("08006", 'I'), "{at}: {begun:?}, {reply:?}");
        let reply = raw.query("SET app.heard = 'yes'").recv_until_ready().await;
        assert_eq!(reply.commands(), ["SET"], "cut after {at} bytes");
    }
    others_are_served().await;
}
