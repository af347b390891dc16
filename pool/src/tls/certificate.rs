//! What a certificate says, as far as logins go by it. Nothing here checks it: that has been done before.

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ContextSpecific, ObjectIdentifier};
use x509_cert::der::oid::db::rfc5912;
use x509_cert::der::{Decode, Encode, SliceReader, TagNumber};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::spki::AlgorithmIdentifierOwned;

/// The subject's first CN, as PostgreSQL takes it; `None` where there is none, or none that is text without NUL.
pub fn common_name(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let name = certificate.tbs_certificate().subject().common_name().ok()??;
    Some(name.value().into_owned()).filter(|name| !name.contains('\0'))
}

/// Whether it names what it is for as RFC 6125 wants it; else its CN does.
pub(super) fn has_alternative_names(der: &[u8]) -> bool {
    let extension = |certificate: &Certificate| {
        let found = certificate.tbs_certificate().get_extension::<SubjectAltName>();
        // One that can't be read is one nevertheless.
        !matches!(found, Ok(None))
    };
    Certificate::from_der(der).as_ref().map_or(true, extension)
}

/// Its key, as SubjectPublicKeyInfo.
pub(super) fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(der).ok()?;
    certificate.tbs_certificate().subject_public_key_info().to_der().ok()
}

/// Whether it is valid now.
pub(super) fn check_period(der: &[u8], now: UnixTime) -> Result<(), Error> {
    let refused = |why| Err(Error::InvalidCertificate(why));
    let Ok(certificate) = Certificate::from_der(der) else { return refused(CertificateError::BadEncoding) };
    let (valid, now) = (certificate.tbs_certificate().validity(), Duration::from_secs(now.as_secs()));
    if now < valid.not_before.to_unix_duration() {
        return refused(CertificateError::NotValidYet);
    }
    if now > valid.not_after.to_unix_duration() {
        return refused(CertificateError::Expired);
    }
    Ok(())
}

/// `tls-server-end-point` of RFC 5929, section 4.1: the certificate's hash, by the hash of its own signature, but by
/// SHA-256 where that is MD5 or SHA-1. `None` for a signature without a hash of its own (Ed25519), where the RFC says
/// nothing.
pub fn end_point(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(match hash_of(certificate.signature_algorithm())? {
        Hash::Sha224 => Sha224::digest(der).to_vec(),
        Hash::Sha256 => Sha256::digest(der).to_vec(),
        Hash::Sha384 => Sha384::digest(der).to_vec(),
        Hash::Sha512 => Sha512::digest(der).to_vec(),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The hash to use where a signature has this one.
const HASHES: [(ObjectIdentifier, Hash); 6] = [
    (rfc5912::ID_MD_5, Hash::Sha256),
    (rfc5912::ID_SHA_1, Hash::Sha256),
    (rfc5912::ID_SHA_224, Hash::Sha224),
    (rfc5912::ID_SHA_256, Hash::Sha256),
    (rfc5912::ID_SHA_384, Hash::Sha384),
    (rfc5912::ID_SHA_512, Hash::Sha512),
];

/// The same for signatures that name their hash.
const SIGNATURES: [(ObjectIdentifier, Hash); 12] = [
    (rfc5912::MD_5_WITH_RSA_ENCRYPTION, Hash::Sha256),
    (rfc5912::SHA_1_WITH_RSA_ENCRYPTION, Hash::Sha256),
    (rfc5912::DSA_WITH_SHA_1, Hash::Sha256),
    // ecdsa-with-SHA1
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), Hash::Sha256),
    (rfc5912::SHA_224_WITH_RSA_ENCRYPTION, Hash::Sha224),
    (rfc5912::SHA_256_WITH_RSA_ENCRYPTION, Hash::Sha256),
    (rfc5912::SHA_384_WITH_RSA_ENCRYPTION, Hash::Sha384),
    (rfc5912::SHA_512_WITH_RSA_ENCRYPTION, Hash::Sha512),
    (rfc5912::ECDSA_WITH_SHA_224, Hash::Sha224),
    (rfc5912::ECDSA_WITH_SHA_256, Hash::Sha256),
    (rfc5912::ECDSA_WITH_SHA_384, Hash::Sha384),
    (rfc5912::ECDSA_WITH_SHA_512, Hash::Sha512),
];

fn hash_of(signature: &AlgorithmIdentifierOwned) -> Option<Hash> {
    if signature.oid == rfc5912::ID_RSASSA_PSS {
        return hash_of_pss(signature);
    }
    find(&SIGNATURES, signature.oid)
}

/// RSASSA-PSS has its hash among its parameters, SHA-1 where they say nothing (RFC 4055, section 3.1).
fn hash_of_pss(signature: &AlgorithmIdentifierOwned) -> Option<Hash> {
    let parameters = signature.parameters.as_ref()?;
    let mut reader = SliceReader::new(parameters.value()).ok()?;
    let named =
        ContextSpecific::<AlgorithmIdentifierOwned>::decode_explicit(&mut reader, TagNumber(0)).ok()?;
    named.map_or(Some(Hash::Sha256), |hash| find(&HASHES, hash.value.oid))
}

fn find(known: &[(ObjectIdentifier, Hash)], oid: ObjectIdentifier) -> Option<Hash> {
    known.iter().find(|(name, _)| *name == oid).map(|(_, hash)| *hash)
}
