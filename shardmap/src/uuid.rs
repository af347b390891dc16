//! UUIDs: Postgres's spellings in, the one canonical spelling out.

/// Bytes of a uuid.
const LEN: usize = 16;

/// Reads a uuid exactly as Postgres's `string_to_uuid` does: hexadecimal digits in either case, optional
/// braces around, an optional hyphen after every four digits but the last, no spaces. `None` is its 22P02.
pub(crate) fn parse(text: &[u8]) -> Option<[u8; LEN]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        other => other,
    };
    let mut uuid = [0; LEN];
    for (i, byte) in uuid.iter_mut().enumerate() {
        let (&[high, low], tail) = rest.split_first_chunk::<2>()?;
        *byte = hex_value(high)? << 4 | hex_value(low)?;
        rest = match tail {
            [b'-', after @ ..] if i % 2 == 1 && i < LEN - 1 => after,
            _ => tail,
        };
    }
    rest.is_empty().then_some(uuid)
}

/// The value of one hexadecimal digit.
pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A uuid as `uuid_out` prints it, on the stack.
pub(crate) struct Hyphenated([u8; 36]);

impl Hyphenated {
    pub(crate) fn new(uuid: &[u8; LEN]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in uuid.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 0xf)];
            at += 2;
        }
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits and hyphens are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "8f14e45f-ceea-467f-a830-8d4c0e6b6a3d";

    #[test]
    fn every_spelling_that_postgres_takes_prints_alike() {
        for spelling in [
            PRINTED,
            "8F14E45F-CEEA-467F-A830-8D4C0E6B6A3D",
            "8f14e45fceea467fa8308d4c0e6b6a3d",
            "{8f14e45f-ceea-467f-a830-8d4c0e6b6a3d}",
            "8f14-e45f-ceea-467f-a830-8d4c-0e6b-6a3d",
            "{8F14e45f-ceea467fa830-8d4c0e6b6a3d}",
        ] {
            let uuid = parse(spelling.as_bytes()).expect(spelling);
            assert_eq!(Hyphenated::new(&uuid).as_str(), PRINTED, "{spelling}");
        }
    }

    #[test]
    fn what_postgres_refuses_is_no_uuid() {
        for text in [
            "",
            "{",
            "{}",
            "8f14e45f-ceea-467f-a830-8d4c0e6b6a3",
            "8f14e45f-ceea-467f-a830-8d4c0e6b6a3d ",
            " 8f14e45f-ceea-467f-a830-8d4c0e6b6a3d",
            "8f14e45f-ceea-467f-a830-8d4c0e6b6a3d-",
            "8f14e45f--ceea-467f-a830-8d4c0e6b6a3d",
            "8f-14e45fceea467fa8308d4c0e6b6a3d",
            "-8f14e45fceea467fa8308d4c0e6b6a3d",
            "{8f14e45fceea467fa8308d4c0e6b6a3d",
            "8f14e45fceea467fa8308d4c0e6b6a3d}",
            "{8f14e45fceea467fa8308d4c0e6b6a3d}}",
            "gf14e45fceea467fa8308d4c0e6b6a3d",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
