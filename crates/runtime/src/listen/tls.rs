//! TLS with rustls: who we are, whom we believe.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
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

/// How often the files of a server are looked at: as long after a renewal the old certificate is still shown.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The server's side of a handshake. Cheap to clone.
///
/// A certificate that is renewed on the disk is shown to the connections that come after it, without a restart. One
/// that cannot be used is not: the old one stays, and the log says why.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<TlsConfig>,
    protocols: Arc<[Vec<u8>]>,
    loaded: Arc<Mutex<Loaded>>,
    timeout: Duration,
}

struct Loaded {
    tls: TlsAcceptor,
    /// What the files were like when they were read last.
    files: Vec<Option<FileState>>,
    looked_at: Instant,
}

/// A file that was changed differs in one of these.
type FileState = (u64, u64, Option<SystemTime>);

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], which names the setting or the file.
    pub fn new(config: &TlsConfig, timeout: Duration) -> Result<Self> {
        Self::speaking(config, timeout, &[])
    }

    /// The same for clients that choose one of these protocols (ALPN), the best first.
    ///
    /// # Errors
    /// [`TlsError`], which names the setting or the file.
    pub fn speaking(config: &TlsConfig, timeout: Duration, protocols: &[&str]) -> Result<Self> {
        let protocols: Arc<[Vec<u8>]> = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        // First this: what is written in between is read again.
        let files = files(config);
        let tls = load(config, &protocols)?;
        let loaded = Arc::new(Mutex::new(Loaded { tls, files, looked_at: Instant::now() }));
        Ok(Self { config: Arc::new(config.clone()), protocols, loaded, timeout })
    }

    /// Shakes hands over a connection that was accepted; one over a unix socket stays as it is.
    ///
    /// # Errors
    /// When the client speaks no TLS, shows no certificate that is believed, or dawdles.
    pub async fn accept(&self, stream: Stream) -> io::Result<Stream> {
        let Stream::Tcp(stream) = stream else { return Ok(stream) };
        let tls = self.current();
        let shaken = tokio::time::timeout(self.timeout, tls.accept(stream)).await;
        let shaken = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Stream::Tls(Box::new(TlsStream::Server(shaken))))
    }

    /// What is on the disk, as far as it can be used.
    fn current(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock();
        if loaded.looked_at.elapsed() < LOOK_EVERY {
            return loaded.tls.clone();
        }
        loaded.looked_at = Instant::now();
        let files = files(&self.config);
        if files != loaded.files {
            match load(&self.config, &self.protocols) {
                Ok(tls) => {
                    tracing::info!(cert = ?self.config.cert, "shows the renewed certificate");
                    loaded.tls = tls;
                }
                Err(error) => {
                    tracing::error!(%error, "the renewed certificate cannot be used, the old one stays")
                }
            }
            loaded.files = files;
        }
        loaded.tls.clone()
    }
}

fn files(config: &TlsConfig) -> Vec<Option<FileState>> {
    let state = |path: &PathBuf| {
        let file = fs::metadata(path).ok()?;
        Some((file.ino(), file.len(), file.modified().ok()))
    };
    [&config.ca, &config.cert, &config.key].map(|path| path.as_ref().and_then(state)).to_vec()
}

fn load(config: &TlsConfig, protocols: &[Vec<u8>]) -> Result<TlsAcceptor> {
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
    let mut config = builder.with_single_cert(chain, key).map_err(|error| unfit(&error))?;
    config.alpn_protocols = protocols.to_vec();
    Ok(TlsAcceptor::from(Arc::new(config)))
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
