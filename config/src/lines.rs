//! From byte offsets, which the parser counts, to lines and columns, which people count.

/// Where each line of a text begins.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let after_newlines =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    /// Line and column of a byte offset, both from 1; the column counts characters. An offset past the end
    /// is the end.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let continues = |byte: &&u8| **byte & 0xC0 == 0x80;
        let before = &self.text.as_bytes()[start..offset];
        (line, before.len() - before.iter().filter(continues).count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_not_bytes() {
        let lines = Lines::new("a = 1\nß = \"ü\" x\n");
        assert_eq!(lines.position(0), (1, 1));
        assert_eq!(lines.position(5), (1, 6));
        assert_eq!(lines.position(6), (2, 1));
        assert_eq!(lines.position(8), (2, 2));
        assert_eq!(lines.position(16), (2, 9));
    }

    #[test]
    fn past_the_end_is_the_end() {
        assert_eq!(Lines::new("").position(99), (1, 1));
        assert_eq!(Lines::new("ab\n").position(99), (2, 1));
    }
}
