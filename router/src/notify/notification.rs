//! One notification, as a server sent it.

use shardway_pool::buffer::Buffer;
use shardway_pool::frame;

/// A NotificationResponse's content. Its channel and payload are passed on as they are.
#[derive(Debug, PartialEq, Eq)]
pub struct Notification {
    body: Box<[u8]>,
    /// Where the channel's name ends.
    channel_end: usize,
}

/// Bytes of the process id in front.
const PID: usize = 4;

impl Notification {
    /// From a NotificationResponse's body; `None` if it is not one.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (channel, rest) = frame::cstr(body.get(PID..)?)?;
        let (_, []) = frame::cstr(rest)? else { return None };
        Some(Self { body: body.into(), channel_end: PID + channel.len() })
    }

    /// The server process whose client notified.
    pub fn pid(&self) -> u32 {
        self.body.first_chunk::<PID>().map_or(0, |pid| u32::from_be_bytes(*pid))
    }

    /// The channel's name.
    pub fn channel(&self) -> &[u8] {
        &self.body[PID..self.channel_end]
    }

    /// Whether it reads the same in every encoding.
    pub fn is_ascii(&self) -> bool {
        self.body[PID..].is_ascii()
    }

    /// Bytes that it takes to keep it, in all.
    pub fn weight(&self) -> usize {
        self.body.len() + 64
    }

    /// Writes it as a message, with this process id.
    pub fn put(&self, out: &mut Buffer, pid: u32) {
        out.push(b'A');
        out.extend(&(self.body.len() as u32 + 4).to_be_bytes());
        out.extend(&pid.to_be_bytes());
        out.extend(&self.body[PID..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_out_as_it_went_in_but_for_the_process_id() {
        let notification = Notification::parse(b"\0\0\0\x09orders\0paid\0").unwrap();
        assert_eq!((notification.pid(), notification.channel()), (9, &b"orders"[..]));
        let mut out = Buffer::default();
        notification.put(&mut out, 7);
        assert_eq!(out.filled(), b"A\0\0\0\x14\0\0\0\x07orders\0paid\0");
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_none() {
        let whole = b"\0\0\0\x09orders\0paid\0";
        for len in 0..whole.len() {
            assert_eq!(Notification::parse(&whole[..len]), None);
        }
        assert_eq!(Notification::parse(b"\0\0\0\x09orders\0paid\0x"), None);
    }
}
