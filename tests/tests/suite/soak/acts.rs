//! What a client does between its transactions.

use rand::Rng;
use shardway_tests::{Param, RawClient};

use super::life::{Gone, Life};

impl Life {
    /// One thing or another; after it, the client is between two transactions.
    pub(super) async fn act(&mut self) -> Result<(), Gone> {
        match self.random.random_range(0..23) {
            0 => self.rows().await,
            1 => self.several_statements().await,
            2 => self.unnamed().await,
            3 | 4 => self.named().await,
            5 => self.pipeline().await,
            6 => self.flushed().await,
            7 => self.portal().await,
            8..=10 => self.transaction().await,
            11 | 12 => self.set_and_look().await,
            13 => self.copy_in().await,
            14 => self.copy_out().await,
            15 => self.error().await,
            16 => self.notice().await,
            17 => self.cancelled().await,
            18 => self.cancelled_too_late().await,
            19 => self.read_back().await,
            20 => self.keeps_state().await,
            21 => self.unnamed_again().await,
            _ => self.dies().await,
        }
    }

    /// Rows of one mark: a few, or more than a buffer holds.
    async fn rows(&mut self) -> Result<(), Gone> {
        let mark = self.mark();
        let (count, width) = if self.one_in(5) { (8, 30_000) } else { (self.random.random_range(0..20), 1) };
        let reply = self
            .ask(&format!(
                "SELECT '{mark}', repeat('x', {width}), pg_sleep(0.0005) FROM generate_series(1, {count})"
            ))
            .await?;
        self.is_marks(&reply, &vec![mark; count]);
        Ok(())
    }

    async fn several_statements(&mut self) -> Result<(), Gone> {
        let (one, two, three) = (self.mark(), self.mark(), self.mark());
        let fails = self.one_in(2);
        let last = if fails { "::int" } else { "" };
        let reply = self.ask(&format!("SELECT '{one}'; SELECT '{two}'; SELECT '{three}'{last}")).await?;
        self.is_marks(&reply, &[one, two, three]);
        assert!(!fails || reply.error().is_some(), "{reply:?}");
        Ok(())
    }

    async fn unnamed(&mut self) -> Result<(), Gone> {
        let mark = self.mark();
        let text = mark.to_string();
        let param = if self.one_in(2) { Param::Text(&text) } else { Param::Binary(text.as_bytes()) };
        self.says(format!("SELECT $1 of {mark}"));
        self.raw.parse("", "SELECT $1::text, 'unnamed'", &[]).bind("", "", &[param], &[]);
        self.raw.describe_portal("").execute("", 0).sync();
        let reply = self.hear().await?;
        self.is_marks(&reply, &[mark]);
        Ok(())
    }

    /// The unnamed statement stays until the next Parse or Query, whatever other clients do on the same servers.
    async fn unnamed_again(&mut self) -> Result<(), Gone> {
        let of = self.mark();
        self.says(format!("an unnamed statement of {of}"));
        self.raw.parse("", &format!("SELECT '{of}', $1::text"), &[]).sync();
        if self.hear().await?.error().is_some() {
            return Ok(());
        }
        for _ in 0..3 {
            let mark = self.mark();
            self.pause(4).await;
            self.says(format!("the unnamed statement of {of} with {mark}"));
            self.raw.bind("", "", &[Param::Text(&mark.to_string())], &[]).execute("", 0).sync();
            let reply = self.hear().await?;
            self.is_marks(&reply, &[of]);
            let lost = reply.error().and_then(|error| error.field('C'));
            assert_ne!(lost.as_deref(), Some("26000"), "{reply:?}");
        }
        Ok(())
    }

