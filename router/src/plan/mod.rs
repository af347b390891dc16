//! The planner: (statement, schema) → plan. No socket in sight, so every routing decision is a unit test.
//!
//! A plan is made once per statement template and says where the keys stand ([`pin::KeySource`]); [`locate`]
//! reads them for one execution. The planner proves a tier or goes down to a refusal; it never guesses.

pub mod as_of;
pub mod build;
mod cacheable;
pub mod combine;
pub mod copy;
pub mod ddl;
pub(crate) mod dml;
pub mod explain;
mod facts;
pub mod gather;
pub mod hinted;
pub mod listed;
pub mod locate;
mod locking;
mod output;
pub mod pin;
mod query;
mod rewrite;
pub mod scatter;
mod scope;
mod set_config;
pub mod setval;
pub mod spread;
#[cfg(test)]
mod tests;
pub(crate) mod traits;
pub(crate) mod views;

use crate::schema::{GroupId, ShardRef, Table};
use crate::sql::command::Command;
use as_of::AsOf;
use combine::Combine;
use explain::Explained;
use gather::Gather;
use listed::Listed;
use pin::Pin;
use scatter::Scatter;
use setval::SetVal;
use spread::Spread;
use std::sync::Arc;

/// What a statement does to data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads, and any replica reads the same.
    Read,
    /// Reads what only the primary can say (FOR UPDATE, volatile functions).
    ReadPrimary,
    /// Writes.
    Write,
}

/// Where a statement goes.
#[derive(Clone, Debug)]
pub enum Route {
    /// Any shard of the group gives the same answer.
    Any(GroupId),
    /// One shard, whatever the values.
    One(ShardRef),
    /// The shard that the keys say; where they say several, or can't be proven, `otherwise` if there is one.
    Keyed {
        /// The group.
        group: GroupId,
        /// Every one of them must agree on a shard.
        pins: Vec<Pin>,
        /// Right on any set of shards that holds the pinned keys.
        otherwise: Option<Across>,
        /// Why there is no other way, where that was looked for.
        why: Option<Box<Refusal>>,
    },
    /// Every shard of the group, answers put together.
    Across(Across),
    /// Would have to write on every shard of the group.
    Everywhere(GroupId),
    /// Not proven.
    Refuse(Refusal),
}

/// How the answers of several shards become one.
#[derive(Clone, Debug)]
pub enum Across {
    /// Their rows are put together.
    Scatter(Arc<Scatter>),
    /// Their groups are.
    Combine(Arc<Combine>),
    /// Their rows are brought to one of them, which runs the statement.
    Gather(Arc<Gather>),
    /// They write.
    Spread(Arc<Spread>),
    /// They say how they would run it, or do.
    Explained(Arc<Explained>),
}

impl Across {
    /// The group whose shards are asked.
    pub fn group(&self) -> GroupId {
        match self {
            Self::Scatter(scatter) => scatter.group,
            Self::Combine(combine) => combine.group,
            Self::Gather(gather) => gather.group,
            Self::Spread(spread) => spread.group,
            Self::Explained(explained) => explained.group,
        }
    }

    /// What all of the shards are to be told of the clock.
    pub fn clock(&self) -> Option<AsOf> {
        match self {
            Self::Scatter(scatter) => scatter.clock,
            Self::Combine(combine) => combine.clock,
            // Have ways of their own.
            Self::Gather(_) | Self::Spread(_) | Self::Explained(_) => None,
        }
    }

    /// The tier it is of.
    pub fn tier(&self) -> Tier {
        match self {
            Self::Scatter(_) | Self::Spread(_) => Tier::Scatter,
            Self::Combine(_) => Tier::Combine,
            Self::Gather(_) => Tier::Gather,
            Self::Explained(explained) => explained.plan.as_ref().map_or(Tier::Single, |plan| plan.tier),
        }
    }
}

/// Why a statement is not run: SQLSTATE, message and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE.
    pub code: &'static str,
    /// The message.
    pub message: String,
    /// What the client can do about it.
    pub hint: &'static str,
}

impl Refusal {
    /// "Not supported across shards", with the reason.
    pub fn unsupported(reason: impl Into<String>) -> Self {
        Self {
            code: "0A000",
            message: reason.into(),
            hint: "Pin the statement to one shard by its key, or send it as told with /* shard: n */.",
        }
    }
}

