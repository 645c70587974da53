//! TLS to a mail server: whom we trust, and under which name the server must be known.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::{SmtpSettings, SmtpSettingsError, SmtpTls};

/// What a handshake needs.
pub(super) struct TlsParameters {
    pub connector: TlsConnector,
    pub name: ServerName<'static>,
}

/// `None` where TLS is switched off. Trusts the system's certificates and those of the settings.
pub(super) fn parameters(
    settings: &SmtpSettings,
) -> Result<Option<TlsParameters>, SmtpSettingsError> {
    if settings.tls == SmtpTls::None {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = &settings.extra_root_pem {
        for root in extra(pem)? {
            roots
                .add(root)
                .map_err(|_| SmtpSettingsError::RootCertificates)?;
        }
    }
    let unusable = |error: &dyn std::fmt::Display| SmtpSettingsError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(settings.host.clone()).map_err(|error| unusable(&error))?;
    Ok(Some(TlsParameters {
        connector: TlsConnector::from(Arc::new(config)),
        name,
    }))
}

/// The certificates of a PEM text, of which there must be one at least.
fn extra(pem: &str) -> Result<Vec<CertificateDer<'static>>, SmtpSettingsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or(SmtpSettingsError::RootCertificates)
}
