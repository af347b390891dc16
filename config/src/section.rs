//! One table of the file. It remembers which keys it was asked for; what is left over at the end is unknown
//! and reported. So a key is known because it is read, and no list of keys can fall behind.

use toml::de::DeTable;

use crate::context::{At, Checked, Context};
use crate::suggest::nearest;
use crate::value::{Value, quoted};

/// One table. A table that the file does not have is an empty one at the place of its parent.
pub(crate) struct Section<'a> {
    context: &'a Context<'a>,
    table: Option<&'a DeTable<'a>>,
    path: String,
    listed: bool,
    at: At,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole file; `origin` is where problems with the whole are put.
    pub(crate) fn root(context: &'a Context<'a>, table: &'a DeTable<'a>, origin: At) -> Self {
        Self {
            context,
            table: Some(table),
            path: String::new(),
            listed: false,
            at: origin,
            known: Vec::new(),
        }
    }

    pub(crate) fn context(&self) -> &'a Context<'a> {
        self.context
    }

    /// Where the table begins.
    pub(crate) fn at(&self) -> At {
        self.at
    }

    /// Where a key's value is, or would have to be put.
    pub(crate) fn at_key(&self, key: &str) -> At {
        self.peek(key).map_or(self.at, Value::at)
    }

    /// Whether the key is there with an empty list.
    pub(crate) fn is_empty_list(&self, key: &str) -> bool {
        self.peek(key).is_some_and(Value::is_empty_list)
    }

    /// Whether the key is there with anything but an empty list.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.peek(key).is_some_and(|value| !value.is_empty_list())
    }

    fn peek(&self, key: &str) -> Option<Value<'a>> {
        let value = self.table?.get(key)?;
        Some(Value::new(self.context, value))
    }

    /// A key's value. From here on the key is known.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        self.peek(key)
    }

    /// `[key]` in this table.
    pub(crate) fn table(&mut self, key: &'static str) -> Section<'a> {
        let value = self.value(key);
        let table = value.and_then(|value| value.table().ok());
        self.child(key, table, value.map_or(self.at, Value::at), false)
    }

    /// `[[key]]` in this table, one after the other.
    pub(crate) fn tables(&mut self, key: &'static str) -> Checked<Vec<Section<'a>>> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let header = format!("a list of tables, each under [[{}]]", self.below(key));
        let elements = value.list(&header)?;
        let child = |element: &Value<'a>| {
            let table = element.table().ok()?;
            Some(self.child(key, Some(table), element.at(), true))
        };
        Ok(elements.iter().filter_map(child).collect())
    }

    fn child(&self, key: &str, table: Option<&'a DeTable<'a>>, at: At, listed: bool) -> Section<'a> {
        Section { context: self.context, table, path: self.below(key), listed, at, known: Vec::new() }
    }

    fn below(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The table's header, as the file has it.
    pub(crate) fn header(&self) -> String {
        let path = &self.path;
        if self.listed { format!("[[{path}]]") } else { format!("[{path}]") }
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self) {
        let keys = self.table.iter().flat_map(|table| table.keys());
        for key in keys.filter(|key| !self.known.contains(&key.get_ref().as_ref())) {
            let message = self.unknown(key.get_ref());
            self.context.report(At::Offset(key.span().start), message);
        }
    }

    fn unknown(&self, key: &str) -> String {
        let place =
            if self.path.is_empty() { "at the top level".into() } else { format!("in {}", self.header()) };
        let hint = match nearest(key, &self.known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("known keys: {}", self.known.join(", ")),
        };
        format!("unknown key {} {place}; {hint}", quoted(key))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::problems;

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_its_neighbour() {
        assert_eq!(
            problems("[pool]\nmode = \"session\"\n  default_pol_size = 3\n"),
            "t.toml:3:3: unknown key \"default_pol_size\" in [pool]; did you mean \"default_pool_size\"?"
        );
        assert_eq!(
            problems("[sever]\n"),
            "t.toml:1:2: unknown key \"sever\" at the top level; did you mean \"server\"?"
        );
        assert_eq!(
            problems("[[users]]\nname = \"u\"\npasword = \"hunter2\"\n"),
            "t.toml:3:1: unknown key \"pasword\" in [[users]]; did you mean \"password\"?"
        );
    }

    #[test]
    fn a_key_like_no_other_gets_the_list_of_known_ones() {
        assert_eq!(
            problems("[[cache.rules]]\ntable = \"t\"\ncolour = 1\n"),
            "t.toml:3:1: unknown key \"colour\" in [[cache.rules]]; known keys: table, ttl"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_says_what_was_expected_and_what_was_found() {
        assert_eq!(problems("pool = 3\n"), "t.toml:1:8: expected a table, found an integer");
        assert_eq!(
            problems("[users]\nname = \"u\"\n"),
            "t.toml:1:1: expected a list of tables, each under [[users]], found a table"
        );
        assert_eq!(
            problems(
                "[pool]\nmin_pool_size = \"x\"\nmode = 1\nquery_timeout = 1.5\n[routing]\nreplica_reads = 1"
            ),
            "t.toml:2:17: expected a whole number, found a string\n\
             t.toml:3:8: expected a string, found an integer\n\
             t.toml:4:17: expected a duration such as \"250ms\", \"15s\", \"10m\", \"1h\" or \"2d\", or a number of \
             seconds, found a float\n\
             t.toml:6:17: expected true or false, found an integer"
        );
    }

    #[test]
    fn strange_keys_are_shown_on_one_line() {
        let text = format!("\"a\\nb{}\" = 1\n", "x".repeat(1000));
        let shown = problems(&text);
        assert!(shown.starts_with("t.toml:1:1: unknown key \"a\\nbxxx"), "{shown}");
        assert_eq!(shown.lines().count(), 1);
        assert!(shown.len() < 250, "{shown}");
    }
}
