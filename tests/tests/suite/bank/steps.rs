//! What a transfer is made of: texts to be sent in turn, in one of many forms.

use rand::{Rng, rngs::StdRng};

use super::ACCOUNTS;

/// Money that moves: accounts and what each is given. It sums up to nothing.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) name: String,
    parts: Vec<(i32, i64)>,
}

/// One message of it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) text: String,
    /// Whether it may commit.
    pub(super) commits: bool,
}

impl Step {
    fn plain(text: impl Into<String>) -> Step {
        Step { text: text.into(), commits: false }
    }

    fn last(text: impl Into<String>) -> Step {
        Step { text: text.into(), commits: true }
    }
}

impl Transfer {
    /// Between two accounts, or three.
    pub(super) fn random(name: String, random: &mut StdRng) -> Transfer {
        let mut accounts = Vec::new();
        while accounts.len() < if random.random_ratio(1, 4) { 3 } else { 2 } {
            let account = random.random_range(1..=ACCOUNTS);
            if !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        let amount = random.random_range(1..50);
        let takers = accounts.len() as i64 - 1;
        let part = |(at, &account)| (account, if at == 0 { -amount * takers } else { amount });
        Transfer { name, parts: accounts.iter().enumerate().map(part).collect() }
    }

    /// Between these.
    pub(super) fn of(name: String, parts: Vec<(i32, i64)>) -> Transfer {
        Transfer { name, parts }
    }

    /// In a transaction, a statement for each message.
    pub(super) fn step_by_step(&self) -> Vec<Step> {
        let statements = self.statements().into_iter().map(Step::plain);
        std::iter::once(Step::plain("BEGIN")).chain(statements).chain([Step::last("COMMIT")]).collect()
    }

    /// Its statements, account by account.
    fn statements(&self) -> Vec<String> {
        let name = &self.name;
        let of = |(account, amount): &(i32, i64)| {
            [
                format!("UPDATE account SET balance = balance + {amount} WHERE user_id = {account}"),
                format!("INSERT INTO receipt VALUES ({account}, '{name}', {amount})"),
            ]
        };
        self.parts.iter().flat_map(of).collect()
    }

    /// The same by statements that each speak of all accounts.
    fn wide_statements(&self) -> Vec<String> {
        let cases: String =
            self.parts.iter().map(|(account, amount)| format!("WHEN {account} THEN {amount} ")).collect();
        let accounts: Vec<_> = self.parts.iter().map(|(account, _)| account.to_string()).collect();
        let row = |(account, amount): &(i32, i64)| format!("({account}, '{}', {amount})", self.name);
        let rows: Vec<_> = self.parts.iter().map(row).collect();
        vec![
            format!(
                "UPDATE account SET balance = balance + CASE user_id {cases}END WHERE user_id IN ({})",
                accounts.join(", ")
            ),
            format!("INSERT INTO receipt VALUES {}", rows.join(", ")),
        ]
    }

    /// In one of many forms, and the form's name.
    pub(super) fn steps(&self, random: &mut StdRng) -> (&'static str, Vec<Step>) {
        let statements = if random.random_ratio(1, 4) { self.wide_statements() } else { self.statements() };
        let plain = || statements.iter().map(Step::plain);
        let begun = || std::iter::once(Step::plain("BEGIN")).chain(plain());
        match random.random_range(0..8) {
            0 => ("one text", vec![Step::last(statements.join("; "))]),
            1 => {
                ("one text with BEGIN", vec![Step::last(format!("BEGIN; {}; COMMIT", statements.join("; ")))])
            }
            2 => {
                let detour = ["SAVEPOINT a", "DELETE FROM account WHERE user_id = 1", "ROLLBACK TO a"];
                let detour = detour.into_iter().map(Step::plain);
                ("savepoint", begun().chain(detour).chain([Step::last("COMMIT")]).collect())
            }
            3 => ("rolled back", begun().chain([Step::plain("ROLLBACK")]).collect()),
            4 => {
                let twice = Step::plain(statements[statements.len() - 1].clone());
                ("failed", begun().chain([twice, Step::last("COMMIT")]).collect())
            }
            5 => {
                let (first, rest) = (self.parts[0].0, self.parts[1].0);
                let lock =
                    |account| format!("SELECT balance FROM account WHERE user_id = {account} FOR UPDATE");
                let locks = [Step::plain("BEGIN"), Step::plain(lock(first)), Step::plain(lock(rest))];
                ("locks first", locks.into_iter().chain(plain()).chain([Step::last("COMMIT")]).collect())
            }
            _ => ("step by step", self.step_by_step()),
        }
    }
}
