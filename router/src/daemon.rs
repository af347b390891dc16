//! Going to the background: a process of its own session, without a terminal.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;

/// Goes on in a child of a child, whose standard streams lead nowhere; the process that calls ends. To be called while there is one
/// thread alone. Errors: the system refuses; all is as it was where the first step failed.
pub fn detach() -> io::Result<()> {
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    fork_and_leave()?;
    // SAFETY: it takes nothing.
    check(unsafe { libc::setsid() })?;
    // Whoever leads a session could get a terminal by accident.
    fork_and_leave()?;
    for stream in 0..=2 {
        // SAFETY: both descriptors are open; nobody else uses them yet.
        check(unsafe { libc::dup2(nowhere.as_raw_fd(), stream) })?;
    }
    Ok(())
}

fn fork_and_leave() -> io::Result<()> {
    // SAFETY: with one thread no lock can be held by another, so that the child is as good as the parent.
    if check(unsafe { libc::fork() })? > 0 {
        // SAFETY: the parent's destructors must not run: what it holds is the child's.
        unsafe { libc::_exit(0) };
    }
    Ok(())
}

fn check(outcome: libc::c_int) -> io::Result<libc::c_int> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}
