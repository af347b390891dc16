//! Whatever becomes of the owner, neither processes nor directories are left.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use shardway_cluster::{Redis, Server};

#[test]
fn a_dropped_server_leaves_nothing() {
    let server = Server::builder().start().unwrap();
    let (pid, dir) = (server.pid().unwrap(), server.dir().to_owned());
    drop(server);
    assert!(!runs(pid));
    assert!(!dir.exists());
}

#[test]
fn a_killed_owner_leaves_nothing() {
    let mut owner = Owner::start("owner_of_servers_that_waits_to_be_killed");
    assert_eq!(owner.belongings.len(), 3);
    assert!(owner.belongings.iter().all(|(pid, dir)| runs(*pid) && dir.exists()));
    owner.process.kill().unwrap();
    owner.expect_nothing_left();
}

#[test]
fn a_stopped_server_of_a_killed_owner_leaves_no_directory() {
    let mut owner = Owner::start("owner_of_a_stopped_server_that_waits_to_be_killed");
    assert!(owner.belongings.iter().all(|(pid, dir)| !runs(*pid) && dir.exists()));
    owner.process.kill().unwrap();
    owner.expect_nothing_left();
}

#[test]
fn an_owner_that_exits_without_dropping_leaves_nothing() {
    Owner::start("owner_of_a_server_that_exits").expect_nothing_left();
}

#[test]
#[ignore = "not a test: a process for a_killed_owner_leaves_nothing"]
fn owner_of_servers_that_waits_to_be_killed() {
    let running = Server::builder().start().unwrap();
    let paused = Server::builder().start().unwrap();
    let redis = Redis::run().unwrap();
    // A child that outlives the owner must not hold the guardians' pipes open.
    let bystander = Command::new("sleep").arg("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    tell("bystander", bystander.unwrap().id(), Path::new("/"));
    tell("owned", running.pid().unwrap(), running.dir());
    tell("owned", paused.pid().unwrap(), paused.dir());
    tell("owned", redis.pid().unwrap(), redis.dir());
    paused.pause().unwrap();
    wait_to_be_killed();
}

#[test]
#[ignore = "not a test: a process for a_stopped_server_of_a_killed_owner_leaves_no_directory"]
fn owner_of_a_stopped_server_that_waits_to_be_killed() {
    let server = Server::builder().start().unwrap();
    let pid = server.pid().unwrap();
    server.stop().unwrap();
    tell("owned", pid, server.dir());
    wait_to_be_killed();
}

#[test]
#[ignore = "not a test: a process for an_owner_that_exits_without_dropping_leaves_nothing"]
fn owner_of_a_server_that_exits() {
    let server = Server::builder().start().unwrap();
    tell("owned", server.pid().unwrap(), server.dir());
    tell("ready", 0, Path::new("/"));
    std::process::exit(0);
}

/// Another process that owns servers: this test program again, running one of the "tests" above.
struct Owner {
    process: Child,
    belongings: Vec<(u32, PathBuf)>,
    bystander: Option<u32>,
}

impl Owner {
    fn start(role: &str) -> Owner {
        let role = format!("orphans::{role}");
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--ignored", "--exact", &role]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut owner = Owner { process, belongings: Vec::new(), bystander: None };
        loop {
            let line = output.next().expect("the owner ended early").unwrap();
            match *line.split(' ').collect::<Vec<_>>() {
                ["owned", pid, dir] => owner.belongings.push((pid.parse().unwrap(), dir.into())),
                ["bystander", pid, _] => owner.bystander = Some(pid.parse().unwrap()),
                ["ready", ..] => return owner,
                _ => {} // the test framework's own words
            }
        }
    }

    fn expect_nothing_left(&mut self) {
        self.process.wait().unwrap();
        // A paused server's children are given five seconds before they are killed.
        let deadline = Instant::now() + Duration::from_secs(20);
        let left = |(pid, dir): &&(u32, PathBuf)| runs(*pid) || dir.exists();
        while let Some((pid, dir)) = self.belongings.iter().find(left) {
            assert!(Instant::now() < deadline, "process {pid} or its directory {dir:?} is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(bystander) = self.bystander {
            assert!(runs(bystander), "this test wants a child that outlives its parent");
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(bystander) = self.bystander {
            let _ = Command::new("kill").arg(bystander.to_string()).status();
        }
    }
}

/// Straight to the standard output, which the test framework would otherwise hold back.
#[allow(clippy::explicit_write)]
fn tell(what: &str, pid: u32, dir: &Path) {
    writeln!(io::stdout(), "{what} {pid} {}", dir.display()).unwrap();
}

fn wait_to_be_killed() -> ! {
    tell("ready", 0, Path::new("/"));
    loop {
        std::thread::park();
    }
}

/// Whether the process is there and more than a zombie.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()).is_some_and(|state| state != 'Z')
}
