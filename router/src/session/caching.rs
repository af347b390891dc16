//! The cache's place in a session: lookups before a server is asked, dirty marks around writes.

use super::Session;
use super::simple::{Failure, Ready};
use crate::plan::Plan;

/// A write's mark on what it may change.
pub struct WriteMark;

impl Session {
    pub(super) async fn begin_write(&mut self, _plan: &Plan) -> Option<WriteMark> {
        None
    }

    pub(super) async fn begin_write_of_many<'p>(&mut self, _plans: impl Iterator<Item = &'p Plan>) -> Option<WriteMark> {
        None
    }

    pub(super) async fn end_write(&mut self, _mark: Option<WriteMark>) {}

    pub(super) async fn serve_from_cache(&mut self, _plan: &Plan, _text: &str, _ready: Ready) -> Result<bool, Failure> {
        Ok(false)
    }
}
