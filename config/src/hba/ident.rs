//! Maps from the names that the operating system or a certificate gives to the users that they may be.
//!
//! Source: PostgreSQL documentation, "User Name Maps".

use std::path::Path;
use std::sync::Arc;

use super::pattern::Pattern;
use super::reader::Reader;
use super::record::Fields;
use super::words::{Record, Word};
use crate::context::{Checked, Context};
use crate::value::quoted;

/// Which users a proven name may be.
#[derive(Clone, Debug, PartialEq)]
pub enum UserMap {
    /// The one of the same name.
    Same,
    /// Those of a map.
    Map(Arc<IdentMap>),
}

impl UserMap {
    /// Whether who is proven to be `system_user` may log in as `user`. Letters count as they are written.
    pub fn allows(&self, system_user: &str, user: &str) -> bool {
        match self {
            Self::Same => system_user == user,
            Self::Map(map) => map.lines.iter().any(|line| line.allows(system_user, user)),
        }
    }
}

/// The lines of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentMap {
    name: String,
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    system_user: SystemUser,
    user: MappedUser,
}

#[derive(Clone, Debug, PartialEq)]
enum SystemUser {
    Named(String),
    Matching(Pattern),
}

#[derive(Clone, Debug, PartialEq)]
enum MappedUser {
    All,
    Named(String),
    /// What stands before and behind `\1`.
    WithCapture(String, String),
}

impl Line {
    fn allows(&self, system_user: &str, user: &str) -> bool {
        let captured = match &self.system_user {
            SystemUser::Named(name) => (name == system_user).then_some(None),
            SystemUser::Matching(pattern) => pattern.capture(system_user),
        };
        captured.is_some_and(|captured| match &self.user {
            MappedUser::All => true,
            MappedUser::Named(name) => name == user,
            MappedUser::WithCapture(before, behind) => {
                let rest = user.strip_prefix(before.as_str());
                let middle = rest.and_then(|rest| rest.strip_suffix(behind.as_str()));
                middle.is_some() && middle == captured
            }
        })
    }
}

/// The maps of a file.
#[derive(Default)]
pub(super) struct Maps(Vec<Arc<IdentMap>>);

impl Maps {
    pub(super) fn get(&self, name: &str) -> Option<Arc<IdentMap>> {
        self.0.iter().find(|map| map.name == name).cloned()
    }

    fn add(&mut self, name: String, line: Line) {
        match self.0.iter_mut().find(|map| map.name == name) {
            Some(map) => Arc::make_mut(map).lines.push(line),
            None => self.0.push(Arc::new(IdentMap { name, lines: vec![line] })),
        }
    }
}

/// Reads the maps of a file.
pub(super) fn read(reader: &Reader<'_>, path: &Path) -> Maps {
    reader.file(path, |open, records| {
        let mut maps = Maps::default();
        for record in records {
            if let Ok((name, line)) = line(open.context, record) {
                maps.add(name, line);
            }
        }
        maps
    })
}

fn line(context: &Context<'_>, record: Record) -> Checked<(String, Line)> {
    let mut fields = Fields::new(context, record);
    let name = fields.one("the name of a map")?;
    let system_user = fields.one("a system user")?;
    let user = fields.one("a user")?;
    if let Some(word) = fields.rest().first() {
        return Err(context.report(word.at, "expected the end of the record behind the user"));
    }
    let system_user = match system_user.text.strip_prefix('/') {
        Some(pattern) => SystemUser::Matching(Pattern::read(context, pattern, system_user.at)?),
        None => SystemUser::Named(system_user.text),
    };
    let user = mapped(context, &user, &system_user)?;
    Ok((name.text, Line { system_user, user }))
}

fn mapped(context: &Context<'_>, word: &Word, system_user: &SystemUser) -> Checked<MappedUser> {
    if word.is("all") {
        return Ok(MappedUser::All);
    }
    if word.text.starts_with('/') || (word.text.starts_with('+') && !word.quoted) {
        let message = format!("{} is not supported here: name a user, or all", quoted(&word.text));
        return Err(context.report(word.at, message));
    }
    match (word.text.split_once("\\1"), system_user) {
        (Some((before, behind)), SystemUser::Matching(pattern)) if !word.quoted => {
            if !pattern.captures() {
                let message = "\\1 needs parentheses in the regular expression before it";
                return Err(context.report(word.at, message));
            }
            Ok(MappedUser::WithCapture(before.to_owned(), behind.to_owned()))
        }
        _ => Ok(MappedUser::Named(word.text.clone())),
    }
}
