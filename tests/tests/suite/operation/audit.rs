//! The audit log: a line for each statement that changes data, written before its client is told that it is done.

use std::path::{Path, PathBuf};

use serde_json::Value;
use shardway_tests::{Param, Proxy, RawClient, SharedWorld, World};

use super::support::{SCHEMA, code, failure, key_on, keys_on, lines, reload, soon, value};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

/// A proxy with an audit log in a directory of its own.
pub(super) struct Audited {
    pub(super) proxy: Proxy,
    dir: tempfile::TempDir,
}

impl Audited {
    fn new(more: &str) -> Audited {
        Audited::over(&WORLD, more)
    }

    /// In front of these servers.
    pub(super) fn over(world: &World, more: &str) -> Audited {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.json");
        let config = format!("[server]\naudit_log = '{}'\n{more}", path.display());
        Audited { proxy: world.another_proxy_with(&config), dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("audit.json")
    }

    pub(super) fn lines(&self) -> Vec<Value> {
        read(&self.path())
    }

    /// The same, with so many of them: of one that failed the client hears before it is done.
    pub(super) async fn awaited(&self, count: usize) -> Vec<Value> {
        soon("lines", async || Some(self.lines()).filter(|lines| lines.len() >= count)).await
    }

    /// What has come since it was asked last, or since the start.
    fn since(&self, seen: &mut usize) -> Vec<Value> {
        let new = self.lines().split_off(*seen);
        *seen += new.len();
        new
    }
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The fields that tests compare, in one line.
pub(super) fn brief(line: &Value) -> String {
    let text = |field: &str| line[field].as_str().map_or_else(|| line[field].to_string(), str::to_owned);
    if line["event"] == "transaction" {
        return format!("transaction {}", text("outcome"));
    }
    let joined = |field: &str| {
        let list = line[field].as_array().unwrap().iter().map(|v| v.as_str().unwrap());
        list.collect::<Vec<_>>().join(",")
    };
    format!(
        "{} {} [{}] [{}] {} {}",
        text("command"),
        text("outcome"),
        joined("tables"),
        joined("shards"),
        text("rows"),
        text("committed"),
    )
}

pub(super) fn briefs(lines: &[Value]) -> Vec<String> {
    lines.iter().map(brief).collect()
}

#[tokio::test]
async fn each_statement_that_writes_has_a_line_and_what_reads_has_none() {
    let audited = Audited::new("");
    let client = audited.proxy.connect("app").await;
    let (one, other) = (key_on(0, 2), key_on(1, 2));
    let mut seen = 0;
    for (sql, expected) in [
        (format!("INSERT INTO t VALUES ({one}, 'a')"), "INSERT ok [public.t] [main/0] 1 true"),
        (format!("UPDATE t SET name = 'b' WHERE user_id = {one}"), "UPDATE ok [public.t] [main/0] 1 true"),
        (format!("DELETE FROM t WHERE user_id = {other}"), "DELETE ok [public.t] [main/1] 0 true"),
        (
            format!(
                "INSERT INTO t VALUES ({other}, 'x'), ({one}, 'y') ON CONFLICT (user_id) DO UPDATE SET name = 'z' RETURNING name"
            ),
            "INSERT ok [public.t] [main/0,main/1] 2 true",
        ),
        (
            format!("UPDATE t SET name = 1 / 0 WHERE user_id IN ({one}, {other})"),
            "UPDATE error [public.t] [main/0,main/1] null false",
        ),
        (
            format!("DELETE FROM t WHERE user_id IN ({one}, {other}) AND user_id <> {one}"),
            "DELETE ok [public.t] [main/0,main/1] 1 true",
        ),
        (
            format!("INSERT INTO t VALUES ({one}, 'a') RETURNING name -- twice"),
            "INSERT error [public.t] [main/0] null false",
        ),
        ("/* shard: 1 */ CREATE TABLE audited (n int)".to_owned(), "CREATE ok [] [main/1] null true"),
        ("/* shard: 1 */ DROP TABLE audited".to_owned(), "DROP ok [] [main/1] null true"),
    ] {
        let _ = client.simple_query(&sql).await;
        if expected.contains("error") {
            audited.awaited(seen + 1).await;
        }
        let lines = audited.since(&mut seen);
        assert_eq!(briefs(&lines), [expected], "{sql}");
        assert_eq!(lines[0]["statement"].as_str(), Some(&*sql));
    }
    assert_eq!(audited.lines()[4]["sqlstate"], "22012");
    assert_eq!(audited.lines()[6]["sqlstate"], "23505");
    for sql in [
        "SELECT count(*) FROM t",
        "SHOW work_mem",
        "SET work_mem = '5MB'",
        "SELECT now()",
        "EXPLAIN SELECT 1",
    ] {
        lines(&client, sql).await;
    }
    lines(&client, &format!("EXPLAIN DELETE FROM t WHERE user_id = {one}")).await;
    assert_eq!(briefs(&audited.since(&mut seen)), [""; 0]);
}

#[tokio::test]
async fn a_line_says_who_when_and_from_where() {
    let audited = Audited::new("");
    let mut config = audited.proxy.client_config("app");
    let (client, connection) =
        config.application_name("shop \"7\"").connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let key = keys_on(0, 2).nth(7).unwrap();
    let insert = format!("INSERT INTO t VALUES ({key}, 'quoted \" and\nbroken')");
    lines(&client, &insert).await;
    let line = audited.lines().remove(0);
    assert_eq!(
        (line["user"].as_str(), line["database"].as_str(), line["application_name"].as_str()),
        (Some("app"), Some("shop"), Some("shop \"7\""))
    );
    assert_eq!(line["statement"].as_str(), Some(&*insert));
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0 && line["session"].is_number(), "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    lines(&client, "SET application_name = 'renamed'").await;
    lines(&client, &format!("DELETE FROM t WHERE user_id = {key}")).await;
    assert_eq!(audited.lines()[1]["application_name"], "renamed");
}

#[tokio::test]
async fn prepared_statements_have_their_text_and_no_parameters() {
    let audited = Audited::new("");
    let client = audited.proxy.connect("app").await;
    let key = keys_on(1, 2).nth(20).unwrap();
    let insert = "INSERT INTO t VALUES ($1, $2)";
    let statement = client.prepare(insert).await.unwrap();
    client.execute(&statement, &[&key, &"secret value"]).await.unwrap();
    client.execute("DELETE FROM t WHERE user_id = $1", &[&key]).await.unwrap();
    lines(&client, "PREPARE p(int, text) AS INSERT INTO t VALUES ($1, $2)").await;
    lines(&client, &format!("EXECUTE p({key}, 'by name')")).await;
    assert_eq!(
        briefs(&audited.lines()),
        [
            "INSERT ok [public.t] [main/1] 1 true",
            "DELETE ok [public.t] [main/1] 1 true",
            "INSERT ok [public.t] [main/1] 1 true",
        ]
    );
    assert_eq!(audited.lines()[0]["statement"].as_str(), Some(insert));
    assert!(!std::fs::read_to_string(audited.path()).unwrap().contains("secret value"));
}

#[tokio::test]
async fn a_batch_has_a_line_for_each_statement_that_ran() {
    let audited = Audited::new("");
    let mut raw = audited.proxy.raw("app").await;
    let key = keys_on(0, 2).nth(30).unwrap().to_string();
    let insert = |raw: &mut RawClient, name: &str| {
        raw.bind("", "insert", &[Param::Text(&key), Param::Text(name)], &[]).execute("", 0);
    };
    raw.parse("insert", "INSERT INTO t VALUES ($1, $2)", &[]);
    raw.parse("look", "SELECT name FROM t WHERE user_id = $1", &[]).sync();
    raw.recv_until_ready().await;
    insert(&mut raw, "one");
    raw.bind("", "look", &[Param::Text(&key)], &[]).execute("", 0).sync();
    assert_eq!(raw.recv_until_ready().await.tags(), "2C2DCZ");
    assert_eq!(briefs(&audited.lines()), ["INSERT ok [public.t] [main/0] 1 true"]);
    // The second one fails, and with it what came before it in the batch; the third is not looked at.
    raw.parse("", "DELETE FROM t WHERE user_id = $1", &[])
        .bind("", "", &[Param::Text(&key)], &[])
        .execute("", 0);
    insert(&mut raw, "two");
    insert(&mut raw, "three");
    insert(&mut raw, "four");
    raw.sync();
    raw.recv_until_ready().await;
    assert_eq!(
        briefs(&audited.lines()[1..]),
        [
            "DELETE ok [public.t] [main/0] 1 false",
            "INSERT ok [public.t] [main/0] 1 false",
            "INSERT error [public.t] [main/0] null false",
        ]
    );
}

#[tokio::test]
async fn a_transaction_is_named_in_its_lines_and_has_one_for_its_end() {
    let audited = Audited::new("");
    let client = audited.proxy.connect("app").await;
    let key = keys_on(0, 2).nth(40).unwrap();
    let insert = format!("INSERT INTO t VALUES ({key}, 'x')");
    let mut seen = 0;
    for (end, outcome) in [("ROLLBACK", "rolled back"), ("COMMIT", "committed")] {
        for sql in ["BEGIN", "SELECT 1", &insert, end] {
            lines(&client, sql).await;
        }
        let lines = audited.since(&mut seen);
        let expected = ["INSERT ok [public.t] [main/0] 1 null".to_owned(), format!("transaction {outcome}")];
        assert_eq!(briefs(&lines), expected);
        assert_eq!(lines[0]["transaction"], lines[1]["transaction"]);
        assert!(lines[0]["transaction"].is_string());
    }
    // One that fails, and one whose client leaves.
    lines(&client, "BEGIN").await;
    assert_eq!(failure(&client, &insert).await.0, "23505");
    assert_eq!(failure(&client, &insert).await.0, "25P02");
    lines(&client, "COMMIT").await;
    let briefly = briefs(&audited.since(&mut seen));
    assert_eq!(briefly.last().map(String::as_str), Some("transaction rolled back"), "{briefly:?}");
    lines(&client, &format!("BEGIN; DELETE FROM t WHERE user_id = {key}")).await;
    drop(client);
    soon("the transaction's end", async || {
        let lines = audited.lines();
        (brief(lines.last()?) == "transaction rolled back" && lines.len() == seen + 2).then_some(())
    })
    .await;
    let kept = audited.proxy.connect("app").await;
    assert_eq!(value(&kept, &format!("SELECT count(*) FROM t WHERE user_id = {key}")).await, "1");
    // A transaction that reads has none.
    for sql in ["BEGIN", "SELECT 1", "COMMIT"] {
        lines(&kept, sql).await;
    }
    assert_eq!(audited.lines().len(), seen + 2);
}

#[tokio::test]
async fn a_text_of_several_statements_has_a_line_for_each() {
    let audited = Audited::new("");
    let client = audited.proxy.connect("app").await;
    let key = keys_on(1, 2).nth(50).unwrap();
    let text = format!("INSERT INTO t VALUES ({key}, 'x'); SELECT 1; DELETE FROM t WHERE user_id = {key}");
    lines(&client, &text).await;
    assert_eq!(
        briefs(&audited.lines()),
        [
            "INSERT ok [public.t] [main/1] 1 null",
            "DELETE ok [public.t] [main/1] 1 null",
            "transaction committed",
        ]
    );
}

#[tokio::test]
async fn a_copy_has_one_line() {
    let audited = Audited::new("");
    let mut raw = audited.proxy.raw("app").await;
    let keys: Vec<i32> = keys_on(1, 2).skip(60).take(3).collect();
    raw.query("COPY t FROM STDIN");
    raw.recv_until(b'G').await;
    for key in &keys {
        raw.copy_data(format!("{key}\tcopied\n").as_bytes());
    }
    assert_eq!(raw.copy_done().recv_until_ready().await.commands(), ["COPY 3"]);
    assert_eq!(briefs(&audited.lines()), ["COPY ok [public.t] [main/1] 3 true"]);
}

#[tokio::test]
async fn passwords_given_to_roles_do_not_show() {
    let audited = Audited::new("");
    let client = audited.proxy.connect("app").await;
    let _ = client.simple_query("/* shard: 0 */ ALTER ROLE somebody WITH PASSWORD 'x'").await;
    let statement = audited.awaited(1).await.remove(0)["statement"].as_str().unwrap().to_owned();
    assert_eq!(statement, "/* shard: 0 */ ALTER ROLE somebody WITH PASSWORD <REDACTED>");
}

#[tokio::test]
async fn a_server_that_is_lost_in_a_statement_leaves_a_line_of_unknown_outcome() {
    let audited = Audited::new("");
    let client = audited.proxy.connect("app").await;
    let key = keys_on(0, 2).nth(70).unwrap();
    let insert = format!(
        "WITH x AS (SELECT pg_terminate_backend(pg_backend_pid())) INSERT INTO t SELECT {key}, x::text FROM x"
    );
    let (state, _) = failure(&client, &format!("/* shard: 0 */ {insert}")).await;
    assert_eq!(state, "08006");
    let briefly = briefs(&audited.awaited(1).await);
    assert!(briefly.len() == 1 && briefly[0].contains(" unknown "), "{briefly:?}");
}

#[tokio::test]
async fn of_a_batch_whose_server_is_lost_every_statement_may_have_been_done() {
    let audited = Audited::new("");
    let mut raw = audited.proxy.raw("app").await;
    let key = keys_on(0, 2).nth(71).unwrap();
    raw.parse("a", &format!("INSERT INTO t VALUES ({key}, $1)"), &[]);
    raw.parse(
        "b",
        &format!("UPDATE t SET name = pg_terminate_backend(pg_backend_pid())::text WHERE user_id = {key}"),
        &[],
    );
    raw.parse("c", &format!("DELETE FROM t WHERE user_id = {key}"), &[]);
    raw.bind("", "a", &[Param::Text("x")], &[]).execute("", 0);
    raw.bind("", "b", &[], &[]).execute("", 0);
    raw.bind("", "c", &[], &[]).execute("", 0);
    raw.sync().recv_until_ready().await;
    let briefly = briefs(&audited.awaited(3).await);
    let commands: Vec<_> = briefly.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(commands, ["INSERT", "UPDATE", "DELETE"], "{briefly:?}");
    assert!(briefly[1..].iter().all(|line| line.contains(" unknown ")), "{briefly:?}");
}

#[tokio::test]
async fn explain_that_executes_and_a_cursor_over_a_function_have_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.json");
    let put = "CREATE FUNCTION put() RETURNS int LANGUAGE sql AS 'DELETE FROM t; SELECT 1'";
    let world = World::builder()
        .shards(2)
        .schema(&format!("{SCHEMA}; {put}"))
        .config(&format!("[server]\naudit_log = '{}'", path.display()))
        .start();
    let client = world.connect("app").await;
    let key = keys_on(0, 2).next().unwrap();
    let update = format!("UPDATE t SET name = 'x' WHERE user_id = {key}");
    for options in ["ANALYZE", "(ANALYZE)", "(COSTS off, ANALYSE true)"] {
        lines(&client, &format!("EXPLAIN {options} {update}")).await;
    }
    lines(&client, &format!("EXPLAIN {update}")).await;
    lines(&client, "BEGIN; /* shard: 0 */ DECLARE c CURSOR FOR SELECT put(); FETCH c; ROLLBACK").await;
    lines(&client, "BEGIN; /* shard: 0 */ DECLARE c CURSOR FOR SELECT 1; FETCH c; ROLLBACK").await;
    let written = read(&path);
    let commands: Vec<_> = written.iter().map(|line| line["command"].as_str().unwrap_or("end")).collect();
    assert_eq!(commands, ["EXPLAIN", "EXPLAIN", "EXPLAIN", "DECLARE", "end"]);
}

#[tokio::test]
async fn the_file_is_opened_anew_at_a_reload_and_may_be_another_one_then() {
    let audited = Audited::new("");
    let client = audited.proxy.connect("app").await;
    let key = keys_on(0, 2).nth(80).unwrap();
    let delete = format!("DELETE FROM t WHERE user_id = {key}");
    lines(&client, &delete).await;
    let moved = audited.dir.path().join("audit.1");
    std::fs::rename(audited.path(), &moved).unwrap();
    audited.proxy.sighup();
    soon("the file to be there again", async || audited.path().exists().then_some(())).await;
    lines(&client, &delete).await;
    assert_eq!((read(&moved).len(), audited.lines().len()), (1, 1));
    let other = audited.dir.path().join("other");
    audited.proxy.reconfigure(&format!("[server]\naudit_log = '{}'", other.display()));
    reload(&audited.proxy).await;
    lines(&client, &delete).await;
    assert_eq!((audited.lines().len(), read(&other).len()), (1, 1));
    audited.proxy.reconfigure("[server]\naudit_log = ''");
    reload(&audited.proxy).await;
    lines(&client, &delete).await;
    assert_eq!(read(&other).len(), 1);
}

#[tokio::test]
async fn on_standard_error_lines_are_among_the_log() {
    let proxy = WORLD.another_proxy_with("[server]\naudit_log = 'stderr'");
    let client = proxy.connect("app").await;
    lines(&client, &format!("DELETE FROM t WHERE user_id = {}", keys_on(1, 2).nth(100).unwrap())).await;
    let log = proxy.log();
    let line = log.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()).unwrap();
    assert_eq!(line["command"], "DELETE");
}

