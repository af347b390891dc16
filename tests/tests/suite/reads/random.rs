//! Statements made up at random: each is answered as one Postgres answers it, or refused.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::world::{Pair, SALES_WORLD, Way, asked};

/// Those of which no two values are equal and look different: which of them stands for both would be left open.
const COLUMNS: [&str; 19] = [
    "user_id", "a", "s", "big", "price", "f4", "t", "c", "v", "ch", "u", "b", "d", "ts", "tz", "tm", "e",
    "y", "o",
];

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(rng).copied().unwrap_or_default()
}

fn aggregate(rng: &mut StdRng) -> String {
    let column = pick(rng, &COLUMNS);
    let number =
        pick(rng, &["a", "s", "big", "num", "price", "id", "a::int8 * 2", "price - num", "abs(s::int)"]);
    let call = match rng.random_range(0..10) {
        0 => "count(*)".to_owned(),
        1 => format!("count({column})"),
        2 | 3 => format!("sum({number})"),
        4 | 5 => format!("avg({number})"),
        6 | 7 => format!("{}({column})", pick(rng, &["min", "max"])),
        8 => format!(
            "{}({})",
            pick(rng, &["bool_and", "bool_or", "every"]),
            pick(rng, &["b", "a > 1", "t IS NULL"])
        ),
        _ => format!("{}({})", pick(rng, &["bit_and", "bit_or", "bit_xor"]), pick(rng, &["a", "s", "big"])),
    };
    match rng.random_range(0..5) {
        0 => format!(
            "{call} FILTER (WHERE {})",
            pick(rng, &["b", "a > 0", "c <> 'a'", "f IS NOT NULL", "false"])
        ),
        _ => call,
    }
}

/// A statement, and whether its order leaves nothing open.
fn statement(rng: &mut StdRng) -> (String, bool) {
    let keys: Vec<&str> = (0..rng.random_range(0..3)).map(|_| pick(rng, &COLUMNS)).collect();
    let distinct = !keys.is_empty() && rng.random_bool(0.15);
    let mut items: Vec<String> =
        keys.iter().filter(|_| rng.random_bool(0.8)).map(|k| (*k).to_owned()).collect();
    if distinct {
        items = keys.iter().map(|k| (*k).to_owned()).collect();
    } else {
        let aggregates = rng.random_range(usize::from(items.is_empty())..4);
        items.extend((0..aggregates).map(|_| aggregate(rng)));
    }
    let from = pick(
        rng,
        &[
            "sale",
            "sale",
            "sale WHERE user_id IN (3, 9, 27, 44)",
            "sale WHERE a > 0",
            "sale WHERE b IS NOT FALSE AND s < 5",
        ],
    );
    let mut sql =
        format!("SELECT {}{} FROM {from}", if distinct { "DISTINCT " } else { "" }, items.join(", "));
    if !distinct && !keys.is_empty() {
        sql.push_str(&format!(" GROUP BY {}", keys.join(", ")));
    }
    if rng.random_bool(0.5) {
        return (sql, false);
    }
    let direction = |rng: &mut StdRng| pick(rng, &["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
    let mut order: Vec<String> = Vec::new();
    if !distinct && rng.random_bool(0.5) {
        order.push(format!("{}{}", rng.random_range(1..=items.len()), direction(rng)));
    }
    order.extend(keys.iter().map(|key| format!("{key}{}", direction(rng))));
    if order.is_empty() {
        return (sql, false);
    }
    sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
    if rng.random_bool(0.5) {
        sql.push_str(&format!(" LIMIT {} OFFSET {}", rng.random_range(0..9), rng.random_range(0..5)));
    }
    (sql, true)
}

#[tokio::test]
async fn random_statements_are_answered_rightly_or_refused() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let mut rng = StdRng::seed_from_u64(7);
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..600 {
        let (sql, ordered) = statement(&mut rng);
        assert_eq!(ordered, sql.contains("ORDER BY"), "{sql}");
        let Ok(_) = asked(&mut pair.single, &sql, &[], Way::Simple).await else {
            // Not for Postgres either: no answer may be made up for it.
            let said = asked(&mut pair.proxy, &sql, &[], Way::Simple).await;
            assert!(said.is_err(), "{sql}: {said:?}");
            wrong += 1;
            continue;
        };
        match asked(&mut pair.proxy, &sql, &[], Way::Simple).await {
            Err((code, message)) => assert_eq!(code, "0A000", "{sql}: {message}"),
            Ok(_) => {
                pair.same(&sql).await;
                right += 1;
            }
        }
    }
    assert!(right > 200, "{right} of 600 were answered, {wrong} were wrong");
}
