//! WITH that writes, made up at random, beside one Postgres.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::WORLD;
use crate::reads::world::{Pair, Way, asked, comparable};
use crate::writes::pair::holds_the_same;
use crate::writes::seed;

/// A statement of up to two names and an end, all made up.
fn made_up(rng: &mut StdRng) -> String {
    let mut pick = |from: &[&str]| (*from.choose(rng).unwrap()).to_owned();
    let mut parts = Vec::new();
    for name in ["c", "d"] {
        let table = pick(&["one", "two"]);
        let source = if name == "d" { "c" } else { "one" };
        let rows = pick(&[
            "*",
            "user_id, id, x, t",
            "id, user_id, x, t",
            "user_id + 1 AS user_id, id, x, t",
            "x AS user_id, id, x, t",
        ]);
        let which = pick(&[
            "user_id = 7",
            "user_id = 7",
            "user_id IN (2, 3, 4)",
            "x > 3",
            "user_id = 7 AND id = 1",
            "id = 2",
            "x = id",
        ]);
        let part = match pick(&["delete", "update", "insert", "feed", "read", "three", "constant", "join"])
            .as_str()
        {
            "delete" => format!("DELETE FROM {table} WHERE {which} RETURNING {rows}"),
            "update" => format!(
                "UPDATE {table} SET {} WHERE {which} RETURNING {rows}",
                pick(&["x = x + 1", "t = 'u'", "x = user_id"])
            ),
            "insert" => format!(
                "INSERT INTO {table} (user_id, id, x) VALUES {} ON CONFLICT DO NOTHING RETURNING {rows}",
                pick(&["(7, 90, 1)", "(7, 1, 1), (7, 91, 2)", "(7, 92, 1), (8, 93, 1)"])
            ),
            "feed" => format!(
                "INSERT INTO {table} SELECT user_id, id + 200, x, t FROM {source} WHERE {which} RETURNING {rows}"
            ),
            "read" => format!("SELECT {rows} FROM {table} WHERE {which}"),
            "three" => "SELECT id AS user_id, id, x, 'r' AS t FROM three".to_owned(),
            "join" => format!(
                "SELECT a.user_id, a.id, b.x, b.t FROM {table} a JOIN {source} b ON b.user_id = a.user_id AND b.id = a.id WHERE a.x > 2"
            ),
            _ => "SELECT 7 AS user_id, 50 AS id, 1 AS x, 'k' AS t".to_owned(),
        };
        parts.push(format!("{name} AS ({part})"));
        if pick(&["more", "enough", "enough"]) == "enough" {
            break;
        }
    }
    let last = if parts.len() == 2 { "d" } else { "c" };
    let other = pick(&["one", "two", "c"]);
    let written = pick(&["one", "two"]);
    let end = match pick(&[
        "all", "some", "rows", "count", "pick", "join", "left", "right", "update", "in", "using", "union",
        "nested",
    ])
    .as_str()
    {
        "all" => format!("INSERT INTO {written} SELECT * FROM {last}"),
        "some" => format!(
            "INSERT INTO {written} (user_id, id, x) SELECT user_id, id + 100, x FROM {last} RETURNING id"
        ),
        "rows" => format!("SELECT * FROM {last}"),
        "count" => format!("SELECT count(*), count(t) FROM {last} WHERE x < 9"),
        "pick" => format!("SELECT id, x * 2 AS y FROM {last} WHERE x > 2"),
        "join" => format!("SELECT {last}.id, o.x FROM {last} JOIN {other} o ON o.user_id = {last}.user_id"),
        "left" => format!(
            "SELECT l.id, o.x FROM {last} l LEFT JOIN {other} o ON o.user_id = l.user_id AND o.id = l.id"
        ),
        "right" => format!(
            "SELECT l.id, o.x FROM {last} l RIGHT JOIN {other} o ON o.user_id = l.user_id AND o.id = l.id"
        ),
        "update" => format!(
            "UPDATE {written} w SET x = 5, t = 'z' FROM {last} l WHERE w.user_id = l.user_id AND w.id = l.id RETURNING w.id"
        ),
        "in" => format!("DELETE FROM {written} WHERE (user_id, id) IN (SELECT user_id, id FROM {last})"),
        "using" => format!(
            "DELETE FROM {written} w USING {last} l WHERE w.id = l.id AND w.user_id = l.user_id RETURNING w.t"
        ),
        "union" => format!("SELECT id FROM {last} UNION ALL SELECT id FROM {written} WHERE user_id = 7"),
        _ => format!(
            "SELECT id, (SELECT count(*) FROM {written} w WHERE w.user_id = l.user_id) AS n FROM {last} l"
        ),
    };
    format!("WITH {} {end}", parts.join(", "))
}

#[tokio::test]
async fn what_is_made_up_is_as_by_one_postgres() {
    let mut pair = Pair::of(&WORLD).await;
    let seed = seed(7);
    let mut rng = StdRng::seed_from_u64(seed);
    for table in ["one", "two"] {
        let rows = (1..=9)
            .flat_map(|user| (1..=3).map(move |id| format!("({user}, {id}, {}, 't{id}')", (user * id) % 7)));
        pair.both(&format!("INSERT INTO {table} VALUES {}", rows.collect::<Vec<_>>().join(", "))).await;
    }
    pair.both("INSERT INTO three VALUES (1, 1), (2, 5), (7, 3)").await;
    let runs = std::env::var("SHARDWAY_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(120);
    let (mut done, mut failed, mut refused) = (0, 0, 0);
    for _ in 0..runs {
        let sql = made_up(&mut rng);
        let way = [Way::Simple, Way::Text, Way::Binary][rng.random_range(0..3)];
        pair.both("BEGIN").await;
        let expected = asked(&mut pair.single, &sql, &[], way).await;
        let got = asked(&mut pair.proxy, &sql, &[], way).await;
        match (&got, &expected) {
            (Err((code, _)), _) if code == "0A000" => refused += 1,
            (Err(_), Err(_)) => failed += 1,
            _ => {
                assert_eq!(comparable(got, false), comparable(expected, false), "{sql}\n  asked by {way:?}");
                holds_the_same(&mut pair, "one").await;
                holds_the_same(&mut pair, "two").await;
                done += 1;
            }
        }
        pair.both("ROLLBACK").await;
    }
    eprintln!("{done} done, {failed} failed, {refused} refused");
    assert!(done * 4 > runs, "too few were done: {done} of {runs}");
}
