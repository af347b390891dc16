//! Object ids of what users made and what is described by its object id: types and relations. Each server gives out its
//! own.

use super::{Name, Source, name, number, text, truth};
use crate::oids::{FIRST_OF_USERS, Made};

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Its name; of an array type that of its elements' type.
    pub name: Name,
    /// Whether it is the array type of that name.
    pub is_array: bool,
    /// Its object id.
    pub oid: u32,
    /// What it is made of.
    pub made: Made,
}

/// What has an object id of its own on each server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Types.
    pub types: Vec<Type>,
    /// Relations that columns of a result may come from.
    pub relations: Vec<(Name, u32)>,
}

/// What asks for them; see [`of_rows`].
pub const QUERY: &str = super::queries::TYPES;

/// Reads them. Errors: in words.
pub async fn read(source: &mut impl Source) -> Result<Objects, String> {
    Ok(of_rows(source.rows(QUERY).await?))
}

/// What the query's rows say.
pub fn of_rows(rows: Vec<crate::server::TextRow>) -> Objects {
    let mut objects = Objects::default();
    for mut row in rows {
        let (name, is_array, oid) = (name(&mut row, 0), truth(&mut row, 2), number(&mut row, 3));
        let (kind, of) = (text(&mut row, 4), number(&mut row, 5));
        if oid < FIRST_OF_USERS {
            continue;
        }
        let made = match kind.as_str() {
            "R" => {
                objects.relations.push((name, oid));
                continue;
            }
            "a" => Made::Array(of),
            "d" => Made::Domain(of),
            "c" => Made::Record,
            "r" => Made::Range(of),
            "m" => Made::Multirange(of),
            _ => Made::Plain,
        };
        objects.types.push(Type { name, is_array, oid, made });
    }
    objects
}
