//! What happens in a child between fork and exec: it puts the sandbox on, in an order in which each step is
//! still allowed by those before it.

use std::{
    ffi::c_int,
    io,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
    sync::Arc,
};

use rustix::{
    process::{Gid, Resource, Rlimit, Signal, Uid},
    thread::{CapabilitySet, CapabilitySets, UnshareFlags},
};
use seccompiler::BpfProgram;

/// Descriptors above these are not a child's.
const LAST_GIVEN: RawFd = 4;
/// There are fewer capabilities than this.
const CAPABILITIES: u32 = 64;

/// All that a child puts on. Nothing here may allocate when it is applied: another thread of the runner may
/// have held the allocator's lock at the fork.
#[derive(Debug)]
pub(super) struct Hook {
    /// The control groups that it joins: their lists of processes.
    pub(super) groups: Vec<OwnedFd>,
    /// Whose process it becomes.
    pub(super) user: Option<u32>,
    /// Capabilities that it keeps as that user.
    pub(super) kept: CapabilitySet,
    pub(super) namespaces: Option<Namespaces>,
    pub(super) limits: Vec<(Resource, u64)>,
    pub(super) landlock: Option<OwnedFd>,
    pub(super) filters: Arc<Vec<BpfProgram>>,
    /// Whether it gives up privileges for good.
    pub(super) is_confined: bool,
    /// Descriptors that it gets, and as which number.
    pub(super) given: Vec<(OwnedFd, RawFd)>,
    /// Ends with ECANCELED when all is put on, and is never executed.
    pub(super) is_trial: bool,
}

/// New namespaces, and what they need.
#[derive(Debug, Clone)]
pub(super) struct Namespaces {
    pub(super) flags: UnshareFlags,
    /// The lines of `uid_map` and `gid_map` when one of them is a namespace of users.
    pub(super) maps: Option<(Vec<u8>, Vec<u8>)>,
}

impl Default for Hook {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            user: None,
            kept: CapabilitySet::empty(),
            namespaces: None,
            limits: Vec::new(),
            landlock: None,
            filters: Arc::default(),
            is_confined: false,
            given: Vec::new(),
            is_trial: false,
        }
    }
}

impl Hook {
    /// Makes a command put it on.
    #[allow(
        unsafe_code,
        reason = "only a hook between fork and exec can confine a child before its program runs"
    )]
    pub(super) fn install(self, command: &mut Command) {
        // SAFETY: between fork and exec only async-signal-safe calls are allowed: all of these are plain system
        // calls that neither allocate nor lock.
        unsafe {
            command.pre_exec(move || self.apply());
        }
    }

    fn apply(&self) -> io::Result<()> {
        rustix::process::setsid()?;
        for group in &self.groups {
            rustix::io::write(group, b"0")?;
        }
        if let Some(namespaces) = &self.namespaces {
            namespaces.enter()?;
        }
        for (resource, most) in &self.limits {
            limit(*resource, *most)?;
        }
        if self.is_confined {
            shrink_bounding_set(self.kept);
        }
        match self.user {
            Some(user) => become_user(user, self.kept)?,
            None if self.is_confined => rustix::thread::set_capabilities(None, only(self.kept))?,
            None => {}
        }
        // A change of the user takes the wish back, so it is told after it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        self.hand_over()?;
        if self.is_confined {
            rustix::thread::set_no_new_privs(true)?;
        }
        if let Some(rules) = &self.landlock {
            restrict(rules)?;
        }
        for filter in self.filters.iter() {
            // Its errors hold no memory of their own when they come from the kernel.
            seccompiler::apply_filter(filter).map_err(|_| io::Error::last_os_error())?;
        }
        if self.is_trial { Err(io::Error::from_raw_os_error(libc::ECANCELED)) } else { Ok(()) }
    }

    /// Puts the given descriptors into their places; all others end with the exec.
    fn hand_over(&self) -> io::Result<()> {
        for (from, to) in &self.given {
            if from.as_raw_fd() == *to {
                check(i64::from(set_close_on_exec(*to, false)))?;
            } else {
                check(i64::from(duplicate(from.as_raw_fd(), *to)))?;
            }
        }
        let first = if self.given.is_empty() { libc::STDERR_FILENO + 1 } else { LAST_GIVEN + 1 };
        // They are all marked already; an old kernel that does not know the call loses a second door only.
        close_rest(first);
        Ok(())
    }
}

