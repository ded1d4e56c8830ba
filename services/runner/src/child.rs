//! A script in a process of its own: started in the [sandbox](crate::sandbox), listened to, ended as a whole
//! tree. What it runs is the engine's business; every engine with a child comes here.
//!
//! # What a child gets
//!
//! | descriptor | what |
//! |---|---|
//! | 0 | nothing: its end is at its beginning |
//! | 1, 2 | the output and the error output; each line is on its way to the job's log as soon as it has ended |
//! | 3 | takes what the script tells the runner: one JSON object a line, see [`messages`] |
//! | 4 | the job: one JSON object to the end of the file, see [`job::Document`] |
//!
//! Its environment is that of [`command`] and nothing else: `PATH`, `LANG`, the job's `env_vars`, `HOME` and
//! `TMPDIR` (the private directory, where it starts, too), `CALLER_ID`, `CONTEXT_ID`, `JOB_ID`.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use hero_domain::{ErrorKind, LogStream};
use hero_store::{Claimed, Outcome};
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::unix::pipe::Receiver,
    process::{Child, Command},
    time::{MissedTickBehavior, interval},
};

use crate::{
    attempt::{Interrupt, Run},
    engine::OutputLimits,
    sandbox::{Home, Policy, home::is_larger_than},
};

pub(crate) mod job;
pub(crate) mod messages;
mod output;

use self::{
    messages::Told,
    output::{Stream, pump},
};

/// What is left in the pipes after the whole group was killed is read for so long. Only a process that left the
/// group holds them open longer; what it writes then is nobody's output.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// A job's directory is measured so often.
const MEASURE_EVERY: Duration = Duration::from_millis(200);
/// The number of the descriptor that takes what the script tells.
const MESSAGES: i32 = 3;
/// The number of the descriptor with the job.
const JOB: i32 = 4;

/// How a child came to its end.
pub(crate) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed because the attempt had to end.
    Interrupted(Interrupt),
    /// It was killed because its output is too large.
    OutputTooLarge,
    /// It was killed because its memory was used up.
    OutOfMemory(u64),
    /// It was killed because its directory is too large.
    DirTooLarge(u64),
    /// It never began.
    NotStarted(io::Error),
    /// It could not be watched, and was killed.
    Unwatched(io::Error),
}

/// What is left of a child.
pub(crate) struct Remains {
    /// How it ended.
    pub(crate) ending: Ending,
    /// What it wrote to its standard output, bytes that are not UTF-8 as `\xNN`.
    pub(crate) stdout: String,
    /// The last it wrote to its standard error.
    pub(crate) stderr_tail: String,
    /// What the script told.
    pub(crate) told: Told,
    /// The child has said that it ends and has closed its outputs, and was not reaped yet.
    pub(crate) is_ending: bool,
}

impl Remains {
    /// Of a child that never began.
    pub(crate) fn not_started(error: io::Error) -> Self {
        let ending = Ending::NotStarted(error);
        let (stdout, stderr_tail) = (String::new(), String::new());
        Self { ending, stdout, stderr_tail, told: Told::default(), is_ending: false }
    }

    /// Whether it ended by itself and not well.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(&self.ending, Ending::Exited(status) if !status.success())
    }

    /// The outcome in words, `language` for those that are about the interpreter.
    pub(crate) fn outcome(self, run: &Run, limits: OutputLimits, language: &str) -> Outcome {
        let failed = |error: String, output: String| Outcome::Failed {
            kind: ErrorKind::ScriptFailed,
            error,
            output: Some(output).filter(|text| !text.is_empty()),
        };
        if let Some(error) = self.told.invalid.clone().filter(|_| self.has_failed()) {
            return Outcome::Failed { kind: ErrorKind::InvalidScript, error, output: None };
        }
        match self.ending {
            Ending::Exited(status) if status.success() => limits.finished(self.stdout),
            Ending::Exited(status) => failed(describe(status, &self.stderr_tail), self.stdout),
            Ending::Interrupted(interrupt) => run.attempt().outcome_of(interrupt, Some(self.stdout)),
            Ending::OutputTooLarge => limits.too_large(None),
            Ending::OutOfMemory(most) => failed(
                format!(
                    "the script and what it started used more than {most} bytes of memory (sandbox.max_memory_bytes)"
                ),
                self.stdout,
            ),
            Ending::DirTooLarge(most) => failed(
                format!("the script's directory grew larger than {most} bytes (sandbox.max_dir_bytes)"),
                self.stdout,
            ),
            Ending::NotStarted(error) => {
                failed(format!("{language} could not be started on this runner: {error}"), String::new())
            }
            Ending::Unwatched(error) => {
                failed(format!("the process of the script could not be watched: {error}"), self.stdout)
            }
        }
    }
}

