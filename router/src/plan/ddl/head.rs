//! What a command on objects says in its first words: what it does, to which kind of object, and to which ones.
//!
//! Read without the parser: where it goes depends on these words alone, they are few, and the rest of such commands is
//! where every version of Postgres adds something. What they do in the end is read off the catalog afterwards.

use crate::sql::scan::{all_tokens, identifier};
use shardway_pool::catalog::Name;

/// A name as a command gives it: perhaps with a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The schema, if it is named.
    pub schema: Option<String>,
    /// The name.
    pub name: String,
}

impl Object {
    /// Whether it is this one, as far as it says.
    pub fn is(&self, name: &Name) -> bool {
        self.name == name.1 && self.schema.as_ref().is_none_or(|schema| *schema == name.0)
    }
}

/// The head of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The first word, in upper case.
    pub verb: String,
    /// The kind of object, in upper case: `TABLE`, `MATERIALIZED VIEW`, …; empty where the verb has none.
    pub kind: String,
    /// CONCURRENTLY.
    pub concurrently: bool,
    /// UNIQUE.
    pub unique: bool,
    /// Relations that it is about: for an index, a trigger and the like those that they are on.
    pub relations: Vec<Object>,
    /// Indexes that it names.
    pub indexes: Vec<Object>,
    /// The schema that it makes, changes or drops.
    pub schemas: Vec<String>,
    /// Every token behind what was read; the first is at the place where reading stopped.
    pub rest: Vec<String>,
}

/// A command's tokens, and how far they have been read.
pub struct Words<'a> {
    tokens: Vec<&'a str>,
    at: usize,
}

/// Kinds whose names are those of relations.
const RELATIONS: [&str; 6] = ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE", "PARTITION"];

/// Words that stand between a verb and its kind, and say no more than how.
const MANNERS: [&str; 9] =
    ["OR", "REPLACE", "UNLOGGED", "RECURSIVE", "CONSTRAINT", "TRUSTED", "PROCEDURAL", "GLOBAL", "LOCAL"];

