//! What follows from a session's parameters.

use super::Session;
use crate::plan_cache::SearchPath;
use crate::reply;

impl Session {
    /// The search path may be another one now.
    pub(super) fn settings_changed(&mut self) {
        self.path = match self.settings.value("search_path") {
            Some(value) => SearchPath::parse(value, &self.user),
            None => SearchPath::of_user(&self.user),
        };
    }

    /// Tells the client what a server reported while one of its own commands ran there.
    pub(super) fn report_parameters(&mut self, index: usize) {
        const REPORTED: [&str; 6] =
            ["application_name", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone", "standard_conforming_strings"];
        let parameters = &self.servers[index].lease.parameters;
        let out = &mut self.client.output;
        for name in REPORTED {
            if let Some(value) = parameters.get(name) {
                reply::parameter(out, name, value);
            }
        }
    }
}

/// Whether a client_encoding means UTF-8, in any of the spellings that Postgres takes.
pub fn is_utf8(value: &str) -> bool {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    matches!(plain.as_str(), "utf8" | "unicode")
}
