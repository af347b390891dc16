//! Writes of reference tables: every shard's copy comes out the same.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use shardway_tests::Param;

use super::pair::{WRITES_WORLD, both, copies_are_the_same, holds_the_same, same};
use super::{ask, code, seed};
use crate::reads::world::{Pair, Way};

#[tokio::test]
async fn a_reference_table_is_written_as_in_one_postgres_on_every_shard() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    let statements = [
        "INSERT INTO kind (name) VALUES ('one'), ('two'), ('three') RETURNING *",
        "INSERT INTO kind (name, weight, t) VALUES ('four', 4, E'a\\'b\\\\c\nd'), ('five', 5, NULL) RETURNING id",
        "INSERT INTO kind (name) VALUES ('one') ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name RETURNING id",
        "INSERT INTO kind (name, t) VALUES ('one', 'again'), ('six', 'new') ON CONFLICT (name) DO UPDATE SET weight = \
         kind.weight + 1, t = EXCLUDED.t RETURNING kind.weight, t",
        "INSERT INTO kind (name) VALUES ('one'), ('seven') ON CONFLICT DO NOTHING RETURNING name",
        "INSERT INTO kind (name) VALUES ('two')",
        "UPDATE kind SET weight = weight * 2 WHERE id < 4 RETURNING id, weight",
        "UPDATE kind k SET t = o.name FROM kind o WHERE o.id = k.id - 1 RETURNING k.id, o.name",
        "UPDATE kind SET weight = (SELECT count(*) FROM plain) WHERE id = 2",
        "INSERT INTO kind (name) SELECT name || ' too' FROM kind WHERE id < 3 ORDER BY id RETURNING name",
        "DELETE FROM kind WHERE id IN (SELECT id FROM kind ORDER BY id DESC LIMIT 2) RETURNING name",
        "DELETE FROM kind USING kind o WHERE o.id = kind.id + 1 AND kind.weight = 4",
        "UPDATE kind SET weight = 1 / (weight - weight)",
        "DELETE FROM kind WHERE nothing = 1",
        "DELETE FROM kind",
    ];
    for (n, sql) in statements.iter().enumerate() {
        let way = [Way::Simple, Way::Text, Way::Binary][n % 3];
        same(&mut pair, sql, way).await;
        copies_are_the_same(world, "kind");
        holds_the_same(&mut pair, "kind").await;
    }
    let sql = "INSERT INTO kind (name, weight) VALUES ($1, $2) RETURNING id, name";
    both(&mut pair, sql, &[Param::Text("eight"), Param::Binary(&8i32.to_be_bytes())], Way::Binary, true)
        .await;
    let sql = "UPDATE kind SET weight = $1 WHERE name = $2";
    both(&mut pair, sql, &[Param::Text("9"), Param::Text("eight")], Way::Text, true).await;
    copies_are_the_same(world, "kind");
}

#[tokio::test]
async fn volatile_values_are_worked_out_once() {
    let world = &*WRITES_WORLD;
    let mut raw = world.raw("app").await;
    for sql in [
        "INSERT INTO ident (name) VALUES ('a'), ('b'), ('c')",
        "INSERT INTO ident (name, f, v, b) VALUES ('d', random(), ARRAY['x', 'y,\"z', NULL], '\\x00ff'), ('e', 0.1 + 0.2, '{}', NULL)",
        "INSERT INTO ident OVERRIDING SYSTEM VALUE VALUES (100, 'f')",
        "INSERT INTO ident DEFAULT VALUES",
        "UPDATE ident SET f = random(), tag = gen_random_uuid() WHERE id < 3",
        "UPDATE ident SET made = clock_timestamp() WHERE id > 2",
        "UPDATE ident SET made = now(), name = name || current_date WHERE id = 1",
        "DELETE FROM ident WHERE random() < 0.5",
        "INSERT INTO vast SELECT g, random() * 1000, repeat('long ', 40) FROM generate_series(1, 3000) g",
        "UPDATE vast SET a = (random() * 1000)::int WHERE id % 2 = 0",
    ] {
        let reply = ask(&mut raw, sql).await;
        assert!(reply.error().is_none(), "{sql}: {reply:?}");
        for table in ["ident", "vast"] {
            copies_are_the_same(world, table);
        }
    }
    let made = ask(&mut raw, "SELECT id FROM ident WHERE id < 100 ORDER BY id DESC LIMIT 1").await;
    let last = made.texts().0.first().and_then(|row| row[0].clone()).unwrap_or_default();
    let next = ask(&mut raw, "INSERT INTO ident (name) VALUES ('last') RETURNING id, big").await;
    assert!(next.texts().0[0][0].as_deref().unwrap_or_default() > last.as_str() || last.is_empty());
    assert_eq!(ask(&mut raw, "DELETE FROM vast").await.commands(), ["DELETE 3000"]);
    // Without a key, rows can't be told apart.
    ask(&mut raw, "INSERT INTO keyless VALUES (1, 'a')").await;
    assert_eq!(code(&ask(&mut raw, "UPDATE keyless SET a = random()").await), "0A000");
    assert_eq!(ask(&mut raw, "UPDATE keyless SET a = 2").await.commands(), ["UPDATE 1"]);
}

