//! The keys in an array, as a literal or a parameter.

use super::{MISSING, Values, declared_type};
use crate::plan::Refusal;
use crate::plan::pin::{KeySource, Pin};
use crate::sql::literal::string_value;
use shardway_pool::frame;
use shardway_shardmap::{KeyValue, ParamType};

/// Every element of an array.
pub(super) fn array(
    pin: &Pin,
    source: &KeySource,
    values: &Values<'_>,
    see: &mut impl FnMut(KeyValue<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    const UNREAD: KeyValue<'static> = KeyValue::Unproven("the array can't be read");
    match source {
        KeySource::Null => Ok(()),
        KeySource::Literal { index, cast, .. } => {
            let literal = values.literals.get(*index);
            match literal.and_then(|l| string_value(l.kind, &values.text[l.start..l.end])) {
                Some(text) => text_array(pin, text.as_bytes(), cast.unwrap_or(ParamType::Unknown), see),
                None => see(UNREAD),
            }
        }
        KeySource::Param { number, cast, elsewhere, .. } => {
            let Some(param) = values.params.as_ref().and_then(|p| p.get(*number)) else {
                return see(MISSING);
            };
            let Some(bytes) = param.bytes else { return Ok(()) };
            let oid = values.types.get(*number).copied().unwrap_or(0);
            let element = array_element(oid).or(*cast).unwrap_or(ParamType::Unknown);
            if *elsewhere && oid == 0 {
                return see(UNREAD);
            }
            if param.binary { binary_array(pin, bytes, see) } else { text_array(pin, bytes, element, see) }
        }
    }
}

/// Element types of the array types that keys come in (`pg_type.dat`).
fn array_element(oid: u32) -> Option<ParamType> {
    Some(match oid {
        1005 => ParamType::Int2,
        1007 => ParamType::Int4,
        1016 => ParamType::Int8,
        1009 => ParamType::Text,
        1015 => ParamType::Varchar,
        1014 => ParamType::Bpchar,
        2951 => ParamType::Uuid,
        1231 => ParamType::Numeric,
        _ => return None,
    })
}

/// `{a,"b c",NULL}`, one dimension. Source: PostgreSQL, "Array Input and Output Syntax".
fn text_array(
    pin: &Pin,
    text: &[u8],
    element: ParamType,
    see: &mut impl FnMut(KeyValue<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    const UNREAD: KeyValue<'static> = KeyValue::Unproven("the array can't be read");
    let trimmed = text.trim_ascii();
    let Some(inner) = trimmed.strip_prefix(b"{").and_then(|t| t.strip_suffix(b"}")) else {
        return see(UNREAD);
    };
    let mut rest = inner.trim_ascii();
    while !rest.is_empty() {
        let mut value = Vec::new();
        let quoted = rest.first() == Some(&b'"');
        let mut at = usize::from(quoted);
        loop {
            match rest.get(at) {
                // What is escaped is not trimmed, nor taken for NULL.
                Some(b'\\') if !quoted => return see(UNREAD),
                Some(b'\\') => {
                    let Some(&next) = rest.get(at + 1) else { return see(UNREAD) };
                    value.push(next);
                    at += 2;
                }
                Some(b'"') if quoted => {
                    at += 1;
                    break;
                }
                Some(b'{' | b'}' | b'"') if !quoted => return see(UNREAD),
                Some(b',') if !quoted => break,
                Some(&byte) => {
                    value.push(byte);
                    at += 1;
                }
                None if quoted => return see(UNREAD),
                None => break,
            }
        }
        if !quoted && value.eq_ignore_ascii_case(b"null") {
            see(KeyValue::Null)?;
        } else {
            let value = if quoted { &value[..] } else { value.trim_ascii() };
            see(pin.key_type.read_text_as(element, value, pin.how))?;
        }
        rest = rest[at..].trim_ascii();
        match rest.split_first() {
            Some((b',', more)) if !more.trim_ascii().is_empty() => rest = more.trim_ascii(),
            None => break,
            _ => return see(UNREAD),
        }
    }
    Ok(())
}

/// The binary form: dimensions, null flag, element type, then elements. Source: `array_send`.
fn binary_array(
    pin: &Pin,
    bytes: &[u8],
    see: &mut impl FnMut(KeyValue<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    const UNREAD: KeyValue<'static> = KeyValue::Unproven("the array can't be read");
    let header = || {
        let (dimensions, rest) = frame::i32(bytes)?;
        let (_, rest) = frame::i32(rest)?;
        let (oid, rest) = frame::i32(rest)?;
        Some((dimensions, oid as u32, rest))
    };
    let (oid, mut rest) = match header() {
        Some((0, _, _)) => return Ok(()),
        Some((1, oid, rest)) if rest.len() >= 8 => (oid, &rest[8..]),
        _ => return see(UNREAD),
    };
    let Some(element) = declared_type(pin, oid, None) else { return see(UNREAD) };
    while !rest.is_empty() {
        let Some((length, body)) = frame::i32(rest) else { return see(UNREAD) };
        if length < 0 {
            see(KeyValue::Null)?;
            rest = body;
            continue;
        }
        let length = length as usize;
        let Some(value) = body.get(..length) else { return see(UNREAD) };
        see(pin.key_type.read_binary(element, value, pin.how))?;
        rest = &body[length..];
    }
    Ok(())
}
