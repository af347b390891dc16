//! EXPLAIN over shards: what it says of every way in which a statement runs, that its documents can be read, and that with
//! ANALYZE it does what the statement does.

use serde_json::Value;
use shardway_tests::{Param, RawClient, Reply, SharedWorld, World};

use crate::operation::support::{key_on, lines};

const SCHEMA: &str = "
CREATE TABLE t (user_id int, n int, v text);
CREATE TABLE u (user_id int, m int);
CREATE TABLE label (id int PRIMARY KEY, name text);
CREATE TABLE counted (id serial PRIMARY KEY, name text);
CREATE TABLE jobs (id int, what text);
";

const CONFIG: &str = "
[[databases.tables]]
name = 'jobs'
kind = 'local'
group = 'main'
shard = 2
";

/// Nothing is written here that stays.
static WORLD: SharedWorld = SharedWorld::new(filled);

fn filled() -> World {
    let world = World::builder().shards(4).servers(2).schema(SCHEMA).config(CONFIG).start();
    for shard in 0..4 {
        let key = key_on(shard, 4);
        let rows =
            format!("INSERT INTO t SELECT {key}, g, 'v' || g FROM generate_series(1, {}) g", shard + 2);
        let own = format!("INSERT INTO u VALUES ({key}, 1), ({key}, 2)");
        world.shard(shard as usize).sql(&format!("{rows}; {own}; INSERT INTO label VALUES (1, 'a')"));
    }
    world
}

fn key(shard: u32) -> i32 {
    key_on(shard, 4)
}

async fn ask(client: &mut RawClient, sql: &str) -> Reply {
    client.query(sql).recv_until_ready().await
}

/// The lines of a plan.
#[track_caller]
fn plan_of(reply: &Reply) -> Vec<String> {
    assert!(reply.error().is_none(), "{reply:?}");
    assert_eq!(reply.commands(), ["EXPLAIN"], "{reply:?}");
    reply.texts().0.into_iter().map(|row| row.into_iter().next().flatten().unwrap()).collect()
}

async fn explain(client: &mut RawClient, sql: &str) -> Vec<String> {
    plan_of(&ask(client, sql).await)
}

fn code(reply: &Reply) -> String {
    reply.error().and_then(|error| error.field('C')).unwrap_or_default()
}

/// What a line with this name says.
#[track_caller]
fn noted<'a>(plan: &'a [String], name: &str) -> &'a str {
    let line = plan.iter().find_map(|line| line.strip_prefix(&format!("  {name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {plan:#?}"))
}

/// The numbers of the shards whose plans are below, in order.
fn below(plan: &[String]) -> Vec<&str> {
    let heading = |line: &'_ str| line.starts_with("  Shard ") && line.ends_with(':');
    plan.iter().filter(|line| heading(line)).map(|line| &line[8..9]).collect()
}

/// A statement of every kind with its tier and shards.
fn every_kind() -> Vec<(String, &'static str, &'static str)> {
    let (zero, three) = (key(0), key(3));
    [
        (format!("SELECT * FROM t WHERE user_id = {three}"), "single", "3"),
        ("SELECT * FROM jobs".to_owned(), "single", "2"),
        (format!("UPDATE t SET n = 0 WHERE user_id = {zero}"), "single", "0"),
        ("/* shard: 1 */ DELETE FROM t".to_owned(), "single", "1"),
        ("SELECT * FROM t ORDER BY n LIMIT 3".to_owned(), "scatter", "0, 1, 2, 3"),
        (format!("SELECT v FROM t WHERE user_id IN ({zero}, {three})"), "scatter", "0, 3"),
        ("SELECT n, count(*) FROM t GROUP BY n".to_owned(), "combine", "0, 1, 2, 3"),
        ("SELECT count(DISTINCT n) FROM t".to_owned(), "gather", "0, 1, 2, 3"),
        ("SELECT * FROM t JOIN u ON t.n = u.m".to_owned(), "gather", "0, 1, 2, 3"),
        ("DELETE FROM t WHERE n = 1".to_owned(), "spread", "0, 1, 2, 3"),
        (format!("INSERT INTO u VALUES ({zero}, 1), ({three}, 2), ({zero}, 3)"), "spread", "0, 3"),
        ("UPDATE t SET user_id = n".to_owned(), "spread", "0, 1, 2, 3"),
        ("INSERT INTO u SELECT n, user_id FROM t".to_owned(), "spread", "0, 1, 2, 3"),
        ("UPDATE label SET name = 'b'".to_owned(), "spread", "0, 1, 2, 3"),
        ("INSERT INTO counted (name) VALUES ('c')".to_owned(), "spread", "0, 1, 2, 3"),
    ]
    .into()
}

