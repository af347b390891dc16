//! Two shards of a group in one database would each see the other's rows: no two may be at the same host,
//! port and database, be it as primary or as replica.

use std::collections::HashMap;

use crate::context::{At, Checked, Context};
use crate::model::Endpoint;
use crate::placement::Located;
use crate::shards::Places;

/// Host, port and database. Names of hosts have no case, unlike directories.
type Spot = (String, u16, String);

/// Reports each server's database that an earlier shard has already.
pub(crate) fn check(context: &Context<'_>, places: &Places) -> Checked<()> {
    let mut taken: HashMap<Spot, (u32, At)> = HashMap::new();
    let mut result = Ok(());
    for (id, located) in every(places) {
        let (first, first_at) = *taken.entry(spot(&located.endpoint)).or_insert((id, located.at));
        if first != id {
            // Shards need not stand in the order of their numbers; the later line is the one to look at.
            let (other, at) = if first_at.offset() > located.at.offset() {
                (located.at, first_at)
            } else {
                (first_at, located.at)
            };
            let also = if other == at { String::new() } else { format!(" (also {})", context.refer(other)) };
            let message = format!("shards {first} and {id} are both at {}{also}", located.endpoint);
            result = Err(context.report(at, message));
        }
    }
    result
}

fn every(places: &Places) -> impl Iterator<Item = (u32, &Located)> {
    places.iter().flat_map(|(id, (primary, replicas))| {
        std::iter::once(primary).chain(replicas).map(move |at| (*id, at))
    })
}

fn spot(endpoint: &Endpoint) -> Spot {
    let Endpoint { host, port, dbname, .. } = endpoint;
    let host = if host.starts_with('/') { host.clone() } else { host.to_lowercase() };
    (host, *port, dbname.clone())
}

#[cfg(test)]
mod tests {
    use crate::testing::{problems, trusting};

    fn shards(lines: &[&str]) -> String {
        trusting(&format!(
            "[[databases]]\nname = \"d\"\n[[databases.groups]]\nshard_count = 2\nshards = [\n{}\n]",
            lines.join(",\n")
        ))
    }

    #[test]
    fn two_entries_at_one_database_are_named_with_both_places() {
        let lines = [
            "{ ids = [1], primary = \"postgres://DB/x\" }",
            "{ ids = [0], primary = \"postgres://u@db:5432/x\" }",
        ];
        assert_eq!(
            problems(&shards(&lines)),
            "t.toml:8:24: shards 0 and 1 are both at DB:5432/x (also at line 7)"
        );
    }

    #[test]
    fn a_placeholder_that_does_not_tell_shards_apart_is_found_out() {
        let lines = ["{ ids = [0, 1], primary = \"postgres://app_{shard}@h/x\" }"];
        assert_eq!(problems(&shards(&lines)), "t.toml:7:27: shards 0 and 1 are both at h:5432/x");
    }

    #[test]
    fn a_replica_of_one_shard_is_no_primary_of_another() {
        let lines = [
            "{ ids = [0], primary = \"postgres://a/x\", replicas = [\"postgres://b/x\"] }",
            "{ ids = [1], primary = \"postgres://b/x\" }",
        ];
        assert_eq!(
            problems(&shards(&lines)),
            "t.toml:8:24: shards 0 and 1 are both at b:5432/x (also at line 7)"
        );
    }
}
