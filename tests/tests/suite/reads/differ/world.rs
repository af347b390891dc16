//! One server with the same rows in databases of one to five shards each, and in one database. Where the number of shards
//! is odd, text sorts by ICU's rules unless something else is said.

use std::thread;

use shardway_tests::{PASSWORD, RawClient, SharedWorld, World, toml};

use super::ask::Pair;
use super::relations;
use super::schema::{all_rows, definitions, shard_rows};

/// The numbers of shards.
pub const SHARDS: std::ops::RangeInclusive<usize> = 1..=5;

pub static WORLD: SharedWorld = SharedWorld::new(|| {
    let world = World::builder().without_proxy().setting("max_connections", 300).edit_config(databases);
    let world = world.start();
    let server = world.server(0);
    thread::scope(|scope| {
        for shards in SHARDS {
            scope.spawn(move || {
                for (number, rows) in shard_rows(shards as u64).into_iter().enumerate() {
                    fill(server, &format!("made{shards}_{number}"), shards, &rows);
                }
            });
        }
        for kind in [0, 1] {
            scope.spawn(move || fill(server, &format!("single{kind}"), kind, &all_rows()));
        }
    });
    world
});

fn fill(server: &shardway_tests::cluster::Server, database: &str, shards: usize, rows: &str) {
    let locale = if shards % 2 == 1 { "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" } else { "" };
    let create = format!("CREATE DATABASE {database} OWNER app TEMPLATE template0 ENCODING 'UTF8' {locale}");
    server.sql("postgres", &create).unwrap();
    let sql = format!("SET ROLE app; {}{rows}{} ANALYZE;", definitions(), relations::definitions());
    server.sql(database, &sql).unwrap();
}

/// A database of the proxy for each number of shards, in the place of the harness' own.
fn databases(config: &mut toml::Table) {
    let text = config["databases"].to_string();
    let address =
        text.split("postgres://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let mut entries = String::new();
    for shards in SHARDS {
        let ids: Vec<usize> = (0..shards).collect();
        entries.push_str(&format!(
            "[[databases]]\nname = 'made{shards}'\n[[databases.groups]]\nname = 'main'\nshard_count = {shards}\n\
             keys = ['user_id', 'Owner Id']\n[[databases.groups.shards]]\nids = {ids:?}\n\
             primary = 'postgres://{address}/made{shards}_{{shard}}'\n\
             [[databases.tables]]\nname = 'here'\nkind = 'local'\ngroup = 'main'\nshard = 0\n\
             [[databases.tables]]\nname = 'spot'\nkind = 'reference'\n"
        ));
    }
    let entries: toml::Table = entries.parse().expect("the databases");
    config.insert("databases".into(), entries["databases"].clone());
}

/// A client of the database with so many shards, and one of the single database like it.
pub async fn pair(proxy: u16, shards: usize) -> Pair {
    let mut through = RawClient::connect(proxy).await;
    through.login("app", &format!("made{shards}"), PASSWORD).await;
    let mut single = RawClient::connect(WORLD.server(0).port()).await;
    single.login("app", &format!("single{}", shards % 2), PASSWORD).await;
    let mut pair = Pair { proxy: through, single };
    for client in [&mut pair.proxy, &mut pair.single] {
        let reply = client.query("SET statement_timeout = '4s'").recv_until_ready().await;
        assert!(reply.error().is_none(), "{reply:?}");
    }
    pair
}
