//! What tables do by themselves: triggers, rules, policies and defaults that would see or change one shard's rows alone.

use shardway_tests::{RawClient, SharedWorld, World};

use super::{ask, code};
use crate::operation::support::key_on;

const SCHEMA: &str = "
CREATE TABLE pol (user_id int, ok bool);
CREATE TABLE log (id int, what text);
CREATE TABLE lookup (id int PRIMARY KEY, name text);
CREATE TABLE counter (n int);
CREATE TABLE plain (user_id int PRIMARY KEY, n int);

CREATE TABLE audited (user_id int, n int);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO log VALUES (1, TG_OP); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON audited FOR EACH ROW EXECUTE FUNCTION audit();

CREATE TABLE moved (user_id int, n int);
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.user_id := new.n; RETURN new; END $$;
CREATE TRIGGER move BEFORE INSERT ON moved FOR EACH ROW EXECUTE FUNCTION move();

CREATE TABLE ruled (user_id int, n int);
CREATE RULE along AS ON INSERT TO ruled DO ALSO INSERT INTO log VALUES (new.n, 'rule');

CREATE FUNCTION bump() RETURNS int LANGUAGE sql AS 'UPDATE counter SET n = n + 1 RETURNING n';
CREATE FUNCTION bump_atomic() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT bump(); END;
CREATE TABLE numbered (user_id int, n int DEFAULT bump(), m int DEFAULT bump_atomic());

CREATE TABLE guarded (user_id int, n int);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (exists (SELECT 1 FROM pol WHERE ok));
CREATE TABLE joined (user_id int, n int);
ALTER TABLE joined ENABLE ROW LEVEL SECURITY;
ALTER TABLE joined FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON joined USING (exists (SELECT 1 FROM pol WHERE ok AND pol.user_id = joined.user_id));

CREATE TABLE told (user_id int, n int);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'told'; RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR TRUNCATE ON told FOR EACH STATEMENT EXECUTE FUNCTION tell();

CREATE TABLE mailed (user_id int, id bigserial PRIMARY KEY, mail text UNIQUE);
CREATE TABLE tagged (user_id int, id uuid PRIMARY KEY DEFAULT gen_random_uuid());

CREATE TABLE parent (user_id int PRIMARY KEY);
CREATE TABLE child (user_id int REFERENCES parent ON DELETE CASCADE);
CREATE TRIGGER audit AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION audit();

CREATE TABLE parted (user_id int, part int, n int, m int) PARTITION BY LIST (part);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
CREATE TRIGGER audit AFTER INSERT ON parted_2 FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TABLE folded (user_id int, part text, n int) PARTITION BY LIST (lower(part));
CREATE TABLE folded_1 PARTITION OF folded FOR VALUES IN ('a');
CREATE TRIGGER audit AFTER DELETE ON folded_1 FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TABLE shifted (user_id int, part int, n int) PARTITION BY LIST (part);
CREATE TABLE shifted_1 PARTITION OF shifted FOR VALUES IN (1);
CREATE TRIGGER audit AFTER INSERT ON shifted_1 FOR EACH ROW EXECUTE FUNCTION audit();
CREATE FUNCTION shift() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.part := new.n; RETURN new; END $$;
CREATE TRIGGER shift BEFORE UPDATE ON shifted FOR EACH ROW EXECUTE FUNCTION shift();

CREATE TABLE kept (user_id int PRIMARY KEY, n int, name text);
CREATE TABLE history (user_id int, n int);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  SELECT name INTO new.name FROM lookup WHERE id = new.n;
  INSERT INTO history (user_id, n) VALUES (new.user_id, new.n);
  RETURN coalesce(new, old);
END $$;
CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION keep();
";

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

#[track_caller]
fn message(reply: &shardway_tests::Reply) -> String {
    assert_eq!(code(reply), "0A000", "{reply:?}");
    reply.error().and_then(|error| error.field('M')).unwrap_or_default()
}

