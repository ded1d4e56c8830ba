//! The private Redis of a node that was given none: a `redis-server` child on a Unix socket in the data
//! folder, with its append-only file on, so that jobs outlive the node.
//!
//! Two lock files keep two of anything off one folder. `launcher.lock` is held by this process;
//! `redis.lock` is inherited by the child as its standard input, so that it is free only once the child is
//! gone, whatever became of the launcher that started it.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use hero_redis::{Link, RedisConfig, RedisUrl, cmd};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

/// What the program may be called: Valkey is as good.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// The longest path that a Unix socket may have on every platform.
const MAX_SOCKET_PATH: usize = 100;
/// How much of Redis' own log is told when it dies.
const TOLD_LOG_BYTES: u64 = 2_000;
/// The pause between two looks at something that Redis is about to do.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Why there is no private Redis.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to start.
    #[error(
        "redis-server is not installed, and no Redis answers at {default}. Install it (Debian, Ubuntu: \
         apt-get install redis-server; Fedora: dnf install valkey; macOS: brew install redis), or name a \
         running one with --redis-url"
    )]
    NotInstalled {
        /// Where a running one was looked for.
        default: RedisUrl,
    },
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used; choose another one with --data-dir", path.display())]
    DataDir {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The data folder's path does not fit into a socket address.
    #[error("the data folder {} has too long a path for a Unix socket ({MAX_SOCKET_PATH} bytes with its file); choose a shorter one with --data-dir", path.display())]
    PathTooLong {
        /// Where.
        path: PathBuf,
    },
    /// Another launcher is at work there.
    #[error("another launcher (process {owner}) uses the data folder {}; stop it, or choose another folder with --data-dir", path.display())]
    Taken {
        /// Where.
        path: PathBuf,
        /// Its process id, as it wrote it down.
        owner: String,
    },
    /// An earlier Redis does not let go.
    #[error("an earlier redis-server still uses {} after {waited_s} s; stop it, or choose another folder with --data-dir", path.display())]
    Leftover {
        /// Where.
        path: PathBuf,
        /// How long it was waited for.
        waited_s: u64,
    },
    /// It could not be started.
    #[error("redis-server could not be started")]
    Spawn(#[source] io::Error),
    /// It ended before it answered.
    #[error("redis-server ended ({status}) before it answered; the end of its log, {}:\n{tail}", log.display())]
    Died {
        /// How.
        status: String,
        /// Where its log is.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// It did not answer in time.
    #[error("redis-server has not loaded its data after {waited_s} s; its log is {}", log.display())]
    Slow {
        /// How long it was waited for.
        waited_s: u64,
        /// Where its log is.
        log: PathBuf,
    },
    /// It did not end in time.
    #[error("redis-server has not ended {waited_s} s after it was asked to")]
    Stays {
        /// How long it was waited for.
        waited_s: u64,
    },
    /// Its address cannot be used.
    #[error("the socket of the private redis-server cannot be used")]
    Address(#[from] hero_redis::Error),
}

/// How long the private Redis may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To load its data and answer, and for an earlier one to go.
    pub start: Duration,
    /// To write everything down and end.
    pub stop: Duration,
}

/// A running private Redis. It ends with this process at the latest.
pub struct RedisServer {
    folder: PathBuf,
    patience: Patience,
    url: RedisUrl,
    link: Link,
    exited: oneshot::Receiver<io::Result<ExitStatus>>,
    // Held until the end: one launcher a folder.
    _lock: File,
}

impl RedisServer {
    /// Starts a Redis on `folder` and waits until it answers. What an earlier one has written is there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(folder: &Path, patience: Patience) -> Result<Self, Error> {
        let unusable = |source| Error::DataDir { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(unusable)?;
        let folder = folder.canonicalize().map_err(unusable)?;
        // Scripts and outputs are nobody else's business.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
        let socket = folder.join("redis.sock");
        if socket.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(Error::PathTooLong { path: folder });
        }
        let lock = lock_folder(&folder)?;
        let url: RedisUrl = format!("unix://{}", escaped(&socket)).parse()?;
        let link = Link::open(&RedisConfig::at(url.clone()))?;
        let exited = launch(&folder, &link, patience).await?;
        Ok(Self { folder, patience, url, link, exited, _lock: lock })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// Waits until it ends without having been asked to, and says how.
    pub async fn ended(&mut self) -> String {
        words_of((&mut self.exited).await)
    }

    /// Starts it anew after it has ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.exited = launch(&self.folder, &self.link, self.patience).await?;
        Ok(())
    }

    /// Has it write everything down and end.
    ///
    /// # Errors
    /// [`Error::Stays`]; it is told again when this process ends.
    pub async fn stop(mut self) -> Result<(), Error> {
        shut_down(&self.link).await;
        match tokio::time::timeout(self.patience.stop, &mut self.exited).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Stays { waited_s: self.patience.stop.as_secs() }),
        }
    }
}

