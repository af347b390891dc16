//! What the terminal shows: colours and a moving progress line on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Standard output, and whether somebody is looking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    colours: bool,
    moving: bool,
}

impl Screen {
    /// Colours follow <https://no-color.org>.
    pub(super) fn stdout() -> Self {
        let moving = std::io::stdout().is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: moving && !unwanted, moving }
    }

    /// A line. Nobody reading any more (a closed pipe) is no reason to fail.
    pub(super) fn line(self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// A line that the next progress or line replaces; nothing where lines stay.
    pub(super) fn progress(self, text: &str) {
        if self.moving {
            let mut out = std::io::stdout();
            let _ = write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush());
        }
    }

    /// The line that takes the place of the progress.
    pub(super) fn settle(self, text: &str) {
        self.progress("");
        self.line(text);
    }

    /// A step is over.
    pub(super) fn done(self, what: &str, took: Duration) {
        let took = format!("({})", duration(took));
        self.settle(&format!("  {} {what} {}", self.green("✓"), self.dim(&took)));
    }

    /// Stands out.
    pub(super) fn bold(self, text: &str) -> String {
        self.styled("1", text)
    }

    /// Stands back.
    pub(super) fn dim(self, text: &str) -> String {
        self.styled("2", text)
    }

    /// Went well.
    pub(super) fn green(self, text: &str) -> String {
        self.styled("32", text)
    }

    /// To be looked at.
    pub(super) fn yellow(self, text: &str) -> String {
        self.styled("33", text)
    }

    /// Where something went.
    pub(super) fn cyan(self, text: &str) -> String {
        self.styled("36", text)
    }

    fn styled(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A duration in the unit that suits it: `412 µs`, `3.2 ms`, `1.46 s`.
pub(super) fn duration(of: Duration) -> String {
    let seconds = of.as_secs_f64();
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// An integer with its thousands apart: `12,345`.
pub(super) fn count(of: usize) -> String {
    let digits = of.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_counts_read_well() {
        let shown = [412e-6, 0.0032, 0.25, 1.456].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(shown, ["412 µs", "3.2 ms", "250.0 ms", "1.46 s"]);
        assert_eq!([7, 999, 1000, 1_234_567].map(count), ["7", "999", "1,000", "1,234,567"]);
    }
}
