//! The judgement, table by table.

use super::{SideEffects, events, judge};
use crate::schema::{Functions, GroupId, Kind, Schema, ShardRef, Table};
use shardway_pool::catalog::effects::{Body, Effect, Thing};
use shardway_pool::catalog::{Barrier, Catalog, Column, Relation, SequenceUse};
use shardway_shardmap::{KeyType, ShardId};

const GROUP: GroupId = GroupId(0);

fn column(name: &str, default: Option<&str>) -> Column {
    Column {
        name: name.into(),
        type_name: "int4".into(),
        type_oid: 23,
        type_kind: 'b',
        typmod: -1,
        byte_order: true,
        nondeterministic: false,
        has_default: default.is_some(),
        default: default.map(str::to_owned),
        from_sequence: false,
        generated: false,
    }
}

fn table(name: &str, kind: Kind) -> Table {
    Table {
        schema: "public".into(),
        name: name.into(),
        kind,
        columns: vec![
            column("user_id", None),
            column("n", None),
            column("tag", Some("public.gen_random_uuid()")),
            column("id", Some("nextval('acc_id'::regclass)")),
        ],
        has_triggers: false,
        cascades: false,
        has_row_security: false,
        triggers_act: false,
        uniques: Vec::new(),
        family: None,
        side_effects: SideEffects::default(),
        of_view: None,
    }
}

fn schema() -> Schema {
    let sharded = || Kind::Sharded { group: GROUP, key: 0, key_type: KeyType::Int4 };
    let tables = vec![
        table("acc", sharded()),
        table("item", sharded()),
        table("log", Kind::Reference(GROUP)),
        table("alone", Kind::Local(ShardRef { group: GROUP, shard: ShardId(1) })),
        table("seen", Kind::View(GROUP)),
        table("far", Kind::Sharded { group: GroupId(1), key: 0, key_type: KeyType::Int4 }),
    ];
    Schema::of(tables, Functions::default(), vec![2, 2])
}

fn effect(thing: Thing, text: &str) -> Effect {
    let kind = match thing {
        Thing::Policy => events::READ | events::ROWS,
        _ => events::INSERT,
    };
    Effect {
        table: ("public".into(), "acc".into()),
        thing,
        name: "it".into(),
        events: kind,
        per_row: true,
        before: true,
        text: Some(text.into()),
    }
}

fn judged(effect: Effect) -> SideEffects {
    let body = |name: &str, text: Option<&str>| Body { name: name.into(), text: text.map(str::to_owned) };
    let bodies = vec![
        body("note", Some("BEGIN PERFORM deeper(1); END")),
        body("deeper", Some("INSERT INTO log VALUES (1)")),
        body("look", Some("SELECT 1 FROM log")),
        body("member", Some("SELECT 1 FROM item WHERE user_id = $1")),
        body("machine", None),
        body("steady", Some("SELECT current_setting('x')")),
    ];
    let interleaved = [("public".to_owned(), "turns".to_owned())].into();
    let name = effect.table.clone();
    let catalog = Catalog { effects: vec![effect], bodies, interleaved, ..Catalog::default() };
    judge(&schema(), &[catalog, Catalog::default()]).remove(&name).unwrap_or_default()
}

#[track_caller]
fn says(effect: Effect, why: &str) {
    let found = judged(effect.clone());
    let said = found.unsafe_for.first().map(|(_, said)| said.clone()).unwrap_or_default();
    assert!(said.contains(why) && said.is_empty() == why.is_empty(), "{effect:?}: {said:?}");
}

#[test]
fn triggers_of_rows_that_move_find_what_they_look_for() {
    let moving = |before: bool, text: &str| {
        let effect = Effect { events: events::UPDATE, before, ..effect(Thing::Trigger, text) };
        let found = judged(effect).moving;
        let strays = found.strays.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(",");
        (found.never.is_none(), strays, found.sees_key)
    };
    for (text, after, strays, sees) in [
        ("BEGIN new.n := old.n + 1; RETURN new; END", true, "", false),
        ("BEGIN INSERT INTO log VALUES (new.n); RETURN new; END", true, "", false),
        ("BEGIN INSERT INTO item (user_id) VALUES (new.user_id); RETURN NULL; END", true, "item", true),
        ("BEGIN INSERT INTO item SELECT new.*; RETURN NULL; END", true, "item", true),
        (
            "BEGIN INSERT INTO item VALUES (new.user_id) ON CONFLICT DO NOTHING; RETURN NULL; END",
            false,
            "",
            true,
        ),
        ("BEGIN UPDATE item SET n = 1 WHERE user_id = new.user_id; RETURN NULL; END", false, "", true),
        ("BEGIN PERFORM 1 FROM item WHERE user_id = new.user_id; RETURN NULL; END", false, "", true),
        ("BEGIN PERFORM member(new.user_id); RETURN NULL; END", false, "", true),
        ("BEGIN UPDATE item SET n = 1 WHERE user_id = old.user_id; RETURN NULL; END", true, "", true),
        ("BEGIN INSERT INTO acc VALUES (new.user_id); RETURN NULL; END", false, "", true),
    ] {
        assert_eq!(moving(false, text), (after, strays.to_owned(), sees), "{text}");
        assert_eq!(moving(true, text).0, after && strays.is_empty(), "before: {text}");
    }
}

