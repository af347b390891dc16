use super::*;
use Use::{Compare, Store};

const VARCHAR3: KeyType = KeyType::Varchar { max_chars: 3 };
const CHAR3: KeyType = KeyType::Bpchar { max_chars: Some(3) };
const UUID: &[u8; 16] = b"\x8f\x14\xe4\x5f\xce\xea\x46\x7f\xa8\x30\x8d\x4c\x0e\x6b\x6a\x3d";

fn is_unproven(outcome: &KeyValue<'_>) -> bool {
    matches!(outcome, KeyValue::Unproven(_))
}

#[test]
fn oids_name_the_built_in_types() {
    for (oid, param) in [
        (0, ParamType::Unknown),
        (705, ParamType::Unknown),
        (20, ParamType::Int8),
        (21, ParamType::Int2),
        (23, ParamType::Int4),
        (25, ParamType::Text),
        (1042, ParamType::Bpchar),
        (1043, ParamType::Varchar),
        (1700, ParamType::Numeric),
        (2950, ParamType::Uuid),
        (701, ParamType::Other(701)),
    ] {
        assert_eq!(ParamType::from_oid(oid), param);
    }
}

#[test]
fn integers_of_every_width_meet() {
    for column in [KeyType::Int2, KeyType::Int4, KeyType::Int8] {
        let seven = KeyValue::int(7);
        assert_eq!(column.read_binary(ParamType::Int2, &7_i16.to_be_bytes(), Compare), seven);
        assert_eq!(column.read_binary(ParamType::Int4, &7_i32.to_be_bytes(), Compare), seven);
        assert_eq!(column.read_binary(ParamType::Int8, &7_i64.to_be_bytes(), Store), seven);
        assert_eq!(column.read_text_as(ParamType::Int8, b" +7", Compare), seven);
    }
}

#[test]
fn a_wide_integer_is_held_to_its_own_range_and_then_to_the_columns() {
    let wide = 70_000_i32.to_be_bytes();
    assert_eq!(KeyType::Int2.read_binary(ParamType::Int4, &wide, Compare), KeyValue::int(70_000));
    assert_eq!(KeyType::Int2.read_binary(ParamType::Int4, &wide, Store), KeyValue::Invalid);
    assert_eq!(KeyType::Int8.read_text_as(ParamType::Int2, b"70000", Compare), KeyValue::Invalid);
    assert_eq!(KeyType::Int2.read_text_as(ParamType::Int4, b"70000", Compare), KeyValue::int(70_000));
}

#[test]
fn a_binary_length_that_is_not_the_types_is_invalid() {
    for (declared, bytes) in [
        (ParamType::Int2, &b"\0"[..]),
        (ParamType::Int4, b"\0\0"),
        (ParamType::Int8, b""),
        (ParamType::Column, b"\0\0\0\0\0\0\0\x07"),
    ] {
        assert_eq!(KeyType::Int4.read_binary(declared, bytes, Compare), KeyValue::Invalid, "{declared:?}");
    }
    assert_eq!(KeyType::Uuid.read_binary(ParamType::Uuid, &UUID[1..], Compare), KeyValue::Invalid);
}

#[test]
fn an_undeclared_parameter_of_another_length_has_another_type() {
    assert_eq!(
        KeyType::Int4.read_binary(ParamType::Unknown, &7_i32.to_be_bytes(), Compare),
        KeyValue::int(7)
    );
    assert!(is_unproven(&KeyType::Int4.read_binary(ParamType::Unknown, &7_i64.to_be_bytes(), Compare)));
}

#[test]
fn a_numeric_parameter_is_the_key_that_it_equals_or_is_rounded_to() {
    let seven = [0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
    assert_eq!(KeyType::Int4.read_binary(ParamType::Numeric, &seven, Compare), KeyValue::int(7));
    assert_eq!(KeyType::Int4.read_text_as(ParamType::Numeric, b"7.00", Compare), KeyValue::int(7));
    assert_eq!(KeyType::Int4.read_text_as(ParamType::Numeric, b"7.01", Compare), KeyValue::Null);
    assert_eq!(KeyType::Int4.read_text_as(ParamType::Numeric, b"7.51", Store), KeyValue::int(8));
    assert!(is_unproven(&KeyType::Text.read_binary(ParamType::Numeric, &seven, Store)));
}

#[test]
fn strings_beside_char_columns_lose_their_trailing_spaces() {
    for declared in [ParamType::Text, ParamType::Varchar, ParamType::Bpchar, ParamType::Citext] {
        assert_eq!(CHAR3.read_binary(declared, b"ab  ", Compare), KeyValue::text("ab"), "{declared:?}");
        assert_eq!(CHAR3.read_text_as(declared, b"ab  ", Store), KeyValue::text("ab"), "{declared:?}");
    }
}

#[test]
fn a_bpchar_beside_varchar_matches_rows_on_many_shards() {
    assert!(is_unproven(&VARCHAR3.read_binary(ParamType::Bpchar, b"ab", Compare)));
    assert!(is_unproven(&KeyType::Text.read_text_as(ParamType::Bpchar, b"ab", Compare)));
}

#[test]
fn a_bpchar_is_stored_elsewhere_without_its_padding() {
    for column in [KeyType::Text, VARCHAR3, KeyType::Citext] {
        assert_eq!(column.read_binary(ParamType::Bpchar, b"ab   ", Store), KeyValue::text("ab"), "{column}");
    }
}

#[test]
fn text_beside_citext_goes_where_its_lower_case_lives() {
    for declared in [ParamType::Unknown, ParamType::Text, ParamType::Varchar, ParamType::Citext] {
        assert_eq!(KeyType::Citext.read_binary(declared, b"ABC", Compare), KeyValue::text("abc"));
    }
    assert_eq!(KeyType::Text.read_binary(ParamType::Citext, b"ABC", Compare), KeyValue::text("ABC"));
}

#[test]
fn a_uuid_is_stored_into_text_as_it_prints() {
    let printed = KeyValue::text("8f14e45f-ceea-467f-a830-8d4c0e6b6a3d");
    assert_eq!(KeyType::Text.read_binary(ParamType::Uuid, UUID, Store), printed);
    let upper = b"8F14E45FCEEA467FA8308D4C0E6B6A3D";
    assert_eq!(KeyType::Citext.read_text_as(ParamType::Uuid, upper, Store), printed);
    assert_eq!(VARCHAR3.read_binary(ParamType::Uuid, UUID, Store), KeyValue::Invalid);
    assert!(is_unproven(&KeyType::Text.read_binary(ParamType::Uuid, UUID, Compare)));
}

#[test]
fn pairs_without_an_operator_are_unproven() {
    for how in [Compare, Store] {
        for column in [KeyType::Int4, KeyType::Uuid, KeyType::Enum] {
            for declared in [ParamType::Text, ParamType::Varchar, ParamType::Bpchar, ParamType::Citext] {
                assert!(is_unproven(&column.read_binary(declared, b"7", how)), "{column} {declared:?}");
                assert!(is_unproven(&column.read_text_as(declared, b"7", how)), "{column} {declared:?}");
            }
            assert!(is_unproven(&column.read_binary(ParamType::Other(701), &[0; 8], how)));
        }
        assert!(is_unproven(&KeyType::Int8.read_binary(ParamType::Uuid, UUID, how)));
    }
}

#[test]
fn an_enums_own_parameter_is_its_label() {
    assert_eq!(KeyType::Enum.read_binary(ParamType::Column, b"open", Compare), KeyValue::text("open"));
    assert_eq!(KeyType::Enum.read_text_as(ParamType::Unknown, b"open", Store), KeyValue::text("open"));
}
