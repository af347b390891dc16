//! Spellings that the parser lacks, put into ones that it has. Postgres is sent the client's own text.

use crate::plan::traits::OBJECTS;
use crate::sql::scan::{all_tokens, identifier};
use std::ops::Range;

/// A text in tokens.
struct Tokens<'t> {
    text: &'t str,
    ranges: Vec<Range<usize>>,
}

impl<'t> Tokens<'t> {
    fn of(text: &'t str) -> Option<Self> {
        Some(Self { text, ranges: all_tokens(text)? })
    }

    fn at(&self, n: usize) -> &'t str {
        self.ranges.get(n).map_or("", |range| &self.text[range.clone()])
    }

    fn is(&self, n: usize, word: &str) -> bool {
        self.at(n).eq_ignore_ascii_case(word)
    }

    fn is_one_of(&self, n: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(n, word))
    }
}

/// The text with spaces in the place of pieces of it, so that every other character stays where it is.
fn blanked(text: &str, pieces: &[Range<usize>]) -> String {
    let within = |at: usize| pieces.iter().any(|piece| piece.contains(&at));
    text.char_indices().map(|(at, c)| if within(at) && c != '\n' { ' ' } else { c }).collect()
}

fn names(text: &str, word: &str) -> bool {
    text.as_bytes().windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// `TABLE name` as `SELECT * FROM name`, wherever a query may stand. `None` if there is none. Literals keep their numbers.
pub(super) fn tables_as_selects(text: &str) -> Option<String> {
    if !names(text, "table") {
        return None;
    }
    let tokens = Tokens::of(text)?;
    let inserts = (0..tokens.ranges.len()).any(|n| tokens.is(n, "insert") && tokens.is(n + 1, "into"));
    let mut sql = String::new();
    let mut done = 0;
    for (n, range) in tokens.ranges.iter().enumerate() {
        let begins = n == 0
            || tokens.is_one_of(n - 1, &["(", "union", "all", "distinct", "except", "intersect"])
            || inserts && !tokens.is_one_of(n - 1, &["as", "."]);
        let named = tokens.at(n + 1).starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"');
        if tokens.is(n, "table") && begins && named {
            sql.push_str(&text[done..range.start]);
            sql.push_str("SELECT * FROM");
            done = range.end;
        }
    }
    sql.push_str(&text[done..]);
    (done > 0).then_some(sql)
}

/// A table's schema, if it was named, and its name.
pub(super) type Named = (Option<String>, String);

/// The text without ONLY in front of tables, and these tables with their schemas. `None` if there is none, or one in another
/// form.
pub(super) fn without_only(text: &str) -> Option<(String, Vec<Named>)> {
    if !names(text, "only") {
        return None;
    }
    let tokens = Tokens::of(text)?;
    let (mut pieces, mut tables) = (Vec::new(), Vec::new());
    for n in (0..tokens.ranges.len()).filter(|&n| tokens.is(n, "only")) {
        // FETCH FIRST … ROWS ONLY
        if tokens.is_one_of(n.wrapping_sub(1), &["row", "rows"]) {
            continue;
        }
        let named = |n: usize| tokens.at(n).starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"');
        if !named(n + 1) {
            return None;
        }
        let first = identifier(tokens.at(n + 1));
        tables.push(match tokens.is(n + 2, ".") {
            true => (Some(first), identifier(tokens.at(n + 3))),
            false => (None, first),
        });
        pieces.push(tokens.ranges[n].clone());
    }
    (!tables.is_empty()).then(|| (blanked(text, &pieces), tables))
}

/// The text without the subscripts behind columns that are set (`SET tags[1] = …`). `None` if it has none, or others than
/// numbers and parameters that stand nowhere else.
pub(super) fn without_subscripts(text: &str) -> Option<String> {
    if !names(text, "set") || !text.contains('[') {
        return None;
    }
    let tokens = Tokens::of(text)?;
    let mut pieces = Vec::new();
    // The depth of the list of a SET, while one is open, and whether a column's name stands there.
    let (mut list, mut is_target) = (None, false);
    let mut depth = 0i32;
    let mut n = 0;
    while n < tokens.ranges.len() {
        match tokens.at(n) {
            "[" if is_target => {
                let end = subscript(&tokens, n)?;
                pieces.push(tokens.ranges[n].start..tokens.ranges[end].end);
                n = end;
            }
            "(" | "[" => depth += 1,
            ")" | "]" => {
                depth -= 1;
                if list.is_some_and(|list| depth < list) {
                    (list, is_target) = (None, false);
                }
            }
            "," if list == Some(depth) => is_target = true,
            "=" if list == Some(depth) => is_target = false,
            _ if tokens.is(n, "set") => (list, is_target) = (Some(depth), true),
            _ if list == Some(depth) && tokens.is_one_of(n, &["from", "where", "returning"]) => {
                (list, is_target) = (None, false);
            }
            _ => {}
        }
        n += 1;
    }
    (!pieces.is_empty()).then(|| blanked(text, &pieces))
}

/// The end of a subscript that begins at a token, if nothing in it matters elsewhere.
fn subscript(tokens: &Tokens<'_>, first: usize) -> Option<usize> {
    let end = (first..tokens.ranges.len()).find(|&n| tokens.at(n) == "]")?;
    let plain = |n: usize| {
        let token = tokens.at(n);
        let alone = || (0..tokens.ranges.len()).filter(|&other| tokens.at(other) == token).count() == 1;
        token == ":"
            || token.bytes().all(|b| b.is_ascii_digit())
            || token.starts_with('$') && token[1..].bytes().all(|b| b.is_ascii_digit()) && alone()
    };
    (first + 1..end).all(plain).then_some(end)
}

/// Rare spellings as others of the same length, every other character at its place: `x::text COLLATE "C"` and `inet '…'` as
/// operators that nothing is known of, and without EXCLUDE in a window's frame, `both FROM` in `trim()` and DISTINCT behind
/// GROUP BY, which matter to Postgres alone; `IS DOCUMENT` as another question, and a list after IN that begins with a query in
/// parentheses as one that does not. `None` if there are none, or a type is one whose values are numbers of objects.
pub(super) fn rare(text: &str) -> Option<String> {
    let tokens = Tokens::of(text)?;
    let mut edits: Vec<(Range<usize>, &str)> = Vec::new();
    for (n, range) in tokens.ranges.iter().enumerate() {
        let next = |more: usize| tokens.ranges.get(n + more).map_or(text.len(), |range| range.start);
        if tokens.is(n, "collate") && tokens.is_behind_cast(n) {
            edits.push((range.clone(), "xor"));
        } else if tokens.at(n + 1).starts_with('\'') && tokens.is_type(n) {
            if OBJECTS.iter().any(|of_objects| tokens.is(n, of_objects)) {
                return None;
            }
            let gap = range.end..next(1);
            // Lines stay where they are.
            if text[gap.clone()].starts_with(' ') && text[gap.clone()].trim().is_empty() {
                edits.push((gap.start..gap.start + 1, "~"));
            }
        } else if tokens.is(n, "exclude") {
            let words = if tokens.is_one_of(n + 1, &["group", "ties"]) {
                2
            } else if tokens.is(n + 1, "current") && tokens.is(n + 2, "row")
                || tokens.is(n + 1, "no") && tokens.is(n + 2, "others")
            {
                3
            } else {
                continue;
            };
            if tokens.is(n + words, ")") {
                edits.push((range.start..next(words), ""));
            }
        } else if tokens.is(n, "distinct")
            && tokens.is(n.wrapping_sub(1), "by")
            && tokens.is(n.wrapping_sub(2), "group")
        {
            edits.push((range.clone(), ""));
        } else if tokens.is(n, "document") && tokens.is_one_of(n.wrapping_sub(1), &["is", "not"]) {
            edits.push((range.clone(), "true"));
        } else if tokens.is(n, "in") && tokens.is_list_of_queries(n + 1) && next(1) > range.end {
            let gap = next(1) - 1;
            if text.as_bytes()[gap] == b' ' {
                edits.push((gap..gap + 2, "(+"));
            }
        } else if tokens.is(n, "from")
            && tokens.is_one_of(n.wrapping_sub(1), &["both", "leading", "trailing"])
            && tokens.is(n.wrapping_sub(2), "(")
            && tokens.is(n.wrapping_sub(3), "trim")
        {
            edits.push((tokens.ranges[n - 1].start..range.end, ""));
        }
    }
    let mut sql = text.to_owned();
    for (range, word) in edits.iter().rev() {
        let rest = text[range.clone()].chars().skip(word.len());
        let blank: String = rest.map(|c| if c == '\n' { c } else { ' ' }).collect();
        sql.replace_range(range.clone(), &format!("{word}{blank}"));
    }
    (!edits.is_empty()).then_some(sql)
}

impl Tokens<'_> {
    /// Whether a list in parentheses begins at a token, with a query in parentheses as the first of several members.
    fn is_list_of_queries(&self, n: usize) -> bool {
        let begins =
            self.is(n, "(") && self.is(n + 1, "(") && self.is_one_of(n + 2, &["select", "with", "values"]);
        let mut depth = 0;
        let end = (n + 1..self.ranges.len()).find(|&at| {
            depth += i32::from(self.is(at, "(")) - i32::from(self.is(at, ")"));
            depth == 0
        });
        begins && end.is_some_and(|end| self.is(end + 1, ","))
    }

    /// Whether a type stands before a token, and `::` before that.
    fn is_behind_cast(&self, n: usize) -> bool {
        let of_type = |token: &str| {
            token.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"')
                || matches!(token, "." | "(" | ")" | "[" | "]" | ",")
        };
        let before = (n.saturating_sub(8)..n).rev();
        before.map(|at| self.at(at)).find(|token| !of_type(token)).is_some_and(|token| token.starts_with(':'))
    }

    /// Whether a name may be that of a type whose literal follows: not a word that a value may stand behind.
    fn is_type(&self, n: usize) -> bool {
        const OTHERS: [&str; 44] = [
            "select",
            "distinct",
            "all",
            "as",
            "from",
            "where",
            "and",
            "or",
            "not",
            "in",
            "like",
            "ilike",
            "similar",
            "to",
            "between",
            "symmetric",
            "is",
            "case",
            "when",
            "then",
            "else",
            "on",
            "having",
            "by",
            "limit",
            "offset",
            "escape",
            "any",
            "some",
            "using",
            "for",
            "values",
            "return",
            "returning",
            "set",
            "end",
            "asc",
            "desc",
            "zone",
            "interval",
            "e",
            "n",
            "b",
            "x",
        ];
        let word = self.at(n).starts_with(|c: char| c.is_alphabetic() || c == '_');
        word && !self.is_one_of(n, &OTHERS)
    }
}

