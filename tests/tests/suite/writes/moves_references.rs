//! UPDATE of the sharding key on tables with foreign keys: what is refused, and by which error, is what one Postgres refuses.

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardway_tests::{Param, Reply, World};

use super::moves::all_at_home;
use super::pair::{both, holds_the_same, same};
use super::{ask, seed};
use crate::reads::world::{Pair, Way, asked, comparable};

const SCHEMA: &str = "
CREATE TABLE kind (id int PRIMARY KEY);
CREATE TABLE usr (user_id int PRIMARY KEY, name text);
CREATE TABLE ord (
    user_id int NOT NULL REFERENCES usr, id int, note varchar(8), made timestamptz, kind int REFERENCES kind,
    twice int GENERATED ALWAYS AS (user_id * 2) STORED, PRIMARY KEY (user_id, id)
);
CREATE TABLE lin (
    user_id int, ord_id int, n int, qty int CHECK (qty < 100), PRIMARY KEY (user_id, ord_id, n),
    FOREIGN KEY (user_id, ord_id) REFERENCES ord ON DELETE CASCADE
);
CREATE TABLE tag (user_id int NOT NULL, ord_id int, t text, FOREIGN KEY (user_id, ord_id) REFERENCES ord);
CREATE TABLE node (user_id int, id int, up int, PRIMARY KEY (user_id, id), FOREIGN KEY (user_id, up) REFERENCES node);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.rev := OLD.rev + 1; RETURN NEW; END $$;
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.rev := OLD.user_id; RETURN NEW; END $$;
CREATE TABLE fresh (user_id int REFERENCES usr, id int, rev int DEFAULT 0, PRIMARY KEY (user_id, id));
CREATE TRIGGER touch BEFORE UPDATE ON fresh FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE late (user_id int REFERENCES usr DEFERRABLE, id int, rev int DEFAULT 0);
CREATE TRIGGER see BEFORE UPDATE ON late FOR EACH ROW EXECUTE FUNCTION see();
CREATE TABLE keen (user_id int REFERENCES usr, id int, rev int DEFAULT 0);
CREATE TRIGGER see BEFORE UPDATE ON keen FOR EACH ROW EXECUTE FUNCTION see();
CREATE TABLE later (user_id int REFERENCES usr DEFERRABLE INITIALLY DEFERRED, id int);
CREATE TABLE bounded (user_id int REFERENCES usr, n int, CHECK (n < user_id));
CREATE TABLE cut (user_id int REFERENCES usr, part int, t text) PARTITION BY LIST (part);
CREATE TABLE cut_1 PARTITION OF cut FOR VALUES IN (1);
CREATE TABLE cut_2 PARTITION OF cut FOR VALUES IN (2);
CREATE TABLE logged (user_id int REFERENCES usr, id int);
CREATE TABLE log (user_id int, what text);
CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO log VALUES (coalesce(NEW.user_id, OLD.user_id), TG_OP); RETURN NULL;
END $$;
CREATE TRIGGER log AFTER INSERT OR DELETE ON logged FOR EACH ROW EXECUTE FUNCTION log();
CREATE TABLE boss (user_id int PRIMARY KEY);
CREATE TABLE clerk (user_id int REFERENCES boss ON UPDATE CASCADE);
";

const TABLES: [&str; 13] =
    ["usr", "ord", "lin", "tag", "node", "fresh", "late", "later", "bounded", "cut", "logged", "log", "keen"];

fn world() -> World {
    World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start()
}

/// Users from one number on, with rows of each kind.
async fn fill(pair: &mut Pair, first: i32) {
    for user in first..first + 8 {
        for sql in [
            format!("INSERT INTO usr VALUES ({user}, 'u')"),
            format!(
                "INSERT INTO ord (user_id, id, note) VALUES ({user}, 1, 'a'), ({user}, 2, 'b'), ({user}, {user} + 10, 'c')"
            ),
            format!("INSERT INTO lin VALUES ({user}, 1, {user} + 10, 5), ({user}, 1, {user} + 1010, 6)"),
            format!("INSERT INTO tag VALUES ({user}, 2, 't')"),
            format!(
                "INSERT INTO node VALUES ({user}, {user}, NULL), ({user}, {user}0, {user}), ({user}, {user}1, {user}0)"
            ),
            format!("INSERT INTO fresh VALUES ({user}, {user})"),
            format!("INSERT INTO late VALUES ({user}, 1)"),
            format!("INSERT INTO keen VALUES ({user}, 1)"),
            format!("INSERT INTO later VALUES ({user}, 1)"),
            format!("INSERT INTO bounded VALUES ({user}, {user} - 1)"),
            format!("INSERT INTO cut VALUES ({user}, 1, 'a'), ({user}, 2, 'b')"),
            format!("INSERT INTO logged VALUES ({user}, 1)"),
        ] {
            pair.both(&sql).await;
        }
    }
}

