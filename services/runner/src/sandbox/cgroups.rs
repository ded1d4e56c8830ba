//! Control groups: where the runner may make some, each job has one, with a limit of the memory and the processes of
//! all that it starts together. A group is used again once it is empty.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

/// Where the runner itself goes when its own group has to be one of groups only, as version 2 wants it. A service
/// manager may put it there from the beginning (systemd: `DelegateSubgroup=hero-self`).
const SELF: &str = "hero-self";
/// The groups of jobs: this, the runner's process, a number.
const PREFIX: &str = "hero-job-";
const PROCESSES: &str = "cgroup.procs";
const CONTROLS: &str = "cgroup.subtree_control";
/// What is left in a group is killed and looked at again, so often and with such a pause.
const LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Groups of this process, however many runners are in it.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The limits of a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) memory_bytes: u64,
    pub(super) processes: u64,
}

/// A tree of groups in which the runner makes its own.
#[derive(Debug)]
struct Tree {
    dir: PathBuf,
    /// What is limited in it: `memory`, `processes`.
    limits: Vec<&'static str>,
    /// Files and what is written to them.
    required: Vec<(&'static str, String)>,
    /// The same, where there is such a file.
    optional: Vec<(&'static str, String)>,
    /// Where out-of-memory kills are counted.
    kills: Option<&'static str>,
}

/// The groups of a runner.
#[derive(Debug)]
pub(super) struct Cgroups {
    trees: Vec<Tree>,
    free: Mutex<Vec<Vec<Place>>>,
    /// All that were ever made.
    made: Mutex<Vec<PathBuf>>,
}

/// One group in one tree.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
    /// Its list of processes, to be written to by who joins.
    door: OwnedFd,
    kills: Option<&'static str>,
}

/// The group of one job.
#[derive(Debug)]
pub(crate) struct Group {
    places: Vec<Place>,
    kills_before: u64,
    cgroups: Arc<Cgroups>,
}

impl Cgroups {
    /// The trees in which groups can be made; none: there is no such tree.
    pub(super) fn find(most: Most) -> Option<Arc<Self>> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let trees = match unified(&mounts, &own, most) {
            Some(tree) => vec![tree],
            None => version_1(&mounts, &own, most),
        };
        trees.iter().for_each(|tree| remove_orphans(&tree.dir));
        // Only what has worked once is relied on.
        let trees: Vec<Tree> = trees
            .into_iter()
            .filter(|tree| tree.make().and_then(|place| fs::remove_dir(place.dir)).is_ok())
            .collect();
        (!trees.is_empty()).then(|| Arc::new(Self { trees, free: Mutex::default(), made: Mutex::default() }))
    }

    /// What is limited.
    pub(super) fn limits(&self) -> Vec<&'static str> {
        self.trees.iter().flat_map(|tree| tree.limits.iter().copied()).collect()
    }

    /// A group that no other job has.
    pub(super) fn take(self: &Arc<Self>) -> io::Result<Group> {
        let places = match self.take_clean() {
            Some(places) => places,
            None => self.make()?,
        };
        let kills_before = kills(&places);
        Ok(Group { places, kills_before, cgroups: Arc::clone(self) })
    }

    fn make(&self) -> io::Result<Vec<Place>> {
        let places: Vec<Place> = self.trees.iter().map(Tree::make).collect::<io::Result<_>>()?;
        self.made.lock().extend(places.iter().map(|place| place.dir.clone()));
        Ok(places)
    }

    /// Ends what is left in the groups and removes them: the runner ends, and nobody waits for the threads that would.
    pub(super) fn close(&self) {
        for dir in self.made.lock().drain(..) {
            if empty(&dir) {
                let _ = fs::remove_dir(dir);
            }
        }
    }

    /// One that another job has left clean. A new one is made without the lock: that takes the kernel a while.
    fn take_clean(&self) -> Option<Vec<Place>> {
        let mut free = self.free.lock();
        let clean = free.iter().position(|places| places.iter().all(Place::is_clean))?;
        Some(free.swap_remove(clean))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        self.close();
    }
}

impl Group {
    /// Where a process that joins writes `0`, one for each tree.
    pub(crate) fn doors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.places.iter().map(|place| place.door.as_fd())
    }

    /// Whether something in it was killed because its memory was used up.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        kills(&self.places) > self.kills_before
    }
}

impl Drop for Group {
    /// Blocks for as long as it takes until nothing is left in it.
    fn drop(&mut self) {
        let places = std::mem::take(&mut self.places);
        if places.iter().all(|place| empty(&place.dir)) {
            self.cgroups.free.lock().push(places);
        } else {
            tracing::warn!(group = ?places.first().map(|place| &place.dir), "a job has left processes that cannot be killed");
        }
    }
}

impl Tree {
    fn make(&self) -> io::Result<Place> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&dir)?;
        self.set_up(&dir).inspect_err(|_| {
            let _ = fs::remove_dir(&dir);
        })
    }

    fn set_up(&self, dir: &Path) -> io::Result<Place> {
        for (file, value) in &self.required {
            fs::write(dir.join(file), value)?;
        }
        for (file, value) in &self.optional {
            // An old kernel does not have it, or counts no swap.
            let _ = OpenOptions::new().write(true).open(dir.join(file)).and_then(|file| {
                rustix::io::write(file, value.as_bytes())?;
                Ok(())
            });
        }
        let door: File = OpenOptions::new().write(true).open(dir.join(PROCESSES))?;
        Ok(Place { dir: dir.to_owned(), door: door.into(), kills: self.kills })
    }
}

