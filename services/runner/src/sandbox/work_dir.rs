//! Where a runner has the homes of its jobs. It goes with the runner, and if the runner was killed, with the next.

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

/// What they are all called.
const PREFIX: &str = "hero-runner-";
/// Nobody else can list it, and the jobs' users can pass.
const PASS_ONLY: u32 = 0o711;
/// One that is younger may not be locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// A directory that is locked while its runner lives.
#[derive(Debug)]
pub(super) struct WorkDir {
    dir: TempDir,
    _lock: File,
}

impl WorkDir {
    /// Makes one, and removes those that killed runners have left.
    pub(super) fn make(within: &Path) -> io::Result<Self> {
        sweep(within);
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(within)?;
        let lock = File::open(dir.path())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        std::fs::set_permissions(dir.path(), Permissions::from_mode(PASS_ONLY))?;
        Ok(Self { dir, _lock: lock })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn sweep(within: &Path) {
    for entry in std::fs::read_dir(within).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_old = entry.metadata().and_then(|meta| meta.modified());
        let is_old = is_old.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > YOUNG));
        if is_ours && is_old && is_left(&entry.path()) {
            let removed = std::fs::remove_dir_all(entry.path());
            tracing::info!(dir = %entry.path().display(), is_removed = removed.is_ok(), "left by a killed runner");
        }
    }
}

/// Whether nobody holds its lock.
fn is_left(dir: &Path) -> bool {
    File::open(dir).is_ok_and(|dir| flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        time::{Duration, SystemTime},
    };

    use super::WorkDir;

    #[test]
    fn what_a_killed_runner_left_goes_and_what_a_live_one_has_stays() {
        let within = tempfile::tempdir().unwrap();
        let live = WorkDir::make(within.path()).unwrap();
        let left = within.path().join("hero-runner-left");
        std::fs::create_dir_all(left.join("job-1")).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(3_600);
        for dir in [live.path(), &left] {
            File::open(dir).unwrap().set_modified(long_ago).unwrap();
        }
        let next = WorkDir::make(within.path()).unwrap();
        assert!(live.path().exists() && next.path().exists() && !left.exists());
    }
}
