//! What the client is told of a COPY that failed: the error that one Postgres would have raised first, with the client's
//! own line.

use crate::copy::deal::{Stop, Why};
use crate::copy::lines::Lines;
use crate::error::ClientError;
use crate::plan::copy::CopyIn;
use crate::plan::{Refusal, dml};
use shardway_pool::frame;

/// What a shard's data has to do with the client's.
pub(super) struct Data<'a> {
    /// The shard's lines.
    pub(super) lines: &'a Lines,
    /// The client's line behind the last one that any shard got.
    pub(super) end: u64,
    /// What every row got in front.
    pub(super) prefix: Vec<u8>,
}

/// An error's or notice's body with the line that its CONTEXT names as the client's, and that line. Without data of its own,
/// the shard has the client's.
pub(super) fn in_clients_lines(body: &[u8], table: &str, data: Option<&Data<'_>>) -> (Vec<u8>, Option<u64>) {
    let mut named = None;
    let mut all = Vec::with_capacity(body.len() + 8);
    for field in body.split_inclusive(|&byte| byte == 0) {
        match field.strip_prefix(b"W") {
            Some(context) => {
                all.push(b'W');
                named = context_in_clients_lines(context, table, data, &mut all);
            }
            None => all.extend_from_slice(field),
        }
    }
    (all, named)
}

/// The outermost context, which comes last, is COPY's: `COPY table, line 7, column a: "…"`, in any language.
fn context_in_clients_lines(
    context: &[u8],
    table: &str,
    data: Option<&Data<'_>>,
    out: &mut Vec<u8>,
) -> Option<u64> {
    let prefix = format!("COPY {table}, ");
    let starts =
        |at: &usize| (*at == 0 || context[at - 1] == b'\n') && context[*at..].starts_with(prefix.as_bytes());
    let digits = (0..context.len()).rev().find(starts).and_then(|at| {
        let from = at + prefix.len() + context[at + prefix.len()..].iter().position(u8::is_ascii_digit)?;
        let count = context[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        Some(from..from + count)
    });
    let number = digits.as_ref().and_then(|at| std::str::from_utf8(&context[at.clone()]).ok()?.parse().ok());
    let (Some(digits), Some(number)) = (digits, number) else {
        out.extend_from_slice(context);
        return None;
    };
    let clients = match data {
        None => Some(number),
        Some(data) if number > data.lines.count() => Some(data.end),
        Some(data) => data.lines.clients(number),
    };
    out.extend_from_slice(&context[..digits.start]);
    match clients {
        Some(line) => out.extend_from_slice(line.to_string().as_bytes()),
        None => out.extend_from_slice(format!("{number} (of one shard's)").as_bytes()),
    }
    let rest = &context[digits.end..];
    // The row as it was, not as it was sent.
    let prefix = data.map(|data| &data.prefix[..]).filter(|prefix| !prefix.is_empty());
    let quote = prefix.and_then(|prefix| memchr::memmem::find(rest, prefix).map(|at| at..at + prefix.len()));
    match quote.filter(|at| at.start <= 4) {
        Some(at) => {
            out.extend_from_slice(&rest[..at.start]);
            out.extend_from_slice(&rest[at.end..]);
        }
        None => out.extend_from_slice(rest),
    }
    clients
}

/// What to say of a row that no shard could be chosen for, where the one that got it has nothing to say.
pub(super) fn stopped(plan: &CopyIn, stop: &Stop) -> ClientError {
    let (table, column) = (&plan.table.name, plan.key_name());
    let refusal = |code, message: String| Refusal { code, message, hint: "" };
    let refusal = match &stop.why {
        Why::NullKey => dml::null_key(table, column),
        Why::NoKey => refusal("22P04", format!("missing data for column \"{column}\"")),
        Why::Invalid => refusal("22P02", format!("invalid input syntax for column \"{column}\"")),
        Why::Unproven(why) => Refusal::unsupported(format!("the key \"{column}\" can't be routed: {why}")),
        Why::Nowhere(why) => refusal("23514", why.clone()),
        Why::Clock => Refusal {
            code: "0A000",
            message: "a date or time that each shard would read from its own clock is not supported"
                .to_owned(),
            hint: "Give it as a date or time instead of a word such as 'now' or 'today'.",
        },
        Why::Newline(csv) => {
            let (message, hint) = match csv {
                false => ("literal newline found in data", "Use \"\\n\" to represent newline."),
                true => ("unquoted newline found in data", "Use quoted CSV field to represent newline."),
            };
            Refusal { code: "22P04", message: message.to_owned(), hint }
        }
        Why::Malformed => refusal("22P04", "the data is not of COPY's format".to_owned()),
        Why::TooLong => refusal("54000", "a row of COPY is too long".to_owned()),
    };
    with_context(refusal.into(), &format!("COPY {table}, line {}", stop.line))
}

/// An error with a CONTEXT.
fn with_context(error: ClientError, context: &str) -> ClientError {
    let mut body = Vec::new();
    let mut field = |code: u8, text: &str| {
        body.push(code);
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    };
    field(b'S', "ERROR");
    field(b'V', "ERROR");
    field(b'C', &error.code);
    field(b'M', &error.message);
    if let Some(hint) = &error.hint {
        field(b'H', hint);
    }
    field(b'W', context);
    body.push(0);
    ClientError { body: Some(body.into()), ..error }
}

/// Whether an error is the answer to having been told to give up.
pub(super) fn is_echo(body: &[u8]) -> bool {
    frame::error_field(body, b'C') == Some(b"57014")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_context_names_the_clients_line() {
        let mut lines = Lines::default();
        lines.row(1, 1, 4);
        lines.row(1, 1, 9);
        let named = |context: &str| {
            let body = [b"SERROR\0W", context.as_bytes(), b"\0\0"].concat();
            let data = Data { lines: &lines, end: 12, prefix: b"now\t".to_vec() };
            let (body, line) = in_clients_lines(&body, "t", Some(&data));
            let context = frame::error_field(&body, b'W').unwrap_or_default();
            (String::from_utf8_lossy(context).into_owned(), line)
        };
        let (text, line) = named("COPY t, line 2, column a: \"COPY t, line 1\"");
        assert_eq!((text.as_str(), line), ("COPY t, line 9, column a: \"COPY t, line 1\"", Some(9)));
        let (text, line) = named("PL/pgSQL function f() line 3 at RAISE\nCOPY t, Zeile 1: »x«");
        let expected = "PL/pgSQL function f() line 3 at RAISE\nCOPY t, Zeile 4: »x«";
        assert_eq!((text.as_str(), line), (expected, Some(4)));
        assert_eq!(named("COPY t, line 3"), ("COPY t, line 12".to_owned(), Some(12)));
        assert_eq!(named("COPY t, line 1: \"now\ta\"").0, "COPY t, line 4: \"a\"");
        assert_eq!(named("COPY other, line 1").1, None);
    }
}