#[test]
fn triggers_keep_to_their_key_and_to_what_every_shard_has() {
    for (text, why) in [
        ("BEGIN new.n := 1; RETURN NEW; END", ""),
        ("BEGIN INSERT INTO log VALUES (new.user_id); RETURN NEW; END", "\"log\", a reference table"),
        ("BEGIN INSERT INTO item VALUES (new.user_id); RETURN NEW; END", ""),
        ("BEGIN INSERT INTO item SELECT new.*; RETURN NEW; END", ""),
        ("BEGIN INSERT INTO item VALUES (1); RETURN NEW; END", "does not name \"user_id\""),
        ("BEGIN SELECT n INTO new.n FROM log WHERE id = 1; RETURN NEW; END", ""),
        ("BEGIN PERFORM 1 FROM log FOR UPDATE; RETURN NEW; END", "locks rows of \"log\""),
        ("BEGIN INSERT INTO far VALUES (new.user_id); RETURN NEW; END", "not sharded as \"acc\" is"),
        ("BEGIN DELETE FROM alone; RETURN NEW; END", "not sharded as \"acc\" is"),
        ("BEGIN SELECT n INTO x FROM seen WHERE user_id = new.user_id; RETURN NEW; END", "a view"),
        ("BEGIN new.user_id := new.n; RETURN NEW; END", "the sharding key"),
        ("BEGIN SELECT 1 INTO new.user_id; RETURN NEW; END", "the sharding key"),
        ("BEGIN r := new; RETURN r; END", "another row"),
        ("BEGIN EXECUTE 'x'; RETURN NEW; END", "puts together"),
        ("BEGIN PERFORM note(); RETURN NEW; END", "\"log\", a reference table"),
        ("BEGIN new.n := look(); RETURN NEW; END", ""),
        ("BEGIN PERFORM machine(); RETURN NEW; END", "can't be looked into"),
        ("BEGIN new.n := nextval('some'); RETURN NEW; END", "counts with a sequence"),
        ("BEGIN new.n := nextval('public.turns'); RETURN NEW; END", ""),
        ("BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END", "advisory"),
        ("BEGIN PERFORM pg_notify('a', new.n::text); RETURN NEW; END", ""),
        (
            "BEGIN IF NOT EXISTS (SELECT FROM item i WHERE i.user_id = new.user_id) THEN RAISE EXCEPTION 'x'; END IF; RETURN NEW; END",
            "",
        ),
    ] {
        says(effect(Thing::Trigger, text), why);
    }
    // Behind the row, its key can't be changed any more.
    let after = effect(Thing::Trigger, "BEGIN new.user_id := 3; RETURN r; END");
    says(Effect { before: false, ..after }, "");
    says(Effect { text: None, ..effect(Thing::Trigger, "") }, "can't be looked into");
}

#[test]
fn rules_and_conditions_too() {
    let rule = |what: &str| format!("CREATE RULE it AS\n    ON INSERT TO public.acc DO ALSO  {what};");
    says(effect(Thing::Rule, &rule("INSERT INTO log (id) VALUES (new.n)")), "\"log\", a reference table");
    says(effect(Thing::Rule, &rule("INSERT INTO item (user_id) VALUES (new.user_id)")), "");
    says(effect(Thing::Rule, &rule("NOTHING").replace("ALSO", "INSTEAD")), "");
    assert_eq!(judged(effect(Thing::Rule, &rule("NOTIFY told"))).per_statement.len(), 1);
    says(effect(Thing::Check, "CHECK ((EXTRACT(year FROM log) > 3))"), "");
    says(effect(Thing::Check, "CHECK (member(n))"), "does not name \"user_id\"");
    says(effect(Thing::Check, "CHECK (member(user_id))"), "");
    says(effect(Thing::Check, "CHECK (note(user_id))"), "\"log\", a reference table");
}

