//! What the tour shows.

use super::data::{job_id, module_id};
use super::ids::{configuration, user};

/// One stop of the tour.
pub(super) struct Step {
    /// What it shows.
    pub(super) title: &'static str,
    /// The statements, in order.
    pub(super) statements: Vec<String>,
    /// What is done with them.
    pub(super) how: How,
}

/// How a step runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Each statement once, by itself.
    Once,
    /// Twice: the first may have to open a connection or fill the cache.
    Twice,
    /// Between BEGIN and COMMIT.
    Transaction,
    /// It is refused, and says why.
    Refused,
}

/// All stops.
pub(super) fn all() -> Vec<Step> {
    let mut steps = reads();
    steps.extend(writes());
    steps.extend(across());
    steps
}

fn reads() -> Vec<Step> {
    let (configuration, user, module, job) = (configuration(42), user(7), module_id(1), job_id(17));
    let snapshots = format!(
        r#"SELECT id, version, "moduleId", "totalPrice" FROM "ConfigurationSnapshot"
WHERE "configurationId" = '{configuration}' ORDER BY version"#
    );
    let profile =
        format!("SELECT display_name, email, tier, balance FROM user_profile WHERE user_id = '{user}'");
    let join = format!(
        r#"SELECT m.name, s."totalPrice", p.label, p.amount
FROM "ConfigurationSnapshot" s
JOIN "PricingAdjustment" p ON p."configurationId" = s."configurationId" AND p."snapshotId" = s.id
JOIN "CatalogModule" m ON m.id = s."moduleId"
WHERE s."configurationId" = '{configuration}' ORDER BY p.amount DESC"#
    );
    let reference = format!(r#"SELECT sku, name, "basePrice" FROM "CatalogModule" WHERE id = '{module}'"#);
    let workshop = format!(
        r#"SELECT "configurationId", status, priority FROM "ManufacturingJob"
WHERE "manufacturingJobId" = '{job}'"#
    );
    vec![
        step("A configuration, by its key", How::Twice, [snapshots]),
        step("A user's profile: another key, the same shards", How::Twice, [profile]),
        step(
            "A join on the key and with a reference table: it runs where the configuration is",
            How::Twice,
            [join],
        ),
        step("A reference table, on any shard; the second time from the cache", How::Twice, [reference]),
        step("A job of the workshop, in the group with shards of its own", How::Twice, [workshop]),
    ]
}

fn writes() -> Vec<Step> {
    let (author, owner) = (user(8), user(9));
    let insert = format!(
        r#"INSERT INTO builder_preset (user_id, name, preset)
VALUES ('{author}', 'tour', '{{"start": "mod-bed-l"}}')"#
    );
    let read = format!(
        "SELECT name, preset FROM builder_preset
WHERE user_id = '{author}' ORDER BY created_at DESC LIMIT 1"
    );
    let retire = format!("UPDATE saved_design SET is_active = false WHERE user_id = '{owner}' AND is_active");
    let save = format!(
        r#"INSERT INTO saved_design (user_id, name, design)
VALUES ('{owner}', 'Design of the tour', '{{"modules": ["mod-bed-l"]}}')"#
    );
    let list = format!(
        "SELECT name, is_active, created_at FROM saved_design
WHERE user_id = '{owner}' ORDER BY created_at DESC LIMIT 3"
    );
    vec![
        step("A write, and the read after it: no replica that lacks it answers", How::Once, [insert, read]),
        step("A transaction on one user's shard", How::Transaction, [retire, save, list]),
    ]
}

fn across() -> Vec<Step> {
    let newest = String::from(
        r#"SELECT "configurationId", version, "totalPrice", "createdAt" FROM "ConfigurationSnapshot"
ORDER BY "createdAt" DESC LIMIT 5"#,
    );
    let grouped =
        String::from(r#"SELECT "finishId", count(*) FROM "ConfigurationSnapshot" GROUP BY "finishId""#);
    let ranked = String::from(
        r#"SELECT "finishId", n, rank() OVER (ORDER BY n DESC) AS place
FROM (SELECT "finishId", count(*) AS n FROM "ConfigurationSnapshot" GROUP BY "finishId") AS finish LIMIT 3"#,
    );
    let everywhere = String::from(
        "UPDATE saved_design SET is_active = NOT is_active WHERE created_at < now() - interval '1 day'",
    );
    let unkept = String::from("CREATE UNIQUE INDEX ON saved_design (id)");
    vec![
        step("The newest of all shards: each sorts its own, the proxy merges", How::Twice, [newest]),
        step("Groups of all shards: each counts its own, the proxy adds up", How::Twice, [grouped]),
        step("What no shard can know alone: one of them works on the rows of all", How::Twice, [ranked]),
        step("A write on all shards: one transaction, all or nothing", How::Once, [everywhere]),
        step("What shards can't keep is refused, never guessed", How::Refused, [unkept]),
    ]
}

fn step<const N: usize>(title: &'static str, how: How, statements: [String; N]) -> Step {
    Step { title, statements: statements.into(), how }
}
