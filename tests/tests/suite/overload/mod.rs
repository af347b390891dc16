//! More clients than servers, by far: all are served, in the order in which they came, and whoever does not keep up
//! stops nobody else.

mod crossed;
mod fair;
mod logins;
mod silent;

use std::sync::Once;

use shardway_tests::{DATABASE, PASSWORD, Proxy, RawClient};
use tokio::task::JoinSet;

/// Connections that are opened at the same time.
const AT_ONCE: usize = 100;

/// As many clients as are wanted, logged in; fewer where the system has no room for them.
async fn crowd(proxy: &Proxy, wanted: usize) -> Vec<RawClient> {
    let port = proxy.port();
    let mut crowd = Vec::new();
    let wanted = wanted.min(room());
    while crowd.len() < wanted {
        let mut arriving = JoinSet::new();
        for _ in 0..AT_ONCE.min(wanted - crowd.len()) {
            arriving.spawn(async move {
                let mut raw = RawClient::connect(port).await;
                raw.login("app", DATABASE, PASSWORD).await;
                raw
            });
        }
        crowd.extend(arriving.join_all().await);
    }
    crowd
}

/// Clients that the limit of open files leaves room for. What is started from here on inherits the highest limit.
fn room() -> usize {
    static RAISED: Once = Once::new();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a whole rlimit of this function's.
    RAISED.call_once(|| unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    });
    // SAFETY: as above.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    // The suite's other tests need some.
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX).saturating_sub(1000).max(20)
}
