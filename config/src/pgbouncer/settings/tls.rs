//! TLS on both sides.

use std::path::PathBuf;

use super::chapter::chapter;
use crate::model::TlsMode;
use crate::pgbouncer::values::TlsProtocols;

chapter! {
/// TLS on both sides. Files are PEM, and are read again by RELOAD.
Tls {
    /// Suites of TLS 1.3 towards clients. Default: the library's.
    client_tls13_ciphers: Option<String> = None, AtRunTime;
    /// CA that clients' certificates are checked against. Default: the system's.
    client_tls_ca_file: Option<PathBuf> = None, AtRunTime;
    /// Certificate shown to clients. Default: none; needed for TLS.
    client_tls_cert_file: Option<PathBuf> = None, AtRunTime;
    /// Suites of older versions towards clients, in OpenSSL's words. Default: the library's.
    client_tls_ciphers: String = "default".to_owned(), AtRunTime;
    /// Finite-field Diffie-Hellman towards clients: none, auto or legacy. Default: auto.
    client_tls_dheparams: String = "auto".to_owned(), AtRunTime;
    /// Curve towards clients: none, auto or a name. Default: auto.
    client_tls_ecdhcurve: String = "auto".to_owned(), AtRunTime;
    /// Private key towards clients. Default: none; needed for TLS.
    client_tls_key_file: Option<PathBuf> = None, AtRunTime;
    /// Versions towards clients. Default: secure (1.2 and 1.3).
    client_tls_protocols: TlsProtocols = TlsProtocols::secure(), AtRunTime;
    /// Whether clients may or must use TLS; prefer is the same as allow. From verify-ca on they need a certificate.
    /// Default: disable.
    client_tls_sslmode: TlsMode = TlsMode::Disable, AtRunTime;
    /// Suites of TLS 1.3 towards servers. Default: the library's.
    server_tls13_ciphers: Option<String> = None, AtRunTime;
    /// CA that servers' certificates are checked against. Default: the system's.
    server_tls_ca_file: Option<PathBuf> = None, AtRunTime;
    /// Certificate shown to servers. Default: none.
    server_tls_cert_file: Option<PathBuf> = None, AtRunTime;
    /// Suites of older versions towards servers, in OpenSSL's words. Default: the library's.
    server_tls_ciphers: String = "default".to_owned(), AtRunTime;
    /// Private key towards servers. Default: none.
    server_tls_key_file: Option<PathBuf> = None, AtRunTime;
    /// Versions towards servers. Default: secure (1.2 and 1.3).
    server_tls_protocols: TlsProtocols = TlsProtocols::secure(), AtRunTime;
    /// Whether TLS is asked of servers, demanded, and their certificate checked. Default: prefer.
    server_tls_sslmode: TlsMode = TlsMode::Prefer, AtRunTime;
}
}
