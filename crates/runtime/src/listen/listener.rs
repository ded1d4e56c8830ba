//! A socket that accepts connections.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::{Address, Stream};

/// How long to wait when the process has no file descriptor left for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(500);

/// Why an address could not be listened on, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", advice(address, source))]
pub struct BindError {
    /// The address.
    pub address: Address,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// A bound socket. Implements what axum and tonic serve from; dropping it removes a unix socket's file.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    address: Address,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

/// The file of a unix socket; it goes when the listener goes, unless somebody else has taken the path meanwhile.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Listener {
    /// Listens. Over `tls://` the streams are plain until an [`Acceptor`](super::Acceptor) has shaken hands. The file of a unix socket whose process is gone is taken over; one that is in use is refused.
    ///
    /// # Errors
    /// [`BindError`], which names the address and says what to do.
    pub async fn bind(address: &Address) -> Result<Self, BindError> {
        let bound = match address {
            Address::Tcp { host, port } | Address::Tls { host, port } => {
                bind_tcp(host, *port).await.map(|(kind, bound)| (kind, at_port(address, &bound)))
            }
            Address::Unix(path) => bind_unix(path).await,
        };
        let (kind, address) = bound.map_err(|source| BindError { address: address.clone(), source })?;
        Ok(Self { kind, address, pause: None })
    }

    /// The address that really got bound: the port is never 0.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Stream> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let accepted = match &self.kind {
                Kind::Tcp(listener) => std::task::ready!(listener.poll_accept(cx)).and_then(|(stream, _)| {
                    stream.set_nodelay(true)?;
                    Ok(Stream::Tcp(stream))
                }),
                Kind::Unix { listener, .. } => {
                    std::task::ready!(listener.poll_accept(cx)).map(|(stream, _)| Stream::Unix(stream))
                }
            };
            match accepted {
                Ok(stream) => return Poll::Ready(stream),
                Err(error) if is_connection_error(&error) => {}
                Err(error) => {
                    tracing::error!(address = %self.address, %error, "cannot accept connections");
                    self.pause = Some(Box::pin(tokio::time::sleep(EXHAUSTED_PAUSE)));
                }
            }
        }
    }
}

/// The connection failed before it was accepted; the socket is fine.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    // InvalidInput: setting an option on a connection that its peer has closed already.
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset | InvalidInput)
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = Address;

    async fn accept(&mut self) -> (Stream, Address) {
        let stream = std::future::poll_fn(|cx| self.poll_accept(cx)).await;
        (stream, self.address.clone())
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(self.address.clone())
    }
}

impl futures::Stream for Listener {
    type Item = io::Result<Stream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(cx).map(|stream| Some(Ok(stream)))
    }
}

async fn bind_tcp(host: &str, port: u16) -> io::Result<(Kind, Address)> {
    let listener = TcpListener::bind((host, port)).await?;
    let bound = listener.local_addr()?;
    // A name stays a name: it is what the person who set it knows.
    Ok((Kind::Tcp(listener), Address::Tcp { host: host.to_owned(), port: bound.port() }))
}

/// The address as it was written, with the port that really got bound.
fn at_port(written: &Address, bound: &Address) -> Address {
    match (written, bound.port()) {
        (Address::Tls { host, .. }, Some(port)) => Address::Tls { host: host.clone(), port },
        _ => bound.clone(),
    }
}

async fn bind_unix(path: &Path) -> io::Result<(Kind, Address)> {
    remove_stale(path).await?;
    let listener = UnixListener::bind(path)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path) };
    // Its user and group, nobody else: the socket has no other protection.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok((Kind::Unix { listener, _file: file }, Address::Unix(path.to_owned())))
}

/// Removes a socket's file that nobody listens on; anything else at the path is left alone.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path is not a socket"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removing the socket of a process that is gone");
            fs::remove_file(path)
        }
        // Its backlog is full, so somebody is listening.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // It may be gone already, and at the end of a process there is nobody to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn advice(address: &Address, error: &io::Error) -> String {
    match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, Address::Tcp { port, .. } | Address::Tls { port, .. }) => format!(
            "the port is in use; stop the process that holds it (`ss -ltnp 'sport = :{port}'` shows it) or set \
             another one"
        ),
        (io::ErrorKind::AddrInUse, Address::Unix(_)) => {
            "another process listens on this socket; stop it or set another path".to_owned()
        }
        (io::ErrorKind::AddrNotAvailable, _) => {
            "this machine has no such address; set one of its own, 127.0.0.1 or 0.0.0.0".to_owned()
        }
        (io::ErrorKind::PermissionDenied, Address::Tcp { .. } | Address::Tls { .. }) => {
            "permission denied; ports below 1024 need a privilege, set a higher one".to_owned()
        }
        (io::ErrorKind::PermissionDenied, Address::Unix(_)) => {
            "permission denied; set a path in a directory that this user may write to".to_owned()
        }
        (io::ErrorKind::NotFound, Address::Unix(_)) => {
            "its directory does not exist; make it or set another path".to_owned()
        }
        (io::ErrorKind::AlreadyExists, Address::Unix(_)) => {
            "something that is not a socket is at this path; remove it or set another path".to_owned()
        }
        (io::ErrorKind::InvalidInput, Address::Unix(_)) => {
            "the path is too long for a socket; set a shorter one".to_owned()
        }
        _ => error.to_string(),
    }
}