#[tokio::test]
async fn the_first_lines_say_how_and_where_a_statement_runs_as_show_route_does() {
    let mut client = WORLD.raw("app").await;
    let admin = WORLD.proxy().connect_to("stats", "shardway").await;
    for (sql, tier, shards) in every_kind() {
        let plan = explain(&mut client, &format!("EXPLAIN {sql}")).await;
        assert_eq!(plan[0], format!("Shardway: {tier}"), "{sql}: {plan:#?}");
        assert_eq!(plan[1], format!("  Shards: {shards} (of 4)"), "{sql}: {plan:#?}");
        for statement in [sql.clone(), format!("EXPLAIN (COSTS off) {sql}")] {
            let route = lines(&admin, &format!("SHOW ROUTE '{}'", statement.replace('\'', "''"))).await;
            let route: Vec<&str> = route[0].split('|').collect();
            assert_eq!((route[0], route[2]), (tier, &*shards.replace(", ", ",")), "{statement}: {route:?}");
        }
    }
    let plan = explain(&mut client, "EXPLAIN SELECT * FROM label").await;
    assert!(plan[0] == "Shardway: single" && plan[1].ends_with(" (of 4)"), "{plan:#?}");
    let totals =
        "SELECT count(*) || ' ' || (SELECT count(*) FROM u) || ' ' || (SELECT count(*) FROM counted) FROM t";
    assert_eq!(WORLD.everywhere(totals), ["2 2 0", "3 2 0", "4 2 0", "5 2 0"]);
}

