//! `[[databases.groups.shards]]`: where shards live. Every shard from 0 to `shard_count` has one place, and
//! no two share a database.

use std::collections::BTreeMap;

use crate::collisions;
use crate::context::{At, Checked, Context, Reported};
use crate::fields::shard_number;
use crate::model::Shard;
use crate::placement::{Located, Placement, enumerate};
use crate::section::Section;
use crate::value::{Value, quoted};

/// Shards by number, with their servers.
pub(crate) type Places = BTreeMap<u32, (Located, Vec<Located>)>;

pub(crate) fn read(section: &mut Section<'_>, group: &str, count: Option<u32>) -> Checked<Vec<Shard>> {
    let (context, at) = (section.context(), section.at());
    let sections = section.tables("shards")?;
    let placements: Vec<Placement> = sections.into_iter().map(|entry| placement(entry, count)).collect();
    let complete = covers(context, group, at, &placements, count);
    let shards = build(context, &placements);
    complete.and(shards)
}

/// The shards of these placements, in order of their numbers.
pub(crate) fn build(context: &Context<'_>, placements: &[Placement]) -> Checked<Vec<Shard>> {
    let mut places = Places::new();
    let mut located = Ok(());
    for (placement, (id, _)) in placements.iter().flat_map(|p| p.ids.iter().map(move |id| (p, id))) {
        match placement.locate(context, *id) {
            Ok(place) => drop(places.insert(*id, place)),
            Err(reported) => located = Err(reported),
        }
    }
    // Checked whether or not all were located, so that one wrong URL does not hide two that collide.
    let apart = collisions::check(context, &places);
    located.and(apart)?;
    Ok(places.into_values().map(shard).collect())
}

fn shard((primary, replicas): (Located, Vec<Located>)) -> Shard {
    let replicas = replicas.into_iter().map(|replica| replica.endpoint).collect();
    Shard { primary: primary.endpoint, replicas }
}

fn placement(mut section: Section<'_>, count: Option<u32>) -> Placement {
    let ids = ids(&mut section, count).unwrap_or_default();
    let primary = section.required("primary");
    let replicas = section.texts("replicas").unwrap_or_default();
    section.finish();
    Placement { ids, primary, replicas }
}

fn ids(section: &mut Section<'_>, count: Option<u32>) -> Checked<Vec<(u32, At)>> {
    let value = section.need("ids")?;
    let elements = value.list("a list of shard numbers")?;
    if elements.is_empty() {
        return Err(section.context().report(value.at(), "\"ids\" cannot be empty"));
    }
    let id = |element: Value<'_>| {
        let id = shard_number(element).ok()?;
        Some((section.shard_in_range(id, element.at(), count).ok()?, element.at()))
    };
    Ok(elements.into_iter().filter_map(id).collect())
}

/// Whether each shard has a place, and one alone.
fn covers(
    context: &Context<'_>,
    group: &str,
    at: At,
    placements: &[Placement],
    count: Option<u32>,
) -> Checked<()> {
    let mut seen = BTreeMap::new();
    let mut result = Ok(());
    for (id, at) in placements.iter().flat_map(|placement| &placement.ids) {
        if let Some(first) = seen.insert(*id, *at) {
            let message = format!("shard {id} is already placed {}", context.refer(first));
            result = Err(context.report(*at, message));
        }
    }
    let missing: Vec<u32> = (0..count.unwrap_or(0)).filter(|id| !seen.contains_key(id)).collect();
    if !missing.is_empty() {
        result = Err(report_missing(context, group, at, &missing));
    }
    result
}

fn report_missing(context: &Context<'_>, group: &str, at: At, missing: &[u32]) -> Reported {
    let (noun, verb) = if missing.len() == 1 { ("shard", "is") } else { ("shards", "are") };
    let (group, ids) = (quoted(group), enumerate(missing));
    context.report(at, format!("{noun} {ids} of group {group} {verb} in no [[databases.groups.shards]]"))
}

#[cfg(test)]
mod tests {
    use crate::testing::{config, problems, trusting};

    fn group(count: u32, shards: &str) -> String {
        trusting(&format!(
            "[[databases]]\nname = \"d\"\n[[databases.groups]]\nname = \"main\"\nshard_count = {count}\n{shards}"
        ))
    }

