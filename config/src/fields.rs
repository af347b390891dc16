//! A section's keys by type. What is absent, or wrong and reported, is the default, so that reading goes on.

use std::path::PathBuf;
use std::time::Duration;

use crate::context::{At, Checked, Text};
use crate::section::Section;
use crate::value::{Value, quoted};
use crate::words::{self, Words};

/// Largest limit or count; also the largest of PgBouncer's.
const LARGEST: i64 = i32::MAX as i64;

impl<'a> Section<'a> {
    /// A string; `None` when it is absent or wrong.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<Text> {
        self.value(key)?.text().ok()
    }

    /// A string whose empty form means that there is none.
    pub(crate) fn optional(&mut self, key: &'static str) -> Option<Text> {
        self.text(key).filter(|text| !text.value.is_empty())
    }

    pub(crate) fn optional_string(&mut self, key: &'static str) -> Option<String> {
        self.optional(key).map(|text| text.value)
    }

    pub(crate) fn optional_path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.optional_string(key).map(PathBuf::from)
    }

    /// A string that must be there and say something.
    pub(crate) fn required(&mut self, key: &'static str) -> Checked<Text> {
        let text = self.need(key)?.text()?;
        self.filled(key, text)
    }

    /// A value that must be there.
    pub(crate) fn need(&mut self, key: &'static str) -> Checked<Value<'a>> {
        self.value(key).ok_or_else(|| {
            let message = format!("{} needs \"{key}\"", self.header());
            self.context().report(self.at(), message)
        })
    }

    /// The string, unless it is empty.
    pub(crate) fn filled(&self, key: &str, text: Text) -> Checked<Text> {
        if text.value.is_empty() {
            return Err(self.context().report(text.at, format!("\"{key}\" cannot be empty")));
        }
        Ok(text)
    }

    /// Strings, none of them empty; `None` when the key is absent or no list at all.
    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Vec<Text>> {
        let values = self.value(key)?.list("a list of strings").ok()?;
        let text = |value: Value<'a>| {
            let text = value.text().ok()?;
            self.filled(key, text).ok()
        };
        Some(values.into_iter().filter_map(text).collect())
    }

    /// Strings without their places; absent: none.
    pub(crate) fn strings(&mut self, key: &'static str) -> Vec<String> {
        self.texts(key).unwrap_or_default().into_iter().map(|text| text.value).collect()
    }

    pub(crate) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.value(key).and_then(|value| value.flag().ok()).unwrap_or(default)
    }

    /// A limit or a number of things.
    pub(crate) fn count(&mut self, key: &'static str, default: usize) -> usize {
        self.count_up_to(key, default, LARGEST)
    }

    pub(crate) fn count_up_to(&mut self, key: &'static str, default: usize, largest: i64) -> usize {
        self.optional_count_up_to(key, largest).unwrap_or(default)
    }

    /// A limit or a number of things; `None` when it is absent or wrong.
    pub(crate) fn optional_count(&mut self, key: &'static str) -> Option<usize> {
        self.optional_count_up_to(key, LARGEST)
    }

    fn optional_count_up_to(&mut self, key: &'static str, largest: i64) -> Option<usize> {
        let count = self.value(key)?.integer(0..=largest).ok()?;
        usize::try_from(count).ok()
    }

    pub(crate) fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        self.optional_duration(key).unwrap_or(default)
    }

    pub(crate) fn optional_duration(&mut self, key: &'static str) -> Option<Duration> {
        self.value(key)?.duration().ok()
    }

    /// Bytes.
    pub(crate) fn size(&mut self, key: &'static str, default: u64) -> u64 {
        self.value(key).and_then(|value| value.size().ok()).unwrap_or(default)
    }

    /// One of a few words.
    pub(crate) fn choice<T: Words>(&mut self, key: &'static str, default: T) -> T {
        self.choice_of(key, T::WORDS).ok().flatten().unwrap_or(default)
    }

    /// One of these words; `None` when the key is absent.
    pub(crate) fn choice_of<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Checked<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        self.chosen(&value.text()?, words).map(Some)
    }

    /// What a word stands for among these.
    pub(crate) fn chosen<T: Copy>(&self, text: &Text, words: &[(&str, T)]) -> Checked<T> {
        words::choice(&text.value, words).ok_or_else(|| {
            let (allowed, found) = (words::list(words), quoted(&text.value));
            self.context().report(text.at, format!("expected one of {allowed}, found {found}"))
        })
    }

    /// A shard's number that must be there, and below `count` where that is known.
    pub(crate) fn shard(&mut self, count: Option<u32>) -> Checked<u32> {
        let value = self.need("shard")?;
        let id = shard_number(value)?;
        self.shard_in_range(id, value.at(), count)
    }

    /// The shard, if there is one of its number.
    pub(crate) fn shard_in_range(&self, id: u32, at: At, count: Option<u32>) -> Checked<u32> {
        match count {
            Some(count) if id >= count => {
                let message = format!(
                    "shard {id} is out of range: shard_count is {count}, so the last is {}",
                    count - 1
                );
                Err(self.context().report(at, message))
            }
            _ => Ok(id),
        }
    }
}

/// Largest `shard_count`. Each shard is a pool of its own, so this is far above what anybody can run.
pub(crate) const MOST_SHARDS: u32 = 65_536;

/// A shard's number as such.
pub(crate) fn shard_number(value: Value<'_>) -> Checked<u32> {
    let number = value.integer(0..=i64::from(MOST_SHARDS) - 1)?;
    u32::try_from(number).map_err(|error| value.context().report(value.at(), error))
}
