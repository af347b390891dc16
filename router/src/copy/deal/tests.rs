//! The dealer against a plain reader that has all of the data at hand.

use super::*;
use crate::copy::{Csv, ForceQuote, Text};
use proptest::prelude::*;
use shardway_shardmap::{CanonicalKey, Function, KeyType};

const SHARDS: u32 = 3;

fn map() -> ShardMap {
    ShardMap::new(Function::Fnv1a, SHARDS).unwrap()
}

fn text() -> Format {
    Format::Text(Text { delimiter: b'\t', null: b"\\N".to_vec(), header: false })
}

fn csv(header: bool, escape: u8) -> Format {
    Format::Csv(Csv {
        delimiter: b',',
        null: Vec::new(),
        header,
        quote: b'"',
        escape,
        key_not_null: false,
        key_null: false,
        force_quote: ForceQuote::Columns(Vec::new()),
        marks_end: true,
    })
}

/// What each shard is sent, and what stopped it.
fn dealt(format: &Format, place: usize, data: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, Option<Stop>) {
    let map = map();
    let key = KeyField { place, key_type: KeyType::Text, utf8: true };
    let mut dealer = Dealer::new(format.clone(), Some(key), 2, &map, ShardId(0));
    let mut sent: Vec<Vec<u8>> = vec![Vec::new(); SHARDS as usize];
    let mut from = 0;
    let mut stop = None;
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (data.len() + 1)).collect();
    ends.sort_unstable();
    for to in ends.into_iter().chain([data.len()]) {
        stop = stop.or(dealer.feed(&data[from..to]).err());
        from = to;
        take(&mut dealer, &mut sent);
        if stop.is_some() {
            break;
        }
    }
    let stop = stop.or_else(|| dealer.finish().err());
    take(&mut dealer, &mut sent);
    (sent, stop)
}

fn take(dealer: &mut Dealer<'_>, sent: &mut [Vec<u8>]) {
    for (n, sent) in sent.iter_mut().enumerate() {
        let lane = dealer.lane(ShardId(n as u32));
        if lane.waiting() > 0 {
            let message = lane.message();
            let length = u32::from_be_bytes(message[1..5].try_into().unwrap());
            assert_eq!((message[0], length as usize + 1), (b'd', message.len()));
            sent.extend_from_slice(&message[5..]);
            lane.sent();
        }
    }
}

fn owner(key: &str) -> usize {
    map().locate(&CanonicalKey::Text(key.into())).unwrap().0 as usize
}

