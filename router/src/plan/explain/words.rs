//! SQL and numbers in the words of an explanation.

use super::Format;
use crate::sql::scan::all_tokens;
use sqlparser::ast::{Query, SetExpr, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// Characters of a statement that are shown.
const LONGEST: usize = 4_000;

/// Characters of a line.
const WIDTH: usize = 110;

/// Nesting that the parser follows.
const MAX_DEPTH: usize = 128;

/// A statement as one line: comments and line breaks are spaces, and what is very long is cut off.
pub fn one_line(sql: &str) -> String {
    let mut pieces = pieces(sql);
    while pieces.last().is_some_and(|piece| piece == ";") {
        pieces.pop();
    }
    let mut line = pieces.join(" ");
    if line.ends_with(';') {
        line.pop();
    }
    let length = line.chars().count();
    if length > LONGEST {
        let kept: String = line.chars().take(LONGEST).collect();
        return format!("{kept} … ({} characters more)", length - LONGEST);
    }
    line
}

/// What stands between spaces, strings as wholes.
fn pieces(sql: &str) -> Vec<String> {
    let Some(tokens) = all_tokens(sql) else {
        return sql.split_whitespace().map(str::to_owned).collect();
    };
    let mut pieces: Vec<String> = Vec::new();
    let mut end = None;
    for token in tokens {
        let text = sql[token.clone()].replace('\r', "").replace('\n', "\\n");
        match pieces.last_mut() {
            Some(last) if end == Some(token.start) || text == "," => last.push_str(&text),
            _ => pieces.push(text),
        }
        end = Some(token.end);
    }
    pieces
}

/// Text in lines that are not too long, where it has spaces that are not in a string.
pub fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut width = 0;
    for piece in pieces(text) {
        let length = piece.chars().count();
        match lines.last_mut() {
            Some(line) if width + 1 + length <= WIDTH => {
                line.push(' ');
                line.push_str(&piece);
                width += 1 + length;
            }
            _ => {
                lines.push(piece);
                width = length;
            }
        }
    }
    lines
}

/// The clauses that a statement's rows are put together by.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Clauses {
    /// GROUP BY, or DISTINCT.
    pub group: Option<String>,
    /// ORDER BY.
    pub order: Option<String>,
    /// LIMIT, OFFSET and FETCH.
    pub limit: Option<String>,
}

/// Those of a query; none of what can't be read.
pub fn clauses(sql: &str) -> Clauses {
    let parsed = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(MAX_DEPTH)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statement());
    let Ok(Statement::Query(query)) = parsed else { return Clauses::default() };
    let Query { body, order_by, limit_clause, fetch, .. } = &*query;
    let said = |text: String| Some(one_line(&text)).filter(|text| !text.is_empty());
    let group = match &**body {
        SetExpr::Select(select) if select.distinct.is_some() => Some("DISTINCT".to_owned()),
        SetExpr::Select(select) => said(select.group_by.to_string()).filter(|group| group != "GROUP BY"),
        _ => None,
    };
    let limit = limit_clause.as_ref().map(ToString::to_string).unwrap_or_default();
    let fetch = fetch.as_ref().map(ToString::to_string).unwrap_or_default();
    Clauses {
        group,
        order: order_by.as_ref().and_then(|order| said(order.to_string())),
        limit: said(format!("{limit} {fetch}")),
    }
}

/// Rows that came out of a plan, and how wide its planner took them to be, where a server's answer says so: by its first
/// node.
pub fn actual(format: Format, rows: &[String]) -> Option<(f64, Option<u64>)> {
    let number = |text: &str, behind: &str| {
        let text = &text[text.find(behind)? + behind.len()..];
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        text[..end].parse::<f64>().ok()
    };
    let first = rows.first()?;
    let (counted, width) = match format {
        Format::Text => {
            let actual = &first[first.find("(actual ")?..];
            (number(actual, "rows=")?, number(first, "width="))
        }
        Format::Json => (number(first, "\"Actual Rows\": ")?, number(first, "\"Plan Width\": ")),
        Format::Xml => (number(first, "<Actual-Rows>")?, number(first, "<Plan-Width>")),
        Format::Yaml => (number(first, "Actual Rows: ")?, number(first, "Plan Width: ")),
    };
    Some((counted, width.map(|width| width as u64)))
}

