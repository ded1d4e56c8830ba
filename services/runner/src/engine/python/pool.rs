//! The warm interpreter: a process in the sandbox that forks a child for each job, so that a job costs a fork and
//! not the start of an interpreter. A few children are there before their jobs are, so that a job does not wait for
//! the fork either.
//!
//! There are two sockets. Whoever of the children reads an order from the one runs that job: the order has its
//! directory, limits and descriptors. Over the other the runner says which job is to be killed, and hears how each
//! has ended. While there is no warm interpreter (it died), jobs are run without; a new one is started.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Interest},
    net::UnixDatagram,
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};

use crate::{
    attempt::Run,
    child::{self, Ears, Leader, job::Document},
    sandbox::{Home, Policy},
};

/// The server's numbers for its ends of the sockets.
const CONTROL: i32 = 3;
const ORDERS: i32 = 4;
/// At most so many children wait for jobs. Each has a megabyte or two of its own.
const MOST_READY: usize = 4;
/// An interpreter that is not ready within this time is given up.
const READY: Duration = Duration::from_secs(20);
/// A killed job ends within this time, or the whole interpreter is killed.
const KILLED: Duration = Duration::from_millis(700);
/// The pause before another interpreter is started.
const PAUSE: Duration = Duration::from_millis(500);
/// What the server says is shorter.
const MOST_BYTES: usize = 8 << 10;

/// What a warm interpreter is made of.
pub(super) struct Recipe {
    pub(super) interpreter: PathBuf,
    pub(super) program: String,
    pub(super) path: String,
    pub(super) preload: Vec<String>,
    pub(super) policy: Policy,
    /// How many scripts may run at once; 0: any number.
    pub(super) slots: usize,
}

/// The warm interpreter, when there is one.
#[derive(Clone, Default)]
pub(super) struct Warm {
    server: Arc<Mutex<Option<Arc<Server>>>>,
}

/// The runner's side of a warm interpreter.
struct Server {
    /// Sockets that keep messages apart and say when the other side is gone.
    control: UnixDatagram,
    orders: UnixDatagram,
    /// Who waits for the end of which job.
    waiting: Mutex<HashMap<u64, oneshot::Sender<ExitStatus>>>,
    next: AtomicU64,
    /// Told to end the whole interpreter.
    doom: tokio::sync::Notify,
}

/// What a child is told. The descriptors come with it: output, error output, messages, the job, the file rules if
/// there are any, and the doors of control groups.
#[derive(Serialize)]
struct Order<'a> {
    start: u64,
    home: &'a Path,
    user: Option<u32>,
    /// Numbers of the kernel, and the most of each.
    limits: Vec<(u32, u64)>,
    rules: bool,
}

/// What the server is told.
#[derive(Serialize)]
struct Kill {
    kill: u64,
}

/// What the server says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Ended { ended: u64, status: i32 },
    Ready { ready: bool },
}

impl Warm {
    /// Starts a job in a copy of the interpreter; nothing when that cannot be had.
    pub(super) async fn start(&self, home: &Home, run: &Run, policy: &Policy) -> Option<(Copy, Ears)> {
        let server = self.server.lock().clone().filter(|_| child::check_environment(&run.job).is_ok())?;
        match server.start(home, run, policy).await {
            Ok(started) => Some(started),
            Err(error) => {
                tracing::warn!(%error, "the warm interpreter does not take a job");
                None
            }
        }
    }
}

/// Keeps a warm interpreter, until it is aborted. Says when the first is ready or has failed.
pub(super) async fn keep(recipe: Recipe, warm: Warm, is_settled: oneshot::Sender<()>) {
    let mut is_settled = Some(is_settled);
    loop {
        match launch(&recipe).await {
            Ok((server, child, home)) => {
                *warm.server.lock() = Some(Arc::clone(&server));
                drop(is_settled.take());
                let why = server.listen(child).await;
                *warm.server.lock() = None;
                server.waiting.lock().clear();
                drop(home);
                tracing::error!(error = %why, "the warm Python interpreter has ended; starting another");
            }
            Err(error) => tracing::error!(%error, "no warm Python interpreter; scripts start one each"),
        }
        drop(is_settled.take());
        tokio::time::sleep(PAUSE).await;
    }
}

