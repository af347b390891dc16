//! Maps of user names.

use crate::hba::Method;
use crate::hba::testing::{peer, problems_of, read_all};

/// Whether the map `m` lets `system_user` be `user`.
fn allows(ident: &str, system_user: &str, user: &str) -> bool {
    let hba = read_all(&[("hba", "local all all peer map=m"), ("ident", ident)]);
    let hba = hba.unwrap_or_else(|problems| panic!("{problems}"));
    match &hba.decide(&peer("local", "d", user)).unwrap().method {
        Method::Peer(map) => map.allows(system_user, user),
        other => panic!("{other:?}"),
    }
}

fn problems(ident: &str) -> String {
    problems_of(&[("hba", "local all all peer map=m"), ("ident", ident)])
}

#[test]
fn without_a_map_the_names_are_the_same() {
    let hba = read_all(&[("hba", "local all all peer")]).unwrap();
    let Method::Peer(map) = &hba.rules()[0].method else { panic!("{hba:?}") };
    assert!(map.allows("ada", "ada") && !map.allows("ada", "Ada") && !map.allows("ada", "bob"));
}

#[test]
fn a_map_lists_who_may_be_whom() {
    let ident = "# mine\nm ada app\nother ada root\nm ada ops # two\nm root all\nm \"joe smith\" \"all\"";
    for (system_user, user, allowed) in [
        ("ada", "app", true),
        ("ada", "ops", true),
        ("ada", "root", false),
        ("ada", "ada", false),
        ("root", "anybody", true),
        ("joe smith", "all", true),
        ("joe smith", "app", false),
    ] {
        assert_eq!(allows(ident, system_user, user), allowed, "{system_user} {user}");
    }
}

#[test]
fn expressions_match_and_hand_over_what_they_captured() {
    let ident = "m /^(.*)@mydomain\\.com$ \\1\nm /^(.*)@other\\.com$ guest\nm \"/^a{1,2}$\" pre\\1";
    let error = problems(ident);
    assert_eq!(error, "ident:3:15: \\1 needs parentheses in the regular expression before it");
    let ident = "m /^(.*)@mydomain\\.com$ \\1\nm /^(.*)@other\\.com$ guest\nm \"/^x(a{1,2})$\" p_\\1_s\nm /^y(z)?$ \\1q";
    for (system_user, user, allowed) in [
        ("ada@mydomain.com", "ada", true),
        ("ada@mydomain.com", "guest", false),
        ("ada@mydomainxcom", "ada", false),
        ("ada@other.com", "guest", true),
        ("ada@other.com", "ada", false),
        ("xaa", "p_aa_s", true),
        ("xaa", "p_a_s", false),
        ("xa", "p__s", false),
        ("yz", "zq", true),
        ("y", "q", false),
    ] {
        assert_eq!(allows(ident, system_user, user), allowed, "{system_user} {user}");
    }
}

#[test]
fn an_expression_matches_anywhere_and_a_name_is_no_expression() {
    assert!(allows("m /ad all", "ladder", "x"));
    assert!(!allows("m a.a all", "ada", "x"));
    assert!(allows("m ada \\1", "ada", "\\1"));
    assert!(allows("m /^(ada)$ \"\\1\"", "ada", "\\1"));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    assert_eq!(
        problems("m ada\nm ada app more\nm a,b c\nm ada +staff\nm ada /^x\nm /( x\nm /\\bx y\nm ada app"),
        "ident:1:6: expected a user before the end of the record\n\
         ident:2:11: expected the end of the record behind the user\n\
         ident:3:5: expected a system user, found a list\n\
         ident:4:7: \"+staff\" is not supported here: name a user, or all\n\
         ident:5:7: \"/^x\" is not supported here: name a user, or all\n\
         ident:6:3: this regular expression is not supported: found open group without closing ')'\n\
         ident:7:3: this regular expression has \\b, which PostgreSQL takes otherwise"
    );
    assert_eq!(problems("other ada app"), "hba:1:20: there is no map \"m\" in ident_file");
}
