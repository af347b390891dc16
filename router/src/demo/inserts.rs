//! INSERT statements, each for rows of one key.

use std::fmt::Write;

/// Rows that go in by one statement.
pub(super) struct Insert {
    /// The statement.
    pub(super) sql: String,
    /// How many they are.
    pub(super) rows: usize,
}

/// One table's rows.
pub(super) struct Batch {
    /// The table, as people say it.
    pub(super) table: &'static str,
    /// What fills it, in any order.
    pub(super) inserts: Vec<Insert>,
    /// On how many shards each row is.
    pub(super) copies: u32,
}

impl Batch {
    /// Rows, each counted once.
    pub(super) fn rows(&self) -> usize {
        self.inserts.iter().map(|insert| insert.rows).sum::<usize>() / self.copies as usize
    }
}

/// A table and the columns that are given; both as SQL wants them spelled.
pub(super) struct Target {
    /// The table, as people say it.
    pub(super) table: &'static str,
    /// `INSERT INTO` this.
    pub(super) into: &'static str,
}

impl Target {
    /// A sharded table: one statement per key.
    pub(super) fn sharded(&self, keys: usize, rows_of: impl Fn(usize) -> Vec<String>) -> Batch {
        let rows = (0..keys).map(rows_of).filter(|rows| !rows.is_empty());
        let inserts = rows.map(|rows| self.insert("", &rows)).collect();
        Batch { table: self.table, inserts, copies: 1 }
    }

    /// A reference table: the same rows on every shard, sent there as told.
    pub(super) fn reference(&self, shards: u32, rows: &[String]) -> Batch {
        /// Statements of a size that a person would write.
        const AT_ONCE: usize = 50;
        let hints = (0..shards).map(|shard| format!("/* shard: {shard} */ "));
        let inserts =
            hints.flat_map(|hint| rows.chunks(AT_ONCE).map(move |rows| self.insert(&hint, rows))).collect();
        Batch { table: self.table, inserts, copies: shards }
    }

    fn insert(&self, hint: &str, rows: &[String]) -> Insert {
        let mut sql = format!("{hint}INSERT INTO {} VALUES ", self.into);
        for (at, row) in rows.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            // Writing to a String can't fail.
            let _ = write!(sql, "{comma}({row})");
        }
        Insert { sql, rows: rows.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target = Target { table: "t", into: "t (a)" };

    #[test]
    fn a_sharded_tables_statements_hold_one_key_each() {
        let batch = TARGET.sharded(3, |key| (0..key).map(|row| format!("'{key}.{row}'")).collect());
        let sql: Vec<&str> = batch.inserts.iter().map(|insert| insert.sql.as_str()).collect();
        assert_eq!(sql, ["INSERT INTO t (a) VALUES ('1.0')", "INSERT INTO t (a) VALUES ('2.0'), ('2.1')"]);
        assert_eq!(batch.rows(), 3);
    }

    #[test]
    fn a_reference_tables_rows_go_to_every_shard() {
        let batch = TARGET.reference(2, &["1".into(), "2".into()]);
        let sql: Vec<&str> = batch.inserts.iter().map(|insert| insert.sql.as_str()).collect();
        let expected = [
            "/* shard: 0 */ INSERT INTO t (a) VALUES (1), (2)",
            "/* shard: 1 */ INSERT INTO t (a) VALUES (1), (2)",
        ];
        assert_eq!(sql, expected);
        assert_eq!(batch.rows(), 2);
    }
}
