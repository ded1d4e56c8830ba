//! The warm interpreter: a process in the sandbox that forks a child for each job, so that a job costs a fork and
//! not the start of an interpreter. A few children are there before their jobs are, and have put on the layers of the
//! sandbox with a directory and a user that wait with them, so that a job waits for none of that either.
//!
//! Over one socket the interpreter says which children are there, each with a socket of its own, and how they have
//! ended; the runner says whom to kill. What a child is to put on, and later its job, goes to the child directly. While
//! there is no warm interpreter (it died), jobs are run without; a new one is started.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Interest},
    net::UnixDatagram,
    process::{Child, Command},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    attempt::Run,
    child::{self, Ears, Leader, job::Document},
    sandbox::{Home, Policy},
};

/// The server's number for its end of the socket.
const CONTROL: i32 = 3;
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
    /// What its children put on beyond that.
    pub(super) of_jobs: Arc<Policy>,
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
    /// A socket that keeps messages apart and says when the other side is gone.
    control: UnixDatagram,
    /// Children without a job, in the order in which they came. It ends when the server has ended.
    ready: tokio::sync::Mutex<mpsc::UnboundedReceiver<Spare>>,
    /// Who waits for the end of which child; none: the server has ended, and nobody would be told.
    waiting: Mutex<Option<HashMap<i32, oneshot::Sender<ExitStatus>>>>,
    /// Told to end the whole interpreter.
    doom: tokio::sync::Notify,
    of_jobs: Arc<Policy>,
}

/// A child that waits for a job.
struct Spare {
    pid: i32,
    door: OwnedFd,
    /// What it has put on is of this; none: it has nothing on yet.
    home: Option<Home>,
}

/// What a child is told first: what to put on. The descriptors come with it: the file rules if there are any, and the
/// doors of control groups.
#[derive(Serialize)]
struct Dress<'a> {
    home: &'a Path,
    user: Option<u32>,
    /// Numbers of the kernel, and the most of each.
    limits: Vec<(u32, u64)>,
    rules: bool,
}

/// What it is told then, with the descriptors of its output, its error output, its messages and its job.
#[derive(Serialize)]
struct Order {
    limits: Vec<(u32, u64)>,
}

/// What the server is told.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    /// This child has a job, so another one is wanted.
    Taken(i32),
    /// This one is to end.
    Kill(i32),
}

/// What the server says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Ended {
        ended: i32,
        status: i32,
    },
    /// With a descriptor.
    Ready {
        ready: i32,
    },
}

impl Warm {
    /// Starts a job in a copy of the interpreter; nothing when that cannot be had.
    pub(super) async fn start(&self, run: &Run) -> Option<(Copy, Ears, Home)> {
        let server = self.server.lock().clone().filter(|_| child::check_environment(&run.job).is_ok())?;
        tokio::select! {
            started = server.start(run) => match started {
                Ok(started) => Some(started),
                Err(error) => {
                    tracing::warn!(%error, "the warm interpreter does not take a job");
                    None
                }
            },
            // Whoever comes next sees that, too.
            _ = run.attempt().interrupted() => None,
        }
    }
}

/// Keeps a warm interpreter, until it is aborted. Says when the first is ready or has failed.
pub(super) async fn keep(recipe: Recipe, warm: Warm, is_settled: oneshot::Sender<()>) {
    let mut is_settled = Some(is_settled);
    loop {
        match launch(&recipe).await {
            Ok(Launched { server, child, home, spares }) => {
                *warm.server.lock() = Some(Arc::clone(&server));
                drop(is_settled.take());
                let why = server.listen(child, spares).await;
                *warm.server.lock() = None;
                *server.waiting.lock() = None;
                drop(home);
                tracing::error!(error = %why, "the warm Python interpreter has ended; starting another");
            }
            Err(error) => tracing::error!(%error, "no warm Python interpreter; scripts start one each"),
        }
        drop(is_settled.take());
        tokio::time::sleep(PAUSE).await;
    }
}

/// A warm interpreter that has just been started.
struct Launched {
    server: Arc<Server>,
    child: Child,
    home: Home,
    spares: mpsc::UnboundedSender<Spare>,
}

async fn launch(recipe: &Recipe) -> io::Result<Launched> {
    let home = recipe.policy.home()?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::io::ioctl_fionbio(&theirs, false)?;
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
    recipe.policy.confine(command.as_std_mut(), &home, Duration::MAX, vec![(theirs, CONTROL)])?;
    let mut child = command.spawn()?;
    // It holds the server's end of the socket.
    drop(command);
    if let Some(words) = child.stderr.take() {
        tokio::spawn(async move {
            let mut lines = BufReader::new(words).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::warn!(line, "the warm Python interpreter says");
            }
        });
    }
    let (spares, ready) = mpsc::unbounded_channel();
    let server = Server {
        control: UnixDatagram::from_std(ours.into())?,
        ready: tokio::sync::Mutex::new(ready),
        waiting: Mutex::new(Some(HashMap::new())),
        doom: tokio::sync::Notify::new(),
        of_jobs: Arc::clone(&recipe.of_jobs),
    };
    let launched = Launched { server: Arc::new(server), child, home, spares };
    match timeout(READY, launched.server.hear(&launched.spares)).await {
        Ok(heard) => heard.map(|()| launched),
        Err(_) => Err(io::Error::other(format!("it was not ready within {READY:?}"))),
    }
}

