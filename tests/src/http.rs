//! A GET, for the health checks and the metrics.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use shardway_cluster::HOST;

use crate::wait::{PATIENCE, must};

/// The status and the body of `http://127.0.0.1:<port><path>`; panics when there is no answer.
#[track_caller]
pub fn http_get(port: u16, path: &str) -> (u16, String) {
    must(&format!("GET http://{HOST}:{port}{path}"), try_http_get(port, path))
}

/// As [`http_get`], for when there may be nobody listening.
///
/// # Errors
/// No connection, no answer in time, or one that is not HTTP.
pub fn try_http_get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect((HOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0, so that the body ends where the connection does.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {HOST}:{port}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let not_http = || io::Error::new(io::ErrorKind::InvalidData, format!("not an HTTP answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(not_http)?;
    Ok((status, body.to_owned()))
}
