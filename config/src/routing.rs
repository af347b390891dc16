//! `[routing]`: how statements spread over shards and replicas.

use crate::model::{ReadYourWrites, Routing, UnlistedTables};
use crate::section::Section;
use crate::units::{mebibytes, seconds};

pub(crate) fn read(mut section: Section<'_>) -> Routing {
    let s = &mut section;
    let routing = Routing {
        two_phase_commit: s.flag("two_phase_commit", true),
        scatter_parallelism: s.count("scatter_parallelism", 0),
        gather_max_bytes: s.size("gather_max_bytes", mebibytes(256)),
        replica_reads: s.flag("replica_reads", true),
        replica_max_lag: s.duration("replica_max_lag", seconds(10)),
        read_your_writes: s.choice("read_your_writes", ReadYourWrites::Lsn),
        health_check_interval: s.duration("health_check_interval", seconds(5)),
        unlisted_tables: s.choice("unlisted_tables", UnlistedTables::Reference),
    };
    section.finish();
    routing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, problems};

    #[test]
    fn sizes_and_switches_are_read() {
        let routing = config(
            "[routing]\ngather_max_bytes = \"1GiB\"\nreplica_reads = false\nread_your_writes = \"off\"",
        );
        assert_eq!(routing.routing.gather_max_bytes, 1 << 30);
        assert!(!routing.routing.replica_reads);
        assert_eq!(routing.routing.read_your_writes, ReadYourWrites::Off);
    }

    #[test]
    fn decimal_kilobytes_are_refused() {
        assert_eq!(
            problems("[routing]\ngather_max_bytes = \"64KB\""),
            "t.toml:2:20: expected a size such as \"64KiB\", \"16MiB\" or \"1GiB\", or a number of bytes, found \"64KB\""
        );
    }
}
