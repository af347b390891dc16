//! Bringing a world up, with as much as possible at the same time.

use std::{fmt::Write, thread};

use shardway_cluster::{Redis, Result, Server};

use crate::{
    PASSWORD, World, WorldBuilder,
    builder::Schema,
    must,
    world::{Group, Machine},
};

#[track_caller]
pub(crate) fn start(builder: WorldBuilder) -> World {
    let mut machines = must("making the servers", prepare(&builder));
    let all = || machines.iter().flat_map(|machine| [&machine.primary].into_iter().chain(&machine.replicas));
    let redis = thread::scope(|scope| {
        let redis = builder.redis.then(|| scope.spawn(Redis::run));
        must("starting the servers", Server::start_all(all()));
        redis.map(|redis| must("starting Redis", join(redis)))
    });
    must("filling the servers", fill(&machines, &builder));
    if builder.middles {
        machines.iter_mut().for_each(Machine::place_middles);
    }
    let WorldBuilder { groups, launch, .. } = builder;
    let mut world = World { proxy: None, redis, machines, groups, launch };
    world.wait_for_replicas();
    if world.launch.wanted {
        world.proxy = Some(world.another_proxy());
    }
    world
}

fn prepare(builder: &WorldBuilder) -> Result<Vec<Machine>> {
    thread::scope(|scope| {
        let machines: Vec<_> = (0..builder.servers)
            .map(|number| scope.spawn(move || prepare_machine(number, builder.replicas, &builder.settings)))
            .collect();
        machines.into_iter().map(join).collect()
    })
}

fn prepare_machine(number: usize, replicas: usize, settings: &[(String, String)]) -> Result<Machine> {
    let primary = Server::builder().name(format!("server_{number}")).hba("host all md5user 127.0.0.1/32 md5");
    let primary = settings.iter().fold(primary, |builder, (name, value)| builder.setting(name, value));
    let primary = primary.prepare()?;
    let replicas = (0..replicas)
        .map(|replica| {
            Server::replica_of(&primary).name(format!("server_{number}_replica_{replica}")).prepare()
        })
        .collect::<Result<_>>()?;
    Ok(Machine { primary, replicas, middles: Vec::new() })
}

fn fill(machines: &[Machine], builder: &WorldBuilder) -> Result<()> {
    let (groups, schemas) = (&builder.groups, &builder.schemas);
    thread::scope(|scope| {
        let fills: Vec<_> = (machines.iter().enumerate())
            .map(|(number, machine)| {
                scope.spawn(move || fill_server(&machine.primary, number, machines.len(), groups, schemas))
            })
            .collect();
        fills.into_iter().try_for_each(join)
    })?;
    if builder.oracle {
        let sql = database("oracle", &groups[0], schemas);
        machines[0].primary.sql("postgres", &sql)?;
    }
    Ok(())
}

fn fill_server(
    server: &Server,
    number: usize,
    servers: usize,
    groups: &[Group],
    schemas: &[Schema],
) -> Result<()> {
    // One psql for all: what follows a \connect is run in that database.
    let mut sql = format!(
        "SET password_encryption = 'scram-sha-256';
         CREATE ROLE app LOGIN PASSWORD '{PASSWORD}';
         SET password_encryption = 'md5';
         CREATE ROLE md5user LOGIN PASSWORD '{PASSWORD}';
         GRANT pg_read_all_data, pg_write_all_data TO md5user;\n"
    );
    for group in groups {
        for shard in group.shards_on(number, servers) {
            sql += &database(&group.database(shard), group, schemas);
        }
    }
    server.sql("postgres", &sql).map(drop)
}

/// What makes a database of a group.
fn database(name: &str, group: &Group, schemas: &[Schema]) -> String {
    let mut sql =
        format!("\\connect postgres\nCREATE DATABASE {name} OWNER app;\n\\connect {name}\nSET ROLE app;\n");
    for schema in schemas.iter().filter(|schema| schema.is_for(group)) {
        let _ = writeln!(sql, "{}\n;", schema.sql);
    }
    sql
}

impl Schema {
    fn is_for(&self, group: &Group) -> bool {
        self.group.as_ref().is_none_or(|name| *name == group.name)
    }
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