    /// Everybody has statements of these names: some of the same text, some of their own.
    async fn named(&mut self) -> Result<(), Gone> {
        let at = self.random.random_range(0..self.statements.len());
        let (mark, name) = (self.mark(), format!("s{at}"));
        if let Some(of) = self.statements[at]
            && self.one_in(4)
        {
            self.says(format!("Close of {of}"));
            if self.one_in(3) {
                self.raw.query(&format!("DEALLOCATE {name}"));
            } else {
                self.raw.close_statement(&name).sync();
            }
            return match self.hear().await?.error() {
                Some(_) => Err(Gone),
                None => {
                    self.statements[at] = None;
                    Ok(())
                }
            };
        }
        if self.statements[at].is_none() {
            let sql = match at {
                0 | 1 => format!("SELECT $1::text AS a, {at} AS b"),
                _ => format!("SELECT '{mark}' AS a, $1::text AS b"),
            };
            self.says(sql.clone());
            self.raw.parse(&name, &sql, &[]).describe_statement(&name).sync();
            if self.hear().await?.error().is_some() {
                return Ok(());
            }
            self.statements[at] = Some(mark);
        }
        let of = self.statements[at].unwrap_or(mark);
        self.says(format!("Bind of {of} with {mark}"));
        self.raw.bind("", &name, &[Param::Text(&mark.to_string())], &[]).execute("", 0).sync();
        let reply = self.hear().await?;
        self.is_marks(&reply, &[if at < 2 { mark } else { of }]);
        Ok(())
    }

    async fn pipeline(&mut self) -> Result<(), Gone> {
        let marks: Vec<_> = (0..self.random.random_range(2..6)).map(|_| self.mark()).collect();
        self.says(format!("a pipeline of {marks:?}"));
        for mark in &marks {
            if self.one_in(2) {
                self.raw.query(&format!("SELECT '{mark}'"));
            } else {
                self.raw
                    .parse("", &format!("SELECT '{mark}'"), &[])
                    .bind("", "", &[], &[])
                    .execute("", 0)
                    .sync();
            }
        }
        for mark in marks {
            let reply = self.hear().await?;
            self.is_marks(&reply, &[mark]);
        }
        Ok(())
    }

    async fn flushed(&mut self) -> Result<(), Gone> {
        let (one, two) = (self.mark(), self.mark());
        self.says(format!("Flush between {one} and {two}"));
        let cast = if self.one_in(3) { "::int" } else { "" };
        self.raw
            .parse("", &format!("SELECT '{one}'{cast}"), &[])
            .bind("", "", &[], &[])
            .execute("", 0)
            .flush();
        self.raw.send_anyway().await;
        self.pause(5).await;
        if self.one_in(6) {
            return Err(Gone);
        }
        self.raw.parse("", &format!("SELECT '{two}'"), &[]).bind("", "", &[], &[]).execute("", 0).sync();
        let reply = self.hear().await?;
        self.is_marks(&reply, &[one, two]);
        Ok(())
    }

    /// A portal that is fetched from in pieces, in a transaction.
    async fn portal(&mut self) -> Result<(), Gone> {
        let mark = self.mark();
        self.ask("BEGIN").await?;
        self.says(format!("a portal of {mark}"));
        let sql = format!("{}SELECT '{mark}' FROM generate_series(1, 5)", self.hint());
        self.raw.parse("", &sql, &[]).bind("p", "", &[], &[]).execute("p", 2).sync();
        let reply = self.hear().await?;
        self.is_marks(&reply, &[mark; 2]);
        if self.one_in(4) {
            return Err(Gone);
        }
        if reply.error().is_none() {
            self.raw.execute("p", 0).sync();
            let reply = self.hear().await?;
            self.is_marks(&reply, &[mark; 3]);
        }
        let end = if self.one_in(2) { "COMMIT" } else { "ROLLBACK" };
        self.is_idle(end).await
    }

    /// Ends a transaction; afterwards there is none, unless the connection is of no more use.
    pub(super) async fn is_idle(&mut self, end: &str) -> Result<(), Gone> {
        let reply = self.ask(end).await?;
        if reply.status() == 'I' { Ok(()) } else { Err(Gone) }
    }

