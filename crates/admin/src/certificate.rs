//! The server's certificate for HTTPS: one that was put into the data directory, or one made on the spot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, crypto};

/// A person's own: a chain and its key. Wins over the one made here.
const OWN: (&str, &str) = ("https.pem", "https.key");
const MADE: (&str, &str) = ("https-self-signed.pem", "https-self-signed.key");
/// Some systems take none that is good for longer than 825 days.
const GOOD_FOR: Duration = Duration::from_secs(800 * 24 * 60 * 60);
/// So early another one is made.
const RENEWED_AFTER: Duration = Duration::from_secs(770 * 24 * 60 * 60);

/// Why HTTPS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot use {path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("{path} is no certificate or key in PEM form: {why}")]
    Damaged { path: PathBuf, why: String },
    #[error("the certificate and its key do not fit together: {0}")]
    Unfit(#[from] rustls::Error),
    #[error("no certificate can be made: {0}")]
    Made(#[from] rcgen::Error),
}

type Result<T> = std::result::Result<T, CertificateError>;

/// A certificate ready to be served.
#[derive(Debug, Clone)]
pub struct Certificate {
    config: Arc<ServerConfig>,
    fingerprint: String,
    self_signed: bool,
}

impl Certificate {
    /// The one in `directory`; where there is none, or one made here that is about to end, makes one for these names.
    pub fn of(directory: &Path, host: &str, addresses: &[IpAddr]) -> Result<Certificate> {
        let own = directory.join(OWN.0);
        if own.exists() {
            return Certificate::load(&own, &directory.join(OWN.1), false);
        }
        let (made, key) = (directory.join(MADE.0), directory.join(MADE.1));
        if !is_fresh(&made) {
            make(host, addresses, (&made, &key))?;
        }
        Certificate::load(&made, &key, true)
    }

    fn load(certificate: &Path, key: &Path, self_signed: bool) -> Result<Certificate> {
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| damaged(certificate, &error))?;
        let chain: Vec<CertificateDer<'static>> = chain;
        let first = chain
            .first()
            .ok_or_else(|| damaged(certificate, &"it is empty"))?;
        let fingerprint = fingerprint(first);
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| damaged(key, &error))?;
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Certificate {
            config: Arc::new(config),
            fingerprint,
            self_signed,
        })
    }

    /// SHA-256, as browsers show it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub fn is_self_signed(&self) -> bool {
        self.self_signed
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn damaged(path: &Path, why: &dyn std::fmt::Display) -> CertificateError {
    CertificateError::Damaged {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = digest(&SHA256, certificate);
    let pairs: Vec<String> = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    pairs.join(":")
}

fn is_fresh(made: &Path) -> bool {
    let age = fs::metadata(made)
        .and_then(|metadata| metadata.modified())
        .map(|made| SystemTime::now().duration_since(made).unwrap_or_default());
    age.is_ok_and(|age| age < RENEWED_AFTER)
}

fn make(host: &str, addresses: &[IpAddr], (certificate, key): (&Path, &Path)) -> Result<()> {
    let mut names = vec!["localhost".to_owned()];
    let host_is_name = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if host_is_name && !host.is_empty() {
        names.extend([
            host.to_ascii_lowercase(),
            format!("{}.local", host.to_ascii_lowercase()),
        ]);
    }
    names.extend(addresses.iter().map(ToString::to_string));
    names.push("127.0.0.1".to_owned());
    names.sort();
    names.dedup();
    let mut params = CertificateParams::new(names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Strongroom on {host}"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_secs(24 * 60 * 60)).into();
    params.not_after = (now + GOOD_FOR).into();
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    // The key first: a certificate without its key would not be made anew.
    write(key, pair.serialize_pem().as_bytes())?;
    write(certificate, made.pem().as_bytes())
}

/// Whole, durable and for the owner only, or as it was.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |error| CertificateError::File {
        path: path.to_owned(),
        error,
    };
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    };
    write().map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_certificate_is_made_and_kept() {
        let place = tempfile::tempdir().unwrap();
        let of =
            || Certificate::of(place.path(), "VAULT", &["192.0.2.7".parse().unwrap()]).unwrap();
        let first = of();
        assert!(first.is_self_signed());
        assert_eq!(first.fingerprint().len(), 32 * 3 - 1);
        assert_eq!(of().fingerprint(), first.fingerprint());
        let key = place.path().join(MADE.1);
        assert_eq!(
            fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Certificate::of(elsewhere.path(), "VAULT", &[]).unwrap();
        assert_ne!(other.fingerprint(), first.fingerprint());
    }

    #[test]
    fn a_certificate_of_ones_own_wins() {
        let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let own = Certificate::of(other.path(), "other", &[]).unwrap();
        fs::copy(other.path().join(MADE.0), place.path().join(OWN.0)).unwrap();
        fs::copy(other.path().join(MADE.1), place.path().join(OWN.1)).unwrap();
        let served = Certificate::of(place.path(), "host", &[]).unwrap();
        assert_eq!(served.fingerprint(), own.fingerprint());
        assert!(!served.is_self_signed());
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused() {
        let place = tempfile::tempdir().unwrap();
        Certificate::of(place.path(), "host", &[]).unwrap();
        let pair = KeyPair::generate().unwrap();
        fs::write(place.path().join(MADE.1), pair.serialize_pem()).unwrap();
        let refused = Certificate::of(place.path(), "host", &[]).unwrap_err();
        assert!(matches!(refused, CertificateError::Unfit(_)), "{refused}");
    }
}
