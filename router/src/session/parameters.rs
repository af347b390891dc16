//! Session parameters: the client's own on every server it meets, and reported to it as by one server.

use super::Session;
use super::servers::{Participant, refused};
use super::transaction::Answer;
use crate::error::{ClientError, Severity};
use crate::plan::locate::Params;
use crate::plan::{Access, Assigned, Plan, SettingCall, SettingValue};
use crate::plan_cache::SearchPath;
use crate::reply;
use crate::schema::{GroupId, ShardRef};
use crate::sql::command::{Command, characteristics};
use crate::sql::scan::tokens;
use shardway_pool::Lease;
use shardway_pool::server::Parameters;
use shardway_pool::settings::{Settings, quote};
use shardway_pool::shard::Server;
use std::sync::Arc;

/// Parameters that servers report and clients may change.
const REPORTED: [&str; 8] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "standard_conforming_strings",
    "default_transaction_read_only",
    "search_path",
];

/// What the client was told of each of [`REPORTED`] last.
pub type Told = [String; REPORTED.len()];

impl Session {
    /// Greets the client with the parameters of a server that it may use; a user whom no server lets in, or whose
    /// settings no server takes, is told so.
    pub async fn greet(&mut self) -> Result<(), ClientError> {
        let parameters = self.learn_parameters().await.map_err(fatal)?;
        let mut told = Told::default();
        for (name, value) in parameters.iter() {
            let own = self.settings.value(name).filter(|_| name == "application_name");
            let value = own.unwrap_or(value);
            reply::parameter(&mut self.client.output, name, value);
            if let Some(at) = REPORTED.iter().position(|reported| *reported == name) {
                value.clone_into(&mut told[at]);
            }
        }
        self.told = self.proxy.told.share(told);
        reply::backend_key(&mut self.client.output, self.registration.key);
        reply::ready(&mut self.client.output, b'I');
        Ok(())
    }

    /// The parameters that a server reports to this client; also proves that its role may log in.
    async fn learn_parameters(&mut self) -> Result<Parameters, ClientError> {
        for (name, _) in self.settings.iter() {
            self.check_setting(name, self.settings.value(name))?;
        }
        let (plain, settings) = (is_plain(&self.settings), self.settings.clone());
        // An encoding that servers have of their own accord need not be tried.
        let fits = |known: &Parameters| {
            let encoded = known.get("client_encoding") == Some("UTF8");
            plain && (encoded || settings.value("client_encoding").is_none())
        };
        let mut last = None;
        for (at, server) in self.greeters() {
            let pool = self.pool(&server);
            let known = pool.greeting().filter(|known| fits(known));
            if let (true, Some(known)) = (pool.is_exhausted(), known) {
                // What can be known without waiting for others' transactions is known.
                return Ok((*known).clone());
            }
            match self.lease(&server).await {
                Ok(lease) => {
                    let greeting = pool.greeting();
                    let known = greeting.as_deref().unwrap_or(&lease.parameters);
                    if fits(known) {
                        return Ok(known.clone());
                    }
                    return self.try_settings(at, lease).await;
                }
                // A server that says no to this role says it for all shards.
                Err(error) if !error.code.starts_with("08") && !error.code.starts_with("57") => {
                    return Err(error);
                }
                Err(error) => match pool.greeting().filter(|known| fits(known)) {
                    // It was let in there before; what else it may ask is another matter.
                    Some(known) => return Ok((*known).clone()),
                    None => last = Some(error),
                },
            }
        }
        Err(last.unwrap_or_else(|| ClientError::error("08001", "the database has no shard")))
    }

    /// Servers that may know how to greet, in the order of asking: primaries, then replicas that are up.
    fn greeters(&self) -> Vec<(ShardRef, Arc<Server>)> {
        let shards = || self.database.shards_of(GroupId(0)).map(|at| (at, self.database.shard(at)));
        let primaries = shards().map(|(at, shard)| (at, shard.primary().clone()));
        let replicas = shards().flat_map(|(at, shard)| {
            let others =
                shard.servers.iter().filter(|s| !Arc::ptr_eq(s, shard.primary()) && s.health.is_up());
            others.map(move |server| (at, server.clone()))
        });
        primaries.chain(replicas).collect()
    }

