//! The parameters that a client begins with, where a `pgbouncer.ini` has a say in them.

use shardway_config::PgbouncerSettings;
use shardway_pool::settings::Settings;

/// Parameters that PgBouncer follows from server to server whatever `ignore_startup_parameters` says.
const TRACKED: [&str; 5] =
    ["client_encoding", "datestyle", "timezone", "standard_conforming_strings", "application_name"];

const NAME: &str = "application_name";

/// Puts what the database asks for where the client says nothing.
pub(super) fn complete(settings: &mut Settings, of_database: &[(String, String)]) {
    for (name, value) in of_database {
        if settings.value(&name.to_ascii_lowercase()).is_none() {
            settings.set_value(name, value);
        }
    }
}

/// `ignore_startup_parameters` and `application_name_add_host`; `peer` is where the client comes from.
pub(super) fn adjust(settings: &mut Settings, ini: &PgbouncerSettings, peer: impl FnOnce() -> String) {
    let extra = &ini.serving.track_extra_parameters;
    let tracked = |name: &str| {
        TRACKED.iter().copied().chain(extra.iter()).any(|known| known.eq_ignore_ascii_case(name))
    };
    for name in ini.serving.ignore_startup_parameters.iter().filter(|name| !tracked(name)) {
        settings.forget(name);
    }
    if ini.serving.application_name_add_host {
        let name = format!("{} - {}", settings.value(NAME).unwrap_or("app"), peer());
        settings.set_value(NAME, &name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adjusted(change: &[(&str, &str)], startup: &[(&str, &str)]) -> Settings {
        let mut ini = PgbouncerSettings::default();
        for (name, value) in change {
            // What counts at start alone is not SET.
            match *name {
                "track_extra_parameters" => panic!("it has a default"),
                _ => ini.set(name, value).unwrap(),
            }
        }
        let mut settings = Settings::default();
        startup.iter().for_each(|(name, value)| settings.set_value(name, value));
        adjust(&mut settings, &ini, || "10.0.0.1:5".to_owned());
        settings
    }

    #[test]
    fn what_is_to_be_ignored_is_and_what_is_tracked_is_not() {
        let startup = [("extra_float_digits", "3"), ("TimeZone", "UTC"), ("IntervalStyle", "iso_8601")];
        let settings = adjusted(
            &[("ignore_startup_parameters", "extra_float_digits, timezone, intervalstyle")],
            &startup,
        );
        assert_eq!(settings.value("extra_float_digits"), None);
        assert_eq!(settings.value("timezone"), Some("UTC"));
        assert_eq!(settings.value("intervalstyle"), Some("iso_8601"));
        assert_eq!(adjusted(&[], &startup).value("extra_float_digits"), Some("3"));
    }

    #[test]
    fn the_name_of_an_application_may_say_where_it_is() {
        let change = [("application_name_add_host", "1")];
        assert_eq!(adjusted(&change, &[("application_name", "x")]).value(NAME), Some("x - 10.0.0.1:5"));
        assert_eq!(adjusted(&change, &[]).value(NAME), Some("app - 10.0.0.1:5"));
    }

    #[test]
    fn a_database_speaks_where_the_client_is_silent() {
        let mut settings = Settings::default();
        settings.set_value("timezone", "UTC");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        complete(&mut settings, &[pair("TimeZone", "Asia/Tokyo"), pair("DateStyle", "German")]);
        assert_eq!((settings.value("timezone"), settings.value("datestyle")), (Some("UTC"), Some("German")));
    }
}