async fn refused(client: &mut RawClient, sql: &str, why: &str) {
    let message = message(&ask(client, sql).await);
    assert!(message.contains(why), "{sql}: {message}");
}

async fn runs(client: &mut RawClient, sql: &str, tag: &str) {
    let reply = ask(client, sql).await;
    assert_eq!(reply.commands(), [tag], "{sql}: {reply:?}");
}

#[tokio::test]
async fn a_trigger_that_writes_a_reference_table_is_refused() {
    let mut client = WORLD.raw("app").await;
    let why = "trigger \"audit\" writes to \"log\", a reference table";
    for sql in [
        "INSERT INTO audited VALUES (1, 1)",
        "INSERT INTO audited VALUES (1, 1), (2, 1), (3, 1)",
        "INSERT INTO audited SELECT user_id, n FROM plain",
        "INSERT INTO audited SELECT user_id + 1, n FROM plain",
        "UPDATE audited SET n = 2 WHERE user_id = 1",
        "UPDATE audited SET n = 2",
        "COPY audited FROM STDIN",
        "MERGE INTO audited a USING plain p ON a.user_id = p.user_id WHEN MATCHED THEN UPDATE SET n = 1",
    ] {
        refused(&mut client, sql, why).await;
    }
    // It is no trigger of DELETE, nor of reads.
    runs(&mut client, "DELETE FROM audited", "DELETE 0").await;
    runs(&mut client, "SELECT FROM audited", "SELECT 0").await;
    refused(
        &mut client,
        "DELETE FROM parent WHERE user_id = 1",
        "it changes \"child\", whose trigger \"audit\"",
    )
    .await;
    runs(&mut client, "INSERT INTO parent VALUES (1), (2), (3)", "INSERT 0 3").await;
    // Who says which shard is told so.
    runs(&mut client, "/* shard: 0 */ UPDATE audited SET n = 2", "UPDATE 0").await;
    assert_eq!(WORLD.everywhere("SELECT count(*) FROM log WHERE what <> 'rule'"), ["0", "0"]);
    WORLD.proxy().wait_for_log("table public.audited: writes are refused where they set it off: trigger");
}

#[tokio::test]
async fn a_trigger_that_sets_the_key_is_refused() {
    let mut client = WORLD.raw("app").await;
    let why = "trigger \"move\" may set \"user_id\", the sharding key";
    refused(&mut client, "INSERT INTO moved VALUES (1, 2)", why).await;
    refused(&mut client, "INSERT INTO moved SELECT user_id, n FROM plain", why).await;
    runs(&mut client, "UPDATE moved SET n = 3", "UPDATE 0").await;
    // It does not fire for a row that moves.
    runs(&mut client, "UPDATE moved SET user_id = 4", "UPDATE 0").await;
}

#[tokio::test]
async fn an_update_that_may_bring_rows_to_another_partition_sets_off_triggers_of_insert_and_delete() {
    let mut client = WORLD.raw("app").await;
    let why = "trigger \"audit\" writes to \"log\", a reference table";
    for sql in [
        "UPDATE parted SET part = 2 WHERE user_id = 1",
        "UPDATE parted SET (n, part) = (1, 2)",
        "UPDATE parted SET user_id = 2 WHERE user_id = 1",
        "MERGE INTO parted p USING plain q ON p.user_id = q.user_id WHEN MATCHED THEN UPDATE SET part = 2",
        "UPDATE folded SET n = 1 WHERE user_id = 1",
        "UPDATE shifted SET n = 1 WHERE user_id = 1",
    ] {
        refused(&mut client, sql, why).await;
    }
    runs(&mut client, "UPDATE parted SET n = 2, m = part", "UPDATE 0").await;
    runs(&mut client, "DELETE FROM shifted", "DELETE 0").await;
}

