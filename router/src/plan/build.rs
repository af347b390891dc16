//! From a statement's text to its [`Plan`].

mod alone;
mod around;
mod catalogs;
mod clocked;
mod explained;
mod feeds;
mod fields;
mod groups;
mod locks;
mod sequences;
mod spelled;
mod temporary;
mod views;
mod with;

use super::as_of::Naming;
use super::facts::Facts;
use super::listed::Listed;
use super::pin::{Pin, Places};
use super::query::{Analyzer, Ctes, Found, Named, is_row_by_row};
use super::scope::relation_name;
use super::set_config::setting_call;
use super::traits::{Traits, advisory, looks_into_catalog, reads_by_text};
use super::{Access, Across, Clocked, Plan, Refusal, Route, Tier, dml, gather, scatter, spread};
use crate::schema::{GroupId, Kind, Schema, ShardRef};
use crate::sql::command::Command;
use crate::sql::scan::Scan;
pub(in crate::plan) use fields::function_as_field;
use shardway_shardmap::ShardId;
use sqlparser::ast::{ObjectName, Query, SetExpr, Statement, TableFactor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Nesting the parser follows; deeper statements are refused rather than risked.
pub(in crate::plan) const MAX_DEPTH: usize = 128;

/// Plans one statement. `text` holds nothing but it (and perhaps a closing semicolon); `path` is the search path.
pub fn plan(schema: &Schema, path: &[String], text: &str, scan: &Scan) -> Plan {
    let command = Command::of(scan, text);
    let builder = Builder { schema, path, text, scan, views: 0 };
    let planned = match builder.plan(&command) {
        Ok(plan) => plan,
        // A refusal may be for a literal's sake, which the next statement of the template does not have.
        Err(refusal) => {
            let forbidden = builder.leaves_state(&command);
            let leaves = builder.may_leave(&command);
            let plan = builder.simple(command, Access::Write, Route::Refuse(refusal));
            Plan { shareable: false, forbidden, leaves, ..plan }
        }
    };
    let alone = matches!(planned.route, Route::Any(_) | Route::One(_) | Route::Keyed { .. });
    let leaves = planned.copy.is_some() || planned.setting.is_some() || planned.forbidden || planned.leaves;
    let notifies = || text.to_ascii_lowercase().contains("pg_notify");
    let unpreparable = !schema.is_unsharded() && (planned.command == Command::Notify || notifies());
    let leaves = leaves || unpreparable;
    let plain = planned.command == Command::Plannable && alone && !leaves && planned.unknown.is_none();
    let plain = plain && planned.locks.is_empty() && planned.listed.is_none();
    // A gather's errors are placed in its own text, where comments may stand that another of the template has not.
    // What is explained is told of in the words that it came in.
    let in_own_words = planned.tier == Tier::Gather || planned.explained().is_some();
    let shareable = planned.shareable || scan.literals.is_empty() && !in_own_words;
    Plan { plain, shareable, unpreparable, ..planned }
}

/// The cursor of `WHERE CURRENT OF`, if a text has that.
pub fn cursor_of(text: &str) -> Option<String> {
    spelled::without_current_of(text).map(|(_, cursor)| cursor)
}

struct Builder<'a> {
    schema: &'a Schema,
    path: &'a [String],
    text: &'a str,
    scan: &'a Scan,
    /// Views that have been replaced by their queries.
    views: usize,
}

