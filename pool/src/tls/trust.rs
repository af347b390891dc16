//! What is common to checking servers and clients: who is trusted, and certificates that webpki does not take.
//!
//! webpki wants certificates as browsers do. Servers' owners make others: one that signed itself and is given as the CA,
//! or one of X.509's first version, without extensions, as the recipe in PostgreSQL's documentation makes it ("Creating
//! Certificates"). OpenSSL takes both, so libpq and PgBouncer do.

use super::{certificate, provider};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use shardway_config::Problem;
use shardway_config::tls::{Certificates, Pem};
use std::sync::Arc;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::{Certificate, Version};

/// Those whose signature makes a certificate good.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) roots: Arc<RootCertStore>,
    certificates: Arc<Certificates>,
}

impl Trust {
    pub(super) fn new(ca: &Pem<Certificates>) -> Result<Self, Problem> {
        let mut roots = RootCertStore::empty();
        for certificate in ca.content.iter() {
            let added = roots.add(certificate.clone());
            added.map_err(|e| ca.problem(format!("a certificate is of no use: {e}")))?;
        }
        Ok(Self { roots: Arc::new(roots), certificates: ca.content.clone() })
    }

    /// What there is to say of a certificate without webpki; `None` where webpki is to be asked.
    pub(super) fn without_webpki(
        &self,
        der: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Option<Result<(), Error>> {
        if self.certificates.contains(der) {
            return Some(certificate::check_period(der, now));
        }
        let old = of_first_version(der)?;
        let signed = self.certificates.iter().any(|authority| signed_by(&old, authority));
        let outcome = if signed { certificate::check_period(der, now) } else { unknown_issuer() };
        Some(outcome)
    }
}

fn unknown_issuer() -> Result<(), Error> {
    Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

/// That the other side has its certificate's key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signatures(pub(super) WebPkiSupportedAlgorithms);

impl Signatures {
    pub(super) fn new() -> Self {
        Self(provider().signature_verification_algorithms)
    }

    pub(super) fn schemes(self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }

    pub(super) fn tls12(
        self,
        message: &[u8],
        der: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match of_first_version(der) {
            None => verify_tls12_signature(message, der, signed, &self.0),
            Some(old) => {
                let key = old.tbs_certificate().subject_public_key_info();
                let known = self.0.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
                let fits = known.is_some_and(|(_, algorithms)| {
                    algorithms.iter().any(|algorithm| {
                        is(&key.algorithm, &algorithm.public_key_alg_id())
                            && algorithm.verify_signature(bits(key), message, signed.signature()).is_ok()
                    })
                });
                let bad = Error::InvalidCertificate(CertificateError::BadSignature);
                fits.then(HandshakeSignatureValid::assertion).ok_or(bad)
            }
        }
    }

    pub(super) fn tls13(
        self,
        message: &[u8],
        der: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match of_first_version(der).map(|old| old.tbs_certificate().subject_public_key_info().to_der()) {
            Some(Ok(key)) => {
                let key = SubjectPublicKeyInfoDer::from(key);
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.0)
            }
            _ => verify_tls13_signature(message, der, signed, &self.0),
        }
    }
}

/// A certificate without extensions, which webpki does not even read.
fn of_first_version(der: &[u8]) -> Option<Certificate> {
    Certificate::from_der(der).ok().filter(|found| found.tbs_certificate().version() == Version::V1)
}

/// Whether one of the trusted has signed a certificate itself; there are no others between these.
fn signed_by(old: &Certificate, authority: &[u8]) -> bool {
    let Ok(authority) = Certificate::from_der(authority) else { return false };
    let (authority, Ok(message)) = (authority.tbs_certificate(), old.tbs_certificate().to_der()) else {
        return false;
    };
    let (key, signature) = (authority.subject_public_key_info(), old.signature().raw_bytes());
    authority.subject() == old.tbs_certificate().issuer()
        && old.signature_algorithm() == old.tbs_certificate().signature()
        && Signatures::new().0.all.iter().any(|algorithm| {
            is(old.signature_algorithm(), &algorithm.signature_alg_id())
                && is(&key.algorithm, &algorithm.public_key_alg_id())
                && algorithm.verify_signature(bits(key), &message, signature).is_ok()
        })
}

fn bits(key: &SubjectPublicKeyInfoOwned) -> &[u8] {
    key.subject_public_key.raw_bytes()
}

/// Whether two identifiers are the same one; the second is without tag and length.
fn is(one: &AlgorithmIdentifierOwned, other: &[u8]) -> bool {
    let der = one.to_der().unwrap_or_default();
    AnyRef::from_der(&der).is_ok_and(|any| any.value() == other)
}
