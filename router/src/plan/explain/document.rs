//! JSON, XML and YAML in the form that Postgres writes them: what servers wrote is taken apart by its indentation, and put
//! together with entries of our own. Source: ExplainOpenGroup, ExplainProperty and what they call, in explain.c.

use super::Format;

/// What XML begins with.
const XMLNS: &str = "<explain xmlns=\"http://www.postgresql.org/2009/explain\">";

/// A value of ours.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    Text(String),
    /// A number.
    Number(u64),
    /// A list of strings.
    Texts(Vec<String>),
    /// A list of numbers.
    Numbers(Vec<u64>),
    /// An object.
    Group(Vec<Entry>),
    /// A list of objects; in XML each has this name.
    Groups(&'static str, Vec<Vec<Entry>>),
}

/// A member of an object, or some.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Of ours: its name, which has spaces between its words.
    Own(&'static str, Value),
    /// As a server wrote them.
    Said(Vec<String>),
}

/// A member of an object as a server wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, as the format spells it.
    pub name: String,
    /// Its lines, from the margin on, without a comma behind.
    pub lines: Vec<String>,
}

impl Member {
    /// The members of the object that it is.
    pub fn inside(&self, format: Format) -> Vec<String> {
        let end = self.lines.len().saturating_sub(usize::from(format != Format::Yaml));
        let inner = self.lines.get(1..end).unwrap_or_default();
        inner.iter().map(|line| outdented(format, line, 2)).collect()
    }
}

/// The explanations in a server's document: one for each statement that its rules made of the one that was asked about.
pub fn taken_apart(format: Format, text: &str) -> Vec<Vec<Member>> {
    let mut explanations: Vec<Vec<Member>> = Vec::new();
    for line in text.lines() {
        let (opens, line) = match format {
            Format::Yaml => match line.strip_prefix("- ") {
                Some(rest) => (true, rest.to_owned()),
                None => (false, outdented(format, line, 2)),
            },
            Format::Json if line == "  {" => (true, String::new()),
            Format::Xml if line == "  <Query>" => (true, String::new()),
            Format::Json if matches!(line, "[" | "]" | "  }" | "  },") => continue,
            Format::Xml if matches!(line, XMLNS | "</explain>" | "  </Query>") => continue,
            _ => (false, outdented(format, line, 4)),
        };
        if opens {
            explanations.push(Vec::new());
        }
        let Some(members) = explanations.last_mut().filter(|_| !line.is_empty()) else { continue };
        match (named(format, &line), members.last_mut()) {
            (Some(name), _) => members.push(Member { name, lines: vec![line] }),
            (None, Some(last)) => last.lines.push(line),
            (None, None) => {}
        }
    }
    if format == Format::Json {
        let members = explanations.iter_mut().flatten();
        members.filter_map(|member| member.lines.last_mut()).for_each(|line| {
            if line.ends_with(',') {
                line.pop();
            }
        });
    }
    explanations
}

/// The name of the member that begins with this line, if one does.
fn named(format: Format, line: &str) -> Option<String> {
    let name = match format {
        Format::Json => line.strip_prefix('"')?.split('"').next()?,
        Format::Xml => {
            line.strip_prefix('<').filter(|rest| !rest.starts_with('/'))?.split(['>', '/']).next()?
        }
        _ if line.starts_with([' ', '-']) => return None,
        _ => line.split_once(':')?.0,
    };
    Some(name.to_owned())
}

/// A line that stands so many columns further to the left. In XML a text may go on over several lines: those are its own.
fn outdented(format: Format, line: &str, columns: usize) -> String {
    let spaces = line.bytes().take_while(|byte| *byte == b' ').count();
    match format {
        Format::Xml if !line[spaces..].starts_with('<') => line.to_owned(),
        _ => line[spaces.min(columns)..].to_owned(),
    }
}

/// A document of explanations.
pub fn document(format: Format, explanations: &[Vec<Entry>]) -> String {
    let mut out = Vec::new();
    let last = explanations.len().saturating_sub(1);
    match format {
        Format::Json => {
            out.push("[".to_owned());
            for (n, entries) in explanations.iter().enumerate() {
                out.push("  {".to_owned());
                out.extend(indented(format, members(format, entries), "    "));
                out.push(if n < last { "  }," } else { "  }" }.to_owned());
            }
            out.push("]".to_owned());
        }
        Format::Xml => {
            out.push(XMLNS.to_owned());
            for entries in explanations {
                out.push("  <Query>".to_owned());
                out.extend(indented(format, members(format, entries), "    "));
                out.push("  </Query>".to_owned());
            }
            out.push("</explain>".to_owned());
        }
        Format::Yaml | Format::Text => {
            out.extend(explanations.iter().flat_map(|entries| listed(members(format, entries))));
        }
    }
    out.join("\n")
}

