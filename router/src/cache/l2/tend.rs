//! The task that brings a link up, watches over it, and brings up the next one. The order of steps in [`bring_up`]
//! is argued for in the [parent](super).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::L2;
use super::hear::Ear;
use super::link::{Link, LinkError, LinkId, Step};
use super::wire::Change;

/// Between two heartbeats; how long silence goes unnoticed.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Before the first attempt at a new link, and the longest that this grows to.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A link that lasted this long was a good one. Every new link empties all caches, so one that comes and goes must
/// not be tried at full speed.
const GOOD: Duration = Duration::from_secs(10);

/// Stripes that one command names.
const AT_ONCE: usize = 128;

/// Runs until the second level retires.
pub(super) async fn tend(l2: Arc<L2>) {
    let mut pause = FIRST_PAUSE;
    while !l2.is_retired() {
        let began = Instant::now();
        match bring_up(&l2).await {
            Ok(link) => watch_over(&l2, &link).await,
            Err(error) => tracing::debug!(%error, "cache: Redis is not to be had"),
        }
        pause = if began.elapsed() >= GOOD { FIRST_PAUSE } else { pause };
        if !l2.is_retired() {
            sleep(pause).await;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn bring_up(l2: &Arc<L2>) -> Result<Arc<Link>, LinkError> {
    let (id, (beat, heard)) = (LinkId(rand::random()), watch::channel(0));
    let ear = Ear { l2: Arc::downgrade(l2), link: id, beat };
    let link = Arc::new(Link::open(&l2.client, id, ear, heard).await?);
    if !l2.install(&link) {
        return Err(LinkError::Superseded);
    }
    let voided = void_the_past(l2, &link).await;
    voided.inspect_err(|error| l2.fail(id, error))?;
    if !l2.serve(&link) {
        return Err(LinkError::Superseded);
    }
    tracing::info!("cache: Redis is up");
    Ok(link)
}

/// Everything from before this link: entries, what others hold in L1, and the marks that were not set meanwhile.
async fn void_the_past(l2: &L2, link: &Link) -> Result<(), LinkError> {
    for stripes in l2.local.versions.quarantined().chunks(AT_ONCE) {
        let news = l2.message(Change::Stripes(stripes.to_vec()));
        link.announce(Step::Begin, rand::random(), stripes, &news).await?;
    }
    link.new_epoch(&l2.message(Change::Everything)).await?;
    link.beat().await
}

/// Returns when the link is down or we retire.
async fn watch_over(l2: &L2, link: &Link) {
    while l2.is_current(link.id) {
        if timeout(HEARTBEAT, l2.disturbed.notified()).await.is_ok() {
            continue;
        }
        if let Err(error) = link.beat().await {
            l2.fail(link.id, &error);
        }
    }
}