impl Server {
    async fn start(self: Arc<Self>, run: &Run) -> io::Result<(Copy, Ears, Home)> {
        let (ears, mouths) = child::pipes()?;
        let job = Document::of(run).into_file()?;
        let fds = [mouths.stdout.as_fd(), mouths.stderr.as_fd(), mouths.messages.as_fd(), job.as_fd()];
        let order = Order { limits: self.of_jobs.limits_of_job(child::processor_time(run)) };
        let order = serde_json::to_vec(&order)?;
        loop {
            let spare = self.ready.lock().await.recv().await;
            let has_ended = || io::Error::other("it has ended");
            let Spare { pid, door, home } = spare.ok_or_else(has_ended)?;
            let is_lost = home.as_ref().is_some_and(|home| !home.is_there());
            if is_lost {
                // Without its socket the child ends.
                continue;
            }
            let (sender, ended) = oneshot::channel();
            self.waiting.lock().as_mut().ok_or_else(has_ended)?.insert(pid, sender);
            // From here on a drop of it ends the child.
            let copy = Copy { server: Arc::clone(&self), pid, ended, status: None };
            let told = || -> io::Result<Home> {
                let home = match home {
                    Some(home) => home,
                    None => self.dress(&door, self.of_jobs.home()?)?,
                };
                send(&door, &order, &fds)?;
                Ok(home)
            };
            match told() {
                Ok(home) => {
                    // Unheard, another child comes when this one has ended.
                    let _ = self.tell(&Word::Taken(pid));
                    return Ok((copy, ears, home));
                }
                // It has died while it waited.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    self.forget(pid);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn tell(&self, word: &Word) -> io::Result<()> {
        send(&self.control, &serde_json::to_vec(word)?, &[])
    }

    /// Tells a child what to put on.
    fn dress(&self, door: &OwnedFd, home: Home) -> io::Result<Home> {
        let rules = self.of_jobs.ruleset(&home)?;
        let mut fds: Vec<BorrowedFd<'_>> = rules.iter().map(AsFd::as_fd).collect();
        fds.extend(home.group().into_iter().flat_map(|group| group.doors()));
        let limits = self.of_jobs.limits_of_children();
        let dress = Dress { home: home.path(), user: home.user(), limits, rules: rules.is_some() };
        send(door, &serde_json::to_vec(&dress)?, &fds)?;
        Ok(home)
    }

    /// Whoever waits for the end of this child, for the last time.
    fn forget(&self, pid: i32) -> Option<oneshot::Sender<ExitStatus>> {
        self.waiting.lock().as_mut()?.remove(&pid)
    }

    fn is_awaited(&self, pid: i32) -> bool {
        self.waiting.lock().as_ref().is_some_and(|waiting| waiting.contains_key(&pid))
    }

    /// Hears until the interpreter is gone, and says why it is.
    async fn listen(&self, mut child: Child, spares: mpsc::UnboundedSender<Spare>) -> io::Error {
        loop {
            tokio::select! {
                heard = self.hear(&spares) => if let Err(error) = heard {
                    return error;
                },
                () = self.doom.notified() => {
                    let _ = child.kill().await;
                    return io::Error::other("it did not end a job that it was told to end");
                }
            }
        }
    }

    /// Takes in one thing that the server says.
    async fn hear(&self, spares: &mpsc::UnboundedSender<Spare>) -> io::Result<()> {
        let mut buffer = vec![0; MOST_BYTES];
        let receive = || receive(&self.control, &mut buffer);
        let (read, door) = self.control.async_io(Interest::READABLE, receive).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match (serde_json::from_slice(&buffer[..read])?, door) {
            (Said::Ready { ready }, Some(door)) => {
                // What cannot be had now is tried again when there is a job.
                let home = self.of_jobs.home_ahead().unwrap_or_default();
                let home = home.and_then(|home| self.dress(&door, home).ok());
                // Nobody waits any more when the runner stops.
                let _ = spares.send(Spare { pid: ready, door, home });
            }
            (Said::Ready { .. }, None) => return Err(io::Error::other("a child came without its socket")),
            (Said::Ended { ended, status }, _) => {
                // Nobody waits for a child that had no job, or whose job was given up.
                if let Some(waiting) = self.forget(ended) {
                    let _ = waiting.send(ExitStatus::from_raw(status));
                }
            }
        }
        Ok(())
    }
}

fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let door = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((received.bytes, door))
}

fn send(socket: impl AsFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    sendmsg(socket, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
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
    pid: i32,
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
        if self.server.tell(&Word::Kill(self.pid)).is_err() {
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
        if self.server.is_awaited(self.pid) {
            self.kill();
        }
    }
}
