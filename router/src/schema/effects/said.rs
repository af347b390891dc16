//! What the text of a function, a rule or a policy says that it does, read off its words.
//!
//! It takes PL/pgSQL, SQL and expressions for a run of tokens. What it can't tell apart it takes for the worse: a name
//! behind FROM counts as a relation's, a table behind INTO as written. Texts that put their SQL together when they run
//! are not read at all.

use crate::plan::traits::reads_by_text;
use crate::sql::scan::{all_tokens, identifier};
use std::collections::BTreeSet;

/// A relation as a text names it: with its schema, or without.
pub type Named = (Option<String>, String);

/// A column behind its table's label.
pub type Labelled = (String, String);

/// What one text does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Relations that it reads, if they are relations.
    pub reads: BTreeSet<Named>,
    /// Relations that it writes.
    pub writes: BTreeSet<Named>,
    /// Functions that it calls.
    pub calls: BTreeSet<String>,
    /// Sequences that it counts with; `None`: nobody knows which.
    pub counts: BTreeSet<Option<String>>,
    /// Columns of NEW that it sets; `None`: the whole row.
    pub sets: BTreeSet<Option<String>>,
    /// Columns of NEW and OLD that it names; `*` for the whole of them.
    pub of_row: BTreeSet<String>,
    /// Columns of NEW among them; `*` where the whole of it is taken.
    pub of_new: BTreeSet<String>,
    /// Whether it takes NEW or OLD as a whole, and not only to give it back.
    pub takes_row: bool,
    /// Whether it does more to relations than to add rows to them, whatever is there.
    pub alters: bool,
    /// Every other word in it.
    pub words: BTreeSet<String>,
    /// Whether a trigger may give another row than NEW or OLD.
    pub gives_another: bool,
    /// Whether it locks rows.
    pub locks: bool,
    /// Whether it takes locks by number.
    pub locks_by_number: bool,
    /// Whether it tells anybody: NOTIFY, or a RAISE that ends nothing.
    pub tells: bool,
    /// Columns that are said to be equal, each with its table's label; an empty one is that of the row at hand.
    pub joins: BTreeSet<(Labelled, Labelled)>,
    /// Whether a subquery's conditions need not all hold for a row that it finds.
    pub may_not_hold: bool,
    /// What can't be followed.
    pub hides: Option<&'static str>,
}

impl Said {
    /// Takes in what a function does that it calls. What that names of its row is its own affair.
    pub fn take(&mut self, other: Said) {
        self.reads.extend(other.reads);
        self.writes.extend(other.writes);
        self.calls.extend(other.calls);
        self.counts.extend(other.counts);
        self.alters |= other.alters;
        self.locks |= other.locks;
        self.locks_by_number |= other.locks_by_number;
        self.tells |= other.tells;
        self.hides = self.hides.or(other.hides);
    }

    /// What a text does.
    pub fn of(text: &str) -> Self {
        let Some(tokens) = all_tokens(text) else {
            return Self { hides: Some("has a text that can't be read"), ..Self::default() };
        };
        let tokens = tokens.into_iter().map(|range| Token::of(&text[range])).collect();
        let mut reader =
            Reader { tokens, said: Self::default(), lists: vec![None], queries: Vec::new(), expects: None };
        let mut at = 0;
        while at < reader.tokens.len() {
            at = reader.step(at);
        }
        reader.said
    }
}

enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Sign(char),
}

impl Token {
    fn of(token: &str) -> Self {
        let first = token.chars().next().unwrap_or(' ');
        match first {
            '\'' => Self::Text(token.trim_matches('\'').to_owned()),
            '$' => Self::Text(token.to_owned()),
            '"' => Self::Quoted(identifier(token)),
            _ if first.is_alphanumeric() || first == '_' => match token.contains(['\'', '"']) {
                true => Self::Text(token.to_owned()),
                false => Self::Word(identifier(token)),
            },
            _ => Self::Sign(first),
        }
    }
}

/// What is done to relations that are named next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Read,
    Write,
}

