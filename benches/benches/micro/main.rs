//! Micro benchmarks of the pure code that every statement and every row passes through.
//!
//! No socket and no server is part of them: what a transaction costs as a whole is for the side-by-side runs of
//! `shardway-bench`. Measuring times are short, so that all of it is done in about a minute; a difference of a few
//! percent is noise. A word behind `--` chooses: `cargo bench --bench micro -- recognise`.

mod combine;
mod fixture;
mod frames;
mod merge;
mod messages;
mod recognise;
mod routing;
mod scan;

use criterion::Criterion;
use std::time::Duration;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .nresamples(10_000)
        .without_plots()
        .configure_from_args();
    frames::benches(&mut criterion);
    messages::benches(&mut criterion);
    scan::benches(&mut criterion);
    recognise::benches(&mut criterion);
    routing::benches(&mut criterion);
    merge::benches(&mut criterion);
    combine::benches(&mut criterion);
    criterion.final_summary();
}
