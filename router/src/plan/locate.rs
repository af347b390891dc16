//! Reading a plan's keys for one execution: which shards they say.

mod arrays;
mod params;

use super::pin::{KeySource, Pin, Sign, Sources};
use super::spread::How;
use super::{Across, Refusal, Route, dml};
use crate::schema::{GroupId, ShardRef};
use crate::sql::literal::string_value;
use crate::sql::scan::{Literal, LiteralKind};
use arrays::array;
pub use params::{Param, Params};
use shardway_shardmap::{CanonicalKey, KeyValue, ParamType, ShardId, ShardMap, Use};

/// The values of one execution: the statement's literals, and the parameters where there are any.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The statement.
    pub text: &'a str,
    /// Its literals.
    pub literals: &'a [Literal],
    /// Bind's parameters.
    pub params: Option<Params<'a>>,
    /// Types declared in Parse; 0 or missing: left to Postgres.
    pub types: &'a [u32],
}

/// Where an execution goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any shard of the group.
    Any(GroupId),
    /// One shard.
    One(ShardRef),
    /// These shards, or all of the group if empty; the plan says how.
    Several(GroupId, Vec<ShardId>),
    /// Every shard of the group, to write.
    Everywhere(GroupId),
}

/// What one pin says.
enum Place {
    /// Rows can be on these shards only, in ascending order.
    Shards(Vec<ShardId>),
    /// No row can matter (a NULL key), or Postgres will raise an error for the value: any shard says so.
    Nowhere,
    /// The value can't be read without guessing.
    Unproven(&'static str),
}

/// Where a plan's route leads with these values. Errors are for the client.
pub fn locate(route: &Route, maps: &[ShardMap], values: &Values<'_>) -> Result<Target, Refusal> {
    match route {
        Route::Any(group) => Ok(Target::Any(*group)),
        Route::One(place) => Ok(Target::One(*place)),
        Route::Everywhere(group) => Ok(Target::Everywhere(*group)),
        Route::Across(across @ Across::Spread(_)) if maps[across.group().0].shard_count() == 1 => {
            Ok(Target::Any(across.group()))
        }
        Route::Across(across) => Ok(Target::Several(across.group(), Vec::new())),
        Route::Refuse(refusal) => Err(refusal.clone()),
        Route::Keyed { group, pins, otherwise, why } => {
            let map = &maps[group.0];
            if let Some(across @ Across::Gather(_)) = otherwise {
                // Keys that are not of one shard, or not known to be, are looked for wherever each of them is.
                return Ok(match keyed(*group, map, pins, false, values) {
                    Ok(Target::Several(..)) | Err(_) => Target::Several(across.group(), Vec::new()),
                    Ok(target) => target,
                });
            }
            if let Some(across @ Across::Spread(spread)) = otherwise
                && matches!(spread.how, How::Each | How::Moved(_) | How::Fed(_))
            {
                // What each of them would do to rows that are elsewhere is nothing.
                let all = |_| Ok(Target::Several(across.group(), Vec::new()));
                return keyed(*group, map, pins, true, values).or_else(all);
            }
            let target = keyed(*group, map, pins, otherwise.is_some(), values)?;
            match (&target, otherwise) {
                (Target::Several(..), None) => Err(several(pins, why.as_deref())),
                _ => Ok(target),
            }
        }
    }
}

fn keyed(
    group: GroupId,
    map: &ShardMap,
    pins: &[Pin],
    scatters: bool,
    values: &Values<'_>,
) -> Result<Target, Refusal> {
    let mut shards: Option<Vec<ShardId>> = None;
    let mut nowhere = false;
    for pin in pins {
        match place(map, pin, values)? {
            Place::Nowhere => nowhere = true,
            Place::Unproven(_) if scatters && pin.how == Use::Compare => {
                return Ok(Target::Several(group, Vec::new()));
            }
            Place::Unproven(why) => return Err(unproven(pin, why)),
            Place::Shards(found) => match &shards {
                None => shards = Some(found),
                Some(others) if *others == found => {}
                Some(_) => {
                    return Err(Refusal::unsupported(
                        "the statement's keys live on different shards, which is not supported yet",
                    ));
                }
            },
        }
    }
    match shards {
        Some(shards) if shards.len() == 1 => Ok(Target::One(ShardRef { group, shard: shards[0] })),
        Some(shards) => Ok(Target::Several(group, shards)),
        None if nowhere => Ok(Target::Any(group)),
        None => Err(Refusal::unsupported("the statement names no key")),
    }
}

/// Why a statement can't run on several shards.
fn several(pins: &[Pin], why: Option<&Refusal>) -> Refusal {
    let what = match pins.iter().any(|pin| pin.how == Use::Store) {
        true => "the rows of this INSERT live on several shards",
        false => "the statement's keys live on several shards",
    };
    match why {
        Some(why) => Refusal { message: format!("{what}: {}", why.message), ..why.clone() },
        None => Refusal::unsupported(format!("{what}, which is not supported")),
    }
}

/// The shard of each row that is stored, in order. Errors: a key that is not there, or can't be read.
pub fn shards_of_rows(map: &ShardMap, pin: &Pin, values: &Values<'_>) -> Result<Vec<ShardId>, Refusal> {
    let Sources::List(sources) = &pin.sources else {
        return Err(unproven(pin, "the rows are not told apart"));
    };
    let params = indexed(sources, values);
    let mut shards = Vec::with_capacity(sources.len());
    for source in sources {
        match key_value_in(pin, source, values, params.as_deref()) {
            KeyValue::Key(key) => shards.push(map.locate(&key).map_err(|e| no_shard(pin, &e))?),
            KeyValue::Null => return Err(dml::null_key(&pin.column.0, &pin.column.1)),
            // Whichever shard gets it says what is wrong with it.
            KeyValue::Invalid => shards.push(ShardId(0)),
            KeyValue::Unproven(why) => return Err(unproven(pin, why)),
        }
    }
    Ok(shards)
}

/// The text of each row's key, as Postgres prints it; `None` for what is no key.
pub fn keys_of_rows(pin: &Pin, values: &Values<'_>) -> Vec<Option<String>> {
    let Sources::List(sources) = &pin.sources else { return Vec::new() };
    let params = indexed(sources, values);
    let text = |source| match key_value_in(pin, source, values, params.as_deref()) {
        KeyValue::Key(key) => Some(key.to_string()),
        _ => None,
    };
    sources.iter().map(text).collect()
}

/// Sources from which on looking each parameter up would take longer than reading all of them at once.
const MANY: usize = 8;

fn indexed<'a>(sources: &[KeySource], values: &Values<'a>) -> Option<Vec<Param<'a>>> {
    if sources.len() < MANY { None } else { values.params.as_ref().map(Params::all) }
}

