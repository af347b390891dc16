//! What strangers send is read without a panic and within its bounds: some random inputs with each run. The targets of
//! `fuzz/` look for more, by the same laws.

#[path = "../../fuzz/src/laws.rs"]
mod laws;

use proptest::{collection::vec, prelude::*};

/// Bytes that are partly what a length, a count or a string may be.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..8),
        Just(vec![0]),
        (0u16..9).prop_map(|n| n.to_be_bytes().to_vec()),
        (0u32..40).prop_map(|n| n.to_be_bytes().to_vec()),
        Just(vec![0xff; 4]),
        Just(b"application_name\0x\0".to_vec()),
        Just(b"SERROR\0C42601\0Mx\0\0".to_vec()),
        "[A-Za-z]".prop_map(String::into_bytes),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

const SQL: [&str; 46] = [
    "SELECT ",
    "'",
    "''",
    "\"",
    "$$",
    "$tag$",
    "$1",
    "/*",
    "*/",
    "--",
    "\n",
    ";",
    "E'\\",
    "\\'",
    "1.5e",
    "0x1f",
    "1_000",
    "(",
    ")",
    "[",
    "::",
    "ü",
    "💧",
    "\u{1}",
    "PREPARE p (int) AS ",
    "EXECUTE p (",
    "/* shard: 1 */",
    "/* sharding_key: 'a' */",
    "B'01'",
    "U&'\\0041'",
    "SET x TO ",
    ",",
    " ",
    ".",
    "..",
    "-",
    "x",
    "BEGIN",
    "COPY",
    "e'",
    "'\n'",
    "\r",
    "\u{b}",
    "DEALLOCATE ",
    "ISOLATION LEVEL ",
    "AND CHAIN",
];

/// Texts that are nearly SQL.
fn text() -> impl Strategy<Value = String> {
    vec(prop::sample::select(SQL.to_vec()), 0..25).prop_map(|pieces| pieces.concat())
}

const SCRAM: [&str; 14] = [
    "n,,",
    "y,,",
    "p=tls-server-end-point,,",
    "n=",
    "r=",
    "c=biws",
    "p=",
    "abc",
    ",",
    "=",
    "m=x",
    "\0",
    "ü",
    "p=\0",
];

/// What a SCRAM client might say.
fn proof() -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(SCRAM.to_vec()), 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

fn number() -> impl Strategy<Value = Vec<u8>> {
    "-?[0-9]{0,30}(\\.[0-9]{0,30})?".prop_map(String::into_bytes)
}

/// What a COPY might bring, with the byte in front that says in which format.
fn rows() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[a,\"\\\\.N\n\r\t]{0,8}".prop_map(String::into_bytes),
        Just(b"\0\x02\0\0\0\x01a\0\0\0\x01b".to_vec()),
        vec(any::<u8>(), 0..4),
        Just(vec![0xff; 4]),
        Just(b"\\.\r\n".to_vec()),
    ];
    (any::<u8>(), vec(piece, 0..8)).prop_map(|(kind, pieces)| [vec![kind], pieces.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_within_their_bounds(bytes in wire()) {
        laws::frames(&bytes);
    }

    #[test]
    fn parameters_are_within_their_bind(bytes in wire()) {
        laws::bind(&bytes);
    }

    #[test]
    fn nobody_gets_in_by_what_they_make_up(bytes in prop_oneof![wire(), proof()]) {
        laws::scram(&bytes);
    }

    #[test]
    fn a_scan_finds_what_is_there(text in prop_oneof![text(), ".{0,80}"]) {
        laws::sql(&text);
    }

    #[test]
    fn rows_are_dealt_alike_wherever_they_are_cut(bytes in rows()) {
        laws::copy(&bytes);
    }

    #[test]
    fn a_number_is_written_as_it_was_read(bytes in prop_oneof![wire(), number()]) {
        laws::numeric(&bytes);
    }
}

/// One look at each byte: a client's long text must not keep a worker from all others.
#[test]
fn a_long_text_is_cut_into_tokens_in_one_go() {
    let text = "x ".repeat(400_000);
    assert_eq!(shardway_router::sql::scan::all_tokens(&text).map(|tokens| tokens.len()), Some(400_000));
}
