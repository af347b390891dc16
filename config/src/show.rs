//! How values look in a list of changes: as an operator would write them, and never a secret.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{
    AuditLog, AuthMethod, ChangeStream, Endpoint, KeyList, KeyRange, Listen, LogFormat, PoolMode,
    ReadYourWrites, ShardFunction, TableName, TlsMode, UnlistedTables, WorkerUse,
};
use crate::units::show_duration;

/// A value that can be shown. A [`crate::Secret`] is none.
pub(crate) trait Show {
    fn show(&self) -> String;
}

macro_rules! by_display {
    ($($type:ty),+) => {
        $(impl Show for $type {
            fn show(&self) -> String {
                self.to_string()
            }
        })+
    };
}

by_display!(
    bool,
    u64,
    usize,
    String,
    AuthMethod,
    ChangeStream,
    LogFormat,
    PoolMode,
    ReadYourWrites,
    WorkerUse
);
by_display!(TlsMode, UnlistedTables);

impl Show for Duration {
    fn show(&self) -> String {
        show_duration(*self)
    }
}

impl Show for PathBuf {
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Show::show)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> String {
        format!("[{}]", self.iter().map(Show::show).collect::<Vec<_>>().join(", "))
    }
}

impl Show for Listen {
    fn show(&self) -> String {
        match self {
            Listen::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Listen::Tcp { host, port } => format!("{host}:{port}"),
            Listen::Unix(directory) => format!("unix:{}", directory.display()),
        }
    }
}

impl Show for AuditLog {
    fn show(&self) -> String {
        match self {
            AuditLog::Stderr => "stderr".to_owned(),
            AuditLog::File(path) => path.show(),
        }
    }
}

impl Show for Endpoint {
    fn show(&self) -> String {
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
        let sslmode = self.sslmode.map_or_else(String::new, |mode| format!("?sslmode={mode}"));
        format!("{user}{self}{sslmode}")
    }
}

impl Show for TableName {
    fn show(&self) -> String {
        let part = |name: &str| {
            if name.contains(['.', '"']) {
                format!("\"{}\"", name.replace('"', "\"\""))
            } else {
                name.to_owned()
            }
        };
        let schema = self.schema.as_deref().map_or_else(String::new, |schema| format!("{}.", part(schema)));
        format!("{schema}{}", part(&self.name))
    }
}

impl Show for ShardFunction {
    fn show(&self) -> String {
        match self {
            ShardFunction::Fnv1a => "fnv1a".to_owned(),
            ShardFunction::Modulo => "modulo".to_owned(),
            ShardFunction::Range(ranges) => format!("range {}", ranges.show()),
            ShardFunction::List(lists) => format!("list {}", lists.show()),
        }
    }
}

impl Show for KeyRange {
    fn show(&self) -> String {
        let bound = |bound: Option<i64>| bound.map_or_else(String::new, |bound| bound.to_string());
        format!("{}..{}: {}", bound(self.from), bound(self.to), self.shard)
    }
}

impl Show for KeyList {
    fn show(&self) -> String {
        format!("{:?}: {}", self.values, self.shard)
    }
}