fn no_shard(pin: &Pin, why: &impl std::fmt::Display) -> Refusal {
    Refusal {
        code: "23514",
        message: format!("no shard for the key of \"{}\": {why}", pin.column.0),
        hint: "Add a range or list entry for it to the group, then RELOAD.",
    }
}

/// The shards that rows of any of these keys are on, in ascending order; `None` for all of them.
pub fn shards_of(map: &ShardMap, pins: &[Pin], values: &Values<'_>) -> Option<Vec<ShardId>> {
    if pins.is_empty() {
        return None;
    }
    let mut shards = Vec::new();
    for pin in pins {
        match place(map, pin, values) {
            Ok(Place::Shards(found)) => shards.extend(found),
            Ok(Place::Nowhere) => {}
            Ok(Place::Unproven(_)) | Err(_) => return None,
        }
    }
    shards.sort_unstable();
    shards.dedup();
    Some(shards)
}

fn unproven(pin: &Pin, why: &str) -> Refusal {
    Refusal::unsupported(format!(
        "the value of \"{}\".\"{}\" can't be routed: {why}",
        pin.column.0, pin.column.1
    ))
}

fn place(map: &ShardMap, pin: &Pin, values: &Values<'_>) -> Result<Place, Refusal> {
    let mut shards = Vec::new();
    let mut doubt = None;
    let mixed = pin.how == Use::Compare && is_mixed(pin, values);
    let mut see = |value: KeyValue<'_>| -> Result<(), Refusal> {
        match value {
            KeyValue::Key(key) => match map.locate(&key) {
                Ok(shard) => {
                    if let Err(at) = shards.binary_search(&shard) {
                        shards.insert(at, shard);
                    }
                }
                Err(e) if pin.how == Use::Store => {
                    return Err(no_shard(pin, &e));
                }
                // No row can have it.
                Err(_) => {}
            },
            KeyValue::Null if pin.how == Use::Store => {
                return Err(dml::null_key(&pin.column.0, &pin.column.1));
            }
            KeyValue::Invalid if mixed => doubt = Some("the list holds numbers of another type"),
            KeyValue::Null | KeyValue::Invalid => {}
            KeyValue::Unproven(why) => doubt = Some(why),
        }
        Ok(())
    };
    match &pin.sources {
        Sources::List(sources) => {
            let params = indexed(sources, values);
            for source in sources {
                see(key_value_in(pin, source, values, params.as_deref()))?;
            }
        }
        Sources::Array(source) => array(pin, source, values, &mut see)?,
    }
    Ok(match (doubt, shards.is_empty()) {
        (Some(why), _) => Place::Unproven(why),
        (None, true) => Place::Nowhere,
        (None, false) => Place::Shards(shards),
    })
}

