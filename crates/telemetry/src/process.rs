//! What this process uses, read from `/proc` when the metrics are read and at no other time.

use std::fs;

use opentelemetry::metrics::Meter;

use crate::names;

/// Adds the observations to a meter.
pub(crate) fn register(meter: &Meter) {
    let observe = |name, unit, about, read: fn() -> Option<u64>| {
        meter
            .u64_observable_gauge(name)
            .with_unit(unit)
            .with_description(about)
            .with_callback(move |observer| {
                if let Some(value) = read() {
                    observer.observe(value, &[]);
                }
            })
            .build()
    };
    observe(names::PROCESS_MEMORY, "By", "Resident memory", resident_bytes);
    observe(names::PROCESS_FDS, "{file_descriptor}", "Open file descriptors", open_files);
    observe(names::PROCESS_THREADS, "{thread}", "Threads", || status("Threads:"));
    meter
        .f64_observable_counter(names::PROCESS_CPU)
        .with_unit("s")
        .with_description("Processor time used")
        .with_callback(|observer| observer.observe(cpu_seconds(), &[]))
        .build();
}

fn resident_bytes() -> Option<u64> {
    status("VmRSS:").map(|kib| kib * 1024)
}

fn open_files() -> Option<u64> {
    // One entry is the directory that is being read.
    fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1))
}

fn status(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "processor time is read to a few digits")]
fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}
