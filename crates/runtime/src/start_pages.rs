//! The pages of the program that only its start needed.
//!
//! Each page of the program's file that is touched comes into memory with its fifteen neighbours, so that reading the
//! configuration, the certificates and the command line leaves a service of twelve megabytes with eighteen. Let go of
//! once, the pages that it works with come back by themselves, from the file's cache: a microsecond for each of them.

use std::time::Duration;

/// How long after its start a service has done what it does once.
const AFTER: Duration = Duration::from_secs(1);

/// Lets go of them when the start is over. A system on which that is not possible keeps them.
pub(crate) async fn let_go() {
    tokio::time::sleep(AFTER).await;
    match let_go_now() {
        Ok(bytes) => tracing::debug!(bytes, "the pages of the program are read again as they are needed"),
        Err(error) => tracing::debug!(%error, "the pages that only the start needed stay in memory"),
    }
}

/// Of how many bytes.
fn let_go_now() -> std::io::Result<usize> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let map = std::fs::read("/proc/self/smaps")?;
    Ok(unwritten(&String::from_utf8_lossy(&map), &program.to_string_lossy()).map(drop_pages).sum())
}

/// The parts of the process' memory that are the program's file and nothing else: not writable, and without a page that
/// was written before they were so (the linker's tables are such).
fn unwritten<'a>(map: &'a str, program: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut part = None;
    map.lines().filter_map(move |line| {
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?;
        if first == "Anonymous:" {
            return part.take().filter(|_| words.next() == Some("0"));
        }
        if let Some((begin, end)) = first.split_once('-') {
            let is_unwritable = words.next().is_some_and(|access| access.starts_with("r-"));
            let is_program = line.ends_with(program);
            let range =
                || Some((usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?));
            part = range().filter(|_| is_unwritable && is_program);
        }
        None
    })
}

/// How many bytes those were.
#[allow(unsafe_code, reason = "what may be dropped is known from the map, not from a type")]
fn drop_pages((begin, end): (usize, usize)) -> usize {
    let at = std::ptr::with_exposed_provenance_mut(begin);
    // SAFETY: the range is a mapping of the program's file that nobody can write, and none of whose pages differs from
    // the file: whoever reads there next reads the same bytes.
    let dropped = unsafe { rustix::mm::madvise(at, end - begin, rustix::mm::Advice::LinuxDontNeed) };
    if dropped.is_ok() { end - begin } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{let_go_now, unwritten};

    #[test]
    fn only_what_nobody_can_have_written_is_let_go_of() {
        let part = |range: &str, access: &str, file: &str, anonymous: u32| {
            format!(
                "{range} {access} 00000000 fe:00 1234                      {file}\nSize:  4 kB\n\
                 Rss:   4 kB\nAnonymous:        {anonymous} kB\nVmFlags: rd mr mw me\n"
            )
        };
        let map = [
            part("1000-3000", "r--p", "/bin/hero", 0),
            part("3000-5000", "r-xp", "/bin/hero", 0),
            part("5000-6000", "r--p", "/bin/hero", 4),
            part("6000-7000", "rw-p", "/bin/hero", 0),
            part("7000-8000", "r-xp", "/lib/libc.so.6", 0),
            part("8000-9000", "r--p", "", 0),
        ];
        let parts: Vec<_> = unwritten(&map.concat(), "/bin/hero").collect();
        assert_eq!(parts, [(0x1000, 0x3000), (0x3000, 0x5000)]);
    }

    #[test]
    fn the_program_goes_on_without_them() {
        let bytes = let_go_now().unwrap();
        assert!(bytes > 1 << 20, "{bytes}");
        // What is called and read next comes back from the file.
        assert_eq!(let_go_now().unwrap(), bytes);
    }
}