async fn all_the_same(pair: &mut Pair, world: &World) {
    for table in TABLES {
        holds_the_same(pair, table).await;
        all_at_home(world, table);
    }
}

/// What an error says, but for its place.
fn said(reply: &Reply) -> Option<Vec<Option<String>>> {
    reply.error().map(|error| "CMDHstcn".chars().map(|field| error.field(field)).collect())
}

#[tokio::test]
async fn rows_move_to_parents_on_other_shards() {
    let world = &world();
    let mut pair = Pair::of(world).await;
    fill(&mut pair, 100).await;
    let statements = [
        "UPDATE ord SET user_id = 101 WHERE user_id = 100 AND id = 110",
        "UPDATE ord SET user_id = 102, note = note || user_id, made = 'epoch' WHERE user_id = 101 AND id = 110 RETURNING *",
        "UPDATE ord o SET user_id = 103 WHERE o.id = 110 AND o.user_id = 102 RETURNING o.user_id, o.twice AS t, upper(o.note)",
        "UPDATE ord SET user_id = '104' WHERE id = 110 AND user_id IN (102, 103) AND note LIKE 'c1%' RETURNING ord.twice, public.ord.id",
        "UPDATE ord SET user_id = 105 FROM usr u WHERE u.user_id = ord.user_id AND u.user_id = 104 AND id = 110 AND ord.note = 'c101'",
        // There is no such parent.
        "UPDATE ord SET user_id = 999 WHERE user_id = 105 AND id = 110",
        // It is there already.
        "INSERT INTO ord (user_id, id) VALUES (106, 110)",
        "UPDATE ord SET user_id = 106 WHERE user_id = 105 AND id = 110",
        // Others refer to it, by ON DELETE CASCADE and by nothing.
        "UPDATE ord SET user_id = 106 WHERE user_id = 105 AND id = 1",
        "UPDATE ord SET user_id = 106 WHERE user_id = 105 AND id = 2",
        "UPDATE ord SET user_id = 998 WHERE user_id = 105 AND id = 1",
        "UPDATE lin SET user_id = 106 WHERE user_id = 105 AND n = 115",
        "UPDATE lin SET user_id = 106 WHERE user_id = 105 RETURNING n",
        "UPDATE lin SET user_id = 107, qty = 50 WHERE user_id = 104 AND n = 114",
        "DELETE FROM lin WHERE user_id = 105",
        "DELETE FROM ord WHERE user_id = 106 AND id IN (1, 110)",
        "UPDATE ord SET user_id = 106 WHERE user_id = 105 AND id = 1 RETURNING id",
        "UPDATE ord SET user_id = 107, note = 'much too long' WHERE user_id = 106 AND id = 1",
        "UPDATE ord SET user_id = 107, note = 'x' || 1 / (id - 1) WHERE user_id = 106 AND id = 1",
        "UPDATE ord SET user_id = 'x' WHERE user_id = 106",
        "UPDATE ord SET user_id = 107 WHERE user_id = 106 AND nothing = 1",
        "UPDATE ord SET user_id = 107, twice = 1 WHERE user_id = 106",
        "UPDATE tag SET user_id = 106, t = 'moved' WHERE ord_id = 2 AND user_id = 100 RETURNING t",
        "UPDATE tag SET user_id = 104 RETURNING user_id, ord_id",
        "UPDATE usr SET user_id = 200 WHERE user_id = 107",
        "UPDATE fresh SET user_id = 103 WHERE id < 106 RETURNING *",
        "UPDATE fresh SET user_id = 997 WHERE id = 100",
        "UPDATE late SET user_id = 106 WHERE user_id < 105 RETURNING *",
        "UPDATE late SET user_id = user_id - 1",
        "UPDATE late SET user_id = user_id + 100 WHERE user_id = 104 RETURNING id",
        "UPDATE later SET user_id = user_id - 1 WHERE user_id > 100",
        "UPDATE later SET user_id = 105",
        "UPDATE later SET user_id = 996",
        "UPDATE bounded SET user_id = 107 WHERE n < 104",
        "UPDATE bounded SET user_id = 100 WHERE n = 106",
        "UPDATE cut SET user_id = 104 WHERE user_id < 104 RETURNING *",
        "UPDATE cut_1 SET user_id = 105 WHERE user_id = 104",
        "UPDATE cut SET user_id = 995 WHERE part = 1",
        "UPDATE logged SET user_id = 102 RETURNING *",
        "INSERT INTO ord (user_id, id, note) VALUES (100, 4, 'x'), (101, 4, 'y'), (102, 4, 'z')",
        "UPDATE ord SET user_id = user_id + 4 WHERE id = 4 RETURNING *",
        "UPDATE ord SET user_id = user_id - 3, kind = NULL, note = user_id || note WHERE id = 4 RETURNING ord.*",
        "UPDATE ord x SET user_id = x.user_id + x.id FROM usr WHERE usr.user_id = x.user_id AND x.id = 4",
        "UPDATE ord SET user_id = usr.user_id - 5 FROM usr WHERE usr.user_id = ord.user_id AND ord.id = 4 AND ord.user_id = 105",
        "UPDATE ord SET user_id = user_id + 50 WHERE user_id = 101 AND id = 1",
        "UPDATE ord SET user_id = user_id + 1000 WHERE id = 4 AND user_id = 100",
        "UPDATE ord SET user_id = note WHERE id = 4",
        "UPDATE ord SET user_id = user_id + 1 WHERE false RETURNING *",
        "UPDATE tag SET user_id = CASE WHEN t = 'moved' THEN 101 ELSE user_id END RETURNING *",
        "UPDATE cut SET user_id = 207 - user_id WHERE user_id > 100 RETURNING part",
        "UPDATE cut_2 SET user_id = user_id * 1.0 WHERE user_id < 104",
        "UPDATE logged SET user_id = 100 + id RETURNING user_id",
    ];
    let mut worked = 0;
    for (n, sql) in statements.iter().enumerate() {
        let (got, expected) = (ask(&mut pair.proxy, sql).await, ask(&mut pair.single, sql).await);
        assert_eq!(said(&got), said(&expected), "{sql}: {got:?}");
        assert_eq!(
            comparable(crate::reads::world::said(&got), false).ok(),
            comparable(crate::reads::world::said(&expected), false).ok(),
            "{n}: {sql}"
        );
        worked += usize::from(got.error().is_none());
        holds_the_same(
            &mut pair,
            sql.split(' ').nth(1).filter(|word| TABLES.contains(word)).unwrap_or("lin"),
        )
        .await;
    }
    all_the_same(&mut pair, world).await;
    assert!(worked > 26, "{worked}");
}