#[tokio::test]
async fn a_rule_that_writes_a_reference_table_is_refused() {
    let mut client = WORLD.raw("app").await;
    refused(&mut client, "INSERT INTO ruled VALUES (1, 2)", "rule \"along\" writes to \"log\"").await;
    runs(&mut client, "UPDATE ruled SET n = 2", "UPDATE 0").await;
    assert_eq!(WORLD.everywhere("SELECT count(*) FROM log WHERE what = 'rule'"), ["0", "0"]);
}

#[tokio::test]
async fn a_default_that_writes_is_refused_where_it_is_needed() {
    let mut client = WORLD.raw("app").await;
    let why = "writes to \"counter\"";
    for sql in [
        "INSERT INTO numbered (user_id, m) VALUES (1, 1)",
        "INSERT INTO numbered (user_id, n) VALUES (1, 1)",
        "INSERT INTO numbered VALUES (1, DEFAULT, 1)",
        "INSERT INTO numbered VALUES (1, 1)",
        "INSERT INTO numbered (user_id, m) SELECT user_id, n FROM plain",
        "UPDATE numbered SET n = DEFAULT WHERE user_id = 1",
        "COPY numbered (user_id, n) FROM STDIN",
    ] {
        refused(&mut client, sql, why).await;
    }
    runs(&mut client, "INSERT INTO numbered VALUES (1, 2, 3), (2, 3, 4), (3, 4, 5)", "INSERT 0 3").await;
    runs(&mut client, "UPDATE numbered SET n = 2", "UPDATE 3").await;
}

#[tokio::test]
async fn a_policy_that_reads_rows_of_other_shards_is_refused_and_one_by_the_key_is_not() {
    let mut client = WORLD.raw("app").await;
    let why = "policy \"p\" reads \"pol\"";
    for sql in [
        "SELECT * FROM guarded WHERE user_id = 1",
        "SELECT count(*) FROM guarded",
        "SELECT 1 FROM plain p JOIN guarded g USING (user_id)",
        "UPDATE guarded SET n = 1 WHERE user_id = 1",
        "DELETE FROM guarded",
        "INSERT INTO guarded VALUES (1, 1)",
        "COPY guarded TO STDOUT",
    ] {
        refused(&mut client, sql, why).await;
    }
    let keys = [0, 1].map(|shard| key_on(shard, 2));
    for (shard, key) in keys.iter().enumerate() {
        WORLD.shard(shard).sql(&format!(
            "INSERT INTO pol VALUES ({key}, {}); INSERT INTO joined VALUES ({key}, 7)",
            shard == 1
        ));
    }
    assert_eq!(
        ask(&mut client, "SELECT user_id FROM joined").await.texts(),
        [[Some(keys[1].to_string().as_str())]]
    );
    runs(&mut client, "UPDATE joined SET n = 8", "UPDATE 1").await;
}

#[tokio::test]
async fn a_trigger_of_statements_fires_once_or_not_at_all() {
    let mut client = WORLD.raw("app").await;
    let keys = [0, 1].map(|shard| key_on(shard, 2));
    let one = format!("INSERT INTO told VALUES ({}, 1)", keys[0]);
    let reply = ask(&mut client, &one).await;
    assert_eq!((reply.commands(), reply.of('N').count()), (vec!["INSERT 0 1".to_owned()], 1));
    let both = format!("INSERT INTO told VALUES ({}, 1), ({}, 1)", keys[0], keys[1]);
    let why = "trigger \"tell\", of each statement, would fire once on each of them";
    for sql in [
        both.as_str(),
        "UPDATE told SET n = 2",
        "INSERT INTO told SELECT user_id, n FROM plain",
        "COPY told FROM STDIN",
        "TRUNCATE told",
    ] {
        refused(&mut client, sql, why).await;
    }
    // It is none of DELETE.
    runs(&mut client, "DELETE FROM told", "DELETE 1").await;
}

