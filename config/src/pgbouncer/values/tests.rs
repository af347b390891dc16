use super::*;

#[test]
fn flags_are_numbers_and_the_usual_words() {
    for text in ["1", "2", "-1", "0x1", "yes", "On", "TRUE"] {
        assert_eq!(bool::parse(text), Ok(true), "{text}");
    }
    for text in ["0", "00", "no", "OFF", "false"] {
        assert_eq!(bool::parse(text), Ok(false), "{text}");
    }
    assert_eq!(bool::parse("y").unwrap_err(), "expected 0 or 1, found \"y\"");
    assert_eq!((true.show(), false.show()), ("1".to_owned(), "0".to_owned()));
}

#[test]
fn lists_are_parted_by_commas_and_spaces_and_shown_as_written() {
    let list = List::parse("a , b,c d,").unwrap();
    assert_eq!(list.iter().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(list.show(), "a , b,c d,");
    assert_eq!(List::default().iter().next(), None);
}

#[test]
fn words_have_no_case() {
    assert_eq!(PoolMode::parse("Transaction"), Ok(PoolMode::Transaction));
    assert_eq!(TlsMode::parse("VERIFY-CA"), Ok(TlsMode::VerifyCa));
    assert_eq!(
        PoolMode::parse("tx").unwrap_err(),
        "expected one of session, transaction, statement, found \"tx\""
    );
}

#[test]
fn a_check_is_a_query_or_an_empty_one_or_none() {
    for (text, query) in [
        ("", CheckQuery::Off),
        ("<empty>", CheckQuery::Empty),
        ("select 1", CheckQuery::Sql("select 1".into())),
    ] {
        assert_eq!(CheckQuery::parse(text), Ok(query.clone()));
        assert_eq!(query.show(), text);
    }
}

#[test]
fn ports_end_at_65535() {
    assert_eq!(u16::parse("0"), Ok(0));
    assert_eq!(u16::parse("65535"), Ok(65535));
    assert_eq!(u16::parse("65536").unwrap_err(), "expected a whole number from 0 to 65535, found \"65536\"");
}