/// The last line of what it said comes first, for lists show no more: of a traceback it is the exception.
fn describe(status: ExitStatus, stderr_tail: &str) -> String {
    let tail = stderr_tail.trim_end();
    match tail.rsplit_once('\n') {
        None if tail.is_empty() => format!("the script ended with {status}"),
        None => format!("{tail} ({status})"),
        Some((_, last)) => format!("{last} ({status})\n{tail}"),
    }
}

/// A command with the environment that every script gets.
pub(crate) fn command(program: &Path, path: &str, home: &Home, job: &Claimed) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", path).env("LANG", "C.UTF-8").envs(&job.env_vars);
    command
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("CALLER_ID", &job.caller_id)
        .env("CONTEXT_ID", &job.context_id)
        .env("JOB_ID", job.id.to_string());
    command.current_dir(home.path());
    command
}

/// Whether a job's arguments can be an environment.
pub(crate) fn check_environment(job: &Claimed) -> io::Result<()> {
    let is_odd = |(name, value): (&String, &String)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    };
    match job.env_vars.iter().find(|pair| is_odd(*pair)) {
        Some((name, _)) => {
            let words = format!("{name:?} in env_vars cannot be a variable of an environment");
            Err(io::Error::new(io::ErrorKind::InvalidInput, words))
        }
        None => Ok(()),
    }
}

/// The end of a job whose directory could not be made.
pub(crate) fn not_prepared(error: &io::Error) -> Outcome {
    tracing::error!(%error, "cannot make a directory for a job");
    Outcome::Failed {
        kind: ErrorKind::ScriptFailed,
        error: format!("the runner could not make a directory for the script: {error}"),
        output: None,
    }
}

/// Runs a command to its end, confined, its lines going to the job's log as they come. When this returns, or is
/// dropped, its whole process group is dead.
pub(crate) async fn run(
    command: Command,
    policy: &Policy,
    home: &Home,
    run: &Run,
    limits: OutputLimits,
) -> Remains {
    match Group::start(command, policy, home, run) {
        Ok((mut group, ears)) => {
            let remains = attend(&mut group, ears, policy, home, run, limits).await;
            if remains.is_ending {
                // How it ends it has said.
                let _ = group.reap().await;
            }
            remains
        }
        Err(error) => Remains::not_started(error),
    }
}

/// Whatever started a child and can end it with all that it has started.
pub(crate) trait Leader {
    /// Waits until the child has ended; the rest of its group may live on.
    async fn exited(&mut self) -> io::Result<()>;
    /// Kills whatever is in its group.
    fn kill(&mut self);
    /// The status, once nothing needs the group's number any more.
    async fn reap(&mut self) -> io::Result<ExitStatus>;
}

/// The runner's ends of a child's pipes.
pub(crate) struct Ears {
    stdout: Receiver,
    stderr: Receiver,
    messages: Receiver,
}

/// The child's ends.
pub(crate) struct Mouths {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) messages: OwnedFd,
}

/// Pipes for a child.
pub(crate) fn pipes() -> io::Result<(Ears, Mouths)> {
    let pipe = || -> io::Result<(Receiver, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Receiver::from_owned_fd(reader)?, writer))
    };
    let ((stdout, out), (stderr, err), (messages, told)) = (pipe()?, pipe()?, pipe()?);
    Ok((Ears { stdout, stderr, messages }, Mouths { stdout: out, stderr: err, messages: told }))
}

/// Listens to a child until it has ended, or has said so and closed its outputs: what the kernel then has to clear away
/// is no part of the job, and is [reaped](Leader::reap) by whoever called this.
pub(crate) async fn attend(
    leader: &mut impl Leader,
    ears: Ears,
    policy: &Policy,
    home: &Home,
    run: &Run,
    limits: OutputLimits,
) -> Remains {
    let mut stdout = Stream::output(LogStream::Stdout, limits.max_output_bytes);
    let mut stderr = Stream::tail(LogStream::Stderr);
    let mut told = Told::default();
    let Ears { stdout: mut out, stderr: mut err, messages: mut message } = ears;
    let listening = async {
        tokio::try_join!(
            pump(&mut out, &mut stdout, run),
            pump(&mut err, &mut stderr, run),
            messages::listen(&mut message, &mut told, run, limits),
        )?;
        Ok(told.ended)
    };
    let too_large = grows_too_large(home, policy.max_dir_bytes());
    let watched = watch(leader, listening, too_large, run).await;
    leader.kill();
    let (status, is_ending) = match watched {
        Ok(Some(status)) => (Ok(ExitStatus::from_raw(i32::from(status) << 8)), true),
        // The group's number is not free before its leader is reaped, so the status is fetched after the kill.
        _ => (leader.reap().await, false),
    };
    let ending = match (status, watched) {
        (Ok(status), Ok(_)) => {
            match policy.max_job_memory().filter(|_| !status.success() && is_out_of_memory(home)) {
                Some(most) => Ending::OutOfMemory(most),
                None => Ending::Exited(status),
            }
        }
        (Ok(_), Err(ending)) => ending,
        (Err(error), _) => Ending::Unwatched(error),
    };
    Remains { ending, stdout: stdout.into_text(), stderr_tail: stderr.into_text(), told, is_ending }
}

