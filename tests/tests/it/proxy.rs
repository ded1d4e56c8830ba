//! Between a service and its Redis: a way that loses answers, and leads nowhere.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

/// Passes everything on, until it is told to lose answers.
pub(crate) struct Proxy {
    folder: TempDir,
    losses: Arc<Losses>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Losses {
    /// Every so manieth answer is lost, and its connection with it; 0: none.
    every: AtomicU32,
    answers: AtomicU32,
    lost: AtomicU64,
    /// Connections that were made before the latest of these lead nowhere.
    ages: AtomicU32,
}

impl Proxy {
    /// Before the Redis at this address, `unix:///…`.
    pub(crate) fn before(redis: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("proxy.sock")).expect("a socket");
        let (to, losses) = (PathBuf::from(redis.trim_start_matches("unix://")), Arc::<Losses>::default());
        let counting = Arc::clone(&losses);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, to.clone(), Arc::clone(&counting)));
            }
        });
        Self { folder, losses, task }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.folder.path().join("proxy.sock").display())
    }

    /// From now on every so manieth answer is lost; 0: none.
    pub(crate) fn lose_every(&self, every: u32) {
        self.losses.every.store(every, Ordering::Relaxed);
    }

    /// From now on nothing passes on the connections that are there, and nobody is told; new ones work.
    pub(crate) fn lead_nowhere(&self) {
        self.losses.ages.fetch_add(1, Ordering::Relaxed);
    }

    /// How many answers were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.losses.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends, and both connections with it, when either side has closed or an answer is lost: what was asked has been
/// done by then.
async fn pass_on(client: UnixStream, to: PathBuf, losses: Arc<Losses>) {
    let Ok(server) = UnixStream::connect(to).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let age = losses.ages.load(Ordering::Relaxed);
    let leads_nowhere = |losses: &Losses| losses.ages.load(Ordering::Relaxed) != age;
    let asking = Arc::clone(&losses);
    let calls = async move {
        let mut piece = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_client.read(&mut piece).await {
            if !leads_nowhere(&asking) && to_server.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    };
    let answers = async move {
        let mut piece = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_server.read(&mut piece).await {
            let every = losses.every.load(Ordering::Relaxed);
            if every > 0 && losses.answers.fetch_add(1, Ordering::Relaxed) % every == every - 1 {
                losses.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if !leads_nowhere(&losses) && to_client.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = calls => {}
        () = answers => {}
    }
}
