//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures a node and prints each figure beside its target and the floor of the same run.
#[derive(Debug, Parser)]
#[command(name = "hero-bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What the bench starts of itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves the two echo floors (jsonrpsee and tonic) until the parent is gone. Used by the bench itself.
    #[command(hide = true)]
    Echo {
        /// The process id of the bench.
        #[arg(long)]
        parent: u32,
    },
}

/// One group of measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Bare Redis, jsonrpsee, tonic and Rhai.
    Floors,
    /// Create and queue, single and batched.
    Enqueue,
    /// No-op OSIS jobs from submit to Finished.
    EndToEnd,
    /// The run_job round trip, over WebSocket and HTTP.
    RunJob,
    /// From the push to the claim by an idle runner.
    PickUp,
    /// Python jobs with and without a warm interpreter, beside a fresh one.
    Python,
    /// Jobs of the other types: OSIS with objects, SAL, V where there is a compiler; and how fast a log is read.
    Scripts,
    /// Claim and finish, asked of the store directly, with few and with many jobs in the queue.
    Exchange,
    /// The same beside 1,000 and 1,000,000 waiting jobs.
    Waiting,
    /// Resident memory and processor time of idle services.
    Idle,
    /// What the gateway adds to a call, idle WebSockets, and connections that come and go.
    Edge,
    /// An explorer with 10,000 nodes, and calls that it passes on.
    Explorer,
    /// Calls through the Mycelium bridge, before a made-up daemon.
    Overlay,
    /// Two relays of the message bus, beside the same programs over one Redis.
    Bus,
}

/// What to measure, and how large.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Small sizes: a check that the bench works, in seconds; its figures mean little.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these groups (the floors are always measured, they are what the others are compared with).
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Case>,
    /// Also write everything as JSON to this file.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// The folder of the service binaries. Default: that of the bench, where `make bench` builds them.
    #[arg(long)]
    pub(crate) services: Option<PathBuf>,
    /// Redis keeps an append-only file (everysec), as the launcher's own Redis does.
    #[arg(long)]
    pub(crate) aof: bool,
    /// Jobs of the end-to-end measurement.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1_000..=5_000_000))]
    pub(crate) jobs: Option<u32>,
    /// Jobs that wait while the last groups are measured.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1_000..=5_000_000))]
    pub(crate) waiting: Option<u32>,
    /// Nodes that the explorer is told of.
    #[arg(long, value_parser = clap::value_parser!(u32).range(10..=15_000))]
    pub(crate) nodes: Option<u32>,
    /// Seconds for which they are watched.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) nodes_seconds: Option<u32>,
    /// Jobs that the runner runs at once.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) slots: Option<u32>,
    /// A `mycelium` binary: two real daemons are measured too.
    #[arg(long)]
    pub(crate) mycelium: Option<PathBuf>,
    /// Leave the services' logs and Redis' data in this folder.
    #[arg(long)]
    pub(crate) keep: Option<PathBuf>,
}

/// How large each measurement is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) floor_jobs: usize,
    pub(crate) round_trips: usize,
    pub(crate) enqueue: usize,
    pub(crate) end_to_end: usize,
    pub(crate) run_job: usize,
    pub(crate) run_job_32: usize,
    pub(crate) pick_ups: usize,
    /// Python jobs, one at a time.
    pub(crate) python: usize,
    /// The same, many at once.
    pub(crate) python_many: usize,
    pub(crate) waiting_small: usize,
    pub(crate) waiting_large: usize,
    pub(crate) exchanged: usize,
    pub(crate) idle_s: u64,
    /// WebSockets on which nothing happens.
    pub(crate) idle_sockets: usize,
    /// Seconds for which connections come and go.
    pub(crate) churn_s: u64,
    pub(crate) nodes: usize,
    pub(crate) nodes_s: u64,
    /// Requests over the bus, many at a time; one at a time; with a large payload.
    pub(crate) bus: usize,
    pub(crate) bus_one: usize,
    pub(crate) bus_large: usize,
}

impl Options {
    pub(crate) fn wants(&self, case: Case) -> bool {
        self.only.is_empty() || self.only.contains(&case)
    }

    pub(crate) fn sizes(&self) -> Sizes {
        let mut sizes = if self.quick {
            Sizes {
                floor_jobs: 2_000,
                round_trips: 300,
                enqueue: 2_000,
                end_to_end: 3_000,
                run_job: 200,
                run_job_32: 1_000,
                pick_ups: 100,
                python: 50,
                python_many: 100,
                waiting_small: 500,
                waiting_large: 5_000,
                exchanged: 2_000,
                idle_s: 1,
                idle_sockets: 100,
                churn_s: 1,
                nodes: 200,
                nodes_s: 3,
                bus: 400,
                bus_one: 50,
                bus_large: 50,
            }
        } else {
            Sizes {
                floor_jobs: 200_000,
                round_trips: 20_000,
                enqueue: 100_000,
                end_to_end: 200_000,
                run_job: 10_000,
                run_job_32: 50_000,
                pick_ups: 5_000,
                python: 1_000,
                python_many: 5_000,
                waiting_small: 1_000,
                waiting_large: 1_000_000,
                exchanged: 100_000,
                idle_s: 10,
                idle_sockets: 5_000,
                churn_s: 30,
                nodes: 10_000,
                nodes_s: 300,
                bus: 100_000,
                bus_one: 5_000,
                bus_large: 5_000,
            }
        };
        if let Some(jobs) = self.jobs {
            sizes.end_to_end = jobs as usize;
        }
        if let Some(waiting) = self.waiting {
            sizes.waiting_large = waiting as usize;
        }
        if let Some(nodes) = self.nodes {
            sizes.nodes = nodes as usize;
        }
        if let Some(seconds) = self.nodes_seconds {
            sizes.nodes_s = seconds.into();
        }
        sizes
    }
}
