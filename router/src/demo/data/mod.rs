//! The shop's rows: a catalog of camper furniture, configurations of it, people, and jobs for the workshop.
//!
//! Everything is made of this module's own words and numbers, none of which holds a quote.

mod catalog;
mod configurations;
mod people;
mod workshop;

use super::inserts::Batch;

pub(super) use catalog::module_id;
pub(super) use workshop::job_id;

/// Configurations; each has a few rows in each of its tables.
pub(super) const CONFIGURATIONS: usize = 1000;
/// Users; each has a few rows in each of their tables.
pub(super) const USERS: usize = 1000;
/// Jobs of the workshop.
pub(super) const JOBS: usize = 500;
/// Shards of the group that holds the catalog.
const SHARDS: u32 = 4;

/// Every table's rows, in an order that foreign keys allow.
pub(super) fn batches() -> impl Iterator<Item = Batch> {
    // Made one by one: only one table's statements are in memory.
    let makers: [fn() -> Batch; 12] = [
        || catalog::modules(SHARDS),
        || catalog::finishes(SHARDS),
        || catalog::sprites(SHARDS),
        || configurations::snapshots(CONFIGURATIONS),
        || configurations::adjustments(CONFIGURATIONS),
        || configurations::suggestions(CONFIGURATIONS),
        || configurations::embeddings(CONFIGURATIONS),
        || people::profiles(USERS),
        || people::designs(USERS),
        || people::presets(USERS),
        || people::ledger(USERS),
        || workshop::jobs(JOBS, CONFIGURATIONS),
    ];
    makers.into_iter().map(|make| make())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_the_rows_it_should_have() {
        let rows: Vec<(&str, usize)> = batches().map(|batch| (batch.table, batch.rows())).collect();
        let expected = [
            ("CatalogModule", 200),
            ("CatalogFinish", 40),
            ("ModuleSprite", 600),
            ("ConfigurationSnapshot", 2000),
            ("PricingAdjustment", 3000),
            ("AiSuggestion", 1500),
            ("DesignEmbedding", 500),
            ("user_profile", 1000),
            ("saved_design", 3000),
            ("builder_preset", 1500),
            ("credit_ledger", 5000),
            ("ManufacturingJob", 500),
        ];
        assert_eq!(rows, expected);
    }
}
