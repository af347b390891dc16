//! The ini form itself: sections, `name = value`, `%include`, comments. What the names mean is not known here.
//!
//! A comment begins at the start of a line alone; later on `;` and `#` are part of a value. What follows a
//! section's `]` on its line is read as a line of its own. Values are not quoted.

use crate::problems::Place;

use super::report::Piece;

/// What stands in a file, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// `[name]`.
    Section(Piece),
    /// `name = value`.
    Pair { name: Piece, value: Piece },
    /// `%include path`.
    Include(Piece),
    /// None of these.
    Wrong { place: Place, message: &'static str },
}

const SYNTAX: &str = "expected name = value, [section] or %include file";
const OPEN_SECTION: &str = "[ without its ]";
const OPEN_QUOTE: &str = "a name in \" without its end (a \" inside is doubled)";
const NOT_UTF8: &str = "is not valid UTF-8";
const NUL: &str = "a value cannot hold the NUL character";

/// What C calls space.
const SPACE: [char; 6] = [' ', '\t', '\n', '\r', '\u{b}', '\u{c}'];
const BLANK: [char; 2] = [' ', '\t'];

/// The items of a text; `file` is what places call it.
pub(super) fn items(file: &str, text: &str) -> Vec<Item> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut items = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let place = Place::Spot { file: file.to_owned(), line: index + 1, column: 1 };
        Line { whole: Piece { text: line.to_owned(), place }, at: 0 }.read(&mut items);
    }
    items
}

/// One line, and how far it is read.
struct Line {
    whole: Piece,
    at: usize,
}

impl Line {
    fn rest(&self) -> &str {
        &self.whole.text[self.at..]
    }

    fn skip(&mut self, chars: &[char]) {
        self.at = self.whole.text.len() - self.rest().trim_start_matches(chars).len();
    }

    /// The next `bytes` bytes.
    fn piece(&self, bytes: usize) -> Piece {
        self.whole.part(self.at, self.rest()[..bytes].to_owned())
    }

    fn wrong(&self, message: &'static str) -> Item {
        Item::Wrong { place: self.piece(0).place, message }
    }

    fn read(mut self, items: &mut Vec<Item>) {
        loop {
            self.skip(&SPACE);
            let item = match self.rest().chars().next() {
                None | Some('#' | ';') => return,
                Some('[') => self.section(),
                Some('%') => self.include(),
                Some(_) => self.pair(),
            };
            let item = clean(item);
            let goes_on = matches!(item, Item::Section(_));
            items.push(item);
            if !goes_on {
                return;
            }
        }
    }

    fn section(&mut self) -> Item {
        let Some(end) = self.rest().find(']') else { return self.wrong(OPEN_SECTION) };
        self.at += 1;
        let name = self.piece(end - 1);
        self.at += end;
        Item::Section(name)
    }

    fn include(&mut self) -> Item {
        let path = self.rest().strip_prefix("%include").filter(|path| path.starts_with(BLANK));
        let Some(path) = path else { return self.wrong(SYNTAX) };
        self.at = self.whole.text.len() - path.len();
        self.skip(&BLANK);
        Item::Include(self.piece(self.rest().trim_end_matches(SPACE).len()))
    }

    fn pair(&mut self) -> Item {
        let name = match self.name() {
            Ok(name) => name,
            Err(message) => return self.wrong(message),
        };
        self.skip(&BLANK);
        if name.text.is_empty() || !self.rest().starts_with('=') {
            return self.wrong(SYNTAX);
        }
        self.at += 1;
        self.skip(&BLANK);
        Item::Pair { name, value: self.piece(self.rest().trim_end_matches(SPACE).len()) }
    }

    /// Letters, digits and `_.-*`, or anything at all in double quotes.
    fn name(&mut self) -> Result<Piece, &'static str> {
        if self.rest().starts_with('"') {
            return self.quoted_name();
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-*".contains(c);
        let length = self.rest().find(|c| !plain(c)).unwrap_or(self.rest().len());
        let name = self.piece(length);
        self.at += length;
        Ok(name)
    }

    fn quoted_name(&mut self) -> Result<Piece, &'static str> {
        let inside = &self.rest()[1..];
        let end = end_of_quoted(inside, '"').ok_or(OPEN_QUOTE)?;
        let name = self.whole.part(self.at, inside[..end].replace("\"\"", "\""));
        self.at += end + 2;
        Ok(name)
    }
}

