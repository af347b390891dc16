//! What EXPLAIN says: how Shardway runs the statement, and below that each server's plan.

use super::Format;
use super::document::{Entry, Member, Value, document, taken_apart};
use super::words::wrapped;
use shardway_shardmap::ShardId;
use std::cmp::Ordering;

/// What is to be said.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it runs, in one word.
    pub tier: &'static str,
    /// Its shards' group.
    pub group: String,
    /// The shards that take part.
    pub shards: Vec<ShardId>,
    /// Shards of the group.
    pub of: u32,
    /// What there is to know beside that, in order.
    pub notes: Vec<(Note, String)>,
    /// The servers' plans.
    pub parts: Vec<Part>,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Shards of other groups that take part.
    Groups,
    /// The shard that runs the statement on what others bring.
    Engine,
    /// What shards are asked.
    PushedDown,
    /// What comes back.
    Travels,
    /// What the engine runs.
    Runs,
    /// How the answers become one.
    MergedBy,
    /// How a write ends.
    CommittedBy,
    /// What is to be known of the plans.
    Remark,
}

impl Note {
    /// As a line and as a member of a document say it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Groups => ("Other groups", "Other Groups"),
            Self::Engine => ("Engine", "Engine"),
            Self::PushedDown => ("Pushed down", "Pushed Down"),
            Self::Travels => ("Travels", "Travels"),
            Self::Runs => ("Runs there", "Runs There"),
            Self::MergedBy => ("Merged by", "Merged By"),
            Self::CommittedBy => ("Committed by", "Committed By"),
            Self::Remark => ("Note", "Note"),
        }
    }
}

/// A server's plan.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its shard.
    pub shard: ShardId,
    /// And that shard's group.
    pub group: String,
    /// Where the server is.
    pub server: String,
    /// Of what the plan is, where not of all that this shard does.
    pub of: Option<String>,
    /// The rows of its answer.
    pub rows: Vec<String>,
}

impl Report {
    /// As rows of the column `QUERY PLAN`.
    pub fn rows(&self, format: Format) -> Vec<String> {
        match format {
            Format::Text => self.lines(),
            format => vec![self.document(format)],
        }
    }

    fn lines(&self) -> Vec<String> {
        let shards: Vec<String> = self.shards.iter().map(ToString::to_string).collect();
        let spans = self.notes.iter().any(|(note, _)| *note == Note::Groups);
        let mut lines = vec![
            format!("Shardway: {}", self.tier),
            format!(
                "  Shards: {} (of {}{})",
                if shards.is_empty() { "none".into() } else { shards.join(", ") },
                self.of,
                if spans { format!(", group {}", self.group) } else { String::new() }
            ),
        ];
        for (note, text) in &self.notes {
            let mut wrapped = wrapped(text).into_iter();
            lines.push(format!("  {}: {}", note.names().0, wrapped.next().unwrap_or_default()));
            lines.extend(wrapped.map(|line| format!("      {line}")));
        }
        for part in &self.parts {
            let of = part.of.as_ref().map(|of| format!(", {of}")).unwrap_or_default();
            lines.push(format!("  Shard {} ({}, {}){of}:", part.shard, part.group, part.server));
            lines.extend(part.rows.iter().map(|row| format!("    {row}")));
        }
        lines
    }

    fn document(&self, format: Format) -> String {
        let mut explanations: Vec<Vec<Vec<Member>>> =
            self.parts.iter().map(|part| taken_apart(format, &part.rows.join("\n"))).collect();
        if let ("single", [_]) = (self.tier, &self.parts[..]) {
            let said =
                explanations.remove(0).into_iter().map(|members| members.into_iter().map(said).collect());
            let mut all: Vec<Vec<Entry>> = said.collect();
            let about = self.about(vec![self.server(&self.parts[0])]);
            match all.first_mut() {
                Some(first) => first.insert(0, about),
                None => all.push(vec![about]),
            }
            return document(format, &all);
        }
        let (mut servers, mut plans) = (Vec::new(), Vec::new());
        let slowest = ["Planning", "Execution"].map(|of| slowest(&explanations, of));
        for (part, explanations) in self.parts.iter().zip(explanations) {
            let mut server = self.server(part);
            for member in explanations.into_iter().flatten() {
                if member.name == "Plan" {
                    let mut plan = self.of_shard(part);
                    plan.push(Entry::Said(member.inside(format)));
                    plans.push(plan);
                } else {
                    server.push(said(member));
                }
            }
            servers.push(server);
        }
        let node = format!("Shardway {}{}", self.tier[..1].to_uppercase(), &self.tier[1..]);
        let plan = vec![
            Entry::Own("Node Type", Value::Text(node)),
            Entry::Own("Plans", Value::Groups("Plan", plans)),
        ];
        let mut all = vec![self.about(servers), Entry::Own("Plan", Value::Group(plan))];
        all.extend(slowest.into_iter().flatten().map(said));
        document(format, &[all])
    }