    async fn copy_out(&mut self) -> Result<(), Gone> {
        let (mark, count) = (self.mark(), self.random.random_range(0..50));
        let sql = format!("{}COPY (SELECT '{mark}' FROM generate_series(1, {count})) TO STDOUT", self.hint());
        let reply = self.ask(&sql).await?;
        if reply.error().is_none() {
            let lines: Vec<_> = reply.of('d').map(|line| line.body.clone()).collect();
            assert_eq!(lines, vec![format!("{mark}\n"); count], "{sql}");
        }
        Ok(())
    }

    async fn error(&mut self) -> Result<(), Gone> {
        let mark = self.mark();
        let reply = match self.random.random_range(0..3) {
            0 => self.ask(&format!("SELECT '{mark}'::int")).await?,
            1 => self.ask(&format!("SELECT {mark}")).await?,
            _ => {
                self.says(format!("Bind of {mark}, which is not there"));
                self.raw.bind("", &mark.to_string(), &[], &[]).execute("", 0).sync();
                self.hear().await?
            }
        };
        assert!(reply.error().is_some(), "{reply:?}");
        Ok(())
    }

    async fn notice(&mut self) -> Result<(), Gone> {
        let mark = self.mark();
        let sql = format!("{}SELECT say('{mark}')", self.hint());
        let reply = self.ask(&sql).await?;
        self.is_marks(&reply, &[mark]);
        let own = |notice: &shardway_tests::Message| notice.field('M') == Some(mark.to_string());
        assert!(reply.error().is_some() || reply.of('N').any(own), "{reply:?}");
        Ok(())
    }

    async fn cancelled(&mut self) -> Result<(), Gone> {
        let mark = self.mark();
        self.says(format!("a sleep of {mark}"));
        self.ear.cancelled = true;
        let sql = format!("{}SELECT '{mark}', pg_sleep(0.2)", self.hint());
        self.raw.query(&sql).send_anyway().await;
        self.pause(20).await;
        if self.one_in(8) {
            return Err(Gone);
        }
        self.cancel().await;
        let reply = self.hear().await?;
        self.is_marks(&reply, &[mark]);
        Ok(())
    }

    /// The cancel may find the statement done, and the server with somebody else.
    async fn cancelled_too_late(&mut self) -> Result<(), Gone> {
        let mark = self.mark();
        self.says(format!("a quick one of {mark}"));
        self.ear.cancelled = true;
        self.raw.query(&format!("SELECT '{mark}'")).send_anyway().await;
        self.cancel().await;
        let reply = self.hear().await?;
        self.is_marks(&reply, &[mark]);
        Ok(())
    }

    async fn cancel(&mut self) {
        self.run.tally.add("cancels");
        RawClient::cancel(self.run.world.proxy().port(), self.raw.cancel_key()).await;
    }

    /// Dies within a message, or with its answer under way.
    async fn dies(&mut self) -> Result<(), Gone> {
        let mark = self.mark();
        let user = self.ear.client;
        match self.random.random_range(0..4) {
            0 => self.raw.query(&format!("SELECT '{mark}', repeat('x', 20000) FROM generate_series(1, 100)")),
            1 => self
                .raw
                .parse("s9", &format!("SELECT '{mark}'"), &[])
                .bind("", "s9", &[], &[])
                .execute("", 0)
                .sync(),
            2 => self.raw.query(&format!(
                "BEGIN; INSERT INTO item VALUES ({user}, '{mark}', 'never'); SELECT '{mark}'"
            )),
            _ => self.raw.query("BEGIN").query(&format!("SET application_name = '{mark}'")).query("SELECT 1"),
        };
        if self.one_in(2) {
            let bytes = self.random.random_range(0..=self.raw.unsent().len());
            self.raw.cut_short(bytes);
        }
        self.raw.send_anyway().await;
        self.pause(4).await;
        self.run.tally.add("deaths");
        Err(Gone)
    }
}