impl<'a> Words<'a> {
    /// Of a text; `None`: something in it is not closed.
    pub fn of(text: &'a str) -> Option<Self> {
        let tokens = all_tokens(text)?.into_iter().map(|range| &text[range]).filter(|token| *token != ";");
        Some(Self { tokens: tokens.collect(), at: 0 })
    }

    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).copied().unwrap_or_default()
    }

    fn is(&self, word: &str) -> bool {
        self.peek().eq_ignore_ascii_case(word)
    }

    fn upper(&self) -> String {
        self.peek().to_ascii_uppercase()
    }

    fn next(&mut self) -> &'a str {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// Takes a word if it is there.
    fn take(&mut self, word: &str) -> bool {
        let is = self.is(word);
        self.at += usize::from(is);
        is
    }

    fn take_any(&mut self, words: &[&str]) -> bool {
        let mut any = false;
        while words.iter().any(|word| self.take(word)) {
            any = true;
        }
        any
    }

    /// Takes what stands in parentheses, if something does.
    fn take_list(&mut self) {
        if !self.is("(") {
            return;
        }
        let mut depth = 0usize;
        while self.at < self.tokens.len() {
            match self.next() {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Goes on behind the first of these words that stands outside of parentheses. Whether there is one.
    fn seek(&mut self, words: &[&str]) -> bool {
        while self.at < self.tokens.len() {
            if self.is("(") {
                self.take_list();
            } else if words.iter().any(|word| self.take(word)) {
                return true;
            } else {
                self.at += 1;
            }
        }
        false
    }

    /// A name, dots included.
    fn name(&mut self) -> Option<Vec<String>> {
        let mut parts = Vec::new();
        loop {
            let token = self.peek();
            let starts = token.chars().next()?;
            if !(starts == '"' || starts == '_' || starts.is_alphabetic()) {
                return None;
            }
            parts.push(identifier(token));
            self.at += 1;
            if !self.take(".") {
                return Some(parts);
            }
        }
    }

    fn object(&mut self) -> Option<Object> {
        let mut parts = self.name()?;
        let name = parts.pop()?;
        Some(Object { schema: parts.pop(), name })
    }

    /// Names with commas between them; what may follow each (a column list, `*`) is passed over.
    fn objects(&mut self) -> Vec<Object> {
        let mut all = Vec::new();
        loop {
            self.take("ONLY");
            let Some(object) = self.object() else { return all };
            all.push(object);
            self.take("*");
            self.take_list();
            if !self.take(",") {
                return all;
            }
        }
    }

    fn if_exists(&mut self) {
        if self.take("IF") {
            self.take("NOT");
            self.take("EXISTS");
        }
    }

    /// The kind of object.
    fn kind(&mut self) -> String {
        let first = self.next().to_ascii_uppercase();
        let second = match first.as_str() {
            "MATERIALIZED" => "VIEW",
            "FOREIGN" if self.is("TABLE") => "TABLE",
            "FOREIGN" if self.is("DATA") => "DATA",
            "EVENT" => "TRIGGER",
            "TEXT" => "SEARCH",
            "ACCESS" => "METHOD",
            "USER" if self.is("MAPPING") => "MAPPING",
            "OPERATOR" if self.is("CLASS") => "CLASS",
            "OPERATOR" if self.is("FAMILY") => "FAMILY",
            _ => return first,
        };
        self.take(second);
        format!("{first} {second}")
    }

    /// Tokens that are left.
    fn rest(self) -> Vec<String> {
        self.tokens.into_iter().skip(self.at).map(str::to_owned).collect()
    }
}

impl Head {
    /// Of a command's text; `None`: something in it is not closed.
    pub fn of(text: &str) -> Option<Self> {
        let mut words = Words::of(text)?;
        let mut head = Self { verb: words.upper(), ..Self::default() };
        words.at += 1;
        match head.verb.as_str() {
            "CREATE" | "ALTER" | "DROP" => head.read_definition(&mut words),
            "COMMENT" | "SECURITY" => {
                words.seek(&["ON"]);
                head.kind = words.kind();
                head.read_commented(&mut words);
            }
            "GRANT" | "REVOKE" => head.read_granted(&mut words),
            "TRUNCATE" | "LOCK" => {
                words.take("TABLE");
                head.relations = words.objects();
            }
            "VACUUM" | "ANALYZE" | "ANALYSE" => {
                words.take_list();
                words.take_any(&["FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE"]);
                head.relations = words.objects();
            }
            "CLUSTER" => {
                words.take_list();
                words.take("VERBOSE");
                head.relations = words.objects();
            }
            "REFRESH" => {
                head.kind = words.kind();
                head.concurrently = words.take("CONCURRENTLY");
                head.relations = words.objects();
            }
            "REINDEX" => {
                words.take_list();
                head.kind = words.kind();
                head.concurrently = words.take("CONCURRENTLY");
                head.read_names(&mut words);
            }
            _ => {}
        }
        head.rest = words.rest();
        Some(head)
    }

    /// CREATE, ALTER, DROP.
    fn read_definition(&mut self, words: &mut Words<'_>) {
        loop {
            if words.take("UNIQUE") {
                self.unique = true;
            } else if !words.take_any(&MANNERS) {
                break;
            }
        }
        self.kind = words.kind();
        self.concurrently = words.take("CONCURRENTLY");
        match (self.verb.as_str(), self.kind.as_str()) {
            ("CREATE", "INDEX") => {
                words.seek(&["ON"]);
                words.take("ONLY");
                self.relations.extend(words.object());
            }
            (_, "TRIGGER" | "POLICY") if words.seek(&["ON"]) => self.relations.extend(words.object()),
            ("CREATE", "RULE") if words.seek(&["TO"]) => self.relations.extend(words.object()),
            (_, "RULE") if words.seek(&["ON"]) => self.relations.extend(words.object()),
            ("CREATE", "STATISTICS") if words.seek(&["FROM"]) => self.relations.extend(words.object()),
            _ => {
                words.if_exists();
                self.read_names(words);
            }
        }
    }

    /// The names of relations, indexes or schemas, by the kind of object.
    fn read_names(&mut self, words: &mut Words<'_>) {
        // ALTER TABLE ALL IN TABLESPACE, and a schema that is named after its owner.
        if words.is("ALL") || self.kind == "SCHEMA" && words.is("AUTHORIZATION") {
            return;
        }
        match self.kind.as_str() {
            "INDEX" => self.indexes = words.objects(),
            "SCHEMA" => self.schemas = words.objects().into_iter().map(|object| object.name).collect(),
            kind if RELATIONS.contains(&kind) => {
                words.take("ONLY");
                // Behind the name of a table that is made its columns stand, and they are looked at.
                match self.verb.as_str() {
                    "CREATE" | "ALTER" => self.relations.extend(words.object()),
                    _ => self.relations = words.objects(),
                }
            }
            _ => {}
        }
    }

    /// COMMENT ON, SECURITY LABEL ON.
    fn read_commented(&mut self, words: &mut Words<'_>) {
        match self.kind.as_str() {
            "COLUMN" => {
                if let Some(mut parts) = words.name() {
                    parts.pop();
                    let name = parts.pop();
                    self.relations.extend(name.map(|name| Object { schema: parts.pop(), name }));
                }
            }
            "CONSTRAINT" | "TRIGGER" | "POLICY" | "RULE" => {
                words.seek(&["ON"]);
                if !words.is("DOMAIN") {
                    self.relations.extend(words.object());
                }
            }
            _ => self.read_names(words),
        }
    }

    /// GRANT, REVOKE: of tables and sequences; of all else there is no place to know.
    fn read_granted(&mut self, words: &mut Words<'_>) {
        if !words.seek(&["ON"]) {
            return;
        }
        self.kind = "TABLE".to_owned();
        if words.is("ALL") {
            return;
        }
        let others = ["DATABASE", "DOMAIN", "FOREIGN", "FUNCTION", "PROCEDURE", "ROUTINE", "LANGUAGE"];
        let others = others.iter().chain(&["LARGE", "PARAMETER", "SCHEMA", "TABLESPACE", "TYPE"]);
        if let Some(kind) = others.into_iter().find(|kind| words.is(kind)) {
            self.kind = (*kind).to_owned();
            return;
        }
        let _ = words.take("TABLE") || words.take("SEQUENCE");
        self.relations = words.objects();
    }

    /// What the parentheses hold that come first in the rest: its elements, each as its tokens.
    pub fn elements(&self) -> Vec<&[String]> {
        let Some(open) = self.rest.iter().position(|token| token == "(") else { return Vec::new() };
        let (mut depth, mut start, mut all) = (0usize, open + 1, Vec::new());
        for (at, token) in self.rest.iter().enumerate().skip(open) {
            match token.as_str() {
                "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            let ends = depth == 0 || depth == 1 && token == ",";
            if ends {
                all.push(&self.rest[start..at]);
                start = at + 1;
            }
            if depth == 0 {
                break;
            }
        }
        all
    }

    /// Whether a word stands in the rest.
    pub fn says(&self, word: &str) -> bool {
        self.rest.iter().any(|token| token.eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relations(text: &str) -> Vec<String> {
        let head = Head::of(text).unwrap();
        let spelled = |object: &Object| match &object.schema {
            Some(schema) => format!("{schema}.{}", object.name),
            None => object.name.clone(),
        };
        head.relations.iter().map(spelled).collect()
    }

    #[test]
    fn relations_are_found_wherever_a_command_names_them() {
        for (text, expected) in [
            ("CREATE TABLE IF NOT EXISTS \"A b\".c (x int)", &["A b.c"][..]),
            ("create unlogged table T (x int, on int)", &["t"]),
            ("ALTER TABLE IF EXISTS ONLY s.t ADD x int", &["s.t"]),
            ("DROP TABLE IF EXISTS a, s.b CASCADE", &["a", "s.b"]),
            ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY s.t USING btree (a)", &["s.t"]),
            ("CREATE INDEX ON t (a)", &["t"]),
            (
                "CREATE OR REPLACE TRIGGER g BEFORE UPDATE OF a, b ON t FOR EACH ROW EXECUTE FUNCTION f()",
                &["t"],
            ),
            ("CREATE CONSTRAINT TRIGGER g AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION f()", &["s.t"]),
            ("DROP POLICY IF EXISTS p ON t", &["t"]),
            ("CREATE RULE r AS ON INSERT TO s.t DO NOTHING", &["s.t"]),
            ("COMMENT ON COLUMN s.t.c IS 'x'", &["s.t"]),
            ("COMMENT ON CONSTRAINT k ON t IS 'x'", &["t"]),
            ("GRANT SELECT (a), INSERT ON TABLE t, s.u TO app", &["t", "s.u"]),
            ("GRANT USAGE ON SCHEMA s TO app", &[]),
            ("GRANT app TO other", &[]),
            ("TRUNCATE TABLE ONLY a, b * RESTART IDENTITY", &["a", "b"]),
            ("TRUNCATE a", &["a"]),
            ("LOCK TABLE a, b IN SHARE MODE", &["a", "b"]),
            ("VACUUM (FULL, ANALYZE) a (x, y), b", &["a", "b"]),
            ("VACUUM FREEZE VERBOSE", &[]),
            ("ANALYZE a", &["a"]),
            ("REINDEX (VERBOSE) TABLE CONCURRENTLY a", &["a"]),
            ("CREATE MATERIALIZED VIEW IF NOT EXISTS m AS SELECT 1", &["m"]),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", &["m"]),
            ("ALTER SEQUENCE s.q RESTART", &["s.q"]),
        ] {
            assert_eq!(relations(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_undone_says_so() {
        assert!(Head::of("DROP INDEX CONCURRENTLY i").unwrap().concurrently);
        let head = Head::of("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a, lower(b), (c))").unwrap();
        assert!(head.concurrently && head.unique);
        let elements: Vec<String> = head.elements().iter().map(|tokens| tokens.join(" ")).collect();
        assert_eq!(elements, ["a", "lower ( b )", "( c )"]);
        let drop = Head::of("DROP INDEX s.i, j").unwrap();
        assert_eq!(drop.indexes.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["i", "j"]);
        assert_eq!(Head::of("CREATE SCHEMA IF NOT EXISTS shardway").unwrap().schemas, ["shardway"]);
    }
}