    /// What a server reports with the client's settings in place, if it takes them.
    async fn try_settings(&mut self, shard: ShardRef, lease: Lease) -> Result<Parameters, ClientError> {
        self.servers.push(Participant::new(shard, lease));
        let index = self.servers.len() - 1;
        if let Err(error) = self.prepare_server(index).await {
            self.servers.swap_remove(index).lease.close();
            return Err(error);
        }
        // It goes back even where a client keeps its servers: it has asked for nothing yet.
        Ok(self.servers.swap_remove(index).lease.parameters.clone())
    }

    /// The search path is what the settings say.
    pub(super) fn settings_changed(&mut self) {
        let (settings, path) = &self.base_path;
        if Arc::ptr_eq(settings, &self.settings) {
            self.path = path.clone();
            return;
        }
        self.path = self.path_of(&self.settings).into();
        self.base_path = (self.settings.clone(), self.path.clone());
        self.registration.handle.is_called(self.settings.value("application_name").unwrap_or_default());
    }

    fn path_of(&self, settings: &Settings) -> SearchPath {
        match settings.value("search_path") {
            Some(value) => SearchPath::parse(value, &self.user),
            None => SearchPath::of_user(&self.user),
        }
    }

    /// Takes note of what a server told the client itself.
    pub(super) fn heard(&mut self, index: usize) {
        let server = &mut self.servers[index].lease;
        if !std::mem::take(&mut server.reported) {
            return;
        }
        for (told, name) in Arc::make_mut(&mut self.told).iter_mut().zip(REPORTED) {
            if let Some(value) = server.parameters.get(name) {
                value.clone_into(told);
            }
        }
    }

    /// Tells the client what a server reported while it ran a command of the session's.
    pub(super) fn tell(&mut self, index: usize) {
        let server = &mut self.servers[index].lease;
        if !std::mem::take(&mut server.reported) {
            return;
        }
        for (told, name) in Arc::make_mut(&mut self.told).iter_mut().zip(REPORTED) {
            let value = server.parameters.get(name).unwrap_or(told);
            if value != told {
                reply::parameter(&mut self.client.output, name, value);
                *told = value.to_owned();
            }
        }
    }

    /// SET of a session parameter: takes effect now, and stays if the transaction it is in commits.
    pub(super) async fn set(
        &mut self,
        name: &str,
        value: Option<String>,
        text: &str,
    ) -> Result<(), ClientError> {
        if sets_default(text) {
            return self.reset(name, text).await;
        }
        self.check_setting(name, value.as_deref())?;
        let command = text.trim().trim_end_matches(';').to_owned();
        // A server must take it, so that a value that can't be is an error now.
        let index = self.some_server().await?;
        if self.transaction.is_some() {
            self.everywhere_in_transaction(text).await?;
            if name == "search_path"
                && let Some(value) = &value
            {
                self.path = SearchPath::parse(value, &self.user).into();
            }
            self.settings_in_transaction(|settings| settings.set(name, command, value));
            return Ok(());
        }
        if let Err(error) = self.servers[index].lease.run(text).await {
            self.release();
            return Err(refused(&error));
        }
        let mut settings = (*self.settings).clone();
        settings.set(name, command, value);
        self.settings = self.proxy.settings.share(settings);
        self.servers[index].lease.settings = self.settings.clone();
        self.tell(index);
        self.settings_changed();
        self.release();
        Ok(())
    }

    /// SET SESSION CHARACTERISTICS: parameters by another name.
    pub(super) async fn characteristics(&mut self, text: &str) -> Result<Answer, ClientError> {
        let Some(set) = characteristics(text) else {
            let error =
                ClientError::error("0A000", "this form of SET SESSION CHARACTERISTICS is not understood");
            return Err(self.text_in_postgres_words(text, error).await);
        };
        for (name, value) in set {
            self.set(name, Some(value.to_owned()), &format!("SET {name} = '{value}'")).await?;
        }
        Ok(Answer::Tag("SET"))
    }

    /// RESET of one parameter, or of `all`: back to what the client came with.
    pub(super) async fn reset(&mut self, name: &str, text: &str) -> Result<(), ClientError> {
        let startup = self.startup.clone();
        if self.transaction.is_some() {
            self.some_server().await?;
            self.everywhere_in_transaction(text).await?;
            for (_, command) in startup.iter().filter(|(known, _)| name == "all" || name == *known) {
                self.everywhere_in_transaction(command).await?;
            }
            self.settings_in_transaction(|settings| settings.reset(name, &startup));
            let settings = self.transaction.as_ref().and_then(|transaction| transaction.settings.as_ref());
            if let (Some(settings), "search_path" | "all") = (settings, name) {
                self.path = self.path_of(settings).into();
            }
            return Ok(());
        }
        if name == "all" && self.settings == startup {
            return Ok(());
        }
        let index = self.some_server().await?;
        if let Err(error) = self.servers[index].lease.run(text).await {
            self.release();
            return Err(refused(&error));
        }
        let server = &mut self.servers[index].lease;
        let mut there = (*server.settings).clone();
        there.reset(name, &Settings::default());
        server.settings = Arc::new(there);
        let mut settings = (*self.settings).clone();
        settings.reset(name, &startup);
        self.settings = self.proxy.settings.share(settings);
        self.settings_reach(index).await
    }