/// One launcher a folder: the lock goes when the process does, however it ends.
fn lock_folder(folder: &Path) -> Result<File, Error> {
    let unusable = |source| Error::DataDir { path: folder.to_owned(), source };
    let mut lock = open_lock(&folder.join("launcher.lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {
            lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).map_err(unusable)?;
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            lock.read_to_string(&mut owner).map_err(unusable)?;
            Err(Error::Taken { path: folder.to_owned(), owner })
        }
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// Ends what an earlier launcher may have left, starts the child and waits for its first answer.
async fn launch(
    folder: &Path,
    link: &Link,
    patience: Patience,
) -> Result<oneshot::Receiver<io::Result<ExitStatus>>, Error> {
    if answers(link).await {
        tracing::info!("stopping the redis-server that an earlier start left behind");
        shut_down(link).await;
    }
    let lock = lock_redis(folder, patience.start).await?;
    let log = folder.join("redis.log");
    let mut exited = spawn(folder, &log, lock).await?;
    let started = Instant::now();
    while !answers(link).await {
        if let Ok(status) = exited.try_recv() {
            return Err(Error::Died { status: words_of(Ok(status)), tail: tail_of(&log), log });
        }
        if started.elapsed() > patience.start {
            return Err(Error::Slow { waited_s: patience.start.as_secs(), log });
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(exited)
}

/// Waits until no earlier Redis has the folder any more.
async fn lock_redis(folder: &Path, longest: Duration) -> Result<File, Error> {
    let unusable = |source| Error::DataDir { path: folder.to_owned(), source };
    let lock = open_lock(&folder.join("redis.lock")).map_err(unusable)?;
    let started = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if started.elapsed() < longest => sleep(LOOK_AGAIN).await,
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Leftover { path: folder.to_owned(), waited_s: longest.as_secs() });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
    }
}

/// Starts the child from a thread that lives exactly as long as it does: Linux sends the parent's death
/// signal when the starting THREAD ends, and a thread of the runtime may end any time.
async fn spawn(
    folder: &Path,
    log: &Path,
    lock: File,
) -> Result<oneshot::Receiver<io::Result<ExitStatus>>, Error> {
    let unusable = |source| Error::DataDir { path: folder.to_owned(), source };
    let output = File::create(log).map_err(unusable)?;
    let folder = folder.to_owned();
    let (tell_start, started) = oneshot::channel();
    let (tell_exit, exited) = oneshot::channel();
    let keep = move || match start_program(&folder, &lock, &output) {
        Ok(mut child) => {
            // From here on the child alone holds the lock.
            drop(lock);
            _ = tell_start.send(Ok(()));
            _ = tell_exit.send(child.wait());
        }
        Err(error) => _ = tell_start.send(Err(error)),
    };
    thread::Builder::new().name("redis-server".to_owned()).spawn(keep).map_err(Error::Spawn)?;
    match started.await {
        Ok(result) => result.map(|()| exited),
        Err(_) => Err(Error::Spawn(io::Error::other("the thread that starts it has panicked"))),
    }
}

fn start_program(folder: &Path, lock: &File, output: &File) -> Result<std::process::Child, Error> {
    for program in PROGRAMS {
        let mut command = command(program, folder);
        command.stdin(lock.try_clone().map_err(Error::Spawn)?);
        command.stdout(output.try_clone().map_err(Error::Spawn)?);
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.map_err(Error::Spawn),
        }
    }
    Err(Error::NotInstalled { default: RedisUrl::default() })
}

fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args(["--port", "0", "--unixsocket", "redis.sock", "--unixsocketperm", "700", "--dir", "."])
        // A second of acknowledged jobs may be lost when the machine itself fails, none when a process does.
        .args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""])
        .args(["--maxmemory-policy", "noeviction", "--daemonize", "no", "--logfile", ""])
        .stderr(Stdio::null())
        // Ctrl-C in a terminal reaches the whole group; Redis ends after the node has drained, not before.
        .process_group(0);
    end_with_parent(&mut command);
    command
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the parent's death signal can only be asked for between fork and exec")]
fn end_with_parent(command: &mut Command) {
    use rustix::process::{Signal, set_parent_process_death_signal};
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: &mut Command) {
    // A later start finds the leftover on its socket and ends it.
}

async fn answers(link: &Link) -> bool {
    link.call::<String>(&cmd("PING")).await.is_ok()
}

