//! One pass over a statement's text that lifts its literals out.
//!
//! What is left, the template, is what the plan cache is keyed by: two texts with one template differ in their
//! literals' values alone, never in a literal's kind, in a comment that may be a hint, or in a single word.
//! Source: PostgreSQL, "Lexical Structure".

/// What kind of literal was lifted; part of the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiteralKind {
    /// `'text'`
    String,
    /// `E'text'`
    Escape,
    /// `$tag$text$tag$`
    Dollar,
    /// `42`
    Integer,
    /// `4.2`, `1e3`
    Decimal,
    /// A string in pieces, each on a line of its own; its value is not read.
    Continued,
}

impl LiteralKind {
    fn mark(self) -> u8 {
        match self {
            Self::String => b's',
            Self::Escape => b'e',
            Self::Dollar => b'q',
            Self::Integer => b'i',
            Self::Decimal => b'd',
            Self::Continued => b'c',
        }
    }
}

/// A literal: its kind and its bytes in the text, quotes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Literal {
    /// Its kind.
    pub kind: LiteralKind,
    /// First byte.
    pub start: usize,
    /// First byte behind it.
    pub end: usize,
}

/// Stands in the template where a literal was; no statement that Postgres takes has this byte.
const MARK: u8 = 1;

/// What one scan found. Reused from statement to statement, so that scanning allocates nothing once warm.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The text with marks where literals were, comments (hints apart) and surrounding space dropped.
    pub template: Vec<u8>,
    /// Literals, in order.
    pub literals: Vec<Literal>,
    /// Where top-level semicolons stand.
    pub semicolons: Vec<usize>,
    /// First byte of each token that is no comment, as many as it takes to tell commands apart; and its end.
    pub words: Vec<(usize, usize)>,
    /// Where the last token ends.
    pub end: usize,
    /// Whether a `/* … */` comment is there that may be a hint.
    pub has_block_comment: bool,
    /// Where block comments stand.
    pub comments: Vec<(usize, usize)>,
}

/// Leading tokens remembered: as many as it takes to tell commands apart.
const WORDS: usize = 8;

/// A text that can't be cut into tokens: something is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclosed;

