//! Expressions over a row: by type, and of any.

use super::maker::{Maker, Names};
use super::types::T;

impl Maker {
    /// A number's expression. The type says how exact it is.
    pub fn number_of(&mut self, names: &Names, depth: usize) -> (String, T) {
        let Some((column, of)) = self.column(names, |of| matches!(of, T::Int | T::Small | T::Domain)) else {
            return (self.int(0, 9), T::Int);
        };
        let small = |this: &mut Self| {
            let column = this.column(names, |of| matches!(of, T::Small));
            column.map_or_else(|| this.int(0, 9), |(column, _)| column)
        };
        let sql = match self.below(16) {
            0..=6 => return (column, of),
            7 => format!("{} + {}", small(self), self.int(1, 5)),
            8 => format!("coalesce({column}, {})", self.int(-1, 3)),
            9 => format!("{column} % {}", self.int(2, 7)),
            10 => format!("-{}::int4", small(self)),
            11 if depth > 0 => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.condition(names, depth - 1),
                self.int(0, 2),
                self.int(0, 9)
            ),
            12 => {
                let (text, _) = self.text_of(names, 0);
                format!("length({text})")
            }
            13 => format!("greatest({column}, {})", self.int(-3, 3)),
            14 => format!("nullif({column}, {})", self.int(0, 4)),
            _ => format!("abs({}::int4)", small(self)),
        };
        (sql, T::Int)
    }

    /// A text's expression.
    pub fn text_of(&mut self, names: &Names, depth: usize) -> (String, T) {
        let of_text = |of: T| matches!(of, T::Text | T::TextC | T::TextDe | T::Varchar);
        let Some((column, of)) = self.column(names, of_text) else {
            return (self.value(T::Text), T::Text);
        };
        let sql = match self.below(14) {
            0..=5 => return (column, of),
            6 => format!("lower({column})"),
            7 => format!("coalesce({column}, {})", self.value(T::Text)),
            8 => format!("substring({column} FROM 1 FOR {})", self.int(1, 3)),
            9 => format!("{column} || {}", self.value(T::Text)),
            10 if depth > 0 => {
                let condition = self.condition(names, depth - 1);
                format!("CASE WHEN {condition} THEN 'yes' WHEN {column} IS NULL THEN 'none' END")
            }
            11 => {
                let (number, _) = self.number_of(names, 0);
                return (format!("({number})::text"), T::Text);
            }
            12 => format!("trim(both 'a' from {column})"),
            _ => format!("upper({column}) COLLATE \"C\""),
        };
        // Its collation is the column's, or none, where two of them meet.
        (sql, if of == T::Varchar { T::Text } else { of })
    }

    /// Any expression.
    pub fn expression(&mut self, names: &Names, depth: usize) -> (String, T) {
        match self.below(24) {
            22 | 23 => self.of_rare(names),
            0..=8 => self.column(names, |_| true).unwrap_or_else(|| (self.value(T::Int), T::Int)),
            9 | 10 => self.number_of(names, depth),
            11 | 12 => self.text_of(names, depth),
            13 => (format!("({})", self.condition(names, depth.min(1))), T::Bool),
            14 => self.of_dates(names),
            15 => self.of_containers(names),
            16 => self.of_numerics(names),
            17 => self.constant(),
            18 | 19 if depth > 0 => self.scalar_query(names, depth - 1),
            // Of characters that are filled up with blanks, some would be and some not.
            20 => match self.column(names, |of| of.sorts() && of != T::Char) {
                Some((column, of)) => {
                    let value = self.value(of);
                    (
                        format!("{}({column}, {value})", self.one(&["coalesce", "nullif", "coalesce"])),
                        plain(of),
                    )
                }
                None => (self.int(1, 9), T::Int),
            },
            _ => {
                let (value, of) =
                    self.column(names, |of| of != T::Point).unwrap_or_else(|| (self.int(1, 9), T::Int));
                self.textual |= of.is_numbered();
                // How it is written depends on nothing but its value; a text stays what it is.
                (format!("{value}::text"), if of.is_text() && of != T::Varchar { of } else { T::Text })
            }
        }
    }

    fn of_dates(&mut self, names: &Names) -> (String, T) {
        let Some((column, of)) = self.column(names, |of| matches!(of, T::Date | T::Ts | T::Tz | T::Interval))
        else {
            return (self.value(T::Date), T::Date);
        };
        let field = self.one(&["year", "month", "dow", "epoch", "quarter"]);
        match (self.below(4), of) {
            (0, T::Date) => (format!("{column} - {}", self.int(1, 40)), T::Date),
            (0, T::Interval) => (format!("justify_hours({column})"), T::Vague),
            (0, of) => (format!("date_trunc('{}', {column})", self.one(&["day", "month", "hour"])), of),
            (1, T::Tz) => (format!("{column} AT TIME ZONE '{}'", self.one(&["UTC", "Asia/Tokyo"])), T::Ts),
            (1, T::Ts) => (format!("{column}::date"), T::Date),
            (_, T::Interval) => (format!("extract(month from {column})"), T::Counted),
            _ => (format!("extract({field} from {column})"), T::Counted),
        }
    }

    fn of_containers(&mut self, names: &Names) -> (String, T) {
        use T::{Ints, Jsonb, Moods, Pair, Point, Range, Texts, Tsvector};
        let is =
            |of: T| matches!(of, Ints | Jsonb | Moods | Pair | Point | Range | Texts | Tsvector | T::Json);
        let Some((column, of)) = self.column(names, is) else { return self.constant() };
        match of {
            Ints => match self.below(4) {
                0 => (format!("{column}[1]"), T::Int),
                1 => (format!("cardinality({column})"), T::Int),
                2 => (format!("{column} || {}", self.int(1, 3)), Ints),
                _ => (format!("{column}[1:2]"), Ints),
            },
            Texts => (format!("array_length({column}, 1)"), T::Int),
            Jsonb => match self.below(3) {
                0 => (format!("{column} -> 'k'"), Jsonb),
                1 => (format!("{column} ->> 'k'"), T::Text),
                _ => (format!("jsonb_typeof({column})"), T::Text),
            },
            T::Json => (format!("{column} ->> 'k'"), T::Text),
            Moods => (format!("{column}[1]"), T::Mood),
            Pair => (format!("({column}).x"), T::Int),
            Point => (format!("{column} <-> point '(0,1)'"), T::Float),
            Range => (format!("upper({column})"), T::Int),
            _ => (format!("length({column})"), T::Int),
        }
    }

    fn of_numerics(&mut self, names: &Names) -> (String, T) {
        let Some((column, of)) = self.column(names, |of| matches!(of, T::Num | T::Price | T::Float | T::Big))
        else {
            return (self.value(T::Num), T::Num);
        };
        let other = self.column(names, |of| of == T::Price).map_or("0.5".to_owned(), |(column, _)| column);
        match (self.below(5), of) {
            (0, _) => (format!("{column}::numeric * 0.5"), T::Counted),
            (1, T::Float) => (format!("{column} * 2"), T::Float),
            (1, T::Price) => (format!("round({column}, 1)"), T::Counted),
            (2, T::Num) => (format!("{column} + {other}"), T::Counted),
            (2, T::Big) => (format!("{column} % 10"), T::Big),
            (3, T::Big) => (format!("twice({column} % 100)"), T::Big),
            (3, _) => (format!("sign({column})"), T::Counted),
            _ => (format!("{column} > 0"), T::Bool),
        }
    }

    /// What is the same for every row.
    pub fn constant(&mut self) -> (String, T) {
        match self.below(10) {
            0 => ("NULL".to_owned(), T::Text),
            1 => ("'text'".to_owned(), T::Text),
            2 => (self.int(-3, 70), T::Int),
            3 => ("true".to_owned(), T::Bool),
            4 => ("now() - now()".to_owned(), T::Interval),
            5 => ("random() < 2".to_owned(), T::Bool),
            6 => ("1.50".to_owned(), T::Counted),
            7 => ("current_date > '2000-01-01'".to_owned(), T::Bool),
            _ => {
                let of = *[T::Int, T::Big, T::Num, T::Text, T::Date, T::Mood, T::Ints, T::Inet]
                    .get(self.below(8))
                    .unwrap_or(&T::Int);
                (self.value(of), of)
            }
        }
    }
}

/// What comes out of functions that take any type: typmods and collations are gone.
fn plain(of: T) -> T {
    match of {
        T::Domain => T::Int,
        other => other,
    }
}
