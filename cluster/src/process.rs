//! Signals, and the process table: a Postgres server is a tree of processes, and each backend is a session
//! leader of its own, so a signal to the postmaster's process group does not reach them.

use std::{fs, io, time::Duration};

use crate::deadline::poll;

/// How long a signal that can't be refused (SIGSTOP, SIGKILL) may take to show.
const SIGNAL_TAKES: Duration = Duration::from_secs(5);

/// Sends `signal` to the process `pid`. A process that has just ended is no error: it needs no signal.
pub(crate) fn signal(pid: u32, signal: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    if unsafe { libc::kill(pid, signal) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
}

/// The children of `pid`, as /proc knows them; none on a system without /proc.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|&candidate| stat(candidate).is_some_and(|stat| stat.parent == pid))
        .collect()
}

/// Stops `pid` from running, and so from forking: its children can be counted after this.
pub(crate) fn freeze(pid: u32) -> io::Result<()> {
    signal(pid, libc::SIGSTOP)?;
    let stopped = || stat(pid).is_none_or(|stat| matches!(stat.state, 'T' | 'Z'));
    poll(SIGNAL_TAKES, || Ok::<_, io::Error>(stopped().then_some(())))?;
    Ok(())
}

/// Waits until none of `pids` runs any more.
pub(crate) fn wait_gone(pids: &[u32]) -> io::Result<()> {
    let gone = |&pid: &u32| stat(pid).is_none_or(|stat| stat.state == 'Z');
    let all = poll(SIGNAL_TAKES, || Ok::<_, io::Error>(pids.iter().all(gone).then_some(())))?;
    all.ok_or_else(|| io::Error::other(format!("some of the processes {pids:?} do not end")))
}

/// Removes a System V shared memory segment that nobody is attached to any more. What can't be removed is
/// left: it is a few bytes.
pub(crate) fn remove_shared_memory(id: i32) {
    // SAFETY: IPC_RMID takes no buffer.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
}

struct Stat {
    state: char,
    parent: u32,
}

/// `/proc/<pid>/stat`, proc(5): "pid (name) state ppid …", where the name itself may hold ')' and spaces.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    Some(Stat { state: fields.next()?.chars().next()?, parent: fields.next()?.parse().ok()? })
}
