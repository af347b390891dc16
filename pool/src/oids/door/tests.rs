use super::super::{Made, maps};
use super::*;
use crate::catalog::types::{Objects, Type};

/// `mood`, `mood[]` and `spot`; the client's begin at 16400, the shard's at 20000.
fn side(first: u32) -> Objects {
    let kind =
        |name: &str, is_array, oid, made| Type { name: ("public".into(), name.into()), is_array, oid, made };
    let types = vec![
        kind("mood", false, first, Made::Plain),
        kind("mood", true, first + 1, Made::Array(first)),
        kind("spot", false, first + 2, Made::Record),
    ];
    Objects { types, relations: vec![(("public".into(), "t".into()), first + 3)] }
}

fn door() -> Door {
    Door::new(maps(&[Some(&side(16400)), Some(&side(20000))]).remove(1).unwrap())
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Buffer::default();
    frame::put(&mut out, tag, body);
    out.filled().to_vec()
}

fn array(of: u32) -> Vec<u8> {
    [&[1, 0, of, 1, 1, 2].map(u32::to_be_bytes).concat()[..], b"ok"].concat()
}

fn parse(name: &str, types: &[u32]) -> Vec<u8> {
    let types: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
    let count = (types.len() as u16 / 4).to_be_bytes();
    message(b'P', &[name.as_bytes(), b"\0SELECT\0", &count, &types].concat())
}

/// A Bind of one parameter in binary, if there is one, with results in binary or not.
fn bind(portal: &str, name: &str, value: Option<&[u8]>, binary: bool) -> Vec<u8> {
    let mut body = [portal.as_bytes(), b"\0", name.as_bytes(), b"\0"].concat();
    match value {
        None => body.extend([0, 0, 0, 0]),
        Some(value) => {
            body.extend([0, 1, 0, 1, 0, 1]);
            body.extend((value.len() as u32).to_be_bytes());
            body.extend(value);
        }
    }
    body.extend([0, 1, 0, u8::from(binary)]);
    message(b'B', &body)
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

fn execute(portal: &str) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), &[0; 5]].concat())
}

/// A RowDescription of one column.
fn columns(oid: u32, relation: u32, binary: bool) -> Vec<u8> {
    let numbers = [&relation.to_be_bytes()[..], &[0, 1], &oid.to_be_bytes()].concat();
    let format = [0, 4, 255, 255, 255, 255, 0, u8::from(binary)];
    message(b'T', &[&[0, 1][..], b"a\0", &numbers, &format].concat())
}

fn parameters(oid: u32) -> Vec<u8> {
    message(b't', &[&[0, 1][..], &oid.to_be_bytes()].concat())
}

fn row(value: &[u8]) -> Vec<u8> {
    message(b'D', &[&[0, 1][..], &(value.len() as u32).to_be_bytes(), value].concat())
}

fn said(tag: u8) -> Vec<u8> {
    message(tag, if tag == b'Z' { b"I" } else { b"" })
}

const SYNC: &[u8] = b"S\0\0\0\x04";

/// What goes out of these messages.
fn out(door: &mut Door, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut output = Buffer::default();
    output.extend(&messages.concat());
    rest(door, &mut output)
}

fn rest(door: &mut Door, output: &mut Buffer) -> Vec<u8> {
    door.check(output);
    let sent = output.filled()[..door.checked].to_vec();
    output.consume(door.checked);
    door.checked = 0;
    sent
}

/// What comes in of these, read in pieces of so many bytes.
fn heard(door: &mut Door, messages: &[Vec<u8>], piece: usize) -> Vec<u8> {
    let mut input = Buffer::default();
    for piece in messages.concat().chunks(piece) {
        door.outside.extend(piece);
        door.admit(&mut input);
    }
    assert!(door.outside.is_empty());
    input.filled().to_vec()
}

