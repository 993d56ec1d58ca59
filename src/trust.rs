//! The certificates trusted when calling a server by https: usually those the machine trusts, so that an organisation's own
//! are among them. TLS is rustls with ring, as in the AWS engine.

use std::sync::Arc;

use anyhow::{Result, bail};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Trusts the certificates that the machine trusts.
pub(crate) fn as_the_machine_does() -> Result<TlsConfig> {
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<Certificate<'static>> =
        found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        bail!("this machine has no certificates to trust, which https needs{why}");
    }
    Ok(trusting(&roots))
}

/// Trusts these certificates only; they are in PEM.
pub(crate) fn only(pem: &[u8]) -> Result<TlsConfig> {
    let mut roots = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item? {
            roots.push(certificate);
        }
    }
    if roots.is_empty() {
        bail!("there is no certificate in it");
    }
    Ok(trusting(&roots))
}

fn trusting(roots: &[Certificate<'static>]) -> TlsConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(roots))
        .unversioned_rustls_crypto_provider(provider)
        .build()
}
