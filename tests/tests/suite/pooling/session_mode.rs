//! Session mode: a client keeps its servers until it leaves, and has on them what one connection has.

use std::sync::LazyLock;

use shardway_tests::{RawClient, Reply, SharedWorld, World};
use tokio::sync::Mutex;

use crate::operation::support::{at_rest, clients_by_worker, key_on, pooled, soon};
use crate::protocol::{ask, code, same_on, value};

const SCHEMA: &str = "
CREATE TABLE item (user_id int PRIMARY KEY, name text);
CREATE TABLE resets (at timestamptz DEFAULT now());
CREATE FUNCTION hides() RETURNS void LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'CREATE TE' || 'MP TABLE hidden (a int)'; PERFORM set_config('app.hidden', 'yes', false); END $$;
";

const SESSION: &str = "[pool]\nmode = 'session'\ndefault_pool_size = 1";

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).config(SESSION).start());

/// Two shards with a server connection each.
static SHOP: SharedWorld =
    SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).config(SESSION).start());

/// The tests share one server connection: side by side they would wait for each other.
static ALONE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

async fn all(raw: &mut RawClient, statements: &[&str]) {
    for sql in statements {
        let reply = ask(raw, sql).await;
        assert_eq!(code(&reply), "", "{sql}: {reply:?}");
    }
}

async fn one(raw: &mut RawClient, sql: &str) -> String {
    value(&ask(raw, sql).await)
}

async fn pid(raw: &mut RawClient) -> String {
    one(raw, "SELECT pg_backend_pid()").await
}

async fn waits(proxy: &World) {
    let admin = proxy.admin().await;
    soon("a client to wait", async || (pooled(&admin, "cl_waiting").await == 1).then_some(())).await;
}

#[tokio::test]
async fn a_client_keeps_its_server_until_it_leaves() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (WORLD.raw("app").await, WORLD.raw("app").await);
    let here = pid(&mut a).await;
    b.query("SELECT pg_backend_pid()").send().await;
    waits(&WORLD).await;
    for sql in ["SELECT pg_backend_pid()", "BEGIN", "SELECT pg_backend_pid()", "COMMIT"] {
        let reply = ask(&mut a, sql).await;
        reply
            .texts()
            .0
            .first()
            .into_iter()
            .for_each(|row| assert_eq!(row[0].as_deref(), Some(here.as_str())));
    }
    a.parse("", "SELECT pg_backend_pid()", &[]).bind("", "", &[], &[]).execute("", 0);
    assert_eq!(value(&a.sync().recv_until_ready().await), here);
    waits(&WORLD).await;
    a.terminate().send().await;
    assert_eq!(value(&b.recv_until_ready().await), here);
}

#[tokio::test]
async fn a_client_that_has_asked_for_nothing_has_no_server_and_need_not_wait_to_log_in() {
    let _alone = ALONE.lock().await;
    let settings =
        [("user", "app"), ("database", "shop"), ("DateStyle", "German"), ("client_encoding", "UTF8")];
    let mut odd = RawClient::connect(WORLD.proxy().port()).await;
    odd.try_login(&settings, "secret").await.expect("a login");
    let mut a = WORLD.raw("app").await;
    assert_eq!(one(&mut a, "SELECT 1").await, "1");
    // The server is taken; a driver that names its encoding gets in all the same.
    let b = WORLD.connect("app").await;
    a.terminate().send().await;
    assert_eq!(crate::operation::support::value(&b, "SELECT 1").await, "1");
    drop(b);
    assert_eq!(one(&mut odd, "SHOW DateStyle").await, "German, DMY");
}

