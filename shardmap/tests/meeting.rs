//! However a value comes, it reaches one shard; and no bytes bring a reader down.

use proptest::prelude::*;
use shardway_shardmap::{CanonicalKey, Function, KeyType, KeyValue, ParamType, ShardMap, Use, copy};

const PARAM_TYPES: [ParamType; 12] = [
    ParamType::Unknown,
    ParamType::Column,
    ParamType::Int2,
    ParamType::Int4,
    ParamType::Int8,
    ParamType::Numeric,
    ParamType::Text,
    ParamType::Varchar,
    ParamType::Bpchar,
    ParamType::Citext,
    ParamType::Uuid,
    ParamType::Other(701),
];

fn key_types() -> impl Strategy<Value = KeyType> {
    prop_oneof![
        Just(KeyType::Int2),
        Just(KeyType::Int4),
        Just(KeyType::Int8),
        Just(KeyType::Text),
        (0_u32..9).prop_map(|max_chars| KeyType::Varchar { max_chars }),
        proptest::option::of(0_u32..9).prop_map(|max_chars| KeyType::Bpchar { max_chars }),
        Just(KeyType::Citext),
        Just(KeyType::Uuid),
        Just(KeyType::Enum),
    ]
}

/// The key, or a failure that names the outcome.
fn key(outcome: KeyValue<'_>) -> CanonicalKey<'static> {
    match outcome.into_owned() {
        KeyValue::Key(key) => key,
        other => panic!("not a key: {other:?}"),
    }
}

/// Asserts that all keys have one canonical text and one shard.
fn assert_meet(keys: &[CanonicalKey<'_>]) {
    let map = ShardMap::new(Function::Fnv1a, 64).unwrap();
    for key in keys {
        assert_eq!(key.to_string(), keys[0].to_string());
        assert_eq!(map.locate(key), map.locate(&keys[0]));
    }
}

/// A field as COPY's text format may spell it, every third byte or so escaped.
fn copy_escaped(text: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    for (i, byte) in text.iter().enumerate() {
        match (byte, i % 3) {
            (b'\\' | b'\t' | b'\n' | b'\r', _) | (_, 0) => raw.extend(format!("\\{byte:03o}").bytes()),
            (_, 1) if i % 2 == 0 => raw.extend(format!("\\x{byte:02X}").bytes()),
            _ => raw.push(*byte),
        }
    }
    raw
}

/// The key by every way that text takes: literal, text and binary parameter, COPY field.
fn ways_of_text(key_type: KeyType, declared: ParamType, text: &str) -> Vec<CanonicalKey<'static>> {
    let text = text.as_bytes();
    let line = [b"other\t", copy_escaped(text).as_slice(), b"\tmore"].concat();
    let field = copy::field(&line, 1, b'\t').unwrap();
    vec![
        key(key_type.read_text(text, Use::Compare)),
        key(key_type.read_text(text, Use::Store)),
        key(key_type.read_text_as(declared, text, Use::Compare)),
        key(key_type.read_text_as(ParamType::Unknown, text, Use::Compare)),
        key(key_type.read_binary(declared, text, Use::Compare)),
        key(key_type.read_binary(ParamType::Unknown, text, Use::Store)),
        key(key_type.read_copy_field(field, copy::DEFAULT_NULL)),
    ]
}

proptest! {
    #[test]
    fn an_integer_meets_itself_however_it_comes(value: i16, zeros in 0_usize..30, space in "[ \t\n\r\x0b\x0c]{0,3}") {
        let wide = i64::from(value);
        let sign = if value < 0 { "-" } else if zeros % 2 == 0 { "+" } else { "" };
        let spelling = format!("{space}{sign}{:0>zeros$}{}{space}", "", value.unsigned_abs());
        for column in [KeyType::Int2, KeyType::Int4, KeyType::Int8] {
            assert_meet(&[
                CanonicalKey::Text(value.to_string().into()),
                key(column.read_int(wide, Use::Compare)),
                key(column.read_int(wide, Use::Store)),
                key(column.read_text(spelling.as_bytes(), Use::Compare)),
                key(column.read_numeric_text(format!("{value}.00").as_bytes(), Use::Compare)),
                key(column.read_text_as(ParamType::Int8, spelling.as_bytes(), Use::Compare)),
                key(column.read_binary(ParamType::Int2, &value.to_be_bytes(), Use::Compare)),
                key(column.read_binary(ParamType::Int4, &i32::from(value).to_be_bytes(), Use::Store)),
                key(column.read_binary(ParamType::Int8, &wide.to_be_bytes(), Use::Compare)),
                key(column.read_copy_field(&copy_escaped(spelling.as_bytes()), copy::DEFAULT_NULL)),
            ]);
        }
    }

    #[test]
    fn a_wide_integer_meets_itself_however_it_comes(value: i64) {
        let column = KeyType::Int8;
        assert_meet(&[
            CanonicalKey::Text(value.to_string().into()),
            key(column.read_int(value, Use::Store)),
            key(column.read_text(value.to_string().as_bytes(), Use::Store)),
            key(column.read_binary(ParamType::Unknown, &value.to_be_bytes(), Use::Compare)),
            key(column.read_numeric_text(format!("{value}.0").as_bytes(), Use::Compare)),
        ]);
    }

    #[test]
    fn a_uuid_meets_itself_however_it_is_spelt(bytes: [u8; 16], hyphens: [bool; 7], upper: bool, braces: bool) {
        let mut spelling = String::new();
        for (i, pair) in bytes.chunks(2).enumerate() {
            let hyphen = if i > 0 && hyphens[i - 1] { "-" } else { "" };
            spelling.push_str(&format!("{hyphen}{:02x}{:02x}", pair[0], pair[1]));
        }
        if upper { spelling.make_ascii_uppercase(); }
        if braces { spelling = format!("{{{spelling}}}"); }
        assert_meet(&[
            key(KeyType::Uuid.read_text(spelling.as_bytes(), Use::Compare)),
            key(KeyType::Uuid.read_text_as(ParamType::Uuid, spelling.as_bytes(), Use::Store)),
            key(KeyType::Uuid.read_binary(ParamType::Uuid, &bytes, Use::Compare)),
            key(KeyType::Uuid.read_binary(ParamType::Unknown, &bytes, Use::Store)),
            key(KeyType::Uuid.read_copy_field(&copy_escaped(spelling.as_bytes()), copy::DEFAULT_NULL)),
            key(KeyType::Text.read_binary(ParamType::Uuid, &bytes, Use::Store)),
        ]);
    }

    #[test]
    fn a_text_meets_itself_however_it_comes(text in "[^\0]{0,8}") {
        for declared in [ParamType::Text, ParamType::Varchar, ParamType::Citext, ParamType::Column] {
            for key_type in [KeyType::Text, KeyType::Varchar { max_chars: 8 }] {
                let mut keys = ways_of_text(key_type, declared, &text);
                keys.push(CanonicalKey::Text(text.as_str().into()));
                assert_meet(&keys);
            }
        }
        assert_meet(&ways_of_text(KeyType::Enum, ParamType::Column, &text));
    }

    #[test]
    fn a_char_meets_itself_whatever_its_padding(text in "[a-zé日 ]{0,6}", padding in " {0,9}") {
        let padded = format!("{text}{padding}");
        for max_chars in [None, Some(6), Some(9)] {
            for declared in [ParamType::Text, ParamType::Varchar, ParamType::Bpchar, ParamType::Column] {
                let mut keys = ways_of_text(KeyType::Bpchar { max_chars }, declared, &padded);
                keys.push(CanonicalKey::Text(text.trim_end_matches(' ').into()));
                assert_meet(&keys);
            }
        }
    }

    #[test]
    fn a_citext_meets_itself_in_any_case(text in "[ -~]{0,12}") {
        for spelling in [text.to_ascii_uppercase(), text.to_ascii_lowercase(), text.clone()] {
            let mut keys = ways_of_text(KeyType::Citext, ParamType::Text, &spelling);
            keys.push(CanonicalKey::Text(text.to_ascii_lowercase().into()));
            assert_meet(&keys);
        }
    }

    #[test]
    fn texts_that_lower_alike_are_never_proven_apart(a in "[iIıİ\u{307}kK\u{212a}éÉ]{0,3}", b in "[iIıİ\u{307}kK\u{212a}éÉ]{0,3}") {
        let outcomes = [&a, &b].map(|text| KeyType::Citext.read_text(text.as_bytes(), Use::Compare));
        // Turkish lowers the dotted and the dotless pair each to its own; others lower all capitals alike.
        let turkish = |text: &str| text.replace('I', "ı").replace("İ", "i").to_lowercase();
        if (a.to_lowercase() == b.to_lowercase() || turkish(&a) == turkish(&b))
            && let [KeyValue::Key(a), KeyValue::Key(b)] = &outcomes
        {
            prop_assert_eq!(a, b);
        }
    }

    #[test]
    fn a_proven_key_read_again_is_itself(key_type in key_types(), text in "[ -~]{0,10}|[+-]?[0-9]{1,20}|\\PC{0,6}") {
        for how in [Use::Compare, Use::Store] {
            if let KeyValue::Key(key) = key_type.read_text(text.as_bytes(), how) {
                let again = key.with_text(|text| key_type.read_text(text.as_bytes(), how).into_owned());
                prop_assert_eq!(again, KeyValue::Key(key.into_owned()));
            }
        }
    }

    #[test]
    fn what_may_be_stored_compares_to_a_key_or_is_unproven(key_type in key_types(), text in "[ -~]{0,10}|[0-9]{1,6}") {
        if let KeyValue::Key(_) = key_type.read_text(text.as_bytes(), Use::Store) {
            let compared = key_type.read_text(text.as_bytes(), Use::Compare);
            prop_assert!(compared.key().is_some(), "{:?}", compared);
        }
    }

    #[test]
    fn no_bytes_bring_a_reader_down(key_type in key_types(), bytes in proptest::collection::vec(any::<u8>(), 0..40), value: i64, index in 0_usize..4) {
        let map = ShardMap::new(Function::Fnv1a, 7).unwrap();
        for how in [Use::Compare, Use::Store] {
            let mut outcomes = vec![
                key_type.read_text(&bytes, how),
                key_type.read_int(value, how),
                key_type.read_numeric_text(&bytes, how),
            ];
            for declared in PARAM_TYPES {
                outcomes.push(key_type.read_text_as(declared, &bytes, how));
                outcomes.push(key_type.read_binary(declared, &bytes, how));
            }
            let field = copy::field(&bytes, index, bytes.first().copied().unwrap_or(b','));
            outcomes.push(key_type.read_copy_field(field.unwrap_or_default(), b""));
            for key in outcomes.iter().filter_map(KeyValue::key) {
                prop_assert!(map.locate(key).unwrap().0 < 7);
            }
        }
    }

    #[test]
    fn fields_put_together_are_found_again(fields in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..8), 1..5)) {
        let raw: Vec<_> = fields.iter().map(|field| copy_escaped(field)).collect();
        let line = raw.join(&b'\t');
        for (index, data) in fields.iter().enumerate() {
            let found = copy::field(&line, index, b'\t').unwrap();
            let unescaped = copy::unescape(found, copy::DEFAULT_NULL);
            prop_assert_eq!(unescaped.as_deref(), Some(data.as_slice()));
        }
        prop_assert_eq!(copy::field(&line, fields.len(), b'\t'), None);
    }
}
