//! Session parameters that belong to a client and are put in place on whatever server serves it.
//!
//! Kept as the commands that set them, by name: replaying the client's own words is exact where re-quoting a
//! value (a search_path list, an interval time zone) would not be.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// What a client set, by lower-case name. Compared by value; sharing one `Arc` makes the comparison a pointer's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    commands: BTreeMap<String, Entry>,
}

/// Parameters that say who the session is, in the order in which they are set.
const IDENTITY: [&str; 2] = ["session_authorization", "role"];

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    /// The command that sets it.
    set: String,
    /// Its value as text, where the command says it plainly.
    value: Option<String>,
}

impl Settings {
    /// Records the command that sets `name`.
    pub fn set(&mut self, name: &str, command: impl Into<String>, value: Option<String>) {
        self.commands.insert(name.to_ascii_lowercase(), Entry { set: command.into(), value });
    }

    /// Records a value that came with the startup message, where a list is one string.
    pub fn set_value(&mut self, name: &str, value: &str) {
        let command = format!("SELECT pg_catalog.set_config({}, {}, false)", quote(name), quote(value));
        self.set(name, command, Some(value.to_owned()));
    }

    /// Forgets what was recorded of `name`.
    pub fn forget(&mut self, name: &str) {
        self.commands.remove(&name.to_ascii_lowercase());
    }

    /// Takes `name`, or `all`, back to what `startup` asked for. RESET ALL does not touch who the session is.
    pub fn reset(&mut self, name: &str, startup: &Settings) {
        let name = name.to_ascii_lowercase();
        if name == "all" {
            self.commands.retain(|name, _| matches!(name.as_str(), "role" | "session_authorization"));
            self.commands.extend(startup.commands.clone());
            return;
        }
        match startup.commands.get(&name) {
            Some(entry) => self.commands.insert(name, entry.clone()),
            None => self.commands.remove(&name),
        };
    }

    /// The value of `name`, where it is plainly known.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.commands.get(name)?.value.as_deref()
    }

    /// One simple query that turns a server with `self` in place into one with `wanted`; empty if they agree.
    pub fn change_to(&self, wanted: &Settings) -> String {
        let mut sql = String::new();
        let gone = |name: &&String| !wanted.commands.contains_key(*name);
        let is_identity = |name: &&String| IDENTITY.contains(&name.as_str());
        // Parameters are changed by whoever the login is: the old client's role goes first, the new one's comes last.
        let identity =
            IDENTITY.iter().rev().filter_map(|name| self.commands.get_key_value(*name)).map(|(name, _)| name);
        let changed = identity.filter(|name| wanted.commands.get(*name) != self.commands.get(*name));
        let had_identity = changed.clone().next().is_some();
        for name in changed.chain(self.commands.keys().filter(gone).filter(|name| !is_identity(name))) {
            sql.push_str("RESET ");
            sql.push_str(&quote_name(name));
            sql.push(';');
        }
        let plain = wanted.commands.iter().filter(|(name, _)| !is_identity(name));
        let identity = IDENTITY.iter().filter_map(|name| wanted.commands.get_key_value(*name));
        for (name, entry) in plain.chain(identity) {
            // Changing the authorization takes the role back with it.
            let again = had_identity && is_identity(&name);
            if again || self.commands.get(name) != Some(entry) {
                sql.push_str(&entry.set);
                // On a line of its own: the client's words may end in a comment.
                sql.push_str("\n;");
            }
        }
        sql
    }

    /// Every name and its command, for what must hold all that can change an answer.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.commands.iter().map(|(name, entry)| (name.as_str(), entry.set.as_str()))
    }
}

/// Values of which many clients have the same: they share one `Arc`. Of settings, this also makes a server that served
/// one client known to fit another by a comparison of pointers.
#[derive(Debug)]
pub struct Shared<T>(Mutex<Known<T>>);

/// Settings by value.
pub type SharedSettings = Shared<Settings>;

#[derive(Debug)]
struct Known<T> {
    values: HashSet<Arc<T>>,
    /// Size at which those that nobody uses any more are looked for.
    sweep_at: usize,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::new(Known { values: HashSet::new(), sweep_at: 0 }))
    }
}

impl<T: Eq + Hash> Shared<T> {
    /// The one `Arc` of this value.
    pub fn share(&self, value: T) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = known.values.get(&value) {
            return value.clone();
        }
        if known.values.len() >= known.sweep_at {
            known.values.retain(|value| Arc::strong_count(value) > 1);
            known.sweep_at = 64.max(known.values.len() * 2);
        }
        let value = Arc::new(value);
        known.values.insert(value.clone());
        value
    }
}

/// A string literal that means `text` whatever standard_conforming_strings says.
pub fn quote(text: &str) -> String {
    if text.contains('\\') {
        format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// `app.user id` becomes `"app"."user id"`: a parameter's name as RESET takes it.
fn quote_name(name: &str) -> String {
    match name {
        // RESET takes these only as bare words.
        "role" | "session_authorization" => name.replace("session_authorization", "SESSION AUTHORIZATION"),
        _ => name.split('.').map(quote_ident).collect::<Vec<_>>().join("."),
    }
}

/// An identifier in double quotes.
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_put_in_place() {
        let mut have = Settings::default();
        have.set("TimeZone", "SET TIME ZONE 'UTC'", None);
        have.set("app.tenant", "SET app.tenant = '1'", None);
        let mut want = Settings::default();
        want.set("timezone", "SET TIME ZONE 'UTC'", None);
        want.set_value("application_name", "it's");
        assert_eq!(
            have.change_to(&want),
            "RESET \"app\".\"tenant\";SELECT pg_catalog.set_config('application_name', 'it''s', false)\n;"
        );
        assert_eq!(want.change_to(&want), "");
    }

    #[test]
    fn equal_settings_are_one_and_unused_ones_are_forgotten() {
        let shared = SharedSettings::default();
        let named = |name: &str| {
            let mut settings = Settings::default();
            settings.set_value("application_name", name);
            shared.share(settings)
        };
        let kept = named("a");
        assert!(Arc::ptr_eq(&kept, &named("a")) && !Arc::ptr_eq(&kept, &named("b")));
        for n in 0..1000 {
            named(&n.to_string());
        }
        assert!(shared.0.lock().unwrap().values.len() <= 64);
        assert!(Arc::ptr_eq(&kept, &named("a")));
    }

    #[test]
    fn a_backslash_means_itself() {
        assert_eq!(quote(r"a\'b"), r" E'a\\''b'");
    }
}
