//! A group's `function` with the ranges or lists that it needs. No key is hashed here.

use std::collections::HashMap;

use crate::context::{At, Checked, Context, Reported, Text};
use crate::model::{KeyList, KeyRange, ShardFunction};
use crate::section::Section;
use crate::value::{Value, quoted};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Fnv1a,
    Modulo,
    Range,
    List,
}

const NAMES: [(&str, Name); 4] =
    [("fnv1a", Name::Fnv1a), ("modulo", Name::Modulo), ("range", Name::Range), ("list", Name::List)];

pub(crate) fn read(section: &mut Section<'_>, count: Option<u32>) -> Checked<ShardFunction> {
    let name = section.choice_of("function", &NAMES);
    let ranges = section.tables("ranges");
    let lists = section.tables("values");
    // Both are read whatever the function is, so that their own problems show too.
    let ranges = sorted_ranges(section.context(), read_each(ranges, |entry| range(entry, count)));
    let lists = distinct_lists(section.context(), read_each(lists, |entry| list(entry, count)));
    let name = name?.unwrap_or(Name::Fnv1a);
    only_for(section, "ranges", "range", name == Name::Range)?;
    only_for(section, "values", "list", name == Name::List)?;
    match name {
        Name::Fnv1a => Ok(ShardFunction::Fnv1a),
        Name::Modulo => Ok(ShardFunction::Modulo),
        Name::Range => ranges.map(ShardFunction::Range),
        Name::List => lists.map(ShardFunction::List),
    }
}

/// Every entry is read, also after one that is wrong.
fn read_each<'a, T>(
    sections: Checked<Vec<Section<'a>>>,
    read: impl Fn(Section<'a>) -> Checked<T>,
) -> Checked<Vec<T>> {
    let entries: Vec<_> = sections?.into_iter().map(read).collect();
    entries.into_iter().collect()
}

/// A function has its entries, and no other function's.
fn only_for(section: &Section<'_>, key: &str, function: &str, wanted: bool) -> Checked<()> {
    let message = match (wanted, section.has(key)) {
        (true, false) => format!("function = \"{function}\" needs [[databases.groups.{key}]]"),
        (false, true) => format!("[[databases.groups.{key}]] is for function = \"{function}\" alone"),
        _ => return Ok(()),
    };
    let at = section.at_key(if wanted { "function" } else { key });
    Err(section.context().report(at, message))
}

fn range(mut section: Section<'_>, count: Option<u32>) -> Checked<(KeyRange, At)> {
    let (context, at) = (section.context(), section.at());
    let from = bound(&mut section, "from");
    let to = bound(&mut section, "to");
    let shard = section.shard(count);
    section.finish();
    let range = KeyRange { from: from?, to: to?, shard: shard? };
    match (range.from, range.to) {
        (Some(from), Some(to)) if from >= to => {
            let message = format!("the range from {from} to {to} is empty: from <= key < to");
            Err(context.report(at, message))
        }
        _ => Ok((range, at)),
    }
}

fn bound(section: &mut Section<'_>, key: &'static str) -> Checked<Option<i64>> {
    section.value(key).map(|value| value.integer(i64::MIN..=i64::MAX)).transpose()
}

/// Sorts the ranges. Each is held against the one before it that reaches furthest.
fn sorted_ranges(context: &Context<'_>, ranges: Checked<Vec<(KeyRange, At)>>) -> Checked<Vec<KeyRange>> {
    let mut ranges = ranges?;
    ranges.sort_by_key(|(range, _)| range.from);
    let mut result = Ok(());
    let mut furthest: Option<(i128, At)> = None;
    for (range, at) in &ranges {
        if let Some((_, before)) = furthest.filter(|(end, _)| start(range) < *end) {
            result = Err(report_overlap(context, before, *at));
        }
        if furthest.is_none_or(|(before, _)| end(range) > before) {
            furthest = Some((end(range), *at));
        }
    }
    result.map(|()| ranges.into_iter().map(|(range, _)| range).collect())
}

/// The first key, below every key for an open range.
fn start(range: &KeyRange) -> i128 {
    range.from.map_or(i128::MIN, i128::from)
}

/// The first key that is no longer in, above every key for an open range.
fn end(range: &KeyRange) -> i128 {
    range.to.map_or(i128::MAX, i128::from)
}

/// Reports an overlap at the range that stands later in the file.
fn report_overlap(context: &Context<'_>, one: At, other: At) -> Reported {
    let (first, later) = if one.offset() <= other.offset() { (one, other) } else { (other, one) };
    context.report(later, format!("this range overlaps the one {}", context.refer(first)))
}

fn list(mut section: Section<'_>, count: Option<u32>) -> Checked<(Vec<Text>, u32)> {
    let values = section.need("values").and_then(keys);
    let shard = section.shard(count);
    section.finish();
    Ok((values?, shard?))
}

/// Keys in canonical text: strings as they are, whole numbers in decimal.
fn keys(value: Value<'_>) -> Checked<Vec<Text>> {
    let elements = value.list("a list of keys")?;
    if elements.is_empty() {
        return Err(value.context().report(value.at(), "\"values\" cannot be empty"));
    }
    let keys: Vec<_> = elements.into_iter().map(key).collect();
    keys.into_iter().collect()
}

fn key(value: Value<'_>) -> Checked<Text> {
    if value.is_integer() {
        let number = value.integer(i64::MIN..=i64::MAX)?;
        return Ok(Text { value: number.to_string(), at: value.at() });
    }
    value.text()
}