/// The lines of an object's members.
fn members(format: Format, entries: &[Entry]) -> Vec<String> {
    let mut blocks: Vec<Vec<String>> = entries.iter().map(|entry| member(format, entry)).collect();
    blocks.retain(|block| !block.is_empty());
    if format == Format::Json {
        let last = blocks.len().saturating_sub(1);
        blocks[..last].iter_mut().filter_map(|block| block.last_mut()).for_each(|line| line.push(','));
    }
    blocks.concat()
}

fn member(format: Format, entry: &Entry) -> Vec<String> {
    match (entry, format) {
        (Entry::Said(lines), _) => lines.clone(),
        (Entry::Own(name, value), Format::Json) => json(name, value),
        (Entry::Own(name, value), Format::Xml) => xml(&name.replace(' ', "-"), value),
        (Entry::Own(name, value), _) => yaml(name, value),
    }
}

fn json(name: &str, value: &Value) -> Vec<String> {
    let name = quoted(name);
    let list = |items: Vec<String>| vec![format!("{name}: [{}]", items.join(", "))];
    let object = |entries: &[Entry]| indented(Format::Json, members(Format::Json, entries), "  ");
    match value {
        Value::Text(text) => vec![format!("{name}: {}", quoted(text))],
        Value::Number(number) => vec![format!("{name}: {number}")],
        Value::Texts(texts) => list(texts.iter().map(|text| quoted(text)).collect()),
        Value::Numbers(numbers) => list(numbers.iter().map(u64::to_string).collect()),
        Value::Group(entries) => {
            [vec![format!("{name}: {{")], object(entries), vec!["}".to_owned()]].concat()
        }
        Value::Groups(_, groups) => {
            let last = groups.len().saturating_sub(1);
            let one = |(n, entries): (usize, &Vec<Entry>)| {
                let end = if n < last { "}," } else { "}" };
                let lines = [vec!["{".to_owned()], object(entries), vec![end.to_owned()]].concat();
                indented(Format::Json, lines, "  ")
            };
            let groups = groups.iter().enumerate().flat_map(one).collect();
            [vec![format!("{name}: [")], groups, vec!["]".to_owned()]].concat()
        }
    }
}

fn yaml(name: &str, value: &Value) -> Vec<String> {
    let list = |items: Vec<String>| {
        let items = items.into_iter().map(|item| format!("  - {item}")).collect();
        [vec![format!("{name}: ")], items].concat()
    };
    match value {
        Value::Text(text) => vec![format!("{name}: {}", quoted(text))],
        Value::Number(number) => vec![format!("{name}: {number}")],
        Value::Texts(texts) => list(texts.iter().map(|text| quoted(text)).collect()),
        Value::Numbers(numbers) => list(numbers.iter().map(u64::to_string).collect()),
        Value::Group(entries) => {
            let inner = indented(Format::Yaml, members(Format::Yaml, entries), "  ");
            [vec![format!("{name}: ")], inner].concat()
        }
        Value::Groups(_, groups) => {
            let one =
                |entries: &Vec<Entry>| indented(Format::Yaml, listed(members(Format::Yaml, entries)), "  ");
            [vec![format!("{name}: ")], groups.iter().flat_map(one).collect()].concat()
        }
    }
}

fn xml(tag: &str, value: &Value) -> Vec<String> {
    let element = |tag: &str, text: &str| format!("<{tag}>{text}</{tag}>");
    let list = |items: Vec<String>| {
        let items = items.iter().map(|item| format!("  {}", element("Item", item))).collect();
        [vec![format!("<{tag}>")], items, vec![format!("</{tag}>")]].concat()
    };
    let object = |tag: &str, entries: &[Entry]| {
        let inner = indented(Format::Xml, members(Format::Xml, entries), "  ");
        [vec![format!("<{tag}>")], inner, vec![format!("</{tag}>")]].concat()
    };
    match value {
        Value::Text(text) => vec![element(tag, &escaped(text))],
        Value::Number(number) => vec![element(tag, &number.to_string())],
        Value::Texts(texts) => list(texts.iter().map(|text| escaped(text)).collect()),
        Value::Numbers(numbers) => list(numbers.iter().map(u64::to_string).collect()),
        Value::Group(entries) => object(tag, entries),
        Value::Groups(item, groups) => {
            let groups = groups.iter().flat_map(|entries| object(item, entries)).collect();
            [vec![format!("<{tag}>")], indented(Format::Xml, groups, "  "), vec![format!("</{tag}>")]]
                .concat()
        }
    }
}

/// Lines as an entry of a list in YAML.
fn listed(lines: Vec<String>) -> Vec<String> {
    let begin = |n| if n == 0 { "- " } else { "  " };
    lines.into_iter().enumerate().map(|(n, line)| format!("{}{line}", begin(n))).collect()
}

fn indented(format: Format, lines: Vec<String>, by: &str) -> Vec<String> {
    let is_own = |line: &str| format == Format::Xml && !line.trim_start().starts_with('<');
    lines.into_iter().map(|line| if is_own(&line) { line } else { format!("{by}{line}") }).collect()
}

