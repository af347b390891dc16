//! SHOW CONFIG. Secrets are no part of it.

use crate::admin::answer::{Row, row};
use crate::admin::settings::{Changeable, SETTINGS, defaults};
use crate::proxy::Proxy;

pub(super) fn rows(proxy: &Proxy) -> Vec<Row> {
    let world = proxy.world();
    if let Some(ini) = &world.config.pgbouncer {
        return ini.settings.rows().into_iter().map(of_pgbouncer).collect();
    }
    let defaults = defaults();
    let line = |setting: &crate::admin::settings::Setting| {
        let changeable = if matches!(setting.change, Changeable::No) { "no" } else { "yes" };
        row![
            setting.name,
            (setting.get)(&world.config),
            defaults.as_ref().map(|config| (setting.get)(config)),
            changeable,
        ]
    };
    SETTINGS.iter().map(line).collect()
}

/// PgBouncer's own settings, as its console has them.
fn of_pgbouncer(setting: shardway_config::pgbouncer::Row) -> Row {
    row![setting.key, setting.value, setting.default, if setting.changeable { "yes" } else { "no" }]
}
