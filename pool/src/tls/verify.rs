//! Whether a server's certificate is the right one, in libpq's terms: not looked at, signed by the CA (`verify-ca`), or
//! for the host as well (`verify-full`).
//!
//! Source: PostgreSQL documentation, "SSL Support". Two habits of servers' owners are honoured that webpki knows
//! nothing of: a certificate that names its host in the CN alone (src/interfaces/libpq/fe-secure-openssl.c), and one
//! that signed itself and is given as the CA.

use super::{certificate, provider, roots};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use shardway_config::Problem;
use shardway_config::tls::{Certificates, Pem};
use std::sync::Arc;

/// What is checked of a server's certificate; that the server has its key always is.
#[derive(Debug)]
pub(super) struct ServerCheck {
    algorithms: WebPkiSupportedAlgorithms,
    trusted: Option<Trusted>,
    name: bool,
}

#[derive(Debug)]
struct Trusted {
    roots: RootCertStore,
    certificates: Arc<Certificates>,
}

impl ServerCheck {
    /// Anybody's will do.
    pub(super) fn nothing() -> Self {
        Self { algorithms: provider().signature_verification_algorithms, trusted: None, name: false }
    }

    /// It must be signed by one of `ca`, or be one of them.
    pub(super) fn chain(ca: &Pem<Certificates>) -> Result<Self, Problem> {
        let trusted = Trusted { roots: roots(ca)?, certificates: ca.content.clone() };
        Ok(Self { trusted: Some(trusted), ..Self::nothing() })
    }

    /// And for the host.
    pub(super) fn name(ca: &Pem<Certificates>) -> Result<Self, Problem> {
        Ok(Self { name: true, ..Self::chain(ca)? })
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(Trusted { roots, certificates }) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        if certificates.contains(end_entity) {
            certificate::check_period(end_entity, now)?;
        } else {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        if self.name {
            check_name(end_entity, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The CN counts where there is no other name.
fn check_name(end_entity: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), Error> {
    if certificate::has_alternative_names(end_entity) {
        return verify_server_name(&ParsedCertificate::try_from(end_entity)?, host);
    }
    let name = certificate::common_name(end_entity);
    if name.is_some_and(|name| is_for(&name, &host.to_str())) {
        return Ok(());
    }
    Err(Error::InvalidCertificate(CertificateError::NotValidForName))
}

/// Whether a CN means a host: `*.` in front stands for one label.
fn is_for(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty()
                && rest.eq_ignore_ascii_case(domain)
                && host.parse::<std::net::IpAddr>().is_err()
        }),
        None => name.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::is_for;

    #[test]
    fn a_common_name_may_begin_with_one_wild_label() {
        for (name, host) in
            [("db", "db"), ("DB.Example", "db.example"), ("*.example", "db.example"), ("::1", "::1")]
        {
            assert!(is_for(name, host), "{name} {host}");
        }
        for (name, host) in [
            ("db", "dbx"),
            ("*.example", "example"),
            ("*.example", "a.b.example"),
            ("*.0.0.1", "127.0.0.1"),
            ("*", "db"),
            ("", ""),
        ] {
            assert!(!is_for(name, host) || host.is_empty(), "{name} {host}");
        }
    }
}
