//! What a test asks a middle for, and how it hears that it happened.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::{Kind, Middle, Way};
use crate::wait::PATIENCE;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As of a machine that is gone: RST.
    Reset,
    /// As of a program that closes its socket: what was said before arrives, then comes FIN.
    Fin,
}

/// How bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// In pieces of this many bytes, each in a packet of its own.
    Split(usize),
    /// In as few pieces as can be: held until nothing more came for so long.
    Merge(Duration),
    /// So much later.
    Delay(Duration),
}

/// What changes a message: header and body, as they are on the wire.
pub(crate) type Edit = Box<dyn FnMut(&mut Vec<u8>) + Send + Sync>;

/// What is done at a point.
pub(crate) enum Act {
    Cut(Cut),
    Stall,
    Edit(Edit),
}

/// Where in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offset {
    Bytes(usize),
    End,
}

/// How far a middle looks into a message.
pub const LOOK: usize = 4096;

/// Where a fault strikes; and, with the last call, how.
#[must_use = "a spot without a fault is only a place"]
pub struct Spot<'a> {
    middle: &'a Middle,
    way: Way,
    kind: Option<Kind>,
    tag: Option<u8>,
    holding: Option<&'static str>,
    /// Messages, or bytes, that pass before.
    skip: u64,
    offset: Offset,
    bytes: bool,
}

impl<'a> Spot<'a> {
    pub(super) fn new(middle: &'a Middle, way: Way) -> Self {
        let kind = Some(Kind::Session);
        Spot { middle, way, kind, tag: None, holding: None, skip: 0, offset: Offset::Bytes(0), bytes: false }
    }

    /// On connections of this kind; without it, on those that serve clients.
    pub fn on(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// On any connection.
    pub fn on_any(mut self) -> Self {
        self.kind = None;
        self
    }

    /// At the first message of this type; what has no tag has the tag 0.
    pub fn message(self, tag: u8) -> Self {
        self.nth(1, tag)
    }

    /// At the `n`th message of this type, counted from 1.
    pub fn nth(mut self, n: u64, tag: u8) -> Self {
        self.tag = Some(tag);
        self.skip = n.saturating_sub(1);
        self
    }

    /// At the `n`th message of any type, counted from 1.
    pub fn nth_of_any(mut self, n: u64) -> Self {
        self.skip = n.saturating_sub(1);
        self
    }

    /// Only messages that have this text in their first [`LOOK`] bytes are counted.
    pub fn holding(mut self, text: &'static str) -> Self {
        self.holding = Some(text);
        self
    }

    /// After so many bytes, whatever they are.
    pub fn byte(mut self, bytes: u64) -> Self {
        (self.bytes, self.skip) = (true, bytes);
        self
    }

    /// When so many bytes of the message have passed; all, if it has fewer.
    pub fn inside(mut self, bytes: usize) -> Self {
        self.offset = Offset::Bytes(bytes);
        self
    }

    /// When the message has passed.
    pub fn after(mut self) -> Self {
        self.offset = Offset::End;
        self
    }

    /// Ends the connection there, on both sides.
    pub fn cut(self, how: Cut) -> Fault<'a> {
        self.arm(Act::Cut(how))
    }

    /// Lets nothing more through there, in this direction of this connection, until the fault is dropped.
    pub fn stall(self) -> Fault<'a> {
        self.arm(Act::Stall)
    }

    /// Changes the message, which is given whole, header and all.
    pub fn edit(self, edit: impl FnMut(&mut Vec<u8>) + Send + Sync + 'static) -> Fault<'a> {
        self.arm(Act::Edit(Box::new(edit)))
    }

    /// Has all bytes of this direction arrive so, on every connection of the kind.
    pub fn shape(self, shape: Shape) -> Fault<'a> {
        let (way, kind) = (self.way, self.kind);
        hold(self.middle, |faults, id, _| faults.shapes.push(Shaping { id, way, kind, shape }))
    }

    fn arm(self, act: Act) -> Fault<'a> {
        let Spot { middle, way, kind, tag, holding, skip, offset, bytes } = self;
        hold(middle, |faults, id, told| {
            faults.armed.push(Armed { id, way, kind, tag, holding, skip, offset, bytes, act, told });
        })
    }
}

/// A fault that was asked for; lifted when this is dropped.
#[must_use = "a fault that is dropped is lifted"]
pub struct Fault<'a> {
    middle: &'a Middle,
    id: u64,
    state: Arc<watch::Sender<State>>,
}

/// How far a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waits,
    Happened,
    Lifted,
}

impl Fault<'_> {
    /// Whether it has struck.
    pub fn has_happened(&self) -> bool {
        *self.state.borrow() == State::Happened
    }

    /// Waits until it has struck.
    ///
    /// # Panics
    /// It has not within ten seconds.
    pub async fn happened(&self) {
        let mut state = self.state.subscribe();
        let waited = timeout(PATIENCE, state.wait_for(|state| *state == State::Happened)).await;
        assert!(waited.is_ok(), "waited {PATIENCE:?} for a fault's point to be reached");
    }

    /// Lifts it: what it stalled goes on.
    pub fn lift(self) {}
}

impl Drop for Fault<'_> {
    fn drop(&mut self) {
        self.middle.shared().faults().remove(self.id);
        self.state.send_replace(State::Lifted);
    }
}

