//! UPDATE of the sharding key on tables with triggers: those of UPDATE fire as on one Postgres, those of INSERT and DELETE
//! don't fire at all, and what a trigger adds to other tables is on its key's shard.

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardway_tests::{RawClient, SharedWorld, World};

use super::moves::all_at_home;
use super::pair::{holds_the_same, same};
use super::{ask, code, seed};
use crate::reads::world::{Pair, Way};

const SCHEMA: &str = "
CREATE TABLE trail (user_id int, id int, what text);
CREATE TABLE tally (user_id int PRIMARY KEY, n int);
CREATE TABLE deed (user_id int, id int, t text, rev int DEFAULT 0, PRIMARY KEY (user_id, id));
CREATE FUNCTION done() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF TG_OP = 'DELETE' THEN INSERT INTO trail VALUES (OLD.user_id, OLD.id, 'gone'); RETURN NULL; END IF;
  INSERT INTO trail (id, what, user_id) VALUES (NEW.id, TG_OP || NEW.t, NEW.user_id);
  RETURN NULL;
END $$;
CREATE TRIGGER a_done AFTER INSERT OR UPDATE OR DELETE ON deed FOR EACH ROW EXECUTE FUNCTION done();
CREATE FUNCTION was() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  UPDATE tally SET n = n + 1 WHERE user_id = OLD.user_id;
  INSERT INTO trail VALUES (OLD.user_id, OLD.id, 'was ' || OLD.t);
  RETURN NULL;
END $$;
CREATE TRIGGER b_was AFTER UPDATE OF user_id ON deed FOR EACH ROW EXECUTE FUNCTION was();
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.rev := OLD.rev + 1; RETURN NEW; END $$;
CREATE TRIGGER c_touch BEFORE UPDATE ON deed FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE NOTICE '% %', TG_OP, TG_LEVEL;
  RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER d_shout BEFORE INSERT OR DELETE ON deed FOR EACH STATEMENT EXECUTE FUNCTION shout();
CREATE TRIGGER e_shout AFTER INSERT OR DELETE ON deed FOR EACH ROW EXECUTE FUNCTION shout();
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER f_skip BEFORE INSERT OR DELETE ON deed FOR EACH ROW WHEN (pg_trigger_depth() > 9) EXECUTE FUNCTION skip();

CREATE TABLE kept (user_id int, id int);
CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'forbidden'; END $$;
CREATE TRIGGER off BEFORE INSERT ON kept FOR EACH ROW EXECUTE FUNCTION forbid();
ALTER TABLE kept DISABLE TRIGGER off;
CREATE TRIGGER always BEFORE DELETE ON kept FOR EACH STATEMENT EXECUTE FUNCTION forbid();
ALTER TABLE kept ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER replica AFTER INSERT ON kept FOR EACH ROW EXECUTE FUNCTION forbid();
ALTER TABLE kept ENABLE REPLICA TRIGGER replica;
CREATE TRIGGER \"On\" AFTER DELETE ON kept FOR EACH ROW EXECUTE FUNCTION forbid();

CREATE TABLE plain (user_id int, id int);
CREATE TRIGGER watch AFTER DELETE ON plain FOR EACH ROW EXECUTE FUNCTION forbid();

CREATE TABLE cut (user_id int, part int, t text) PARTITION BY LIST (part);
CREATE TABLE cut_1 PARTITION OF cut FOR VALUES IN (1);
CREATE TABLE cut_2 PARTITION OF cut FOR VALUES IN (2);
CREATE TABLE cut_trail (user_id int, id int, what text);
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO cut_trail VALUES (coalesce(NEW.user_id, OLD.user_id), TG_NARGS, TG_OP || TG_NAME); RETURN NULL;
END $$;
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON cut FOR EACH ROW EXECUTE FUNCTION cut();
CREATE TRIGGER b AFTER DELETE ON cut_2 FOR EACH STATEMENT EXECUTE FUNCTION forbid();

CREATE TABLE coin (user_id int, n int);
CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  UPDATE tally SET n = n + NEW.n WHERE user_id = NEW.user_id; RETURN NULL;
END $$;
CREATE TRIGGER count AFTER UPDATE ON coin FOR EACH ROW EXECUTE FUNCTION counts();
CREATE TABLE early (user_id int, n int);
CREATE TRIGGER early BEFORE UPDATE ON early FOR EACH ROW EXECUTE FUNCTION done();
CREATE TABLE bound (user_id int REFERENCES tally, n int);
CREATE TABLE source (user_id int, n int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO bound VALUES (NEW.user_id, NEW.n); RETURN NULL;
END $$;
CREATE TRIGGER note AFTER UPDATE ON source FOR EACH ROW EXECUTE FUNCTION note();

CREATE TABLE walled (user_id int, n int);
ALTER TABLE walled ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON walled USING (n > 0);
";

static WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start());