fn is_out_of_memory(home: &Home) -> bool {
    home.group().is_some_and(|group| group.was_out_of_memory())
}

/// Why the child has to end; or it has ended by itself, or has said with which status it does.
async fn watch(
    leader: &mut impl Leader,
    listening: impl Future<Output = Result<Option<u8>, output::TooLarge>>,
    too_large: impl Future<Output = u64>,
    run: &Run,
) -> Result<Option<u8>, Ending> {
    tokio::pin!(listening, too_large);
    let mut is_dry = false;
    let ending = loop {
        tokio::select! {
            heard = &mut listening, if !is_dry => match heard {
                Ok(None) => is_dry = true,
                Ok(ended) => return Ok(ended),
                Err(output::TooLarge) => return Err(Ending::OutputTooLarge),
            },
            exited = leader.exited() => break exited.map_err(Ending::Unwatched),
            most = &mut too_large => break Err(Ending::DirTooLarge(most)),
            interrupt = run.attempt().interrupted() => break Err(Ending::Interrupted(interrupt)),
        }
    };
    leader.kill();
    // The pipes close with the group; what was on its way is part of the output so far.
    if !is_dry {
        let last = tokio::time::timeout(LAST_WORDS, listening).await;
        if ending.is_ok() && matches!(last, Ok(Err(output::TooLarge))) {
            return Err(Ending::OutputTooLarge);
        }
    }
    ending.map(|()| None)
}

/// Resolves when the directory has grown larger than it may.
async fn grows_too_large(home: &Home, most: Option<u64>) -> u64 {
    let Some(most) = most else { return std::future::pending().await };
    let mut ticks = interval(MEASURE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comes at once, and there is nothing yet.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let path = home.path().to_owned();
        let measured = tokio::task::spawn_blocking(move || is_larger_than(&path, most)).await;
        if measured.unwrap_or(false) {
            return most;
        }
    }
}

/// A child that leads a process group, which dies with this value at the latest.
struct Group {
    child: Child,
    id: Pid,
    /// Becomes readable when the child has ended, without reaping it.
    pidfd: AsyncFd<OwnedFd>,
}

impl Group {
    fn start(mut command: Command, policy: &Policy, home: &Home, run: &Run) -> io::Result<(Self, Ears)> {
        check_environment(&run.job)?;
        let (ears, mouths) = pipes()?;
        command.stdin(Stdio::null()).stdout(mouths.stdout).stderr(mouths.stderr).kill_on_drop(true);
        let given = vec![(mouths.messages, MESSAGES), (job::Document::of(run).into_file()?, JOB)];
        policy.confine(command.as_std_mut(), home, processor_time(run), given)?;
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("the child has no process id"))?;
        let watched = pidfd_open(id, PidfdFlags::NONBLOCK).map_err(io::Error::from).and_then(watch_readable);
        match watched {
            Ok(pidfd) => Ok((Self { child, id, pidfd }, ears)),
            Err(error) => {
                let _ = kill_process_group(id, Signal::KILL);
                Err(error)
            }
        }
    }
}

impl Leader for Group {
    async fn exited(&mut self) -> io::Result<()> {
        self.pidfd.readable().await.map(|_| ())
    }

    fn kill(&mut self) {
        // Its number is its own until it is reaped.
        if self.child.id().is_some() {
            // An error says that the group is empty.
            let _ = kill_process_group(self.id, Signal::KILL);
        }
    }

    async fn reap(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a job may use of the processors: all of them for its whole time.
pub(crate) fn processor_time(run: &Run) -> Duration {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    run.job.timeout.saturating_mul(u32::try_from(processors).unwrap_or(u32::MAX))
}

#[allow(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is one open descriptor, the same one for as long as it lives, and the `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}
