//! CREATE TABLE AS, and SELECT INTO: the table is made on every shard without rows, and then they are inserted as by any
//! INSERT … SELECT, in the same transaction. So they lie where their keys say, and each is there once.

use super::{copies_rows, head::Head, refuse};
use crate::plan::Refusal;
use crate::schema::Schema;
use crate::sql::scan::all_tokens;
use std::ops::Range;

/// How a table is made and filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Makes it.
    pub create: String,
    /// Fills it.
    pub insert: String,
}

/// Tokens of a text, and how they are read.
struct Tokens<'t> {
    text: &'t str,
    ranges: Vec<Range<usize>>,
}

impl<'t> Tokens<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let mut ranges = all_tokens(text)?;
        while ranges.last().is_some_and(|range| &text[range.clone()] == ";") {
            ranges.pop();
        }
        Some(Self { text, ranges })
    }

    fn at(&self, n: usize) -> &'t str {
        self.ranges.get(n).map_or("", |range| &self.text[range.clone()])
    }

    fn is(&self, n: usize, word: &str) -> bool {
        self.at(n).eq_ignore_ascii_case(word)
    }

    /// What stands from one token up to another.
    fn piece(&self, from: usize, to: usize) -> &'t str {
        match (self.ranges.get(from), to.checked_sub(1).and_then(|last| self.ranges.get(last))) {
            (Some(first), Some(last)) if from < to => &self.text[first.start..last.end],
            _ => "",
        }
    }

    /// The first token outside of parentheses, from `start` on, that is this word.
    fn find(&self, start: usize, word: &str) -> Option<usize> {
        let mut depth = 0i32;
        (start..self.ranges.len()).find(|&n| {
            match self.at(n) {
                "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                _ => return depth == 0 && self.is(n, word),
            }
            false
        })
    }

    /// Where a name that begins at a token ends.
    fn name(&self, start: usize) -> usize {
        let mut end = start + 1;
        while self.at(end) == "." {
            end += 2;
        }
        end
    }
}

/// CREATE TABLE … AS with rows: how it is done. `None` if the command is another one, or the table is there already.
pub(super) fn of(
    head: &Head,
    text: &str,
    schema: &Schema,
    path: &[String],
) -> Result<Option<Filled>, Refusal> {
    if head.verb != "CREATE" || head.kind != "TABLE" || !copies_rows(head) {
        return Ok(None);
    }
    let refused = |what: &str| {
        let hint = "Use CREATE TABLE … AS … WITH NO DATA, then INSERT the rows.";
        refuse(format!("CREATE TABLE AS {what} over several shards is not supported"), hint)
    };
    let tokens = Tokens::of(text).ok_or_else(|| refused("of this form"))?;
    let table = tokens.find(0, "table").ok_or_else(|| refused("of this form"))?;
    let can_be = tokens.is(table + 1, "if");
    let name = if can_be { table + 4 } else { table + 1 };
    let known = head.relations.first();
    if can_be && known.is_some_and(|named| schema.find(path, named.schema.as_deref(), &named.name).is_some())
    {
        return Ok(None);
    }
    let named = tokens.piece(name, tokens.name(name));
    let query = tokens.find(name, "as").ok_or_else(|| refused("of this form"))? + 1;
    if tokens.is(query, "execute") {
        return Err(refused("EXECUTE"));
    }
    let count = tokens.ranges.len();
    let says_data = tokens.is(count - 2, "with") && tokens.is(count - 1, "data");
    let end = if says_data { count - 2 } else { count };
    Ok(Some(Filled {
        // Whoever has made it meanwhile has not filled it with this.
        create: format!(
            "{} {} WITH NO DATA",
            tokens.piece(0, table + 1),
            // On a line of its own: a comment may stand at the end.
            tokens.piece(name, end).to_owned() + "\n"
        ),
        insert: format!("INSERT INTO {named} {}", tokens.piece(query, end)),
    }))
}

/// SELECT INTO as CREATE TABLE AS. `None` if it is none.
pub(in crate::plan) fn of_select_into(text: &str) -> Option<String> {
    let is_insert = text.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("insert"));
    if is_insert || !text.as_bytes().windows(4).any(|word| word.eq_ignore_ascii_case(b"into")) {
        return None;
    }
    let tokens = Tokens::of(text)?;
    if !(tokens.is(0, "select") || tokens.is(0, "with")) {
        return None;
    }
    let into = tokens.find(0, "into")?;
    let writes = ["insert", "merge"].iter().any(|word| tokens.find(0, word).is_some());
    if writes || tokens.find(0, "from").is_some_and(|from| from < into) {
        return None;
    }
    let mut name = into + 1;
    let mut manner = String::new();
    while ["local", "global", "temp", "temporary", "unlogged"].iter().any(|word| tokens.is(name, word)) {
        manner.push_str(tokens.at(name));
        manner.push(' ');
        name += 1;
    }
    if tokens.is(name, "table") {
        name += 1;
    }
    let end = tokens.name(name);
    let (before, after) = (tokens.piece(0, into), tokens.piece(end, tokens.ranges.len()));
    Some(format!("CREATE {manner}TABLE {} AS {before}\n{after}", tokens.piece(name, end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    fn filled(text: &str) -> Filled {
        let head = Head::of(text).unwrap();
        of(&head, text, &Schema::default(), &["public".to_owned()]).unwrap().unwrap()
    }

    #[test]
    fn a_table_is_made_empty_and_filled() {
        let both = filled(
            "CREATE UNLOGGED TABLE IF NOT EXISTS s.\"T\" (a, b) AS SELECT 1, f(x AS y) -- end\n WITH DATA;",
        );
        assert_eq!(both.create, "CREATE UNLOGGED TABLE s.\"T\" (a, b) AS SELECT 1, f(x AS y)\n WITH NO DATA");
        assert_eq!(both.insert, "INSERT INTO s.\"T\" SELECT 1, f(x AS y)");
        let both = filled("create table t with (fillfactor=70) as table u");
        assert_eq!(both.create, "create table t with (fillfactor=70) as table u\n WITH NO DATA");
        assert_eq!(both.insert, "INSERT INTO t table u");
    }

    #[test]
    fn select_into_makes_a_table() {
        let of = |text| of_select_into(text);
        assert_eq!(
            of("SELECT a, b INTO UNLOGGED TABLE s.t FROM u WHERE c").as_deref(),
            Some("CREATE UNLOGGED TABLE s.t AS SELECT a, b\nFROM u WHERE c")
        );
        assert_eq!(
            of("WITH x AS (SELECT 1) SELECT * INTO t FROM x;").as_deref(),
            Some("CREATE TABLE t AS WITH x AS (SELECT 1) SELECT *\nFROM x")
        );
        assert_eq!(of("WITH x AS (DELETE FROM a RETURNING *) INSERT INTO t SELECT * FROM x"), None);
        assert_eq!(of("WITH x AS (SELECT 1) MERGE INTO t USING x ON true WHEN MATCHED THEN DELETE"), None);
        assert_eq!(of("SELECT a FROM t"), None);
    }
}
