//! Grouped SELECTs.

use super::maker::Maker;
use super::statement::{Select, Statement};
use super::types::T;

impl Maker {
    pub fn grouped(&mut self, depth: usize) -> Statement {
        let joins = self.joins();
        let (names, from) = self.from(depth, joins);
        let mut select = Select { from, ..Select::default() };
        select.conditions = self.conditions(&names, depth);
        let count = [0, 1, 1, 1, 2, 2][self.below(6)];
        let mut keys = Vec::new();
        for _ in 0..count {
            let key = match self.below(8) {
                0 => self.number_of(&names, 1),
                1 => self.text_of(&names, 1),
                _ => self.column(&names, T::sorts).unwrap_or_else(|| ("1 + 1".to_owned(), T::Int)),
            };
            // Values differ where they are parameters: what is selected is then not what is grouped by.
            if !key.0.contains('\u{2}') {
                self.textual |= key.1.is_numbered();
                keys.push(key);
            }
        }
        for (n, (key, of)) in keys.iter().enumerate() {
            let shown = n == 0 || self.chance(0.8);
            if shown {
                let item = self.named(key.clone());
                select.items.push(item);
                select.types.push(*of);
            }
            let place = select.items.len();
            select.group.push(if shown && self.chance(0.2) { place.to_string() } else { key.clone() });
        }
        for _ in 0..self.below(3) + usize::from(select.items.is_empty()) {
            let (sql, of) = self.aggregate(&names, depth);
            select.items.push(self.named(sql));
            select.types.push(of);
        }
        if !select.group.is_empty() {
            let by = select.group.join(", ");
            let (first, rest) = (keys[0].0.clone(), &select.group[1..]);
            let sets = match self.below(16) {
                0 => Some(format!("ROLLUP ({by})")),
                1 => Some(format!("GROUPING SETS (({by}), ())")),
                2 => Some(format!("CUBE ({by})")),
                3 => Some(format!("GROUPING SETS ({first}, ROLLUP ({by}))")),
                4 if !rest.is_empty() => Some(format!("{first}, ROLLUP ({})", rest.join(", "))),
                5 => Some(format!("DISTINCT ROLLUP ({by}), CUBE ({first})")),
                _ => None,
            };
            // One Postgres does not order rows by a column that is in the sets twice.
            let twice = keys.len() > 1 && keys[0].0 == keys[1].0;
            let plain = |key: &String| !key.starts_with(|c: char| c.is_ascii_digit());
            if let Some(sets) = sets.filter(|_| !twice && select.group.iter().all(plain)) {
                select.group = vec![sets];
                if self.chance(0.5) {
                    let of: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
                    select.items.push(format!("grouping({})", of.join(", ")));
                    select.types.push(T::Int);
                }
            }
            if self.chance(0.06) {
                select.items.push("count(*) OVER ()".to_owned());
                select.types.push(T::Big);
            }
        }
        if self.chance(0.25) {
            let (call, of) = self.aggregate(&names, 0);
            select.having.push(match of {
                T::Big | T::Int => format!("{call} > {}", self.int(0, 4)),
                _ => format!("{call} IS NOT NULL"),
            });
        }
        if self.chance(0.05) && select.types.iter().all(|of| of.sorts()) {
            select.distinct = "DISTINCT ".to_owned();
        }
        Statement::of(select)
    }
}
