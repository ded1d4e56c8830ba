//! Landlock: which files a child can reach. The rules are gathered once; each child gets them with its own
//! directory added, and cannot take them off.

use std::{
    io,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};

/// What a program of the system needs to start, to load its libraries, and to know the time and its language.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/locale.alias",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/tls",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/sys/devices/system/cpu",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/dev/random",
    "/dev/urandom",
];
/// What name resolution needs besides.
const NETWORK: &[&str] = &["/etc/resolv.conf", "/etc/host.conf", "/etc/gai.conf", "/run/systemd/resolve"];
/// Devices that may be written to.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full"];
/// Everything that this code knows how to forbid. A kernel forbids what it knows of it.
const KNOWN: ABI = ABI::V9;

/// The version of Landlock in this kernel; none: it has none, or it is switched off.
pub(super) fn kernel_version() -> Option<i32> {
    const CREATE_RULESET_VERSION: usize = 1;
    #[allow(unsafe_code, reason = "the crate does not tell the version")]
    // SAFETY: with this flag and no attributes the call only returns a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, CREATE_RULESET_VERSION)
    };
    i32::try_from(version).ok().filter(|version| *version > 0)
}

/// Rules that all children of a policy share.
#[derive(Debug)]
pub(super) struct Files {
    rules: Vec<(PathFd, landlock::BitFlags<AccessFs>)>,
    may_use_network: bool,
}

impl Files {
    /// Opens what exists of the given paths.
    pub(super) fn new(readable: &[PathBuf], writable: &[PathBuf], network: bool) -> Self {
        let read = AccessFs::from_read(KNOWN);
        let network_files: &[&str] = if network { NETWORK } else { &[] };
        let system = SYSTEM.iter().chain(network_files).map(|path| (Path::new(path), read));
        let devices = DEVICES.iter().map(|path| (Path::new(path), AccessFs::ReadFile | AccessFs::WriteFile));
        let readable = readable.iter().map(|path| (path.as_path(), read));
        let writable = writable.iter().map(|path| (path.as_path(), own()));
        let rules = system
            .chain(devices)
            .chain(readable)
            .chain(writable)
            .filter_map(|(path, access)| PathFd::new(path).ok().map(|fd| (fd, access)))
            .collect();
        Self { rules, may_use_network: network }
    }

    /// The rules of a child whose directory this is.
    pub(super) fn ruleset(&self, home: &Path) -> io::Result<Option<OwnedFd>> {
        let refused = |error| io::Error::other(format!("landlock: {error}"));
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))
            .map_err(refused)?
            .scope(Scope::from_all(KNOWN))
            .map_err(refused)?;
        if !self.may_use_network {
            ruleset = ruleset.handle_access(AccessNet::from_all(KNOWN)).map_err(refused)?;
        }
        let mut created = ruleset.create().map_err(refused)?;
        for (path, access) in &self.rules {
            created = created.add_rule(PathBeneath::new(path, *access)).map_err(refused)?;
        }
        let home = PathFd::new(home).map_err(io::Error::other)?;
        created = created.add_rule(PathBeneath::new(home, own())).map_err(refused)?;
        Ok(created.into())
    }
}

/// What a job may do in its own directory: all but devices and others' sockets.
fn own() -> landlock::BitFlags<AccessFs> {
    let never = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev | AccessFs::ResolveUnix;
    AccessFs::from_all(KNOWN) & !never
}

/// Whether any user of the machine may reach and read this path.
pub(super) fn is_open_to_all(path: &Path) -> bool {
    const SEARCH: u32 = 0o001;
    const READ: u32 = 0o004;
    let Ok(path) = path.canonicalize() else { return true };
    let may = |path: &Path, bits: u32| {
        std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & bits == bits)
    };
    let bits = if path.is_dir() { READ | SEARCH } else { READ };
    may(&path, bits) && path.ancestors().skip(1).all(|above| may(above, SEARCH))
}
