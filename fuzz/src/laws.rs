//! What holds for any input of the code that reads what strangers send. The fuzz targets look for inputs that break
//! it, and `router/tests/decoding.rs` tries some with every test run.

// Each target uses one of them.
#![allow(dead_code)]

use shardway_pool::{cancel::BackendKey, frame, server::Parameters};
use shardway_router::{
    client::auth::{
        SaltKey, StoredSecret,
        scram::{Channel, ScramServer},
    },
    combine::numeric::Numeric,
    copy::{
        Csv, ForceQuote, Format, KeyField, Text, binary,
        deal::{Dealer, Stop},
    },
    plan::locate::Params,
    sql::{
        command::Command,
        hint, literal,
        prepare::{Argument, Execute, Prepare},
        scan::{self, Scan},
    },
};
use shardway_shardmap::{Function, KeyType, ShardId, ShardMap};

/// Messages are never longer than they say, nor than there are bytes; fields lie within them.
pub fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((tag, body))) = frame::first(rest, 1 << 20) {
        let header = frame::peek(rest, 1 << 20).expect("a frame").expect("a header");
        assert_eq!((header.tag, header.len), (tag, body.len() + frame::HEADER));
        assert!(header.len <= rest.len());
        fields(body);
        rest = &rest[header.len..];
    }
    fields(bytes);
    if let Ok(Some(header)) = frame::peek(bytes, 100) {
        assert!((frame::HEADER..=frame::HEADER + 100).contains(&header.len));
    }
}

fn fields(body: &[u8]) {
    for code in 0..=u8::MAX {
        if let Some(field) = frame::error_field(body, code) {
            assert!(field.len() < body.len());
        }
    }
    if let Some((string, rest)) = frame::cstr(body) {
        assert_eq!(string.len() + 1 + rest.len(), body.len());
        assert!(!string.contains(&0));
    }
    let _ = BackendKey::parse(body);
    let _ = Parameters::default().report(body);
}

/// The parameters of a Bind lie within it, and there are as many as it says.
pub fn bind(body: &[u8]) {
    let Some(params) = Params::parse(body) else { return };
    // Looking one up takes as long as there are others before it.
    for n in (0..params.len()).take(300) {
        let param = params.get(n).expect("a parameter that was counted");
        assert!(param.bytes.is_none_or(|bytes| bytes.len() <= body.len()));
    }
    assert!(params.get(params.len()).is_none());
    assert!(params.result_formats.len() <= body.len());
}

/// Nobody gets in by what they make up, whatever it is.
pub fn scram(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = StoredSecret::parse(&text);
    let (first, last) = bytes.split_at(bytes.len() / 2);
    let salts = SaltKey::from_bytes([7; 32]);
    let server = ScramServer::mock("nobody", &salts, "0123456789abcdef".to_owned());
    if let Ok((_, waiting)) = server.client_first(first, Channel::Bare) {
        assert!(waiting.client_final(last).is_err());
    }
}

/// A scan's finds lie within the text, in order, at the borders of characters.
pub fn sql(text: &str) {
    let mut scan = Scan::default();
    let whole = scan.run(text).is_ok();
    let mut end = 0;
    for found in &scan.literals {
        assert!(end <= found.start && found.start < found.end && found.end <= text.len());
        let _ = literal::string_value(found.kind, &text[found.start..found.end]);
        end = found.end;
    }
    for &(start, end) in scan.words.iter().chain(&scan.comments) {
        assert!(start <= end && text.get(start..end).is_some());
    }
    assert!(scan.semicolons.iter().all(|&at| text.as_bytes()[at] == b';'));
    assert!(scan.template.len() <= text.len() + scan.literals.len());
    let _ = (Command::of(&scan, text), Command::of_text(text), hint::find(text));
    let _ = (Prepare::parse(text), Execute::parse(text), Argument::of(text));
    scan::tokens(text).into_iter().for_each(|token| drop(scan::identifier(token)));
    if let Some(all) = scan::all_tokens(text) {
        assert!(whole);
        assert!(
            all.iter()
                .map(|token| (token.start, token.end))
                .take(scan.words.len())
                .eq(scan.words.iter().copied())
        );
        assert!(all.windows(2).all(|two| two[0].end <= two[1].start));
        assert!(all.iter().all(|token| text.get(token.clone()).is_some()));
    }
}

/// A COPY's rows go to the same shards wherever their messages are cut, and no shard gets what the client has not sent. The
/// first byte says in which format they are.
pub fn copy(bytes: &[u8]) {
    let Some((&kind, data)) = bytes.split_first() else { return };
    let header = kind & 4 > 0;
    let format = match kind & 3 {
        0 | 1 => Format::Text(Text {
            delimiter: if kind & 1 > 0 { b',' } else { b'\t' },
            null: b"\\N".to_vec(),
            header,
        }),
        2 => Format::Csv(Csv {
            delimiter: b',',
            null: Vec::new(),
            header,
            quote: b'"',
            escape: if kind & 8 > 0 { b'\\' } else { b'"' },
            key_not_null: kind & 16 > 0,
            key_null: kind & 32 > 0,
            force_quote: ForceQuote::All,
            marks_end: kind & 64 > 0,
        }),
        _ => Format::Binary,
    };
    let in_binary = format == Format::Binary;
    let data = if in_binary { &[binary::START, data].concat() } else { data };
    let at_once = dealt(&format, data, data.len());
    for step in [1, 2, 7] {
        assert_eq!(dealt(&format, data, step), at_once);
    }
    if !header && !in_binary {
        assert!(at_once.0.iter().map(Vec::len).sum::<usize>() <= data.len());
    }
}

/// What each of three shards is sent of data that comes in such steps, and what ended it early.
fn dealt(format: &Format, data: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<Stop>) {
    let map = ShardMap::new(Function::Fnv1a, 3).expect("three shards");
    let key = KeyField { place: 1, key_type: KeyType::Text, utf8: true };
    let mut dealer = Dealer::new(format.clone(), Some(key), 2, &map, ShardId(0));
    let mut sent = vec![Vec::new(); 3];
    let mut take = |dealer: &mut Dealer<'_>| {
        for (shard, sent) in (0..).zip(&mut sent) {
            let lane = dealer.lane(ShardId(shard));
            if lane.waiting() > 0 {
                sent.extend_from_slice(&lane.message()[frame::HEADER..]);
                lane.sent();
            }
        }
    };
    let mut stop = None;
    for piece in data.chunks(step.max(1)) {
        stop = dealer.feed(piece).err();
        take(&mut dealer);
        if stop.is_some() {
            break;
        }
    }
    let stop = stop.or_else(|| dealer.finish().err());
    take(&mut dealer);
    (sent, stop)
}

/// What is read is written the same.
pub fn numeric(bytes: &[u8]) {
    if let Some(number) = Numeric::receive(bytes) {
        let mut again = Vec::new();
        number.write_binary(&mut again);
        let reread = Numeric::receive(&again).expect("what was written is read");
        assert_eq!(reread, number);
    }
    if let Some(number) = Numeric::parse(bytes) {
        let mut text = Vec::new();
        number.write_text(&mut text);
        assert_eq!(Numeric::parse(&text), Some(number));
    }
}