struct Reader {
    tokens: Vec<Token>,
    said: Said,
    /// Whether a comma brings another relation, in each of the parentheses that are open.
    lists: Vec<Option<Mode>>,
    /// Whether a query stands in each of them.
    queries: Vec<bool>,
    expects: Option<Mode>,
}

impl Reader {
    /// A keyword, or a word that looks like one.
    fn word(&self, at: usize) -> &str {
        match self.tokens.get(at) {
            Some(Token::Word(word)) => word,
            _ => "",
        }
    }

    fn name(&self, at: usize) -> Option<&String> {
        match self.tokens.get(at) {
            Some(Token::Word(name) | Token::Quoted(name)) => Some(name),
            _ => None,
        }
    }

    fn is(&self, at: usize, sign: char) -> bool {
        matches!(self.tokens.get(at), Some(Token::Sign(own)) if *own == sign)
    }

    fn before(&self, at: usize) -> &str {
        at.checked_sub(1).map_or("", |at| self.word(at))
    }

    /// Whether a statement may begin here.
    fn starts(&self, at: usize) -> bool {
        at == 0
            || self.is(at - 1, ';')
            || self.is(at - 1, '(') && self.word(at) == "notify"
            || matches!(self.before(at), "begin" | "then" | "else" | "loop" | "atomic" | "also" | "instead")
    }

    fn list(&mut self, mode: Option<Mode>) {
        if let Some(last) = self.lists.last_mut() {
            *last = mode;
        }
        self.expects = mode;
    }

    /// Relations follow whose rows are changed.
    fn alters(&mut self) {
        self.said.alters = true;
        self.list(Some(Mode::Write));
    }

    /// Reads one token or a few. Gives the next one's place.
    fn step(&mut self, at: usize) -> usize {
        match &self.tokens[at] {
            Token::Sign(sign) => {
                self.sign(*sign, at);
                at + 1
            }
            Token::Text(_) => {
                self.expects = None;
                at + 1
            }
            Token::Word(word) => {
                let word = word.clone();
                let is_part = at > 0 && self.is(at - 1, '.');
                if !is_part && self.keyword(&word, at) {
                    return at + 1;
                }
                self.identifier(at)
            }
            Token::Quoted(_) => self.identifier(at),
        }
    }

    fn sign(&mut self, sign: char, at: usize) {
        match sign {
            '(' => {
                self.lists.push(self.expects);
                self.queries.push(self.word(at + 1) == "select");
            }
            ')' => {
                self.queries.pop();
                if self.lists.len() > 1 {
                    self.lists.pop();
                }
                self.expects = None;
            }
            ',' => self.expects = self.lists.last().copied().flatten(),
            ';' => {
                self.lists = vec![None];
                self.expects = None;
            }
            _ => self.expects = None,
        }
    }

    /// Whether a word was one that says what comes next.
    fn keyword(&mut self, word: &str, at: usize) -> bool {
        let before = self.before(at).to_owned();
        match word {
            "from" if before == "delete" => self.alters(),
            "from" => self.list(Some(Mode::Read)),
            "using" if !self.is(at + 1, '(') => self.list(Some(Mode::Read)),
            "join" => self.expects = Some(Mode::Read),
            "into" if before == "insert" => self.expects = Some(Mode::Write),
            "into" if before == "merge" => self.alters(),
            "conflict" if before == "on" => self.said.alters = true,
            "into" => self.into(at + 1),
            "update" if matches!(before.as_str(), "for" | "key") => self.said.locks = true,
            "share" if matches!(before.as_str(), "for" | "key") => self.said.locks = true,
            "update" if !matches!(before.as_str(), "do" | "on" | "or") => {
                self.said.alters = true;
                self.expects = Some(Mode::Write);
            }
            "truncate" if self.starts(at) => self.alters(),
            "only" | "lateral" | "table" | "strict" => {}
            "set" | "select" | "values" | "where" | "group" | "order" | "having" | "limit" | "returning"
            | "then" | "loop" | "window" | "begin" | "when" => self.list(None),
            "execute" => self.said.hides = Some("runs SQL that it puts together"),
            "call" | "do" if self.starts(at) && before != "also" => {
                self.said.hides = Some("calls procedures or blocks");
            }
            "copy" | "create" | "alter" | "drop" | "grant" | "revoke" | "lock" | "vacuum" | "refresh"
                if self.starts(at) =>
            {
                self.said.hides = Some("runs commands on objects");
            }
            "notify" if self.starts(at) => self.said.tells = true,
            "notice" | "warning" | "info" | "log" | "debug" if before == "raise" => self.said.tells = true,
            "return" => self.gives(at + 1),
            _ => return false,
        }
        true
    }

