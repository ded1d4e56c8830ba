//! A child process that ends with the bench, and what Linux says of it.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;

/// How long a child may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(8);

/// A child process. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
}

/// Used by one process at a point in time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time so far, in microseconds, with Linux' steps of 10 ms.
    pub(crate) cpu_us: u64,
    /// Resident now, in bytes.
    pub(crate) resident: u64,
    /// The most that was ever resident, in bytes.
    pub(crate) peak: u64,
}

impl Process {
    /// Starts `command` with its output in `{folder}/{name}.log`.
    pub(crate) fn start(name: &'static str, command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        let log = File::create(folder.join(format!("{name}.log")))?;
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().with_context(|| {
                format!("cannot start {name} ({}); `make bench` builds it", command.get_program().display())
            })?;
        Ok(Self { name, child })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails when the process has ended by itself.
    pub(crate) fn alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} has ended by itself ({status})", self.name),
        }
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        usage(self.pid()).with_context(|| format!("cannot read /proc of {}", self.name))
    }

    #[expect(clippy::disallowed_methods, reason = "it also runs in a drop, where nothing can be awaited")]
    fn end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        let deadline = Instant::now() + GRACE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            crate::report::say(&format!("cannot end {} ({}): {error}", self.name, self.child.id()));
        }
    }
}

/// What Linux says of a process.
pub(crate) fn usage(pid: u32) -> anyhow::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in parentheses and may hold spaces; utime and stime are fields 14 and 15.
    let after_name = stat.rsplit_once(')').context("no name in stat")?.1;
    let ticks: u64 = after_name
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>())
        .sum::<Result<_, _>>()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |key: &str| -> anyhow::Result<u64> {
        let line =
            status.lines().find_map(|line| line.strip_prefix(key)).context("no such line in status")?;
        Ok(line.split_ascii_whitespace().next().context("empty line")?.parse::<u64>()? * 1024)
    };
    // User space always sees 100 ticks a second, whatever the kernel's own HZ.
    Ok(Usage { cpu_us: ticks * 10_000, resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_memory() {
        let usage = super::usage(std::process::id()).unwrap();
        assert!(usage.resident > 100_000 && usage.peak >= usage.resident);
    }
}