/// A JSON string, which is a YAML string too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#x0d;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"[
  {
    "Plan": {
      "Node Type": "Seq Scan",
      "Output": ["a", "b"],
      "Plans": [
        {
          "Node Type": "Result"
        }
      ]
    },
    "Planning Time": 0.1,
    "Triggers": [
    ],
    "Execution Time": 0.2
  }
]"#;

    const YAML: &str = "- Plan: \n    Node Type: \"Seq Scan\"\n    Plans: \n      - Node Type: \"Result\"\n        Rows: 1\n  \
                        Planning Time: 0.1\n  Triggers: \n  Execution Time: 0.2";

    const XML: &str = "<explain xmlns=\"http://www.postgresql.org/2009/explain\">\n  <Query>\n    <Plan>\n      \
                       <Filter>(a = 'x\n    y'::text)</Filter>\n    </Plan>\n    <Triggers>\n    </Triggers>\n  </Query>\n</explain>";

    fn names(format: Format, text: &str) -> Vec<Vec<String>> {
        let all = taken_apart(format, text);
        all.into_iter().map(|members| members.into_iter().map(|member| member.name).collect()).collect()
    }

    fn again(format: Format, text: &str) -> String {
        let entries =
            |members: Vec<Member>| members.into_iter().map(|member| Entry::Said(member.lines)).collect();
        document(format, &taken_apart(format, text).into_iter().map(entries).collect::<Vec<_>>())
    }

    #[test]
    fn a_document_that_is_taken_apart_and_put_together_is_the_same() {
        for (format, text) in [(Format::Json, JSON), (Format::Yaml, YAML), (Format::Xml, XML)] {
            assert_eq!(again(format, text), text);
        }
        assert_eq!(names(Format::Json, JSON), [["Plan", "Planning Time", "Triggers", "Execution Time"]]);
        assert_eq!(names(Format::Yaml, YAML), [["Plan", "Planning Time", "Triggers", "Execution Time"]]);
        assert_eq!(names(Format::Xml, XML), [["Plan", "Triggers"]]);
        let two = "[\n  {\n    \"Plan\": {\n    }\n  },\n  {\n    \"Plan\": {\n    }\n  }\n]";
        assert_eq!((names(Format::Json, two).len(), again(Format::Json, two)), (2, two.to_owned()));
    }

    fn own(format: Format, text: &str) -> String {
        let plan = taken_apart(format, text).remove(0).remove(0);
        let server = || vec![Entry::Own("Shard", Value::Number(1)), Entry::Said(plan.inside(format))];
        let about = vec![
            Entry::Own("Tier", Value::Text("a \"b\" <c> & é".into())),
            Entry::Own("Shards", Value::Numbers(vec![0, 1])),
            Entry::Own("Pushed Down", Value::Texts(vec!["x".into(), "y".into()])),
            Entry::Said(Vec::new()),
        ];
        let plans = Value::Group(vec![Entry::Own("Plans", Value::Groups("Plan", vec![server(), server()]))]);
        document(format, &[vec![Entry::Own("Shardway", Value::Group(about)), Entry::Own("Plan", plans)]])
    }

    #[test]
    fn json_of_ours_is_json() {
        let value: serde_json::Value = serde_json::from_str(&own(Format::Json, JSON)).unwrap();
        assert_eq!(value[0]["Shardway"]["Tier"], "a \"b\" <c> & é");
        assert_eq!(value[0]["Shardway"]["Shards"], serde_json::json!([0, 1]));
        assert_eq!(value[0]["Plan"]["Plans"][1]["Shard"], 1);
        assert_eq!(value[0]["Plan"]["Plans"][1]["Plans"][0]["Node Type"], "Result");
    }

    #[test]
    fn yaml_and_xml_of_ours_look_as_those_of_postgres() {
        let expected = "- Shardway: \n    Tier: \"a \\\"b\\\" <c> & é\"\n    Shards: \n      - 0\n      - 1\n    Pushed Down: \n      - \"x\"\n      - \"y\"\n  \
                        Plan: \n    Plans: \n      - Shard: 1\n        Node Type: \"Seq Scan\"\n        Plans: \n          - Node Type: \"Result\"\n            Rows: 1\n      \
                        - Shard: 1\n        Node Type: \"Seq Scan\"\n        Plans: \n          - Node Type: \"Result\"\n            Rows: 1";
        assert_eq!(own(Format::Yaml, YAML), expected);
        let xml = own(Format::Xml, XML);
        assert!(xml.contains("\n      <Pushed-Down>\n        <Item>x</Item>\n"), "{xml}");
        assert!(xml.contains("<Tier>a \"b\" &lt;c&gt; &amp; é</Tier>"), "{xml}");
        assert!(
            xml.contains("\n          <Filter>(a = 'x\n    y'::text)</Filter>\n        </Plan>\n"),
            "{xml}"
        );
    }
}
