//! Other people's programs as clients: psql, pgbench, Python, Node.

use std::{
    env,
    ffi::OsStr,
    io::{Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use shardway_cluster::Installation;

use crate::must;

/// A pgbench over several connections takes seconds; nothing takes longer than this unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(5);

/// A program that is about to run, without the caller's `PG…` variables: they would redirect it.
#[must_use = "nothing happens before run()"]
pub struct Program {
    command: Command,
    input: Vec<u8>,
}

/// A program that has run to its end.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Program {
    /// Any program.
    pub fn new(program: impl AsRef<OsStr>) -> Program {
        let mut command = Command::new(program);
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command.env("PGCONNECT_TIMEOUT", "10").env("LC_ALL", "C.UTF-8");
        Program { command, input: Vec::new() }
    }

    /// A program that comes with Postgres.
    #[track_caller]
    pub fn of_postgres(name: &str) -> Program {
        Program::new(must("finding Postgres", Installation::find()).program(name))
    }

    /// An argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// A variable in its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads from its standard input.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// It can't be started, or hangs.
    #[track_caller]
    pub fn run(mut self) -> Ran {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = self.command.get_program().to_string_lossy().into_owned();
        let mut child = must(&format!("starting {name}"), self.command.spawn());
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            // It may end without having read everything.
            scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(&self.input)));
            let (stdout, stderr) = (scope.spawn(|| text(stdout)), scope.spawn(|| text(stderr)));
            let (status, in_time) = wait(&mut child);
            let join = |text: thread::ScopedJoinHandle<'_, String>| text.join().unwrap_or_default();
            let ran = Ran { status, stdout: join(stdout), stderr: join(stderr) };
            assert!(in_time, "{name} hung for {PATIENCE:?}:\n{}{}", ran.stdout, ran.stderr);
            ran
        })
    }
}

impl Ran {
    /// What it wrote to its standard output, without the last line's end.
    ///
    /// # Panics
    /// It did not succeed.
    #[track_caller]
    pub fn said(&self) -> &str {
        assert!(self.status.success(), "{}:\n{}{}", self.status, self.stdout, self.stderr);
        self.stdout.trim_end_matches('\n')
    }

    /// Its exit code and its standard error, without the last line's end.
    pub fn failed(&self) -> (Option<i32>, &str) {
        (self.status.code(), self.stderr.trim_end_matches('\n'))
    }
}

/// The end of a program that is killed when it has taken too long, and whether it came by itself.
fn wait(child: &mut Child) -> (ExitStatus, bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = must("waiting for a program", child.try_wait()) {
            return (status, true);
        }
        if Instant::now() > deadline {
            must("killing a program", child.kill());
            return (must("waiting for a program", child.wait()), false);
        }
        thread::sleep(PAUSE);
    }
}

fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        must("reading from a program", pipe.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
