//! A client's lives: it connects, does this and that, and goes, politely or not.

use std::time::Duration;

use rand::{Rng, rngs::StdRng};
use shardway_tests::{DATABASE, Message, PASSWORD, RawClient, Reply};
use tokio::time::{sleep, timeout};

use super::{
    Run,
    judge::{Ear, Mark},
    settings::Settings,
};

/// The longest that a client waits for what it asked.
const ANSWERED: Duration = Duration::from_secs(9);

/// The connection is over, or of no more use.
#[derive(Debug)]
pub(super) struct Gone;

/// One connection of a client.
pub(super) struct Life {
    pub(super) run: &'static Run,
    pub(super) raw: RawClient,
    pub(super) random: StdRng,
    pub(super) ear: Ear,
    pub(super) settings: Settings,
    /// What its named statements answer with, besides the parameter.
    pub(super) statements: [Option<Mark>; 4],
    /// What it has written, as it was told.
    pub(super) written: Option<Mark>,
    life: u32,
    last: u32,
    /// What it said last, for failures.
    said: String,
}

/// All lives of a client, until the run is over.
pub(super) async fn of(run: &'static Run, client: u32, mut random: StdRng) {
    for number in 1.. {
        if run.is_over() {
            return;
        }
        let Some(mut life) = Life::begin(run, client, number, random.clone()).await else {
            sleep(Duration::from_millis(random.random_range(1..20))).await;
            continue;
        };
        run.tally.add("lives");
        let end = life.live().await;
        random = life.random.clone();
        if end.is_ok() {
            life.leave().await;
        }
    }
}

impl Life {
    async fn begin(run: &'static Run, client: u32, life: u32, random: StdRng) -> Option<Life> {
        let name = Mark { client, life, number: 0 }.to_string();
        let mut raw = RawClient::connect(run.world.proxy().port()).await;
        let startup =
            [("user", "app"), ("database", DATABASE), ("application_name", &*name), ("TimeZone", "UTC")];
        let mut ear = Ear { client, cancelled: false, zones: vec!["UTC".into()], names: vec![name.clone()] };
        if let Err(refusal) = raw.try_login(&startup, PASSWORD).await {
            // There is no server to greet it.
            ear.cancelled = false;
            ear.judge(&Reply(vec![refusal]), &[], "the startup message");
            run.tally.add("logins refused");
            return None;
        }
        assert_eq!(raw.parameter("application_name").unwrap_or(&name), name, "the greeting");
        assert_eq!(raw.parameter("TimeZone"), Some("UTC"), "the greeting");
        let settings = Settings::new(&name);
        let (statements, said) = ([None; 4], String::new());
        Some(Life { run, raw, random, ear, settings, statements, written: None, life, last: 0, said })
    }

    async fn live(&mut self) -> Result<(), Gone> {
        // Who waits for a session's server waits for its client to go.
        let most = if self.run.scene.mode == "session" { 8 } else { 40 };
        for _ in 0..self.random.random_range(1..most) {
            if self.run.is_over() {
                break;
            }
            self.act().await?;
        }
        Ok(())
    }

    async fn leave(mut self) {
        match self.random.random_range(0..3) {
            0 => {
                self.raw.terminate().send_anyway().await;
                let reply = self.raw.rest().await;
                self.ear.judge(&reply, self.raw.unread(), "Terminate");
            }
            1 => self.raw.reset(),
            _ => self.raw.hang_up(),
        }
    }

    /// A mark for what is said next.
    pub(super) fn mark(&mut self) -> Mark {
        self.last += 1;
        Mark { client: self.ear.client, life: self.life, number: self.last }
    }

    /// One in so many.
    pub(super) fn one_in(&mut self, many: u32) -> bool {
        self.random.random_ratio(1, many)
    }

    pub(super) async fn pause(&mut self, most: u64) {
        let pause = Duration::from_micros(self.random.random_range(0..=most * 1000));
        sleep(pause).await;
    }

    /// A hint where a statement has no key, so that it runs on any one shard.
    pub(super) fn hint(&mut self) -> String {
        match self.run.scene.shards {
            1 => String::new(),
            shards => format!("/* shard: {} */ ", self.random.random_range(0..shards)),
        }
    }

    /// The answer to a Query.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Reply, Gone> {
        self.raw.query(sql);
        self.said = sql.to_owned();
        self.hear().await
    }

    /// The answer to what was put together, up to the first ReadyForQuery.
    pub(super) async fn hear(&mut self) -> Result<Reply, Gone> {
        let Ok(reply) = timeout(ANSWERED, self.raw.rest()).await else {
            panic!("no answer to {:?} for {ANSWERED:?}; {}", self.said, self.run.standing().await)
        };
        self.ear.judge(&reply, self.raw.unread(), &self.said);
        let error = reply.error().and_then(|error| error.field('C'));
        self.run.tally.add(error.map_or("answers".to_owned(), |code| format!("error {code}")));
        match reply.last() {
            Some(Message { tag: b'Z', .. }) => Ok(reply),
            _ => {
                self.run.tally.add("cut off");
                Err(Gone)
            }
        }
    }

    /// Says what comes next, for failures.
    pub(super) fn says(&mut self, what: impl Into<String>) {
        self.said = what.into();
    }

    /// The answer's first column is these marks, and nothing else.
    pub(super) fn is_marks(&self, reply: &Reply, expected: &[Mark]) {
        if reply.error().is_some() {
            return;
        }
        let expected: Vec<_> = expected.iter().map(|mark| Some(mark.to_string())).collect();
        let got: Vec<_> = reply.texts().0.into_iter().map(|row| row.into_iter().next().flatten()).collect();
        assert_eq!(got, expected, "client {} after {}: {reply:?}", self.ear.client, self.said);
    }
}
