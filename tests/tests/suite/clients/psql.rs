//! psql: commands, files, variables, errors, `\d` and `\copy`.

use std::{fs, path::PathBuf};

use shardway_tests::{Program, SharedWorld, World};

use super::{PLAIN, SCHEMA, SHOP, psql, say};

/// Both: where nothing is sharded, and where everything is.
const WORLDS: [&SharedWorld; 2] = [&PLAIN, &SHOP];

fn through(world: &World) -> Program {
    psql(&world.proxy().url("app"))
}

/// A file that is gone with its directory at the end of the test.
fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    (dir, path)
}

#[test]
fn a_command_is_answered() {
    for world in WORLDS {
        assert_eq!(say(world.proxy(), "SELECT 1, NULL, 'ä'"), "1||ä");
        assert_eq!(say(world.proxy(), "SELECT 1; SELECT 2"), "1\n2");
    }
}

#[test]
fn several_commands_share_one_session() {
    for world in WORLDS {
        let commands =
            ["-c", "SET application_name = 'told'", "-c", "SHOW application_name", "-c", "SELECT 2"];
        assert_eq!(through(world).args(commands).run().said(), "told\n2");
    }
}

#[test]
fn rows_are_written_and_read_over_all_shards() {
    let statements: String = (100..140)
        .map(|id| format!("INSERT INTO account VALUES ({id}, 'spread {id}', {id});\n"))
        .chain(["SELECT user_id FROM account WHERE user_id BETWEEN 100 AND 139 ORDER BY user_id;".to_owned()])
        .collect();
    let expected: Vec<String> = (100..140).map(|id: i32| id.to_string()).collect();
    for world in WORLDS {
        assert_eq!(through(world).input(statements.clone()).run().said(), expected.join("\n"));
    }
    let held = SHOP.everywhere("SELECT count(*) > 0 FROM account WHERE name LIKE 'spread %'");
    assert_eq!(held, ["t"; 4]);
}

#[test]
fn a_file_is_run_as_one_transaction() {
    let insert =
        "INSERT INTO account VALUES (7, 'from a file');\nUPDATE account SET balance = 7 WHERE user_id = 7;\n";
    let (_dir, whole) = file("whole.sql", insert);
    let (_dir, broken) = file("broken.sql", "UPDATE account SET balance = 8 WHERE user_id = 7;\nSELEC 1;\n");
    for world in WORLDS {
        let run = |path: &PathBuf| through(world).args(["-1", "-v", "ON_ERROR_STOP=1", "-f"]).arg(path).run();
        assert_eq!(run(&whole).said(), "");
        let balance = "SELECT balance FROM account WHERE user_id = 7";
        assert_eq!(say(world.proxy(), balance), "7");
        assert_eq!(run(&broken).status.code(), Some(3));
        assert_eq!(say(world.proxy(), balance), "7", "what came before the error is undone");
    }
}

#[test]
fn the_exit_code_says_whether_to_stop_at_an_error() {
    for world in WORLDS {
        let run = |stop: &str| {
            through(world).args(["-v", &format!("ON_ERROR_STOP={stop}")]).input("SELEC 1;\nSELECT 2;\n").run()
        };
        let stopped = run("1");
        assert_eq!((stopped.status.code(), stopped.stdout.as_str()), (Some(3), ""));
        assert_eq!(run("0").said(), "2");
    }
}

#[test]
fn an_error_shows_its_line_and_place() {
    let expected = "ERROR:  column \"nam\" does not exist\n\
                    LINE 2: WHERE user_id = 1 AND nam = 'x'\n                              ^\n\
                    HINT:  Perhaps you meant to reference the column \"account.name\".";
    for world in WORLDS {
        let ran = through(world).args(["-c", "SELECT * FROM account\nWHERE user_id = 1 AND nam = 'x'"]).run();
        assert_eq!(ran.failed(), (Some(1), expected));
        let ran = through(world).args(["-c", "SELECT FROM WHERE"]).run();
        let expected =
            "ERROR:  syntax error at or near \"WHERE\"\nLINE 1: SELECT FROM WHERE\n                    ^";
        assert_eq!(ran.failed(), (Some(1), expected));
    }
}

#[test]
fn an_error_shows_all_its_fields_when_asked() {
    for world in WORLDS {
        let input = "\\set VERBOSITY verbose\nINSERT INTO account VALUES (8, 'poor', -1);\n";
        let ran = through(world).input(input).run();
        let (_, said) = ran.failed();
        assert!(said.starts_with("ERROR:  23514: new row for relation \"account\" violates"), "{said}");
        assert!(said.contains("\nDETAIL:  Failing row contains (8, poor, -1, ok).\n"), "{said}");
        assert!(said.contains("\nCONSTRAINT NAME:  solvent\n"), "{said}");
    }
}

