//! `[cache]` and which tables' lookups it keeps.

use std::collections::HashMap;

use crate::context::{At, Checked, Context, Text};
use crate::model::{Cache, CacheRule, ChangeStream, TableName};
use crate::section::Section;
use crate::table_name;
use crate::units::{hours, mebibytes, minutes};
use crate::value::quoted;

/// The schemes that the Redis client knows.
const REDIS: [&str; 7] = ["redis", "rediss", "valkey", "valkeys", "redis+unix", "valkey+unix", "unix"];

pub(crate) fn read(mut section: Section<'_>) -> Cache {
    let s = &mut section;
    let cache = Cache {
        enabled: s.flag("enabled", false),
        l1_max_bytes: s.size("l1_max_bytes", mebibytes(64)),
        l1_max_entries: s.count("l1_max_entries", 10_000) as u64,
        ttl: s.duration("ttl", hours(1)),
        time_to_idle: s.duration("time_to_idle", minutes(30)),
        redis_url: redis_url(s),
        max_entry_bytes: s.size("max_entry_bytes", mebibytes(1)),
        change_stream: s.choice("change_stream", ChangeStream::Off),
        rules: rules(s),
    };
    section.finish();
    cache
}

/// The file's URL, else the environment's.
fn redis_url(section: &mut Section<'_>) -> Option<String> {
    let context = section.context();
    let text = section.optional("redis_url").or_else(|| context.variable("REDIS_URL"))?;
    let scheme = text.value.split_once("://").map(|(scheme, _)| scheme);
    if !scheme.is_some_and(|scheme| REDIS.contains(&scheme)) {
        // The URL itself may hold a password and is not repeated.
        context.report(text.at, "a Redis URL begins with redis:// or rediss://");
    }
    Some(text.value)
}

fn rules(section: &mut Section<'_>) -> Vec<CacheRule> {
    let mut seen = HashMap::new();
    let sections = section.tables("rules").unwrap_or_default();
    sections.into_iter().filter_map(|section| rule(section, &mut seen).ok()).collect()
}

fn rule(mut section: Section<'_>, seen: &mut Seen) -> Checked<CacheRule> {
    let table = section.required("table");
    let ttl = section.optional_duration("ttl");
    let context = section.context();
    section.finish();
    Ok(CacheRule { table: table_once(context, &table?, seen)?, ttl })
}

/// Tables that were named before, and where.
pub(crate) type Seen = HashMap<TableName, At>;

/// The table of that name, unless an earlier entry has it.
pub(crate) fn table_once(context: &Context<'_>, text: &Text, seen: &mut Seen) -> Checked<TableName> {
    let table = table_name::parse(&text.value)
        .map_err(|error| context.report(text.at, format!("{error}, found {}", quoted(&text.value))))?;
    match seen.insert(table.clone(), text.at) {
        None => Ok(table),
        Some(first) => {
            let message = format!("table {} is already listed {}", quoted(&text.value), context.refer(first));
            Err(context.report(text.at, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, config_in, problems};

    #[test]
    fn rules_name_a_table_and_may_have_their_own_ttl() {
        let cache = config("[cache]\nenabled = true\n[[cache.rules]]\ntable = \"a\"\nttl = \"24h\"\n[[cache.rules]]\ntable = \"s.b\"").cache;
        assert!(cache.enabled);
        assert_eq!(
            cache.rules,
            [
                CacheRule { table: TableName { schema: None, name: "a".into() }, ttl: Some(hours(24)) },
                CacheRule { table: TableName { schema: Some("s".into()), name: "b".into() }, ttl: None },
            ]
        );
    }

    #[test]
    fn a_rule_is_for_one_table_and_a_table_has_one_rule() {
        assert_eq!(
            problems(
                "[[cache.rules]]\nttl = 1\n[[cache.rules]]\ntable = \"a\"\n[[cache.rules]]\ntable = \"a\"\n[[cache.rules]]\ntable = \"a.b.c\""
            ),
            "t.toml:1:1: [[cache.rules]] needs \"table\"\n\
             t.toml:6:9: table \"a\" is already listed at line 4\n\
             t.toml:8:9: a table's name is \"table\" or \"schema.table\"; a part that holds a dot stands in double \
             quotes, found \"a.b.c\""
        );
    }

    #[test]
    fn the_environment_fills_an_empty_redis_url_and_no_other() {
        let env = [("DATABASE_URL", "postgres://u:p@h/d"), ("REDIS_URL", "redis://env")];
        let redis = |text: &str, env: &[(&str, &str)]| config_in(env, text).cache.redis_url;
        assert_eq!(redis("[cache]\nredis_url = \"\"", &env).as_deref(), Some("redis://env"));
        assert_eq!(redis("", &env).as_deref(), Some("redis://env"));
        assert_eq!(redis("[cache]\nredis_url = \"rediss://file\"", &env).as_deref(), Some("rediss://file"));
        assert_eq!(redis("", &[env[0], ("REDIS_URL", "")]), None);
    }

    #[test]
    fn a_redis_url_of_another_kind_is_not_repeated() {
        assert_eq!(
            problems("[cache]\nredis_url = \"http://:secret@h\""),
            "t.toml:2:13: a Redis URL begins with redis:// or rediss://"
        );
    }
}
