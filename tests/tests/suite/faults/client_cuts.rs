//! A client's connection that ends in the middle of what it says: at every byte.

use shardway_tests::{Cut, DATABASE, Middle, PASSWORD, Param, RawClient};

use super::{WORLD, ask, others_are_served, turn};
use crate::operation::support::at_rest;

/// A transaction in every protocol there is.
fn talk(raw: &mut RawClient) {
    raw.query("BEGIN");
    raw.query("/* shard: 0 */ INSERT INTO t VALUES (70001, 'simple')");
    raw.parse("s", "/* shard: 0 */ INSERT INTO t VALUES (70002, $1)", &[]).bind(
        "p",
        "s",
        &[Param::Text("x")],
        &[],
    );
    raw.describe_portal("p").execute("p", 0).sync();
    raw.query("/* shard: 0 */ COPY t FROM STDIN").copy_data(b"70003\tcopied\n").copy_done();
    raw.query("/* shard: 0 */ SELECT name FROM t WHERE user_id >= 70000");
}

/// Bytes that it says.
async fn length() -> u64 {
    let mut raw = WORLD.raw("app").await;
    talk(&mut raw);
    raw.unsent().len() as u64
}

async fn client(middle: &Middle) -> RawClient {
    let mut raw = RawClient::connect(middle.port()).await;
    raw.login("app", DATABASE, PASSWORD).await;
    raw
}

#[tokio::test]
async fn a_transaction_of_a_client_that_is_cut_is_rolled_back() {
    let _turn = turn().await;
    let middle = Middle::before(WORLD.proxy().port());
    let mut other = WORLD.raw("app").await;
    for at in 0..length().await {
        let how = if at % 2 == 0 { Cut::Fin } else { Cut::Reset };
        let mut raw = client(&middle).await;
        let cut = middle.from_client().byte(at).cut(how);
        talk(&mut raw);
        raw.send().await;
        cut.happened().await;
        // The one connection is free again, and nothing of it is there.
        let left = ask(&mut other, "/* shard: 0 */ SELECT count(*) FROM t WHERE user_id > 70000").await;
        assert_eq!(left.texts(), [[Some("0")]], "cut after {at} bytes");
    }
    at_rest(&WORLD.admin().await).await;
    others_are_served().await;
}