    /// SELECT … INTO variables, up to what goes on with the statement.
    fn into(&mut self, mut at: usize) {
        self.expects = None;
        while let Some(name) = self.name(at) {
            let name = name.clone();
            if name == "strict" {
                at += 1;
                continue;
            }
            let part = self.is(at + 1, '.').then(|| self.name(at + 2).cloned()).flatten();
            if name == "new" {
                self.said.sets.insert(part.clone());
            }
            at += if part.is_some() { 3 } else { 1 };
            if !self.is(at, ',') {
                return;
            }
            at += 1;
        }
    }

    /// What RETURN gives.
    fn gives(&mut self, at: usize) {
        let is_row = |at: usize| matches!(self.word(at), "new" | "old" | "null");
        let plain = self.is(at, ';') || is_row(at) && self.is(at + 1, ';');
        let either = self.word(at) == "coalesce"
            && self.is(at + 1, '(')
            && is_row(at + 2)
            && self.is(at + 3, ',')
            && is_row(at + 4)
            && self.is(at + 5, ')')
            && self.is(at + 6, ';');
        self.said.gives_another |= !plain && !either;
    }

    fn identifier(&mut self, at: usize) -> usize {
        let first = self.name(at).cloned().unwrap_or_default();
        let second = self.is(at + 1, '.').then(|| self.name(at + 2).cloned()).flatten();
        let end = if second.is_some() { at + 3 } else { at + 1 };
        self.condition(&first, second.as_deref(), end);
        let is_call = self.is(end, '(');
        if let Some(mode) = self.expects.take()
            && !(is_call && mode == Mode::Read)
        {
            let named = match second {
                Some(name) => (Some(first), name),
                None => (None, first),
            };
            match mode {
                Mode::Read => self.said.reads.insert(named),
                Mode::Write => self.said.writes.insert(named),
            };
            return end;
        }
        if matches!(first.as_str(), "new" | "old") {
            self.row(&first, second.as_deref(), at, end);
            // `new.f(…)` is no call, but the name that follows is a word of the row.
            return end;
        }
        if is_call {
            self.call(second.as_deref().unwrap_or(&first), end + 1);
        }
        self.said.words.extend([Some(first), second].into_iter().flatten());
        end
    }

    /// `a.k = b.k`, `k IN (SELECT a.k FROM …)`, and what makes such a thing doubtful.
    fn condition(&mut self, first: &str, second: Option<&str>, end: usize) {
        let one = match second {
            Some(column) => (first.to_owned(), column.to_owned()),
            None => (String::new(), first.to_owned()),
        };
        let labelled = |at: usize| {
            let label = self.name(at).filter(|_| self.is(at + 1, '.'))?;
            Some((label.clone(), self.name(at + 2)?.clone()))
        };
        let other = if self.is(end, '=') && second.is_some() {
            labelled(end + 1)
        } else if self.word(end) == "in" && self.is(end + 1, '(') && self.word(end + 2) == "select" {
            labelled(end + 3).filter(|_| self.word(end + 6) == "from")
        } else {
            None
        };
        self.said.joins.extend(other.map(|other| (one, other)));
        let doubtful = match first {
            "or" | "union" | "case" | "left" | "right" | "full" => self.queries.contains(&true),
            "not" => (end..).find(|at| !self.is(*at, '(')).is_some_and(|at| self.word(at) != "exists"),
            _ => false,
        };
        self.said.may_not_hold |= doubtful && second.is_none();
    }

