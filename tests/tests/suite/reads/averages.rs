//! Sums and averages of random numerics, digit for digit as one Postgres says them.

use std::fmt::Write;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::world::{Pair, SALES_WORLD};

/// A numeric of any size and scale, now and then with all of it zeros.
fn numeric(rng: &mut StdRng) -> String {
    match rng.random_range(0..40) {
        0 => return "0".into(),
        1 => return "0.000".into(),
        2 if rng.random_bool(0.2) => return "NaN".into(),
        3 if rng.random_bool(0.2) => return "Infinity".into(),
        4 if rng.random_bool(0.2) => return "-Infinity".into(),
        _ => {}
    }
    let mut text = String::from(if rng.random_bool(0.5) { "-" } else { "" });
    let digits = |rng: &mut StdRng, n: usize| -> String {
        let nines = rng.random_bool(0.2);
        (0..n).map(|_| if nines { '9' } else { char::from(b'0' + rng.random_range(0..10)) }).collect()
    };
    let (whole, scale) = match rng.random_range(0..4) {
        0 => (rng.random_range(1..3), rng.random_range(0..3)),
        1 => (rng.random_range(1..40), rng.random_range(0..20)),
        2 => (1, rng.random_range(0..60)),
        _ => (rng.random_range(1..9), rng.random_range(0..9)),
    };
    let _ = write!(text, "{}", digits(rng, whole));
    if scale > 0 {
        let zeros = rng.random_range(0..=scale);
        let _ = write!(text, ".{}{}", "0".repeat(zeros), digits(rng, scale - zeros));
    }
    text
}

#[tokio::test]
async fn random_numbers_add_up_and_average_as_in_postgres() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let mut rng = StdRng::seed_from_u64(4);
    let n = 1200;
    for i in 0..n {
        let (key, value) = (i % 50 + 1000, numeric(&mut rng));
        pair.both(&format!(
            "INSERT INTO random VALUES ({key}, {}, 'g{}', '{value}')",
            rng.random::<i32>(),
            i % 300
        ))
        .await;
    }
    for sql in [
        "SELECT g, sum(num), avg(num), count(*), sum(n), avg(n), min(n), max(n) FROM random GROUP BY g",
        "SELECT sum(num), avg(num) FROM random WHERE num NOT IN ('NaN', 'Infinity', '-Infinity')",
        "SELECT user_id, avg(num), avg(n) FROM random GROUP BY user_id ORDER BY avg(num), avg(n), user_id",
        "SELECT g, avg(num / 7), sum(num * num) FROM random GROUP BY g",
    ] {
        pair.same(sql).await;
    }
}
