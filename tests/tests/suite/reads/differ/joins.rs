//! FROM: relations and their joins, by ON, USING and NATURAL, and LATERAL.

use super::maker::{Maker, Names, Relation};
use super::types::T;

impl Maker {
    /// FROM: the first relation and what is joined to it.
    pub fn from(&mut self, depth: usize, joins: usize) -> (Names, Vec<String>) {
        let (first, text) = self.relation(depth);
        let (mut names, mut from) = (vec![first], vec![text]);
        for _ in 0..joins {
            let (joined, text) = self.relation(depth);
            if let Some((join, merged)) = self.merging(&names, &joined, &text) {
                from.push(join);
                names.push(joined);
                // Of a third relation's column of that name it would not be known which one is meant.
                names.extend(merged.filter(|_| joins == 1));
                continue;
            }
            let both: Names = names.iter().cloned().chain([joined.clone()]).collect();
            let on = self.link(&names, &joined);
            let more = match self.below(6) {
                0 => format!(" AND {}", self.condition(&vec![joined.clone()], 0)),
                1 => format!(" AND {}", self.condition(&both, depth.min(1))),
                _ => String::new(),
            };
            from.push(match self.below(15) {
                0..=4 => format!("JOIN {text} ON {on}{more}"),
                5..=7 => format!("LEFT JOIN {text} ON {on}{more}"),
                8 => format!("RIGHT JOIN {text} ON {on}{more}"),
                9 => format!("FULL JOIN {text} ON {on}"),
                10 => format!("LEFT OUTER JOIN {text} ON {}", self.condition(&vec![joined.clone()], 0)),
                11 if depth > 0 => {
                    let (lateral, text) = self.lateral(&names);
                    names.push(lateral);
                    from.push(text);
                    continue;
                }
                12 => format!("FULL OUTER JOIN {text} ON {on}{more}"),
                _ => format!("INNER JOIN {text} ON {on}{more}"),
            });
            names.push(joined);
        }
        (names, from)
    }

    /// What joins a relation to those before it: most often the key, or an id.
    pub fn link(&mut self, names: &Names, joined: &Relation) -> String {
        let whole = |of: T| matches!(of, T::Int | T::Big | T::Small);
        if let (Some(key), true) = (&joined.key, self.chance(0.45)) {
            let mine = joined.reference(key);
            let keyed = names.iter().find_map(|relation| Some((relation, relation.key.as_ref()?)));
            if let Some((relation, other)) =
                keyed.filter(|(_, other)| (*other == key) || key.starts_with('u'))
            {
                let cast = if other.starts_with('"') && !key.starts_with('"') { "::text" } else { "" };
                return format!("{mine}{cast} = {}", relation.reference(other));
            }
        }
        // Most often by columns that have such values, now and then by any numbers.
        let any = self.chance(0.2);
        let small = |relations: &[Relation]| -> Names {
            let alike = |(name, of): &(String, T)| {
                whole(*of) && (any || !matches!(name.as_str(), "s" | "big" | "dom" | "value" | "a"))
            };
            let of = |relation: &Relation| Relation {
                columns: relation.columns.iter().filter(|column| alike(column)).cloned().collect(),
                ..relation.clone()
            };
            relations.iter().map(of).collect()
        };
        let mine = self.column(&small(std::slice::from_ref(joined)), whole);
        match (mine, self.column(&small(names), whole)) {
            (Some((mine, _)), Some((other, _))) => format!("{mine} = {other}"),
            _ => "true".to_owned(),
        }
    }

    fn lateral(&mut self, outer: &Names) -> (Relation, String) {
        let (inner, from) = self.relation(0);
        let condition = self.correlated(outer, &inner);
        let alias = self.alias();
        let (number, _) = self.number_of(&vec![inner], 0);
        let sql = match self.below(4) {
            0 => format!(
                "CROSS JOIN LATERAL (SELECT count(*)::int AS n FROM {from} WHERE {condition}) {alias}"
            ),
            1 => format!(
                "LEFT JOIN LATERAL (SELECT {number} AS n FROM {from} WHERE {condition} ORDER BY 1 LIMIT 2) {alias} ON true"
            ),
            2 => {
                let value = self.int(1, 3);
                format!(
                    "CROSS JOIN LATERAL (VALUES ({value}), (length({}::text))) {alias} (n)",
                    self.any(outer)
                )
            }
            _ => format!(", LATERAL (SELECT max({number}) AS n FROM {from} WHERE {condition}) AS {alias}"),
        };
        let columns = vec![("n".to_owned(), T::Int)];
        (Relation { label: alias, columns, key: None, unique: None }, sql)
    }

    /// Any column in sight, or a number where there is none.
    fn any(&mut self, names: &Names) -> String {
        self.column(names, |_| true).map_or("7".to_owned(), |(column, _)| column)
    }

    /// A join by USING or NATURAL, now and then, if both sides have columns for it; and what it merges.
    fn merging(
        &mut self,
        names: &Names,
        joined: &Relation,
        text: &str,
    ) -> Option<(String, Option<Relation>)> {
        let natural = self.chance(0.04);
        if !natural && !self.chance(0.12) {
            return None;
        }
        let owners = |column: &str| {
            let mut all = names.iter().flat_map(|relation| relation.columns.iter());
            let first = all.find(|(name, _)| name == column).map(|(_, of)| *of);
            first.filter(|_| !all.any(|(name, _)| name == column))
        };
        let shared: Vec<(String, T, T)> = (joined.columns.iter())
            .filter_map(|(name, of)| Some((name.clone(), *of, owners(name)?)))
            .collect();
        let whole = |of: T| matches!(of, T::Int | T::Big | T::Small);
        let fits = |(_, one, other): &&(String, T, T)| {
            one == other && one.has_equality() || whole(*one) && whole(*other)
        };
        let side = self.one(&["", "LEFT ", "RIGHT ", "FULL ", "INNER ", "LEFT OUTER "]);
        if natural {
            let twice = |(name, ..): &(String, T, T)| {
                joined.columns.iter().filter(|(other, _)| other == name).count() > 1
            };
            let all = !shared.is_empty() && shared.len() < 6 && shared.iter().all(|column| fits(&column));
            return (all && !shared.iter().any(twice)).then(|| (format!("NATURAL {side}JOIN {text}"), None));
        }
        let fitting: Vec<&(String, T, T)> = shared.iter().filter(fits).collect();
        let keyed = fitting.iter().find(|(name, ..)| joined.key.as_ref() == Some(name)).copied();
        let other = fitting.get(self.below(fitting.len())).copied()?;
        let mut using = vec![keyed.filter(|_| self.chance(0.5)).unwrap_or(other)];
        if other.0 != using[0].0 && self.chance(0.3) {
            using.push(other);
        }
        let columns: Vec<&str> = using.iter().map(|(name, ..)| name.as_str()).collect();
        let wider = |(one, other): (T, T)| if one == T::Big || other == T::Big { T::Big } else { one };
        let merged = using.iter().map(|(name, one, other)| (name.clone(), wider((*one, *other)))).collect();
        let key = columns.iter().find(|column| joined.key.as_deref() == Some(**column));
        let join = format!("{side}JOIN {text} USING ({})", columns.join(", "));
        let key = key.map(|key| (*key).to_owned());
        Some((join, Some(Relation { key, ..Relation::merged(merged) })))
    }
}
