//! Hints: `/* shard: 2 */` and `/* sharding_key: 'abc' */` send a statement as told.

use super::scan::Scan;

/// Where the client wants a statement to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// To this shard.
    Shard(u32),
    /// To the shard that owns this key.
    Key(String),
}

/// A comment that looks like a hint and isn't one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHint(pub String);

/// The first hint among the block comments of `sql`. Comments that say nothing of sharding are just comments.
pub fn find(sql: &str) -> Result<Option<Hint>, BadHint> {
    // By a scan: what looks like a comment inside a string is the client's data.
    let mut scan = Scan::default();
    if scan.run(sql).is_err() {
        return Ok(None);
    }
    for &(start, end) in &scan.comments {
        if let Some(hint) = parse(sql[start + 2..end - 2].trim())? {
            return Ok(Some(hint));
        }
    }
    Ok(None)
}

fn parse(comment: &str) -> Result<Option<Hint>, BadHint> {
    let Some((name, value)) = comment.split_once(':') else { return Ok(None) };
    let value = value.trim();
    match name.trim() {
        "shard" => value.parse().map(|n| Some(Hint::Shard(n))).map_err(|_| BadHint(comment.to_owned())),
        "sharding_key" => match value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')) {
            Some(key) => Ok(Some(Hint::Key(key.replace("''", "'")))),
            None if !value.is_empty() && !value.contains('\'') => Ok(Some(Hint::Key(value.to_owned()))),
            None => Err(BadHint(comment.to_owned())),
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_and_other_comments_are_not() {
        assert_eq!(find("select 1 /* shard: 2 */"), Ok(Some(Hint::Shard(2))));
        assert_eq!(
            find("/* note: x */ /* sharding_key: 'a''b' */ select"),
            Ok(Some(Hint::Key("a'b".into())))
        );
        assert_eq!(find("/* sharding_key: 42 */ select"), Ok(Some(Hint::Key("42".into()))));
        assert_eq!(find("/* hello */ select 1"), Ok(None));
        assert!(find("/* shard: two */ select 1").is_err());
        assert_eq!(find("-- /* shard: 2 */\nselect 1"), Ok(None));
    }

    #[test]
    fn what_looks_like_a_hint_in_a_string_is_data() {
        assert_eq!(find("select '/* shard: 1 */' /* app: x */"), Ok(None));
        assert_eq!(
            find("select $$/* shard: 1 */$$, \"/* shard: 1 */\" /* shard: 3 */"),
            Ok(Some(Hint::Shard(3)))
        );
    }
}
