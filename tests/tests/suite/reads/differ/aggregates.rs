//! Aggregates.

use super::maker::{Maker, Names};
use super::types::T;

impl Maker {
    /// An aggregate whose outcome hangs on nothing but the rows, not on the order they come in.
    pub fn aggregate(&mut self, names: &Names, depth: usize) -> (String, T) {
        let (call, of) = self.call(names);
        if self.chance(0.15) {
            return (format!("{call} FILTER (WHERE {})", self.condition(names, depth.min(1))), of);
        }
        match (self.below(14), of) {
            (0, of) if of.is_text() => (format!("coalesce({call}, 'none')"), T::Text),
            (0, T::Int | T::Big | T::Counted) => (format!("coalesce({call}, 0) + 1"), of),
            (1, T::Big) => (format!("{call} % 7 = 1"), T::Bool),
            (2, T::Int | T::Big | T::Bool | T::Date) => (format!("{call}::text"), T::Text),
            (3, T::Big) => (format!("CASE WHEN {call} > 3 THEN 'many' ELSE 'few' END"), T::Text),
            _ => (call, of),
        }
    }

    fn call(&mut self, names: &Names) -> (String, T) {
        let (number, of) = self.number_of(names, 0);
        let (any, kind) = self.column(names, |of| of.sorts()).unwrap_or((number.clone(), of));
        self.textual |= kind.is_numbered();
        match self.below(40) {
            34 => {
                let (other, _) = self.text_of(names, 0);
                let how = self.one(&["rank", "dense_rank", "percent_rank", "cume_dist"]);
                let down = self.one(&["", " DESC NULLS LAST"]);
                (
                    format!("{how}({}, 'b') WITHIN GROUP (ORDER BY {number}{down}, {other})", self.int(0, 9)),
                    T::Vague,
                )
            }
            35 => (format!("percentile_cont(ARRAY[0, 0.5, 1]) WITHIN GROUP (ORDER BY {number})"), T::Vague),
            36 => {
                self.textual |= kind.is_own();
                (
                    format!("percentile_disc(ARRAY[0.1, 0.9, NULL]) WITHIN GROUP (ORDER BY {any} DESC)"),
                    T::Vague,
                )
            }
            37 => match self.column(names, |of| matches!(of, T::Range | T::Other(_)) && of.is_range()) {
                Some((column, _)) => {
                    (format!("{}({column})", self.one(&["range_agg", "range_intersect_agg"])), T::Vague)
                }
                None => ("count(*)".to_owned(), T::Big),
            },
            38 => {
                let (key, _) = self.column(names, T::sorts).unwrap_or((number.clone(), of));
                let object = self.one(&["jsonb_object_agg", "json_object_agg"]);
                (format!("{object}(coalesce({key}::text, '-'), {number} ORDER BY {key}, {number})"), T::Vague)
            }
            39 => {
                let call = self.one(&["bit_and", "bit_or", "bit_xor"]);
                match self.column(names, |of| of == T::Bit) {
                    Some((column, _)) => (format!("{call}({column})"), T::Bit),
                    None => (format!("{call}({number}::int8)"), T::Big),
                }
            }
            0..=4 => ("count(*)".to_owned(), T::Big),
            5 | 6 => (format!("count({any})"), T::Big),
            7 | 8 => (format!("count(DISTINCT {any})"), T::Big),
            9 | 10 => (format!("sum({number})"), T::Big),
            11 => (format!("sum(DISTINCT {number})"), T::Big),
            12 | 13 => (format!("avg({number})"), T::Counted),
            14..=16 => {
                let (column, of) = self.column(names, T::has_max).unwrap_or((number, of));
                let of = if of == T::Domain { T::Int } else { of };
                (format!("{}({column})", self.one(&["min", "max"])), of)
            }
            17 => match self.column(names, |of| of.adds() && of != T::Float && of != T::Real) {
                Some((column, T::Money)) => (format!("sum({column})"), T::Money),
                Some((column, _)) => (format!("{}({column})", self.one(&["sum", "avg"])), T::Vague),
                None => (format!("sum({number})"), T::Big),
            },
            18 => match self.column(names, |of| matches!(of, T::Float | T::Real)) {
                Some((column, of)) => (format!("{}({column})", self.one(&["sum", "avg", "max"])), of),
                None => (format!("count({number})"), T::Big),
            },
            19 => {
                let (text, _) = self.text_of(names, 0);
                (format!("{}({text})", self.one(&["min", "max"])), T::Text)
            }
            20 => (format!("{}({number} > 2)", self.one(&["bool_or", "bool_and", "every"])), T::Bool),
            21 => (format!("{}({number}::int4)", self.one(&["bit_and", "bit_or", "bit_xor"])), T::Int),
            22 => {
                let call =
                    self.one(&["stddev", "variance", "stddev_pop", "var_samp", "var_pop", "stddev_samp"]);
                (format!("{call}({number})"), T::Vague)
            }
            23 => {
                let (other, _) = self.number_of(names, 0);
                let call = self.one(&[
                    "covar_pop",
                    "covar_samp",
                    "corr",
                    "regr_slope",
                    "regr_r2",
                    "regr_avgx",
                    "regr_sxy",
                ]);
                // Floats that are added up in another order differ in their last digits.
                (format!("round({call}({number} % 100, {other} % 100)::numeric, 6)"), T::Vague)
            }
            24 => (format!("regr_count({number}, {number})"), T::Big),
            25 => (format!("string_agg({any}::text, ',' ORDER BY {any}::text COLLATE \"C\")"), T::TextC),
            26 => {
                let (text, _) = self.text_of(names, 0);
                (format!("string_agg(DISTINCT {text}, '/' ORDER BY {text} DESC)"), T::Text)
            }
            27 => (format!("array_agg(({number})::int4 ORDER BY {number} DESC NULLS LAST)"), T::Ints),
            28 => (format!("{}({any} ORDER BY {any})", self.one(&["json_agg", "jsonb_agg"])), T::Vague),
            29 => (format!("array_agg(DISTINCT {any})"), T::Vague),
            30 => (
                format!(
                    "percentile_cont({}) WITHIN GROUP (ORDER BY {number})",
                    self.one(&["0.5", "0.25", "1"])
                ),
                T::Float,
            ),
            31 => (
                format!("percentile_disc({}) WITHIN GROUP (ORDER BY {any})", self.one(&["0.5", "0", "0.9"])),
                kind,
            ),
            32 => (format!("mode() WITHIN GROUP (ORDER BY {any})"), kind),
            _ => (
                format!(
                    "{}({}) WITHIN GROUP (ORDER BY {number})",
                    self.one(&["rank", "dense_rank", "cume_dist"]),
                    self.int(0, 9)
                ),
                T::Vague,
            ),
        }
    }
}
