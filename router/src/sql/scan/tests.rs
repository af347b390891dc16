//! Scanning, by examples and by law.

use super::*;
use proptest::prelude::*;

fn scan(text: &str) -> Scan {
    let mut scan = Scan::default();
    scan.run(text).unwrap();
    scan
}

fn literals(text: &str) -> Vec<&str> {
    scan(text).literals.iter().map(|l| &text[l.start..l.end]).collect()
}

#[test]
fn texts_that_differ_in_values_share_a_template() {
    let a = scan("SELECT * FROM t WHERE id = 42 AND name = 'x''y'");
    let b = scan("SELECT * FROM t WHERE  id = 7 AND name = ''");
    assert_eq!(a.template, b.template);
}

#[test]
fn kinds_of_literals_are_told_apart() {
    let kinds = ["1", "1.5", "'1'", "E'1'", "$$1$$", "$1", "B'1'", "1e5", "-1"];
    let templates: std::collections::HashSet<_> =
        kinds.iter().map(|k| scan(&format!("SELECT {k}")).template).collect();
    // 1.5 and 1e5 are both decimals; all others differ.
    assert_eq!(templates.len(), kinds.len() - 1);
}

#[test]
fn literals_are_found_where_postgres_finds_them() {
    assert_eq!(
        literals(r"SELECT E'a\'b', t1.x2, $1, $q$ it's $q$, 'a''b'"),
        [r"E'a\'b'", "$q$ it's $q$", "'a''b'"]
    );
    assert_eq!(
        literals("SELECT a[1:2], 1.5e-3, .5, 1..2 -- 7\n, \"8\" /* 9 */"),
        ["1", "2", "1.5e-3", ".5", "1", ".2"]
    );
    assert_eq!(literals("SELECT 0x1F, 1_000"), Vec::<&str>::new());
}

#[test]
fn a_string_goes_on_behind_a_line_break_by_the_rules_of_its_first_piece() {
    assert_eq!(literals("SELECT E'a' -- x\n 'b\\'c;' , 'd' 'e'"), ["E'a' -- x\n 'b\\'c;'", "'d'", "'e'"]);
    assert_eq!(scan("DELETE FROM t WHERE a = E'a'\n'b\\'; --' ").semicolons, Vec::<usize>::new());
    assert_ne!(scan("SELECT 'a'\n'b'").template, scan("SELECT 'a' 'b'").template);
}

#[test]
fn semicolons_count_outside_of_strings_and_parentheses_only() {
    assert_eq!(scan("select ';' ; select (1;2) -- ;\n;").semicolons.len(), 2);
}

#[test]
fn what_is_not_closed_is_said() {
    for text in ["select 'a", "select \"a", "/* a", "$$ a", "select E'a\\'"] {
        assert_eq!(Scan::default().run(text), Err(Unclosed), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}") {
        let _ = Scan::default().run(&text);
    }

    #[test]
    fn tokens_of_any_order_scan_without_panic(parts in proptest::collection::vec(
        prop_oneof![Just("'a'"), Just("$1"), Just("$$"), Just("E'\\'"), Just("/*"), Just("*/"), Just("--"), Just("\n"), Just("1."), Just(".."), Just("e5"), Just("U&'"), Just("é"), Just("\"")], 0..12)) {
        let _ = Scan::default().run(&parts.concat());
    }
}
