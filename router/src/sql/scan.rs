//! One pass over a statement's text that lifts its literals out.
//!
//! What is left, the template, is what the plan cache is keyed by: two texts with one template differ in their
//! literals' values alone, never in a literal's kind, in a comment that may be a hint, or in a single word.
//! Source: PostgreSQL, "Lexical Structure".

use std::ops::Range;

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

/// What a byte may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// An identifier or keyword.
    Word,
    /// Space.
    Space,
    /// A token of its own.
    Plain,
    Open,
    Close,
    Semicolon,
    Digit,
    Dot,
    Quote,
    DoubleQuote,
    Dollar,
    /// An operator, or a comment to the end of the line.
    Dash,
    /// An operator, or a block comment.
    Slash,
    /// What no text may have: it would look like a lifted literal.
    Mark,
}

const CLASS: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c' => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Class::Word,
            b'0'..=b'9' => Class::Digit,
            b'(' | b'[' => Class::Open,
            b')' | b']' => Class::Close,
            b';' => Class::Semicolon,
            b'.' => Class::Dot,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'$' => Class::Dollar,
            b'-' => Class::Dash,
            b'/' => Class::Slash,
            MARK => Class::Mark,
            _ => Class::Plain,
        };
        byte += 1;
    }
    table
}

/// Bytes that the template takes over as they are, not yet copied.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: usize,
    end: usize,
}

/// A token, up to `.0` or `.1`.
enum Token {
    /// The template has it as it is.
    Kept(usize),
    /// The template has a mark in its place.
    Literal(LiteralKind, usize),
}

/// A text that can't be cut into tokens: something is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclosed;

impl Scan {
    /// Scans `text`. On [`Unclosed`] the text is for Postgres to refuse.
    pub fn run(&mut self, text: &str) -> Result<(), Unclosed> {
        self.run_for::<WORDS>(text)
    }

    /// The same, with up to so many tokens remembered.
    #[inline]
    fn run_for<const MOST: usize>(&mut self, text: &str) -> Result<(), Unclosed> {
        self.template.clear();
        self.literals.clear();
        self.semicolons.clear();
        self.words.clear();
        self.has_block_comment = false;
        self.comments.clear();
        self.end = 0;
        self.cut::<MOST>(text.as_bytes())
    }

    /// Cuts the text into tokens. What the template takes over as it is stays in one run, copied at its end.
    fn cut<const MOST: usize>(&mut self, bytes: &[u8]) -> Result<(), Unclosed> {
        let mut run = self.skip(bytes, Run { start: 0, end: 0 });
        let mut depth = 0i32;
        while let Some(&byte) = bytes.get(run.end) {
            let start = run.end;
            let end = match CLASS[usize::from(byte)] {
                Class::Word => self.word(bytes, start)?,
                Class::Space if self.is_single(bytes, start) => {
                    run.end += 1;
                    continue;
                }
                Class::Space => {
                    run = self.skip(bytes, run);
                    continue;
                }
                Class::Plain => Token::Kept(start + 1),
                Class::Open => {
                    depth += 1;
                    Token::Kept(start + 1)
                }
                Class::Close => {
                    depth -= 1;
                    Token::Kept(start + 1)
                }
                Class::Semicolon => {
                    if depth <= 0 {
                        self.semicolons.push(start);
                    }
                    Token::Kept(start + 1)
                }
                Class::Digit => number(bytes, start),
                Class::Dot if bytes.get(start + 1).is_some_and(u8::is_ascii_digit) => number(bytes, start),
                Class::Dot => Token::Kept(start + 1),
                Class::Quote => {
                    let end = quoted(bytes, start + 1, b'\'', false)?;
                    lift_continued(LiteralKind::String, end, bytes)?
                }
                Class::DoubleQuote => Token::Kept(quoted(bytes, start + 1, b'"', false)?),
                Class::Dollar => dollar(bytes, start)?,
                Class::Dash if bytes.get(start + 1) == Some(&b'-') => {
                    run = self.skip(bytes, run);
                    continue;
                }
                Class::Slash if bytes.get(start + 1) == Some(&b'*') => {
                    run.end = block_comment(bytes, start)?;
                    self.has_block_comment = true;
                    self.comments.push((start, run.end));
                    continue;
                }
                Class::Dash | Class::Slash => Token::Kept(start + 1),
                Class::Mark => return Err(Unclosed),
            };
            run = self.take::<MOST>(bytes, run, end);
        }
        self.template.extend_from_slice(&bytes[run.start..run.end]);
        Ok(())
    }

    /// Takes note of a token that starts where the run ends.
    #[inline]
    fn take<const MOST: usize>(&mut self, bytes: &[u8], run: Run, token: Token) -> Run {
        let start = run.end;
        let (end, run) = match token {
            Token::Kept(end) => (end, Run { start: run.start, end }),
            Token::Literal(kind, end) => {
                self.template.extend_from_slice(&bytes[run.start..start]);
                self.template.extend_from_slice(&[MARK, kind.mark()]);
                self.literals.push(Literal { kind, start, end });
                (end, Run { start: end, end })
            }
        };
        if self.words.len() < MOST {
            self.words.push((start, end));
        }
        self.end = end;
        run
    }

