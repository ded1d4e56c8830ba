//! Seccomp: which system calls a child may make. What is not listed is refused with EPERM, so a call that a
//! future kernel brings is refused until somebody has looked at it.

use std::{collections::BTreeMap, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompFilter, SeccompRule as Rule,
};

/// What the filter depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Sockets of the Internet families.
    pub(super) network: bool,
    /// Signals to any process that other layers let it signal; else to its own group only, all at once.
    pub(super) signals: bool,
    /// To become another user and to lead a session: for a server that does that for its children.
    pub(super) server: bool,
}

/// The filters, in the order in which they are put on.
pub(super) fn filters(allowed: Allowed) -> io::Result<Vec<BpfProgram>> {
    let refuse = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    // The flags of clone3 are out of a filter's sight. Whoever is told that there is no such call takes clone.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok(vec![
        compile(rules(allowed).map_err(io::Error::other)?, refuse(libc::EPERM), SeccompAction::Allow)?,
        compile(clone3, SeccompAction::Allow, refuse(libc::ENOSYS))?,
    ])
}

/// Takes from a child of a server what the server alone may do. It is small, since each child puts it on: the
/// kernel looks at every call through it once.
pub(super) fn narrowing(signals: bool) -> io::Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<Rule>> = SERVER.iter().map(|call| (*call, Vec::new())).collect();
    if !signals {
        rules.extend(SIGNALS.iter().map(|call| (*call, Vec::new())));
        let others =
            Condition::new(0, Len::Dword, Op::Ne, 0).and_then(|condition| Rule::new(vec![condition]));
        rules.insert(libc::SYS_kill, vec![others.map_err(io::Error::other)?]);
    }
    compile(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM.unsigned_abs()))
}

fn compile(
    rules: BTreeMap<i64, Vec<Rule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> io::Result<BpfProgram> {
    let machine = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, listed, machine).map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}

fn rules(allowed: Allowed) -> Result<BTreeMap<i64, Vec<Rule>>, seccompiler::BackendError> {
    /// Each flag of clone that makes a namespace.
    const NAMESPACES: u64 = 0x7e02_0000;
    /// The kind of a socket, without its flags.
    const KIND: u64 = 0xf;
    let int = |argument, op, value| Condition::new(argument, Len::Dword, op, value);
    let when = |conditions| Rule::new(conditions);

    let mut rules: BTreeMap<i64, Vec<Rule>> =
        PLAIN.iter().chain(OF_THIS_MACHINE).map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![when(vec![int(0, Op::MaskedEq(NAMESPACES), 0)?])?]);
    // A pair of datagram sockets could be sent elsewhere.
    let pairs = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET]
        .map(|kind| when(vec![int(1, Op::MaskedEq(KIND), u64::from(kind.unsigned_abs()))?]));
    rules.insert(libc::SYS_socketpair, pairs.into_iter().collect::<Result<_, _>>()?);
    // To the other end, never to an address.
    let nowhere = Condition::new(4, Len::Qword, Op::Eq, 0)?;
    rules.insert(libc::SYS_sendto, vec![when(vec![nowhere])?]);
    // On itself, never on another process of the same user.
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ] {
        rules.insert(call, vec![when(vec![int(0, Op::Eq, 0)?])?]);
    }
    rules.insert(libc::SYS_setpriority, vec![when(vec![int(0, Op::Eq, 0)?, int(1, Op::Eq, 0)?])?]);
    // No keys put into a terminal's mouth.
    let terminal = [libc::TIOCSTI, libc::TIOCLINUX].map(|request| int(1, Op::Ne, request));
    rules.insert(libc::SYS_ioctl, vec![when(terminal.into_iter().collect::<Result<_, _>>()?)?]);
    if allowed.signals {
        rules.extend(SIGNALS.iter().map(|call| (*call, Vec::new())));
    } else {
        rules.insert(libc::SYS_kill, vec![when(vec![int(0, Op::Eq, 0)?])?]);
    }
    if allowed.network {
        let families = [libc::AF_INET, libc::AF_INET6]
            .map(|family| when(vec![int(0, Op::Eq, u64::from(family.unsigned_abs()))?]));
        rules.insert(libc::SYS_socket, families.into_iter().collect::<Result<_, _>>()?);
        rules.extend(NETWORK.iter().map(|call| (*call, Vec::new())));
    }
    if allowed.server {
        rules.extend(SERVER.iter().map(|call| (*call, Vec::new())));
    }
    Ok(rules)
}

/// Signals to other processes.
const SIGNALS: &[i64] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
];

/// What is done with sockets that lead out.
const NETWORK: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
];

/// What a server does to confine its children.
const SERVER: &[i64] = &[libc::SYS_setsid, libc::SYS_setgroups, libc::SYS_capset];

/// What any program may do: to its own memory, to files that it can reach, to its own processes.
const PLAIN: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_capget,
    libc::SYS_chdir,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_flock,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getitimer,
    libc::SYS_getpeername,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_getxattr,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_ioprio_get,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_lgetxattr,
    libc::SYS_linkat,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lseek,
    libc::SYS_lsetxattr,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_mlockall,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munlockall,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pidfd_open,
    libc::SYS_pipe2,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_removexattr,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_rr_get_interval,
    libc::SYS_sched_yield,
    libc::SYS_seccomp,
    libc::SYS_sendfile,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setitimer,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setrlimit,
    libc::SYS_setsockopt,
    libc::SYS_setuid,
    libc::SYS_setxattr,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sync_file_range,
    libc::SYS_sysinfo,
    libc::SYS_tee,
    libc::SYS_timer_create,
    libc::SYS_timer_delete,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_gettime,
    libc::SYS_timer_settime,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_times,
    libc::SYS_truncate,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_vmsplice,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The same under older names.
#[cfg(target_arch = "x86_64")]
const OF_THIS_MACHINE: &[i64] = &[
    libc::SYS_access,
    libc::SYS_alarm,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_fork,
    libc::SYS_futimesat,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_inotify_init,
    libc::SYS_lchown,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_signalfd,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_vfork,
];

#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_MACHINE: &[i64] = &[];