impl Namespaces {
    #[allow(unsafe_code, reason = "rustix asks for a promise about shared descriptors")]
    fn enter(&self) -> io::Result<()> {
        // SAFETY: the flags do not take apart what threads share; this child has one thread.
        unsafe { rustix::thread::unshare_unsafe(self.flags)? };
        let Some((users, groups)) = &self.maps else { return Ok(()) };
        write(c"/proc/self/setgroups", b"deny")?;
        write(c"/proc/self/uid_map", users)?;
        write(c"/proc/self/gid_map", groups)
    }
}

fn write(path: &std::ffi::CStr, bytes: &[u8]) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, bytes)?;
    Ok(())
}

/// Lowers a limit for good. One that is lower already stays.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?)
}

fn become_user(user: u32, kept: CapabilitySet) -> io::Result<()> {
    rustix::thread::set_keep_capabilities(!kept.is_empty())?;
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_capabilities(None, only(kept))?;
    kept.iter().try_for_each(|one| Ok(rustix::thread::configure_capability_in_ambient_set(one, true)?))
}

const fn only(kept: CapabilitySet) -> CapabilitySets {
    CapabilitySets { effective: kept, permitted: kept, inheritable: kept }
}

/// What is not in this set cannot be had again by executing anything. Who may not change it, has nothing in it
/// that matters.
fn shrink_bounding_set(kept: CapabilitySet) {
    (0..CAPABILITIES).filter(|capability| kept.bits() & (1 << capability) == 0).for_each(prctl_drop);
}

#[allow(unsafe_code, reason = "there is no safe call that takes any number")]
fn prctl_drop(capability: u32) {
    // SAFETY: takes numbers only.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
}

#[allow(unsafe_code, reason = "the crate's own calls do more than a child may between fork and exec")]
fn restrict(rules: &OwnedFd) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};

    /// As the kernel has it.
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: RawFd,
    }
    /// Its number.
    const PATH_BENEATH: c_int = 1;
    /// To read files and to list directories.
    const READ: u64 = 1 << 2 | 1 << 3;

    // Only now is it known which entries of /proc are the child's own. Without /proc there are none to allow.
    if let Ok(itself) = open(c"/proc/self", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        let rule = PathBeneath { access: READ, parent: itself.as_raw_fd() };
        // SAFETY: takes an open descriptor and a rule that outlives the call.
        check(unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), PATH_BENEATH, &raw const rule, 0)
        })?;
    }
    // SAFETY: takes an open descriptor and no flags.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) })
}

#[allow(unsafe_code, reason = "the safe call wants to own the number that is replaced")]
fn duplicate(from: RawFd, to: RawFd) -> c_int {
    // SAFETY: takes numbers only; nothing in this child owns `to`.
    unsafe { libc::dup2(from, to) }
}

#[allow(unsafe_code, reason = "the safe call wants to own the descriptor")]
fn set_close_on_exec(fd: RawFd, is_set: bool) -> c_int {
    // SAFETY: takes numbers only.
    unsafe { libc::fcntl(fd, libc::F_SETFD, if is_set { libc::FD_CLOEXEC } else { 0 }) }
}

#[allow(unsafe_code, reason = "there is no safe call")]
fn close_rest(first: RawFd) {
    // SAFETY: takes numbers only; descriptors are marked, not closed.
    unsafe { libc::syscall(libc::SYS_close_range, first, c_int::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

fn check(returned: i64) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
