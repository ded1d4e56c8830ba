//! The private directory of one job: its home, its working directory, its place for temporary files.

use std::{
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{cgroups::Group, users::User};

/// A directory with more entries is as much too large as one with too many bytes.
const MOST_ENTRIES: usize = 100_000;
/// What an entry takes at least, whatever is in it.
const ENTRY_BYTES: u64 = 512;

/// A directory that belongs to one job and goes with this value, and the user and the control group of the job.
#[derive(Debug)]
pub(crate) struct Home {
    dir: Option<TempDir>,
    path: PathBuf,
    user: Option<User>,
    group: Option<Group>,
}

impl Home {
    pub(super) fn make(within: &Path, user: Option<User>, group: Option<Group>) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("job-").tempdir_in(within)?;
        let path = dir.path().to_owned();
        if let Some(user) = &user {
            chown(&path, Some(user.id()), Some(user.id()))?;
        }
        Ok(Self { dir: Some(dir), path, user, group })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still there: whoever cleans up temporary files may have removed one that has waited for its job.
    pub(crate) fn is_there(&self) -> bool {
        self.path.is_dir()
    }

    /// The control group of the job, when it has one.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// The user that the job runs as, when it has one of its own.
    pub(crate) fn user(&self) -> Option<u32> {
        self.user.as_ref().map(User::id)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else { return };
        let (user, group) = (self.user.take(), self.group.take());
        let remove = move || {
            // First, so that nothing is left that could write.
            drop(group);
            if let Err(error) = remove(dir)
                // Whoever removed the place of all jobs (a node's temporary folder, at its end) was quicker.
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "the directory of a job is still there");
            }
            // Only now may another job be this user.
            drop(user);
        };
        // A script may have left any number of files.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

fn remove(dir: TempDir) -> io::Result<()> {
    let path = dir.keep();
    std::fs::remove_dir_all(&path).or_else(|_| {
        // The script may have closed its directories to itself, and so to a runner that is the same user.
        open_up(&path);
        std::fs::remove_dir_all(&path)
    })
}

fn open_up(dir: &Path) {
    const ALL: u32 = 0o700;
    if std::fs::set_permissions(dir, std::fs::Permissions::from_mode(ALL)).is_err() {
        return;
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .for_each(|entry| open_up(&entry.path()));
}

/// Whether a directory takes more than so many bytes. Looks no further than it has to, and follows no link.
pub(crate) fn is_larger_than(dir: &Path, most: u64) -> bool {
    const BLOCK: u64 = 512;
    let (mut bytes, mut entries) = (0, 0);
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            // Of the entry itself, not of what a link leads to.
            let Ok(meta) = entry.metadata() else { continue };
            bytes += (meta.blocks() * BLOCK).max(ENTRY_BYTES);
            entries += 1;
            if bytes > most || entries > MOST_ENTRIES {
                return true;
            }
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Home, is_larger_than};

    #[test]
    fn a_directory_is_measured_without_following_links() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/usr", dir.path().join("link")).unwrap();
        std::fs::create_dir(dir.path().join("inner")).unwrap();
        assert!(!is_larger_than(dir.path(), 64 << 10));
        std::fs::write(dir.path().join("inner/file"), vec![1; 100 << 10]).unwrap();
        assert!(is_larger_than(dir.path(), 64 << 10));
        assert!(!is_larger_than(dir.path(), 256 << 10));
    }

    #[test]
    fn a_home_goes_however_it_was_left() {
        use std::os::unix::fs::PermissionsExt;
        let within = tempfile::tempdir().unwrap();
        let home = Home::make(within.path(), None, None).unwrap();
        let closed = home.path().join("closed");
        std::fs::create_dir_all(closed.join("deep")).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
        drop(home);
        assert_eq!(std::fs::read_dir(within.path()).unwrap().count(), 0);
    }
}
