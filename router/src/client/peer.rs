//! Who is at the other end of a client's socket: the address that rules go by, and on a Unix socket the operating
//! system's user.

use super::startup::Hello;
use shardway_config::hba::{Origin, Peer};
use shardway_pool::stream::Stream;
use std::ffi::CStr;
use std::io;

/// Bytes that one entry of the user database may take.
const LARGEST_ENTRY: usize = 64 * 1024;

/// A connection as the rules of an hba file see it. Errors: it is gone.
pub(super) fn of<'a>(stream: &Stream, hello: &'a Hello) -> io::Result<Peer<'a>> {
    let origin = if stream.is_unix() { Origin::Local } else { Origin::Tcp(stream.peer_addr()?.ip()) };
    Ok(Peer { origin, tls: stream.tls().is_some(), database: &hello.database, user: &hello.user })
}

/// The operating system's user at the other end; `None` where there is none, or none of a name.
///
/// Asks the directory services, which may take their time: not on the worker.
pub(super) async fn system_user(stream: &Stream) -> Option<String> {
    let Stream::Unix(socket) = stream else { return None };
    let uid = socket.peer_cred().ok()?.uid();
    tokio::task::spawn_blocking(move || name_of(uid)).await.ok().flatten()
}

/// Whether the process at the other end is of the operating system's user that this one is.
pub(super) fn is_ours(stream: &Stream) -> bool {
    let Stream::Unix(socket) = stream else { return false };
    // SAFETY: getuid(2) takes nothing, touches no memory and can't fail.
    socket.peer_cred().is_ok_and(|peer| peer.uid() == unsafe { libc::getuid() })
}

/// The name of a user's number (getpwuid_r(3)).
fn name_of(uid: u32) -> Option<String> {
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut found = std::ptr::null_mut();
    let mut strings = vec![0; LARGEST_ENTRY];
    // SAFETY: each pointer is good for writing what it points to, and `strings` for its whole length.
    let failed =
        unsafe { libc::getpwuid_r(uid, entry.as_mut_ptr(), strings.as_mut_ptr(), strings.len(), &mut found) };
    if failed != 0 || found.is_null() {
        return None;
    }
    // SAFETY: there was an entry, so `found` points to `entry`, filled in, and its name to a string in `strings`.
    let name = unsafe { CStr::from_ptr((*found).pw_name) };
    name.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names_or_none() {
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(name_of(u32::MAX - 7), None);
    }

    #[tokio::test]
    async fn a_unix_sockets_peer_is_known_by_name() {
        let (ours, _theirs) = tokio::net::UnixStream::pair().unwrap();
        // SAFETY: geteuid(2) takes nothing, touches no memory and can't fail.
        let me = name_of(unsafe { libc::geteuid() });
        assert_eq!(system_user(&Stream::Unix(ours)).await, me);
    }
}