    /// The member `Shardway`.
    fn about(&self, servers: Vec<Vec<Entry>>) -> Entry {
        let mut entries = vec![
            Entry::Own("Tier", Value::Text(self.tier.to_owned())),
            Entry::Own("Group", Value::Text(self.group.clone())),
            Entry::Own(
                "Shards",
                Value::Numbers(self.shards.iter().map(|shard| u64::from(shard.0)).collect()),
            ),
            Entry::Own("Shards In Group", Value::Number(u64::from(self.of))),
        ];
        let mut said: Vec<Note> = Vec::new();
        for (note, _) in &self.notes {
            if said.contains(note) {
                continue;
            }
            said.push(*note);
            let texts = self.notes.iter().filter(|(other, _)| other == note).map(|(_, text)| text.clone());
            entries.push(Entry::Own(note.names().1, Value::Texts(texts.collect())));
        }
        entries.push(Entry::Own("Servers", Value::Groups("Server", servers)));
        Entry::Own("Shardway", Value::Group(entries))
    }

    fn server(&self, part: &Part) -> Vec<Entry> {
        let mut server = self.of_shard(part);
        server.insert(1, Entry::Own("Address", Value::Text(part.server.clone())));
        server
    }

    /// Which of a statement's plans it is.
    fn of_shard(&self, part: &Part) -> Vec<Entry> {
        let mut entries = vec![Entry::Own("Shard", Value::Number(u64::from(part.shard.0)))];
        if part.group != self.group {
            entries.push(Entry::Own("Group", Value::Text(part.group.clone())));
        }
        entries.extend(part.of.clone().map(|of| Entry::Own("Of", Value::Text(of))));
        entries
    }
}

/// The largest of the servers' times: they work at once.
fn slowest(explanations: &[Vec<Vec<Member>>], of: &str) -> Option<Member> {
    let time = |member: &Member| {
        let digits = member.lines.first()?.trim_matches(|c: char| !c.is_ascii_digit());
        digits.parse::<f64>().ok()
    };
    let is =
        |member: &&Member| member.name.strip_prefix(of).is_some_and(|rest| matches!(rest, " Time" | "-Time"));
    let members = explanations.iter().flatten().flatten().filter(is);
    members.max_by(|one, other| time(one).partial_cmp(&time(other)).unwrap_or(Ordering::Equal)).cloned()
}

fn said(member: Member) -> Entry {
    Entry::Said(member.lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tier: &'static str, rows: &[&str]) -> Report {
        let part = |(n, row): (u32, &&str)| Part {
            shard: ShardId(n),
            group: "main".into(),
            server: format!("10.0.0.{n}:5432/shop_{n}"),
            of: None,
            rows: row.lines().map(str::to_owned).collect(),
        };
        Report {
            tier,
            group: "main".into(),
            shards: (0..rows.len() as u32).map(ShardId).collect(),
            of: 4,
            notes: vec![
                (Note::PushedDown, format!("SELECT {} FROM t", "a_long_name, ".repeat(12))),
                (Note::Travels, "rows".into()),
            ],
            parts: (0..).zip(rows).map(part).collect(),
        }
    }

    #[test]
    fn lines_say_the_tier_first_and_each_shards_plan_below() {
        let lines = report("scatter", &["Seq Scan on t\n  Filter: x", "Result"]).rows(Format::Text);
        assert_eq!(lines[..2], ["Shardway: scatter", "  Shards: 0, 1 (of 4)"]);
        assert!(lines[2].starts_with("  Pushed down: SELECT a_long_name,"), "{lines:?}");
        assert!(lines[3].starts_with("      a_long_name,"), "{lines:?}");
        assert_eq!(
            lines[4..],
            [
                "  Travels: rows",
                "  Shard 0 (main, 10.0.0.0:5432/shop_0):",
                "    Seq Scan on t",
                "      Filter: x",
                "  Shard 1 (main, 10.0.0.1:5432/shop_1):",
                "    Result",
            ]
        );
    }

    const ANSWER: &str = "[\n  {\n    \"Plan\": {\n      \"Node Type\": \"Result\"\n    },\n    \"Execution Time\": 0.5\n  }\n]";

    #[test]
    fn documents_of_one_shard_are_its_own_with_one_member_more() {
        let rows = report("single", &[ANSWER]).rows(Format::Json);
        let [row] = &rows[..] else { panic!("{rows:?}") };
        let value: serde_json::Value = serde_json::from_str(row).unwrap();
        assert_eq!(value.as_array().unwrap().len(), 1);
        assert_eq!(value[0]["Shardway"]["Tier"], "single");
        assert_eq!(value[0]["Shardway"]["Servers"][0]["Address"], "10.0.0.0:5432/shop_0");
        assert_eq!(
            (&value[0]["Plan"]["Node Type"], &value[0]["Execution Time"]),
            (&"Result".into(), &0.5.into())
        );
    }

    #[test]
    fn documents_of_several_shards_have_their_plans_under_one() {
        let value: serde_json::Value =
            serde_json::from_str(&report("combine", &[ANSWER, ANSWER]).rows(Format::Json)[0]).unwrap();
        assert_eq!(value[0]["Plan"]["Node Type"], "Shardway Combine");
        let plans = value[0]["Plan"]["Plans"].as_array().unwrap();
        assert_eq!(plans.iter().map(|plan| plan["Shard"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(value[0]["Shardway"]["Servers"][1]["Execution Time"], 0.5);
        assert_eq!(value[0]["Execution Time"], 0.5);
        assert_eq!(value[0]["Shardway"]["Travels"], serde_json::json!(["rows"]));
    }
}
