//! TLS as libpq means it, on rustls with ring as the one crypto provider.
//!
//! | `sslmode` | chain checked | host name checked |
//! |---|---|---|
//! | `allow`, `prefer`, `require` | if there is a root file | no |
//! | `verify-ca` | yes | no |
//! | `verify-full` | yes | yes, by subjectAltName, else by common name as libpq does |
//!
//! A certificate that stands byte for byte in the root file is accepted although it calls itself an authority, which
//! is what `openssl req -x509` makes; its dates are checked. Files are read at each connect, so renewed certificates
//! are used without a restart. Not supported: revocation lists, encrypted keys, X.509 version 1 certificates.

use crate::{
    Error, ErrorKind, Result,
    conninfo::{Roots, SslMode, TlsSettings},
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
    version::{TLS12, TLS13},
};
use std::{fs, path::Path, sync::Arc};
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::{
    Certificate,
    der::{Decode as _, asn1, oid::db::rfc4519::CN},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// Builds the connector that these settings describe.
///
/// # Errors
/// [`ErrorKind::Config`] for a file that is missing, unreadable or not PEM.
pub(super) fn connector(settings: &TlsSettings) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(verifier(settings, Arc::clone(&provider))?);
    let versions = if settings.tls13_only { &[&TLS13][..] } else { &[&TLS13, &TLS12][..] };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|e| bad("ssl_min_protocol_version", "cannot be offered", e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) if settings.mode != SslMode::Disable => builder
            .with_client_auth_cert(certificates("sslcert", cert)?, private_key(key)?)
            .map_err(|e| bad("sslcert", "does not go with sslkey", e))?,
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn bad(field: &str, what: &str, e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Config, format!("{field}: {what}: {e}")).with_source(e)
}

fn certificates(field: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = fs::read(path).map_err(|e| bad(field, &format!("cannot read {}", path.display()), e))?;
    let list: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|e| bad(field, &format!("{} is not PEM", path.display()), e))?;
    if list.is_empty() {
        return Err(Error::new(ErrorKind::Config, format!("{field}: no certificate in {}", path.display())));
    }
    Ok(list)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let unreadable = |e| bad("sslkey", &format!("cannot read {}", path.display()), e);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let meta = fs::metadata(path).map_err(unreadable)?;
        // libpq's rule: 0600, or 0640 if it belongs to root.
        if meta.mode() & if meta.uid() == 0 { 0o037 } else { 0o077 } != 0 {
            let message = format!("sslkey: others have access to {}; chmod 0600", path.display());
            return Err(Error::new(ErrorKind::Config, message));
        }
    }
    let text = fs::read(path).map_err(unreadable)?;
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|e| bad("sslkey", &format!("no unencrypted PEM key in {}", path.display()), e))
}

/// Checks certificates by libpq's rules.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None`: the chain is not checked.
    roots: Option<RootCertStore>,
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
}

fn verifier(settings: &TlsSettings, provider: Arc<CryptoProvider>) -> Result<Verifier> {
    let mut store = RootCertStore::empty();
    let mut pinned = Vec::new();
    let roots = match &settings.roots {
        Roots::File(path) if settings.mode != SslMode::Disable => {
            pinned = certificates("sslrootcert", path)?;
            // A pinned end-entity certificate need not be usable as a trust anchor, so failures are not errors.
            store.add_parsable_certificates(pinned.iter().cloned());
            Some(store)
        }
        Roots::System if settings.mode != SslMode::Disable => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                return Err(Error::new(
                    ErrorKind::Config,
                    "sslrootcert: the system has no trusted certificates",
                ));
            }
            store.add_parsable_certificates(found.certs);
            Some(store)
        }
        _ => None,
    };
    Ok(Verifier { provider, roots, pinned, check_name: settings.mode == SslMode::VerifyFull })
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        if self.pinned.iter().any(|p| p.as_ref() == cert.as_ref()) {
            check_dates(cert, now)?;
        } else {
            let parsed = ParsedCertificate::try_from(cert)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        }
        if self.check_name {
            check_name(cert, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    // Handshake signatures are checked in every mode: they prove that the peer holds the key of the certificate that
    // SCRAM channel binding is tied to.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn parse(cert: &CertificateDer<'_>) -> Result<Certificate, TlsError> {
    Certificate::from_der(cert).map_err(|_| CertificateError::BadEncoding.into())
}

fn check_dates(cert: &CertificateDer<'_>, now: UnixTime) -> Result<(), TlsError> {
    let validity = parse(cert)?.tbs_certificate.validity;
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// By subjectAltName; the common name counts only if there is no name of the kind asked for, as in libpq.
fn check_name(cert: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), TlsError> {
    let by_san = ParsedCertificate::try_from(cert).and_then(|parsed| verify_server_name(&parsed, name));
    let Err(refusal) = by_san else { return Ok(()) };
    let parsed = parse(cert)?;
    let wants_dns = matches!(name, ServerName::DnsName(_));
    let same_kind = |n: &GeneralName| match n {
        GeneralName::DnsName(_) => wants_dns,
        GeneralName::IpAddress(_) => !wants_dns,
        _ => false,
    };
    let san = parsed.tbs_certificate.get::<SubjectAltName>().map_err(|_| CertificateError::BadEncoding)?;
    if !san.is_some_and(|(_, names)| names.0.iter().any(same_kind))
        && common_name(&parsed).is_some_and(|cn| name_matches(&cn, &name.to_str()))
    {
        return Ok(());
    }
    Err(refusal)
}

fn common_name(cert: &Certificate) -> Option<String> {
    let mut attributes = cert.tbs_certificate.subject.0.iter().flat_map(|rdn| rdn.0.iter());
    let value = &attributes.find(|a| a.oid == CN)?.value;
    let utf8 = value.decode_as::<asn1::Utf8StringRef<'_>>().map(|s| s.as_str().to_owned());
    utf8.or_else(|_| value.decode_as::<asn1::PrintableStringRef<'_>>().map(|s| s.as_str().to_owned())).ok()
}

/// `*.rest` stands for exactly one label.
fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => {
            name.split_once('.').is_some_and(|(label, n)| !label.is_empty() && n.eq_ignore_ascii_case(rest))
        }
        None => pattern.eq_ignore_ascii_case(name),
    }
}
