//! What a process has used: CPU time and memory of its own.

use std::io;
use std::time::Duration;

/// The time that all threads of a process have run, those that have ended included, in user and kernel mode. It is
/// the scheduler's own account, exact to the nanosecond: what `/proc/PID/task/*/schedstat` shows thread by thread.
///
/// # Errors
/// There is no such process.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls fill a local that lives past them, and keep no pointer to it.
    let (found, read) =
        unsafe { (libc::clock_getcpuclockid(pid, &mut clock), libc::clock_gettime(clock, &mut time)) };
    if found != 0 {
        return Err(io::Error::from_raw_os_error(found));
    }
    if read != 0 {
        return Err(io::Error::last_os_error());
    }
    // Neither is negative: it is a time that has passed.
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The memory that a process has to itself, in KiB: what would be free if it ended. Shared pages, such as its
/// program's, do not count.
///
/// # Errors
/// There is no such process, or it is somebody else's.
pub fn private_kib(pid: u32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    private_in(&text).ok_or_else(|| io::Error::other("smaps_rollup has no private pages"))
}

/// proc(5): lines such as `Private_Dirty:      1234 kB`.
fn private_in(smaps: &str) -> Option<u64> {
    let kib = |name: &str| -> Option<u64> {
        let line = smaps.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    Some(kib("Private_Clean")? + kib("Private_Dirty")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_threads_that_have_ended_counts() {
        let before = cpu_time(std::process::id()).unwrap();
        let busy = std::thread::spawn(|| {
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_millis(30) {
                std::hint::spin_loop();
            }
        });
        busy.join().unwrap();
        let used = cpu_time(std::process::id()).unwrap() - before;
        assert!(used > Duration::from_millis(1), "{used:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        // Above the highest number that Linux gives, 2^22.
        assert!(cpu_time(1 << 25).is_err());
    }

    #[test]
    fn private_pages_are_clean_and_dirty_ones() {
        let smaps = "00400000-7fff r--p [rollup]\nRss:  900 kB\nShared_Clean:  500 kB\n\
                     Private_Clean:        12 kB\nPrivate_Dirty:       300 kB\n";
        assert_eq!(private_in(smaps), Some(312));
        assert_eq!(private_in("Rss: 1 kB\n"), None);
        assert!(private_kib(std::process::id()).unwrap() > 0);
    }
}
