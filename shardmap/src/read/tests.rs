use super::*;
use Use::{Compare, Store};

const VARCHAR3: KeyType = KeyType::Varchar { max_chars: 3 };
const CHAR3: KeyType = KeyType::Bpchar { max_chars: Some(3) };

fn is_unproven(outcome: &KeyValue<'_>) -> bool {
    matches!(outcome, KeyValue::Unproven(_))
}

#[test]
fn the_column_decides_what_a_literal_means() {
    assert_eq!(KeyType::Int4.read_text(b"007", Compare), KeyValue::int(7));
    assert_eq!(KeyType::Text.read_text(b"007", Compare), KeyValue::text("007"));
}

#[test]
fn integer_text_beyond_the_columns_range_is_an_error_of_postgres() {
    for (key_type, past) in
        [(KeyType::Int2, "32768"), (KeyType::Int4, "-2147483649"), (KeyType::Int8, "9223372036854775808")]
    {
        assert_eq!(key_type.read_text(past.as_bytes(), Compare), KeyValue::Invalid, "{key_type}");
        assert_eq!(key_type.read_text(past.as_bytes(), Store), KeyValue::Invalid, "{key_type}");
    }
    assert_eq!(KeyType::Int2.read_text(b"-32768", Store), KeyValue::int(-32768));
}

#[test]
fn an_integer_beyond_the_columns_range_compares_but_is_not_stored() {
    assert_eq!(KeyType::Int2.read_int(70_000, Compare), KeyValue::int(70_000));
    assert_eq!(KeyType::Int2.read_int(70_000, Store), KeyValue::Invalid);
    assert_eq!(KeyType::Int4.read_int(i64::MAX, Store), KeyValue::Invalid);
    assert_eq!(KeyType::Int8.read_int(i64::MAX, Store), KeyValue::int(i64::MAX));
}

#[test]
fn an_integer_is_stored_into_text_as_its_decimal_text() {
    for key_type in [KeyType::Text, VARCHAR3, CHAR3, KeyType::Citext] {
        assert_eq!(key_type.read_int(-7, Store), KeyValue::text("-7"), "{key_type}");
    }
    assert_eq!(VARCHAR3.read_int(1234, Store), KeyValue::Invalid);
    assert_eq!(CHAR3.read_int(1234, Store), KeyValue::Invalid);
}

#[test]
fn an_integer_beside_another_type_is_unproven_since_users_add_casts() {
    for key_type in [KeyType::Text, VARCHAR3, CHAR3, KeyType::Citext, KeyType::Uuid, KeyType::Enum] {
        assert!(is_unproven(&key_type.read_int(7, Compare)), "{key_type}");
    }
    assert!(is_unproven(&KeyType::Uuid.read_int(7, Store)));
    assert!(is_unproven(&KeyType::Enum.read_int(7, Store)));
}

#[test]
fn a_numeric_is_a_key_only_where_it_is_an_integer() {
    assert_eq!(KeyType::Int4.read_numeric_text(b"7.0", Compare), KeyValue::int(7));
    assert_eq!(KeyType::Int4.read_numeric_text(b"1e3", Store), KeyValue::int(1000));
    assert_eq!(KeyType::Int2.read_numeric_text(b"7e4", Store), KeyValue::Invalid);
    assert_eq!(KeyType::Int2.read_numeric_text(b"7e4", Compare), KeyValue::int(70_000));
    assert_eq!(KeyType::Int4.read_numeric_text(b"7.5", Compare), KeyValue::Null);
    assert_eq!(KeyType::Int4.read_numeric_text(b"7.5", Store), KeyValue::int(8));
    assert_eq!(KeyType::Int2.read_numeric_text(b"32767.5", Store), KeyValue::Invalid);
    assert!(is_unproven(&KeyType::Text.read_numeric_text(b"7.0", Store)));
}

#[test]
fn length_counts_where_a_value_is_stored_and_not_where_it_is_compared() {
    assert_eq!(VARCHAR3.read_text(b"abcd", Compare), KeyValue::text("abcd"));
    assert_eq!(VARCHAR3.read_text(b"abcd", Store), KeyValue::Invalid);
    assert_eq!(CHAR3.read_text(b"abcd", Compare), KeyValue::text("abcd"));
    assert_eq!(CHAR3.read_text(b"abcd", Store), KeyValue::Invalid);
}

#[test]
fn trailing_spaces_mean_something_in_varchar_and_nothing_in_char() {
    assert_eq!(VARCHAR3.read_text(b"ab     ", Compare), KeyValue::text("ab     "));
    assert_eq!(VARCHAR3.read_text(b"ab     ", Store), KeyValue::text("ab "));
    assert_eq!(CHAR3.read_text(b"ab     ", Compare), KeyValue::text("ab"));
    assert_eq!(CHAR3.read_text(b"ab     ", Store), KeyValue::text("ab"));
    assert_eq!(KeyType::Bpchar { max_chars: None }.read_text(b"ab  ", Store), KeyValue::text("ab"));
}

#[test]
fn citext_is_lowered_where_no_locale_disagrees() {
    assert_eq!(KeyType::Citext.read_text(b"SKU-9", Compare), KeyValue::text("sku-9"));
    assert_eq!(KeyType::Citext.read_text("zoë".as_bytes(), Store), KeyValue::text("zoë"));
    assert!(is_unproven(&KeyType::Citext.read_text("Zoë".as_bytes(), Store)));
}

#[test]
fn a_uuid_is_read_in_any_spelling_but_not_padded() {
    let upper = b"{8F14E45FCEEA467FA8308D4C0E6B6A3D}";
    let KeyValue::Key(key) = KeyType::Uuid.read_text(upper, Compare) else { panic!("not a key") };
    assert_eq!(key.to_string(), "8f14e45f-ceea-467f-a830-8d4c0e6b6a3d");
    assert_eq!(KeyType::Uuid.read_text(b"8f14e45fceea467fa8308d4c0e6b6a3d ", Compare), KeyValue::Invalid);
}

#[test]
fn text_needs_an_encoding_that_is_known_and_no_nul() {
    for key_type in [KeyType::Text, VARCHAR3, CHAR3, KeyType::Citext, KeyType::Enum] {
        assert_eq!(key_type.read_text(b"a\0", Compare), KeyValue::Invalid, "{key_type}");
        assert_eq!(key_type.read_text(b"\xe9", Compare), KeyValue::Unproven(NOT_UTF8), "{key_type}");
    }
}