async fn shut_down(link: &Link) {
    // The connection breaks instead of an answer; whether it has worked is seen by the process's end.
    _ = link.call::<()>(&cmd("SHUTDOWN")).await;
}

fn words_of(exit: Result<io::Result<ExitStatus>, oneshot::error::RecvError>) -> String {
    match exit {
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "unknown end".to_owned(),
    }
}

fn tail_of(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TOLD_LOG_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|error| format!("(it cannot be read: {error})"))
}

/// A path inside a URL: what has a meaning there is written as `%NN`.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                text.push(char::from(*byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Stdio, time::Duration};

    use hero_redis::{Link, RedisConfig, cmd};
    use rustix::process::{Pid, Signal, kill_process};

    use super::{Error, Patience, RedisServer, answers};

    const PATIENCE: Patience = Patience { start: Duration::from_secs(20), stop: Duration::from_secs(20) };

    async fn start(folder: &Path) -> RedisServer {
        RedisServer::start(folder, PATIENCE).await.unwrap()
    }

    async fn process_of(link: &Link) -> Pid {
        let info: String = link.call(cmd("INFO").arg("server")).await.unwrap();
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
        Pid::from_raw(pid.parse().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a folder with spaces & 100 %");
        let redis = start(&folder).await;
        let _: () = redis.link.call(cmd("SET").arg("k").arg("v")).await.unwrap();
        redis.stop().await.unwrap();
        let redis = start(&folder).await;
        let value: String = redis.link.call(cmd("GET").arg("k")).await.unwrap();
        assert_eq!(value, "v");
        redis.stop().await.unwrap();
    }

    #[tokio::test]
    async fn it_is_private_and_evicts_nothing() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let redis = start(folder.path()).await;
        let mode = std::fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        for (setting, value) in [
            ("port", "0"),
            ("appendonly", "yes"),
            ("appendfsync", "everysec"),
            ("maxmemory-policy", "noeviction"),
        ] {
            let answer: Vec<String> = redis.link.call(cmd("CONFIG").arg("GET").arg(setting)).await.unwrap();
            assert_eq!(answer, [setting, value]);
        }
        redis.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_second_launcher_on_the_folder_is_refused_and_told_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let redis = start(folder.path()).await;
        let Err(error) = RedisServer::start(folder.path(), PATIENCE).await else {
            panic!("two on one folder")
        };
        assert!(matches!(error, Error::Taken { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
        assert!(error.to_string().contains("--data-dir"), "{error}");
        redis.stop().await.unwrap();
    }

    #[tokio::test]
    async fn one_that_was_killed_is_noticed_and_comes_back_with_its_data() {
        let folder = tempfile::tempdir().unwrap();
        let mut redis = start(folder.path()).await;
        let _: () = redis.link.call(cmd("SET").arg("k").arg("v")).await.unwrap();
        kill_process(process_of(&redis.link).await, Signal::KILL).unwrap();
        assert!(redis.ended().await.contains("signal: 9"));
        redis.restart().await.unwrap();
        let value: String = redis.link.call(cmd("GET").arg("k")).await.unwrap();
        assert_eq!(value, "v");
        redis.stop().await.unwrap();
    }

    #[tokio::test]
    async fn what_an_earlier_start_left_behind_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut leftover = super::command("redis-server", folder.path());
        let mut leftover = leftover.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let url = format!("unix://{}/redis.sock", folder.path().display()).parse().unwrap();
        let link = Link::open(&RedisConfig::at(url)).unwrap();
        while !answers(&link).await {
            tokio::task::yield_now().await;
        }
        let _: () = link.call(cmd("SET").arg("k").arg("v")).await.unwrap();
        let redis = start(folder.path()).await;
        let value: String = redis.link.call(cmd("GET").arg("k")).await.unwrap();
        assert_eq!(value, "v");
        assert!(leftover.wait().unwrap().success());
        redis.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let Err(error) = RedisServer::start(&file, PATIENCE).await else { panic!("a file is no folder") };
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
        let long = folder.path().join("x".repeat(120));
        let Err(error) = RedisServer::start(&long, PATIENCE).await else { panic!("too long for a socket") };
        assert!(matches!(error, Error::PathTooLong { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn data_that_cannot_be_loaded_is_told_with_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("appendonlydir");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("appendonly.aof.manifest"), "this is no manifest\n").unwrap();
        let Err(error) = RedisServer::start(folder.path(), PATIENCE).await else {
            panic!("it cannot load this")
        };
        assert!(matches!(&error, Error::Died { tail, .. } if tail.contains("manifest")), "{error:?}");
    }
}