    /// NEW and OLD.
    fn row(&mut self, name: &str, column: Option<&str>, at: usize, end: usize) {
        let whole = column.is_none() && self.is(at + 1, '.') && self.is(at + 2, '*');
        if whole {
            self.said.of_row.insert("*".into());
        }
        self.said.of_row.extend(column.map(str::to_owned));
        let taken = column.is_none() && !self.is_given_back(at, end);
        self.said.takes_row |= taken;
        if name == "new" {
            self.said.of_new.extend(column.map(str::to_owned).or(taken.then(|| "*".to_owned())));
        }
        // The value may be set in a part of the column.
        let mut after = end;
        while self.is(after, '[') || self.is(after, '.') {
            while after < self.tokens.len()
                && !self.is(after, ']')
                && !self.is(after, ':')
                && !self.is(after, ';')
            {
                after += 1;
            }
            after += usize::from(self.is(after, ']'));
        }
        let assigns =
            self.is(after, ':') && self.is(after + 1, '=') || self.is(after, '=') && self.starts(at);
        if name == "new" && assigns {
            self.said.sets.insert(column.map(str::to_owned));
        }
    }

    /// Whether a row stands in `RETURN row;` or in `RETURN coalesce(row, row);`.
    fn is_given_back(&self, at: usize, end: usize) -> bool {
        let behind = |n: usize, word: &str| at >= n && self.word(at - n) == word;
        let opens = |n: usize| at >= n && self.is(at - n, '(');
        behind(1, "return") && self.is(end, ';')
            || opens(1) && behind(2, "coalesce") && behind(3, "return")
            || opens(3)
                && behind(4, "coalesce")
                && behind(5, "return")
                && self.is(end, ')')
                && self.is(end + 1, ';')
    }

