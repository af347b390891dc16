//! `[[databases.tables]]`: what a table is, where its columns alone do not say it.

use std::collections::HashMap;

use crate::cache::{Seen, table_once};
use crate::context::{Checked, Reported, Text};
use crate::groups::Draft;
use crate::model::{Table, TableKind};
use crate::section::Section;
use crate::suggest::nearest;
use crate::value::quoted;

#[derive(Clone, Copy)]
enum Kind {
    Sharded,
    Reference,
    Local,
}

const KINDS: [(&str, Kind); 3] =
    [("sharded", Kind::Sharded), ("reference", Kind::Reference), ("local", Kind::Local)];

pub(crate) fn read(section: &mut Section<'_>, groups: &[Draft]) -> Vec<Table> {
    let mut seen = HashMap::new();
    let sections = section.tables("tables").unwrap_or_default();
    sections.into_iter().filter_map(|section| table(section, groups, &mut seen).ok()).collect()
}

fn table(mut section: Section<'_>, groups: &[Draft], seen: &mut Seen) -> Checked<Table> {
    let context = section.context();
    let name = section.required("name").and_then(|text| table_once(context, &text, seen));
    let kind = kind(&mut section, groups);
    section.finish();
    Ok(Table { name: name?, kind: kind? })
}

fn kind(section: &mut Section<'_>, groups: &[Draft]) -> Checked<TableKind> {
    let kind = section.required("kind").and_then(|text| section.chosen(&text, &KINDS));
    let group = group(section, groups);
    // Known from here on, whether or not this kind has them.
    let (has_key, has_shard) = (section.value("key").is_some(), section.value("shard").is_some());
    let kind = kind?;
    let misplaced = [
        (has_key && !matches!(kind, Kind::Sharded)).then(|| refuse(section, "key", "sharded")),
        (has_shard && !matches!(kind, Kind::Local)).then(|| refuse(section, "shard", "local")),
    ];
    let details = details(section, kind, group?, groups);
    misplaced.into_iter().flatten().next().map_or(details, Err)
}

fn details(section: &mut Section<'_>, kind: Kind, group: usize, groups: &[Draft]) -> Checked<TableKind> {
    Ok(match kind {
        Kind::Sharded => TableKind::Sharded { group, key: key(section)? },
        Kind::Reference => TableKind::Reference { group },
        Kind::Local => {
            let count = groups.get(group).and_then(|group| group.shard_count);
            TableKind::Local { group, shard: section.shard(count)? }
        }
    })
}

fn key(section: &mut Section<'_>) -> Checked<Option<String>> {
    let Some(value) = section.value("key") else { return Ok(None) };
    Ok(Some(section.filled("key", value.text()?)?.value))
}

fn refuse(section: &Section<'_>, key: &str, kind: &str) -> Reported {
    section.context().report(section.at_key(key), format!("\"{key}\" is for kind = \"{kind}\" alone"))
}

/// The group's index; the first group when none is named.
fn group(section: &mut Section<'_>, groups: &[Draft]) -> Checked<usize> {
    let Some(value) = section.value("group") else { return Ok(0) };
    let text = value.text()?;
    // A database whose groups could not be read at all has its problem already; nothing can be looked up.
    let found =
        if groups.is_empty() { Some(0) } else { groups.iter().position(|group| group.name == text.value) };
    found.ok_or_else(|| section.context().report(text.at, unknown_group(&text, groups)))
}

fn unknown_group(text: &Text, groups: &[Draft]) -> String {
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let hint = match nearest(&text.value, &names) {
        Some(near) => format!("did you mean {}?", quoted(near)),
        None => format!(
            "the database has {}",
            names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
        ),
    };
    format!("unknown group {}; {hint}", quoted(&text.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TableName;
    use crate::testing::{config, problems, trusting};

    fn tables(body: &str) -> String {
        trusting(&format!(
            "[[databases]]\nname = \"d\"\ngroups = [\n\
             {{ name = \"main\", shard_count = 1, shards = [{{ ids = [0], primary = \"postgres://h/d\" }}] }},\n\
             {{ name = \"mfg\", shard_count = 2, shards = [{{ ids = [0, 1], primary = \"postgres://h/m{{shard}}\" }}] }}]\n{body}"
        ))
    }

    #[test]
    fn tables_are_sharded_reference_or_local() {
        let body = "tables = [{ name = \"o\", kind = \"sharded\", key = \"k\" }, { name = \"p\", kind = \"sharded\", group = \"mfg\" },\n\
                    { name = \"s.r\", kind = \"reference\" }, { name = \"l\", kind = \"local\", group = \"mfg\", shard = 1 }]";
        let config = config(&tables(body));
        let kinds: Vec<&TableKind> = config.databases[0].tables.iter().map(|table| &table.kind).collect();
        assert_eq!(
            kinds,
            [
                &TableKind::Sharded { group: 0, key: Some("k".into()) },
                &TableKind::Sharded { group: 1, key: None },
                &TableKind::Reference { group: 0 },
                &TableKind::Local { group: 1, shard: 1 },
            ]
        );
        assert_eq!(
            config.databases[0].tables[2].name,
            TableName { schema: Some("s".into()), name: "r".into() }
        );
    }

    #[test]
    fn a_local_table_needs_a_shard_that_its_group_has() {
        let body =
            "tables = [\n{ name = \"a\", kind = \"local\" },\n{ name = \"b\", kind = \"local\", shard = 1 }]";
        assert_eq!(
            problems(&tables(body)),
            "t.toml:8:1: [[databases.tables]] needs \"shard\"\n\
             t.toml:9:39: shard 1 is out of range: shard_count is 1, so the last is 0"
        );
    }

    #[test]
    fn a_key_is_for_sharded_and_a_shard_for_local_tables() {
        let body = "tables = [\n{ name = \"a\", kind = \"reference\", key = \"k\", shard = 0 },\n\
                    { name = \"b\", kind = \"sharded\", key = \"\", shard = 0 }]";
        assert_eq!(
            problems(&tables(body)),
            "t.toml:8:41: \"key\" is for kind = \"sharded\" alone\n\
             t.toml:8:54: \"shard\" is for kind = \"local\" alone\n\
             t.toml:9:39: \"key\" cannot be empty\n\
             t.toml:9:51: \"shard\" is for kind = \"local\" alone"
        );
    }

    #[test]
    fn what_a_table_lacks_or_has_twice_is_named() {
        let body = "tables = [\n{ name = \"a\" },\n{ kind = \"reference\" },\n{ name = \"a\", kind = \"loca\" },\n\
                    { name = \"b\", kind = \"reference\", group = \"mgf\" },\n{ name = \"c\", kind = \"reference\", group = \"other\" }]";
        assert_eq!(
            problems(&tables(body)),
            "t.toml:8:1: [[databases.tables]] needs \"kind\"\n\
             t.toml:9:1: [[databases.tables]] needs \"name\"\n\
             t.toml:10:10: table \"a\" is already listed at line 8\n\
             t.toml:10:22: expected one of sharded, reference, local, found \"loca\"\n\
             t.toml:11:43: unknown group \"mgf\"; the database has \"main\", \"mfg\"\n\
             t.toml:12:43: unknown group \"other\"; the database has \"main\", \"mfg\""
        );
    }
}
