//! Manufacturing jobs: large payloads, in a group of their own.

use crate::demo::ids::{Dice, Kind, configuration, moment};
use crate::demo::inserts::{Batch, Target};

const STATES: [&str; 4] = ["queued", "cutting", "assembly", "shipped"];
const TOOLS: [&str; 5] = ["saw", "router", "press", "drill", "sander"];

/// Steps of a job; they make its payload large.
const STEPS: usize = 24;

pub(super) fn jobs(jobs: usize, configurations: usize) -> Batch {
    let into = r#""ManufacturingJob" ("manufacturingJobId", "configurationId", status, priority, payload,
        "scheduledAt", "createdAt")"#;
    Target { table: "ManufacturingJob", into }.sharded(jobs, |n| vec![job(n, configurations)])
}

/// The n-th job's id.
pub(in crate::demo) fn job_id(n: usize) -> String {
    format!("job-{n:05}")
}

fn job(n: usize, configurations: usize) -> String {
    let mut dice = Dice::new(Kind::Job, n);
    let (of, state, priority) =
        (configuration(dice.below(configurations)), dice.pick(&STATES), dice.below(5));
    let mut step = || format!("{{\"tool\": \"{}\", \"minutes\": {}}}", dice.pick(&TOOLS), 5 + dice.below(90));
    let steps: Vec<String> = (0..STEPS).map(|_| step()).collect();
    format!(
        "'{id}', '{of}', '{state}', {priority}, '{{\"steps\": [{steps}]}}', '{planned}', '{made}'",
        id = job_id(n),
        steps = steps.join(", "),
        planned = moment(150_000 + n * 480),
        made = moment(140_000 + n * 480),
    )
}