    #[test]
    fn shards_are_in_order_of_their_numbers() {
        let text = "shards = [{ ids = [3, 1], primary = \"postgres://a/d_{shard}\", replicas = [\"postgres://r{shard}/d\"] },\n\
                    { ids = [0], primary = \"postgres://b/zero\" }, { ids = [2], primary = \"postgres://c:543{shard}/d\" }]";
        let config = config(&group(4, text));
        let shards = &config.databases[0].groups[0].shards;
        let primaries: Vec<String> = shards.iter().map(|shard| shard.primary.to_string()).collect();
        assert_eq!(primaries, ["b:5432/zero", "a:5432/d_1", "c:5432/d", "a:5432/d_3"]);
        assert_eq!(shards[3].replicas[0].to_string(), "r3:5432/d");
        assert!(shards[0].replicas.is_empty());
    }

    #[test]
    fn a_missing_shard_is_named_with_its_place() {
        assert_eq!(
            problems(&group(4, "shards = [{ ids = [1, 2], primary = \"postgres://a/d_{shard}\" }]")),
            "t.toml:4:1: shards 0 and 3 of group \"main\" are in no [[databases.groups.shards]]"
        );
        assert_eq!(
            problems(&group(1, "")),
            "t.toml:4:1: shard 0 of group \"main\" is in no [[databases.groups.shards]]"
        );
        assert_eq!(
            problems(&group(65536, "")),
            "t.toml:4:1: shards 0, 1, 2, 3, 4, 5, 6, 7 and 65528 more of group \"main\" are in no \
             [[databases.groups.shards]]"
        );
    }

    #[test]
    fn a_shard_has_one_place_and_a_number_below_the_count() {
        let text = "[[databases.groups.shards]]\nids = [0, 1, 4]\nprimary = \"postgres://a/d_{shard}\"\n\
                    [[databases.groups.shards]]\nids = [1, -1, \"2\"]\nprimary = \"postgres://b/d\"\n";
        assert_eq!(
            problems(&group(2, text)),
            "t.toml:8:14: shard 4 is out of range: shard_count is 2, so the last is 1\n\
             t.toml:11:8: shard 1 is already placed at line 8\n\
             t.toml:11:11: expected a whole number from 0 to 65535, found -1\n\
             t.toml:11:15: expected a whole number, found a string"
        );
    }

    #[test]
    fn an_entry_needs_its_ids_and_its_primary() {
        assert_eq!(
            problems(&group(
                1,
                "[[databases.groups.shards]]\nid = [0]\n[[databases.groups.shards]]\nids = []\nprimary = \"\"\n"
            )),
            "t.toml:4:1: shard 0 of group \"main\" is in no [[databases.groups.shards]]\n\
             t.toml:7:1: [[databases.groups.shards]] needs \"ids\"\n\
             t.toml:7:1: [[databases.groups.shards]] needs \"primary\"\n\
             t.toml:8:1: unknown key \"id\" in [[databases.groups.shards]]; did you mean \"ids\"?\n\
             t.toml:10:7: \"ids\" cannot be empty\n\
             t.toml:11:11: \"primary\" cannot be empty"
        );
    }

    #[test]
    fn two_shards_in_one_database_are_refused() {
        let text = "[[databases.groups.shards]]\nids = [0, 1]\nprimary = \"postgres://a/d\"\nreplicas = [\"postgres://r/d\"]\n";
        assert_eq!(
            problems(&group(2, text)),
            "t.toml:9:11: shards 0 and 1 would live in one database: the URL has no {shard}\n\
             t.toml:10:13: shards 0 and 1 would live in one database: the URL has no {shard}"
        );
    }

    #[test]
    fn a_url_that_is_wrong_is_reported_once_for_all_its_shards() {
        assert_eq!(
            problems(&group(2, "shards = [{ ids = [0, 1], primary = \"postgres://a:x/d_{shard}\" }]")),
            "t.toml:7:37: the URL's port must be a number from 1 to 65535 (in a password, : / ? @ are written %3A %2F %3F %40)"
        );
    }
}