#[tokio::test]
async fn one_shards_plan_is_that_shards_own() {
    let mut client = WORLD.raw("app").await;
    let sql = format!("EXPLAIN SELECT * FROM t WHERE user_id = {}", key(1));
    let plan = explain(&mut client, &sql).await;
    let place = format!("  Shard 1 (main, 127.0.0.1:{}/shop_1):", WORLD.shard(1).primary().port());
    assert_eq!(plan[2..4], ["  Pushed down: the whole statement".to_owned(), place]);
    let own = WORLD.shard(1).sql(&sql);
    assert_eq!(plan[4..].iter().map(|line| &line[4..]).collect::<Vec<_>>(), own.lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_of_several_shards_are_told_of() {
    let mut client = WORLD.raw("app").await;
    let sql = "EXPLAIN SELECT v,\n  n -- the number\nFROM t\nORDER BY n DESC, user_id LIMIT 3 OFFSET 1";
    let plan = explain(&mut client, sql).await;
    assert!(noted(&plan, "Pushed down").starts_with("SELECT v, n, (n)::"), "{plan:#?}");
    let rest = "      FROM t ORDER BY n DESC, user_id LIMIT 4";
    assert!(plan.iter().any(|line| line == rest), "{plan:#?}");
    assert_eq!(noted(&plan, "Travels"), "rows in that order, with 2 hidden columns");
    let merged = noted(&plan, "Merged by");
    assert!(
        merged.starts_with("ORDER BY n DESC, user_id, ") && merged.ends_with("LIMIT 3 OFFSET 1"),
        "{merged}"
    );
    assert_eq!(below(&plan), ["0", "1", "2", "3"]);
    assert_eq!(plan.iter().filter(|line| line.contains("Seq Scan on t")).count(), 4, "{plan:#?}");
    let plan = explain(&mut client, "EXPLAIN (ANALYZE, TIMING off, SUMMARY off) SELECT v FROM t").await;
    assert!(noted(&plan, "Travels").starts_with("rows: 14 rows (2 + 3 + 4 + 5), about "), "{plan:#?}");
    let plan = explain(
        &mut client,
        "EXPLAIN (ANALYZE, COSTS off) SELECT n, sum(n) FROM t WHERE n < 3 GROUP BY n ORDER BY n",
    )
    .await;
    assert_eq!(plan[0], "Shardway: combine", "{plan:#?}");
    assert_eq!(noted(&plan, "Travels"), "partial aggregates, a row for each group: 8 rows (2 + 2 + 2 + 2)");
    assert_eq!(noted(&plan, "Merged by"), "GROUP BY n: groups of the same keys become one, then ORDER BY n");
    assert!(plan.iter().any(|line| line.contains("Execution Time")), "{plan:#?}");
}

/// Fails if a server has a temporary table.
fn nothing_is_left() {
    let sql = "SELECT count(*) FROM pg_class WHERE relpersistence = 't'";
    assert!(WORLD.everywhere(sql).iter().all(|n| n == "0"));
}

#[tokio::test]
async fn a_gather_shows_what_is_brought_and_what_its_engine_does() {
    let mut client = WORLD.raw("app").await;
    let sql = "SELECT t.v, count(DISTINCT u.m) FROM t JOIN u ON t.n = u.m WHERE t.n < 3 GROUP BY t.v";
    for around in [None, Some(("BEGIN", "COMMIT"))] {
        if let Some((begin, _)) = around {
            ask(&mut client, begin).await;
        }
        let plan = explain(&mut client, &format!("EXPLAIN {sql}")).await;
        let engine = noted(&plan, "Engine").strip_prefix("shard ").unwrap();
        assert!(noted(&plan, "Pushed down").contains("FROM \"public\".\"t\" WHERE"), "{plan:#?}");
        assert!(noted(&plan, "Runs there").contains("pg_temp.\"shardway gather 1\""), "{plan:#?}");
        assert!(noted(&plan, "Note").contains("empty tables"), "{plan:#?}");
        assert_eq!(below(&plan), [engine, "0", "1", "2", "3", "0", "1", "2", "3"]);
        assert!(plan.iter().any(|line| line.ends_with("as the engine:")), "{plan:#?}");
        assert!(plan.iter().any(|line| line.contains("Seq Scan on \"shardway gather 1\"")), "{plan:#?}");
        let plan = explain(&mut client, &format!("EXPLAIN (ANALYZE, COSTS off, TIMING off) {sql}")).await;
        let brought: Vec<&String> = plan.iter().filter(|line| line.starts_with("  Travels: ")).collect();
        assert!(
            brought[0].contains("\"public\".\"t\" (\"n\", \"v\") of shards ")
                && brought[0].contains("6 rows"),
            "{plan:#?}"
        );
        let at = plan.iter().position(|line| line.ends_with("as the engine:")).unwrap();
        assert!(plan[at + 1].contains("(actual rows=2 loops=1)"), "{plan:#?}");
        if let Some((_, end)) = around {
            assert_eq!(ask(&mut client, end).await.commands(), [end]);
        }
    }
    nothing_is_left();
}

#[tokio::test]
async fn documents_can_be_read_by_who_reads_those_of_postgres() {
    let mut client = WORLD.raw("app").await;
    for (sql, tier, shards) in every_kind() {
        let reply = ask(&mut client, &format!("EXPLAIN (FORMAT JSON, VERBOSE) {sql}")).await;
        assert_eq!(reply.of('T').next().unwrap().columns(), [("QUERY PLAN".to_owned(), 114)]);
        let rows = plan_of(&reply);
        assert_eq!(rows.len(), 1, "{sql}");
        let value: Value =
            serde_json::from_str(&rows[0]).unwrap_or_else(|e| panic!("{sql}: {e}: {}", rows[0]));
        assert_eq!(value.as_array().unwrap().len(), 1, "{sql}");
        assert_eq!(value[0]["Shardway"]["Tier"], tier, "{sql}");
        let found: Vec<String> =
            value[0]["Shardway"]["Shards"].as_array().unwrap().iter().map(Value::to_string).collect();
        assert_eq!(found.join(", "), shards, "{sql}");
        let plan = &value[0]["Plan"];
        assert!(plan["Node Type"].is_string(), "{sql}: {value}");
        match tier {
            "single" => assert!(
                plan.get("Shard").is_none() && plan["Output"].is_array()
                    || sql.contains("DELETE")
                    || sql.contains("UPDATE"),
                "{sql}: {value}"
            ),
            _ => assert!(
                plan["Plans"].as_array().unwrap().iter().all(|p| p["Node Type"].is_string()),
                "{sql}: {value}"
            ),
        }
        let reply = ask(&mut client, &format!("EXPLAIN (FORMAT XML) {sql}")).await;
        assert_eq!(reply.of('T').next().unwrap().columns()[0].1, 142);
        let [xml] = &plan_of(&reply)[..] else { panic!("{sql}") };
        assert!(xml.contains(&format!("<Tier>{tier}</Tier>")) && xml.ends_with("</explain>"), "{sql}: {xml}");
        assert_eq!(
            WORLD.shard(0).sql(&format!("SELECT ('{}'::xml) IS DOCUMENT", xml.replace('\'', "''"))),
            "t"
        );
        let reply = ask(&mut client, &format!("EXPLAIN (FORMAT YAML) {sql}")).await;
        assert_eq!(reply.of('T').next().unwrap().columns()[0].1, 25);
        let [yaml] = &plan_of(&reply)[..] else { panic!("{sql}") };
        assert!(yaml.starts_with(&format!("- Shardway: \n    Tier: \"{tier}\"\n")), "{sql}: {yaml}");
        assert!(yaml.contains("\n  Plan: \n    "), "{sql}: {yaml}");
    }
    let sql = "EXPLAIN (ANALYZE, BUFFERS, SETTINGS, WAL, FORMAT JSON) SELECT count(*) FROM t";
    let value: Value = serde_json::from_str(&explain(&mut client, sql).await[0]).unwrap();
    assert!(value[0]["Execution Time"].is_number() && value[0]["Planning Time"].is_number(), "{value}");
    let servers = value[0]["Shardway"]["Servers"].as_array().unwrap();
    assert!(
        servers.len() == 4 && servers.iter().all(|server| server["Execution Time"].is_number()),
        "{value}"
    );
    assert_eq!(value[0]["Shardway"]["Merged By"][0], "parts of an aggregate become one");
}

#[tokio::test]
async fn the_extended_protocol_has_parameters_and_one_column() {
    let mut client = WORLD.raw("app").await;
    for (sql, params, first) in [
        ("SELECT v FROM t WHERE user_id = $1", vec![key(2).to_string()], "Shardway: single"),
        (
            "SELECT v FROM t WHERE n > $1 ORDER BY n LIMIT $2",
            vec!["1".into(), "2".into()],
            "Shardway: scatter",
        ),
        ("SELECT count(*) FROM t WHERE n > $1", vec!["1".into()], "Shardway: combine"),
        ("SELECT count(DISTINCT v) FROM t WHERE n > $1", vec!["1".into()], "Shardway: gather"),
        ("DELETE FROM t WHERE n > $1", vec!["1".into()], "Shardway: spread"),
        (
            "INSERT INTO u VALUES ($1, $2), ($3, $2)",
            vec![key(1).to_string(), "7".into(), key(2).to_string()],
            "Shardway: spread",
        ),
    ] {
        for lead in ["EXPLAIN", "EXPLAIN (ANALYZE, TIMING off)"] {
            let params: Vec<Param<'_>> = params.iter().map(|value| Param::Text(value)).collect();
            client.query("BEGIN").recv_until_ready().await;
            client.parse("", &format!("{lead} {sql}"), &[]).describe_statement("");
            client.bind("", "", &params, &[1]).describe_portal("").execute("", 0);
            let reply = client.sync().recv_until_ready().await;
            let plan = plan_of(&reply);
            assert_eq!(plan[0], first, "{lead} {sql}");
            let described: Vec<_> = reply.of('T').map(|t| t.columns()).collect();
            assert_eq!(described, vec![vec![("QUERY PLAN".to_owned(), 25)]; 2], "{reply:?}");
            assert!(reply.tags().starts_with("1tT2TDD") && reply.tags().ends_with("DCZ"), "{}", reply.tags());
            client.query("ROLLBACK").recv_until_ready().await;
        }
    }
    let sql = format!("EXPLAIN SELECT * FROM t WHERE user_id = {}", key(2));
    client.parse("named", &sql, &[]).sync().recv_until_ready().await;
    for _ in 0..2 {
        let reply = client.bind("", "named", &[], &[]).execute("", 0).sync().recv_until_ready().await;
        assert_eq!(plan_of(&reply)[..2], ["Shardway: single", "  Shards: 2 (of 4)"]);
    }
}

#[tokio::test]
async fn a_portal_may_give_its_lines_a_few_at_a_time() {
    let mut client = WORLD.raw("app").await;
    let whole = explain(&mut client, "EXPLAIN SELECT * FROM t").await;
    client.parse("", "EXPLAIN SELECT * FROM t", &[]).bind("", "", &[], &[]).describe_portal("");
    let reply = client.execute("", 3).sync().recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), reply.status()), ("12TDDDsZ", 'I'));
    client.query("BEGIN").recv_until_ready().await;
    client.parse("", "EXPLAIN SELECT * FROM t", &[]).bind("p", "", &[], &[]).execute("p", 3);
    let mut lines = client.sync().recv_until_ready().await.texts().0;
    let reply = client.execute("p", 0).sync().recv_until_ready().await;
    assert_eq!(reply.commands(), ["EXPLAIN"]);
    lines.extend(reply.texts().0);
    assert_eq!(lines.into_iter().flatten().flatten().collect::<Vec<_>>(), whole);
    client.query("COMMIT").recv_until_ready().await;
}