    /// DISCARD ALL: settings and statements; nothing else outlives a transaction.
    pub(super) async fn discard_all(&mut self) -> Result<Answer, ClientError> {
        if self.transaction.is_some() {
            return Err(ClientError::error("25001", "DISCARD ALL cannot run inside a transaction block"));
        }
        self.statements.clear();
        self.note_prepared();
        self.unnamed = None;
        self.unlisten_all().await;
        self.discard_kept().await?;
        if self.settings != self.startup {
            self.settings = self.startup.clone();
            let index = self.some_server().await?;
            self.settings_reach(index).await?;
        }
        Ok(Answer::Tag("DISCARD ALL"))
    }

    /// DISCARD TEMP, PLANS, SEQUENCES: on every server that is the session's. Another has nothing of it.
    pub(super) async fn discard(&mut self, text: &str, tag: &'static str) -> Result<Answer, ClientError> {
        if self.transaction.is_some() {
            // What its end undoes has to be done within.
            let kept: Vec<ShardRef> = self.kept.iter().map(|participant| participant.shard).collect();
            for shard in kept {
                self.acquire(shard, Access::ReadPrimary).await?;
            }
        }
        self.run_on_all(text).await?;
        for participant in &mut self.kept {
            participant.lease.run(text).await.map_err(|error| refused(&error))?;
        }
        let all = self.servers.iter_mut().chain(&mut self.kept);
        all.filter(|participant| participant.holds_anything()).for_each(Participant::doubt);
        Ok(Answer::Tag(tag))
    }

    /// New settings: one server takes them now, and the client hears what that changes.
    async fn settings_reach(&mut self, index: usize) -> Result<(), ClientError> {
        self.settings_changed();
        let prepared = self.prepare_server(index).await;
        // Half-way there it reports what is nobody's.
        if prepared.is_ok() {
            // It may have had them in place before, and have nothing to report.
            self.servers[index].lease.reported = true;
            self.tell(index);
        }
        self.release();
        prepared
    }

    /// SET LOCAL, SET TRANSACTION, SET CONSTRAINTS.
    pub(super) async fn set_local(
        &mut self,
        text: &str,
        search_path: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let words = tokens(text);
        let is = |n: usize, word: &str| words.get(n).is_some_and(|w| w.eq_ignore_ascii_case(word));
        let (tag, what) = match () {
            () if is(1, "constraints") => ("SET CONSTRAINTS", "SET CONSTRAINTS"),
            () if is(1, "transaction") => ("SET", "SET TRANSACTION"),
            () => ("SET", "SET LOCAL"),
        };
        if self.transaction.is_none() {
            return Ok(Answer::Warned(
                "25P01",
                format!("{what} can only be used in transaction blocks"),
                tag,
            ));
        }
        // A parameter with a dot in its name takes any value: no server needs to be asked yet.
        let custom = is(1, "local") && is(3, ".");
        if !custom {
            self.some_server().await?;
        }
        self.everywhere_in_transaction(text).await?;
        if let Some(path) = search_path {
            self.path = SearchPath::parse(path, &self.user).into();
        }
        Ok(Answer::Tag(tag))
    }

