use super::*;

fn data(raw: &[u8]) -> Option<Vec<u8>> {
    unescape(raw, DEFAULT_NULL).map(Cow::into_owned)
}

#[test]
fn fields_are_found_by_their_number() {
    let line = b"7\tann\t\tlast";
    let found: Vec<_> = (0..5).map(|index| field(line, index, b'\t')).collect();
    assert_eq!(found, [Some(&b"7"[..]), Some(b"ann"), Some(b""), Some(b"last"), None]);
}

#[test]
fn an_empty_line_has_one_empty_field() {
    assert_eq!(field(b"", 0, b'\t'), Some(&b""[..]));
    assert_eq!(field(b"", 1, b'\t'), None);
    assert_eq!(field(b"a,", 1, b','), Some(&b""[..]));
}

#[test]
fn an_escaped_delimiter_is_data() {
    assert_eq!(field(b"a\\,b,c", 0, b','), Some(&b"a\\,b"[..]));
    assert_eq!(field(b"a\\,b,c", 1, b','), Some(&b"c"[..]));
    assert_eq!(field(b"a\\\\,c", 1, b','), Some(&b"c"[..]));
    // Upper-case letters may be delimiters, and hexadecimal digits come first.
    assert_eq!(field(b"\\xAFbF", 0, b'F'), Some(&b"\\xAFb"[..]));
}

#[test]
fn escapes_are_decoded_as_postgres_does() {
    for (raw, expected) in [
        (&br"plain"[..], &b"plain"[..]),
        (br"\b\f\n\r\t\v", b"\x08\x0c\n\r\t\x0b"),
        (br"\101\7\0601\400x", b"A\x0701\0x"),
        (br"\x41\x4g\xg\x", b"A\x04gxgx"),
        (br"\\\,\.\N\q", b"\\,.Nq"),
        (br"a\", b"a"),
        (b"a\\\nb", b"a\nb"),
        (br"\8", b"8"),
    ] {
        assert_eq!(data(raw).as_deref(), Some(expected), "{}", raw.escape_ascii());
    }
}

#[test]
fn a_field_without_escapes_is_borrowed() {
    assert!(matches!(unescape("Zoë".as_bytes(), DEFAULT_NULL), Some(Cow::Borrowed(_))));
}

#[test]
fn null_is_recognised_before_unescaping() {
    assert_eq!(data(br"\N"), None);
    assert_eq!(data(br"\N\"), None);
    assert_eq!(data(br"\\N").as_deref(), Some(&br"\N"[..]));
    assert_eq!(data(b"").as_deref(), Some(&b""[..]));
    assert_eq!(unescape(b"", b""), None);
    assert_eq!(unescape(br"\", b""), None);
    assert_eq!(unescape(b"nil", b"nil"), None);
    assert_eq!(unescape(br"\N", b"nil").as_deref(), Some(&b"N"[..]));
}

#[test]
fn a_field_is_read_as_a_key_to_be_stored() {
    let char3 = KeyType::Bpchar { max_chars: Some(3) };
    assert_eq!(KeyType::Int4.read_copy_field(b"007", DEFAULT_NULL), KeyValue::int(7));
    assert_eq!(KeyType::Int4.read_copy_field(br"\067", DEFAULT_NULL), KeyValue::int(7));
    assert_eq!(KeyType::Int4.read_copy_field(br"\N", DEFAULT_NULL), KeyValue::Null);
    assert_eq!(KeyType::Text.read_copy_field(br"a\000", DEFAULT_NULL), KeyValue::Invalid);
    assert_eq!(char3.read_copy_field(br"ab\x20 ", DEFAULT_NULL), KeyValue::text("ab"));
    assert_eq!(char3.read_copy_field(b"abcd", DEFAULT_NULL), KeyValue::Invalid);
}