impl Place {
    /// Whether nothing counts in it any more: what has ended does, until its parent has heard of it.
    fn is_clean(&self) -> bool {
        let count = fs::read_to_string(self.dir.join("pids.current"));
        count.map_or(true, |count| count.trim() == "0")
    }
}

/// Kills what is in a group; whether nothing is left.
#[allow(clippy::disallowed_methods, reason = "on a thread that may block, or when all has ended")]
fn empty(group: &Path) -> bool {
    for look in 0..LOOKS {
        let text = fs::read_to_string(group.join(PROCESSES)).unwrap_or_default();
        let left = text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw));
        let left: Vec<Pid> = left.collect();
        if left.is_empty() {
            return true;
        }
        for pid in left {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        if look > 0 {
            std::thread::sleep(PAUSE);
        }
    }
    false
}

fn kills(places: &[Place]) -> u64 {
    let count = |place: &Place| {
        let text = fs::read_to_string(place.dir.join(place.kills?)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        line.trim().parse::<u64>().ok()
    };
    places.iter().filter_map(count).sum()
}

/// The one tree of version 2, when the runner's part of it was given to the runner.
fn unified(mounts: &str, own: &str, most: Most) -> Option<Tree> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut dir = mounted(mounts, path, |kind, _| kind == "cgroup2")?;
    if dir.file_name().is_some_and(|name| name == SELF) {
        dir.pop();
    }
    let controllers = fs::read_to_string(dir.join("cgroup.controllers")).ok()?;
    let has = |name: &str| controllers.split_whitespace().any(|it| it == name);
    if !(has("memory") && has("pids")) || hand_down(&dir).is_err() {
        return None;
    }
    Some(Tree {
        dir,
        limits: vec!["memory", "processes"],
        required: vec![
            ("memory.max", most.memory_bytes.to_string()),
            ("pids.max", most.processes.to_string()),
        ],
        optional: vec![("memory.swap.max", "0".to_owned()), ("memory.oom.group", "1".to_owned())],
        kills: Some("memory.events"),
    })
}

/// Lets the groups within this one have limits. A group that has such groups must not have processes itself.
fn hand_down(dir: &Path) -> io::Result<()> {
    let switch_on = || fs::write(dir.join(CONTROLS), "+memory +pids");
    if switch_on().is_ok() {
        return Ok(());
    }
    let aside = dir.join(SELF);
    match fs::create_dir(&aside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let me = std::process::id().to_string();
    fs::write(aside.join(PROCESSES), &me)?;
    // Somebody else may be in it, too, such as the shell that has started this process.
    switch_on().inspect_err(|_| {
        let _ = fs::write(dir.join(PROCESSES), &me);
        let _ = fs::remove_dir(&aside);
    })
}

/// The trees of version 1, one for each kind of limit.
fn version_1(mounts: &str, own: &str, most: Most) -> Vec<Tree> {
    let tree = |controller: &str| {
        let of = |line: &'_ str| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|it| it == controller).then(|| path.to_owned())
        };
        let path = own.lines().find_map(of)?;
        mounted(mounts, &path, |kind, options| {
            kind == "cgroup" && options.split(',').any(|it| it == controller)
        })
    };
    let bytes = most.memory_bytes.to_string();
    let memory = tree("memory").map(|dir| Tree {
        dir,
        limits: vec!["memory"],
        required: vec![("memory.limit_in_bytes", bytes.clone())],
        optional: vec![("memory.memsw.limit_in_bytes", bytes)],
        kills: Some("memory.oom_control"),
    });
    let processes = tree("pids").map(|dir| Tree {
        dir,
        limits: vec!["processes"],
        required: vec![("pids.max", most.processes.to_string())],
        optional: Vec::new(),
        kills: None,
    });
    memory.into_iter().chain(processes).collect()
}

/// Where a group's directory is: `path` in the tree that `is_it` picks by kind and options.
fn mounted(mounts: &str, path: &str, is_it: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let mut source = source.split(' ');
        let (kind, options) = (source.next()?, source.nth(1)?);
        let mut mount = mount.split(' ').skip(3);
        let (root, at) = (mount.next()?, mount.next()?);
        let within = Path::new(path).strip_prefix(root).ok()?;
        is_it(kind, options).then(|| Path::new(at).join(within))
    })
}

/// Removes the groups of runners that were killed.
fn remove_orphans(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        let is_orphan = process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists());
        if is_orphan {
            // One that is not empty stays.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::mounted;

    const MOUNTS: &str = "\
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 /docker/ab /sys/fs/cgroup/memory rw,relatime shared:7 - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn a_group_is_found_where_its_tree_is_mounted() {
        let v2 = mounted(MOUNTS, "/system.slice/hero.service", |kind, _| kind == "cgroup2");
        assert_eq!(v2.as_deref(), Some(Path::new("/sys/fs/cgroup/unified/system.slice/hero.service")));
        let memory = |path| mounted(MOUNTS, path, |kind, options| kind == "cgroup" && options == "rw,memory");
        assert_eq!(memory("/docker/ab").as_deref(), Some(Path::new("/sys/fs/cgroup/memory/")));
        assert_eq!(memory("/docker/ab/c").as_deref(), Some(Path::new("/sys/fs/cgroup/memory/c")));
        assert_eq!(memory("/elsewhere"), None, "it is not in sight");
    }
}
