//! `[[databases.groups]]`: a group's name, how its keys become shard numbers, and how many there are.

use std::collections::HashSet;

use crate::context::{At, Checked, Context, Text};
use crate::fields::MOST_SHARDS;
use crate::function;
use crate::model::Group;
use crate::section::Section;
use crate::shards;
use crate::unique::Names;
use crate::value::quoted;

/// The environment variable that fills a `shard_count`.
pub(crate) const SHARD_COUNT: &str = "DATABASE_SHARD_COUNT";

/// A group as far as it could be read: tables refer to it by name even when its shards are wrong.
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) shard_count: Option<u32>,
    pub(crate) group: Checked<Group>,
}

/// The group that a database has when nothing else is said.
pub(crate) fn default_name() -> String {
    "main".to_owned()
}

/// The key columns that a group has when nothing else is said.
pub(crate) fn default_keys() -> Vec<String> {
    vec!["configurationId".to_owned(), "user_id".to_owned()]
}

pub(crate) fn read(mut section: Section<'_>, names: &mut Names) -> Draft {
    let name = name(&mut section);
    let shown = name.as_ref().map_or_else(|_| String::new(), |text| text.value.clone());
    let unique = name.and_then(|text| names.once(section.context(), text));
    let count = shard_count(&mut section);
    let function = function::read(&mut section, count.ok());
    let keys = keys(&mut section);
    let shards = shards::read(&mut section, &shown, count.ok());
    section.finish();
    let group = move || Ok(Group { name: unique?, function: function?, keys, shards: shards? });
    Draft { name: shown, shard_count: count.ok(), group: group() }
}

fn name(section: &mut Section<'_>) -> Checked<Text> {
    match section.value("name") {
        Some(value) => section.filled("name", value.text()?),
        None => Ok(Text { value: default_name(), at: section.at() }),
    }
}

fn shard_count(section: &mut Section<'_>) -> Checked<u32> {
    if let Some(value) = section.value("shard_count") {
        let count = value.integer(1..=i64::from(MOST_SHARDS))?;
        return u32::try_from(count).map_err(|error| section.context().report(value.at(), error));
    }
    let context = section.context();
    let missing = || {
        let message =
            format!("[[databases.groups]] needs \"shard_count\" (or {SHARD_COUNT} in the environment)");
        context.report(section.at(), message)
    };
    shard_count_of(context)?.ok_or_else(missing)
}

/// The environment's shard count, if it has one.
pub(crate) fn shard_count_of(context: &Context<'_>) -> Checked<Option<u32>> {
    let Some(text) = context.variable(SHARD_COUNT) else { return Ok(None) };
    let count = text.value.trim().parse().ok().filter(|count| (1..=MOST_SHARDS).contains(count));
    count.map(Some).ok_or_else(|| {
        let found = quoted(&text.value);
        context.report(text.at, format!("expected a whole number from 1 to {MOST_SHARDS}, found {found}"))
    })
}

fn keys(section: &mut Section<'_>) -> Vec<String> {
    let Some(texts) = section.texts("keys") else { return default_keys() };
    let mut seen = HashSet::new();
    for Text { value, at } in &texts {
        if !seen.insert(value.as_str()) {
            report_twice(section.context(), value, *at);
        }
    }
    texts.into_iter().map(|text| text.value).collect()
}

fn report_twice(context: &Context<'_>, key: &str, at: At) {
    context.report(at, format!("key {} is listed twice", quoted(key)));
}

#[cfg(test)]
mod tests {
    use crate::model::ShardFunction;
    use crate::testing::{config, config_in, problems, problems_in, trusting};

    const PLACED: &str = "shards = [{ ids = [0, 1], primary = \"postgres://h/d_{shard}\" }]\n";

    fn group(body: &str) -> String {
        trusting(&format!("[[databases]]\nname = \"d\"\n[[databases.groups]]\n{body}"))
    }

    #[test]
    fn what_a_group_leaves_out_is_the_contracts_default() {
        let config = config(&group(&format!("shard_count = 2\n{PLACED}")));
        let group = &config.databases[0].groups[0];
        assert_eq!(group.name, "main");
        assert_eq!(group.function, ShardFunction::Fnv1a);
        assert_eq!(group.keys, ["configurationId", "user_id"]);
        assert_eq!(group.shards.len(), 2);
    }

    #[test]
    fn the_environment_fills_a_missing_shard_count_and_no_other() {
        let env = [("DATABASE_SHARD_COUNT", "2")];
        let shards = |text: &str| config_in(&env, text).databases[0].groups[0].shards.len();
        assert_eq!(shards(&group(PLACED)), 2);
        assert_eq!(
            shards(&group("shard_count = 1\nshards = [{ ids = [0], primary = \"postgres://h/d\" }]")),
            1
        );
    }

    #[test]
    fn a_shard_count_that_nobody_gives_is_a_problem() {
        assert_eq!(
            problems(&group(PLACED)),
            "t.toml:4:1: [[databases.groups]] needs \"shard_count\" (or DATABASE_SHARD_COUNT in the environment)"
        );
    }

    #[test]
    fn a_shard_count_has_limits_wherever_it_is_from() {
        for count in ["0", "-4", "65537", "four"] {
            assert_eq!(
                problems_in(&[("DATABASE_SHARD_COUNT", count)], &group(PLACED)),
                format!(
                    "environment:DATABASE_SHARD_COUNT: expected a whole number from 1 to 65536, found \"{count}\""
                )
            );
        }
        assert_eq!(
            problems(&group(&format!("shard_count = 65537\n{PLACED}"))),
            "t.toml:5:15: expected a whole number from 1 to 65536, found 65537"
        );
    }

    #[test]
    fn a_key_is_listed_once_and_says_something() {
        assert_eq!(
            problems(&group(&format!("shard_count = 2\nkeys = [\"a\", \"\", \"a\"]\n{PLACED}"))),
            "t.toml:6:14: \"keys\" cannot be empty\n\
             t.toml:6:18: key \"a\" is listed twice"
        );
    }
}
