//! Handing an address over to the next process, so that no client that connects is turned away.
//!
//! Both listen on it for a while (`SO_REUSEPORT`), and the kernel deals new connections out to both. Whoever closes such a
//! listener resets what still waits there, and the handshakes under way. So the one that leaves first refuses to hear of new
//! connections: the kernel drops their first packet, and has them come again, a second later, to whoever is still there.
//! Then it accepts those that are through, and closes.

use socket2::{SockFilter, SockRef};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

/// How long handshakes that have begun may take. Less than the second after which a client tries again.
pub const GRACE: Duration = Duration::from_millis(300);

/// Drops TCP segments that ask for a connection: SYN without ACK, in the flags' byte of the header, which is where a
/// listener's filter begins to look.
const NO_REQUESTS: [SockFilter; 5] = [
    SockFilter::new(code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS), 0, 0, 13),
    SockFilter::new(code(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K), 0, 0, 0x12),
    SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, 0x02),
    SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, 0),
    SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX),
];

#[allow(clippy::cast_possible_truncation, reason = "opcodes are of 16 bits")]
const fn code(opcode: u32) -> u16 {
    opcode as u16
}

/// Has a listener hear of no new connections. Errors: the system can't.
pub fn refuse_requests(listener: &impl AsFd) -> io::Result<()> {
    SockRef::from(listener).attach_filter(&NO_REQUESTS)
}

/// Whether another socket listens on the very same address. Where that can't be known it may be.
pub fn is_shared(address: SocketAddr) -> bool {
    let table = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    std::fs::read_to_string(table).map_or(true, |table| listeners(&table, address) > 1)
}

/// How many sockets of one of the kernel's tables listen on an address. Source: `proc_net_tcp` in the kernel's documentation.
fn listeners(table: &str, address: SocketAddr) -> usize {
    const LISTEN: &str = "0A";
    let wanted = in_hex(address);
    let is_wanted = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&*wanted) && fields.nth(1) == Some(LISTEN)
    };
    table.lines().filter(is_wanted).count()
}

/// An address as the kernel's tables have it: words in the machine's own order of bytes.
fn in_hex(address: SocketAddr) -> String {
    let word = |bytes: &[u8]| format!("{:08X}", u32::from_ne_bytes(bytes.try_into().unwrap_or_default()));
    let ip: String = match address.ip() {
        IpAddr::V4(ip) => word(&ip.octets()),
        IpAddr::V6(ip) => ip.octets().chunks(4).map(word).collect(),
    };
    format!("{ip}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    fn shared(address: &str) -> std::net::TcpListener {
        let address: SocketAddr = address.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(64).unwrap();
        socket.into()
    }

    #[test]
    fn a_second_listener_is_seen() {
        let first = shared("127.0.0.1:0");
        let address = first.local_addr().unwrap();
        assert!(!is_shared(address));
        let second = shared(&address.to_string());
        assert!(is_shared(address));
        drop(second);
        assert!(!is_shared(address));
    }

    #[test]
    fn connections_find_the_listener_that_stays() {
        let leaving = shared("127.0.0.1:0");
        let address = leaving.local_addr().unwrap();
        let staying = shared(&address.to_string());
        refuse_requests(&leaving).unwrap();
        let clients: Vec<_> =
            (0..16).map(|_| std::thread::spawn(move || std::net::TcpStream::connect(address))).collect();
        std::thread::sleep(Duration::from_millis(50));
        leaving.set_nonblocking(true).unwrap();
        assert_eq!(leaving.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(leaving);
        let connected: Vec<_> = clients.into_iter().map(|client| client.join().unwrap().unwrap()).collect();
        let accepted: Vec<_> = connected.iter().map(|_| staying.accept().unwrap()).collect();
        assert_eq!(accepted.len(), 16);
    }
}