/// The text without its `WHERE CURRENT OF`, and the cursor's name.
pub(super) fn without_current_of(text: &str) -> Option<(String, String)> {
    if !names(text, "current") {
        return None;
    }
    let tokens = Tokens::of(text)?;
    let is = |n: usize| tokens.is(n, "where") && tokens.is(n + 1, "current") && tokens.is(n + 2, "of");
    let at = (0..tokens.ranges.len()).find(|&n| is(n))?;
    let name = tokens.ranges.get(at + 3).filter(|name| text[(*name).clone()].is_ascii())?;
    let clause = tokens.ranges[at].start..name.end;
    Some((blanked(text, std::slice::from_ref(&clause)), identifier(&text[name.clone()])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_a_query() {
        let of = |text| tables_as_selects(text);
        assert_eq!(of("TABLE t ORDER BY 1").as_deref(), Some("SELECT * FROM t ORDER BY 1"));
        assert_eq!(
            of("WITH a AS (table \"T\") SELECT 1 AS table FROM a UNION ALL TABLE s.b").as_deref(),
            Some("WITH a AS (SELECT * FROM \"T\") SELECT 1 AS table FROM a UNION ALL SELECT * FROM s.b")
        );
        assert_eq!(of("INSERT INTO a (b) TABLE c").as_deref(), Some("INSERT INTO a (b) SELECT * FROM c"));
        assert_eq!(
            of("WITH d AS (DELETE FROM b) INSERT INTO a TABLE d").as_deref(),
            Some("WITH d AS (DELETE FROM b) INSERT INTO a SELECT * FROM d")
        );
        assert_eq!(of("SELECT 'table t', \"table\" FROM x"), None);
    }

    #[test]
    fn subscripts_of_what_is_set_are_blanked() {
        let text = "UPDATE t SET tags[1] = a[2], b = ARRAY[3], c[$1:4][5] = 'x[' WHERE d[1] = 2";
        let blank = "UPDATE t SET tags    = a[2], b = ARRAY[3], c          = 'x[' WHERE d[1] = 2";
        assert_eq!(without_subscripts(text).as_deref(), Some(blank));
        assert_eq!(without_subscripts("UPDATE t SET a[$1] = 2 WHERE k = $1"), None);
        assert_eq!(without_subscripts("UPDATE t SET a[f()] = 2"), None);
        assert_eq!(without_subscripts("UPDATE t SET a = b[1] WHERE c[1] = 2"), None);
    }

    #[test]
    fn rare_spellings_are_put_into_operators_and_blanks() {
        for (text, expected) in [
            (r#"SELECT max(a::text COLLATE "C") FROM t"#, r#"SELECT max(a::text xor     "C") FROM t"#),
            (
                r#"SELECT a::varchar(3)[] COLLATE "é" AS b FROM t"#,
                r#"SELECT a::varchar(3)[] xor     "é" AS b FROM t"#,
            ),
            (
                "SELECT a FROM t WHERE ip <<= inet  '10.0.0.0/8' AND k = 'x'",
                "SELECT a FROM t WHERE ip <<= inet~ '10.0.0.0/8' AND k = 'x'",
            ),
            (
                "SELECT sum(a) OVER (ORDER BY b ROWS 2 PRECEDING EXCLUDE CURRENT ROW) FROM t",
                "SELECT sum(a) OVER (ORDER BY b ROWS 2 PRECEDING                    ) FROM t",
            ),
            ("SELECT trim(both FROM a) FROM t", "SELECT trim(          a) FROM t"),
            ("SELECT x IS NOT DOCUMENT FROM t", "SELECT x IS NOT true     FROM t"),
            ("SELECT a FROM t GROUP BY DISTINCT CUBE (a)", "SELECT a FROM t GROUP BY          CUBE (a)"),
            (
                "SELECT a FROM t WHERE a IN ((SELECT (1)), 2) AND b IN ((SELECT 3))",
                "SELECT a FROM t WHERE a IN(+(SELECT (1)), 2) AND b IN ((SELECT 3))",
            ),
        ] {
            assert_eq!(rare(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(rare("SELECT a COLLATE \"C\" FROM t WHERE b LIKE 'x' AND c IN ('y')"), None);
        assert_eq!(rare("SELECT 1 FROM t WHERE o = regclass 't' AND ip = inet 'x'"), None);
    }

    #[test]
    fn tables_behind_only_are_found() {
        let of = |text| without_only(text);
        let (text, tables) = of("UPDATE only t SET a = 'only' FROM ONLY s.\"T\" WHERE true").unwrap();
        assert_eq!(text, "UPDATE      t SET a = 'only' FROM      s.\"T\" WHERE true");
        assert_eq!(tables, [(None, "t".to_owned()), (Some("s".to_owned()), "T".to_owned())]);
        assert_eq!(of("SELECT \"only\" FROM t FETCH FIRST 2 ROWS ONLY"), None);
        assert_eq!(of("SELECT 1 FROM ONLY (t)"), None);
    }

    #[test]
    fn the_cursor_is_found() {
        let (text, name) = without_current_of("DELETE FROM t WHERE CURRENT OF \"C\" RETURNING a").unwrap();
        assert_eq!((text.as_str(), name.as_str()), ("DELETE FROM t                      RETURNING a", "C"));
        assert!(without_current_of("SELECT current FROM t").is_none());
    }
}