#[test]
fn descriptions_and_declared_types_change_sides() {
    for piece in [1, 7, 1000] {
        let mut door = door();
        let asked = [parse("s", &[16400, 23]), describe(b'S', "s"), SYNC.to_vec()];
        assert_eq!(
            out(&mut door, &asked),
            [parse("s", &[20000, 23]), describe(b'S', "s"), SYNC.to_vec()].concat()
        );
        let answer = [said(b'1'), parameters(20000), columns(20001, 20003, false), said(b'Z')];
        let seen = [said(b'1'), parameters(16400), columns(16401, 16403, false), said(b'Z')].concat();
        assert_eq!(heard(&mut door, &answer, piece), seen);
        assert!(door.is_idle());
    }
}

#[test]
fn rows_of_a_query_are_of_the_columns_in_front_of_them() {
    for piece in [1, 9, 1000] {
        let mut door = door();
        out(&mut door, &[message(b'Q', b"FETCH 1 FROM c; SELECT\0")]);
        let answer = [
            columns(20001, 0, true),
            row(&array(20000)),
            said(b'C'),
            columns(20001, 0, false),
            row(&array(20000)),
            said(b'C'),
            said(b'Z'),
        ];
        let mut seen = answer.clone();
        seen[0] = columns(16401, 0, true);
        seen[1] = row(&array(16400));
        // In text, it would be no such value.
        seen[3] = columns(16401, 0, false);
        assert_eq!(heard(&mut door, &answer, piece), seen.concat());
    }
}

#[test]
fn who_asks_for_rows_alone_has_their_columns_asked_for() {
    for piece in [1, 11, 1000] {
        let mut door = door();
        let batch = [parse("", &[]), bind("", "", None, true), execute(""), SYNC.to_vec()];
        let sent = [parse("", &[]), describe(b'S', ""), bind("", "", None, true), execute(""), SYNC.to_vec()];
        assert_eq!(out(&mut door, &batch), sent.concat());
        let own = [message(b't', &[0, 0]), columns(20001, 0, false)];
        let answer =
            [&[said(b'1')][..], &own, &[said(b'2'), row(&array(20000)), said(b'C'), said(b'Z')]].concat();
        let seen = [said(b'1'), said(b'2'), row(&array(16400)), said(b'C'), said(b'Z')].concat();
        assert_eq!(heard(&mut door, &answer, piece), seen);
        // Once is enough for a statement.
        let again = [bind("", "", None, true), execute(""), SYNC.to_vec()];
        assert_eq!(out(&mut door, &again), again.concat());
        let answer = [said(b'2'), row(&array(20000)), said(b's'), said(b'Z')];
        let seen = [said(b'2'), row(&array(16400)), said(b's'), said(b'Z')].concat();
        assert_eq!(heard(&mut door, &answer, piece), seen);
    }
}

#[test]
fn who_describes_the_portal_needs_no_more() {
    let mut door = door();
    let batch = [parse("", &[]), bind("p", "", None, true), describe(b'P', "p"), execute("p"), SYNC.to_vec()];
    assert_eq!(out(&mut door, &batch), batch.concat());
    let answer = [
        said(b'1'),
        said(b'2'),
        columns(20001, 0, true),
        row(&array(20000)),
        said(b's'),
        message(b'Z', b"T"),
    ];
    let seen = [
        said(b'1'),
        said(b'2'),
        columns(16401, 0, true),
        row(&array(16400)),
        said(b's'),
        message(b'Z', b"T"),
    ];
    assert_eq!(heard(&mut door, &answer, 13), seen.concat());
    // Nor later in the transaction.
    let more = [execute("p"), SYNC.to_vec()];
    assert_eq!(out(&mut door, &more), more.concat());
    assert_eq!(heard(&mut door, &[row(&array(20000))], 13), row(&array(16400)));
}

#[test]
fn text_is_passed_on_as_it_comes() {
    let mut door = door();
    let batch = [parse("", &[]), bind("", "", None, false), execute(""), SYNC.to_vec()];
    assert_eq!(out(&mut door, &batch), batch.concat());
    let answer = [said(b'1'), said(b'2'), row(&array(20000))].concat();
    let mut input = Buffer::default();
    door.outside.extend(&answer[..answer.len() - 3]);
    door.admit(&mut input);
    assert_eq!(input.filled(), &answer[..answer.len() - 3]);
}