    /// What set_config(…, false) will set for the session. Errors: a value that can't be read, or must not be.
    pub(super) fn assigned(
        &self,
        plan: &Plan,
        values: Option<(&Params<'_>, &[u32])>,
    ) -> Result<Option<Vec<Set>>, ClientError> {
        let all = match &plan.setting {
            Some(SettingCall::Session(all)) => all,
            Some(SettingCall::Local { search_path: Some(path) }) => {
                return read_setting(path, values).map(|_| None);
            }
            _ => return Ok(None),
        };
        let mut read = Vec::with_capacity(all.len());
        for Assigned { name, value, if_known } in all {
            let value = read_setting(value, values)?;
            self.check_setting(name, Some(&value))?;
            read.push(Set { name: name.clone(), value, if_known: *if_known });
        }
        Ok(Some(read))
    }

    /// A set_config of the search path ran: inside of a transaction, what comes next is understood by it.
    pub(super) fn note_path(&mut self, plan: &Plan, values: Option<(&Params<'_>, &[u32])>) {
        let Some(path) = plan.setting.as_ref().and_then(SettingCall::search_path) else { return };
        if self.transaction.is_some()
            && let Ok(path) = read_setting(path, values)
        {
            self.path = SearchPath::parse(&path, &self.user).into();
        }
    }

    /// set_config(…, false) ran on a server: it stays with the client, and is known to be in place there.
    pub(super) fn note_assigned(&mut self, ran: ShardRef, assigned: Vec<Set>) {
        let record = |settings: &mut Settings| assigned.iter().for_each(|set| set.record(settings));
        if self.transaction.is_some() {
            return self.settings_in_transaction(record);
        }
        let mut settings = (*self.settings).clone();
        record(&mut settings);
        self.settings = self.proxy.settings.share(settings);
        if let Some(participant) = self.servers.iter_mut().find(|p| p.shard == ran) {
            participant.lease.settings = self.settings.clone();
        }
        self.settings_changed();
    }

    /// set_config(…, true) ran on one server of the transaction: the others, and those to come, are told. Without the
    /// text to tell them, there will be no others.
    pub(super) async fn set_config_everywhere(&mut self, ran: ShardRef, text: Option<String>) {
        let Some(transaction) = &mut self.transaction else { return };
        match &text {
            Some(text) => transaction.tell_joining(text),
            None => transaction.closed = true,
        }
        let mut spread = text.is_some() || self.servers.len() == 1;
        for participant in self.servers.iter_mut().filter(|participant| participant.shard != ran) {
            if let Some(text) = &text {
                spread &= participant.lease.run(text).await.is_ok();
            }
        }
        if let (false, Some(transaction)) = (spread, &mut self.transaction) {
            // The client has its answer; what it asks next fails.
            transaction.failed = true;
        }
    }

    /// A server to ask what a setting means: one in hand, else any.
    async fn some_server(&mut self) -> Result<usize, ClientError> {
        if !self.servers.is_empty() {
            return Ok(0);
        }
        let shard = self.any_shard(GroupId(0));
        let index = self.acquire(shard, Access::ReadPrimary).await?;
        (self.servers[index].asked, self.servers[index].locks) = (false, false);
        Ok(index)
    }

    fn settings_in_transaction(&mut self, change: impl FnOnce(&mut Settings)) {
        let current = (*self.settings).clone();
        if let Some(transaction) = &mut self.transaction {
            change(transaction.settings.get_or_insert(current));
        }
    }

    /// A parameter that would break what Shardway relies on is refused.
    fn check_setting(&self, name: &str, value: Option<&str>) -> Result<(), ClientError> {
        let unsharded = self.database.planning().schema.is_unsharded();
        let refuse = |what: &str| Err(ClientError::error("0A000", what.to_owned()));
        match name {
            "standard_conforming_strings" if !value.is_some_and(|v| v.eq_ignore_ascii_case("on")) => {
                refuse("standard_conforming_strings must stay on: keys are read from literals")
            }
            "client_encoding" | "names" if !unsharded && !value.is_some_and(is_utf8) => {
                refuse("client_encoding must be UTF8: keys are read from text")
            }
            name if name.starts_with("shardway.") => refuse(
                "shardway.* parameters are not supported yet; use /* shard: n */ or /* sharding_key: 'k' */",
            ),
            _ => Ok(()),
        }
    }
}

/// A parameter that set_config sets for the session.
pub(super) struct Set {
    name: String,
    value: String,
    /// Only where there is such a parameter.
    if_known: bool,
}

impl Set {
    fn record(&self, settings: &mut Settings) {
        let Self { name, value, if_known } = self;
        if *if_known {
            let (name, value) = (quote(name), quote(value));
            let command = format!(
                "SELECT pg_catalog.set_config(name, {value}, false) FROM pg_catalog.pg_settings WHERE name = {name}"
            );
            settings.set(&self.name, command, Some(self.value.clone()));
        } else {
            settings.set_value(name, value);
        }
    }
}

/// A value that set_config is given. Errors: one that can't be read here.
fn read_setting(value: &SettingValue, values: Option<(&Params<'_>, &[u32])>) -> Result<String, ClientError> {
    match value {
        SettingValue::Text(text) => Some(text.clone()),
        SettingValue::Param(n) => values.and_then(|(params, types)| text_param(params, types, *n)),
    }
    .ok_or_else(|| {
        let message = "the value that set_config sets must be a constant, or a parameter of type text";
        ClientError::error("0A000", message)
    })
}

/// A parameter's text; `None` if it is NULL, or in the binary form of another type than text.
fn text_param(params: &Params<'_>, types: &[u32], n: usize) -> Option<String> {
    const TEXTS: [u32; 4] = [0, 25, 705, 1043];
    let param = params.get(n)?;
    let declared = types.get(n).copied().unwrap_or_default();
    let text = std::str::from_utf8(param.bytes?).ok()?;
    (!param.binary || TEXTS.contains(&declared) && !text.contains('\0')).then(|| text.to_owned())
}

/// A statement's text with its parameters in it; `None` if one can't be written as a literal. For set_config, whose
/// arguments are text: a binary one reads the same if its type is not declared to be another.
pub(super) fn with_values(text: &str, types: &[u32], params: &Params<'_>) -> Option<String> {
    const TEXTS: [u32; 4] = [0, 25, 705, 1043];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\'', '"']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
        if !rest.starts_with('$') || digits == 0 {
            let quote = rest.chars().next()?;
            let end = if quote == '$' { 1 } else { 2 + rest[1..].find(quote)? };
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let number = rest[1..=digits].parse::<usize>().ok()?.checked_sub(1)?;
        let param = params.get(number)?;
        let declared = types.get(number).copied().unwrap_or_default();
        match param.bytes {
            None => out.push_str("NULL"),
            Some(bytes) if !param.binary || TEXTS.contains(&declared) && !bytes.contains(&0) => {
                out.push_str(&quote(std::str::from_utf8(bytes).ok()?));
            }
            Some(bytes) => out.push_str(&number_of(declared, bytes)?),
        }
        rest = &rest[1 + digits..];
    }
    out.push_str(rest);
    Some(out)
}

/// A whole number or a truth in binary, as SQL of its type.
fn number_of(declared: u32, bytes: &[u8]) -> Option<String> {
    Some(match declared {
        16 => format!("({}::pg_catalog.bool)", u8::from(*bytes.first()? != 0)),
        20 => format!("('{}'::pg_catalog.int8)", i64::from_be_bytes(bytes.try_into().ok()?)),
        21 => format!("('{}'::pg_catalog.int2)", i16::from_be_bytes(bytes.try_into().ok()?)),
        23 => format!("('{}'::pg_catalog.int4)", i32::from_be_bytes(bytes.try_into().ok()?)),
        _ => return None,
    })
}

/// Whether a statement sets what stays with the session if its transaction commits.
pub(super) fn sets(plan: &Plan) -> bool {
    let command = &plan.command;
    let control = matches!(command, Command::Set { .. } | Command::Reset { .. } | Command::Discard(_));
    control || *command == Command::Characteristics || plan.setting.is_some()
}

fn fatal(error: ClientError) -> ClientError {
    ClientError { severity: Severity::Fatal, ..error }
}

/// Whether every server takes the settings as they are, and reports nothing but a name that is known.
fn is_plain(settings: &Settings) -> bool {
    settings.iter().all(|(name, _)| match (name, settings.value(name)) {
        // Longer names are cut, and other characters replaced.
        ("application_name", Some(value)) => {
            value.len() < 64 && value.bytes().all(|b| (b' '..=b'~').contains(&b))
        }
        ("client_encoding", Some(value)) => is_utf8(value),
        ("extra_float_digits", Some(value)) => value.parse().is_ok_and(|digits| (-15..=3).contains(&digits)),
        _ => false,
    })
}

/// SET name TO DEFAULT, SET TIME ZONE LOCAL.
fn sets_default(text: &str) -> bool {
    let words = tokens(text);
    let Some(last) = words.last() else { return false };
    let zone = words.iter().any(|word| word.eq_ignore_ascii_case("zone"));
    last.eq_ignore_ascii_case("default") || zone && last.eq_ignore_ascii_case("local")
}

/// Whether a client_encoding means UTF-8, in any of the spellings that Postgres takes.
pub fn is_utf8(value: &str) -> bool {
    let plain: String =
        value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    matches!(plain.as_str(), "utf8" | "unicode")
}