async fn launch(recipe: &Recipe) -> io::Result<(Arc<Server>, Child, Home)> {
    let home = recipe.policy.home()?;
    let (control, their_control) = sockets()?;
    let (orders, their_orders) = sockets()?;
    let of_children = recipe.policy.of_children()?;
    let setup = serde_json::json!({
        "filter": hex(&of_children.filter()),
        "kept": of_children.kept(),
        "capset": libc::SYS_capset,
        "preload": recipe.preload,
        "ready": if recipe.slots == 0 { MOST_READY } else { recipe.slots.min(MOST_READY) },
    });
    let mut command = Command::new(&recipe.interpreter);
    command.args(["-B", "-u", "-c", &recipe.program, &setup.to_string()]).env_clear();
    // What a function of a library is called is found once, and not by each child anew.
    command.env("PATH", &recipe.path).env("LANG", "C.UTF-8").env("LD_BIND_NOW", "1");
    command.current_dir(home.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    recipe.policy.confine(command.as_std_mut(), &home, Duration::MAX, vec![(their_control, CONTROL), (their_orders, ORDERS)])?;
    let mut child = command.spawn()?;
    // It holds the server's ends of the sockets.
    drop(command);
    if let Some(words) = child.stderr.take() {
        tokio::spawn(async move {
            let mut lines = BufReader::new(words).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::warn!(line, "the warm Python interpreter says");
            }
        });
    }
    let server = Server {
        control,
        orders,
        waiting: Mutex::default(),
        next: AtomicU64::new(0),
        doom: tokio::sync::Notify::new(),
    };
    match timeout(READY, server.hear()).await {
        Ok(Ok(Said::Ready { ready: true })) => Ok((Arc::new(server), child, home)),
        Ok(Ok(_)) => Err(io::Error::other("it speaks before it is ready")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other(format!("it was not ready within {READY:?}"))),
    }
}

/// Two ends of a socket: ours, and one whose reader waits.
fn sockets() -> io::Result<(UnixDatagram, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::io::ioctl_fionbio(&theirs, false)?;
    Ok((UnixDatagram::from_std(ours.into())?, theirs))
}

impl Server {
    async fn start(self: Arc<Self>, home: &Home, run: &Run, policy: &Policy) -> io::Result<(Copy, Ears)> {
        let (ears, mouths) = child::pipes()?;
        let job = Document::of(run).into_file()?;
        let rules = policy.ruleset(home)?;
        let mut fds =
            vec![mouths.stdout.as_fd(), mouths.stderr.as_fd(), mouths.messages.as_fd(), job.as_fd()];
        fds.extend(rules.as_ref().map(AsFd::as_fd));
        fds.extend(home.group().into_iter().flat_map(|group| group.doors()));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, ended) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        // From here on a drop of it ends the job.
        let copy = Copy { server: self, id, ended, status: None };
        let limits = policy.limits_of_children(child::processor_time(run));
        let rules = rules.is_some();
        let order = Order { start: id, home: home.path(), user: home.user(), limits, rules };
        let (text, orders) = (serde_json::to_vec(&order)?, &copy.server.orders);
        orders.async_io(Interest::WRITABLE, || send(orders, &text, &fds)).await?;
        Ok((copy, ears))
    }

    /// Hears until the interpreter is gone, and says why it is.
    async fn listen(&self, mut child: Child) -> io::Error {
        loop {
            tokio::select! {
                said = self.hear() => match said {
                    Ok(Said::Ended { ended, status }) => self.ended(ended, ExitStatus::from_raw(status)),
                    Ok(Said::Ready { .. }) => {}
                    Err(error) => return error,
                },
                () = self.doom.notified() => {
                    let _ = child.kill().await;
                    return io::Error::other("it did not end a job that it was told to end");
                }
            }
        }
    }

    fn ended(&self, id: u64, status: ExitStatus) {
        if let Some(waiting) = self.waiting.lock().remove(&id) {
            // Nobody waits for a job that was given up.
            let _ = waiting.send(status);
        }
    }

    async fn hear(&self) -> io::Result<Said> {
        let mut buffer = vec![0; MOST_BYTES];
        let read = self.control.recv(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&buffer[..read])?)
    }
}

fn send(socket: &UnixDatagram, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    sendmsg(socket, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A job in a copy of the warm interpreter. It ends with this value at the latest.
pub(super) struct Copy {
    server: Arc<Server>,
    id: u64,
    ended: oneshot::Receiver<ExitStatus>,
    status: Option<io::Result<ExitStatus>>,
}

impl Copy {
    fn is_over(&self) -> bool {
        self.status.is_some()
    }

    async fn wait(&mut self) {
        if !self.is_over() {
            let gone = |_| Err(io::Error::other("the warm interpreter ended, and the script with it"));
            self.status = Some((&mut self.ended).await.map_or_else(gone, Ok));
        }
    }
}

impl Leader for Copy {
    async fn exited(&mut self) -> io::Result<()> {
        self.wait().await;
        match &self.status {
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            _ => Ok(()),
        }
    }

    fn kill(&mut self) {
        if self.is_over() || self.ended.is_terminated() {
            return;
        }
        let words = serde_json::to_vec(&Kill { kill: self.id }).unwrap_or_default();
        if send(&self.server.control, &words, &[]).is_err() {
            // It does not read what it is told, so it cannot be told otherwise.
            self.server.doom.notify_one();
        }
    }

    async fn reap(&mut self) -> io::Result<ExitStatus> {
        if timeout(KILLED, self.wait()).await.is_err() {
            self.server.doom.notify_one();
            self.wait().await;
        }
        self.status.take().unwrap_or_else(|| Err(io::Error::other("it was reaped already")))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Not in the list any more: it has ended, or nobody can end it but the end of the server.
        if self.server.waiting.lock().contains_key(&self.id) {
            self.kill();
        }
    }
}