    fn call(&mut self, name: &str, argument: usize) {
        match name {
            "nextval" | "setval" | "currval" => {
                let sequence = match self.tokens.get(argument) {
                    Some(Token::Text(text)) => {
                        text.rsplit('.').next().map(|name| name.trim_matches('"').to_owned())
                    }
                    _ => None,
                };
                self.said.counts.insert(sequence);
            }
            "lastval" => drop(self.said.counts.insert(None)),
            "pg_notify" => self.said.tells = true,
            "set_config" => self.said.hides = Some("changes settings"),
            _ if reads_by_text(name) => self.said.hides = Some("reads tables that it is told of in a string"),
            _ if name.starts_with("pg_advisory") || name.starts_with("pg_try_advisory") => {
                self.said.locks_by_number = true;
            }
            _ => {}
        }
        self.said.calls.insert(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(named: &BTreeSet<Named>) -> Vec<&str> {
        let mut names: Vec<_> = named.iter().map(|(_, name)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_read_and_what_is_written_is_told_apart() {
        for (text, reads, writes) in [
            ("BEGIN INSERT INTO log VALUES (new.id); RETURN new; END", &[][..], &["log"][..]),
            (
                "SELECT a INTO b FROM x, only y z, lateral f(1) JOIN s.w ON true WHERE q, r",
                &["w", "x", "y"],
                &[],
            ),
            ("UPDATE a SET b = 1, c = 2 FROM d WHERE e = ANY (SELECT f FROM g, h)", &["d", "g", "h"], &["a"]),
            ("DELETE FROM a USING b, c WHERE true", &["b", "c"], &["a"]),
            ("INSERT INTO a (b, c) SELECT d FROM e ON CONFLICT (f) DO UPDATE SET g = 1", &["e"], &["a"]),
            ("MERGE INTO a USING b ON true WHEN MATCHED THEN UPDATE SET c = 1", &["b"], &["a"]),
            ("TRUNCATE TABLE a, b; PERFORM 1 FROM (x JOIN y USING (k))", &["x", "y"], &["a", "b"]),
            ("new.update := new.from; x := new.\"into\" || 'FROM t' -- FROM u\n;", &[], &[]),
            ("FOR r IN SELECT * FROM a LOOP NULL; END LOOP;", &["a"], &[]),
        ] {
            let said = Said::of(text);
            assert_eq!(
                (names(&said.reads), names(&said.writes)),
                (reads.to_vec(), writes.to_vec()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_a_trigger_sets_of_its_row_is_seen() {
        let set = |text: &str| Said::of(text).sets.into_iter().collect::<Vec<_>>();
        let column = |name: &str| vec![Some(name.to_owned())];
        assert_eq!(set("BEGIN new.user_id := new.n; RETURN new; END"), column("user_id"));
        assert_eq!(set("BEGIN NEW . \"User\" = 1; END"), column("User"));
        assert_eq!(set("BEGIN IF x THEN new.tags[1] := 2; END IF; END"), column("tags"));
        assert_eq!(set("BEGIN SELECT 1, 2 INTO STRICT a, new.k FROM t; END"), column("k"));
        assert_eq!(set("BEGIN new := other; END"), vec![None]);
        assert_eq!(
            set("BEGIN IF new.user_id = old.user_id AND new.k = 3 THEN x := new.k; END IF; END"),
            vec![]
        );
    }

    #[test]
    fn a_trigger_gives_its_row_or_another() {
        for (text, another) in [
            ("BEGIN RETURN NEW; END", false),
            ("BEGIN RETURN coalesce(new, old); END", false),
            ("BEGIN RETURN NULL; RETURN; END", false),
            ("BEGIN RETURN r; END", true),
            ("BEGIN RETURN new #= h; END", true),
        ] {
            assert_eq!(Said::of(text).gives_another, another, "{text}");
        }
    }

    #[test]
    fn what_is_taken_of_the_new_row_is_seen() {
        let of = |text: &str| {
            let said = Said::of(text);
            (said.of_new.into_iter().collect::<Vec<_>>().join(","), said.takes_row)
        };
        for (text, new, whole) in [
            ("BEGIN new.rev := old.rev + 1; RETURN new; END", "rev", false),
            ("BEGIN RETURN coalesce(new, old); END", "", false),
            ("BEGIN INSERT INTO log VALUES (old.user_id); RETURN NULL; END", "", false),
            ("BEGIN INSERT INTO log SELECT new.*; RETURN NULL; END", "*", true),
            ("BEGIN IF new IS DISTINCT FROM old THEN x := 1; END IF; RETURN new; END", "*", true),
            ("BEGIN x := to_jsonb(old); RETURN new; END", "", true),
        ] {
            assert_eq!(of(text), (new.to_owned(), whole), "{text}");
        }
    }

    #[test]
    fn adding_rows_is_no_alteration() {
        for (text, alters) in [
            ("INSERT INTO log VALUES (1) RETURNING id INTO x", false),
            ("INSERT INTO log VALUES (1) ON CONFLICT DO NOTHING", true),
            ("UPDATE log SET n = 1", true),
            ("DELETE FROM log", true),
            ("MERGE INTO log USING x ON true WHEN MATCHED THEN DELETE", true),
            ("TRUNCATE log", true),
            ("SELECT 1 FROM log", false),
        ] {
            assert_eq!(Said::of(text).alters, alters, "{text}");
        }
    }

    #[test]
    fn what_can_not_be_followed_is_said() {
        for text in [
            "BEGIN EXECUTE 'x'; END",
            "BEGIN CREATE TABLE a(); END",
            "FOR r IN EXECUTE q LOOP",
            "BEGIN x := '",
        ] {
            assert!(Said::of(text).hides.is_some(), "{text}");
        }
        assert_eq!(Said::of("BEGIN new.copy := new.execute; RAISE EXCEPTION 'EXECUTE'; END").hides, None);
        assert!(
            Said::of("BEGIN RAISE NOTICE 'x'; END").tells
                && !Said::of("BEGIN RAISE EXCEPTION 'x'; END").tells
        );
        let counts = Said::of("x := nextval('public.s'::regclass)").counts;
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [Some("s".to_owned())]);
    }
}