#[test]
fn parameters_change_sides_by_their_declared_types() {
    let mut door = door();
    let batch = [parse("", &[16401]), bind("", "", Some(&array(16400)), false), SYNC.to_vec()];
    let sent = [parse("", &[20001]), bind("", "", Some(&array(20000)), false), SYNC.to_vec()];
    assert_eq!(out(&mut door, &batch), sent.concat());
    // A number that looks like one is a number.
    let batch = [parse("", &[17]), bind("", "", Some(&array(16400)), false), SYNC.to_vec()];
    assert_eq!(out(&mut door, &batch), batch.concat());
}

#[test]
fn a_value_of_a_type_that_nobody_declared_waits_for_the_server_to_say() {
    let mut door = door();
    let mut output = Buffer::default();
    let value = array(16400);
    output.extend(&[parse("", &[]), bind("", "", Some(&value), false), execute(""), SYNC.to_vec()].concat());
    let sent = [parse("", &[]), describe(b'S', ""), FLUSH.to_vec()].concat();
    assert_eq!(rest(&mut door, &mut output), sent);
    assert!(door.awaits());
    assert_eq!(rest(&mut door, &mut output), b"");
    let answer = [said(b'1'), parameters(20001), said(b'n')];
    assert_eq!(heard(&mut door, &answer, 3), said(b'1'));
    let sent = [bind("", "", Some(&array(20000)), false), execute(""), SYNC.to_vec()].concat();
    assert_eq!(rest(&mut door, &mut output), sent);
    assert!(!door.awaits());
    // What holds no such number does not wait.
    let batch = [parse("", &[]), bind("", "", Some(&[7; 40]), false), SYNC.to_vec()];
    assert_eq!(out(&mut door, &batch), batch.concat());
}

#[test]
fn behind_an_error_nothing_is_waited_for_up_to_a_sync() {
    let mut door = door();
    let mut output = Buffer::default();
    let batch = [bind("", "", Some(&array(16400)), true), execute("")].concat();
    output.extend(&[&parse("", &[])[..], &batch, SYNC, &parse("", &[16400]), SYNC].concat());
    rest(&mut door, &mut output);
    assert_eq!(heard(&mut door, &[said(b'E')], 3), said(b'E'));
    // The server passes over it.
    let sent = [&batch[..], SYNC, &parse("", &[20000]), SYNC].concat();
    assert_eq!(rest(&mut door, &mut output), sent);
    let answer = [said(b'Z'), said(b'1'), said(b'Z')];
    assert_eq!(heard(&mut door, &answer, 3), answer.concat());
    assert!(door.is_idle());
}

#[test]
fn an_error_takes_along_what_was_asked_up_to_its_sync_alone() {
    let mut door = door();
    let one = |name| [parse(name, &[]), bind("", name, None, true), execute(""), SYNC.to_vec()];
    out(&mut door, &[one("a"), one("b")].concat());
    let told = [message(b't', &[0, 0]), columns(20001, 0, false)];
    let answer = [
        &[said(b'E'), said(b'Z'), said(b'1')][..],
        &told,
        &[said(b'2'), row(&array(20000)), said(b'C'), said(b'Z')],
    ];
    let seen = [said(b'E'), said(b'Z'), said(b'1'), said(b'2'), row(&array(16400)), said(b'C'), said(b'Z')];
    assert_eq!(heard(&mut door, &answer.concat(), 5), seen.concat());
    assert!(door.is_idle());
}

#[test]
fn a_sync_within_copied_data_is_none() {
    let mut door = door();
    let copy = [parse("", &[]), bind("", "", None, false), execute(""), SYNC.to_vec()];
    out(&mut door, &copy);
    heard(&mut door, &[said(b'1'), said(b'2'), message(b'G', &[0, 0, 0])], 100);
    out(&mut door, &[message(b'd', b"1\n"), message(b'c', b""), SYNC.to_vec()]);
    heard(&mut door, &[said(b'C'), said(b'Z')], 100);
    assert!(door.is_idle());
}

