//! What we show: a certificate with its key, put together and found to fit.

use super::{certificate, provider};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use shardway_config::Problem;
use shardway_config::tls::Identity;
use std::sync::Arc;

/// The pair as handshakes want it. Errors: the key is of no use, or another certificate's.
pub(super) fn certified(identity: &Identity) -> Result<Arc<SingleCertAndKey>, Problem> {
    let Identity { chain, key } = identity;
    let loaded = provider().key_provider.load_private_key(key.content.clone_key());
    let loaded = loaded.map_err(|e| key.problem(format!("of no use as a key: {e}")))?;
    let own = chain.content.first().and_then(|own| certificate::public_key(own));
    let own = own.ok_or_else(|| chain.problem("the first certificate can't be read"))?;
    if loaded.public_key().is_some_and(|key| *key != own[..]) {
        return Err(key.problem("not the key of the certificate"));
    }
    let pair = CertifiedKey::new(chain.content.to_vec(), loaded);
    Ok(Arc::new(SingleCertAndKey::from(pair)))
}
