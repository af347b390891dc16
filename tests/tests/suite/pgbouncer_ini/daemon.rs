//! The command line: in the background, with a pid file and a log file.

use std::{fs, path::Path, process::Command};

use shardway_tests::{eventually, shardway_program};

use super::usual;
use crate::operation::support::{soon, value};

/// The process that a pid file names.
fn pid(path: &Path) -> i32 {
    eventually("the pid file", || fs::read_to_string(path).ok()?.trim().parse().ok())
}

/// Ends a process when the test does.
struct Ended(i32);

impl Drop for Ended {
    fn drop(&mut self) {
        // SAFETY: a signal to a process takes no memory of ours.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

#[tokio::test]
async fn a_daemon_leaves_the_terminal_and_writes_its_log_to_a_file() {
    let process = usual("pidfile = {dir}/pid\nlogfile = {dir}/log\n");
    let started = process.output(&["-d"]);
    assert_eq!(started.status.code(), Some(0), "{}", String::from_utf8_lossy(&started.stderr));
    assert!(started.stderr.is_empty(), "{}", String::from_utf8_lossy(&started.stderr));
    let daemon = Ended(pid(&process.path("pid")));
    let client = soon("it to serve", async || process.try_connect("app", "shop").await.ok()).await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    // SAFETY: it asks for a number.
    assert_ne!(unsafe { libc::getsid(daemon.0) }, unsafe { libc::getsid(0) });
    let log = || fs::read_to_string(process.path("log")).unwrap_or_default();
    assert!(log().contains("listening"), "{}", log());

    // A second one would be in its way.
    let second = process.output(&["-d"]);
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(told.contains("another instance running?"), "{told}");

    // The log is rotated.
    fs::rename(process.path("log"), process.path("log.1")).unwrap();
    // SAFETY: as above.
    unsafe { libc::kill(daemon.0, libc::SIGHUP) };
    eventually("a new log", || process.path("log").exists().then_some(()));

    drop(client);
    // SAFETY: as above.
    unsafe { libc::kill(daemon.0, libc::SIGTERM) };
    soon("the pid file to go", async || (!process.path("pid").exists()).then_some(())).await;
}

#[test]
fn a_daemon_needs_a_pid_file() {
    let started = usual("").output(&["--daemon"]);
    assert_eq!(started.status.code(), Some(1));
    let told = String::from_utf8(started.stderr).unwrap();
    assert!(told.contains("daemon needs pidfile configured"), "{told}");
}

#[test]
fn a_pid_file_goes_with_its_process() {
    let process = usual("pidfile = {dir}/pid\n").file("pid", "2147483646\n").start();
    assert_eq!(
        pid(&process.path("pid")),
        i32::try_from(process.pid()).unwrap(),
        "a stale one is in nobody's way"
    );
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait_exit().code(), Some(0));
    assert!(!process.path("pid").exists());
}

#[test]
fn a_quiet_process_says_nothing_and_a_verbose_one_much() {
    let process = usual("logfile = {dir}/log\n");
    process.spawn(&["-q", "-v"]);
    eventually("it to listen", || {
        fs::read_to_string(process.path("log")).ok()?.contains("listening").then_some(())
    });
    assert_eq!(process.log(), "");
    let log = fs::read_to_string(process.path("log")).unwrap();
    assert!(log.contains("listening"), "{log}");
}

#[test]
fn a_user_that_is_not_there_is_told() {
    let started = usual("").output(&["-u", "no_such_user"]);
    assert_eq!(started.status.code(), Some(1));
    let told = String::from_utf8(started.stderr).unwrap();
    assert!(told.contains("there is no user \"no_such_user\""), "{told}");
}

#[tokio::test]
async fn under_the_name_of_pgbouncer_the_program_has_its_command_line() {
    let process = usual("pidfile = {dir}/pid\nlogfile = {dir}/log\n");
    let link = process.path("pgbouncer");
    std::os::unix::fs::symlink(shardway_program(), &link).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&link);
        command.args(arguments).env_remove("SHARDWAY_CONFIG").env_remove("RUST_LOG");
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let ini = process.ini();
    let started = run(&["-d", "-v", "-q", ini.to_str().unwrap()]);
    assert_eq!(started, (Some(0), String::new(), String::new()));
    let daemon = Ended(pid(&process.path("pid")));
    let client = soon("it to serve", async || process.try_connect("app", "shop").await.ok()).await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    // -R puts another one in its place.
    assert_eq!(run(&["--reboot", "--daemon", ini.to_str().unwrap()]).0, Some(0));
    let other = soon("its place to be taken", async || {
        let other = pid(&process.path("pid"));
        (other != daemon.0).then_some(Ended(other))
    })
    .await;
    assert_ne!(other.0, daemon.0);

    let (code, told, _) = run(&["-V"]);
    assert!(code == Some(0) && told.starts_with("pgbouncer "), "{told}");
    let (code, told, _) = run(&["-h"]);
    assert!(code == Some(0) && told.contains("pgbouncer [OPTION]... CONFIG_FILE"), "{told}");
    let (code, _, told) = run(&[]);
    assert_eq!(code, Some(1));
    assert!(told.starts_with("pgbouncer: no configuration file specified\n"), "{told}");
    assert_ne!(run(&["--bogus"]).0, Some(0));
}
