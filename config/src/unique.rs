//! Names that may be given once.

use std::collections::HashMap;

use crate::context::{At, Checked, Context, Text};
use crate::section::Section;
use crate::value::quoted;

/// The names of one kind that were given, and where.
pub(crate) struct Names {
    kind: &'static str,
    seen: HashMap<String, At>,
}

impl Names {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, seen: HashMap::new() }
    }

    /// The section's `name`, which must be there and new.
    pub(crate) fn claim(&mut self, section: &mut Section<'_>) -> Checked<String> {
        let text = section.required("name")?;
        self.once(section.context(), text)
    }

    /// The name, unless it was given before.
    pub(crate) fn once(&mut self, context: &Context<'_>, text: Text) -> Checked<String> {
        match self.seen.insert(text.value.clone(), text.at) {
            None => Ok(text.value),
            Some(first) => {
                let (name, before) = (quoted(&text.value), context.refer(first));
                Err(context.report(text.at, format!("{} {name} is already defined {before}", self.kind)))
            }
        }
    }
}
