//! Lines, words, quotes and comments.

use proptest::prelude::*;

use crate::hba::testing::{method, problems, read, read_all};

#[test]
fn blanks_comments_and_ends_of_lines_of_any_kind_are_passed_over() {
    let hba = read(" \t \r\n# z\n\t# all\n  local\tall  ada\ttrust# why\r\nlocal all all md5 # \"open\r\n\n");
    assert_eq!(method(&hba, "local", "d", "ada"), "trust");
    assert_eq!(method(&hba, "local", "d", "bob"), "md5");
}

#[test]
fn a_backslash_at_the_end_of_a_line_joins_it_to_the_next() {
    let hba = read(
        "local all \\\n ada,\\\r\nb\\\nob \\\n  trust # a comment \\\nlocal all all trust\nlocal all \"a\\\nb\" md5\\",
    );
    assert_eq!(hba.rules().len(), 2);
    assert_eq!(method(&hba, "local", "d", "ada"), "trust");
    assert_eq!(method(&hba, "local", "d", "bob"), "trust");
    assert_eq!(method(&hba, "local", "d", "ab"), "md5");
    assert_eq!(method(&hba, "local", "d", "b"), "none");
}

#[test]
fn a_backslash_elsewhere_is_a_letter() {
    let hba = read("local all a\\b trust");
    assert_eq!(method(&hba, "local", "d", "a\\b"), "trust");
}

#[test]
fn places_are_those_of_the_file_and_not_of_the_joined_line() {
    assert_eq!(
        problems("local ä\\\n\\\n  all  tru\\\nts"),
        "hba:3:8: expected one of trust, reject, md5, password, scram-sha-256, peer, cert, found \"truts\""
    );
    assert_eq!(problems("local ä all\\\n  nope").split(" expected").next(), Some("hba:2:3:"));
}

#[test]
fn quotes_close_on_their_line_and_commas_have_two_sides() {
    assert_eq!(
        problems("local all \"ada trust\nlocal ,a b trust\nlocal all a,,b trust\nlocal all all trust,\n,"),
        "hba:1:11: this quote is not closed on its line\n\
         hba:2:8: expected the kind of connection, found a list\n\
         hba:3:13: there is nothing before this comma\n\
         hba:4:20: there is nothing behind this comma\n\
         hba:5:1: there is nothing before this comma"
    );
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_word() {
    assert_eq!(method(&read("\u{feff}local all all trust"), "local", "d", "u"), "trust");
}

/// Words that are near to what a file has.
const SCRAPS: &[&str] = &[
    "local",
    "host",
    "hostssl",
    "all",
    "sameuser",
    "replication",
    "@list",
    "@",
    "\"",
    "\"all\"",
    ",",
    "#",
    "\\\n",
    "\n",
    " ",
    "\t",
    "10.0.0.0/8",
    "10.0.0.1",
    "255.0.0.0",
    "::1/128",
    "/",
    "trust",
    "md5",
    "peer",
    "cert",
    "map=m",
    "map=",
    "clientcert=verify-ca",
    "\\",
    "\r\n",
    "ä",
    "+x",
    "/(",
    "\\1",
];

fn scrap() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(SCRAPS).prop_map(|word| format!("{word} ")), 1 => ".{0,4}"]
}

proptest! {
    #[test]
    fn no_files_panic(
        hba in prop::collection::vec(scrap(), 0..40),
        list in prop::collection::vec(scrap(), 0..9),
        ident in prop::collection::vec(scrap(), 0..20),
    ) {
        let (hba, list, ident) = (hba.concat(), list.concat(), ident.concat());
        if let Ok(hba) = read_all(&[("hba", &hba), ("list", &list), ("ident", &ident)]) {
            prop_assert!(!hba.rules().is_empty());
            method(&hba, "local", "d", "u");
        }
    }

    #[test]
    fn a_name_in_quotes_is_that_name(user in "[^\n\r\\\\]{1,12}") {
        prop_assume!(!user.starts_with('/'));
        let hba = read(&format!("local all \"{}\" trust", user.replace('"', "\"\"")));
        prop_assert_eq!(method(&hba, "local", "d", &user), "trust");
        prop_assert_eq!(method(&hba, "local", "d", &format!("{user}x")), "none");
    }
}
