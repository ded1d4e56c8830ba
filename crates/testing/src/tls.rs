//! Certificates of a made-up authority, as files.

use std::path::PathBuf;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// An authority, and a certificate of its own for `localhost` and `127.0.0.1`. Gone with the value.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes them.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn make() -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        // Unlike the other's name, or that one would seem to have signed itself.
        authority.distinguished_name.push(DnType::CommonName, "an authority for tests");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
        let this = Self { folder: tempfile::Builder::new().prefix("hero-tls-").tempdir()? };
        std::fs::write(this.authority(), authority.pem())?;
        std::fs::write(this.certificate(), certificate.pem())?;
        std::fs::write(this.key(), key.serialize_pem())?;
        Ok(this)
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate of that authority.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}