/// A field of a row whose last one is `last`, in text.
fn in_text(value: &str, last: bool) -> String {
    let mut out = String::new();
    for c in value.chars() {
        match c {
            '\n' => out.push_str("\\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out + if last { "\n" } else { "\t" }
}

fn in_csv(value: &str, last: bool, escape: char) -> String {
    let body = value.replace(escape, &format!("{escape}{escape}"));
    let body = if escape == '"' { body } else { body.replace('"', &format!("{escape}\"")) };
    format!("\"{body}\"{}", if last { "\n" } else { "," })
}

fn in_binary(row: &(String, String)) -> Vec<u8> {
    let mut out = vec![0, 2];
    for value in [&row.0, &row.1] {
        out.extend_from_slice(&(value.len() as u32).to_be_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    out
}

fn rows() -> impl Strategy<Value = Vec<(String, String)>> {
    let value = "[ab\\\\\n\r\",é.N\t]{0,6}";
    proptest::collection::vec((value, value), 0..12)
}

proptest! {
    #[test]
    fn rows_of_text_go_where_their_keys_say(rows in rows(), cuts in proptest::collection::vec(0usize..400, 0..12)) {
        let mut shards = vec![Vec::new(); SHARDS as usize];
        let mut all = Vec::new();
        for (a, b) in &rows {
            let row = in_text(a, false) + &in_text(b, true);
            all.extend_from_slice(row.as_bytes());
            shards[owner(b)].extend_from_slice(row.as_bytes());
        }
        prop_assert_eq!(dealt(&text(), 1, &all, &cuts), (shards, None));
    }

    #[test]
    fn rows_of_csv_go_where_their_keys_say(
        rows in rows(),
        cuts in proptest::collection::vec(0usize..400, 0..12),
        odd_escape: bool,
        header: bool,
    ) {
        let escape = if odd_escape { '\\' } else { '"' };
        let mut shards = vec![Vec::new(); SHARDS as usize];
        let mut all = Vec::new();
        if header {
            all.extend_from_slice(b"\"a\nb\",c\n");
            shards[0].extend_from_slice(b"\"a\nb\",c\n");
        }
        for (a, b) in &rows {
            let row = in_csv(a, false, escape) + &in_csv(b, true, escape);
            all.extend_from_slice(row.as_bytes());
            let sent = &mut shards[owner(b)];
            if header && sent.is_empty() {
                sent.extend_from_slice(b"\"a\nb\",c\n");
            }
            sent.extend_from_slice(row.as_bytes());
        }
        prop_assert_eq!(dealt(&csv(header, escape as u8), 1, &all, &cuts), (shards, None));
    }

    #[test]
    fn rows_of_binary_go_where_their_keys_say(rows in rows(), cuts in proptest::collection::vec(0usize..400, 0..12)) {
        let mut shards = vec![Vec::new(); SHARDS as usize];
        shards[0].extend_from_slice(binary::START);
        let mut all = binary::START.to_vec();
        for row in &rows {
            let sent = &mut shards[owner(&row.1)];
            if sent.is_empty() {
                sent.extend_from_slice(binary::START);
            }
            sent.extend_from_slice(&in_binary(row));
            all.extend_from_slice(&in_binary(row));
        }
        all.extend_from_slice(binary::TRAILER);
        prop_assert_eq!(dealt(&Format::Binary, 1, &all, &cuts), (shards, None));
    }

    #[test]
    fn whatever_comes_where_it_is_cut_does_not_matter(
        data in "[a,\"\\\\.\n\r\t]{0,40}",
        cuts in proptest::collection::vec(0usize..40, 0..8),
        place in 0usize..2,
    ) {
        for format in [text(), csv(false, b'"'), csv(true, b'\\')] {
            let whole = dealt(&format, place, data.as_bytes(), &[]);
            prop_assert_eq!(&dealt(&format, place, data.as_bytes(), &cuts), &whole, "{:?}", format);
        }
    }

    #[test]
    fn whatever_bytes_come_in_binary_where_they_are_cut_does_not_matter(
        tail in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), Just(255), any::<u8>()], 0..40),
        cuts in proptest::collection::vec(0usize..60, 0..8),
    ) {
        let data = [binary::START, &tail].concat();
        prop_assert_eq!(dealt(&Format::Binary, 0, &data, &cuts), dealt(&Format::Binary, 0, &data, &[]));
    }
}

#[test]
fn the_end_mark_ends_the_data_and_may_stand_behind_a_row() {
    for (data, sent) in [
        (&b"1\ta\n\\.\nrest"[..], &b"1\ta\n"[..]),
        (b"1\ta\\.\nrest", b"1\ta"),
        (b"\\.\r\n", b""),
        (b"1\ta\r\n\\.\r\n2", b"1\ta\r\n"),
        (b"1\ta\r\\.\rb", b"1\ta\r"),
    ] {
        let (shards, stop) = dealt(&text(), 1, data, &[2, 5, 6, 7]);
        assert_eq!((&shards[owner("a")][..], stop), (sent, None), "{data:?}");
    }
    let (shards, stop) = dealt(&csv(false, b'"'), 1, b"1,a\n\\.b,a\n\\.\nrest", &[5, 6]);
    assert_eq!((&shards[owner("a")][..], stop), (&b"1,a\n\\.b,a\n"[..], None));
    // Cut at each byte: the mark's own end of line is two, and no row's.
    let data = b"1,a\r\n\\.\r\n2,a\r\n";
    for cut in 0..data.len() {
        let (shards, stop) = dealt(&csv(false, b'"'), 1, data, &[cut]);
        assert_eq!((&shards[owner("a")][..], stop), (&b"1,a\r\n"[..], None), "cut at {cut}");
    }
}

#[test]
fn what_is_no_row_is_given_to_a_shard_that_knows_the_end_of_line() {
    let home = owner("a");
    for (data, sent) in [
        (&b"1\ta\n2\tb\rc\n"[..], &b"1\ta\n2\tb\r"[..]),
        (b"1\ta\r\n2\tb\n", b"1\ta\r\n2\tb\n"),
        (b"1\ta\n\\.x", b"1\ta\n\\.x"),
        (b"1\ta\n\\.", b"1\ta\n\\."),
    ] {
        let (shards, stop) = dealt(&text(), 1, data, &[3]);
        let stop = stop.unwrap();
        assert_eq!((stop.why, stop.line, stop.shard), (Why::Malformed, 2, Some(ShardId(home as u32))));
        assert_eq!(shards[home], sent, "{data:?}");
    }
    let (shards, stop) = dealt(&text(), 1, b"1\ta\r2\tb\r\n", &[]);
    assert_eq!(stop.map(|stop| (stop.why, stop.line)), Some((Why::Newline(false), 3)));
    assert_eq!(shards.concat().len(), 8);
    let (shards, stop) = dealt(&csv(false, b'"'), 1, b"1,a\n\"2\nb", &[]);
    assert_eq!((stop.unwrap().line, &shards[home][..]), (3, &b"1,a\n\"2\nb"[..]));
}

#[test]
fn the_lines_of_a_shard_are_the_clients() {
    let map = map();
    let key = KeyField { place: 0, key_type: KeyType::Text, utf8: true };
    let mut dealer = Dealer::new(csv(true, b'"'), Some(key), 2, &map, ShardId(0));
    let a = owner("a");
    let other = ["b", "c", "d", "e"].into_iter().find(|key| owner(key) != a).unwrap();
    let data = format!("k,v\na,1\n{other},\"x\ny\"\na,\"\n\n\"\n{other},2\n");
    dealer.feed(data.as_bytes()).unwrap();
    let lines = |dealer: &mut Dealer<'_>, shard: usize| {
        let lines = &dealer.lane(ShardId(shard as u32)).lines;
        (1..=lines.count()).filter_map(|line| lines.clients(line)).collect::<Vec<_>>()
    };
    assert_eq!(lines(&mut dealer, a), [1, 2, 5, 6, 7]);
    assert_eq!(lines(&mut dealer, owner(other)), [1, 3, 4, 8]);
    assert_eq!(dealer.line(), 9);
}

#[test]
fn null_keys_and_missing_ones_stop_at_their_line() {
    for (data, why) in [
        (&b"1\ta\n2\t\\N\n"[..], Why::NullKey),
        (b"1\ta\n2\n", Why::NoKey),
        (b"1\ta\n2\t\xff\n", Why::Unproven("the text is not valid UTF-8, so its encoding is unknown")),
    ] {
        let stop = dealt(&text(), 1, data, &[]).1.unwrap();
        assert_eq!((stop.line, stop.why), (2, why));
    }
}