#[tokio::test]
async fn all_that_one_connection_has_a_client_has() {
    let _alone = ALONE.lock().await;
    same_on(&WORLD, 0, async |raw| {
        let mut messages = Vec::new();
        for sql in [
            "CREATE TEMP TABLE mine (a int)",
            "INSERT INTO mine SELECT generate_series(1, 3)",
            "SELECT hides()",
            "SELECT count(*) FROM hidden",
            "SELECT current_setting('app.hidden')",
            "SELECT set_config('app.' || 'mark', 'x', false), 1 + 1",
            "SHOW app.mark",
            "PREPARE p (int) AS SELECT a + 0 AS a FROM mine WHERE a > $1 ORDER BY 1",
            "EXECUTE p(1)",
            "EXECUTE p(1 + 1)",
            "DEALLOCATE p",
            "EXECUTE p(1)",
            "SELECT pg_advisory_lock(1)",
            "SELECT pg_advisory_unlock(1), pg_advisory_unlock(1)",
            "BEGIN",
            "DECLARE c CURSOR WITH HOLD FOR SELECT a + 0 AS a FROM mine ORDER BY 1",
            "COMMIT",
            "FETCH 2 FROM c",
            "CLOSE c",
            "SET work_mem = '5MB'",
            "RESET ALL",
            "SHOW work_mem",
            "DO 'BEGIN SET LOCAL lock_timeout = 5; END'",
            "DISCARD TEMP",
            "SELECT count(*) FROM mine",
            "DISCARD ALL",
            "SHOW app.mark",
        ] {
            messages.extend(ask(raw, sql).await.0);
        }
        Reply(messages)
    })
    .await;
}

#[tokio::test]
async fn the_reset_query_cleans_up_behind_a_client_even_what_nobody_saw() {
    let _alone = ALONE.lock().await;
    let mut a = WORLD.raw("app").await;
    let here = pid(&mut a).await;
    all(&mut a, &["SELECT hides()", "SET work_mem = '5MB'", "PREPARE p AS SELECT 1"]).await;
    a.parse("s", "SELECT 1", &[]).sync().recv_until_ready().await;
    a.hang_up();
    let mut b = WORLD.raw("app").await;
    assert_eq!(pid(&mut b).await, here);
    assert_eq!(code(&ask(&mut b, "SELECT * FROM hidden").await), "42P01");
    assert_eq!(one(&mut b, "SELECT coalesce(current_setting('app.hidden', true), '')").await, "");
    assert_eq!(one(&mut b, "SHOW work_mem").await, "4MB");
    assert_eq!(one(&mut b, "SELECT count(*) FROM pg_prepared_statements").await, "0");
    b.parse("s", "SELECT 1", &[]).bind("", "s", &[], &[]).execute("", 0);
    assert_eq!(value(&b.sync().recv_until_ready().await), "1");
}

