//! Names that came to stand for another kind of table than they did before: one was dropped, and another one made.
//!
//! Postgres itself looks a name up again for a statement that waits for a table. One that waits for a server has its
//! shards already, by the table that the name stood for when it was planned.

use super::{GroupId, Kind, Schema, Table};
use shardway_pool::catalog::Name;
use shardway_shardmap::KeyType;
use std::collections::HashMap;
use std::time::Instant;

/// Names that are remembered; when there are more, those of tables that are gone are forgotten.
const MAX_NAMES: usize = 50_000;

/// What a name has stood for last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stood {
    /// A sharded table with this key.
    Sharded(GroupId, String, KeyType),
    /// Any other, which has no key.
    Other(Kind),
}

/// What names have stood for, and when that changed.
#[derive(Debug, Default)]
pub struct Turned {
    known: HashMap<Name, Stood>,
    last: Option<Instant>,
}

impl Turned {
    /// A schema that holds from now on, or will soon.
    pub fn note(&mut self, schema: &Schema) {
        if schema.is_unsharded() {
            return;
        }
        let mut turned = false;
        for table in schema.tables() {
            let name = (table.schema.clone(), table.name.clone());
            // A view by what it is read like: one that says something else may well be as before.
            let now = stands(schema.as_read(table));
            turned |= self.known.insert(name, now.clone()).is_some_and(|before| before != now);
        }
        if self.known.len() > MAX_NAMES.max(2 * schema.tables().count()) {
            self.known.retain(|(of, name), _| schema.get(of, name).is_some());
            turned = true;
        }
        if turned {
            self.last = Some(Instant::now());
        }
    }

    /// Whether a name has come to stand for another kind of table since then.
    pub fn since(&self, then: Instant) -> bool {
        self.last.is_some_and(|last| last >= then)
    }
}

fn stands(table: &Table) -> Stood {
    match &table.kind {
        Kind::Sharded { group, key, key_type } => {
            Stood::Sharded(*group, table.columns[*key].name.clone(), *key_type)
        }
        kind => Stood::Other(kind.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Functions;
    use crate::schema::effects::SideEffects;
    use shardway_pool::catalog::Column;

    fn column(name: &str) -> Column {
        Column {
            name: name.into(),
            type_name: "int4".into(),
            type_oid: 23,
            type_kind: 'b',
            typmod: -1,
            byte_order: true,
            nondeterministic: false,
            has_default: false,
            default: None,
            from_sequence: false,
            generated: false,
        }
    }

    /// A schema with one table of these columns.
    fn of(columns: &[&str], kind: Kind) -> Schema {
        let table = Table {
            schema: "public".into(),
            name: "t".into(),
            kind,
            columns: columns.iter().map(|name| column(name)).collect(),
            has_triggers: false,
            cascades: false,
            has_row_security: false,
            triggers_act: false,
            uniques: Vec::new(),
            family: None,
            side_effects: SideEffects::default(),
            of_view: None,
        };
        Schema::of(vec![table], Functions::default(), vec![2])
    }

    fn by(key: usize) -> Kind {
        Kind::Sharded { group: GroupId(0), key, key_type: KeyType::Int4 }
    }

    #[test]
    fn a_name_that_stands_for_another_kind_has_turned_however_long_it_was_gone() {
        let gone = Schema::of(Vec::new(), Functions::default(), vec![2]);
        for (other, turns) in [
            (of(&["b", "a"], by(1)), false),
            (of(&["a", "b", "c"], by(0)), false),
            (of(&["a", "b"], by(1)), true),
            (of(&["a", "b"], Kind::Reference(GroupId(0))), true),
        ] {
            let begun = Instant::now();
            let mut turned = Turned::default();
            turned.note(&of(&["a", "b"], by(0)));
            turned.note(&gone);
            turned.note(&gone);
            assert!(!turned.since(begun));
            turned.note(&other);
            assert_eq!(turned.since(begun), turns);
        }
    }
}