#[tokio::test]
async fn on_conflict_does_not_look_at_unique_indexes_that_shards_keep_for_themselves() {
    let mut client = WORLD.raw("app").await;
    WORLD.proxy().wait_for_log("table public.mailed: \"mailed_mail_key\" lacks the sharding key");
    runs(&mut client, "INSERT INTO mailed VALUES (1, 1, 'a@b')", "INSERT 0 1").await;
    for target in ["", " ON CONSTRAINT mailed_mail_key", " (mail)"] {
        let sql = format!("INSERT INTO mailed VALUES (2, 2, 'a@b') ON CONFLICT{target} DO NOTHING");
        refused(&mut client, &sql, "the sharding key \"user_id\"").await;
    }
    let feeds =
        "INSERT INTO mailed (user_id, id, mail) SELECT user_id + 1, n, 'x' FROM plain ON CONFLICT DO NOTHING";
    refused(&mut client, feeds, "the sharding key \"user_id\"").await;
    runs(
        &mut client,
        "INSERT INTO tagged (user_id) VALUES (1), (2), (3) ON CONFLICT DO NOTHING",
        "INSERT 0 3",
    )
    .await;
    runs(&mut client, "INSERT INTO plain VALUES (-1, 1), (-2, 1) ON CONFLICT DO NOTHING", "INSERT 0 2").await;
    runs(&mut client, "DELETE FROM plain", "DELETE 2").await;
}

#[tokio::test]
async fn a_trigger_that_keeps_to_its_key_runs() {
    let mut client = WORLD.raw("app").await;
    runs(&mut client, "INSERT INTO lookup VALUES (1, 'one')", "INSERT 0 1").await;
    runs(&mut client, "INSERT INTO kept VALUES (1, 1), (2, 1), (3, 1), (4, 2)", "INSERT 0 4").await;
    runs(&mut client, "UPDATE kept SET n = 1", "UPDATE 4").await;
    let reply = ask(&mut client, "SELECT count(*), count(DISTINCT name) FROM kept").await;
    assert_eq!(reply.texts(), [[Some("4"), Some("1")]]);
    assert_eq!(ask(&mut client, "SELECT count(*) FROM history").await.texts(), [[Some("8")]]);
}

#[tokio::test]
async fn commands_that_would_make_such_a_thing_are_refused() {
    let mut client = WORLD.raw("app").await;
    runs(&mut client, "CREATE TABLE late (user_id int, n int)", "CREATE TABLE").await;
    runs(&mut client, "ALTER TABLE late ENABLE ROW LEVEL SECURITY", "ALTER TABLE").await;
    let policy = "CREATE POLICY late ON late USING (exists (SELECT 1 FROM pol WHERE ok))";
    refused(&mut client, policy, "policy \"late\" reads \"pol\"").await;
    let default = "ALTER TABLE late ALTER n SET DEFAULT bump()";
    refused(&mut client, default, "writes to \"counter\"").await;
    runs(&mut client, "DROP TABLE late", "DROP TABLE").await;
}

#[tokio::test]
async fn one_shard_in_all_does_all_of_it() {
    let world = World::builder().schema(SCHEMA).start();
    world.shard(0).sql("INSERT INTO counter VALUES (0)");
    let mut client = world.raw("app").await;
    for (sql, tag) in [
        ("INSERT INTO audited VALUES (1, 1), (2, 1)", "INSERT 0 2"),
        ("INSERT INTO moved VALUES (1, 2)", "INSERT 0 1"),
        ("INSERT INTO ruled VALUES (1, 2)", "INSERT 0 1"),
        ("INSERT INTO numbered VALUES (1)", "INSERT 0 1"),
        ("SELECT * FROM guarded", "SELECT 0"),
        ("INSERT INTO told VALUES (1, 2), (2, 3)", "INSERT 0 2"),
        ("INSERT INTO mailed VALUES (1, 2) ON CONFLICT DO NOTHING", "INSERT 0 1"),
    ] {
        runs(&mut client, sql, tag).await;
    }
    assert!(!world.proxy().log().contains("are refused"), "nothing is refused there");
}