#[test]
fn policies_join_what_they_read_by_the_key() {
    for (text, why) in [
        ("(owner = current_setting('app.user'::text, true))", ""),
        ("(EXISTS ( SELECT 1 FROM item WHERE item.n = 1))", "one shard's rows"),
        ("(EXISTS ( SELECT 1 FROM item i WHERE ((i.user_id = acc.user_id) AND i.ok)))", ""),
        ("((n = 1) OR (EXISTS ( SELECT 1 FROM item WHERE (item.user_id = acc.user_id))))", ""),
        (
            "(EXISTS ( SELECT 1 FROM item WHERE ((item.user_id = acc.user_id) OR item.ok)))",
            "one shard's rows",
        ),
        ("(NOT (EXISTS ( SELECT 1 FROM item WHERE (item.user_id = acc.user_id))))", ""),
        ("(EXISTS ( SELECT 1 FROM item WHERE (NOT (item.user_id = acc.user_id))))", "one shard's rows"),
        ("(user_id IN ( SELECT item.user_id FROM item WHERE item.ok))", ""),
        ("(n IN ( SELECT item.n FROM item))", "one shard's rows"),
        ("(EXISTS ( SELECT 1 FROM log WHERE (log.n = acc.n)))", ""),
        ("(EXISTS ( SELECT 1 FROM alone))", "one shard's rows"),
        ("member(n)", "one shard's rows"),
        ("member(user_id)", ""),
        ("steady()", ""),
    ] {
        says(effect(Thing::Policy, text), why);
    }
    let log = ("public".to_owned(), "log".to_owned());
    let reads = effect(Thing::Policy, "(EXISTS ( SELECT 1 FROM item WHERE item.n = 1))");
    says(Effect { table: log, ..reads }, "one shard's rows");
}

#[test]
fn defaults_give_values_and_do_nothing_else() {
    let default = |text: &str| judged(effect(Thing::Default, text)).defaults;
    assert!(default("note()")[0].1.contains("writes to \"log\""));
    assert!(default("member(1)")[0].1.contains("one shard's rows"));
    assert!(default("machine()")[0].1.contains("can't be looked into"));
    for text in ["nextval('acc_id'::regclass)", "look()", "lower('FROM item')", "steady()"] {
        assert_eq!(default(text), [], "{text}");
    }
}

#[test]
fn triggers_of_statements_act_once_for_each_shard() {
    let found = |text: &str| {
        let each = effect(Thing::Trigger, text);
        judged(Effect { per_row: false, before: false, ..each })
    };
    for text in
        ["BEGIN RAISE NOTICE 'x'; RETURN NULL; END", "BEGIN INSERT INTO item VALUES (1); RETURN NULL; END"]
    {
        let found = found(text);
        assert_eq!((found.unsafe_for.len(), found.per_statement.len()), (0, 1), "{text}");
    }
    assert_eq!(found("BEGIN RAISE EXCEPTION 'no'; END"), SideEffects::default());
    assert_eq!(found("BEGIN INSERT INTO log VALUES (1); RETURN NULL; END").unsafe_for.len(), 1);
}

#[test]
fn what_changes_a_table_sets_off_what_that_does() {
    let relation = |name: &str, to: &[&str]| Relation {
        schema: "public".into(),
        name: name.into(),
        kind: 'r',
        columns: Vec::new(),
        has_triggers: false,
        cascades_to: to.iter().map(|to| ("public".into(), (*to).into())).collect(),
        parents: Vec::new(),
        has_row_security: false,
        triggers_act: false,
        uniques: Vec::new(),
    };
    let catalog = Catalog {
        relations: vec![relation("log", &["item"]), relation("item", &["acc"]), relation("acc", &["log"])],
        effects: vec![effect(Thing::Trigger, "BEGIN INSERT INTO log VALUES (new.user_id); RETURN NEW; END")],
        ..Catalog::default()
    };
    let all = judge(&schema(), &[catalog, Catalog::default()]);
    for (name, wanted) in
        [("item", events::UPDATE | events::DELETE), ("log", events::UPDATE | events::DELETE)]
    {
        let found = &all[&("public".to_owned(), name.to_owned())].unsafe_for;
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(
            found[0].0 == wanted && found[0].1.starts_with("it changes \"acc\", whose trigger \"it\""),
            "{found:?}"
        );
    }
}

#[test]
fn unique_indexes_without_the_key_are_known_unless_their_values_differ_anyway() {
    let acc = ("public".to_owned(), "acc".to_owned());
    let loose = |columns: &[&str], interleaved: bool| {
        let barrier = Barrier {
            table: acc.clone(),
            index: "acc_unique".into(),
            what: "unique index".into(),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        };
        let sequence = ("public".to_owned(), "acc_id".to_owned());
        let used = SequenceUse { table: acc.clone(), column: "id".into(), sequence: Some(sequence.clone()) };
        let catalog = Catalog {
            barriers: vec![barrier],
            sequence_uses: vec![used],
            interleaved: interleaved.then_some(sequence).into_iter().collect(),
            ..Catalog::default()
        };
        let found = judge(&schema(), &[catalog, Catalog::default()]).remove(&acc).unwrap_or_default();
        !found.loose.is_empty()
    };
    assert!(loose(&["n"], true) && loose(&["id"], false) && loose(&[], true));
    assert!(!loose(&["id"], true) && !loose(&["tag"], false) && !loose(&["n", "user_id"], false));
}

#[test]
fn one_shard_in_all_is_as_one_postgres() {
    let text = "BEGIN INSERT INTO log VALUES (1); RETURN NEW; END";
    let catalog = Catalog { effects: vec![effect(Thing::Trigger, text)], ..Catalog::default() };
    let single = Schema { shard_counts: vec![1], ..schema() };
    assert!(judge(&single, &[catalog]).is_empty());
}
