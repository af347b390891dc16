//! Where messages begin and end in one direction of a connection. Pure: bytes in, marks out.

use super::Way;

/// What a startup packet asks for, by its code.
const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// What comes next in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Too few bytes to say.
    More,
    /// A message of so many bytes. Packets without a tag (startup, cancel, and a server's answer to SSLRequest) have
    /// the tag 0.
    Message { tag: u8, len: usize },
    /// What comes from here on has no messages: TLS, or nothing that can be understood.
    Opaque,
}

/// The packets without a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// The server is to answer with one byte.
    Encryption,
    /// Nothing comes behind it.
    Cancel,
    /// The startup message's parameters.
    Startup(Vec<(String, String)>),
}

/// One direction's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framer {
    /// A client before its startup message.
    Greeting,
    /// A server that owes single bytes.
    Answers(usize),
    /// Tagged messages.
    Tagged,
    /// Bytes.
    Opaque,
}

impl Framer {
    pub(crate) fn new(way: Way) -> Framer {
        match way {
            Way::FromClient => Framer::Greeting,
            Way::FromServer => Framer::Answers(0),
        }
    }

    /// What is at the start of `bytes`.
    pub(crate) fn next(&self, bytes: &[u8]) -> Next {
        let length = |at: usize| {
            let length = bytes.get(at..at + 4)?.try_into().map(u32::from_be_bytes).ok()?;
            Some(length as usize)
        };
        match self {
            Framer::Opaque => Next::Opaque,
            Framer::Answers(1..) if bytes.is_empty() => Next::More,
            Framer::Answers(1..) => Next::Message { tag: 0, len: 1 },
            Framer::Greeting => match (bytes.len() >= 8).then(|| length(0)).flatten() {
                None => Next::More,
                Some(len @ 8..10_000) => Next::Message { tag: 0, len },
                Some(_) => Next::Opaque,
            },
            Framer::Answers(0) | Framer::Tagged => match length(1) {
                None => Next::More,
                Some(len @ 4..=0x3fff_ffff) => Next::Message { tag: bytes[0], len: len + 1 },
                Some(_) => Next::Opaque,
            },
        }
    }
}

/// What a whole packet of a client that has not begun says.
pub(crate) fn packet(bytes: &[u8]) -> Option<Packet> {
    let code = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
    Some(match code {
        CANCEL => Packet::Cancel,
        SSL | GSS => Packet::Encryption,
        _ => {
            let mut strings =
                bytes[8..].split(|&byte| byte == 0).map(|s| String::from_utf8_lossy(s).into_owned());
            let mut parameters = Vec::new();
            while let (Some(name), Some(value)) = (strings.next().filter(|n| !n.is_empty()), strings.next()) {
                parameters.push((name, value));
            }
            Packet::Startup(parameters)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_first_packets_have_no_tag() {
        let framer = Framer::new(Way::FromClient);
        let startup = b"\0\0\0\x12\0\x03\0\0user\0app\0\0";
        assert_eq!(framer.next(&startup[..7]), Next::More);
        assert_eq!(framer.next(&startup[..]), Next::Message { tag: 0, len: 18 });
        assert_eq!(packet(startup), Some(Packet::Startup(vec![("user".into(), "app".into())])));
        assert_eq!(packet(b"\0\0\0\x08\x04\xd2\x16\x2f"), Some(Packet::Encryption));
        assert_eq!(packet(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\0\0\0\0\0"), Some(Packet::Cancel));
    }

    #[test]
    fn messages_are_known_by_their_first_five_bytes() {
        assert_eq!(Framer::Tagged.next(b"Z\0\0\0"), Next::More);
        assert_eq!(Framer::Tagged.next(b"Z\0\0\0\x05"), Next::Message { tag: b'Z', len: 6 });
        assert_eq!(Framer::Tagged.next(b"Z\0\0\0\x03I"), Next::Opaque);
        assert_eq!(Framer::Answers(1).next(b"N"), Next::Message { tag: 0, len: 1 });
    }
}
