//! INSERT of rows that live on several shards.

use std::time::{Duration, Instant};

use shardway_tests::Param;

use super::pair::{WRITES_WORLD, both, holds_the_same};
use super::{ask, code};
use crate::reads::world::{Pair, Way};

#[tokio::test]
async fn rows_are_split_by_key_and_come_back_in_their_order() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    let rows = |from: i32| {
        (from..from + 20).map(|n| format!("({n}, {}, 'r {n}')", n % 3)).collect::<Vec<_>>().join(", ")
    };
    let statements = [
        format!("INSERT INTO spot (user_id, id, note) VALUES {}", rows(500)),
        format!("INSERT INTO spot (user_id, id, note) VALUES {} RETURNING note, user_id, n;", rows(520)),
        "INSERT INTO spot (note, id, user_id) VALUES ('a -- b', 1, '600'), (E'\\'(', 1 + 1, 601), ($$,($$, 3, 602) -- end"
            .to_owned(),
        "INSERT INTO spot VALUES (610, 1), (611, 1, 'x'), (612, 1, 'y', DEFAULT)".to_owned(),
        "INSERT INTO spot VALUES (610, 1, 'z', 1), (611, 1, 'x', 2), (612, 1, 'y', DEFAULT) RETURNING id, n".to_owned(),
        "INSERT INTO spot (user_id, id, n) VALUES (613, 1, (SELECT count(*) FROM plain)), (614, 1, 2), (615, 1, 3) RETURNING n"
            .to_owned(),
        format!("INSERT INTO spot AS s (user_id, id, note) VALUES {} ON CONFLICT (user_id, id) DO NOTHING RETURNING s.note", rows(510)),
        format!(
            "INSERT INTO spot AS s (user_id, id, note) VALUES {} ON CONFLICT (user_id, id) DO UPDATE SET n = s.n + 1, note = \
             EXCLUDED.note || '!' WHERE s.user_id % 4 <> 0 RETURNING s.*",
            rows(530)
        ),
        format!("INSERT INTO spot (user_id, id, note) VALUES {} ON CONFLICT DO NOTHING", rows(530)),
        format!("INSERT INTO spot (user_id, id, note) VALUES {}", rows(530)),
        "INSERT INTO spot (user_id, id, n) VALUES (620, 1, 1), (621, 1, 1001), (622, 1, 1)".to_owned(),
        "INSERT INTO spot (user_id, id) VALUES (620, 1), (621, 'x'), (622, 1)".to_owned(),
        "INSERT INTO spot (user_id, id) VALUES (620, 1), (621, 1, 5), (622, 1)".to_owned(),
        "INSERT INTO spot (user_id, id) VALUES (620, 1), (NULL, 1)".to_owned(),
        "INSERT INTO spot (user_id, id) VALUES (620, 1), (620, 1), (621, 1) ON CONFLICT (user_id, id) DO UPDATE SET n = 1".to_owned(),
        "INSERT INTO skipped VALUES (1, 1), (2, 3), (3, 2), (4, 6), (5, 5), (1, 9), (6, 7) RETURNING user_id, id".to_owned(),
    ];
    for (n, sql) in statements.iter().enumerate() {
        let way = [Way::Simple, Way::Text, Way::Binary][n % 3];
        let sql = sql.replace("s.*", "s.user_id, s.id, s.note, s.n");
        both(&mut pair, &sql, &[], way, true).await;
        let mine = "(SELECT user_id, id, note, n FROM spot WHERE user_id BETWEEN 500 AND 630) x";
        holds_the_same(&mut pair, mine).await;
    }
    pair.refused("INSERT INTO spot (user_id, id) VALUES (1, 1), (2, 2) ON CONFLICT (id) DO NOTHING").await;
    pair.both("DELETE FROM spot WHERE user_id BETWEEN 500 AND 630").await;
}

#[tokio::test]
async fn a_select_that_hands_the_key_on_is_stored_shard_by_shard() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    let rows = (0..40).map(|n| format!("({}, {n}, {})", 940 + n % 13, n % 5)).collect::<Vec<_>>().join(", ");
    pair.both(&format!("INSERT INTO line VALUES {rows}")).await;
    let mine = "user_id BETWEEN 940 AND 952";
    for (n, sql) in [
        format!("INSERT INTO bulk SELECT user_id, spot_id, 'q' || qty FROM line WHERE {mine} RETURNING t, id"),
        format!("INSERT INTO bulk SELECT user_id, max(spot_id) + 100, count(*)::text FROM line WHERE {mine} GROUP BY user_id"),
        format!(
            "INSERT INTO bulk AS b (t, id, user_id) SELECT l.qty, l.spot_id, b.user_id FROM bulk b JOIN line l ON l.user_id = \
             b.user_id AND l.spot_id = b.id WHERE b.{mine} ON CONFLICT (user_id, id) DO UPDATE SET t = b.t || EXCLUDED.t"
        ),
        format!("INSERT INTO bulk SELECT * FROM bulk WHERE {mine}"),
        "INSERT INTO bulk SELECT 941, id, t FROM plain".to_owned(),
        "INSERT INTO bulk SELECT user_id, spot_id + 500, 'two' FROM line WHERE user_id IN (941, 942, 943)".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        both(&mut pair, sql, &[], [Way::Simple, Way::Text, Way::Binary][n % 3], false).await;
        holds_the_same(&mut pair, &format!("bulk WHERE {mine}")).await;
    }
    pair.both(&format!("DELETE FROM bulk WHERE {mine}")).await;
    pair.both(&format!("DELETE FROM line WHERE {mine}")).await;
}