#[tokio::test]
async fn an_execute_is_explained_by_its_statement_and_arguments() {
    let mut client = WORLD.raw("app").await;
    ask(&mut client, "PREPARE own (int) AS SELECT v FROM t WHERE user_id = $1").await;
    ask(&mut client, "PREPARE every (int) AS SELECT v FROM t WHERE n > $1").await;
    let plan = explain(&mut client, &format!("EXPLAIN EXECUTE own({})", key(3))).await;
    assert_eq!(plan[..2], ["Shardway: single", "  Shards: 3 (of 4)"]);
    let plan = explain(&mut client, "EXPLAIN (ANALYZE, COSTS off) EXECUTE every(1 + 1)").await;
    assert_eq!(plan[0], "Shardway: scatter");
    assert!(noted(&plan, "Travels").starts_with("rows: 6 rows (0 + 1 + 2 + 3)"), "{plan:#?}");
    client
        .parse("", "EXPLAIN EXECUTE every(7)", &[])
        .bind("", "", &[], &[])
        .describe_portal("")
        .execute("", 0);
    assert_eq!(plan_of(&client.sync().recv_until_ready().await)[0], "Shardway: scatter");
    assert_eq!(code(&ask(&mut client, "EXPLAIN EXECUTE nobody(1)").await), "26000");
    assert_eq!(code(&ask(&mut client, "EXPLAIN EXECUTE own(1, 2)").await), "42601");
}

