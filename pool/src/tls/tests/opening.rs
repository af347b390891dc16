//! What is made of a server's answer to SSLRequest.

use super::*;
use crate::address::ServerAddress;
use crate::cancel::{BackendKey, CancelSlot, CancelTarget};
use crate::error::PoolError;
use crate::tls::open::{Channel, open};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that says these words to one connection after the other, and then nothing more.
async fn server(words: &'static [&'static [u8]]) -> ServerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        for words in words {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            if words.is_empty() {
                open.push(socket);
            } else {
                socket.read_exact(&mut request).await.unwrap();
                assert_eq!(request, [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]);
                answer(socket, words, &mut open).await;
            }
        }
        std::future::pending::<()>().await;
    });
    at(port)
}

fn at(port: u16) -> ServerAddress {
    let connector = Arc::new(Connector::new(&TlsFiles::default()).unwrap());
    let (host, dbname) = ("127.0.0.1".to_owned(), "d".to_owned());
    ServerAddress {
        host,
        hosts: None,
        target: TargetSession::Any,
        port,
        dbname,
        tls: TlsMode::Prefer,
        connector,
        tcp: Tcp::default(),
    }
}

/// `!` behind the words: and hangs up.
async fn answer(mut socket: TcpStream, words: &[u8], open: &mut Vec<TcpStream>) {
    match words.strip_suffix(b"!") {
        Some(words) => socket.write_all(words).await.unwrap(),
        None => {
            socket.write_all(words).await.unwrap();
            open.push(socket);
        }
    }
}

async fn refused(words: &'static [&'static [u8]]) -> PoolError {
    open(&server(words).await, Channel::Tls).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn a_server_without_tls_will_do_where_tls_is_preferred() {
    let stream = open(&server(&[b"N"]).await, Channel::Preferred).await.unwrap();
    assert!(matches!(stream, Stream::Tcp(_)));
    let error = refused(&[b"N"]).await;
    assert!(matches!(error, PoolError::Tls { .. }), "{error}");
    assert!(error.to_string().contains("the server does not support TLS"), "{error}");
}

#[tokio::test]
async fn tls_that_does_not_work_is_gone_without_where_it_is_preferred() {
    const SERVERS: [&[&[u8]]; 3] = [&[b"S!", b""], &[b"Snot a record!", b""], &[b"Ehm!", b""]];
    for words in SERVERS {
        let stream = open(&server(words).await, Channel::Preferred).await.unwrap();
        assert!(matches!(stream, Stream::Tcp(_)));
    }
}

#[tokio::test]
async fn what_comes_before_the_encryption_is_not_taken_for_part_of_it() {
    let error = refused(&[b"SZ\0\0\0\x05I"]).await;
    assert!(error.to_string().contains("received unencrypted data after SSL response"), "{error}");
    let error = refused(&[b"E"]).await;
    assert!(error.to_string().contains("invalid response to SSL negotiation"), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_up_is_an_outage() {
    assert!(refused(&[b"S!"]).await.is_outage());
    assert!(!refused(&[b"N!"]).await.is_outage());
}

#[tokio::test]
async fn what_cancels_an_encrypted_connection_is_not_sent_in_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Arc::new(at(listener.local_addr().unwrap().port()));
    let (key, slot) = (BackendKey { pid: 1, secret: 2 }, CancelSlot::default());
    let target = Arc::new(CancelTarget { address, key, tls: true, slot, prepared: Default::default() });
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_exact(&mut [0; 8]).await.unwrap();
        socket.write_all(b"N").await.unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        rest
    };
    let ((), rest) = tokio::join!(target.announce().send(Duration::from_secs(5)), server);
    assert_eq!(rest, b"");
}
