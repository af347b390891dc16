//! Four shards, and beside them one database that is told the same: what it says, and what it holds then, is right.

use shardway_tests::{Param, SharedWorld, World};

use crate::reads::world::{Pair, Said, Way, asked, comparable};

const SCHEMA: &str = "
CREATE TABLE spot (
    user_id int, id int, note text, n int DEFAULT 7 CHECK (n < 1000), made timestamptz DEFAULT now(),
    PRIMARY KEY (user_id, id)
);
CREATE TABLE line (user_id int, spot_id int, qty int);
CREATE TABLE cell (user_id int, id int, a int, t text, PRIMARY KEY (user_id, id));
CREATE TABLE bulk (user_id int, id int, t text, PRIMARY KEY (user_id, id));
CREATE TABLE stamp (user_id int PRIMARY KEY, at timestamptz DEFAULT now(), day date DEFAULT CURRENT_DATE, k int);
CREATE TABLE skipped (user_id int, id int);
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.id % 3 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER skip BEFORE INSERT ON skipped FOR EACH ROW EXECUTE FUNCTION skip();

CREATE TABLE kind (id serial PRIMARY KEY, name text UNIQUE, weight int DEFAULT 1, t text);
CREATE TABLE plain (id int PRIMARY KEY, a int, t text);
CREATE TABLE vast (id int PRIMARY KEY, a int, t text);
CREATE TABLE uneven (id int PRIMARY KEY, a int, t text);
CREATE TABLE busy (id int PRIMARY KEY, a int, t text);
CREATE TABLE copy (id int PRIMARY KEY, a int, t text);
CREATE TABLE ident (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, big text GENERATED ALWAYS AS (upper(name)) STORED,
    made timestamptz DEFAULT now(), tag uuid DEFAULT gen_random_uuid(), f float8, v varchar(20)[], b bytea);
CREATE TABLE keyless (a int, t text);
CREATE TABLE slug (id int PRIMARY KEY, name text, slug text, at timestamptz);
CREATE FUNCTION slug() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.slug = lower(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER slug BEFORE INSERT OR UPDATE ON slug FOR EACH ROW EXECUTE FUNCTION slug();
CREATE TABLE clocked (id int PRIMARY KEY, at timestamptz);
CREATE FUNCTION clocked() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at = clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER clocked BEFORE INSERT OR UPDATE ON clocked FOR EACH ROW EXECUTE FUNCTION clocked();
CREATE TABLE acting (id int PRIMARY KEY);
CREATE FUNCTION acting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO keyless VALUES (NEW.id, 'acted'); RETURN NEW; END $$;
CREATE TRIGGER acting AFTER INSERT ON acting FOR EACH ROW EXECUTE FUNCTION acting();
";

pub static WRITES_WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start());

/// What both said.
#[derive(Debug)]
pub struct Told(pub Said);

/// Both are asked, and say the same: rows in the same order if `ordered`.
pub async fn both(pair: &mut Pair, sql: &str, params: &[Param<'_>], way: Way, ordered: bool) -> Told {
    let expected = asked(&mut pair.single, sql, params, way).await;
    let got = asked(&mut pair.proxy, sql, params, way).await;
    let code = |said: &Said| said.as_ref().map_err(|(code, _)| code.clone()).err();
    match (&got, &expected) {
        (Err(_), Err(_)) => {
            assert_eq!(code(&got), code(&expected), "{sql} by {way:?}\n{got:?}\n{expected:?}")
        }
        _ => assert_eq!(
            comparable(got.clone(), ordered),
            comparable(expected, ordered),
            "{sql}\n  asked by {way:?}, with {params:?}"
        ),
    }
    Told(got)
}

/// The same, where rows have no order and there are no parameters.
pub async fn same(pair: &mut Pair, sql: &str, way: Way) -> Told {
    both(pair, sql, &[], way, false).await
}

/// A table holds the same on both sides.
pub async fn holds_the_same(pair: &mut Pair, table: &str) {
    let sql = format!("SELECT * FROM {table}");
    let said = same(pair, &sql, Way::Simple).await;
    assert!(said.0.is_ok(), "{sql}: {said:?}");
}

/// A reference table's rows are the same on every shard.
pub fn copies_are_the_same(world: &World, table: &str) {
    let sum = format!(
        "SELECT count(*), coalesce(md5(string_agg(x::text, ';' ORDER BY x::text)), '') FROM {table} x"
    );
    let sums = world.everywhere(&sum);
    assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "the copies of {table}: {sums:?}");
}