#[tokio::test]
async fn with_analyze_a_write_is_done_once_and_rolled_back_by_rollback() {
    let world = filled();
    let mut client = world.raw("app").await;
    let sums = "SELECT count(*) || ' ' || coalesce(sum(n), 0) FROM t";
    let before = world.everywhere(sums);
    let (zero, three) = (key(0), key(3));
    let writes = [
        format!("UPDATE t SET n = n + 1 WHERE user_id = {zero}"),
        "UPDATE t SET n = n + 1 RETURNING *".to_owned(),
        "UPDATE t SET n = n + 1, v = repeat('x', 4000) || now() RETURNING *".to_owned(),
        format!("INSERT INTO t VALUES ({zero}, 10, now()), ({three}, 20, 'x') RETURNING n"),
        "INSERT INTO t SELECT n + 1000, 5, v FROM t".to_owned(),
        format!("UPDATE t SET user_id = {three}, n = 9 WHERE user_id = {zero}"),
        "DELETE FROM t WHERE n > 3".to_owned(),
    ];
    for sql in &writes {
        ask(&mut client, "BEGIN").await;
        let plan = explain(&mut client, &format!("EXPLAIN (ANALYZE, COSTS off) {sql}")).await;
        assert!(plan.iter().any(|line| line.contains("(actual ")), "{plan:#?}");
        if plan[0] == "Shardway: spread" {
            assert_eq!(noted(&plan, "Committed by"), "the transaction's COMMIT, a two-phase commit");
        }
        let within = ask(&mut client, sums).await;
        ask(&mut client, "ROLLBACK").await;
        assert_eq!(world.everywhere(sums), before, "{sql}");
        // What the statement does by itself.
        ask(&mut client, "BEGIN").await;
        assert_eq!(code(&ask(&mut client, sql).await), "", "{sql}");
        assert_eq!(ask(&mut client, sums).await.texts(), within.texts(), "{sql}");
        ask(&mut client, "ROLLBACK").await;
    }
    let plan = explain(&mut client, &format!("EXPLAIN ANALYZE {}", writes[3])).await;
    assert_eq!(noted(&plan, "Pushed down"), "INSERT of rows of VALUES: 1 on shard 0, 1 on shard 3");
    assert_eq!(noted(&plan, "Committed by"), "two-phase commit");
    assert_eq!(world.everywhere("SELECT count(*) FROM t"), ["3", "3", "4", "6"]);
    for (sql, rows) in [
        ("UPDATE label SET name = 'b' || clock_timestamp()::text WHERE id = 1", "1"),
        ("INSERT INTO label VALUES (2, 'two')", "2"),
        ("INSERT INTO counted (name) VALUES ('c')", "2"),
    ] {
        let reply = ask(&mut client, &format!("EXPLAIN ANALYZE {sql}")).await;
        if code(&reply) == "0A000" {
            assert_eq!(code(&ask(&mut client, sql).await), "0A000", "{sql}");
            continue;
        }
        assert_eq!(plan_of(&reply)[0], "Shardway: spread");
        assert_eq!(world.everywhere("SELECT count(*) FROM label"), vec![rows; 4], "{sql}");
    }
    let rows = world.everywhere("SELECT id || name FROM counted");
    assert!(rows.len() == 4 && rows.iter().all(|row| *row == rows[0]), "{rows:?}");
}

