//! A client over TLS by hand: startup message, query, the messages that come back.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use shardway_tests::DATABASE;

use super::Secured;

pub struct Cipher(StreamOwned<ClientConnection, TcpStream>);

impl Cipher {
    /// Begins with TLS at once, or asks for it first.
    pub fn connect(secured: &Secured, alpn: &[&str], direct: bool) -> std::io::Result<Cipher> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(secured.authority.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let session = ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1").unwrap());
        let mut socket = TcpStream::connect(("127.0.0.1", secured.proxy.port()))?;
        socket.set_read_timeout(Some(shardway_tests::PATIENCE))?;
        if !direct {
            socket.write_all(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f])?;
            let mut answer = [0];
            socket.read_exact(&mut answer)?;
            assert_eq!(&answer, b"S");
        }
        let mut cipher = Cipher(StreamOwned::new(session.unwrap(), socket));
        cipher.0.conn.complete_io(&mut cipher.0.sock)?;
        Ok(cipher)
    }

    /// The startup message, as `app`.
    pub fn greet(&mut self) -> std::io::Result<()> {
        let parameters = format!("user\0app\0database\0{DATABASE}\0\0");
        let length = u32::try_from(8 + parameters.len()).unwrap();
        let message = [&length.to_be_bytes()[..], &[0, 3, 0, 0], parameters.as_bytes()].concat();
        self.0.write_all(&message)
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }

    pub fn query(&mut self, sql: &str) -> std::io::Result<()> {
        let length = u32::try_from(5 + sql.len()).unwrap();
        self.0.write_all(&[&b"Q"[..], &length.to_be_bytes(), sql.as_bytes(), b"\0"].concat())
    }

    /// The next message: its tag and body.
    pub fn message(&mut self) -> std::io::Result<(char, Vec<u8>)> {
        let mut header = [0; 5];
        self.0.read_exact(&mut header)?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let mut body = vec![0; length as usize - 4];
        self.0.read_exact(&mut body)?;
        Ok((header[0].into(), body))
    }

    /// The tags of all messages up to one with this tag, and its body.
    pub fn until(&mut self, tag: char) -> (String, Vec<u8>) {
        let mut tags = String::new();
        loop {
            let (next, body) = self.message().unwrap_or_else(|e| panic!("{e} after {tags}"));
            tags.push(next);
            if next == tag {
                return (tags, body);
            }
        }
    }
}