/// Where the quote stands that ends what begins behind the first one; a doubled one does not.
pub(super) fn end_of_quoted(inside: &str, quote: char) -> Option<usize> {
    let mut at = 0;
    loop {
        at += inside[at..].find(quote)?;
        if !inside[at + 1..].starts_with(quote) {
            return Some(at);
        }
        at += 2;
    }
}

/// Files need not be UTF-8 in their comments, but what is used must be.
fn clean(item: Item) -> Item {
    let pieces: &[&Piece] = match &item {
        Item::Section(piece) | Item::Include(piece) => &[piece],
        Item::Pair { name, value } => &[name, value],
        Item::Wrong { .. } => &[],
    };
    for piece in pieces {
        for (unwanted, message) in [(char::REPLACEMENT_CHARACTER, NOT_UTF8), ('\0', NUL)] {
            if let Some(at) = piece.text.find(unwanted) {
                return Item::Wrong { place: piece.part(at, String::new()).place, message };
            }
        }
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `place: item`, one per line.
    fn shown(text: &str) -> String {
        let lines: Vec<String> = items("f", text).into_iter().map(line).collect();
        lines.join("\n")
    }

    fn line(item: Item) -> String {
        match item {
            Item::Section(name) => format!("{}: [{}]", name.place, name.text),
            Item::Include(path) => format!("{}: include {:?}", path.place, path.text),
            Item::Wrong { place, message } => format!("{place}: {message}"),
            Item::Pair { name, value } => {
                format!("{}: {:?} = {} {:?}", name.place, name.text, value.place, value.text)
            }
        }
    }

    #[test]
    fn sections_pairs_and_includes_are_told_apart() {
        assert_eq!(
            shown("\n  [databases] \n a\t=\tb c \r\n%include \t other.ini \nd=\n"),
            "f:2:4: [databases]\nf:3:2: \"a\" = f:3:6 \"b c\"\nf:4:12: include \"other.ini\"\nf:5:1: \"d\" = f:5:3 \"\""
        );
    }

    #[test]
    fn a_comment_begins_at_the_start_of_a_line_alone() {
        assert_eq!(
            shown("# a = 1\n  ; b = 2\nc = 3 ; not # a comment\n[d] ;one"),
            "f:3:1: \"c\" = f:3:5 \"3 ; not # a comment\"\nf:4:2: [d]"
        );
    }

    #[test]
    fn what_follows_a_section_on_its_line_belongs_to_it() {
        assert_eq!(shown("[a] [b] c = 1\n"), "f:1:2: [a]\nf:1:6: [b]\nf:1:9: \"c\" = f:1:13 \"1\"");
    }

    #[test]
    fn names_that_are_not_plain_stand_in_double_quotes() {
        assert_eq!(
            shown("\"my \"\"db\"\"\" = x\n*=y\na-b.c_1=z\n\"ß\"=q"),
            "f:1:1: \"my \\\"db\\\"\" = f:1:15 \"x\"\nf:2:1: \"*\" = f:2:3 \"y\"\nf:3:1: \"a-b.c_1\" = f:3:9 \"z\"\n\
             f:4:1: \"ß\" = f:4:5 \"q\""
        );
    }

    #[test]
    fn what_is_none_of_these_is_named_with_its_place_and_not_repeated() {
        assert_eq!(
            shown("[open\n secret\nsec ret = 1\n = 1\n\"a = 1\n\"\" = 1\n%include\n%includes x\nß = 1"),
            "f:1:1: [ without its ]\n\
             f:2:8: expected name = value, [section] or %include file\n\
             f:3:5: expected name = value, [section] or %include file\n\
             f:4:2: expected name = value, [section] or %include file\n\
             f:5:1: a name in \" without its end (a \" inside is doubled)\n\
             f:6:4: expected name = value, [section] or %include file\n\
             f:7:1: expected name = value, [section] or %include file\n\
             f:8:1: expected name = value, [section] or %include file\n\
             f:9:1: expected name = value, [section] or %include file"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_do_no_harm_in_a_comment() {
        let text = String::from_utf8_lossy(b"; caf\xe9\na = b\xe9\nc = d\0\n").into_owned();
        assert_eq!(shown(&text), "f:2:6: is not valid UTF-8\nf:3:6: a value cannot hold the NUL character");
    }
}