#[tokio::test]
async fn trees_move_whole_or_not_at_all() {
    let world = &world();
    let mut pair = Pair::of(world).await;
    fill(&mut pair, 300).await;
    for sql in [
        "UPDATE node SET user_id = 302 WHERE user_id = 301",
        "UPDATE node SET user_id = 303 WHERE user_id IN (300, 304) RETURNING *",
        "UPDATE node SET user_id = 305 WHERE user_id = 306 AND up IS NULL",
        "UPDATE node SET user_id = 305 WHERE user_id = 306 AND up IS NOT NULL",
        "UPDATE node SET user_id = 305, up = NULL WHERE id = 30700",
        "UPDATE node SET user_id = 1 WHERE user_id = 307 AND id = 3071",
        "UPDATE node SET user_id = 307, up = 307 WHERE user_id = 302 AND id = 3011",
    ] {
        let got = asked(&mut pair.proxy, sql, &[], Way::Simple).await;
        // Its new parent has to be told together with the key, which can't be shown to be right half-way.
        if got.as_ref().is_err_and(|(code, _)| code == "0A000") {
            assert!(sql.contains("up ="), "{sql}: {got:?}");
            continue;
        }
        let expected = asked(&mut pair.single, sql, &[], Way::Simple).await;
        assert_eq!(comparable(got, false), comparable(expected, false), "{sql}");
        holds_the_same(&mut pair, "node").await;
    }
    all_the_same(&mut pair, world).await;
}