fn distinct_lists(context: &Context<'_>, lists: Checked<Vec<(Vec<Text>, u32)>>) -> Checked<Vec<KeyList>> {
    let lists = lists?;
    let mut seen = HashMap::new();
    let mut reported = None;
    for Text { value, at } in lists.iter().flat_map(|(keys, _)| keys) {
        if let Some(first) = seen.insert(value.as_str(), *at) {
            let message = format!("key {} is already listed {}", quoted(value), context.refer(first));
            reported = Some(context.report(*at, message));
        }
    }
    let list = |(keys, shard): (Vec<Text>, u32)| KeyList {
        values: keys.into_iter().map(|key| key.value).collect(),
        shard,
    };
    reported.map_or_else(|| Ok(lists.into_iter().map(list).collect()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, problems, trusting};

    fn group(body: &str) -> String {
        trusting(&format!(
            "[[databases]]\nname = \"d\"\n[[databases.groups]]\nshard_count = 2\n\
             shards = [{{ ids = [0, 1], primary = \"postgres://h/d_{{shard}}\" }}]\n{body}"
        ))
    }

    fn function(body: &str) -> ShardFunction {
        config(&group(body)).databases[0].groups[0].function.clone()
    }

    #[test]
    fn functions_without_entries_stand_alone() {
        assert_eq!(function("function = \"modulo\""), ShardFunction::Modulo);
        assert_eq!(function("function = \"fnv1a\""), ShardFunction::Fnv1a);
        assert_eq!(
            problems(&group("function = \"md5\"\nranges = []")),
            "t.toml:7:12: expected one of fnv1a, modulo, range, list, found \"md5\""
        );
    }

    #[test]
    fn ranges_are_sorted_and_may_be_open() {
        let entries = "function = \"range\"\nranges = [{ from = 10, shard = 1 }, { to = -5, shard = 0 }, { from = -5, to = 10, shard = 0 }]";
        let range = |from, to, shard| KeyRange { from, to, shard };
        assert_eq!(
            function(entries),
            ShardFunction::Range(vec![
                range(None, Some(-5), 0),
                range(Some(-5), Some(10), 0),
                range(Some(10), None, 1)
            ])
        );
    }

    #[test]
    fn overlapping_ranges_are_reported_at_the_later_one() {
        let entries = "function = \"range\"\n\
                       [[databases.groups.ranges]]\nfrom = 5\nto = 20\nshard = 0\n\
                       [[databases.groups.ranges]]\nto = 6\nshard = 1\n";
        assert_eq!(problems(&group(entries)), "t.toml:12:1: this range overlaps the one at line 8");
        let two_open = "function = \"range\"\nranges = [{ shard = 0 },\n{ shard = 1 }]";
        assert_eq!(problems(&group(two_open)), "t.toml:9:1: this range overlaps the one at line 8");
    }

    #[test]
    fn what_is_wrong_with_a_range_is_told_with_its_place() {
        let entries = "function = \"range\"\nranges = [\n{ from = 3, to = 3, shard = 0 },\n{ to = 1, shard = 2 },\n\
                       { from = 9223372036854775808, shard = 0 },\n{ from = 100 }]";
        assert_eq!(
            problems(&group(entries)),
            "t.toml:9:1: the range from 3 to 3 is empty: from <= key < to\n\
             t.toml:10:19: shard 2 is out of range: shard_count is 2, so the last is 1\n\
             t.toml:11:10: expected a whole number from -9223372036854775808 to 9223372036854775807, found 9223372036854775808\n\
             t.toml:12:1: [[databases.groups.ranges]] needs \"shard\""
        );
    }

    #[test]
    fn lists_hold_texts_and_whole_numbers() {
        let list = |values: &[&str], shard| KeyList {
            values: values.iter().map(|v| (*v).to_owned()).collect(),
            shard,
        };
        assert_eq!(
            function(
                "function = \"list\"\nvalues = [{ values = [\"eu\", 7], shard = 1 }, { values = [\"us\"], shard = 0 }]"
            ),
            ShardFunction::List(vec![list(&["eu", "7"], 1), list(&["us"], 0)])
        );
    }

    #[test]
    fn a_key_is_in_one_list_and_no_list_is_empty() {
        let entries =
            "function = \"list\"\nvalues = [{ values = [\"7\"], shard = 1 },\n{ values = [7], shard = 0 }]";
        assert_eq!(problems(&group(entries)), "t.toml:9:13: key \"7\" is already listed at line 8");
        let empty = "function = \"list\"\nvalues = [{ values = [], shard = 1 },\n{ shard = 0 }]";
        assert_eq!(
            problems(&group(empty)),
            "t.toml:8:22: \"values\" cannot be empty\n\
             t.toml:9:1: [[databases.groups.values]] needs \"values\""
        );
    }

    #[test]
    fn entries_and_function_belong_together() {
        assert_eq!(
            problems(&group("function = \"range\"")),
            "t.toml:7:12: function = \"range\" needs [[databases.groups.ranges]]"
        );
        assert_eq!(
            problems(&group("[[databases.groups.ranges]]\nshard = 0")),
            "t.toml:7:1: [[databases.groups.ranges]] is for function = \"range\" alone"
        );
        assert_eq!(
            problems(&group("function = \"modulo\"\nvalues = [{ values = [1], shard = 0 }]")),
            "t.toml:8:10: [[databases.groups.values]] is for function = \"list\" alone"
        );
    }
}
