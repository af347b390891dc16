//! pgbench's log of single transactions (`-l`). Pure.
//!
//! A line is `client transaction microseconds script epoch microseconds`:
//! <https://www.postgresql.org/docs/current/pgbench.html>, "Per-Transaction Logging".

/// The latencies in a log, in milliseconds, as they come. A line that was cut short, or that says `skipped` or
/// `failed` in the latency's place, has none.
pub fn milliseconds(log: &str) -> Vec<f64> {
    log.lines().filter_map(of_line).collect()
}

fn of_line(line: &str) -> Option<f64> {
    let mut fields = line.split(' ');
    let micros: u64 = fields.nth(2)?.parse().ok()?;
    fields.nth(2)?; // the line is whole
    Some(micros as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_field_is_the_latency_and_lines_without_one_do_not_count() {
        let log =
            "3 3 138 0 1795235177 494066\n3 4 failed 0 1795235177 5\n2 500 3569 0 1795235177 695935\n1 1 99";
        assert_eq!(milliseconds(log), [0.138, 3.569]);
    }
}