impl Scan {
    /// Scans `text`. On [`Unclosed`] the text is for Postgres to refuse.
    pub fn run(&mut self, text: &str) -> Result<(), Unclosed> {
        self.template.clear();
        self.literals.clear();
        self.semicolons.clear();
        self.words.clear();
        self.has_block_comment = false;
        self.comments.clear();
        self.end = 0;
        let bytes = text.as_bytes();
        let mut at = 0;
        let mut depth = 0i32;
        let mut spaced = false;
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c' => {
                    at += 1;
                    spaced = true;
                    continue;
                }
                b'-' if bytes.get(at + 1) == Some(&b'-') => {
                    at = bytes[at..]
                        .iter()
                        .position(|&b| b == b'\n' || b == b'\r')
                        .map_or(bytes.len(), |n| at + n);
                    spaced = true;
                    continue;
                }
                b'/' if bytes.get(at + 1) == Some(&b'*') => {
                    at = block_comment(bytes, at)?;
                    self.has_block_comment = true;
                    self.comments.push((start, at));
                    self.copy(&bytes[start..at], &mut spaced);
                    continue;
                }
                b'\'' => {
                    at = quoted(bytes, at + 1, b'\'', false)?;
                    at = self.lift_continued(LiteralKind::String, start, at, bytes, &mut spaced)?;
                }
                b'"' => {
                    at = quoted(bytes, at + 1, b'"', false)?;
                    self.copy(&bytes[start..at], &mut spaced);
                }
                b'$' => at = self.dollar(bytes, at, &mut spaced)?,
                b'0'..=b'9' => at = self.number(bytes, at, &mut spaced),
                b'.' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                    at = self.number(bytes, at, &mut spaced)
                }
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => at = self.word(bytes, at, &mut spaced)?,
                MARK => return Err(Unclosed),
                _ => {
                    match byte {
                        b'(' | b'[' => depth += 1,
                        b')' | b']' => depth -= 1,
                        b';' if depth <= 0 => self.semicolons.push(at),
                        _ => {}
                    }
                    at += 1;
                    self.copy(&bytes[start..at], &mut spaced);
                }
            }
            if self.words.len() < WORDS {
                self.words.push((start, at));
            }
            self.end = at;
        }
        Ok(())
    }

    fn copy(&mut self, bytes: &[u8], spaced: &mut bool) {
        if std::mem::take(spaced) && !self.template.is_empty() {
            self.template.push(b' ');
        }
        self.template.extend_from_slice(bytes);
    }

    fn lift(&mut self, kind: LiteralKind, start: usize, end: usize, spaced: &mut bool) {
        self.copy(&[MARK, kind.mark()], spaced);
        self.literals.push(Literal { kind, start, end });
    }

    /// Lifts a string together with what continues it behind a line break.
    fn lift_continued(
        &mut self,
        kind: LiteralKind,
        start: usize,
        end: usize,
        bytes: &[u8],
        spaced: &mut bool,
    ) -> Result<usize, Unclosed> {
        let mut at = end;
        while let Some(quote) = continuation(bytes, at) {
            at = quoted(bytes, quote + 1, b'\'', kind == LiteralKind::Escape)?;
        }
        self.lift(if at == end { kind } else { LiteralKind::Continued }, start, at, spaced);
        Ok(at)
    }

    fn number(&mut self, bytes: &[u8], start: usize, spaced: &mut bool) -> usize {
        let mut at = start;
        let mut kind = LiteralKind::Integer;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'0'..=b'9' => {}
                // "1..2" is a slice bound, not a number with two points.
                b'.' if kind == LiteralKind::Integer && bytes.get(at + 1) != Some(&b'.') => {
                    kind = LiteralKind::Decimal
                }
                b'e' | b'E' if exponent(bytes, at) => {
                    kind = LiteralKind::Decimal;
                    at += 1;
                }
                // 0x1F, 1_000, 1abc: a form that differs by version; kept as it is, so never taken for a value.
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
                    let end = word_end(bytes, at);
                    self.copy(&bytes[start..end], spaced);
                    return end;
                }
                _ => break,
            }
            at += 1;
        }
        self.lift(kind, start, at, spaced);
        at
    }

    /// `$1`, `$tag$…$tag$`, or a lone dollar.
    fn dollar(&mut self, bytes: &[u8], start: usize, spaced: &mut bool) -> Result<usize, Unclosed> {
        let digits = bytes[start + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits > 0 {
            let end = start + 1 + digits;
            self.copy(&bytes[start..end], spaced);
            return Ok(end);
        }
        let tag = bytes[start + 1..]
            .iter()
            .take_while(|&&b| b == b'_' || b.is_ascii_alphanumeric() || b >= 0x80)
            .count();
        if bytes.get(start + 1 + tag) != Some(&b'$') {
            self.copy(b"$", spaced);
            return Ok(start + 1);
        }
        let fence = &bytes[start..start + tag + 2];
        let body = start + fence.len();
        let close = find(&bytes[body..], fence).ok_or(Unclosed)?;
        let end = body + close + fence.len();
        self.lift(LiteralKind::Dollar, start, end, spaced);
        Ok(end)
    }

    fn word(&mut self, bytes: &[u8], start: usize, spaced: &mut bool) -> Result<usize, Unclosed> {
        let end = word_end(bytes, start);
        let (word, next) = (&bytes[start..end], bytes.get(end));
        match (word, next) {
            (b"e" | b"E", Some(b'\'')) => {
                let close = quoted(bytes, end + 1, b'\'', true)?;
                self.lift_continued(LiteralKind::Escape, start, close, bytes, spaced)
            }
            // Bit strings, national strings: rare, kept as they are.
            (b"b" | b"B" | b"x" | b"X" | b"n" | b"N", Some(b'\'')) => {
                let close = quoted(bytes, end + 1, b'\'', false)?;
                self.copy(&bytes[start..close], spaced);
                Ok(close)
            }
            (b"u" | b"U", Some(b'&')) if matches!(bytes.get(end + 1), Some(b'\'' | b'"')) => {
                let close = quoted(bytes, end + 2, bytes[end + 1], false)?;
                self.copy(&bytes[start..close], spaced);
                Ok(close)
            }
            _ => {
                self.copy(word, spaced);
                Ok(end)
            }
        }
    }

    /// The `n`-th leading token in upper case, empty if there is none.
    pub fn word_at(&self, text: &str, n: usize) -> String {
        self.words.get(n).map(|&(start, end)| text[start..end].to_ascii_uppercase()).unwrap_or_default()
    }
}

/// The leading tokens of a text, comments and semicolons left out.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut scan = Scan::default();
    // What was found before something that is not closed will do.
    let _ = scan.run(text);
    scan.words.iter().map(|&(start, end)| &text[start..end]).filter(|token| *token != ";").collect()
}

/// What a token means as an identifier: in lower case, unless it is quoted.
pub fn identifier(token: &str) -> String {
    match token.strip_prefix('"').and_then(|token| token.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => token.to_ascii_lowercase(),
    }
}

fn exponent(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at + 1) {
        Some(b'+' | b'-') => bytes.get(at + 2).is_some_and(u8::is_ascii_digit),
        Some(byte) => byte.is_ascii_digit(),
        None => false,
    }
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    let more = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$') || *b >= 0x80;
    start + bytes[start..].iter().take_while(|b| more(b)).count()
}

