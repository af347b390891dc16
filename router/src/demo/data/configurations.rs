//! What people put together: sharded by "configurationId", so that one configuration's rows are on one shard.

use super::catalog::{self, base_price, finish_id, finishes_count, module_id, surcharge};
use crate::demo::ids::{Dice, Kind, configuration, moment, money};
use crate::demo::inserts::{Batch, Target};

/// Numbers per embedding, as the table's column has it.
const DIMENSIONS: usize = 8;

const ADJUSTMENTS: [(&str, i64); 5] = [
    ("early bird", -2500),
    ("installation", 4900),
    ("extended warranty", 8900),
    ("loyalty", -1500),
    ("rush", 12_000),
];

const IDEAS: [&str; 6] = [
    "add a skylight",
    "use a lighter finish",
    "raise the bed",
    "turn the galley",
    "add a rack",
    "drop the oven",
];

pub(super) fn snapshots(configurations: usize) -> Batch {
    let into = r#""ConfigurationSnapshot" ("configurationId", id, version, "moduleId", "finishId", selections,
        "totalPrice", "createdAt")"#;
    let target = Target { table: "ConfigurationSnapshot", into };
    target.sharded(configurations, |n| (1..=2).map(|version| snapshot(n, version)).collect())
}

/// The second version has the adjustments in its price.
fn snapshot(n: usize, version: usize) -> String {
    let mut dice = Dice::new(Kind::Snapshot, n);
    let (module, finish, seats) =
        (dice.below(catalog::MODULES), dice.below(finishes_count()), dice.below(4) + 1);
    let adjusted: i64 = if version == 2 { chosen(n).iter().map(|(_, cents)| cents).sum() } else { 0 };
    format!(
        "'{id}', '{id}-v{version}', {version}, '{module}', '{finish}', '{{\"seats\": {seats}}}', {price}, \
         '{made}'",
        id = configuration(n),
        module = module_id(module),
        finish = finish_id(finish),
        price = money(base_price(module) + surcharge(finish) + adjusted),
        made = moment(10_000 + n * 120 + version * 7),
    )
}

/// A configuration's adjustments: three that follow each other, so that none comes twice.
fn chosen(n: usize) -> [(&'static str, i64); 3] {
    let first = Dice::new(Kind::Adjustment, n).below(ADJUSTMENTS.len());
    [0, 1, 2].map(|at| ADJUSTMENTS[(first + at) % ADJUSTMENTS.len()])
}

pub(super) fn adjustments(configurations: usize) -> Batch {
    let into = r#""PricingAdjustment" ("configurationId", id, "snapshotId", label, amount, "createdAt")"#;
    Target { table: "PricingAdjustment", into }.sharded(configurations, |n| {
        let (id, made) = (configuration(n), moment(10_000 + n * 120 + 10));
        let row = |(at, (label, cents)): (usize, (&str, i64))| {
            format!("'{id}', '{id}-adj-{at}', '{id}-v2', '{label}', {}, '{made}'", money(cents))
        };
        chosen(n).into_iter().enumerate().map(row).collect()
    })
}

pub(super) fn suggestions(configurations: usize) -> Batch {
    let into =
        r#""AiSuggestion" ("configurationId", id, model, suggestion, confidence, accepted, "createdAt")"#;
    let target = Target { table: "AiSuggestion", into };
    target.sharded(configurations, |n| (0..1 + n % 2).map(|at| suggestion(n, at)).collect())
}

fn suggestion(n: usize, at: usize) -> String {
    let mut dice = Dice::new(Kind::Suggestion, n * 2 + at);
    let (idea, percent, accepted) =
        (dice.pick(&IDEAS), dice.below(100), dice.pick(&["true", "false", "NULL"]));
    let (id, made) = (configuration(n), moment(10_000 + n * 120 + 20 + at));
    format!(
        "'{id}', '{id}-ai-{at}', 'planner-1', '{{\"idea\": \"{idea}\"}}', 0.{percent:02}, {accepted}, \
         '{made}'"
    )
}

pub(super) fn embeddings(configurations: usize) -> Batch {
    let into = r#""DesignEmbedding" ("configurationId", id, model, embedding, "createdAt")"#;
    let target = Target { table: "DesignEmbedding", into };
    target.sharded(configurations, |n| if n % 2 == 0 { vec![embedding(n)] } else { Vec::new() })
}

fn embedding(n: usize) -> String {
    let mut dice = Dice::new(Kind::Embedding, n);
    let numbers: Vec<String> = (0..DIMENSIONS).map(|_| format!("0.{:04}", dice.below(10_000))).collect();
    let (id, made) = (configuration(n), moment(10_000 + n * 120 + 30));
    // The column is a vector or an array; an array can be assigned to both.
    format!("'{id}', '{id}-emb', 'embed-8', '{{{}}}'::double precision[], '{made}'", numbers.join(","))
}
