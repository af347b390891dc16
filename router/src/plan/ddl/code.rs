//! Code in a string, as far as its words tell what it does.

use crate::schema::Schema;
use crate::sql::literal::string_value;
use crate::sql::scan::{LiteralKind, all_tokens, identifier};

/// Whether a DO block does no more than define objects and look into the system's catalogs: then it does the same on
/// every shard. Errors: what else it does, as a verb.
pub(super) fn defines_only(rest: &[String], schema: &Schema) -> Result<(), String> {
    let mut body = None;
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case("LANGUAGE") {
            let language = words.next().map(|name| identifier(name.trim_matches('\''))).unwrap_or_default();
            if language != "plpgsql" {
                return Err(format!("is written in {language}"));
            }
        } else {
            let kind = if word.starts_with('$') { LiteralKind::Dollar } else { LiteralKind::String };
            let kind = if word.starts_with(['e', 'E']) { LiteralKind::Escape } else { kind };
            body = string_value(kind, word).map(|text| text.into_owned());
        }
    }
    let body = body.ok_or("has no plain body")?;
    let tokens = all_tokens(&body).ok_or("is not closed")?;
    for (at, range) in tokens.iter().enumerate() {
        let word =
            |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |range| &body[range.clone()]);
        // ON DELETE, ON UPDATE: of a foreign key.
        if !word(at.checked_sub(1)).eq_ignore_ascii_case("ON") {
            acts(&body[range.clone()], word(Some(at + 1)), schema)?;
        }
        let is = |text: &str, words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        let opens = is(word(Some(at)), &["AS"]) || word(Some(at)) == "(";
        let behind_as = is(word(Some(at)), &["AS"]) || is(word(at.checked_sub(1)), &["AS"]);
        if opens && is(word(Some(at + 1)), &["TABLE"])
            || opens && behind_as && is(word(Some(at + 1)), &["SELECT", "TABLE", "VALUES", "WITH", "EXECUTE"])
        {
            return Err("takes rows".to_owned());
        }
    }
    Ok(())
}

/// Whether a word of it, with the one behind it, does something to rows or to what only one shard knows.
fn acts(token: &str, next: &str, schema: &Schema) -> Result<(), String> {
    let upper = token.to_ascii_uppercase();
    match upper.as_str() {
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" | "COPY" => {
            return Err("changes rows".to_owned());
        }
        "PERFORM" | "CALL" => return Err("calls functions".to_owned()),
        "EXECUTE" if !next.eq_ignore_ascii_case("FUNCTION") && !next.eq_ignore_ascii_case("PROCEDURE") => {
            return Err("puts statements together".to_owned());
        }
        "COMMIT" | "ROLLBACK" => return Err("ends transactions".to_owned()),
        "RENAME" => return Err("names objects anew".to_owned()),
        "SET" if next.eq_ignore_ascii_case("SCHEMA") => return Err("names objects anew".to_owned()),
        "CREATE" if next.eq_ignore_ascii_case("TEMP") || next.eq_ignore_ascii_case("TEMPORARY") => {
            return Err("makes temporary objects".to_owned());
        }
        "FROM" | "JOIN" => {
            let name = identifier(next);
            let system = name.starts_with("pg_") || name == "information_schema" || next == "(";
            if !system {
                return Err(format!("reads \"{name}\""));
            }
        }
        "EVENT" if next.eq_ignore_ascii_case("TRIGGER") => return Err("makes an event trigger".to_owned()),
        _ if next == "(" && !token.is_empty() => {
            let name = identifier(token);
            let functions = &schema.functions;
            if functions.reads_tables(&name) || functions.is_volatile(&name) {
                return Err(format!("calls {name}"));
            }
        }
        _ => {}
    }
    Ok(())
}