impl Builder<'_> {
    fn simple(&self, command: Command, access: Access, route: Route) -> Plan {
        Plan {
            command,
            access,
            route,
            writes: Vec::new(),
            locks: Vec::new(),
            cacheable: None,
            copy: None,
            objects: None,
            setting: None,
            setval: None,
            listed: None,
            clocked: None,
            current_of: None,
            forbidden: false,
            plain: false,
            unpreparable: false,
            leaves: false,
            shareable: true,
            reaches_out: false,
            unknown: None,
            tier: Tier::Single,
        }
    }

    fn plan(&self, command: &Command) -> Result<Plan, Refusal> {
        let any = Route::Any(GroupId(0));
        let plan = |access, route| Ok(self.simple(command.clone(), access, route));
        match command {
            Command::Plannable => self.planned(command.clone()),
            Command::Copy => self.copy(command.clone()),
            Command::Declare { .. } => self.declare(command.clone()),
            Command::Temporary => self.temporary(command.clone()),
            Command::Load if self.schema.is_unsharded() => {
                Ok(Plan { leaves: true, ..self.simple(command.clone(), Access::Write, any) })
            }
            Command::Load => Err(Refusal::unsupported("LOAD on every shard is not supported")),
            Command::Explain if self.schema.is_unsharded() => self.explain(command.clone()),
            Command::Explain => self.explained(command.clone()),
            Command::Show => plan(Access::ReadPrimary, any),
            // What it writes is the affair of the statement that it names.
            Command::Execute => plan(Access::Write, any),
            Command::TwoPhase => {
                Err(Refusal::unsupported("PREPARE TRANSACTION and its kin are not supported"))
            }
            Command::Notify if self.schema.is_unsharded() => plan(Access::Write, any),
            Command::Notify => {
                plan(Access::Write, Route::One(ShardRef { group: GroupId(0), shard: ShardId(0) }))
            }
            Command::Ddl | Command::Utility => self.on_objects(command.clone()),
            // Handled by the session; where they reach a server, the running transaction says which.
            _ => plan(Access::ReadPrimary, any),
        }
    }

    /// Whether a statement that was refused would leave something on a server that its next client would find.
    fn leaves_state(&self, command: &Command) -> bool {
        let names = |what: &str| self.text.to_ascii_lowercase().contains(what);
        match command {
            Command::TwoPhase => true,
            Command::Plannable | Command::Explain => match self.parse() {
                Ok(statement) => setting_call(&statement, self.schema.is_unsharded()).is_err(),
                Err(_) => names("set_config"),
            },
            _ => false,
        }
    }

    /// Whether a statement may leave something on its server that belongs to the session, as far as its words tell.
    fn may_leave(&self, command: &Command) -> bool {
        let names = |what: &str| self.text.to_ascii_lowercase().contains(what);
        match command {
            Command::Temporary | Command::Declare { hold: true } | Command::Load => true,
            // What these do can't be seen from here.
            Command::Utility => matches!(self.scan.word_at(self.text, 0).as_str(), "DO" | "CALL"),
            Command::Ddl => names("pg_temp"),
            Command::Plannable | Command::Explain => names("advisory") || names("temp"),
            _ => false,
        }
    }

    fn parse(&self) -> Result<Statement, Refusal> {
        let parsed = Parser::new(&PostgreSqlDialect {})
            .with_recursion_limit(MAX_DEPTH)
            .try_with_sql(self.text)
            .and_then(|mut parser| parser.parse_statements());
        let reworded = || {
            let first = super::locking::reworded(self.text)
                .or_else(|| spread::text::without_overriding(self.text, self.scan));
            let second = spelled::without_subscripts(first.as_deref().unwrap_or(self.text)).or(first);
            spelled::rare(second.as_deref().unwrap_or(self.text)).or(second)
        };
        let parsed = parsed.or_else(|error| match reworded() {
            Some(text) => Parser::new(&PostgreSqlDialect {})
                .with_recursion_limit(MAX_DEPTH)
                .try_with_sql(&text)
                .and_then(|mut parser| parser.parse_statements()),
            None => Err(error),
        });
        match parsed {
            Ok(mut statements) if statements.len() == 1 => Ok(statements.remove(0)),
            Ok(_) => Err(Refusal::unsupported("the statement could not be told apart from others")),
            Err(e) => Err(Refusal::unsupported(format!("the statement is not understood: {e}"))),
        }
    }

    fn planned(&self, command: Command) -> Result<Plan, Refusal> {
        if let (false, Some(text)) = (self.schema.is_unsharded(), super::ddl::of_select_into(self.text)) {
            let mut scan = Scan::default();
            if scan.run(&text).is_ok() {
                let command = Command::of(&scan, &text);
                return Builder { text: &text, scan: &scan, ..*self }.plan(&command);
            }
        }
        if let (false, Some((text, tables))) = (self.schema.is_unsharded(), spelled::without_only(self.text))
            && tables.iter().all(|(schema, name)| self.has_no_heirs(schema.as_deref(), name))
        {
            let mut scan = Scan::default();
            if scan.run(&text).is_ok() {
                return Builder { text: &text, scan: &scan, ..*self }.planned(command);
            }
        }
        if let Some(text) = spelled::tables_as_selects(self.text) {
            let mut scan = Scan::default();
            if scan.run(&text).is_ok() {
                return Builder { text: &text, scan: &scan, ..*self }.planned(command);
            }
        }
        if let (false, Some((text, cursor))) =
            (self.schema.is_unsharded(), spelled::without_current_of(self.text))
        {
            return Builder { text: &text, ..*self }.at_cursor(command, cursor);
        }
        let statement = match self.parse() {
            Ok(statement) => statement,
            Err(_) if self.schema.is_unsharded() => return Ok(self.unparsed(command)),
            Err(refusal) => return self.of_catalogs(&command).ok_or(refusal),
        };
        if let (false, Statement::Insert(insert)) = (self.schema.is_unsharded(), &statement)
            && spread::text::overrides_users_values(self.text)
            && let sqlparser::ast::TableObject::TableName(name) = &insert.table
            && let Some((schema, name)) = relation_name(name)
            && let Some(table) = self.schema.find(self.path, schema.as_deref(), &name)
        {
            dml::check_overriding(self.schema.as_read(table))?;
        }
        self.statement(command, &statement)
    }

    /// Whether it is a table that shares its rows with no other: then ONLY says nothing.
    fn has_no_heirs(&self, schema: Option<&str>, name: &str) -> bool {
        let table = self.schema.find(self.path, schema, name);
        table.is_some_and(|table| table.family.is_none() && !matches!(table.kind, Kind::View(_)))
    }

    /// UPDATE or DELETE of the row that a cursor stands at: where the cursor is.
    fn at_cursor(&self, command: Command, cursor: String) -> Result<Plan, Refusal> {
        let refused = |why: &str| Refusal::unsupported(format!("WHERE CURRENT OF {why} is not supported"));
        let statement = self.parse()?;
        if !matches!(statement, Statement::Update(_) | Statement::Delete(_)) {
            return Err(refused("in this statement"));
        }
        let mut traits = Traits::of(&statement);
        traits.volatile |= traits.functions.iter().any(|name| self.schema.functions.is_volatile(name));
        let places = Places::new(self.text, &self.scan.literals);
        let mut analyzer = Analyzer::new(self.schema, self.path, &places, &traits.param_uses);
        let (access, written) = analyze(&mut analyzer, &statement, &traits)?;
        let found = &analyzer.found;
        self.check_functions(&traits, found, false)?;
        let is_field = function_as_field(&statement, &found.named, &self.schema.functions).is_some();
        if traits.relations != found.relations || is_field || !found.local.is_empty() {
            return Err(refused("in this statement"));
        }
        let table = written.table.as_ref();
        let alone = found.sharded.len() == 1 && table.is_some_and(|t| matches!(t.kind, Kind::Sharded { .. }));
        if found.unknown.is_none() && (!alone || written.moves) {
            return Err(refused("beside other sharded tables, of a reference table, or with a new key,"));
        }
        let elsewhere = refused("a cursor that is not open on one shard, in this transaction,");
        let mut plan = self.simple(command, access, Route::Refuse(elsewhere));
        plan.leaves = traits.leaves;
        plan.unknown = found.unknown.clone();
        plan.writes.extend(written.table);
        plan.clocked = Naming::of(&statement, self.text).told().map(Clocked::Text);
        plan.current_of = Some(cursor.into());
        Ok(plan)
    }

    /// One shard in all: Postgres itself says what a statement means that is not understood here.
    fn unparsed(&self, command: Command) -> Plan {
        let leaves = self.may_leave(&command);
        Plan { leaves, ..self.simple(command, Access::Write, Route::Any(GroupId(0))) }
    }

    fn statement(&self, command: Command, statement: &Statement) -> Result<Plan, Refusal> {
        let mut traits = Traits::of(statement);
        traits.volatile |= traits.functions.iter().any(|name| self.schema.functions.is_volatile(name));
        if traits.functions.iter().any(|name| name == "pg_listening_channels") {
            let message = "pg_listening_channels() is answered in a statement of its own only";
            let hint = "No server listens for the client; ask SELECT pg_listening_channels().";
            return Err(Refusal { code: "0A000", message: message.into(), hint });
        }
        if let Some(setting) = setting_call(statement, self.schema.is_unsharded())? {
            let mut plan = self.simple(command, Access::ReadPrimary, Route::Any(GroupId(0)));
            plan.setting = Some(setting);
            plan.shareable = false;
            return Ok(plan);
        }
        let places = Places::new(self.text, &self.scan.literals);
        let mut analyzer = Analyzer::new(self.schema, self.path, &places, &traits.param_uses);
        let functions = &self.schema.functions;
        let writes =
            traits.functions.iter().any(|name| functions.reads_tables(name) && functions.is_volatile(name));
        let (access, written) = match analyze(&mut analyzer, statement, &traits) {
            // A function may write anything: what it did must be seen by the reads to come.
            Ok((_, written)) if writes => (Access::Write, written),
            Ok(analyzed) => analyzed,
            Err(_) if self.schema.is_unsharded() => return Ok(self.unparsed(command)),
            Err(refusal) => {
                return match (analyzer.found.inlined.take(), statement) {
                    (Some(view), Statement::Query(query)) if !dml::with::writes(query) => {
                        self.inlined(command, query, &view)
                    }
                    _ => match self.of_catalogs(&command) {
                        Some(plan) => Ok(plan),
                        None => self.fed_plan(command, statement, &traits, refusal),
                    },
                };
            }
        };
        let feeds = command.clone();
        let mut plan = self.simple(command, access, Route::Any(GroupId(0)));
        let by_function = || traits.functions.iter().any(|name| functions.leaves_state(name));
        plan.leaves = traits.leaves || by_function();
        plan.unknown = analyzer.found.unknown.clone();
        plan.writes.extend(written.table.clone());
        plan.writes.extend(with::tables(&written).cloned());
        let all = written.table.iter().chain(with::tables(&written));
        let through = all.filter_map(|table| table.of_view.clone());
        plan.writes.extend(through.flat_map(|view| view.tables.clone()));
        if self.schema.is_unsharded() {
            self.note_what_it_touches(&mut plan, statement, &analyzer, &traits);
            return Ok(plan);
        }
        if traits.cursors {
            let what = "pg_cursors, which has the cursors of one shard's server only,";
            return Err(Refusal::unsupported(format!("{what} is not supported across shards")));
        }
        // Every relation that the parser has seen was looked at by the analysis, or the plan is not proven.
        if traits.relations != analyzer.found.relations {
            return Err(Refusal::unsupported(
                "the statement mentions tables in a way that is not understood",
            ));
        }
        if let (Statement::Query(query), false) = (statement, written.parts.is_empty()) {
            self.route_with(&mut plan, query, &analyzer, &traits, written)?;
            plan.clocked = Naming::of(statement, self.text).told().map(Clocked::Text);
            plan.listed = self.listed(access, statement);
            return Ok(plan);
        }
        if let Err(refusal) = self.route(&mut plan, statement, &analyzer, &traits, written) {
            return self.fed_plan(feeds, statement, &traits, refusal);
        }
        if let (Some(view), Statement::Query(query)) = (&analyzer.found.ordered, statement) {
            self.keep_order(&mut plan, query, view);
        }
        self.feed(&mut plan, statement, &traits);
        plan.listed = self.listed(access, statement);
        Ok(plan)
    }

    /// The lists of columns that its INSERTs lack.
    fn listed(&self, access: Access, statement: &Statement) -> Option<Listed> {
        if access != Access::Write {
            return None;
        }
        let find = |name: &ObjectName| {
            let (schema, bare) = relation_name(name)?;
            self.schema.find(self.path, schema.as_deref(), &bare).cloned()
        };
        Listed::of(statement, find, self.text)
    }

    fn route(
        &self,
        plan: &mut Plan,
        statement: &Statement,
        analyzer: &Analyzer<'_>,
        traits: &Traits,
        mut written: dml::Written,
    ) -> Result<(), Refusal> {
        let found = &analyzer.found;
        if let Some(name) = function_as_field(statement, &found.named, &self.schema.functions) {
            return Err(Refusal::unsupported(format!("function {name}, called as if it were a column,")));
        }
        if self.counts(plan, statement, traits, found)? {
            return Ok(());
        }
        written.on_one |= written.table.as_ref().is_some_and(|table| table.of_view.is_some());
        let writes_reference = written.table.as_ref().is_some_and(|t| matches!(t.kind, Kind::Reference(_)));
        self.check_functions(traits, found, writes_reference)?;
        if self.over_groups(plan, statement, analyzer, traits)? {
            return Ok(());
        }
        let group = one_group(found)?;
        if traits.locks {
            super::views::check_locks(found)?;
        }
        let mut pins: Vec<Pin> = Vec::new();
        for sharded in &found.sharded {
            pins.extend(sharded.pin.clone().map(|mut pin| {
                analyzer.settle(&mut pin, sharded.type_oid);
                pin
            }));
        }
        if let (Some(mut pin), Some(oid)) =
            (written.stored.clone(), written.table.as_ref().and_then(|t| t.key_oid()))
        {
            analyzer.settle(&mut pin, oid);
            written.stored = Some(pin.clone());
            pins.push(pin);
        }
        pins.dedup();
        let all_pinned = found.sharded.iter().all(|s| s.pin.is_some());
        // The table that is written is named first.
        let pin_of_target =
            found.sharded.first().and_then(|target| target.pin.as_ref()).and(pins.first()).cloned();
        let spread =
            |written| self.spread(statement, written, group, analyzer, traits, pin_of_target.as_ref());
        plan.route = if writes_reference || written.moves && !(all_pinned && written.stored.is_some()) {
            Route::Across(spread(&written)?)
        } else if let Some(place) = one_place(found)? {
            if let (Statement::Query(query), false) = (statement, found.sharded.is_empty()) {
                let across = self.gather(query, group, Some(place.shard), analyzer, traits)?;
                (plan.shareable, plan.tier, plan.route) = (false, across.tier(), Route::Across(across));
                return Ok(());
            }
            if !pins.is_empty() || !found.sharded.is_empty() {
                return Err(Refusal::unsupported(
                    "joining a local table with sharded tables is not supported yet",
                ));
            }
            Route::One(place)
        } else if found.sharded.is_empty() && pins.is_empty() {
            // Object ids differ from shard to shard: whoever looks into the catalogs is shown one shard's, always the same.
            // A row lock on a reference table holds only if everyone takes it on the same copy.
            if traits.locks {
                let copies = found.tables.iter().filter(|table| matches!(table.kind, Kind::Reference(_)));
                plan.locks = copies.cloned().collect();
            }
            let catalogs = found.tables.is_empty() && (found.system || looks_into_catalog(traits, statement));
            let first = |group| Route::One(ShardRef { group, shard: ShardId(0) });
            if catalogs && self.schema.shard_counts.len() > 1 {
                // The strings in it say which group is meant.
                plan.shareable = self.scan.literals.is_empty();
                first(self.group_of_catalogs(statement))
            } else if catalogs || traits.locks || advisory(traits) {
                first(group)
            } else {
                Route::Any(group)
            }
        } else {
            // One value for all, so one shard at most: then nothing but the key depends on the literals. One that stands in
            // a view's query does not stand in the client's text.
            let same = |pin: &Pin| pin.is_single() && pin.sources == pins[0].sources;
            let settled =
                self.views == 0 && all_pinned && !self.scan.literals.is_empty() && pins.iter().all(same);
            let across = match (statement, &written.table) {
                (Statement::Query(query), None) if !settled => Some(does_nothing(traits).and_then(|()| {
                    self.across(query, group, found)
                        .or_else(|_| self.gather(query, group, None, analyzer, traits))
                })),
                (_, Some(_)) if !settled && !written.on_one => Some(spread(&written)),
                _ => None,
            };
            // What the shards are told of a write is made of each text anew.
            plan.shareable = across.is_none() || written.table.is_some();
            match (all_pinned, across) {
                (true, Some(Err(why))) => {
                    Route::Keyed { group, pins, otherwise: None, why: Some(Box::new(why)) }
                }
                (true, across) => {
                    Route::Keyed { group, pins, otherwise: across.and_then(Result::ok), why: None }
                }
                (false, Some(across)) => Route::Across(across?),
                (false, None) => {
                    return Err(Refusal::unsupported(
                        "this statement would write on several shards, which is not supported yet",
                    ));
                }
            }
        };
        if traits.locks && matches!(plan.route, Route::Keyed { .. }) {
            plan.locks = self.locked_copies(found);
        }
        match &plan.route {
            Route::Across(across) => plan.tier = across.tier(),
            Route::Keyed { .. } | Route::Any(_) => {
                plan.cacheable = super::cacheable::cacheable(statement, found)
            }
            _ => {}
        }
        plan.clocked = self.clocked(plan, statement, || spread(&written));
        Ok(())
    }

    /// How a query runs on several shards.
    fn across(&self, query: &Query, group: GroupId, found: &Found) -> Result<Across, Refusal> {
        let SetExpr::Select(select) = &*query.body else {
            return Err(Refusal::unsupported("set operations over several shards are not supported yet"));
        };
        if gather::names_place(query) {
            return Err(Refusal::unsupported(
                "what is of one server alone, over several shards, is not supported",
            ));
        }
        let kind_of = |factor: &TableFactor| match factor {
            TableFactor::Table { name, .. } => self.kind_of(name),
            _ => None,
        };
        let nested = found.relations != select.from.iter().map(|t| 1 + t.joins.len()).sum::<usize>();
        if nested || !scatter::is_partitioned(select, kind_of) {
            return Err(Refusal::unsupported(
                "this statement reads several shards in a way that is not supported yet (subqueries, outer joins or \
                 set operations over sharded tables)",
            ));
        }
        if found.sharded.iter().any(|s| !s.colocated) {
            return Err(Refusal::unsupported(
                "joining sharded tables otherwise than on their keys is not supported yet",
            ));
        }
        // A second, small analysis gives the scope of names; the first one's was for the whole statement.
        let places = Places::new(self.text, &self.scan.literals);
        let uses = HashMap::new();
        let mut analyzer = Analyzer::new(self.schema, self.path, &places, &uses);
        let scope = analyzer.scopes.open(None);
        analyzer.dml_block(scope, &select.from, None, Vec::new(), &Ctes::new())?;
        let context = scatter::Context {
            sql: self.text,
            places: &places,
            scopes: &analyzer.scopes,
            scope,
            group,
            schema: self.schema,
            path: self.path,
        };
        if is_row_by_row(select, self.schema) {
            return Ok(Across::Scatter(Arc::new(context.plan(query)?)));
        }
        Ok(Across::Combine(Arc::new(context.combine(query)?)))
    }

    /// A query that runs on one shard, over rows of several.
    fn gather(
        &self,
        query: &Query,
        group: GroupId,
        at: Option<ShardId>,
        analyzer: &Analyzer<'_>,
        traits: &Traits,
    ) -> Result<Across, Refusal> {
        let found = &analyzer.found;
        let settled = |named: &Named| {
            let mut pin = named.pin.clone()?;
            analyzer.settle(&mut pin, named.table.key_oid()?);
            Some(pin)
        };
        let pins = found.named.iter().map(settled).collect();
        let gather = self.gathering(found, traits).plan(query, group, at, pins)?;
        Ok(Across::Gather(Arc::new(gather)))
    }

    /// What planning a gather needs to know.
    fn gathering<'a>(&'a self, found: &'a Found, traits: &'a Traits) -> gather::Context<'a> {
        gather::Context { schema: self.schema, text: self.text, scan: self.scan, found, traits }
    }

    /// A write that several shards run.
    fn spread(
        &self,
        statement: &Statement,
        written: &dml::Written,
        group: GroupId,
        analyzer: &Analyzer<'_>,
        traits: &Traits,
        pin_of_target: Option<&Pin>,
    ) -> Result<Across, Refusal> {
        let found = &analyzer.found;
        let context = spread::Context { schema: self.schema, text: self.text, found, traits };
        context.plan(statement, written, group, pin_of_target).map(|spread| Across::Spread(Arc::new(spread)))
    }

    fn kind_of(&self, name: &ObjectName) -> Option<Kind> {
        let (schema, bare) = relation_name(name)?;
        self.schema.find(self.path, schema.as_deref(), &bare).map(|t| self.schema.as_read(t).kind.clone())
    }

    /// Refuses functions whose effect or answer is not that of one shard.
    fn check_functions(&self, traits: &Traits, found: &Found, on_first: bool) -> Result<(), Refusal> {
        for name in &traits.functions {
            // For reference tables the first shard alone counts.
            if on_first && name == "nextval" {
                continue;
            }
            if reads_by_text(name) {
                return Err(Refusal::unsupported(format!(
                    "function {name} reads tables that it is told of in a string"
                )));
            }
            if self.schema.functions.reads_tables(name) {
                return Err(Refusal::unsupported(format!(
                    "function {name} is user-defined and not immutable: what it reads can't be known"
                )));
            }
            if matches!(name.as_str(), "nextval" | "setval" | "currval" | "lastval") {
                return Err(Refusal::unsupported(format!("{name} would count on each shard by itself")));
            }
            let locks = name.starts_with("pg_advisory") || name.starts_with("pg_try_advisory");
            if locks && !found.tables.is_empty() {
                return Err(Refusal::unsupported(
                    "an advisory lock beside tables is not supported across shards",
                ));
            }
        }
        Ok(())
    }
}