#[tokio::test]
async fn what_is_refused_is_refused_alike() {
    let mut client = WORLD.raw("app").await;
    for sql in [
        "SELECT count(DISTINCT ctid) FROM t",
        "SELECT count(DISTINCT t.n) FROM t, pg_class",
        "UPDATE t SET v = (SELECT max(v) FROM t)",
        "SELECT query_to_xml('SELECT 1', true, true, '') FROM t",
        "SELECT * FRO t",
        "SELECT * FROM nowhere",
        "INSERT INTO t VALUES (NULL, 1, 'x')",
        "/* shard: 9 */ SELECT 1",
    ] {
        let (plain, explained) =
            (ask(&mut client, sql).await, ask(&mut client, &format!("EXPLAIN {sql}")).await);
        assert_ne!(code(&plain), "", "{sql}");
        let said = |reply: &Reply| reply.error().map(|error| (error.field('C'), error.field('M')));
        assert_eq!(said(&explained), said(&plain), "{sql}");
        client.parse("", &format!("EXPLAIN {sql}"), &[]).bind("", "", &[], &[]).execute("", 0);
        assert_eq!(code(&client.sync().recv_until_ready().await), code(&plain), "{sql}");
    }
    for (sql, expected) in [
        ("EXPLAIN (NONSENSE) SELECT * FROM t", "42601"),
        ("EXPLAIN (FORMAT toml) SELECT * FROM t", "22023"),
        ("EXPLAIN (WAL) SELECT * FROM t", "22023"),
        ("EXPLAIN SELECT count(DISTINCT nosuch) FROM t", "42703"),
        ("EXPLAIN", "42601"),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1", "0A000"),
        ("EXPLAIN SELECT set_config('work_mem', '5MB', false)", "0A000"),
        ("EXPLAIN ANALYZE SELECT 1 / (n - 1) FROM t", "22012"),
    ] {
        assert_eq!(code(&ask(&mut client, sql).await), expected, "{sql}");
    }
    let reply = ask(&mut client, "SELECT 1; EXPLAIN SELECT v, nosuch FROM t").await;
    assert_eq!(reply.error().and_then(|error| error.field('P')).as_deref(), Some("29"), "{reply:?}");
    let sql = format!("EXPLAIN ANALYZE SELECT 'é', nosuch FROM t WHERE user_id = {}", key(1));
    let reply = ask(&mut client, &sql).await;
    assert_eq!(reply.error().and_then(|error| error.field('P')).as_deref(), Some("29"), "{reply:?}");
}

