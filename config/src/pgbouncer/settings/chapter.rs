//! A chapter of settings: one list from which its struct, its defaults and its access by name are made.

use super::{Row, WITHOUT_DEFAULT};

/// When a setting may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// In the file alone, for the next start.
    AtStart,
    /// By SET and RELOAD too.
    AtRunTime,
}

/// A setting by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) change: Change,
}

/// A chapter's settings by name.
pub(super) trait Chapter {
    /// Its settings.
    fn entries(&self) -> &'static [Entry];

    /// A setting's value; `None`: it is not of this chapter.
    fn show(&self, name: &str) -> Option<String>;

    /// A setting's value, as it is shown where it is a default.
    fn show_default(&self, name: &str) -> Option<String>;

    /// Sets one; `None`: it is not of this chapter.
    fn set(&mut self, name: &str, value: &str) -> Option<Result<(), String>>;

    /// Its rows of SHOW CONFIG; `default` is this chapter with nothing set.
    fn rows(&self, default: &dyn Chapter) -> Vec<Row> {
        let row = |entry: &Entry| {
            let has_default = !WITHOUT_DEFAULT.contains(&entry.name);
            Row {
                key: entry.name,
                value: self.show(entry.name).filter(|value| has_default || !value.is_empty()),
                default: default.show_default(entry.name).filter(|_| has_default),
                changeable: entry.change == Change::AtRunTime,
            }
        };
        self.entries().iter().map(row).collect()
    }
}

/// `name: type = default, AtStart | AtRunTime;`, one for each setting.
macro_rules! chapter {
    (
        $(#[$about:meta])*
        $chapter:ident {
            $($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $change:ident;)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $chapter {
            $($(#[$doc])* pub $name: $type,)+
        }

        impl Default for $chapter {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl $crate::pgbouncer::settings::chapter::Chapter for $chapter {
            fn entries(&self) -> &'static [$crate::pgbouncer::settings::chapter::Entry] {
                use $crate::pgbouncer::settings::chapter::{Change, Entry};
                const ENTRIES: &[Entry] =
                    &[$(Entry { name: stringify!($name), change: Change::$change },)+];
                ENTRIES
            }

            fn show(&self, name: &str) -> Option<String> {
                use $crate::pgbouncer::values::Value;
                match name {
                    $(stringify!($name) => Some(self.$name.show()),)+
                    _ => None,
                }
            }

            fn show_default(&self, name: &str) -> Option<String> {
                use $crate::pgbouncer::values::Value;
                match name {
                    $(stringify!($name) => Some(self.$name.show_default()),)+
                    _ => None,
                }
            }

            fn set(&mut self, name: &str, value: &str) -> Option<Result<(), String>> {
                use $crate::pgbouncer::values::Value;
                match name {
                    $(stringify!($name) => Some(Value::parse(value).map(|parsed| self.$name = parsed)),)+
                    _ => None,
                }
            }
        }
    };
}

pub(super) use chapter;
