//! A script in a process of its own: started, listened to, ended as a whole tree. What it runs is the engine's
//! business; every engine with a child comes here.

use std::{
    io,
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use hero_domain::{ErrorKind, LogStream};
use hero_store::Outcome;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::{
    io::{AsyncRead, Interest, unix::AsyncFd},
    process::{Child, Command},
};

use super::OutputLimits;
use crate::attempt::{Interrupt, Run};

mod output;

use output::{Stream, pump};

/// What is left in the pipes after the whole group was killed is read for so long. Only a process that left the
/// group holds them open longer; what it writes then is nobody's output.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How a child came to its end.
pub(crate) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed because the attempt had to end.
    Interrupted(Interrupt),
    /// It was killed because its output is too large.
    OutputTooLarge,
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
}

impl Remains {
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
        match self.ending {
            Ending::Exited(status) if status.success() => limits.finished(self.stdout),
            Ending::Exited(status) => failed(describe(status, &self.stderr_tail), self.stdout),
            Ending::Interrupted(interrupt) => run.attempt().outcome_of(interrupt, Some(self.stdout)),
            Ending::OutputTooLarge => limits.too_large(None),
            Ending::NotStarted(error) => {
                failed(format!("{language} could not be started on this runner: {error}"), String::new())
            }
            Ending::Unwatched(error) => {
                failed(format!("the process of the script could not be watched: {error}"), self.stdout)
            }
        }
    }
}

fn describe(status: ExitStatus, stderr_tail: &str) -> String {
    let tail = stderr_tail.trim_end();
    if tail.is_empty() { format!("the script ended with {status}") } else { format!("{status}\n{tail}") }
}

/// Runs a command to its end, its lines going to the job's log as they come. When this returns, or is dropped,
/// its whole process group is dead.
pub(crate) async fn run(command: Command, run: &Run, limits: OutputLimits) -> Remains {
    let mut stdout = Stream::output(LogStream::Stdout, limits.max_output_bytes);
    let mut stderr = Stream::tail(LogStream::Stderr);
    let ending = match Group::start(command) {
        Ok(mut group) => {
            let ending = watch(&mut group, run, &mut stdout, &mut stderr).await;
            group.end(ending).await
        }
        Err(error) => Ending::NotStarted(error),
    };
    Remains { ending, stdout: stdout.into_text(), stderr_tail: stderr.into_text() }
}

async fn watch(group: &mut Group, run: &Run, stdout: &mut Stream, stderr: &mut Stream) -> Ending {
    let (mut out, mut err) = (group.child.stdout.take(), group.child.stderr.take());
    let pumps = async {
        let _ = tokio::try_join!(pump_all(&mut out, stdout, run), pump_all(&mut err, stderr, run))?;
        Ok::<_, output::TooLarge>(())
    };
    tokio::pin!(pumps);
    let mut is_dry = false;
    let ending = loop {
        tokio::select! {
            pumped = &mut pumps, if !is_dry => match pumped {
                Ok(()) => is_dry = true,
                Err(output::TooLarge) => return Ending::OutputTooLarge,
            },
            exited = group.pidfd.readable() => break exited.map(|_| ()),
            interrupt = run.attempt().interrupted() => {
                group.kill();
                // The pipes close with the group; what was on its way is part of the output so far.
                let _ = tokio::time::timeout(LAST_WORDS, async { if !is_dry { let _ = pumps.await; } }).await;
                return Ending::Interrupted(interrupt);
            }
        }
    };
    group.kill();
    if let Err(error) = ending {
        return Ending::Unwatched(error);
    }
    if !is_dry && matches!(tokio::time::timeout(LAST_WORDS, pumps).await, Ok(Err(output::TooLarge))) {
        return Ending::OutputTooLarge;
    }
    // The group's number is not free before its leader is reaped, so the status is fetched after the kill.
    group.child.wait().await.map_or_else(Ending::Unwatched, Ending::Exited)
}

async fn pump_all(
    from: &mut Option<impl AsyncRead + Unpin>,
    to: &mut Stream,
    run: &Run,
) -> Result<(), output::TooLarge> {
    match from {
        Some(from) => pump(from, to, run).await,
        None => Ok(()),
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
    fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        lead_a_session(&mut command);
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("the child has no process id"))?;
        let watched = pidfd_open(id, PidfdFlags::NONBLOCK).map_err(io::Error::from).and_then(watch_readable);
        match watched {
            Ok(pidfd) => Ok(Self { child, id, pidfd }),
            Err(error) => {
                let _ = kill_process_group(id, Signal::KILL);
                Err(error)
            }
        }
    }

    /// Kills whatever is in the group. The leader must not have been reaped.
    fn kill(&self) {
        if self.child.id().is_some() {
            // An error says that the group is empty.
            let _ = kill_process_group(self.id, Signal::KILL);
        }
    }

    /// Makes sure of the end.
    async fn end(mut self, ending: Ending) -> Ending {
        self.kill();
        match self.child.wait().await {
            Ok(_) => ending,
            Err(error) => Ending::Unwatched(error),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[allow(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is one open descriptor, the same one for as long as it lives, and the `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// The child leads a session of its own, so that it can be killed with all that it starts, and dies with the
/// runner however that ends.
#[allow(unsafe_code, reason = "only a hook between fork and exec can start a session and ask for the signal")]
fn lead_a_session(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: both are plain system calls
    // that neither allocate nor lock.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        });
    }
}