/// Rows of each shard, and what they come to: `12 rows (5 + 7), about 480 bytes`.
pub fn counted(rows: &[(f64, Option<u64>)]) -> String {
    let total: f64 = rows.iter().map(|(rows, _)| rows).sum();
    let mut said = format!("{total} {}", if total == 1.0 { "row" } else { "rows" });
    if rows.len() > 1 {
        let each: Vec<String> = rows.iter().map(|(rows, _)| rows.to_string()).collect();
        said.push_str(&format!(" ({})", each.join(" + ")));
    }
    let bytes: Option<f64> = rows.iter().map(|(rows, width)| width.map(|width| rows * width as f64)).sum();
    if let Some(bytes) = bytes {
        said.push_str(&format!(", about {} bytes", bytes.round()));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_is_one_line_whatever_stands_in_it() {
        let sql = "SELECT a, -- why\n  'it''s\n  two' /* x */ FROM t\r\n\tWHERE a->>'b'='c';";
        assert_eq!(one_line(sql), "SELECT a, 'it''s\\n  two' FROM t WHERE a->>'b'='c'");
        assert_eq!(one_line("SELECT 1\n, 2 ;\n"), "SELECT 1, 2");
        let long = format!("SELECT '{}'", "x".repeat(5_000));
        assert!(one_line(&long).ends_with("x … (1009 characters more)"), "{}", one_line(&long));
    }

    #[test]
    fn lines_end_where_a_string_does_not() {
        let sql = format!("SELECT {} 'a b c d e f g h' FROM t", "column_name, ".repeat(20));
        let lines = wrapped(&sql);
        assert!(lines.len() > 2 && lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:?}");
        assert_eq!(lines.join(" "), one_line(&sql));
        assert!(lines.iter().any(|line| line.contains("'a b c d e f g h'")));
    }

    #[test]
    fn clauses_are_told_apart() {
        let found =
            clauses("SELECT b, count(*) FROM t GROUP BY b ORDER BY 2 DESC NULLS LAST LIMIT 3 OFFSET 1");
        assert_eq!(found.group.as_deref(), Some("GROUP BY b"));
        assert_eq!(found.order.as_deref(), Some("ORDER BY 2 DESC NULLS LAST"));
        assert_eq!(found.limit.as_deref(), Some("LIMIT 3 OFFSET 1"));
        assert_eq!(clauses("SELECT count(*) FROM t"), Clauses::default());
        assert_eq!(clauses("SELEC"), Clauses::default());
    }

    #[test]
    fn rows_are_read_in_every_format() {
        let text = "Seq Scan on t  (cost=0.00..1.03 rows=9 width=36) (actual time=0.01..0.02 rows=3 loops=1)";
        for (format, said) in [
            (Format::Text, text),
            (Format::Json, "[\n {\n \"Plan\": {\n \"Plan Width\": 36,\n \"Actual Rows\": 3,\n"),
            (Format::Xml, "<Plan-Width>36</Plan-Width>\n<Actual-Rows>3</Actual-Rows>"),
            (Format::Yaml, "- Plan: \n    Plan Width: 36\n    Actual Rows: 3\n"),
        ] {
            assert_eq!(actual(format, &[said.to_owned()]), Some((3.0, Some(36))), "{format:?}");
        }
        let bare = "Seq Scan on t (actual rows=2.50 loops=1)".to_owned();
        assert_eq!(actual(Format::Text, &[bare]), Some((2.5, None)));
        assert_eq!(actual(Format::Text, &["Seq Scan on t".to_owned()]), None);
        assert_eq!(counted(&[(3.0, Some(36)), (4.0, Some(36))]), "7 rows (3 + 4), about 252 bytes");
        assert_eq!(counted(&[(1.0, None)]), "1 row");
    }
}