#[test]
fn variables_are_filled_in_and_taken_from_results() {
    let input = "INSERT INTO account VALUES (:id, :'name');\n\
                 SELECT name AS found FROM account WHERE user_id = :id \\gset\n\
                 \\echo :found :ROW_COUNT :SQLSTATE\n\
                 SELECT :'found' || '!';\n";
    for world in WORLDS {
        let ran = through(world).args(["-v", "id=9", "-v", "name=it's"]).input(input).run();
        assert_eq!(ran.said(), "it's 1 00000\nit's!");
    }
}

#[test]
fn a_transaction_and_its_savepoint_are_kept_or_undone() {
    let input = "BEGIN;\nINSERT INTO account VALUES (10, 'kept');\nSAVEPOINT s;\n\
                 UPDATE account SET balance = 5 WHERE user_id = 10;\nROLLBACK TO s;\nCOMMIT;\n\
                 SELECT name, balance FROM account WHERE user_id = 10;\n";
    for world in WORLDS {
        assert_eq!(through(world).input(input).run().said(), "kept|0");
    }
}

#[test]
fn notices_are_shown() {
    let raise = "DO $$ BEGIN RAISE NOTICE 'look %', 1; END $$";
    // Code names no table that says where it runs.
    for (world, command) in [(&PLAIN, raise.to_owned()), (&SHOP, format!("/* shard: 2 */ {raise}"))] {
        let ran = through(world).args(["-c", &command]).run();
        assert_eq!((ran.said(), ran.stderr.as_str()), ("", "NOTICE:  look 1\n"));
    }
}

#[test]
fn tables_are_described_as_by_the_server() {
    for world in WORLDS {
        let shard = world.shard(0);
        let port = shard.primary().port();
        let direct = format!("postgres://app:secret@127.0.0.1:{port}/{}", shard.database());
        for command in [
            "\\dt",
            "\\dt+ acc*",
            "\\d account",
            "\\d+ account",
            "\\d account_pkey",
            "\\di",
            "\\dT+ mood",
            "\\dn",
            "\\df pg_catalog.lower",
            "\\du",
            "\\dx",
            "\\sf pg_catalog.lpad(text, int)",
        ] {
            let describe = |url: &str| Program::of_postgres("psql").args(["-X", url, "-c", command]).run();
            let expected = describe(&direct);
            assert_eq!(describe(&world.proxy().url("app")).said(), expected.said(), "{command}");
            assert!(expected.said().lines().count() > 1, "{command} shows something: {expected:?}");
        }
    }
}

#[test]
fn a_table_that_is_made_and_dropped_through_psql_is_seen_at_once() {
    let world = World::builder().schema(SCHEMA).start();
    let input =
        "CREATE TABLE made (id int);\nINSERT INTO made VALUES (1);\n\\dt made\nDROP TABLE made;\n\\dt made\n";
    let ran = through(&world).input(input).run();
    assert_eq!(ran.said(), "public|made|table|app");
}

#[test]
fn a_table_is_copied_in_and_out() {
    let (dir, path) = file("rows.csv", "11,copied,1\n11000,\"a, b\",\n");
    let out = dir.path().join("out.tsv");
    let input = format!(
        "CREATE TABLE copied (id int, name text, n int);\n\\copy copied FROM '{}' CSV\n\
         \\copy (SELECT * FROM copied ORDER BY id) TO '{}'\nDROP TABLE copied;\n",
        path.display(),
        out.display()
    );
    let world = World::builder().start();
    assert_eq!(through(&world).args(["-v", "ON_ERROR_STOP=1"]).input(input).run().said(), "");
    assert_eq!(fs::read_to_string(out).unwrap(), "11\tcopied\t1\n11000\ta, b\t\\N\n");
}

#[test]
fn rows_of_one_key_are_copied_in_and_every_shards_out() {
    let (dir, path) = file("rows.tsv", "12\tof one key\t3\n");
    let out = dir.path().join("out.tsv");
    let input = format!(
        "\\copy account (user_id, name, balance) FROM '{}'\n\\copy account (user_id, name) TO '{}'\n",
        path.display(),
        out.display()
    );
    assert_eq!(through(&SHOP).args(["-v", "ON_ERROR_STOP=1"]).input(input).run().said(), "");
    assert_eq!(SHOP.everywhere("SELECT balance FROM account WHERE user_id = 12"), ["3"]);
    let copied = fs::read_to_string(out).unwrap();
    assert_eq!(copied.lines().filter(|line| *line == "12\tof one key").count(), 1, "{copied}");
}

#[test]
fn a_row_that_cannot_be_copied_is_shown_with_its_line() {
    let (_dir, path) = file("rows.tsv", "13\ta\t1\n13\tb\tmany\n");
    for world in WORLDS {
        let copy = format!("\\copy account (user_id, name, balance) FROM '{}'", path.display());
        let expected = "ERROR:  invalid input syntax for type integer: \"many\"\n\
                        CONTEXT:  COPY account, line 2, column balance: \"many\"";
        assert_eq!(through(world).args(["-c", &copy]).run().failed(), (Some(1), expected));
        assert_eq!(say(world.proxy(), "SELECT name FROM account WHERE user_id = 13"), "");
    }
}
