//! The options of one entry by type. What is wrong is reported and counts as not given, so that reading goes on.

use std::fmt::Display;
use std::time::Duration;

use crate::model::Secret;
use crate::suggest::nearest;
use crate::value::quoted;
use crate::words::Words;

use super::connection_string::{self, Pair};
use super::report::{Piece, Report};
use super::values::{count, fraction, whole, word};

/// One option of an entry.
pub(super) struct Given<'a> {
    report: &'a Report,
    pair: Pair,
}

/// The options of an entry, in their order.
pub(super) fn options<'a>(text: &Piece, report: &'a Report) -> impl Iterator<Item = Given<'a>> {
    connection_string::pairs(text, report).into_iter().map(move |pair| Given { report, pair })
}

impl Given<'_> {
    /// Its name.
    pub(super) fn key(&self) -> String {
        self.pair.key.text.clone()
    }

    pub(super) fn text(&self) -> Option<String> {
        Some(self.pair.value.text.clone())
    }

    pub(super) fn secret(&self) -> Option<Secret> {
        self.text().map(Secret::new)
    }

    /// A number of things; a negative one is none given.
    pub(super) fn size(&self) -> Option<usize> {
        let negative = whole(&self.pair.value.text).is_ok_and(|number| number < 0);
        if negative { None } else { self.checked(count(&self.pair.value.text)) }
    }

    /// A limit; 0 and what is below are none given.
    pub(super) fn limit(&self) -> Option<usize> {
        self.size().filter(|limit| *limit > 0)
    }

    /// Whole seconds; a negative number is none given. PgBouncer cuts a fraction off here, unlike in `[pgbouncer]`.
    pub(super) fn seconds(&self) -> Option<Duration> {
        if self.pair.value.text.starts_with('-') {
            return self.checked(whole(&self.pair.value.text)).and(None);
        }
        let exact = self.checked(fraction(&self.pair.value.text))?;
        let cut = Duration::from_secs(exact.as_secs());
        if cut != exact {
            let message = format!("whole seconds count here: {} is {}", self.pair.value.text, cut.as_secs());
            self.report.warn(&self.pair.value.place, message);
        }
        Some(cut)
    }

    /// Whole seconds; 0 and what is below are none given.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.seconds().filter(|timeout| !timeout.is_zero())
    }

    /// A port that can be connected to.
    pub(super) fn port(&self) -> Option<u16> {
        let text = &self.pair.value.text;
        let port = whole(text).ok().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        self.checked(
            port.ok_or_else(|| format!("the port must be a number from 1 to 65535, found {}", quoted(text))),
        )
    }

    pub(super) fn word<T: Words>(&self) -> Option<T> {
        self.checked(word(&self.pair.value.text))
    }

    /// What `parse` makes of it.
    pub(super) fn parsed<T>(&self, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.checked(parse(&self.pair.value.text))
    }

    /// Reports that the section has no such option.
    pub(super) fn unknown(&self, section: &str, known: &[&'static str]) {
        let key = &self.pair.key;
        let hint =
            nearest(&key.text, known).map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
        self.report.problem(&key.place, format!("unknown option {} in [{section}]{hint}", quoted(&key.text)));
    }

    fn checked<T>(&self, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|message| self.refuse(&message)).ok()
    }

    /// In `host= password=x` the next pair is the value, and must not be repeated.
    fn refuse(&self, message: &dyn Display) {
        let Pair { key, value } = &self.pair;
        if value.text.contains('=') {
            self.report.problem(&value.place, format!("the value of \"{}\" has an = in it", key.text));
        } else {
            self.report.problem(&value.place, message);
        }
    }
}