/// Looks at all that a statement names. What it does to data, and to which table.
fn analyze(
    analyzer: &mut Analyzer<'_>,
    statement: &Statement,
    traits: &Traits,
) -> Result<(Access, dml::Written), Refusal> {
    Ok(match statement {
        Statement::Query(query) if dml::with::writes(query) => {
            (Access::Write, dml::with::with(analyzer, query)?)
        }
        Statement::Query(query) => {
            analyzer.query(query, None, &Facts::default(), &Ctes::new())?;
            let primary = traits.volatile || traits.locks;
            (if primary { Access::ReadPrimary } else { Access::Read }, dml::Written::default())
        }
        Statement::Insert(insert) => (Access::Write, dml::insert(analyzer, insert)?),
        Statement::Update(update) => (Access::Write, dml::update(analyzer, update)?),
        Statement::Delete(delete) => (Access::Write, dml::delete(analyzer, delete)?),
        Statement::Merge(merge) => (Access::Write, dml::merge(analyzer, merge)?),
        _ => return Err(Refusal::unsupported("this statement is not supported across shards yet")),
    })
}

/// Refuses functions that do something: shards may be asked again for what they were to read at one moment.
fn does_nothing(traits: &Traits) -> Result<(), Refusal> {
    let acts = |name: &&String| {
        matches!(name.as_str(), "pg_notify" | "pg_logical_emit_message" | "loread" | "lowrite")
            || name.starts_with("lo_")
    };
    match traits.functions.iter().find(acts) {
        Some(name) => Err(Refusal::unsupported(format!(
            "function {name} for rows of several shards is not supported: select the rows, and call it for each"
        ))),
        None => Ok(()),
    }
}

fn one_group(found: &Found) -> Result<GroupId, Refusal> {
    let mut groups = found.groups.iter();
    match (groups.next(), groups.next()) {
        (None, _) => Ok(GroupId(0)),
        (Some(&group), None) => Ok(GroupId(group)),
        _ => Err(Refusal::unsupported("writing beside tables of another shard group is not supported")),
    }
}

fn one_place(found: &Found) -> Result<Option<ShardRef>, Refusal> {
    let places: HashSet<_> = found.local.iter().copied().collect();
    match places.len() {
        0 => Ok(None),
        1 => Ok(places.into_iter().next()),
        _ => Err(Refusal::unsupported("local tables on different shards can't be joined yet")),
    }
}
