//! Whether the other side's certificate is the right one: a server's in libpq's terms, not looked at, signed by the CA
//! (`verify-ca`), or for the host as well (`verify-full`); a client's if it is signed by the CA.
//!
//! Source: PostgreSQL documentation, "SSL Support" and "Secure TCP/IP Connections with SSL". A host may be named in the
//! CN alone, as for libpq (src/interfaces/libpq/fe-secure-openssl.c).

use super::trust::{Signatures, Trust};
use super::{certificate, provider};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use shardway_config::Problem;
use shardway_config::tls::{Certificates, Pem};
use std::net::IpAddr;
use std::sync::Arc;

/// What is checked of a server's certificate; that the server has its key always is.
#[derive(Debug)]
pub(super) struct ServerCheck {
    signatures: Signatures,
    trust: Option<Trust>,
    name: bool,
}

impl ServerCheck {
    /// Anybody's will do.
    pub(super) fn nothing() -> Self {
        Self { signatures: Signatures::new(), trust: None, name: false }
    }

    /// It must be signed by one of `ca`, or be one of them.
    pub(super) fn chain(ca: &Pem<Certificates>) -> Result<Self, Problem> {
        Ok(Self { trust: Some(Trust::new(ca)?), ..Self::nothing() })
    }

    /// And for the host.
    pub(super) fn name(ca: &Pem<Certificates>) -> Result<Self, Problem> {
        Ok(Self { name: true, ..Self::chain(ca)? })
    }

    fn check_chain(
        &self,
        trust: &Trust,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if let Some(outcome) = trust.without_webpki(end_entity, now) {
            return outcome;
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.signatures.0.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &trust.roots, intermediates, now, algorithms)
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
        if let Some(trust) = &self.trust {
            self.check_chain(trust, end_entity, intermediates, now)?;
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
        self.signatures.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}

/// The CN counts where there is no other name.
fn check_name(end_entity: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), Error> {
    if certificate::has_alternative_names(end_entity) {
        return verify_server_name(&ParsedCertificate::try_from(end_entity)?, host);
    }
    let name = certificate::common_name(end_entity);
    if name.as_ref().is_some_and(|name| is_for(name, &host.to_str())) {
        return Ok(());
    }
    let presented = name.into_iter().collect();
    let wrong = CertificateError::NotValidForNameContext { expected: host.to_owned(), presented };
    Err(Error::InvalidCertificate(wrong))
}

/// Whether a CN means a host: `*.` in front stands for one label.
fn is_for(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && rest.eq_ignore_ascii_case(domain) && host.parse::<IpAddr>().is_err()
        }),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// What is checked of a client's certificate.
#[derive(Debug)]
pub(super) struct ClientCheck {
    signatures: Signatures,
    trust: Trust,
    webpki: Arc<dyn ClientCertVerifier>,
}

impl ClientCheck {
    /// One that is shown must be signed by one of `ca`, or be one of them; `mandatory`: one must be shown.
    pub(super) fn new(ca: &Pem<Certificates>, mandatory: bool) -> Result<Self, Problem> {
        let trust = Trust::new(ca)?;
        let builder = WebPkiClientVerifier::builder_with_provider(trust.roots.clone(), provider());
        let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
        let webpki = builder.build().map_err(|e| ca.problem(e))?;
        Ok(Self { signatures: Signatures::new(), trust, webpki })
    }
}

impl ClientCertVerifier for ClientCheck {
    fn client_auth_mandatory(&self) -> bool {
        self.webpki.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.trust.without_webpki(end_entity, now) {
            Some(outcome) => outcome.map(|()| ClientCertVerified::assertion()),
            None => self.webpki.verify_client_cert(end_entity, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::is_for;

    #[test]
    fn a_common_name_may_begin_with_one_wild_label() {
        let matches =
            [("db", "db"), ("DB.Example", "db.example"), ("*.example", "db.example"), ("::1", "::1")];
        for (name, host) in matches {
            assert!(is_for(name, host), "{name} {host}");
        }
        for (name, host) in [
            ("db", "dbx"),
            ("*.example", "example"),
            ("*.example", "a.b.example"),
            ("*.0.0.1", "127.0.0.1"),
            ("*", "db"),
            ("", "db"),
        ] {
            assert!(!is_for(name, host), "{name} {host}");
        }
    }
}