/// Cuts every new connection while it is held.
pub(super) fn refuse(middle: &Middle) -> Fault<'_> {
    hold(middle, |faults, id, _| faults.refusals.push(id))
}

fn hold(middle: &Middle, add: impl FnOnce(&mut Faults, u64, Arc<watch::Sender<State>>)) -> Fault<'_> {
    let state = Arc::new(watch::Sender::new(State::Waits));
    let mut faults = middle.shared().faults();
    faults.last_id += 1;
    let id = faults.last_id;
    add(&mut faults, id, state.clone());
    drop(faults);
    Fault { middle, id, state }
}

/// A fault that has not struck yet.
struct Armed {
    id: u64,
    way: Way,
    kind: Option<Kind>,
    tag: Option<u8>,
    holding: Option<&'static str>,
    skip: u64,
    offset: Offset,
    bytes: bool,
    act: Act,
    told: Arc<watch::Sender<State>>,
}

struct Shaping {
    id: u64,
    way: Way,
    kind: Option<Kind>,
    shape: Shape,
}

/// A fault that is to strike now: after `after` bytes of what was asked about.
pub(crate) struct Strike {
    pub(crate) after: usize,
    pub(crate) act: Act,
    told: Arc<watch::Sender<State>>,
}

impl Strike {
    /// Tells who waits for it.
    pub(crate) fn tell(&self) {
        self.told.send_if_modified(|state| {
            let waited = *state == State::Waits;
            if waited {
                *state = State::Happened;
            }
            waited
        });
    }

    /// Whether nobody wants it any more.
    pub(crate) fn is_lifted(&self) -> bool {
        *self.told.borrow() == State::Lifted
    }

    /// Waits until it is lifted.
    pub(crate) async fn lifted(&self) {
        let mut state = self.told.subscribe();
        // The sender is ours too: it is there.
        let _ = state.wait_for(|state| *state == State::Lifted).await;
    }
}

/// All that was asked of one middle.
#[derive(Default)]
pub(crate) struct Faults {
    last_id: u64,
    armed: Vec<Armed>,
    shapes: Vec<Shaping>,
    refusals: Vec<u64>,
}

impl Faults {
    fn remove(&mut self, id: u64) {
        self.armed.retain(|fault| fault.id != id);
        self.shapes.retain(|shaping| shaping.id != id);
        self.refusals.retain(|refusal| *refusal != id);
    }

    pub(super) fn refuses(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// How bytes of this direction are to arrive.
    pub(crate) fn shape(&self, way: Way, kind: Kind) -> Option<Shape> {
        let here = |s: &&Shaping| s.way == way && s.kind.is_none_or(|k| k == kind);
        self.shapes.iter().rev().find(here).map(|s| s.shape)
    }

    /// How many bytes of a message must be there before it can be counted.
    pub(crate) fn looks_at(&self, way: Way, kind: Kind, len: usize) -> usize {
        let looks = self.armed.iter().any(|fault| fault.holding.is_some() && fault.is_about(way, kind));
        if looks { len.min(LOOK) } else { 0 }
    }

    /// Counts a message of `len` bytes that is about to pass and of which `seen` is there; gives the fault that strikes in
    /// it.
    pub(crate) fn message(
        &mut self,
        way: Way,
        kind: Kind,
        tag: u8,
        len: usize,
        seen: &[u8],
    ) -> Option<Strike> {
        let seen = &seen[..seen.len().min(len).min(LOOK)];
        let holds = |text: &str| seen.windows(text.len()).any(|piece| piece == text.as_bytes());
        let here = |fault: &Armed| {
            !fault.bytes
                && fault.is_about(way, kind)
                && fault.tag.is_none_or(|wanted| wanted == tag)
                && fault.holding.is_none_or(holds)
        };
        let at = self.count(1, here)?;
        let Armed { offset, act, told, .. } = self.armed.remove(at);
        let after = match offset {
            Offset::Bytes(bytes) => bytes.min(len),
            Offset::End => len,
        };
        Some(Strike { after, act, told })
    }

    /// Counts bytes that are about to pass; gives the fault that strikes among them.
    pub(crate) fn bytes(&mut self, way: Way, kind: Kind, count: usize) -> Option<Strike> {
        let at = self
            .armed
            .iter()
            .position(|fault| fault.bytes && fault.is_about(way, kind) && fault.skip < count as u64);
        let Some(at) = at else {
            let here = self.armed.iter_mut().filter(|fault| fault.bytes && fault.is_about(way, kind));
            here.for_each(|fault| fault.skip -= count as u64);
            return None;
        };
        let Armed { skip, act, told, .. } = self.armed.remove(at);
        Some(Strike { after: usize::try_from(skip).unwrap_or(count), act, told })
    }

    /// Counts for all that are here; gives the first whose turn it is.
    fn count(&mut self, by: u64, here: impl Fn(&Armed) -> bool) -> Option<usize> {
        let due = self.armed.iter().position(|fault| here(fault) && fault.skip == 0);
        let others = self.armed.iter_mut().enumerate().filter(|(at, fault)| Some(*at) != due && here(fault));
        others.for_each(|(_, fault)| fault.skip = fault.skip.saturating_sub(by));
        due
    }
}

impl Armed {
    fn is_about(&self, way: Way, kind: Kind) -> bool {
        self.way == way && self.kind.is_none_or(|wanted| wanted == kind)
    }
}
