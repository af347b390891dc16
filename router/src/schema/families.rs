//! Tables that share rows: a partitioned table with its partitions, one that is inherited from with its heirs. A write
//! to one of them may change what a read of another one sees.

use shardway_pool::catalog::Catalog;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A relation's schema and name.
type Name = (String, String);

/// The families, each in order of its members' names. Relations of one name are one relation here, in whichever group
/// they are.
pub(super) fn of(catalogs: &[Catalog]) -> Vec<BTreeSet<Name>> {
    let mut heads: HashMap<Name, Name> = HashMap::new();
    for relation in catalogs.iter().flat_map(|catalog| &catalog.relations) {
        for parent in &relation.parents {
            let own = head(&heads, &(relation.schema.clone(), relation.name.clone()));
            let theirs = head(&heads, parent);
            if own != theirs {
                heads.insert(own, theirs);
            }
        }
    }
    let mut families: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
    for name in heads.keys() {
        let head = head(&heads, name);
        let family = families.entry(head.clone()).or_default();
        family.insert(head);
        family.insert(name.clone());
    }
    families.into_values().collect()
}

/// Who stands for a relation's family so far.
fn head(heads: &HashMap<Name, Name>, name: &Name) -> Name {
    let mut at = name;
    while let Some(next) = heads.get(at) {
        at = next;
    }
    at.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shardway_pool::catalog::Relation;

    fn relation(name: &str, parents: &[&str]) -> Relation {
        Relation {
            schema: "s".into(),
            name: name.into(),
            kind: 'r',
            columns: Vec::new(),
            has_triggers: false,
            cascades_to: Vec::new(),
            parents: parents.iter().map(|parent| ("s".into(), (*parent).into())).collect(),
            has_row_security: false,
            triggers_act: false,
            uniques: Vec::new(),
        }
    }

    #[test]
    fn whoever_shares_rows_is_of_one_family_whatever_the_order() {
        let family =
            [("heir", &["middle"][..]), ("alone", &[]), ("middle", &["root", "other"]), ("b", &["other"])];
        let rest = [("root", &[][..]), ("other", &[]), ("x", &["y"]), ("y", &[])];
        let mut relations: Vec<_> =
            family.iter().chain(&rest).map(|(name, parents)| relation(name, parents)).collect();
        for _ in 0..relations.len() {
            relations.rotate_left(1);
            let catalog = Catalog { relations: relations.clone(), ..Catalog::default() };
            let found = of(&[catalog]);
            let mut names: Vec<Vec<&str>> =
                found.iter().map(|family| family.iter().map(|(_, name)| name.as_str()).collect()).collect();
            names.sort();
            assert_eq!(names, [&["b", "heir", "middle", "other", "root"][..], &["x", "y"]]);
        }
    }
}
