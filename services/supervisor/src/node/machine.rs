//! What the machine has to say, read from the kernel.

use std::{fs, path::Path};

use hero_domain::Machine;

/// Looks at the machine again and again; how busy it is shows between two looks.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Busy and all processor ticks at the last look.
    ticks: Option<(u64, u64)>,
}

impl Look {
    /// The machine now; what cannot be read stays unknown.
    pub(crate) fn take(&mut self, folder: &Path) -> Machine {
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = kilobytes(&memory, "MemTotal:");
        let (disk_bytes, disk_used_bytes) = disk(folder);
        Machine {
            cpus: std::thread::available_parallelism()
                .map_or(0, |count| u32::try_from(count.get()).unwrap_or(0)),
            cpu_percent: self.cpu_percent(),
            load: load(&fs::read_to_string("/proc/loadavg").unwrap_or_default()),
            memory_bytes: total,
            memory_used_bytes: total.saturating_sub(kilobytes(&memory, "MemAvailable:")),
            disk_bytes,
            disk_used_bytes,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "percent are read to a few digits")]
    fn cpu_percent(&mut self) -> f64 {
        let now = ticks(&fs::read_to_string("/proc/stat").unwrap_or_default());
        let last = std::mem::replace(&mut self.ticks, now);
        let (Some((busy, all)), Some((was_busy, was_all))) = (now, last) else { return 0.0 };
        let passed = all.saturating_sub(was_all);
        if passed == 0 { 0.0 } else { busy.saturating_sub(was_busy) as f64 * 100.0 / passed as f64 }
    }
}

fn load(text: &str) -> f64 {
    let load: f64 = text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default();
    if load.is_finite() { load } else { 0.0 }
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    number.unwrap_or_default() * 1_024
}

/// Busy and all ticks of all processors.
fn ticks(text: &str) -> Option<(u64, u64)> {
    let first = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = first.split_whitespace().map_while(|tick| tick.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; the rest is part of the first two.
    let all = ticks.iter().take(8).sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((u64::saturating_sub(all, idle), all))
}

fn disk(folder: &Path) -> (u64, u64) {
    let Ok(disk) = rustix::fs::statvfs(folder) else { return (0, 0) };
    let bytes = disk.f_blocks * disk.f_frsize;
    (bytes, bytes.saturating_sub(disk.f_bavail * disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Look, kilobytes, load, ticks};

    #[test]
    fn the_kernel_is_understood() {
        assert_eq!(kilobytes("MemTotal:       16 kB\nMemAvailable:   4 kB\n", "MemAvailable:"), 4_096);
        assert_eq!(ticks("cpu  10 0 5 80 5 0 0 0 0 0\ncpu0 1\n"), Some((15, 100)));
        assert!((load("0.50 0.3 0.1 1/2 3") - 0.5).abs() < f64::EPSILON);
        assert_eq!((kilobytes("", "MemTotal:"), ticks("")), (0, None));
    }

    #[test]
    fn this_machine_has_memory_and_a_disk() {
        let machine = Look::default().take(Path::new("/"));
        assert!(machine.memory_bytes > 0 && machine.disk_bytes > 0 && machine.cpus > 0, "{machine:?}");
    }
}