#[tokio::test]
async fn it_is_a_statement_of_its_transaction() {
    let mut client = WORLD.raw("app").await;
    ask(&mut client, "BEGIN").await;
    let rows = format!("INSERT INTO u VALUES ({}, 5), ({}, 6)", key(0), key(1));
    ask(&mut client, &rows).await;
    let plan = explain(&mut client, "EXPLAIN (ANALYZE, COSTS off) SELECT m FROM u").await;
    assert!(noted(&plan, "Travels").starts_with("rows: 10 rows (3 + 3 + 2 + 2)"), "{plan:#?}");
    assert_eq!(code(&ask(&mut client, "EXPLAIN ANALYZE SELECT 1 / (m - 1) FROM u").await), "22012");
    assert_eq!(code(&ask(&mut client, "EXPLAIN SELECT * FROM u").await), "25P02");
    assert_eq!(ask(&mut client, "COMMIT").await.commands(), ["ROLLBACK"]);
    ask(&mut client, "BEGIN READ ONLY").await;
    assert_eq!(explain(&mut client, "EXPLAIN DELETE FROM u").await[0], "Shardway: spread");
    assert_eq!(code(&ask(&mut client, "EXPLAIN ANALYZE DELETE FROM u").await), "25006");
    ask(&mut client, "ROLLBACK").await;
    let reply = ask(&mut client, "SELECT 1 AS one; EXPLAIN SELECT * FROM u; SELECT 2 AS two").await;
    assert_eq!(
        (reply.commands(), reply.status()),
        (["SELECT 1", "EXPLAIN", "SELECT 1"].map(str::to_owned).into(), 'I')
    );
    assert_eq!(reply.texts().0[1][0].as_deref(), Some("Shardway: scatter"));
}
