//! What clients cost that are connected and wait. Measured on a proxy that has just been started: in one that has
//! worked, new clients find memory that older ones have left.

use crate::contestant::Contestant;
use crate::figures::{Figures, Metric};
use crate::fill::{DATABASE, USER};
use crate::measure::Bench;
use crate::process::private_kib;
use crate::proxy::Proxy;
use crate::scripts::SELECT_ONLY;
use crate::wire::{Client, Endpoint};
use std::thread::sleep;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A figure that has not changed by more than a page each for this many looks in a row is stable.
const STEADY_LOOKS: usize = 4;
const LOOKS: usize = 40;

/// Connects `clients`, has each run one query, and gives what memory each of them keeps, in KiB.
///
/// # Errors
/// The proxy does not start, or a client is not served; in words.
pub fn run(bench: &Bench<'_>, who: &Contestant, clients: usize) -> Result<Figures, String> {
    let server = bench.server.port();
    let proxy = match who {
        Contestant::Direct => return Err("a server has no idle clients to speak of".into()),
        Contestant::PgBouncer { installed, .. } => installed.start(server),
        Contestant::Shardway { binary, .. } => binary.start(server, false),
    };
    let proxy = proxy.map_err(|error| error.to_string())?;
    let to = proxy.endpoint(DATABASE, USER);
    // The servers' connections, which are no client's cost.
    drop(connected(&to, 1)?);
    let before = steady(&proxy)?;
    let waiting = connected(&to, clients)?;
    let after = steady(&proxy)?;
    drop(waiting);
    Ok(Figures::from([(Metric::Cost, after.saturating_sub(before) as f64 / clients as f64)]))
}

fn connected(to: &Endpoint, clients: usize) -> Result<Vec<Client>, String> {
    let one = |number: usize| {
        let ran = Client::connect(to).and_then(|mut client| client.query(SELECT_ONLY.probe).map(|_| client));
        ran.map_err(|error| format!("client {number}: {error}"))
    };
    (1..=clients).map(one).collect()
}

fn steady(proxy: &Proxy) -> Result<u64, String> {
    let look = || private_kib(proxy.pid()?).map_err(|error| format!("its memory: {error}"));
    let (mut last, mut same) = (look()?, 0);
    for _ in 0..LOOKS {
        sleep(LOOK_EVERY);
        let now = look()?;
        same = if now.abs_diff(last) <= 4 { same + 1 } else { 0 };
        last = now;
        if same == STEADY_LOOKS {
            break;
        }
    }
    Ok(last)
}