/// `/dev/full` takes nothing.
#[tokio::test]
async fn while_the_log_cannot_be_written_nothing_is_written_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.json");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let proxy = WORLD.another_proxy_with(&format!("[server]\naudit_log = '{}'", path.display()));
    let (first, second) = (proxy.connect("app").await, proxy.connect("app").await);
    let key = keys_on(0, 2).nth(90).unwrap();
    // The first one finds out: it has run, and is not told so before its line is written.
    let insert = format!("INSERT INTO t VALUES ({key}, 'x')");
    let waiting = tokio::spawn(async move { lines(&first, &insert).await });
    let failing = "the audit log can't be written";
    soon(failing, async || proxy.log().contains(failing).then_some(())).await;
    let (state, message) = failure(&second, &format!("DELETE FROM t WHERE user_id = {key}")).await;
    assert_eq!(state, "58030");
    assert!(message.starts_with("the audit log cannot be written: No space left"), "{message}");
    assert_eq!(value(&second, &format!("SELECT name FROM t WHERE user_id = {key}")).await, "x");
    assert!(!waiting.is_finished());
    let (_, metrics) = proxy.http_get("/metrics");
    assert!(metrics.contains("shardway_audit_failing 1"), "{metrics}");
    // Mended, nobody waits, and no line is missing.
    std::fs::remove_file(&path).unwrap();
    proxy.sighup();
    tokio::time::timeout(shardway_tests::PATIENCE, waiting).await.unwrap().unwrap();
    lines(&second, &format!("DELETE FROM t WHERE user_id = {key}")).await;
    assert_eq!(
        briefs(&read(&path)),
        ["INSERT ok [public.t] [main/0] 1 true", "DELETE ok [public.t] [main/0] 1 true"]
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_keeps_the_old_configuration() {
    let audited = Audited::new("");
    audited.proxy.reconfigure("[server]\naudit_log = '/nowhere/audit'");
    audited.proxy.sighup();
    audited.proxy.wait_for_log("audit_log: /nowhere/audit: ");
    let client = audited.proxy.connect("app").await;
    lines(&client, &format!("DELETE FROM t WHERE user_id = {}", keys_on(0, 2).nth(100).unwrap())).await;
    assert_eq!(audited.lines().len(), 1);
}

#[tokio::test]
async fn at_the_end_nothing_is_missing() {
    let audited = Audited::new("");
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..8 {
        let client = audited.proxy.connect("app").await;
        clients.spawn(async move {
            let mut done = 0;
            let delete = format!("DELETE FROM t WHERE user_id = {}", -number - 1);
            loop {
                match client.simple_query(&delete).await {
                    Ok(_) => done += 1,
                    Err(error) => {
                        assert!(["57P01", "closed"].contains(&&*code(&error)), "{error:?}");
                        return done;
                    }
                }
            }
        });
    }
    soon("some lines", async || (audited.lines().len() > 50).then_some(())).await;
    audited.proxy.sigterm();
    let mut done = 0;
    while let Some(count) = clients.join_next().await {
        done += count.unwrap();
    }
    audited.proxy.wait_exit();
    let lines = audited.lines().len();
    assert!(lines >= done, "{lines} lines of {done} statements");
}