/// Whether a list has members that make Postgres compare all of it as numeric: '7.0' is then 7, though no integer.
fn is_mixed(pin: &Pin, values: &Values<'_>) -> bool {
    let other_number = |source: &KeySource| match source {
        KeySource::Literal { cast: Some(ParamType::Numeric), .. }
        | KeySource::Param { cast: Some(ParamType::Numeric), .. } => true,
        KeySource::Literal { index, .. } => {
            values.literals.get(*index).is_some_and(|l| l.kind == LiteralKind::Decimal)
        }
        KeySource::Param { number, .. } => {
            let declared = ParamType::from_oid(values.types.get(*number).copied().unwrap_or(0));
            matches!(declared, ParamType::Numeric | ParamType::Other(_))
        }
        KeySource::Null => false,
    };
    matches!(&pin.sources, Sources::List(list) if list.len() > 1 && list.iter().any(other_number))
}

const MISSING: KeyValue<'static> = KeyValue::Unproven("the parameter is missing");

/// One key's value.
pub fn key_value<'a>(pin: &Pin, source: &KeySource, values: &Values<'a>) -> KeyValue<'a> {
    key_value_in(pin, source, values, None)
}

/// The same, with the parameters read already where there are many.
fn key_value_in<'a>(
    pin: &Pin,
    source: &KeySource,
    values: &Values<'a>,
    params: Option<&[Param<'a>]>,
) -> KeyValue<'a> {
    match source {
        KeySource::Null => KeyValue::Null,
        KeySource::Literal { index, sign, cast } => match values.literals.get(*index) {
            Some(literal) => literal_value(pin, literal, *sign, *cast, values.text),
            None => KeyValue::Unproven("the literal is missing"),
        },
        KeySource::Param { number, cast, as_text, elsewhere } => {
            let param = match params {
                Some(all) => all.get(*number).copied(),
                None => values.params.as_ref().and_then(|p| p.get(*number)),
            };
            let oid = values.types.get(*number).copied().unwrap_or(0);
            let told = Told { oid, cast: *cast, as_text: *as_text };
            param.map_or(MISSING, |param| param_value(pin, param, told, *elsewhere))
        }
    }
}

fn literal_value<'a>(
    pin: &Pin,
    literal: &Literal,
    sign: Sign,
    cast: Option<ParamType>,
    text: &'a str,
) -> KeyValue<'a> {
    const UNREAD: KeyValue<'static> =
        KeyValue::Unproven("the literal's meaning depends on more than its text");
    let token = &text[literal.start..literal.end];
    match (literal.kind, cast) {
        (LiteralKind::Integer, None | Some(ParamType::Int2 | ParamType::Int4 | ParamType::Int8)) => {
            let minus = sign == Sign::Minus;
            let digits: Result<i64, _> = if minus { format!("-{token}").parse() } else { token.parse() };
            match digits {
                Ok(value) => pin.key_type.read_int(value, pin.how),
                Err(_) => KeyValue::Unproven("the number is larger than a bigint"),
            }
        }
        (LiteralKind::Decimal, None)
        | (LiteralKind::Integer | LiteralKind::Decimal, Some(ParamType::Numeric)) => match sign {
            Sign::Minus => pin.key_type.read_numeric_text(format!("-{token}").as_bytes(), pin.how),
            _ => pin.key_type.read_numeric_text(token.as_bytes(), pin.how),
        },
        (LiteralKind::Integer | LiteralKind::Decimal, _) => UNREAD,
        (kind, cast) if sign == Sign::Bare => match string_value(kind, token) {
            Some(std::borrow::Cow::Borrowed(value)) => {
                pin.key_type.read_text_as(cast.unwrap_or(ParamType::Unknown), value.as_bytes(), pin.how)
            }
            Some(std::borrow::Cow::Owned(value)) => pin
                .key_type
                .read_text_as(cast.unwrap_or(ParamType::Unknown), value.as_bytes(), pin.how)
                .into_owned(),
            None => UNREAD,
        },
        _ => UNREAD,
    }
}