/// The data of a COPY in binary of one column.
fn copied(value: &[u8]) -> Vec<u8> {
    let row = [&[0, 1][..], &(value.len() as u32).to_be_bytes(), value].concat();
    [&b"PGCOPY\n\xff\r\n\0"[..], &[0; 8], &row, &[0, 1, 255, 255, 255, 255], &row, &[255, 255]].concat()
}

/// What the CopyData among messages have in them.
fn data(messages: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), messages);
    while let Ok(Some((tag, body))) = frame::first(rest, frame::MAX_MESSAGE) {
        out.extend_from_slice(if tag == b'd' { body } else { b"" });
        rest = &rest[HEADER + body.len()..];
    }
    assert!(rest.is_empty());
    out
}

#[test]
fn copied_values_change_sides_however_their_data_is_cut() {
    for piece in [1, 5, 19, 40, 1000] {
        let mut door = door();
        door.expect_copy([16401].into());
        out(&mut door, &[message(b'Q', b"COPY\0")]);
        heard(&mut door, &[message(b'G', &[1, 0, 1, 0, 1])], 100);
        let value = copied(&array(16400));
        let pieces: Vec<Vec<u8>> = value.chunks(piece).map(|data| message(b'd', data)).collect();
        let mut sent = out(&mut door, &pieces);
        sent.extend(out(&mut door, &[message(b'c', b"")]));
        assert_eq!(data(&sent), copied(&array(20000)), "{piece}");
        assert!(sent.ends_with(&message(b'c', b"")));
        heard(&mut door, &[said(b'C'), said(b'Z')], 100);
        // The next one is another.
        let raw = [message(b'd', &value)];
        assert_eq!(out(&mut door, &raw), raw.concat());
    }
}

#[test]
fn an_error_behind_a_copy_leaves_what_follows_as_it_was() {
    let mut door = door();
    out(&mut door, &[message(b'Q', b"COPY\0")]);
    heard(&mut door, &[message(b'G', &[0, 0, 0])], 100);
    out(&mut door, &[message(b'd', b"1\n"), message(b'c', b"")]);
    heard(&mut door, &[said(b'C'), said(b'Z')], 100);
    out(&mut door, &[message(b'Q', b"SELECT nosuch\0")]);
    heard(&mut door, &[said(b'E'), said(b'Z')], 100);
    assert_eq!(out(&mut door, &[parse("s", &[16400])]), parse("s", &[20000]));
}

#[test]
fn behind_data_that_is_not_taken_any_more_messages_stay_whole() {
    let mut door = door();
    door.expect_copy([16401].into());
    out(&mut door, &[message(b'Q', b"COPY\0")]);
    heard(&mut door, &[message(b'G', &[1, 0, 1, 0, 1])], 100);
    let data = message(b'd', &copied(&array(16400)));
    let mut output = Buffer::default();
    output.extend(&data[..20]);
    rest(&mut door, &mut output);
    heard(&mut door, &[said(b'E'), said(b'Z')], 100);
    output.extend(&data[20..]);
    output.extend(&message(b'Q', b"SELECT\0"));
    assert_eq!(rest(&mut door, &mut output), message(b'Q', b"SELECT\0"));
}

#[test]
fn values_that_a_server_copies_out_change_sides() {
    for piece in [1, 50, 1000] {
        let mut door = door();
        door.expect_copy([16401].into());
        out(&mut door, &[message(b'Q', b"COPY\0")]);
        let (header, rows) = (copied(&array(20000))[..19].to_vec(), copied(&array(20000))[19..].to_vec());
        let row = 2 + 4 + array(20000).len();
        let sent =
            [[&header[..], &rows[..row]].concat(), rows[row..row + 6].to_vec(), rows[row + 6..].to_vec()];
        let sent: Vec<Vec<u8>> = sent.iter().map(|data| message(b'd', data)).collect();
        let came = heard(&mut door, &sent, piece);
        assert_eq!(data(&came), copied(&array(16400)));
    }
}
