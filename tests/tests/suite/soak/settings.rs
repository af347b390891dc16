//! Settings and other state of a session: what the client put there, and nothing else.

use rand::Rng;

use super::life::{Gone, Life};

/// The parameters that clients set, with what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// What RESET goes back to.
    startup: [String; 4],
    now: [String; 4],
}

const NAMES: [&str; 4] = ["application_name", "app.mk", "TimeZone", "lock_timeout"];

impl Settings {
    pub(super) fn new(name: &str) -> Settings {
        let startup = [name, "", "UTC", "0"].map(str::to_owned);
        Settings { now: startup.clone(), startup }
    }
}

const LOOK: &str = "SELECT current_setting('application_name'), coalesce(current_setting('app.mk', true), ''), \
    current_setting('TimeZone'), current_setting('lock_timeout')";

impl Life {
    /// Changes a setting, for good or for a transaction, and sees that all are as they should be.
    pub(super) async fn set_and_look(&mut self) -> Result<(), Gone> {
        match self.random.random_range(0..6) {
            0 => self.look().await?,
            1 => self.undo_a_setting().await?,
            2 => {
                let at = self.random.random_range(0..NAMES.len());
                self.must(&format!("RESET {}", NAMES[at])).await?;
                self.settings.now[at] = self.settings.startup[at].clone();
            }
            3 => {
                self.must("RESET ALL").await?;
                self.settings.now = self.settings.startup.clone();
            }
            _ => {
                let (at, value) = self.some_setting();
                self.must(&format!("SET {} = '{value}'", NAMES[at])).await?;
                self.settings.now[at] = value;
            }
        }
        self.look().await
    }

    fn some_setting(&mut self) -> (usize, String) {
        let mark = self.mark().to_string();
        match self.random.random_range(0..NAMES.len()) {
            0 => {
                self.ear.names.push(mark.clone());
                (0, mark)
            }
            1 => (1, mark),
            2 => {
                let zone = ["Asia/Tokyo", "Europe/Berlin", "UTC"][self.random.random_range(0..3)].to_owned();
                self.ear.zones.push(zone.clone());
                (2, zone)
            }
            // Each client has its own.
            _ => (3, format!("{}s", self.ear.client * 61 + 1)),
        }
    }

    /// What is set in a transaction that is rolled back, or for it alone, is gone afterwards.
    async fn undo_a_setting(&mut self) -> Result<(), Gone> {
        let (at, value) = self.some_setting();
        let (local, end) = if self.one_in(2) { ("LOCAL ", "COMMIT") } else { ("", "ROLLBACK") };
        self.must("BEGIN").await?;
        self.must(&format!("SET {local}{} = '{value}'", NAMES[at])).await?;
        let before = std::mem::replace(&mut self.settings.now[at], value);
        self.look().await?;
        self.settings.now[at] = before;
        self.must(end).await
    }

    /// What fails leaves doubt, and a client in doubt connects anew.
    async fn must(&mut self, sql: &str) -> Result<(), Gone> {
        match self.ask(sql).await?.error() {
            Some(_) => Err(Gone),
            None => Ok(()),
        }
    }

    async fn look(&mut self) -> Result<(), Gone> {
        let sql = format!("{}{LOOK}", self.hint());
        let reply = self.ask(&sql).await?;
        if reply.error().is_some() {
            return if reply.status() == 'I' { Ok(()) } else { Err(Gone) };
        }
        let got: Vec<_> = reply.texts().0.into_iter().flatten().map(Option::unwrap_or_default).collect();
        let expected: Vec<_> = self.settings.now.iter().map(|value| minutes(value)).collect();
        assert_eq!(got, expected, "the settings of client {}", self.ear.client);
        Ok(())
    }

    /// Temporary tables, statements of SQL's own, channels: names that everybody uses.
    pub(super) async fn keeps_state(&mut self) -> Result<(), Gone> {
        let mark = self.mark();
        let key = self.ear.client;
        let [make, fill, read, end] = match self.random.random_range(0..5) {
            0 => [
                "CREATE TEMP TABLE tmp (mk text)".to_owned(),
                format!("INSERT INTO tmp VALUES ('{mark}')"),
                "SELECT mk FROM tmp".to_owned(),
                "DROP TABLE tmp".to_owned(),
            ],
            1 => [
                format!("PREPARE p AS SELECT '{mark}'"),
                String::new(),
                "EXECUTE p".to_owned(),
                "DEALLOCATE p".to_owned(),
            ],
            2 => [
                format!("LISTEN {mark}"),
                format!("NOTIFY {mark}, '{mark}'"),
                format!("SELECT '{mark}'"),
                "UNLISTEN *".to_owned(),
            ],
            3 => [
                format!("SELECT pg_advisory_lock({key})"),
                String::new(),
                format!(
                    "SELECT '{mark}' FROM pg_locks WHERE locktype = 'advisory' AND objid = {key} AND granted AND pid = pg_backend_pid()"
                ),
                "SELECT pg_advisory_unlock_all()".to_owned(),
            ],
            _ => [
                format!("DECLARE c CURSOR WITH HOLD FOR SELECT '{mark}'"),
                String::new(),
                "FETCH ALL FROM c".to_owned(),
                "CLOSE c".to_owned(),
            ],
        };
        let what: String =
            make.split(' ').take(2).collect::<Vec<_>>().join(" ").replace(char::is_numeric, "");
        if let Some(error) = self.ask(&make).await?.error() {
            // Where it is not supported, or its server was lost on the way.
            let refused = error.field('C').as_deref() == Some("0A000");
            return if refused { Ok(()) } else { Err(Gone) };
        }
        self.run.tally.add(format!("state by {what}"));
        self.must(&fill).await?;
        self.pause(3).await;
        let reply = self.ask(&read).await?;
        if reply.error().is_some() || self.one_in(4) {
            return Err(Gone);
        }
        self.is_marks(&reply, &[mark]);
        self.must(&end).await
    }
}

/// Seconds as Postgres shows them.
fn minutes(value: &str) -> String {
    match value.strip_suffix('s').and_then(|seconds| seconds.parse::<u32>().ok()) {
        Some(seconds) if seconds % 60 == 0 => format!("{}min", seconds / 60),
        _ => value.to_owned(),
    }
}
