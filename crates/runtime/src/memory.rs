//! How much free memory a process keeps for what comes next.
//!
//! glibc gives the end of its heap back to the system as soon as 128 KiB of it are free. Messages of 64 KiB make it give
//! and take all the time, and each page that it takes is cleared by the kernel first: four pages for each of them in a
//! relay of the bus, a twenty-fifth of its work.

/// Tells the allocator. Another one than glibc's is left as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator's settings are a function of C")]
pub(crate) fn keep_some() {
    /// Bytes of each heap that are kept when they are free, instead of given back.
    const KEPT: i32 = 8 << 20;
    /// From here on a piece of memory is a mapping of its own, given back when it is free.
    const OWN_MAPPING: i32 = 4 << 20;

    // Setting one of both ends glibc's own choice of the other.
    for (setting, bytes) in [(libc::M_TRIM_THRESHOLD, KEPT), (libc::M_MMAP_THRESHOLD, OWN_MAPPING)] {
        // SAFETY: it takes two numbers and changes a setting of the allocator under the allocator's own lock.
        let is_taken = unsafe { libc::mallopt(setting, bytes) } == 1;
        debug_assert!(is_taken, "glibc knows setting {setting}");
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_some() {}