/// The states of a table's triggers, on every shard.
fn states(table: &str) -> Vec<String> {
    WORLD.everywhere(&format!(
        "SELECT string_agg(tgrelid::regclass || '.' || tgname || tgenabled::text, ' ' ORDER BY tgrelid::regclass::text, tgname) FROM pg_trigger
         WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE '{table}%'"
    ))
}

/// What both were told of while they ran it.
async fn notices(client: &mut RawClient, sql: &str) -> Vec<String> {
    let reply = ask(client, sql).await;
    assert!(reply.error().is_none(), "{sql}: {reply:?}");
    reply.of('N').filter_map(|notice| notice.field('M')).collect()
}

#[tokio::test]
async fn triggers_of_update_fire_and_those_of_insert_and_delete_do_not() {
    let mut pair = Pair::of(&WORLD).await;
    for user in 1..=9 {
        pair.both(&format!("INSERT INTO tally VALUES ({user}, 0)")).await;
        pair.both(&format!("INSERT INTO deed VALUES ({user}, 1, 'a')")).await;
        pair.both(&format!("INSERT INTO deed VALUES ({user}, 2, 'b')")).await;
    }
    let before = states("deed");
    for (n, sql) in [
        "UPDATE deed SET user_id = 20 WHERE user_id = 1 AND id = 1 RETURNING *",
        "UPDATE deed SET user_id = user_id + 30 WHERE id = 2 RETURNING user_id, rev",
        "UPDATE deed SET user_id = user_id + 60, t = t || 'x' WHERE id = 1",
        "UPDATE deed SET user_id = 5, id = user_id * 10 + id WHERE user_id > 5",
        "UPDATE deed SET user_id = user_id, t = 'same'",
        "UPDATE deed SET user_id = 77 WHERE user_id = 76",
        "UPDATE deed SET user_id = 5, id = 21 WHERE id > 600",
        "DELETE FROM deed WHERE user_id = 5",
        "INSERT INTO deed VALUES (50, 1, 'new')",
    ]
    .iter()
    .enumerate()
    {
        same(&mut pair, sql, [Way::Simple, Way::Binary, Way::Text][n % 3]).await;
        for table in ["deed", "trail", "tally"] {
            holds_the_same(&mut pair, table).await;
            all_at_home(&WORLD, table);
        }
    }
    assert_eq!(states("deed"), before);
    for sql in
        ["UPDATE deed SET user_id = user_id + 1 WHERE user_id = 50", "DELETE FROM deed WHERE user_id = 51"]
    {
        let told = notices(&mut pair.proxy, sql).await;
        assert_eq!(told, notices(&mut pair.single, sql).await);
        assert_eq!(told.is_empty(), sql.starts_with("UPDATE"), "{told:?}");
    }
}

#[tokio::test]
async fn triggers_are_enabled_again_as_they_were() {
    let mut pair = Pair::of(&WORLD).await;
    for user in 1..=6 {
        pair.both(&format!("INSERT INTO kept VALUES ({user}, 1)")).await;
    }
    let before = states("kept");
    assert!(before[0].contains("alwaysA") && before[0].contains("offD") && before[0].contains("replicaR"));
    same(&mut pair, "UPDATE kept SET user_id = user_id + 1 RETURNING id", Way::Simple).await;
    for client in [&mut pair.proxy, &mut pair.single] {
        ask(client, "BEGIN").await;
        assert_eq!(ask(client, "UPDATE kept SET user_id = user_id * 2").await.commands(), ["UPDATE 6"]);
        ask(client, "SAVEPOINT s").await;
        assert_eq!(ask(client, "UPDATE kept SET user_id = user_id + 9").await.commands(), ["UPDATE 6"]);
        ask(client, "ROLLBACK TO s").await;
        let failed = ask(client, "DELETE FROM kept WHERE user_id = 4").await;
        assert_eq!(code(&failed), "P0001", "{failed:?}");
        ask(client, "ROLLBACK").await;
        assert_eq!(ask(client, "UPDATE kept SET user_id = user_id + 100").await.commands(), ["UPDATE 6"]);
    }
    holds_the_same(&mut pair, "kept").await;
    all_at_home(&WORLD, "kept");
    assert_eq!(states("kept"), before);
}

