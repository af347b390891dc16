//! Settings that PgBouncer knows and that have no meaning here, whatever is built on this: a warning names each that
//! the file sets to more than its default.

use super::Pgbouncer;
use super::report::Report;

const BUFFERS: &str = "buffers are lent as they are needed";
const RESOLVER: &str = "names are resolved as the system does it, for each connection anew";
const CIPHERS: &str = "the TLS library has no weak ciphers or curves to choose from";
const WINDOWS: &str = "there is no Windows service";
const LDAP: &str = "auth_type ldap is not supported";

/// Settings and why they have no meaning. `login_notify_message` and the like are not here: they can be carried out.
pub(super) const UNHEEDED: [(&str, &str); 14] = [
    ("auth_ldap_options", LDAP),
    ("client_tls13_ciphers", CIPHERS),
    ("client_tls_ciphers", CIPHERS),
    ("client_tls_dheparams", CIPHERS),
    ("client_tls_ecdhcurve", CIPHERS),
    ("dns_max_ttl", RESOLVER),
    ("dns_nxdomain_ttl", RESOLVER),
    ("dns_zone_check_period", RESOLVER),
    ("job_name", WINDOWS),
    ("pkt_buf", BUFFERS),
    ("resolv_conf", RESOLVER),
    ("sbuf_loopcnt", BUFFERS),
    ("server_tls13_ciphers", CIPHERS),
    ("server_tls_ciphers", CIPHERS),
];

/// Words for the ciphers that the library has anyway.
const USUAL: [&str; 4] = ["default", "secure", "fast", "normal"];

/// Puts the warnings down.
pub(super) fn warn(pgbouncer: &Pgbouncer, report: &Report) {
    let rows = pgbouncer.settings.rows();
    for (name, why) in UNHEEDED {
        let row = rows.iter().find(|row| row.key == name);
        let value = row.filter(|row| row.value != row.default).and_then(|row| row.value.as_deref());
        let unusual = value.filter(|value| why != CIPHERS || !USUAL.contains(value));
        if let (Some(_), Some(place)) = (unusual, pgbouncer.place(name)) {
            report.warn(place, format!("{name} has no effect: {why}"));
        }
    }
    let tls = &pgbouncer.settings.tls;
    for (name, versions) in [
        ("client_tls_protocols", &tls.client_tls_protocols),
        ("server_tls_protocols", &tls.server_tls_protocols),
    ] {
        if let (true, Some(place)) = (versions.old, pgbouncer.place(name)) {
            report.warn(place, "TLS 1.0 and 1.1 are not spoken");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgbouncer::settings::Settings;
    use crate::pgbouncer::testing::warnings;

    #[test]
    fn each_name_is_a_setting() {
        let names = Settings::default().names();
        assert!(UNHEEDED.iter().all(|(name, _)| names.contains(name)));
    }

    #[test]
    fn what_has_no_effect_is_named_and_its_default_is_not() {
        assert_eq!(
            warnings(
                "pkt_buf = 8192\nsbuf_loopcnt = 5\nservice_name = x\nclient_tls_ciphers = secure\n\
                      server_tls_ciphers = HIGH\nresolv_conf = /r\nclient_tls13_ciphers =\nserver_tls_protocols = all\n"
            ),
            "p.ini:5:11: pkt_buf has no effect: buffers are lent as they are needed\n\
             p.ini:7:16: job_name has no effect: there is no Windows service\n\
             p.ini:9:22: server_tls_ciphers has no effect: the TLS library has no weak ciphers or curves to choose from\n\
             p.ini:10:15: resolv_conf has no effect: names are resolved as the system does it, for each connection anew\n\
             p.ini:12:24: TLS 1.0 and 1.1 are not spoken"
        );
    }
}
