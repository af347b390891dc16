//! What unit tests are made of: a server that nobody ever asks.

use crate::address::{Login, ServerAddress};
use crate::budget::Budgets;
use crate::limits::PoolLimits;
use crate::pool::Pool;
use crate::tls::Connector;
use shardway_config::{TargetSession, Tcp, TlsFiles, TlsMode};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn address() -> ServerAddress {
    let connector = Arc::new(Connector::new(&TlsFiles::default()).unwrap());
    let (tls, host, dbname) = (TlsMode::Disable, "h".into(), "d".into());
    ServerAddress {
        host,
        hosts: None,
        target: TargetSession::Any,
        port: 1,
        dbname,
        tls,
        connector,
        tcp: Tcp::default(),
    }
}

pub(crate) fn limits() -> PoolLimits {
    PoolLimits {
        size: 2,
        min_size: 0,
        reserve_size: 0,
        reserve_timeout: Duration::ZERO,
        connect_timeout: Duration::ZERO,
        login_retry: Duration::ZERO,
        wait_timeout: Duration::ZERO,
        lifetime: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        check_delay: Duration::ZERO,
        round_robin: false,
        check_query: Arc::default(),
        max_prepared: 0,
        connect_query: None,
    }
}

pub(crate) fn pool(budgets: &Budgets) -> Arc<Pool> {
    Pool::new(Arc::new(address()), Login::by_password("u", None), limits(), budgets.clone())
}