#[tokio::test]
async fn partitions_have_triggers_of_their_own() {
    let mut pair = Pair::of(&WORLD).await;
    for user in 200..206 {
        pair.both(&format!("INSERT INTO cut VALUES ({user}, 1, 'a')")).await;
        pair.both(&format!("INSERT INTO cut VALUES ({user}, 2, 'b')")).await;
    }
    let before = states("cut");
    for sql in [
        "UPDATE cut SET user_id = user_id + 7 RETURNING *",
        "UPDATE cut_2 SET user_id = 300 WHERE user_id = 207",
        "UPDATE cut SET user_id = 301, t = 'c' WHERE user_id > 210",
    ] {
        same(&mut pair, sql, Way::Simple).await;
        for table in ["cut", "cut_2", "cut_trail"] {
            holds_the_same(&mut pair, table).await;
        }
        all_at_home(&WORLD, "cut");
        all_at_home(&WORLD, "cut_trail");
    }
    let seed = seed(3);
    let mut rng = StdRng::seed_from_u64(seed);
    for n in 0..60 {
        let (from, to) = (rng.random_range(200..210), rng.random_range(200..210));
        let key = [to.to_string(), "409 - user_id".to_owned(), "user_id + 1".to_owned()][n % 3].clone();
        let rest =
            ["", ", part = 3 - part", ", t = t || part", ", part = 1, t = user_id"][rng.random_range(0..4)];
        let at = [format!("user_id = {from}"), format!("user_id > {from}"), "part = 2".to_owned()];
        let at = &at[rng.random_range(0..3)];
        let sql = match n % 10 {
            7 => format!("INSERT INTO cut VALUES ({from}, {}, 'n')", n / 7 % 2 + 1),
            9 => format!("DELETE FROM cut WHERE user_id = {from}"),
            _ => format!("UPDATE cut SET user_id = {key}{rest} WHERE {at} RETURNING *"),
        };
        let told = same(&mut pair, &sql, [Way::Simple, Way::Binary, Way::Text][n % 3]).await;
        assert!(told.0.is_ok(), "{n} of seed {seed}: {sql}: {told:?}");
        for table in ["cut", "cut_trail"] {
            holds_the_same(&mut pair, table).await;
        }
    }
    all_at_home(&WORLD, "cut");
    all_at_home(&WORLD, "cut_trail");
    assert_eq!(states("cut"), before);
}

#[tokio::test]
async fn what_a_trigger_would_miss_on_the_old_shard_is_refused() {
    let mut pair = Pair::of(&WORLD).await;
    for (sql, why) in [
        ("UPDATE coin SET user_id = user_id + 1", "may look for rows of the new key"),
        ("UPDATE early SET user_id = user_id + 1", "may look for rows of the new key"),
        ("UPDATE source SET user_id = user_id + 1", "a foreign key on the sharding key that is not deferred"),
    ] {
        let refused = ask(&mut pair.proxy, sql).await;
        let message = refused.error().and_then(|error| error.field('M')).unwrap_or_default();
        assert_eq!(code(&refused), "0A000", "{sql}: {refused:?}");
        assert!(message.contains(why), "{sql}: {message}");
    }
    pair.both("UPDATE coin SET n = n + 1").await;
}

#[tokio::test]
async fn who_may_not_quieten_triggers_is_told_what_to_grant() {
    let world = &*WORLD;
    let mut owner = world.raw("app").await;
    for user in 1..=6 {
        ask(&mut owner, &format!("INSERT INTO plain VALUES ({user}, {user})")).await;
        ask(&mut owner, &format!("INSERT INTO walled VALUES ({user}, {user})")).await;
    }
    let mut other = world.raw("md5user").await;
    let move_all = "UPDATE plain SET user_id = user_id + 1";
    let refused = ask(&mut other, move_all).await;
    assert_eq!(code(&refused), "0A000", "{refused:?}");
    let message = refused.error().and_then(|error| error.field('M')).unwrap_or_default();
    assert!(message.contains("SET ON PARAMETER session_replication_role"), "{message}");
    for server in 0..2 {
        let grant = "GRANT SET ON PARAMETER session_replication_role TO md5user";
        world.server(server).sql("postgres", grant).unwrap();
    }
    assert_eq!(ask(&mut other, move_all).await.commands(), ["UPDATE 6"]);
    all_at_home(world, "plain");
    let role = ask(&mut other, "SHOW session_replication_role").await;
    assert_eq!(role.texts().0, [[Some("origin".to_owned())]]);
    assert_eq!(code(&ask(&mut other, "DELETE FROM plain WHERE user_id = 4").await), "P0001");
    assert_eq!(ask(&mut owner, move_all).await.commands(), ["UPDATE 6"]);
    all_at_home(world, "plain");

    // Row security does not hold for the table's owner.
    let move_all = "UPDATE walled SET user_id = user_id + 1, n = -n";
    let refused = ask(&mut other, move_all).await;
    assert_eq!(code(&refused), "0A000", "{refused:?}");
    assert_eq!(ask(&mut owner, move_all).await.commands(), ["UPDATE 6"]);
    all_at_home(world, "walled");
}
