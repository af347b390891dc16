//! Rows in pairs: what a transaction writes is there as a whole, or not at all.

use rand::Rng;
use shardway_tests::{Param, Reply};

use super::{
    Fate,
    judge::{Mark, marks},
    life::{Gone, Life},
};

impl Life {
    /// A transaction around a pair, with a detour that is undone.
    pub(super) async fn transaction(&mut self) -> Result<(), Gone> {
        let (pair, other) = (self.mark(), self.mark());
        let fate = self.write_pair(pair, other).await;
        if let Ok(Fate::Committed) = fate {
            self.written = Some(pair);
        }
        self.run.record(pair, *fate.as_ref().unwrap_or(&Fate::Unknown));
        fate.map(drop)
    }

    async fn write_pair(&mut self, pair: Mark, other: Mark) -> Result<Fate, Gone> {
        let begin = if self.one_in(3) { "BEGIN ISOLATION LEVEL REPEATABLE READ" } else { "BEGIN" };
        self.ask(begin).await?;
        let mut failed = self.insert(pair, pair).await?;
        if !failed && self.one_in(3) {
            failed = self.detour().await?;
        }
        if !failed && self.one_in(12) {
            // It vanishes before it asks for COMMIT.
            self.run.record(pair, Fate::RolledBack);
            self.run.tally.add("vanished in a transaction");
            return Err(Gone);
        }
        failed = failed || self.insert(other, pair).await?;
        let commits = !self.one_in(4);
        let reply = self.ask(if commits { "COMMIT" } else { "ROLLBACK" }).await?;
        if reply.status() != 'I' {
            return Err(Gone);
        }
        Ok(match reply.commands().first().map(String::as_str) {
            Some("COMMIT") => {
                assert!(commits && !failed, "a failed transaction of {pair} was committed: {reply:?}");
                Fate::Committed
            }
            Some("ROLLBACK") => Fate::RolledBack,
            _ if commits => Fate::Unknown,
            _ => Fate::RolledBack,
        })
    }

    /// A savepoint, an error behind it, and back. Whether the transaction has failed.
    async fn detour(&mut self) -> Result<bool, Gone> {
        let mark = self.mark();
        if self.ask("SAVEPOINT a").await?.error().is_some() {
            return Ok(true);
        }
        self.ask(&format!("SELECT '{mark}'::int")).await?;
        let reply = self.ask("ROLLBACK TO a").await?;
        Ok(reply.status() != 'T')
    }

    /// Whether that failed.
    async fn insert(&mut self, mark: Mark, pair: Mark) -> Result<bool, Gone> {
        let (user, text) = (self.ear.client, mark.to_string());
        let reply = if self.one_in(2) {
            self.ask(&format!("INSERT INTO item VALUES ({user}, '{text}', '{pair}') RETURNING mk")).await?
        } else {
            self.says(format!("an INSERT of {mark}"));
            let sql = "INSERT INTO item VALUES ($1, $2, $3) RETURNING mk";
            let params = [&*user.to_string(), &text, &pair.to_string()].map(str::to_owned);
            let params = params.each_ref().map(|param| Param::Text(param));
            self.raw.parse("", sql, &[]).bind("", "", &params, &[]).execute("", 0).sync();
            self.hear().await?
        };
        self.is_marks(&reply, &[mark]);
        Ok(reply.error().is_some())
    }

    /// A pair by COPY; it may think better of it.
    pub(super) async fn copy_in(&mut self) -> Result<(), Gone> {
        let (pair, other) = (self.mark(), self.mark());
        self.says(format!("a COPY of {pair}"));
        let fate = self.copy_pair(pair, other).await;
        self.run.record(pair, *fate.as_ref().unwrap_or(&Fate::Unknown));
        fate.map(drop)
    }

    async fn copy_pair(&mut self, pair: Mark, other: Mark) -> Result<Fate, Gone> {
        let user = self.ear.client;
        self.raw.query("COPY item FROM STDIN");
        // With or without waiting for the server's word.
        if self.one_in(2) {
            self.raw.send_anyway().await;
            self.pause(3).await;
        }
        self.raw.copy_data(format!("{user}\t{pair}\t{pair}\n").as_bytes());
        if self.one_in(2) {
            self.raw.send_anyway().await;
            self.pause(3).await;
        }
        self.raw.copy_data(format!("{user}\t{other}\t{pair}\n").as_bytes());
        let end = self.random.random_range(0..8);
        match end {
            0 => {
                self.raw.send_anyway().await;
                self.run.record(pair, Fate::RolledBack);
                return Err(Gone);
            }
            1 => self.raw.copy_fail(&pair.to_string()),
            _ => self.raw.copy_done(),
        };
        let reply = self.hear().await?;
        Ok(match reply.error() {
            None => Fate::Committed,
            Some(_) if end == 1 => Fate::RolledBack,
            Some(_) => Fate::Unknown,
        })
    }

    /// What it was told is written it reads, wherever it reads it from.
    async fn read_what_it_wrote(&mut self, pair: Mark) -> Result<(), Gone> {
        let user = self.ear.client;
        let reply = self
            .ask(&format!("SELECT mk, pair FROM item WHERE user_id = {user} AND pair = '{pair}'"))
            .await?;
        self.rows_are_own(&reply);
        assert!(reply.error().is_some() || reply.rows().len() == 2, "not all of {pair}: {reply:?}");
        Ok(())
    }

    /// Its rows, from one shard by their key, or from all.
    pub(super) async fn read_back(&mut self) -> Result<(), Gone> {
        if let Some(pair) = self.written
            && self.one_in(2)
        {
            return self.read_what_it_wrote(pair).await;
        }
        let user = self.ear.client;
        let own = format!("mk LIKE 'mk{user}n%'");
        let sql = match self.random.random_range(0..8) {
            0 => format!("SELECT mk, pair FROM item WHERE user_id = {user} ORDER BY mk LIMIT 30"),
            1 => format!("SELECT mk, pair FROM item WHERE {own} ORDER BY mk LIMIT 30"),
            2 => format!("SELECT min(mk), max(pair) FROM item WHERE {own} HAVING count(*) > 0"),
            3 => format!("SELECT pair, min(mk) FROM item WHERE {own} GROUP BY pair LIMIT 20"),
            // What no shard can answer by itself.
            4 => {
                format!("SELECT a.mk, b.pair FROM item a JOIN item b ON a.pair = b.mk WHERE a.{own} LIMIT 10")
            }
            5 => format!("SELECT mk, max(pair) OVER (PARTITION BY pair) FROM item WHERE {own} LIMIT 10"),
            6 => format!(
                "SELECT min(mk), max(pair), count(DISTINCT pair) FROM item WHERE {own} HAVING count(*) > 0"
            ),
            _ => format!(
                "SELECT mk, pair FROM item WHERE pair IN (SELECT pair FROM item WHERE {own} GROUP BY pair HAVING count(*) > 1)"
            ),
        };
        let reply = self.ask(&sql).await?;
        self.rows_are_own(&reply);
        Ok(())
    }

    fn rows_are_own(&self, reply: &Reply) {
        let own = |row: &shardway_tests::Message| {
            let marks = marks(&row.body);
            marks.len() == 2 && marks.iter().all(|mark| mark.client == self.ear.client)
        };
        assert!(reply.of('D').all(own), "{reply:?}");
    }
}