/// What set_config, in a SELECT of its own, sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingCall {
    /// `is_local` is true: over with the transaction.
    Local {
        /// What the search path is set to, if it is.
        search_path: Option<SettingValue>,
    },
    /// These, for the session.
    Session(Vec<Assigned>),
}

impl SettingCall {
    /// What the search path is set to, if it is.
    pub fn search_path(&self) -> Option<&SettingValue> {
        match self {
            Self::Local { search_path } => search_path.as_ref(),
            Self::Session(all) => all
                .iter()
                .rev()
                .find(|assigned| assigned.name == "search_path")
                .map(|assigned| &assigned.value),
        }
    }
}

/// A parameter and the value that it is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The parameter, in lower case.
    pub name: String,
    /// Its value.
    pub value: SettingValue,
    /// Whether it is set only where there is such a parameter.
    pub if_known: bool,
}

/// Where a parameter's value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    /// In the statement.
    Text(String),
    /// In a parameter, from 0.
    Param(usize),
}

/// What a statement takes of the clock. A shard that joined the transaction has begun it later than the first one.
#[derive(Clone, Debug)]
pub enum Clocked {
    /// What its text names.
    Text(AsOf),
    /// That, if it does, and what columns take that it leaves out: it is written as by several shards.
    Write(Arc<Spread>, Option<AsOf>),
}

impl Clocked {
    /// What the text names.
    pub fn text(&self) -> Option<AsOf> {
        match self {
            Self::Text(as_of) => Some(*as_of),
            Self::Write(_, as_of) => *as_of,
        }
    }
}

/// A lookup whose answer may be cached: one table, by its whole key.
#[derive(Clone, Debug)]
pub struct Cacheable {
    /// The table.
    pub table: Arc<Table>,
}

/// What was decided for one statement template.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What kind of statement it is.
    pub command: Command,
    /// What it does to data.
    pub access: Access,
    /// Where it goes.
    pub route: Route,
    /// Tables it writes.
    pub writes: Vec<Arc<Table>>,
    /// Reference tables whose rows it locks, by a lock on the group's first shard.
    pub locks: Vec<Arc<Table>>,
    /// Whether, and by what, its answer may be cached.
    pub cacheable: Option<Cacheable>,
    /// COPY of a sharded table.
    pub copy: Option<copy::CopyPlan>,
    /// A command on objects of several shards.
    pub objects: Option<Arc<ddl::Objects>>,
    /// Changes a parameter for the transaction.
    pub setting: Option<SettingCall>,
    /// Sets a sequence of several shards.
    pub setval: Option<Arc<SetVal>>,
    /// Lists of columns that the text is sent with where one shard runs it.
    pub listed: Option<Listed>,
    /// What it takes of the clock, where one shard runs it by itself.
    pub clocked: Option<Clocked>,
    /// The cursor that says which row it writes: it goes where that is.
    pub current_of: Option<Box<str>>,
    /// Refused, and no hint changes that: it would leave something behind on a pooled server.
    pub forbidden: bool,
    /// One server runs it, and nothing but its rows come of it: no setting, cursor, COPY or catalog to look after.
    pub plain: bool,
    /// It may leave something on its server that belongs to the session, or take that away.
    pub leaves: bool,
    /// What it does can't be prepared (NOTIFY): where several servers commit together, its server decides.
    pub unpreparable: bool,
    /// Whether a text that differs in literals has the same plan.
    pub shareable: bool,
    /// A write that may change tables that it does not name.
    pub reaches_out: bool,
    /// Relations that the schema does not have, by their spelling: the schema is read again before that is believed.
    pub unknown: Option<String>,
    /// Its name in metrics and for people.
    pub tier: Tier,
}

impl Plan {
    /// How it runs on several shards, where it does.
    pub fn across(&self) -> Option<&Across> {
        match &self.route {
            Route::Across(across) => Some(across),
            Route::Keyed { otherwise, .. } => otherwise.as_ref(),
            _ => None,
        }
    }

    /// What it explains, if it is an EXPLAIN over shards.
    pub fn explained(&self) -> Option<&Arc<Explained>> {
        match &self.route {
            Route::Across(Across::Explained(explained)) => Some(explained),
            _ => None,
        }
    }
}

/// A plan's tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// One shard.
    Single,
    /// Several shards, whose rows are put together.
    Scatter,
    /// Several shards, whose groups are.
    Combine,
    /// One shard, on rows of several.
    Gather,
}