    /// Whether a space is the only one between two tokens: then it is the template's too.
    #[inline]
    fn is_single(&self, bytes: &[u8], at: usize) -> bool {
        let next = bytes.get(at + 1).map(|&next| CLASS[usize::from(next)]);
        bytes[at] == b' ' && !matches!(next, None | Some(Class::Space | Class::Dash))
    }

    /// Ends the run, skips space and line comments, and begins another with one space before it.
    fn skip(&mut self, bytes: &[u8], run: Run) -> Run {
        self.template.extend_from_slice(&bytes[run.start..run.end]);
        let mut at = run.end;
        while let Some(&byte) = bytes.get(at) {
            match CLASS[usize::from(byte)] {
                Class::Space => at += 1,
                Class::Dash if bytes.get(at + 1) == Some(&b'-') => {
                    let line = bytes[at..].iter().position(|&b| b == b'\n' || b == b'\r');
                    at = line.map_or(bytes.len(), |n| at + n);
                }
                _ => {
                    if !self.template.is_empty() && at > run.end {
                        self.template.push(b' ');
                    }
                    break;
                }
            }
        }
        Run { start: at, end: at }
    }

    fn word(&mut self, bytes: &[u8], start: usize) -> Result<Token, Unclosed> {
        let end = word_end(bytes, start);
        if end - start > 1 {
            return Ok(Token::Kept(end));
        }
        // One letter before a quote says what kind of string it is.
        match (bytes[start], bytes.get(end)) {
            (b'e' | b'E', Some(b'\'')) => {
                let close = quoted(bytes, end + 1, b'\'', true)?;
                lift_continued(LiteralKind::Escape, close, bytes)
            }
            // Bit strings, national strings: rare, kept as they are.
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', Some(b'\'')) => {
                Ok(Token::Kept(quoted(bytes, end + 1, b'\'', false)?))
            }
            (b'u' | b'U', Some(b'&')) if matches!(bytes.get(end + 1), Some(b'\'' | b'"')) => {
                Ok(Token::Kept(quoted(bytes, end + 2, bytes[end + 1], false)?))
            }
            _ => Ok(Token::Kept(end)),
        }
    }

    /// Whether the first token is this one, given in upper case.
    pub fn starts_with(&self, text: &str, word: &str) -> bool {
        self.words.first().is_some_and(|&(start, end)| text[start..end].eq_ignore_ascii_case(word))
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

/// Every token of a text, comments left out; `None` if something is not closed.
pub fn all_tokens(text: &str) -> Option<Vec<Range<usize>>> {
    let mut scan = Scan::default();
    scan.run_for::<{ usize::MAX }>(text).ok()?;
    Some(scan.words.into_iter().map(|(start, end)| start..end).collect())
}

/// What a token means as an identifier: in lower case, unless it is quoted.
pub fn identifier(token: &str) -> String {
    match token.strip_prefix('"').and_then(|token| token.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => token.to_ascii_lowercase(),
    }
}

/// Lifts a string that ends at `end` together with what continues it behind a line break.
fn lift_continued(kind: LiteralKind, end: usize, bytes: &[u8]) -> Result<Token, Unclosed> {
    let mut at = end;
    while let Some(quote) = continuation(bytes, at) {
        at = quoted(bytes, quote + 1, b'\'', kind == LiteralKind::Escape)?;
    }
    Ok(Token::Literal(if at == end { kind } else { LiteralKind::Continued }, at))
}

fn number(bytes: &[u8], start: usize) -> Token {
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
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => return Token::Kept(word_end(bytes, at)),
            _ => break,
        }
        at += 1;
    }
    Token::Literal(kind, at)
}

/// `$1`, `$tag$…$tag$`, or a lone dollar.
fn dollar(bytes: &[u8], start: usize) -> Result<Token, Unclosed> {
    let digits = bytes[start + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
    if digits > 0 {
        return Ok(Token::Kept(start + 1 + digits));
    }
    let tag = bytes[start + 1..]
        .iter()
        .take_while(|&&b| b == b'_' || b.is_ascii_alphanumeric() || b >= 0x80)
        .count();
    if bytes.get(start + 1 + tag) != Some(&b'$') {
        return Ok(Token::Kept(start + 1));
    }
    let fence = &bytes[start..start + tag + 2];
    let body = start + fence.len();
    let close = find(&bytes[body..], fence).ok_or(Unclosed)?;
    Ok(Token::Literal(LiteralKind::Dollar, body + close + fence.len()))
}

fn exponent(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at + 1) {
        Some(b'+' | b'-') => bytes.get(at + 2).is_some_and(u8::is_ascii_digit),
        Some(byte) => byte.is_ascii_digit(),
        None => false,
    }
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    let more = |b: &u8| matches!(CLASS[usize::from(*b)], Class::Word | Class::Digit | Class::Dollar);
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
mod tests;
