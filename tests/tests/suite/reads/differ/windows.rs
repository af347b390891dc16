//! Window functions, and the frames that they look at.

use super::maker::{Maker, Names};
use super::types::T;

impl Maker {
    /// A window function. `by` are columns that tell all rows apart, if there are such; `named` are the windows that have names.
    pub fn window(&mut self, names: &Names, by: Option<&str>, named: &mut Vec<String>) -> (String, T) {
        let (number, of) = self.number_of(names, 0);
        let part = match self.column(names, T::sorts) {
            Some((column, _)) if self.chance(0.6) => format!("PARTITION BY {column} "),
            _ => String::new(),
        };
        // A name for what the rows are parted by; the order is each function's own.
        let part = if named.is_empty() && self.chance(0.15) {
            named.push(format!("\"W\" AS ({part})"));
            "\"W\" ".to_owned()
        } else {
            part
        };
        let order = self.column(names, T::sorts).map_or("1".to_owned(), |(column, _)| column);
        let down = self.one(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
        match by.filter(|_| self.chance(0.6)) {
            Some(by) => self.of_rows(names, &(number, of), &part, &order, by),
            None => self.of_peers(names, &(number, of), &part, &format!("{order}{down}")),
        }
    }

    /// Functions that see the same of rows whose order is told by nothing.
    fn of_peers(
        &mut self,
        names: &Names,
        (number, of): &(String, T),
        part: &str,
        order: &str,
    ) -> (String, T) {
        let groups = self.frame("GROUPS", &["1", "2", "0"]);
        let ranges = self.frame("RANGE", &["1", "2", "0", "40"]);
        let days = self.frame("RANGE", &["INTERVAL '1 month'", "'10 days'", "INTERVAL '0'"]);
        let times = |of: T| matches!(of, T::Date | T::Ts | T::Tz);
        let time = self.column(names, times).map(|(column, _)| column);
        let function = self.one(&["count", "sum", "min", "max", "avg"]);
        let total = match function {
            "min" | "max" => *of,
            "avg" => T::Counted,
            _ => T::Big,
        };
        match self.below(14) {
            0 => (format!("rank() OVER ({part}ORDER BY {order})"), T::Big),
            1 => (format!("dense_rank() OVER ({part}ORDER BY {order})"), T::Big),
            2 => (format!("percent_rank() OVER ({part}ORDER BY {order})"), T::Float),
            3 => (format!("cume_dist() OVER ({part}ORDER BY {order})"), T::Float),
            4 => (format!("count(*) OVER ({part})"), T::Big),
            5 => (format!("sum({number}) OVER ({part}ORDER BY {order})"), T::Big),
            6 => (format!("max({number}) OVER ({part}ORDER BY {order})"), *of),
            7 | 8 => (format!("{function}({number}) OVER ({part}ORDER BY {order} {groups})"), total),
            9 => {
                let down = self.one(&["", " DESC"]);
                (format!("{function}({number}) OVER ({part}ORDER BY {number}{down} {ranges})"), total)
            }
            10 => match time {
                Some(time) => (format!("count({number}) OVER ({part}ORDER BY {time} {days})"), T::Big),
                None => (format!("count({number}) OVER ({part}ORDER BY {order})"), T::Big),
            },
            11 => {
                let (call, of) = (format!("count(*) FILTER (WHERE {number} > 1)"), T::Big);
                (format!("{call} OVER ({part}ORDER BY {order} {groups})"), of)
            }
            12 => (format!("first_value({number}) OVER ({part}ORDER BY {number})"), *of),
            _ => (
                format!("{function}({number}) OVER ({part}ORDER BY {order} RANGE UNBOUNDED PRECEDING)"),
                total,
            ),
        }
    }

    /// Functions over rows in a whole order.
    fn of_rows(
        &mut self,
        names: &Names,
        (number, of): &(String, T),
        part: &str,
        order: &str,
        by: &str,
    ) -> (String, T) {
        let rows = self.frame("ROWS", &["1", "2", "0", "100"]);
        let (any, kind) = self.column(names, |of| !of.is_numbered()).unwrap_or((number.clone(), *of));
        let place = self.one(&["first_value", "last_value"]);
        match self.below(11) {
            0 => (format!("row_number() OVER ({part}ORDER BY {by})"), T::Big),
            1 => (format!("lag({number}) OVER ({part}ORDER BY {order}, {by})"), *of),
            2 => (format!("lead({number}, 2, 0) OVER ({part}ORDER BY {by} DESC)"), T::Int),
            3 => (format!("ntile(3) OVER ({part}ORDER BY {by})"), T::Int),
            4 => (format!("{place}({any}) OVER ({part}ORDER BY {order}, {by} {rows})"), kind),
            5 => (format!("nth_value({any}, 2) OVER ({part}ORDER BY {by} {rows})"), kind),
            6 => (format!("avg({number}) OVER ({part}ORDER BY {by} {rows})"), T::Counted),
            7 => (format!("string_agg({number}::text, ',') OVER ({part}ORDER BY {by} {rows})"), T::Text),
            8 => (format!("array_agg({number}::int4) OVER ({part}ORDER BY {order}, {by} {rows})"), T::Ints),
            9 => {
                (format!("sum({number}) OVER ({part}ORDER BY {by}) - sum({number}) OVER ({part})"), T::Vague)
            }
            _ => (format!("lag({any}, 1) OVER ({part}ORDER BY {by})"), kind),
        }
    }

    /// A frame. Now and then it ends before it begins, which Postgres refuses.
    fn frame(&mut self, mode: &str, by: &[&str]) -> String {
        let (one, two) = (self.one(by).to_owned(), self.one(by).to_owned());
        let bounds = match self.below(9) {
            0 => format!("{one} PRECEDING"),
            1 => "UNBOUNDED PRECEDING".to_owned(),
            2 => format!("BETWEEN {one} PRECEDING AND {two} FOLLOWING"),
            3 => "BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING".to_owned(),
            4 => format!("BETWEEN CURRENT ROW AND {one} FOLLOWING"),
            5 => format!("BETWEEN {one} PRECEDING AND {two} PRECEDING"),
            6 => format!("BETWEEN {one} FOLLOWING AND UNBOUNDED FOLLOWING"),
            7 => "BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_owned(),
            _ => "CURRENT ROW".to_owned(),
        };
        let but = match self.below(8) {
            0 => " EXCLUDE CURRENT ROW",
            1 => " EXCLUDE GROUP",
            2 => " EXCLUDE TIES",
            3 => " EXCLUDE NO OTHERS",
            _ => "",
        };
        // Which of its peers a row is, nothing tells where only these are ordered.
        let but = if mode != "ROWS" && but.ends_with("ROW") { " EXCLUDE GROUP" } else { but };
        format!("{mode} {bounds}{but}")
    }
}