/// Behind the closing quote; a doubled quote is a quote, and so is one behind a backslash if `escapes`.
fn quoted(bytes: &[u8], mut at: usize, quote: u8, escapes: bool) -> Result<usize, Unclosed> {
    loop {
        match bytes.get(at) {
            None => return Err(Unclosed),
            Some(b'\\') if escapes => at += 2,
            Some(&byte) if byte == quote => {
                if bytes.get(at + 1) != Some(&quote) {
                    return Ok(at + 1);
                }
                at += 2;
            }
            Some(_) => at += 1,
        }
    }
}

/// Where the quote stands that continues a string which ends at `at`: there is nothing but space and line comments
/// between, and a line break. Source: `quotecontinue` in scan.l.
fn continuation(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut broken = false;
    loop {
        match bytes.get(at)? {
            b'\n' | b'\r' => broken = true,
            b' ' | b'\t' | b'\x0b' | b'\x0c' => {}
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += bytes[at..].iter().position(|&b| b == b'\n' || b == b'\r')?;
                continue;
            }
            b'\'' => return broken.then_some(at),
            _ => return None,
        }
        at += 1;
    }
}

/// Behind a block comment; they nest.
fn block_comment(bytes: &[u8], mut at: usize) -> Result<usize, Unclosed> {
    let mut depth = 0;
    loop {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'/'), Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (Some(b'*'), Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Ok(at);
                }
            }
            (Some(_), _) => at += 1,
            (None, _) => return Err(Unclosed),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(text: &str) -> Scan {
        let mut scan = Scan::default();
        scan.run(text).unwrap();
        scan
    }

    fn literals(text: &str) -> Vec<&str> {
        scan(text).literals.iter().map(|l| &text[l.start..l.end]).collect()
    }

    #[test]
    fn texts_that_differ_in_values_share_a_template() {
        let a = scan("SELECT * FROM t WHERE id = 42 AND name = 'x''y'");
        let b = scan("SELECT * FROM t WHERE  id = 7 AND name = ''");
        assert_eq!(a.template, b.template);
    }

    #[test]
    fn kinds_of_literals_are_told_apart() {
        let kinds = ["1", "1.5", "'1'", "E'1'", "$$1$$", "$1", "B'1'", "1e5", "-1"];
        let templates: std::collections::HashSet<_> =
            kinds.iter().map(|k| scan(&format!("SELECT {k}")).template).collect();
        // 1.5 and 1e5 are both decimals; all others differ.
        assert_eq!(templates.len(), kinds.len() - 1);
    }

    #[test]
    fn literals_are_found_where_postgres_finds_them() {
        assert_eq!(
            literals(r"SELECT E'a\'b', t1.x2, $1, $q$ it's $q$, 'a''b'"),
            [r"E'a\'b'", "$q$ it's $q$", "'a''b'"]
        );
        assert_eq!(
            literals("SELECT a[1:2], 1.5e-3, .5, 1..2 -- 7\n, \"8\" /* 9 */"),
            ["1", "2", "1.5e-3", ".5", "1", ".2"]
        );
        assert_eq!(literals("SELECT 0x1F, 1_000"), Vec::<&str>::new());
    }

    #[test]
    fn a_string_goes_on_behind_a_line_break_by_the_rules_of_its_first_piece() {
        assert_eq!(literals("SELECT E'a' -- x\n 'b\\'c;' , 'd' 'e'"), ["E'a' -- x\n 'b\\'c;'", "'d'", "'e'"]);
        assert_eq!(scan("DELETE FROM t WHERE a = E'a'\n'b\\'; --' ").semicolons, Vec::<usize>::new());
        assert_ne!(scan("SELECT 'a'\n'b'").template, scan("SELECT 'a' 'b'").template);
    }

    #[test]
    fn semicolons_count_outside_of_strings_and_parentheses_only() {
        assert_eq!(scan("select ';' ; select (1;2) -- ;\n;").semicolons.len(), 2);
    }

    #[test]
    fn what_is_not_closed_is_said() {
        for text in ["select 'a", "select \"a", "/* a", "$$ a", "select E'a\\'"] {
            assert_eq!(Scan::default().run(text), Err(Unclosed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = Scan::default().run(&text);
        }

        #[test]
        fn tokens_of_any_order_scan_without_panic(parts in proptest::collection::vec(
            prop_oneof![Just("'a'"), Just("$1"), Just("$$"), Just("E'\\'"), Just("/*"), Just("*/"), Just("--"), Just("\n"), Just("1."), Just(".."), Just("e5"), Just("U&'"), Just("é"), Just("\"")], 0..12)) {
            let _ = Scan::default().run(&parts.concat());
        }
    }
}