/// What a statement says of a parameter's type.
#[derive(Clone, Copy)]
struct Told {
    /// Declared in Parse; 0 if it was not.
    oid: u32,
    /// What it is cast to.
    cast: Option<ParamType>,
    /// Whether it is cast to text before.
    as_text: bool,
}

fn param_value<'a>(pin: &Pin, param: Param<'a>, told: Told, elsewhere: bool) -> KeyValue<'a> {
    let Some(bytes) = param.bytes else { return KeyValue::Null };
    let value = match cast_of_text(told) {
        Some(cast) => pin.key_type.read_text_as(cast, bytes, pin.how),
        None => declared_value(pin, param.binary, bytes, told),
    };
    // An undeclared parameter has the type of its first use, which may not be this one.
    // As that it may be cut (name), rounded (float4, or a number that is no integer) or stripped (bpchar).
    let foreign = elsewhere && ParamType::from_oid(told.oid) == ParamType::Unknown;
    let rounded = matches!(value, KeyValue::Key(CanonicalKey::Int(n)) if n.unsigned_abs() > 1 << 24);
    let altered = rounded || bytes.len() > 63 || bytes.last() == Some(&b' ');
    let doubtful = param.binary || matches!(value, KeyValue::Invalid) || altered;
    if foreign && doubtful {
        return KeyValue::Unproven("the parameter is used elsewhere too; declare or cast its type");
    }
    value
}

fn declared_value<'a>(pin: &Pin, binary: bool, bytes: &'a [u8], told: Told) -> KeyValue<'a> {
    let declared = if told.as_text { None } else { declared_type(pin, told.oid, told.cast) };
    let declared = match declared {
        None => return KeyValue::Unproven("the parameter is cast from another type"),
        // Inferred from a column like the key, or from a cast, of whichever width.
        Some(ParamType::Unknown | ParamType::Int2 | ParamType::Int4 | ParamType::Int8)
            if binary && pin.key_type.is_integer() && ParamType::from_oid(told.oid) == ParamType::Unknown =>
        {
            match bytes.len() {
                2 => ParamType::Int2,
                4 => ParamType::Int4,
                8 => ParamType::Int8,
                _ => ParamType::Unknown,
            }
        }
        Some(declared) => declared,
    };
    match binary {
        true => pin.key_type.read_binary(declared, bytes, pin.how),
        false => pin.key_type.read_text_as(declared, bytes, pin.how),
    }
}

/// What a parameter that is text in either format is cast to, if that is another type: then its text is read by that.
fn cast_of_text(told: Told) -> Option<ParamType> {
    let is_text = match ParamType::from_oid(told.oid) {
        ParamType::Text | ParamType::Varchar => true,
        ParamType::Unknown => told.as_text,
        _ => false,
    };
    told.cast.filter(|cast| is_text && !matches!(cast, ParamType::Text | ParamType::Varchar))
}

/// The type that a parameter is read by: the declared one, or what it is cast to. `None` if both, and the value may be
/// another one then.
fn declared_type(pin: &Pin, oid: u32, cast: Option<ParamType>) -> Option<ParamType> {
    use ParamType as P;
    let declared = match ParamType::from_oid(oid) {
        ParamType::Other(_)
            if matches!(
                pin.key_type,
                shardway_shardmap::KeyType::Enum | shardway_shardmap::KeyType::Citext
            ) =>
        {
            // Their types have no fixed number; Postgres checks that it is the column's.
            ParamType::Column
        }
        other => other,
    };
    match (declared, cast) {
        (declared, None) => Some(declared),
        (ParamType::Unknown, Some(cast)) => Some(cast),
        // An integer that the other type does not hold is an error wherever it is cast.
        (P::Int2 | P::Int4 | P::Int8, Some(P::Int2 | P::Int4 | P::Int8 | P::Numeric)) => Some(declared),
        (P::Text | P::Varchar, Some(cast @ (P::Text | P::Varchar))) => Some(cast),
        (declared, Some(cast)) => (declared == cast).then_some(cast),
    }
}
