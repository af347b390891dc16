//! SQL on a server, through psql.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    thread,
};

use crate::{Error, HOST, Result, Server};

impl Server {
    /// Runs SQL in `database` as the superuser and gives what it printed: rows in lines, columns separated
    /// by `|`, NULL as nothing. Statements commit one by one; psql's backslash commands work too.
    ///
    /// # Errors
    /// [`Error::Sql`] with the first failure's message; what came after it has not run.
    pub fn sql(&self, database: &str, text: &str) -> Result<String> {
        let mut command = self.installation.client("psql");
        command.args(["-q", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-U", "postgres"]);
        command.args(["-p", &self.port().to_string(), "-d", database, "-f", "-"]);
        let output = run_with_input(&mut command, text)
            .map_err(Error::io(format!("running psql on {}", self.name)))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Sql { server: self.name.clone(), database: database.to_owned(), message })
    }
}

/// The text goes through a pipe, not an argument: arguments are limited in length and seen by `ps`.
fn run_with_input(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pipe = child.stdin.take();
    thread::scope(|scope| {
        // Apart, because psql may fill its output before it has read its input.
        scope.spawn(move || {
            // psql stops reading at the first error, which it reports itself.
            let _ = pipe.map(|mut pipe| pipe.write_all(input.as_bytes()));
        });
        child.wait_with_output()
    })
}
