//! Describing a world in a few words.

use std::path::PathBuf;

use toml::Table;

use crate::{World, setup, world::Group};

/// What a world is to be; see [`World::builder`].
#[must_use = "nothing happens before start()"]
pub struct WorldBuilder {
    pub(crate) servers: usize,
    pub(crate) replicas: usize,
    /// The first is the main group.
    pub(crate) groups: Vec<Group>,
    pub(crate) schemas: Vec<Schema>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) oracle: bool,
    pub(crate) redis: bool,
    pub(crate) middles: bool,
    pub(crate) launch: Launch,
}

/// SQL for the databases of one group, or of all.
pub(crate) struct Schema {
    pub(crate) group: Option<String>,
    pub(crate) sql: String,
}

/// How Shardway itself is started.
pub(crate) struct Launch {
    pub(crate) wanted: bool,
    pub(crate) binary: Option<PathBuf>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) edits: Vec<Edit>,
}

/// A change to the configuration file.
pub(crate) type Edit = Box<dyn Fn(&mut Table) + Send + Sync>;

impl WorldBuilder {
    pub(crate) fn new() -> WorldBuilder {
        let keys = ["configurationId", "user_id"];
        WorldBuilder {
            servers: 1,
            replicas: 0,
            groups: vec![Group::new("main", "shop", 1, &keys)],
            schemas: Vec::new(),
            settings: Vec::new(),
            oracle: false,
            redis: false,
            middles: false,
            launch: Launch { wanted: true, binary: None, env: Vec::new(), edits: Vec::new() },
        }
    }

    /// How many shards the main group has: databases `shop_0`, `shop_1` and so on, in equal runs over the
    /// servers.
    pub fn shards(mut self, shards: usize) -> Self {
        self.main().shards = shards;
        self
    }

    /// How many primaries there are.
    pub fn servers(mut self, servers: usize) -> Self {
        self.servers = servers;
        self
    }

    /// How many streaming replicas each primary has.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// The key columns of the main group, instead of `configurationId` and `user_id`.
    pub fn keys(mut self, keys: &[&str]) -> Self {
        self.main().keys = keys.iter().map(|&key| key.into()).collect();
        self
    }

    /// The shard function of the main group, instead of `fnv1a`.
    pub fn function(mut self, function: &str) -> Self {
        self.main().function = function.into();
        self
    }

    /// A further group, with databases named after it: `manufacturing_0`, `manufacturing_1` and so on.
    pub fn group(mut self, name: &str, shards: usize, keys: &[&str]) -> Self {
        self.groups.push(Group::new(name, name, shards, keys));
        self
    }

    /// SQL that is run on every database of every group before Shardway starts, as the user `app`.
    pub fn schema(mut self, sql: &str) -> Self {
        self.schemas.push(Schema { group: None, sql: sql.into() });
        self
    }

    /// As [`schema`](Self::schema), on the databases of one group (`"main"` is the first one's name).
    pub fn group_schema(mut self, group: &str, sql: &str) -> Self {
        self.schemas.push(Schema { group: Some(group.into()), sql: sql.into() });
        self
    }

    /// A line for every server's postgresql.conf, such as `("max_prepared_transactions", 0)`.
    pub fn setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.into(), value.to_string()));
        self
    }

    /// A database `oracle` on the first server, with the schemas of the main group and no shards: what it says of the
    /// same data is right.
    pub fn oracle(mut self) -> Self {
        self.oracle = true;
        self
    }

    /// A Redis, whose address goes into the configuration.
    pub fn redis(mut self) -> Self {
        self.redis = true;
        self
    }

    /// A [`Middle`](crate::Middle) in front of every server and replica: Shardway reaches them through it, the
    /// test itself goes past it.
    pub fn middles(mut self) -> Self {
        self.middles = true;
        self
    }

    /// TOML that goes on top of the configuration file: keys take the place of their namesakes, `[[users]]`
    /// and the like are added, and `[[databases.tables]]` means the world's one database.
    ///
    /// # Panics
    /// It is not TOML.
    #[track_caller]
    pub fn config(self, toml: &str) -> Self {
        let piece: Table = crate::must("the configuration given by the test", toml.parse());
        self.edit_config(move |table| crate::config::merge(table, piece.clone()))
    }

    /// Any change to the configuration file that [`config`](Self::config) can't express.
    pub fn edit_config(mut self, edit: impl Fn(&mut Table) + Send + Sync + 'static) -> Self {
        self.launch.edits.push(Box::new(edit));
        self
    }

    /// A variable in Shardway's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.launch.env.push((name.into(), value.into()));
        self
    }

    /// Another program in Shardway's place.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.launch.binary = Some(path.into());
        self
    }

    /// Leaves Shardway out: the servers alone.
    pub fn without_proxy(mut self) -> Self {
        self.launch.wanted = false;
        self
    }

    /// Makes it so.
    ///
    /// # Panics
    /// Something does not come up; the message says what, with the end of its log.
    #[track_caller]
    pub fn start(self) -> World {
        setup::start(self)
    }

    fn main(&mut self) -> &mut Group {
        &mut self.groups[0]
    }
}