#[tokio::test]
async fn parameters_and_formats_of_rows_that_leave() {
    let world = &world();
    let mut pair = Pair::of(world).await;
    fill(&mut pair, 500).await;
    let text = [Param::Text("501"), Param::Text("500"), Param::Text("x")];
    let binary =
        [Param::Binary(&502i32.to_be_bytes()), Param::Binary(&501i32.to_be_bytes()), Param::Text("y")];
    for way in [Way::Text, Way::Binary] {
        for params in [&text, &binary] {
            let sql = "UPDATE ord SET note = $3, user_id = $1 WHERE user_id = $2 AND id = 510 RETURNING note, user_id, made";
            both(&mut pair, sql, params, way, false).await;
        }
        let sql =
            "UPDATE fresh SET user_id = $1 WHERE user_id <> $1 AND id BETWEEN $2 AND $2 + 3 RETURNING *";
        both(&mut pair, sql, &[Param::Text("505"), Param::Text("500")], way, false).await;
        both(&mut pair, sql, &[Param::Binary(&506i32.to_be_bytes()), Param::Text("503")], way, false).await;
        both(
            &mut pair,
            "UPDATE fresh SET user_id = $1::int WHERE id = 507",
            &[Param::Text("504")],
            way,
            false,
        )
        .await;
        let sql = "UPDATE tag SET user_id = user_id + $1, t = $2 WHERE user_id = $3 AND ord_id > $1 RETURNING user_id, t";
        let binary =
            [Param::Binary(&1i32.to_be_bytes()), Param::Text("t"), Param::Binary(&503i32.to_be_bytes())];
        both(&mut pair, sql, &binary, way, false).await;
        both(&mut pair, sql, &[Param::Text("1"), Param::Text("u"), Param::Text("504")], way, false).await;
        both(&mut pair, "UPDATE tag SET user_id = nullif(user_id, $1)", &[Param::Text("504")], way, false)
            .await;
    }
    same(&mut pair, "UPDATE lin SET user_id = 504, qty = 500 WHERE user_id = 503", Way::Simple).await;
    all_the_same(&mut pair, world).await;
    for client in [&mut pair.proxy, &mut pair.single] {
        for sql in
            ["BEGIN", "SET CONSTRAINTS ALL IMMEDIATE", "UPDATE later SET user_id = 506 WHERE user_id = 505"]
        {
            let reply = ask(client, sql).await;
            assert!(reply.error().is_none(), "{sql}: {reply:?}");
        }
        let failed = ask(client, "UPDATE later SET user_id = 994 WHERE user_id = 506").await;
        assert_eq!(super::code(&failed), "23503", "{failed:?}");
        ask(client, "ROLLBACK").await;
        ask(
            client,
            "PREPARE go AS UPDATE ord SET user_id = $1 WHERE user_id = 502 AND id = 510 RETURNING id",
        )
        .await;
        let moved = ask(client, "EXECUTE go (503)").await;
        assert_eq!(moved.commands(), ["UPDATE 1"], "{moved:?}");
    }
    all_the_same(&mut pair, world).await;
}

#[tokio::test]
async fn what_can_not_be_shown_to_be_right_is_refused() {
    let world = world();
    let mut pair = Pair::of(&world).await;
    for (sql, why) in [
        ("UPDATE ord SET (user_id, id) = (2, 3)", "columns are set by a list"),
        ("UPDATE ord SET user_id = length(note), note = 'x'", "depends on more than columns that stay"),
        ("UPDATE ord SET user_id = twice", "depends on more than columns that stay"),
        (
            "UPDATE ord o SET user_id = length(to_jsonb(o)->>'note'), note = 'x'",
            "depends on more than columns that stay",
        ),
        (
            "UPDATE ord SET user_id = length(row_to_json(ord.*)::text), note = 'x'",
            "depends on more than columns that stay",
        ),
        ("UPDATE fresh SET user_id = user_id + 1", "triggers of UPDATE would fire again"),
        ("UPDATE node SET user_id = user_id + 1", "rows refer to others of the same table"),
        ("UPDATE ord SET user_id = 2, id = 7 WHERE id = 5", "together with other columns"),
        ("UPDATE bounded SET user_id = 9, n = 3", "together with other columns"),
        ("UPDATE lin SET user_id = 9, ord_id = 3", "together with other columns"),
        ("UPDATE keen SET user_id = 3", "triggers of UPDATE may look at the key"),
        (
            "UPDATE ord SET user_id = 3 FROM usr WHERE usr.user_id = ord.user_id RETURNING usr.name",
            "RETURNING takes more than the columns of the new row",
        ),
        ("UPDATE boss SET user_id = 3", "ON UPDATE CASCADE"),
    ] {
        let refused = ask(&mut pair.proxy, sql).await;
        assert_eq!(super::code(&refused), "0A000", "{sql}: {refused:?}");
        let message = refused.error().and_then(|error| error.field('M')).unwrap_or_default();
        assert!(message.contains(why), "{sql}: {message}");
    }
}

