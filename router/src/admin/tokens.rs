//! An admin's text cut into words, names, quoted texts and signs.

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A bare word or number.
    Word(String),
    /// In double quotes.
    Name(String),
    /// In single quotes.
    Text(String),
    /// `=`
    Equals,
    /// `;`
    Semicolon,
}

/// What is left of a text.
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// All of it.
    pub fn of(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next token; `None` at the end, and `Some(None)` for what is none.
    pub fn next(&mut self) -> Option<Option<Token>> {
        self.rest = self.rest.trim_start();
        let first = self.rest.chars().next()?;
        let token = match first {
            '"' => self.quoted('"').map(Token::Name),
            '\'' => self.quoted('\'').map(Token::Text),
            '=' => self.sign(Token::Equals),
            ';' => self.sign(Token::Semicolon),
            _ => self.word().map(Token::Word),
        };
        Some(token)
    }

    fn sign(&mut self, token: Token) -> Option<Token> {
        self.rest = &self.rest[1..];
        Some(token)
    }

    fn word(&mut self) -> Option<String> {
        let in_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '$');
        let end = self.rest.find(|c| !in_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    /// What stands in quotes; a quote in it is doubled.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c != quote {
                text.push(c);
            } else if chars.next_if(|(_, next)| *next == quote).is_some() {
                text.push(quote);
            } else {
                self.rest = &self.rest[at + 1..];
                return Some(text);
            }
        }
        None
    }
}
