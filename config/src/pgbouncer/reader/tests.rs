use crate::pgbouncer::testing::{problems, read, read_in, shown, warnings};

#[test]
fn a_setting_that_is_given_twice_has_its_later_value() {
    assert_eq!(read("max_client_conn = 1\nmax_client_conn = 2\n").settings.pooling.max_client_conn, 2);
}

#[test]
fn a_later_entry_replaces_an_earlier_one_as_a_whole() {
    let found = read(
        "[databases]\na = host=x port=1\nb =\na = dbname=d\n* = host=x\n* = port=2\n\
         [users]\nu = pool_size=1\nu = pool_mode=session\n[peers]\n1 = host=a port=1\n1 = host=b\n",
    );
    let names: Vec<&str> = found.databases.iter().map(|database| database.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let a = &found.databases[0];
    assert_eq!((a.hosts.len(), a.port, a.dbname.as_deref()), (0, 5432, Some("d")));
    assert_eq!(found.fallback.map(|fallback| (fallback.hosts.len(), fallback.port)), Some((0, 2)));
    assert_eq!(found.users.iter().map(|user| user.pool_size).collect::<Vec<_>>(), [None]);
    assert_eq!(found.peers.iter().map(|peer| peer.port).collect::<Vec<_>>(), [6432]);
}

#[test]
fn a_forced_user_outlives_an_entry_that_does_not_name_one() {
    let text = "[databases]\na = user=u password=p host=x\na = host=y\n";
    let found = read(text);
    assert_eq!(found.databases[0].user.as_deref(), Some("u"));
    assert_eq!(
        warnings(text),
        "p.ini:7:1: the earlier entry at p.ini:6:1 had a user, which stays, as in PgBouncer"
    );
}

#[test]
fn a_second_main_section_starts_from_the_defaults_and_says_so() {
    let text =
        "max_client_conn = 7\nauth_user = u\nverbose = 2\n[databases]\na =\n[pgbouncer]\nauth_type = any\n";
    let found = read(text);
    assert_eq!(found.settings.pooling.max_client_conn, 100);
    assert_eq!((found.settings.auth.auth_user.as_deref(), found.settings.logging.verbose), (Some("u"), 2));
    assert_eq!(
        shown(&found),
        "p.ini:10:2: [pgbouncer] begins again, so that these are at their defaults: auth_type, listen_addr, \
         max_client_conn, unix_socket_dir"
    );
}

#[test]
fn what_is_unknown_is_named_with_its_place() {
    assert_eq!(
        problems("max_client_con = 1\nPOOL_MODE = session\n[database]\nnot = looked at\n[ users ]\n"),
        "p.ini:5:1: unknown setting \"max_client_con\"; did you mean \"max_client_conn\"? (in [pgbouncer])\n\
         p.ini:6:1: unknown setting \"POOL_MODE\"; did you mean \"pool_mode\"? (in [pgbouncer])\n\
         p.ini:7:2: unknown section \"database\"; did you mean [databases]?\n\
         p.ini:9:2: unknown section \" users \"; did you mean [users]?"
    );
}

#[test]
fn values_that_are_none_are_named_with_their_place() {
    assert_eq!(
        problems("default_pool_size = 1k\nquery_timeout = 5s\nlisten_port = x\nauth_type = pam\n"),
        "p.ini:5:21: expected a whole number, found \"1k\"\n\
         p.ini:6:17: expected a number of seconds, such as 15 or 0.5, found \"5s\"\n\
         p.ini:7:15: expected a whole number from 0 to 65535, found \"x\"\n\
         p.ini:8:13: auth_type pam is not supported"
    );
}

#[test]
fn a_value_needs_a_section_and_a_file_its_main_one() {
    let alone = |text: &str| read_in(&[("p.ini", text)]).unwrap_err().to_string();
    assert_eq!(alone("a = 1\n[pgbouncer]\n"), "p.ini:1:1: a value stands before the first section");
    assert_eq!(alone("[databases]\na =\n"), "p.ini: there is no [pgbouncer] section");
    assert_eq!(
        super::super::read(std::path::Path::new("gone"), &crate::pgbouncer::testing::files(&[]))
            .unwrap_err()
            .to_string(),
        "gone: cannot be read: entity not found"
    );
}

#[test]
fn the_file_that_was_read_is_shown() {
    let value = |text: &str| read(text).settings.row("conffile").and_then(|row| row.value);
    assert_eq!(value("").as_deref(), Some("p.ini"));
    assert_eq!(value("conffile = other.ini\n").as_deref(), Some("other.ini"));
}

fn with(others: &[(&str, &str)], text: &str) -> Result<crate::pgbouncer::Pgbouncer, crate::Problems> {
    let main = format!("[pgbouncer]\nauth_type = any\n{text}");
    let mut named = vec![("p.ini", main.as_str())];
    named.extend(others);
    read_in(&named)
}

#[test]
fn an_included_files_section_goes_on_behind_the_include() {
    let others = [("d/a.ini", "max_client_conn = 3\n[databases]\nx =\n%include b.ini\n"), ("b.ini", "y =\n")];
    let found = with(&others, "%include d/a.ini\nz =\n").unwrap();
    let names: Vec<&str> = found.databases.iter().map(|database| database.name.as_str()).collect();
    assert_eq!(names, ["x", "y", "z"]);
    assert_eq!(found.settings.pooling.max_client_conn, 3);
    assert_eq!(found.databases[1].place.to_string(), "b.ini:1:1");
}

#[test]
fn includes_end_somewhere() {
    let refused = |others: &[(&str, &str)], text: &str| with(others, text).unwrap_err().to_string();
    assert_eq!(refused(&[], "%include p.ini\n"), "p.ini:3:10: \"p.ini\" includes itself");
    assert_eq!(
        refused(&[("a", "%include b\n"), ("b", "\n%include a\n")], "%include a\n"),
        "b:2:10: \"a\" includes itself"
    );
    assert_eq!(refused(&[], "%include gone\n"), "p.ini:3:10: \"gone\" cannot be read: entity not found");
    assert_eq!(refused(&[], "%include \n"), "p.ini:3:10: %include names no file");
}

#[test]
fn includes_are_nested_ten_deep_and_no_deeper() {
    let texts: Vec<(String, String)> =
        (1..=11).map(|at| (format!("f{at}"), format!("%include f{}\n", at + 1))).collect();
    let mut others: Vec<(&str, &str)> =
        texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(
        with(&others, "%include f1\n").unwrap_err().to_string(),
        "f10:1:10: includes are nested deeper than 10"
    );
    others[9].1 = "max_client_conn = 4\n";
    assert_eq!(with(&others, "%include f1\n").unwrap().settings.pooling.max_client_conn, 4);
}

#[test]
fn files_that_include_each_other_often_do_not_take_for_ever() {
    let text = |next: usize| format!("%include f{next}\n").repeat(100);
    let texts: Vec<(String, String)> = (1..=9).map(|at| (format!("f{at}"), text(at + 1))).collect();
    let mut others: Vec<(&str, &str)> =
        texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    others.push(("f10", ""));
    let error = with(&others, "%include f1\n").unwrap_err().to_string();
    assert!(error.ends_with("more than 1000 files are included"), "{error}");
}
