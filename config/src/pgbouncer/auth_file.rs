//! `auth_file`: `"name" "secret"`, one user on each line.
//!
//! PgBouncer stops at the first line that is none of this, logs an error and goes on with the users before it. So does
//! this, with a warning.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::hba::Files;
use crate::model::Secret;
use crate::problems::Place;
use crate::value::quoted;

use super::Pgbouncer;
use super::ini::end_of_quoted;
use super::report::{Piece, Report};

const BROKEN: &str =
    "expected \"name\" \"secret\" (a comment begins with ;): this line and those behind it are not read";

/// One line of `auth_file`.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// The user's name.
    pub name: String,
    /// Plain text, `md5…`, or `SCRAM-SHA-256$…`; `None`: the user is known, and no password will do.
    pub secret: Option<Secret>,
}

impl Login {
    /// The secret, where it is the password itself and not made from it.
    pub fn password(&self) -> Option<&Secret> {
        self.secret.as_ref().filter(|secret| !is_made(secret.expose()))
    }
}

/// As PgBouncer and Postgres tell a secret from a password.
fn is_made(secret: &str) -> bool {
    let md5 = secret.strip_prefix("md5");
    let is_md5 = md5.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
    is_md5 || secret.starts_with("SCRAM-SHA-256$")
}

/// The users that the file names. A file that cannot be read is a problem where there is no `auth_query` in its place.
pub(super) fn read(pgbouncer: &Pgbouncer, files: &dyn Files, report: &Report) -> Vec<Login> {
    let auth = &pgbouncer.settings.auth;
    let Some(path) = auth.auth_file.as_ref().filter(|_| auth.auth_type.needs_auth_file()) else {
        return Vec::new();
    };
    let name = path.display().to_string();
    match files.read(path) {
        Ok(bytes) => logins(&name, &String::from_utf8_lossy(&bytes), report),
        Err(error) => {
            let place = pgbouncer.place("auth_file").cloned().unwrap_or(Place::File { file: name.clone() });
            let message = format!("{} cannot be read: {error}", quoted(&name));
            if pgbouncer.has_auth_user() {
                report.warn(&place, message);
            } else {
                report.problem(&place, message);
            }
            Vec::new()
        }
    }
}

fn logins(file: &str, text: &str, report: &Report) -> Vec<Login> {
    let mut logins: Vec<Login> = Vec::new();
    let mut known = HashMap::new();
    for (index, line) in text.split('\n').enumerate() {
        let place = Place::Spot { file: file.to_owned(), line: index + 1, column: 1 };
        match login(&Piece { text: line.to_owned(), place }) {
            Ok(None) => {}
            Ok(Some(login)) => match known.entry(login.name.clone()) {
                Entry::Occupied(earlier) => logins[*earlier.get()] = login,
                Entry::Vacant(new) => {
                    new.insert(logins.len());
                    logins.push(login);
                }
            },
            Err(place) => {
                report.warn(&place, BROKEN);
                break;
            }
        }
    }
    logins
}

/// `None`: a comment or nothing. Errors: where it is neither that nor a user.
fn login(line: &Piece) -> Result<Option<Login>, Place> {
    let text = line.text.trim_start();
    if text.is_empty() || text.starts_with(';') {
        return Ok(None);
    }
    let broken = |rest: &str| line.part(line.text.len() - rest.len(), String::new()).place;
    let (name, rest) = field(text).ok_or_else(|| broken(text))?;
    let second = rest.find('"').map_or("", |at| &rest[at..]);
    let (secret, _) = field(second).ok_or_else(|| broken(second))?;
    if [&name, &secret].iter().any(|part| part.contains([char::REPLACEMENT_CHARACTER, '\0'])) {
        return Err(broken(text));
    }
    Ok(Some(Login { name, secret: Some(secret).filter(|secret| !secret.is_empty()).map(Secret::new) }))
}

/// What stands in quotes, and what follows.
fn field(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let end = end_of_quoted(inside, '"')?;
    Some((inside[..end].replace("\"\"", "\""), &inside[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name=secret`, then warnings; one per line.
    fn shown(text: &str) -> String {
        let report = Report::default();
        let logins = logins("u", text, &report);
        let secret = |login: &Login| login.secret.as_ref().map_or("-".to_owned(), |s| s.expose().to_owned());
        let mut lines: Vec<String> =
            logins.iter().map(|login| format!("{}={}", login.name, secret(login))).collect();
        lines.extend(report.into_parts().1.iter().map(ToString::to_string));
        lines.join("\n")
    }

    #[test]
    fn each_line_is_a_user_and_the_rest_of_it_is_ignored() {
        assert_eq!(
            shown(
                "\"a\" \"x\" more \"y\"\r\n; no user\n\n  \"b\"\"c\" \t \"p\"\"w\"\n\"d\" \"\"\n\"ü\" \"é\""
            ),
            "a=x\nb\"c=p\"w\nd=-\nü=é"
        );
    }

    #[test]
    fn the_later_line_of_a_user_counts() {
        assert_eq!(shown("\"a\" \"1\"\n\"b\" \"2\"\n\"a\" \"3\"\n"), "a=3\nb=2");
    }

    #[test]
    fn the_first_line_that_is_none_is_the_last_that_is_read() {
        let end = BROKEN;
        for (line, column) in
            [("# c", 1), ("b \"x\"", 1), ("  \"b\"", 6), ("\"b\" \"x", 5), ("\"b", 1), ("\"b\" x", 6)]
        {
            assert_eq!(
                shown(&format!("\"a\" \"1\"\n{line}\n\"c\" \"2\"\n")),
                format!("a=1\nu:2:{column}: {end}")
            );
        }
        let text = String::from_utf8_lossy(b"\"a\" \"\xff\"\n").into_owned();
        assert_eq!(shown(&text), format!("u:1:1: {end}"));
    }

    #[test]
    fn a_secret_that_is_made_from_a_password_is_no_password() {
        let login = |secret: &str| Login { name: "a".into(), secret: Some(Secret::new(secret)) };
        let plain = ["x", "md5", "md5is my secret", "SCRAM"];
        let made = ["md5d41d8cd98f00b204e9800998ecf8427e", "SCRAM-SHA-256$4096:c2FsdA==$a:b"];
        assert!(plain.iter().all(|secret| login(secret).password().is_some()));
        assert!(made.iter().all(|secret| login(secret).password().is_none()));
    }
}
