//! Compiled programs, the ones that were used last, in a directory of the runner's own.
//!
//! The key is the source text itself, compared whole: nobody can make a script that is taken for somebody else's.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, open};
use tempfile::TempDir;

/// A program that is larger is a mistake.
const MOST_PROGRAM_BYTES: u64 = 256 << 20;
/// Every user may execute it, nobody may change it.
const PROGRAM_MODE: u32 = 0o555;

/// A bounded directory of programs.
pub(super) struct Programs {
    dir: TempDir,
    most_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Arc<str>, Entry>,
    bytes: u64,
    /// Counts the uses, and names the files.
    clock: u64,
}

struct Entry {
    file: PathBuf,
    bytes: u64,
    used: u64,
}

impl Programs {
    pub(super) fn new(within: &Path, most_bytes: u64) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("hero-v-").tempdir_in(within)?;
        Ok(Self { dir, most_bytes, state: Mutex::default() })
    }

    /// Puts the program of a source text at `to`; false when it is not there.
    pub(super) fn take(&self, source: &str, to: &Path) -> io::Result<bool> {
        let file = {
            let mut state = self.state.lock();
            state.clock += 1;
            let clock = state.clock;
            let Some(entry) = state.entries.get_mut(source) else { return Ok(false) };
            entry.used = clock;
            File::open(&entry.file)?
        };
        // A copy: a link would let a script change the program of all that come after it.
        place(file, to)?;
        Ok(true)
    }

    /// Keeps the program that was compiled to `program`, a file in a directory of a script.
    pub(super) fn keep(&self, source: &str, program: &Path) -> io::Result<()> {
        // The compiler was at work among a script's files: it may be a pipe, or a link elsewhere.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(open(program, flags, Mode::empty())?);
        let meta = file.metadata()?;
        if !meta.is_file() || meta.len() > MOST_PROGRAM_BYTES {
            return Err(io::Error::other("what the compiler made is not a program"));
        }
        let number = {
            let mut state = self.state.lock();
            state.clock += 1;
            state.clock
        };
        let kept = self.dir.path().join(number.to_string());
        place(file, &kept)?;
        self.state.lock().add(source, kept, meta.len() + source.len() as u64, number, self.most_bytes);
        Ok(())
    }
}

impl State {
    fn add(&mut self, source: &str, file: PathBuf, bytes: u64, used: u64, most_bytes: u64) {
        self.bytes += bytes;
        if let Some(before) = self.entries.insert(Arc::from(source), Entry { file, bytes, used }) {
            self.forget(&before);
        }
        while self.bytes > most_bytes && self.entries.len() > 1 {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(source, _)| Arc::clone(source)) else { return };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.forget(&entry);
            }
        }
    }

    fn forget(&mut self, entry: &Entry) {
        self.bytes -= entry.bytes;
        // Whoever copies it has it open.
        let _ = fs::remove_file(&entry.file);
    }
}

fn place(mut from: File, to: &Path) -> io::Result<()> {
    let mut file = File::create_new(to)?;
    io::copy(&mut from, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(PROGRAM_MODE))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Programs;

    #[test]
    fn the_programs_used_last_are_kept_within_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let programs = Programs::new(dir.path(), 2_500).unwrap();
        let made = dir.path().join("made");
        fs::write(&made, vec![b'x'; 1_000]).unwrap();
        let is_there = |source: &str| {
            let to = dir.path().join("to");
            let _ = fs::remove_file(&to);
            programs.take(source, &to).unwrap()
        };
        programs.keep("a", &made).unwrap();
        programs.keep("b", &made).unwrap();
        assert!(is_there("a") && !is_there("none"));
        programs.keep("c", &made).unwrap();
        assert!(is_there("a") && is_there("c") && !is_there("b"), "the one used longest ago has gone");
        assert_eq!(fs::read_dir(programs.dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_a_plain_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let programs = Programs::new(dir.path(), 2_500).unwrap();
        std::os::unix::fs::symlink("/bin/sh", dir.path().join("link")).unwrap();
        assert!(programs.keep("a", &dir.path().join("link")).is_err());
        assert!(programs.keep("a", dir.path()).is_err());
    }
}
