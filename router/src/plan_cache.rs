//! Plans by statement template, bounded.
//!
//! A shareable plan is found by the text with its literals lifted out; one that depends on a literal's value only
//! by the whole text. Both maps belong to one schema: a new schema starts with empty ones.

use crate::plan::{Plan, build};
use crate::schema::Schema;
use crate::sql::scan::Scan;
use fnv_hasher::BuildFnv;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Templates remembered; when there are more, all are forgotten, which costs each of them one parse.
const MAX_TEMPLATES: usize = 10_000;

mod fnv_hasher {
    use std::hash::{BuildHasherDefault, Hasher};

    /// A fast hash for keys of our own making. Eight bytes at a time; not for keys an attacker gains by colliding:
    /// a collision here costs a comparison, and the map is bounded.
    #[derive(Default)]
    pub struct Fast(u64);

    impl Hasher for Fast {
        fn finish(&self) -> u64 {
            self.0 ^ (self.0 >> 29)
        }

        fn write(&mut self, bytes: &[u8]) {
            const K: u64 = 0x9e37_79b9_7f4a_7c15;
            let mut chunks = bytes.chunks_exact(8);
            for chunk in &mut chunks {
                let mut word = [0; 8];
                word.copy_from_slice(chunk);
                self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(K);
            }
            for &byte in chunks.remainder() {
                self.0 = (self.0.rotate_left(5) ^ u64::from(byte)).wrapping_mul(K);
            }
        }
    }

    pub type BuildFnv = BuildHasherDefault<Fast>;
}

#[derive(Clone, Debug)]
enum Entry {
    Shared(Arc<Plan>),
    /// Look it up by the whole text.
    ByText,
}

/// A schema and the plans made with it.
#[derive(Debug, Default)]
pub struct Planning {
    /// The schema.
    pub schema: Schema,
    templates: RwLock<HashMap<Box<[u8]>, Entry, BuildFnv>>,
    texts: RwLock<HashMap<Box<[u8]>, Arc<Plan>, BuildFnv>>,
}

impl Planning {
    /// With no plans yet.
    pub fn new(schema: Schema) -> Self {
        Self { schema, ..Self::default() }
    }

    /// The plan of a scanned text under a search path. The path joins the key where it is not the default one.
    pub fn plan(&self, text: &str, scan: &mut Scan, path: &SearchPath) -> Arc<Plan> {
        scan.template.extend_from_slice(path.key.as_bytes());
        let known =
            self.templates.read().unwrap_or_else(PoisonError::into_inner).get(&scan.template[..]).cloned();
        match known {
            Some(Entry::Shared(plan)) => plan,
            Some(Entry::ByText) => self.by_text(text, scan, path),
            None => self.make(text, scan, path),
        }
    }

    /// Looks at the plan of a scanned text, if it is known already and shared by all texts of its template. Nothing is
    /// counted or copied.
    pub fn look<T>(
        &self,
        scan: &mut Scan,
        path: &SearchPath,
        look: impl FnOnce(&Plan, &Scan) -> T,
    ) -> Option<T> {
        scan.template.extend_from_slice(path.key.as_bytes());
        let templates = self.templates.read().unwrap_or_else(PoisonError::into_inner);
        match templates.get(&scan.template[..]) {
            Some(Entry::Shared(plan)) => Some(look(plan, scan)),
            _ => None,
        }
    }

    fn text_key(text: &str, path: &SearchPath) -> Box<[u8]> {
        [text.as_bytes(), path.key.as_bytes()].concat().into_boxed_slice()
    }

    fn by_text(&self, text: &str, scan: &Scan, path: &SearchPath) -> Arc<Plan> {
        let key = Self::text_key(text, path);
        if let Some(plan) = self.texts.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return plan.clone();
        }
        let plan = Arc::new(build::plan(&self.schema, &path.schemas, text, scan));
        let mut texts = self.texts.write().unwrap_or_else(PoisonError::into_inner);
        if texts.len() >= MAX_TEMPLATES {
            texts.clear();
        }
        texts.insert(key, plan.clone());
        plan
    }

    fn make(&self, text: &str, scan: &Scan, path: &SearchPath) -> Arc<Plan> {
        let plan = Arc::new(build::plan(&self.schema, &path.schemas, text, scan));
        if plan.unknown.is_some() {
            // Not worth remembering: the schema is about to be read again.
            return plan;
        }
        let entry = if plan.shareable { Entry::Shared(plan.clone()) } else { Entry::ByText };
        let mut templates = self.templates.write().unwrap_or_else(PoisonError::into_inner);
        if templates.len() >= MAX_TEMPLATES {
            templates.clear();
        }
        templates.insert(scan.template.clone().into_boxed_slice(), entry);
        plan
    }
}

/// A session's search_path, as far as table names need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath {
    /// Schemas in order.
    pub schemas: Vec<String>,
    /// What tells it from the default path; empty for that.
    key: String,
}

impl SearchPath {
    /// `"$user", public`.
    pub fn of_user(user: &str) -> Self {
        // A schema named like a user is rare; where there is none, every user shares the plans.
        Self { schemas: vec![user.to_owned(), "public".to_owned()], key: format!("\0{user}") }
    }

    /// From the value of search_path.
    pub fn parse(value: &str, user: &str) -> Self {
        let schemas: Vec<String> = value
            .split(',')
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .map(|part| {
                let inside = |quote: char| part.strip_prefix(quote).and_then(|p| p.strip_suffix(quote));
                match (inside('"'), inside('\'')) {
                    (Some(quoted), _) => quoted.replace("\"\"", "\""),
                    (_, Some(quoted)) => quoted.replace("''", "'"),
                    _ => part.to_ascii_lowercase(),
                }
            })
            .map(|part| if part == "$user" { user.to_owned() } else { part })
            .collect();
        let key = format!("\0{}", schemas.join("\0"));
        Self { schemas, key }
    }
}