#[tokio::test]
async fn triggers_must_come_to_the_same_on_every_shard() {
    let world = &*WRITES_WORLD;
    let mut pair = Pair::of(world).await;
    same(&mut pair, "INSERT INTO slug VALUES (1, 'One'), (2, 'TWO') RETURNING slug", Way::Simple).await;
    same(&mut pair, "UPDATE slug SET name = 'Both' RETURNING *", Way::Text).await;
    copies_are_the_same(world, "slug");
    let differs = ask(&mut pair.proxy, "INSERT INTO clocked VALUES (1)").await;
    assert_eq!(code(&differs), "XX000", "{differs:?}");
    assert!(
        differs
            .error()
            .unwrap()
            .field('M')
            .unwrap()
            .contains("the copies of reference table \"clocked\" differ")
    );
    assert_eq!(world.everywhere("SELECT count(*) FROM clocked"), ["0"; 4]);
    pair.refused("INSERT INTO acting VALUES (1)").await;
}

#[tokio::test]
async fn copies_that_differ_are_named_and_nothing_is_written() {
    let world = &*WRITES_WORLD;
    world.shards().for_each(|shard| drop(shard.sql("INSERT INTO uneven VALUES (-1, 1), (-2, 1)")));
    world.shard(2).sql("DELETE FROM uneven WHERE id = -2");
    let mut raw = world.raw("app").await;
    let differs = ask(&mut raw, "UPDATE uneven SET a = 2 WHERE id < 0").await;
    assert_eq!(code(&differs), "XX000");
    let message = differs.error().unwrap().field('M').unwrap();
    assert!(message.ends_with("shard 0 wrote 2 rows, shard 2 wrote 1"), "{message}");
    assert_eq!(world.shard(0).sql("SELECT sum(a) FROM uneven WHERE id < 0"), "2");
    world.shards().for_each(|shard| drop(shard.sql("DELETE FROM uneven WHERE id < 0")));
}

/// A write of `busy` made up at random.
fn made_up(rng: &mut StdRng) -> String {
    let id = rng.random_range(1..40);
    let other = rng.random_range(1..40);
    let forms = [
        format!("INSERT INTO busy VALUES ({id}, {other}, 'x')"),
        format!("INSERT INTO busy VALUES ({id}, random() * 100), ({}, 2) ON CONFLICT DO NOTHING", id + 1),
        format!("INSERT INTO busy VALUES ({id}, {other}) ON CONFLICT (id) DO UPDATE SET a = EXCLUDED.a"),
        format!("UPDATE busy SET a = a + 1 WHERE id BETWEEN {id} AND {other}"),
        format!("UPDATE busy SET a = random() * 100 WHERE id > {id}"),
        format!("UPDATE busy SET a = 1 WHERE a % 2 = {}", id % 2),
        format!("DELETE FROM busy WHERE id = {id}"),
        format!("DELETE FROM busy WHERE id IN (SELECT id FROM busy WHERE a > {other} LIMIT 2)"),
        format!(
            "INSERT INTO busy SELECT id + 50, a, t FROM busy WHERE id < {} ON CONFLICT DO NOTHING",
            id / 2
        ),
        "DELETE FROM busy WHERE id > 50".to_owned(),
    ];
    forms.choose(rng).cloned().unwrap_or_default()
}

#[tokio::test]
async fn clients_that_write_at_once_leave_the_same_on_every_shard() {
    let world = &*WRITES_WORLD;
    let seed = seed(5);
    let clients = (0..6).map(|client| {
        let world = &world;
        async move {
            let mut raw = world.raw("app").await;
            let mut rng = StdRng::seed_from_u64(seed + client);
            let mut done = 0;
            for _ in 0..30 {
                let several = rng.random_bool(0.3);
                if several {
                    ask(&mut raw, "BEGIN").await;
                }
                for _ in 0..if several { 2 } else { 1 } {
                    let sql = made_up(&mut rng);
                    let reply = ask(&mut raw, &sql).await;
                    let code = code(&reply);
                    assert!(["", "23505", "25P02", "22003"].contains(&code.as_str()), "{sql}: {reply:?}");
                    done += usize::from(code.is_empty());
                }
                if several {
                    let end = if rng.random_bool(0.7) { "COMMIT" } else { "ROLLBACK" };
                    ask(&mut raw, end).await;
                }
            }
            done
        }
    });
    let mut done = 0;
    let mut running: Vec<_> = clients.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        running.retain_mut(|client| match client.as_mut().poll(cx) {
            std::task::Poll::Ready(count) => {
                done += count;
                false
            }
            std::task::Poll::Pending => true,
        });
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert!(done > 60, "{done} writes went through");
    copies_are_the_same(world, "busy");
}