#[tokio::test]
async fn an_error_names_its_place_in_the_clients_text() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    let sql =
        "INSERT INTO spot (user_id, id) VALUES (701, 1), (702, 1), (703, 1), (704, 'ä'), (705, 1), (706, 1)";
    let mut places = Vec::new();
    for client in [&mut pair.proxy, &mut pair.single] {
        for text in [sql.to_owned(), format!("SELECT 'é';  {sql}")] {
            let reply = ask(client, &text).await;
            places.push(reply.error().and_then(|error| error.field('P')));
        }
    }
    assert_eq!(places[..2], places[2..]);
    assert!(places.iter().all(Option::is_some), "{places:?}");
}

#[tokio::test]
async fn a_thousand_rows_of_parameters_are_quick_and_land_where_they_belong() {
    const ROWS: usize = 1000;
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    let row = |n: usize| format!("(${}, ${}, ${})", n * 3 + 1, n * 3 + 2, n * 3 + 3);
    let rows = (0..ROWS).map(row).collect::<Vec<_>>().join(", ");
    let sql = format!("INSERT INTO bulk VALUES {rows} RETURNING id");
    let keys: Vec<[u8; 4]> = (0..ROWS).map(|n| (n as i32 + 1000).to_be_bytes()).collect();
    let ids: Vec<String> = (0..ROWS).map(|n| n.to_string()).collect();
    let params: Vec<Param<'_>> =
        (0..ROWS).flat_map(|n| [Param::Binary(&keys[n]), Param::Text(&ids[n]), Param::Null]).collect();
    let said = both(&mut pair, &sql, &params, Way::Binary, true).await;
    assert_eq!(said.0.unwrap().2, ["INSERT 0 1000"]);
    let began = Instant::now();
    pair.proxy.parse("many", &sql.replace("RETURNING id", ""), &[]).sync();
    pair.proxy.recv_until_ready().await;
    for round in 1..4 {
        let keys: Vec<[u8; 4]> =
            (0..ROWS).map(|n| ((round * ROWS + n) as i32 + 1000).to_be_bytes()).collect();
        let params: Vec<Param<'_>> = (0..ROWS)
            .flat_map(|n| [Param::Binary(&keys[n]), Param::Text(&ids[n]), Param::Text("t")])
            .collect();
        let reply = pair.proxy.bind("", "many", &params, &[]).execute("", 0).sync().recv_until_ready().await;
        assert_eq!(reply.commands(), ["INSERT 0 1000"], "{:?}", reply.error());
    }
    // Where the cost of a row grows with their number it is minutes.
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "three times a thousand rows took {:?}",
        began.elapsed()
    );
    let counts = world.everywhere("SELECT count(*) FROM bulk WHERE user_id >= 1000");
    let total: usize = counts.iter().map(|count| count.parse::<usize>().unwrap()).sum();
    assert_eq!(total, 4 * ROWS, "{counts:?}");
    assert!(counts.iter().all(|count| count != "0"), "{counts:?}");
    pair.both("DELETE FROM bulk WHERE user_id >= 1000").await;
}

#[tokio::test]
async fn a_parameter_that_stands_at_several_places_is_of_one_type() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    // By its first place it is a number, and so it has no zeros in front as text either.
    let sql = "INSERT INTO bulk VALUES ($1, $3, 'a'), ($2, 2, $3), (901, 3, $4) RETURNING t";
    let params = [Param::Text("900"), Param::Text("902"), Param::Text("007"), Param::Text("last")];
    both(&mut pair, sql, &params, Way::Text, true).await;
    let few = &params[..3];
    let said = both(&mut pair, sql, few, Way::Text, true).await;
    assert_eq!(said.0.unwrap_err().0, "08P01");
    pair.both("DELETE FROM bulk WHERE user_id BETWEEN 900 AND 902").await;
}

#[tokio::test]
async fn rows_of_a_transaction_over_shards_come_and_go_together() {
    let world = &*WRITES_WORLD;
    let mut raw = world.raw("app").await;
    ask(&mut raw, "BEGIN").await;
    let made =
        ask(&mut raw, "INSERT INTO bulk VALUES (800, 1), (801, 1), (802, 1), (803, 1), (804, 1)").await;
    assert_eq!((made.commands(), made.status()), (vec!["INSERT 0 5".to_owned()], 'T'));
    let failed = ask(&mut raw, "INSERT INTO bulk VALUES (805, 1), (806, 1), (804, 1), (807, 1)").await;
    assert_eq!((code(&failed).as_str(), failed.status()), ("23505", 'E'));
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"]);
    let seen = ask(&mut raw, "SELECT count(*) FROM bulk WHERE user_id BETWEEN 800 AND 807").await;
    assert_eq!(seen.texts(), [[Some("0")]]);
    let prepared =
        ask(&mut raw, "PREPARE p AS INSERT INTO bulk VALUES ($1, 1), ($2, 1), (802, 1) RETURNING user_id")
            .await;
    assert_eq!(prepared.commands(), ["PREPARE"]);
    let made = ask(&mut raw, "EXECUTE p(800, 801)").await;
    assert_eq!((made.tags().as_str(), made.status()), ("TDDDCZ", 'I'), "{made:?}");
    let gone = ask(&mut raw, "DELETE FROM bulk WHERE user_id IN (800, 801, 802)").await;
    assert_eq!(gone.commands(), ["DELETE 3"]);
}
