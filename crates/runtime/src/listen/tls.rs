//! TLS with rustls: who we are, whom we believe.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor, TlsConnector, TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};

use super::{Address, Stream, connect};

/// The files of TLS, all of them PEM. A server needs `cert` and `key`, a client `ca`; with all three on both sides
/// each proves itself to the other (mutual TLS).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The authority whose certificates are believed. A server that has one asks every client for a certificate.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown, with those between it and its authority.
    pub cert: Option<PathBuf>,
    /// The private key of it.
    pub key: Option<PathBuf>,
}

/// A setting of TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is needed that was not named.
    #[error("TLS needs `{setting}`: {why}")]
    Missing {
        /// The setting.
        setting: &'static str,
        /// What for.
        why: &'static str,
    },
    /// A file cannot be read, or holds something else.
    #[error("{path} cannot be used for TLS: {why}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The files do not fit together.
    #[error("the certificate and key cannot be used for TLS: {0}")]
    Unfit(String),
}

type Result<T, E = TlsError> = std::result::Result<T, E>;

impl TlsConfig {
    fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>> {
        let unfit = |why: String| TlsError::File { path: path.clone(), why };
        let read = CertificateDer::pem_file_iter(path).map_err(|error| unfit(error.to_string()))?;
        let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| unfit(error.to_string()))?;
        if found.is_empty() { Err(unfit("there is no certificate in it".to_owned())) } else { Ok(found) }
    }

    fn believed(path: &PathBuf) -> Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        for certificate in Self::certificates(path)? {
            roots
                .add(certificate)
                .map_err(|error| TlsError::File { path: path.clone(), why: error.to_string() })?;
        }
        Ok(Arc::new(roots))
    }

    /// The certificate and its key; none: neither is named.
    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
        let (cert, key) = match (&self.cert, &self.key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert, key),
            (None, Some(_)) => {
                return Err(TlsError::Missing { setting: "cert", why: "a key alone proves nothing" });
            }
            (Some(_), None) => {
                return Err(TlsError::Missing { setting: "key", why: "a certificate is shown with its key" });
            }
        };
        let read = PrivateKeyDer::from_pem_file(key);
        let read = read.map_err(|error| TlsError::File { path: key.clone(), why: error.to_string() })?;
        Ok(Some((Self::certificates(cert)?, read)))
    }
}

/// The server's side of a handshake. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    timeout: Duration,
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], which names the setting or the file.
    pub fn new(config: &TlsConfig, timeout: Duration) -> Result<Self> {
        let why = "a server shows a certificate";
        let (chain, key) = config.identity()?.ok_or(TlsError::Missing { setting: "cert", why })?;
        let unfit = |error: &dyn std::fmt::Display| TlsError::Unfit(error.to_string());
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(&error))?;
        let builder = match &config.ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let provider = Arc::new(ring::default_provider());
                let roots = TlsConfig::believed(ca)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| unfit(&error))?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| unfit(&error))?;
        Ok(Self { tls: TlsAcceptor::from(Arc::new(config)), timeout })
    }

    /// Shakes hands over a connection that was accepted; one over a unix socket stays as it is.
    ///
    /// # Errors
    /// When the client speaks no TLS, shows no certificate that is believed, or dawdles.
    pub async fn accept(&self, stream: Stream) -> io::Result<Stream> {
        let Stream::Tcp(stream) = stream else { return Ok(stream) };
        let shaken = tokio::time::timeout(self.timeout, self.tls.accept(stream)).await;
        let shaken = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Stream::Tls(Box::new(TlsStream::Server(shaken))))
    }
}

/// The client's side: connects to any address. Cheap to clone.
#[derive(Clone, Default)]
pub struct Connector(Option<TlsConnector>);

impl Connector {
    /// Reads the files. Without a `ca` there is nobody to believe, so `tls://` addresses cannot be reached.
    ///
    /// # Errors
    /// [`TlsError`], which names the setting or the file.
    pub fn new(config: &TlsConfig) -> Result<Self> {
        let Some(ca) = &config.ca else { return Ok(Self(None)) };
        let unfit = |error: &dyn std::fmt::Display| TlsError::Unfit(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(&error))?
            .with_root_certificates(TlsConfig::believed(ca)?);
        let config = match config.identity()? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| unfit(&error))?,
        };
        Ok(Self(Some(TlsConnector::from(Arc::new(config)))))
    }

    /// Connects, and shakes hands where the address says so.
    ///
    /// # Errors
    /// When nobody answers there, or nobody that is believed.
    pub async fn connect(&self, address: &Address) -> io::Result<Stream> {
        let Address::Tls { host, port } = address else { return connect(address).await };
        let words = "a tls:// address needs `tls.ca`, the authority that is believed";
        let tls = self.0.as_ref().ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, words))?;
        let name = ServerName::try_from(host.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        Ok(Stream::Tls(Box::new(TlsStream::Client(tls.connect(name, stream).await?))))
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("speaks_tls", &self.0.is_some()).finish()
    }
}