#[tokio::test]
async fn a_reset_query_of_ones_own_is_run_once_for_each_client() {
    let _alone = ALONE.lock().await;
    let own = "[pool]\nmode = 'session'\ndefault_pool_size = 1\nserver_reset_query = 'INSERT INTO resets DEFAULT VALUES'";
    let proxy = WORLD.another_proxy_with(own);
    WORLD.shard(0).sql("TRUNCATE resets");
    for n in 1..=2 {
        let mut raw = proxy.raw("app").await;
        all(&mut raw, &["CREATE TEMP TABLE mine (a int)", "SET work_mem = '5MB'", "SELECT 1"]).await;
        raw.terminate().send().await;
        let mut next = proxy.raw("app").await;
        assert_eq!(one(&mut next, "SELECT count(*) FROM resets").await, (2 * n - 1).to_string());
        assert_eq!(
            code(&ask(&mut next, "SELECT * FROM mine").await),
            "42P01",
            "what is known to be left is never left"
        );
        assert_eq!(one(&mut next, "SHOW work_mem").await, "4MB");
        next.terminate().send().await;
        at_rest(&proxy.connect_to("admin", "shardway").await).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_a_transaction_leaves_it_rolled_back() {
    let _alone = ALONE.lock().await;
    let mut a = WORLD.raw("app").await;
    all(&mut a, &["BEGIN", "INSERT INTO item VALUES (100, 'never')"]).await;
    a.hang_up();
    let mut b = WORLD.raw("app").await;
    assert_eq!(one(&mut b, "SELECT count(*) FROM item WHERE user_id = 100").await, "0");
}

#[tokio::test]
async fn a_users_own_mode_counts() {
    let _alone = ALONE.lock().await;
    let config = "[pool]\nmode = 'transaction'\ndefault_pool_size = 1\n\
                  [[users]]\nname = 'keeper'\npassword = 'secret'\npool_mode = 'session'";
    WORLD.shard(0).sql("DROP ROLE IF EXISTS keeper; CREATE ROLE keeper LOGIN PASSWORD 'secret'");
    let proxy = WORLD.another_proxy_with(config);
    let admin = proxy.connect_to("admin", "shardway").await;
    let mut plain = proxy.raw("app").await;
    all(&mut plain, &["SELECT 1"]).await;
    at_rest(&admin).await;
    let mut keeper = proxy.raw("keeper").await;
    all(&mut keeper, &["SELECT 1"]).await;
    assert_eq!(pooled(&admin, "sv_active").await, 1);
    keeper.terminate().send().await;
    at_rest(&admin).await;
}

#[tokio::test]
async fn a_client_whose_server_is_lost_is_closed() {
    let _alone = ALONE.lock().await;
    let mut a = WORLD.raw("app").await;
    let here = pid(&mut a).await;
    WORLD.shard(0).sql(&format!("SELECT pg_terminate_backend({here})"));
    let reply = a.query("SELECT 1").expect_closed().await;
    assert_eq!(reply.error().and_then(|e| e.field('S')).as_deref(), Some("FATAL"), "{reply:?}");
    let mut b = WORLD.raw("app").await;
    assert_eq!(one(&mut b, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_client_has_a_server_of_each_shard_that_it_touched() {
    let _alone = ALONE.lock().await;
    let mut a = SHOP.raw("app").await;
    let keys = [key_on(0, 2), key_on(1, 2)];
    let mut pids = Vec::new();
    for key in keys {
        let sql = format!(
            "SELECT pg_backend_pid() FROM (SELECT 1) s LEFT JOIN item ON user_id = {key} WHERE 1 = 1"
        );
        let reply = ask(&mut a, &sql).await;
        pids.push(reply.texts().0.first().and_then(|row| row[0].clone()));
        all(
            &mut a,
            &[
                &format!("INSERT INTO item VALUES ({key}, 'x')"),
                &format!("DELETE FROM item WHERE user_id = {key}"),
            ],
        )
        .await;
    }
    let admin = SHOP.admin().await;
    assert_eq!(pooled(&admin, "sv_active").await, 2);
    assert_eq!(one(&mut a, "SELECT count(*) FROM item").await, "0");
    assert_eq!(pooled(&admin, "sv_active").await, 2);
    a.terminate().send().await;
    at_rest(&admin).await;
}

#[tokio::test]
async fn servers_move_to_another_worker_with_their_client() {
    let _alone = ALONE.lock().await;
    let workers = |used: &str| {
        format!(
            "[pool]\nmode = 'session'\ndefault_pool_size = 2\n[server]\nworker_threads = 2\nworker_use = '{used}'"
        )
    };
    let proxy = WORLD.another_proxy_with(&workers("auto"));
    let mut all_of_them = [proxy.raw("app").await, proxy.raw("app").await];
    let mut pids = Vec::new();
    for (n, raw) in all_of_them.iter_mut().enumerate() {
        all(raw, &[&format!("CREATE TEMP TABLE mine AS SELECT {n} AS a")]).await;
        pids.push(pid(raw).await);
    }
    proxy.reconfigure(&workers("all"));
    proxy.sighup();
    soon("a client on each worker", async || (clients_by_worker(&proxy) == [1, 1]).then_some(())).await;
    for (n, raw) in all_of_them.iter_mut().enumerate() {
        assert_eq!(one(raw, "SELECT a FROM mine").await, n.to_string());
        assert_eq!(pid(raw).await, pids[n]);
    }
}
