//! Users and what is theirs: sharded by user_id.

use super::catalog::{MODULES, module_id};
use crate::demo::ids::{Dice, Kind, moment, user, uuid};
use crate::demo::inserts::{Batch, Target};

const FIRST: [&str; 10] = ["Ada", "Ben", "Cleo", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "June"];
const LAST: [&str; 10] =
    ["Abel", "Brandt", "Costa", "Dahl", "Ekdal", "Fuchs", "Garcia", "Holm", "Ito", "Jansen"];
const TIERS: [&str; 5] = ["free", "free", "premium", "ultimate", "enthusiast"];
const PRESETS: [&str; 4] = ["weekend", "office", "family", "winter"];

/// Events and the credits they bring or take; one of each per user, in this order.
const EVENTS: [(&str, i32); 5] =
    [("grant", 100), ("deduct", -15), ("deduct", -30), ("refund", 15), ("rollover", 20)];

/// What is left after all events.
const BALANCE: i32 = 90;

pub(super) fn profiles(users: usize) -> Batch {
    let into = "user_profile (user_id, email, display_name, tier, balance, created_at)";
    Target { table: "user_profile", into }.sharded(users, |n| vec![profile(n)])
}

fn profile(n: usize) -> String {
    let mut dice = Dice::new(Kind::User, n);
    let (first, last, tier) = (dice.pick(&FIRST), dice.pick(&LAST), dice.pick(&TIERS));
    let (id, made) = (user(n), moment(n * 60));
    format!("'{id}', '{first}.{last}.{n}@example.com', '{first} {last}', '{tier}', {BALANCE}, '{made}'")
}

pub(super) fn designs(users: usize) -> Batch {
    let into = "saved_design (user_id, id, name, design, is_active, created_at, deleted_at)";
    let target = Target { table: "saved_design", into };
    target.sharded(users, |n| (0..3).map(|at| design(n, at)).collect())
}

/// The first of a user's designs may be a deleted one.
fn design(n: usize, at: usize) -> String {
    let mut dice = Dice::new(Kind::Design, n * 3 + at);
    let (module, made) = (module_id(dice.below(MODULES)), moment(100_000 + n * 60 + at));
    let deleted = at == 0 && dice.below(4) == 0;
    let deleted_at = if deleted { format!("'{made}'") } else { String::from("NULL") };
    format!(
        "'{user}', '{id}', 'Design {number}', '{{\"modules\": [\"{module}\"]}}', {active}, '{made}', \
         {deleted_at}",
        user = user(n),
        id = uuid(Kind::Design, n * 3 + at),
        number = at + 1,
        active = !deleted,
    )
}

pub(super) fn presets(users: usize) -> Batch {
    let into = "builder_preset (user_id, id, name, preset, created_at)";
    let target = Target { table: "builder_preset", into };
    target.sharded(users, |n| (0..1 + n % 2).map(|at| preset(n, at)).collect())
}

fn preset(n: usize, at: usize) -> String {
    let mut dice = Dice::new(Kind::Preset, n * 2 + at);
    let (name, module) = (dice.pick(&PRESETS), module_id(dice.below(MODULES)));
    let (user, id, made) = (user(n), uuid(Kind::Preset, n * 2 + at), moment(200_000 + n * 60 + at));
    format!("'{user}', '{id}', '{name}', '{{\"start\": \"{module}\"}}', '{made}'")
}

pub(super) fn ledger(users: usize) -> Batch {
    let into = "credit_ledger (user_id, id, event_type, amount, balance_after, description, idempotency_key, \
                created_at)";
    Target { table: "credit_ledger", into }.sharded(users, |n| {
        let mut balance = 0;
        let row = |(at, (event, amount))| {
            balance += amount;
            entry(n, at, event, amount, balance)
        };
        EVENTS.into_iter().enumerate().map(row).collect()
    })
}

fn entry(n: usize, at: usize, event: &str, amount: i32, balance: i32) -> String {
    let (user, id) = (user(n), uuid(Kind::Ledger, n * EVENTS.len() + at));
    let made = moment(50_000 + n * 60 + at * 10);
    format!("'{user}', '{id}', '{event}', {amount}, {balance}, '{event} of 2025', 'seed-{n}-{at}', '{made}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profiles_balance_is_its_ledgers_last() {
        assert_eq!(EVENTS.iter().map(|(_, amount)| amount).sum::<i32>(), BALANCE);
    }
}