/// A row's columns that an UPDATE may set beside its key.
fn beside(rng: &mut StdRng, choices: &[&str]) -> String {
    choices[rng.random_range(0..choices.len())].to_owned()
}

fn made_up(rng: &mut StdRng, n: usize) -> String {
    let (from, to) = (rng.random_range(1..9), rng.random_range(1..11));
    let kind = rng.random_range(0..4);
    // Rows that take over each other's keys are an error or not by their order.
    let one = matches!(kind, 0 | 2);
    let condition = match kind {
        0 => format!("x.user_id = {from}"),
        1 => format!("x.user_id IN ({from}, {})", from % 8 + 1),
        2 => format!("coalesce(x.user_id, 0) = {from}"),
        _ => format!("x.user_id > {from}"),
    };
    let table = ["ord", "lin", "tag", "node", "fresh", "late", "later", "cut", "logged", "usr"][n % 10];
    let key = match table {
        "late" | "later" | "logged" | "tag" | "cut" if rng.random_range(0..2) == 0 => {
            "9 - x.user_id".to_owned()
        }
        "ord" | "lin" if one && rng.random_range(0..2) == 0 => {
            format!("x.user_id % 8 + {}", rng.random_range(1..3))
        }
        _ => to.to_string(),
    };
    let narrow = match table {
        "ord" => format!(" AND x.id = {}", [1, 2, from + 10, to + 10][rng.random_range(0..4)]),
        "fresh" => format!(" AND x.id = {}", rng.random_range(1..9)),
        "lin" => format!(" AND x.n > {}", rng.random_range(0..19)),
        _ => String::new(),
    };
    let rest = match table {
        "ord" => beside(rng, &["", ", note = left(note || 'x', 8)", ", kind = NULL", ", kind = 9"]),
        "lin" => beside(rng, &["", ", qty = qty + 1", ", qty = qty * 30"]),
        "tag" | "cut" => beside(rng, &["", ", t = left(t || x.user_id, 20)"]),
        _ => String::new(),
    };
    let returning = ["", " RETURNING *", " RETURNING x.user_id + 1 AS more"][rng.random_range(0..3)];
    format!("UPDATE {table} x SET user_id = {key}{rest} WHERE {condition}{narrow}{returning}")
}

#[tokio::test]
async fn moves_made_up_at_random_keep_every_reference() {
    let world = &world();
    let mut pair = Pair::of(world).await;
    fill(&mut pair, 1).await;
    let seed = seed(5);
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut worked, mut failed) = (0, 0);
    for n in 0..240 {
        let sql = made_up(&mut rng, n);
        let way = [Way::Simple, Way::Text, Way::Binary][n % 3];
        let got = asked(&mut pair.proxy, &sql, &[], way).await;
        let expected = asked(&mut pair.single, &sql, &[], way).await;
        match (got, expected) {
            // Which of several rows is found to be wrong first is not the same.
            (Err((got, _)), Err((expected, _))) if got[..2] == expected[..2] => failed += 1,
            (got, expected) => {
                worked += usize::from(got.is_ok());
                assert_eq!(comparable(got, false), comparable(expected, false), "{n} of seed {seed}: {sql}");
            }
        }
        if n % 12 == 11 {
            for table in TABLES {
                holds_the_same(&mut pair, table).await;
            }
            let user = rng.random_range(1..9);
            for sql in [
                format!("INSERT INTO ord (user_id, id) VALUES ({user}, {n})"),
                format!("INSERT INTO later VALUES ({user}, {n})"),
                format!("DELETE FROM lin WHERE user_id = {user}"),
            ] {
                same(&mut pair, &sql, Way::Simple).await;
            }
        }
    }
    all_the_same(&mut pair, world).await;
    assert!(worked > 60 && failed > 20, "{worked} worked, {failed} failed");
}
