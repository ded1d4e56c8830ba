//! What can be said on the command line. docs/cli.md, the man pages and the completions are made from here.

use std::{num::NonZeroU64, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use hero_launcher::LauncherFlags;

/// Runs scripts as jobs on a fleet of nodes.
#[derive(Debug, Parser)]
#[command(name = "hero", version, about, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 done; 1 the node could not do it; 2 the job ended in error; 64 the command line is wrong;
69 no node answers; 77 not allowed; 124 a wait was over first.

Start a node with `hero up`, then: echo 'print(6 * 7)' | hero run --type python -";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The node: http://, ws://, unix://, tcp:// or mycelium:// [default: of the context, else http://127.0.0.1:8080]
    #[arg(long, global = true, value_name = "URL", env = "HERO_URL", help_heading = "Node")]
    pub(crate) url: Option<String>,
    /// A secret or API key; file:PATH reads it from a file
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "HERO_KEY",
        hide_env_values = true,
        help_heading = "Node"
    )]
    pub(crate) key: Option<String>,
    /// A circle's public key: calls go to that circle
    #[arg(long, global = true, value_name = "PUBLIC_KEY", env = "HERO_CIRCLE", help_heading = "Node")]
    pub(crate) circle: Option<String>,
    /// The Mycelium daemon of this machine, for a node at mycelium://KEY
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "HERO_MYCELIUM_DAEMON",
        default_value = "http://127.0.0.1:8990",
        help_heading = "Node"
    )]
    pub(crate) mycelium_daemon: String,
    /// A context of `hero context` other than the current one
    #[arg(long, global = true, value_name = "NAME", env = "HERO_CONTEXT", help_heading = "Node")]
    pub(crate) context: Option<String>,
    /// JSON instead of words, with the names of the API
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a whole node in this process; Ctrl-C stops it
    Up(Up),
    /// Run a script and show what it says: its log as it comes, then its output
    Run(Run),
    /// Submit a script and print the job's id
    Submit(Submit),
    /// List jobs, the newest first
    Jobs(Jobs),
    /// Show a job
    Job(OneJob),
    /// Show a job's log
    Logs(Logs),
    /// Say why a job is where it is
    Explain(OneJob),
    /// Wait for a job's end
    Wait(Wait),
    /// Stop jobs
    Stop(ManyJobs),
    /// Start jobs again that ended in error
    Retry(Retry),
    /// Delete jobs and their logs; running ones are stopped first
    Rm(Remove),
    /// Jobs that are started by the clock
    #[command(subcommand)]
    Schedule(Schedule),
    /// List the runners of the node
    Runners,
    /// List the nodes that this one knows of, or show one, or decide about it
    Nodes(Nodes),
    /// Tell a runner to take no new jobs
    Drain(Drain),
    /// Call any method of the API, here or on another node
    Call(Call),
    /// Circles: a key pair of your own, which ones a node serves, logging in
    #[command(subcommand)]
    Circle(Circle),
    /// API keys of the node
    #[command(subcommand)]
    Key(Key),
    /// Who did what to keys and circles, and who has logged in, the latest first
    Audit {
        /// At most so many lines
        #[arg(long, short = 'n', default_value_t = 100)]
        limit: usize,
    },
    /// A live look: rates, queues with the oldest waiting age, runners, failures, Redis
    Top(Top),
    /// Measure how fast small jobs go through the node from here
    Bench(Bench),
    /// Say who the node takes you for
    Whoami,
    /// Nodes that you work with: urls and keys, kept in a file that only you can read
    #[command(subcommand)]
    Context(Context),
    /// Look whether this machine and the node are fit, and say how to mend what is not
    Doctor,
    /// The OpenRPC document of the node
    Openrpc,
    /// Completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual: man pages into a folder, or this reference in Markdown to the output
    #[command(hide = true)]
    Manual {
        /// The folder for the man pages
        #[arg(long, value_name = "FOLDER")]
        man: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The launcher's configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: LauncherFlags,
}

/// The languages, as people write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    #[value(alias = "rhai")]
    Osis,
    Sal,
    V,
    #[value(alias = "py")]
    Python,
}

#[derive(Debug, Args)]
pub(crate) struct Script {
    /// The script; `-` reads it from the input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Its language [default: by the ending: .rhai osis, .sal sal, .py python, .v v]
    #[arg(long = "type", short = 't', value_name = "LANGUAGE", value_enum)]
    pub(crate) language: Option<Language>,
    /// A variable for the script; can be repeated
    #[arg(long, short = 'e', value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) env: Vec<(String, String)>,
    /// How long it may run
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
    /// A job that has to finish before; can be repeated
    #[arg(long, value_name = "JOB_ID")]
    pub(crate) after: Vec<String>,
    /// How often it is tried again after a failure
    #[arg(long)]
    pub(crate) retries: Option<u32>,
    /// Before or after others that wait
    #[arg(long, value_parser = ["high", "normal", "low"])]
    pub(crate) priority: Option<String>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) run_at: Option<String>,
    /// Another node: its id, `any` for the least busy one, or a selector in JSON
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// The same key gives the same job, however often it is submitted
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) script: Script,
    /// Show the output alone, not the log
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) script: Script,
    /// Stay, and show its log and its output as `hero run` does
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// Which jobs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Filter {
    /// Dispatched, WaitingForPrerequisites, Started, Error or Finished
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Why they failed: script_failed, timeout, runner_lost ...
    #[arg(long, value_name = "KIND")]
    pub(crate) error_kind: Option<String>,
    /// Their language
    #[arg(long = "type", short = 't', value_name = "LANGUAGE", value_enum)]
    pub(crate) language: Option<Language>,
    /// Their context
    #[arg(long = "in", value_name = "CONTEXT_ID")]
    pub(crate) context_id: Option<String>,
    /// Their caller
    #[arg(long = "of", value_name = "CALLER_ID")]
    pub(crate) caller_id: Option<String>,
    /// Created after this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Created before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) before: Option<String>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 20)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Jobs {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Go on from a page's last id
    #[arg(long, value_name = "JOB_ID")]
    pub(crate) cursor: Option<String>,
    /// Look again and again, until Ctrl-C
    #[arg(long, short)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneJob {
    /// The job
    pub(crate) job_id: String,
}

#[derive(Debug, Args)]
pub(crate) struct ManyJobs {
    /// The jobs
    #[arg(required = true)]
    pub(crate) job_ids: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The job
    pub(crate) job_id: String,
    /// Go on until the job has ended
    #[arg(long, short)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The job
    pub(crate) job_id: String,
    /// At most so long [default: what the node allows]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<NonZeroU64>,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The jobs
    #[arg(required_unless_present = "all")]
    pub(crate) job_ids: Vec<String>,
    /// All that match the filter
    #[arg(long, conflicts_with = "job_ids")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The jobs
    #[arg(required_unless_present = "all")]
    pub(crate) job_ids: Vec<String>,
    /// Every job that you may see
    #[arg(long, conflicts_with = "job_ids")]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// Start a script at each of its times
    New(Box<NewSchedule>),
    /// List schedules
    Ls,
    /// Show one
    Show(ScheduleId),
    /// Start its job now, beside its times
    Run(ScheduleId),
    /// Pause it
    Pause(ScheduleId),
    /// Let it go on
    Resume(ScheduleId),
    /// Remove it
    Rm(ScheduleId),
}

#[derive(Debug, Args)]
pub(crate) struct NewSchedule {
    /// Its times: minute, hour, day of month, month, day of week
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) cron: String,
    /// The time zone of its times, such as Europe/Brussels
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(crate) time_zone: String,
    /// What to do when the job before still runs
    #[arg(long, value_parser = ["skip", "queue", "replace"])]
    pub(crate) overlap: Option<String>,
    /// What to do about times that were missed
    #[arg(long, value_parser = ["skip", "one", "all"])]
    pub(crate) catch_up: Option<String>,
    #[command(flatten)]
    pub(crate) script: Script,
}

#[derive(Debug, Args)]
pub(crate) struct ScheduleId {
    /// The schedule
    pub(crate) schedule_id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// The runner
    pub(crate) runner_id: String,
    /// Let it take new jobs again
    #[arg(long)]
    pub(crate) undo: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Nodes {
    /// The one to show, or to decide about
    pub(crate) node_id: Option<String>,
    /// Whether it may be heard and called
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) decide: Option<Decision>,
    /// Only those in this state: alive, suspect, dead or gone
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Only those that run this language
    #[arg(long = "type", short = 't', value_name = "LANGUAGE", value_enum)]
    pub(crate) language: Option<Language>,
    /// Only those with this label: `zone`, or `zone=brussels`
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 100)]
    pub(crate) limit: usize,
    /// Go on from a page's last id
    #[arg(long, value_name = "NODE_ID")]
    pub(crate) cursor: Option<String>,
}

/// What an admin decides about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decision {
    /// It may come back, after a ban or with another key
    Allow,
    /// It is heard and called no more
    Ban,
    /// It is forgotten, and new when it is heard of again
    Forget,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Circle {
    /// Make a key pair; the public key is the circle
    New(NewCircleKey),
    /// Serve a circle; a repeat replaces its members
    Add {
        /// Its public key
        public_key: String,
        /// The public key of a member; can be repeated
        #[arg(long = "member", value_name = "PUBLIC_KEY")]
        members: Vec<String>,
        /// The longest time that one of its jobs may run
        #[arg(long, value_name = "SECONDS")]
        max_timeout: Option<u32>,
    },
    /// List the circles that the node serves
    Ls,
    /// Serve a circle no more
    Rm {
        /// Its public key
        public_key: String,
    },
    /// Prove a key to a circle (--circle, else the key's own) and get a token for a while
    Login(CircleLogin),
}

#[derive(Debug, Args)]
pub(crate) struct NewCircleKey {
    /// Where the secret key is kept, for you alone [default: in your configuration folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CircleLogin {
    /// The file with the secret key, as `hero circle new` makes it
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_key: PathBuf,
    /// Keep the token as a context of this name instead of printing it
    #[arg(long, value_name = "NAME")]
    pub(crate) save_as: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key, which is shown this once
    New {
        /// Its name
        name: String,
        /// What it may do
        #[arg(long, default_value = "user", value_parser = ["admin", "user", "register"])]
        scope: String,
        /// The circle that it is for; none: the node
        #[arg(long, value_name = "PUBLIC_KEY")]
        of_circle: Option<String>,
    },
    /// List keys
    Ls,
    /// Replace a key by another of the same name; the old one is over
    Rotate {
        /// Its name
        name: String,
    },
    /// Forget a key
    Rm {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Look once, and say it in words
    #[arg(long)]
    pub(crate) once: bool,
    /// The time between two looks
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(200..=60_000))]
    pub(crate) every_ms: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// How many jobs
    #[arg(long, short = 'n', default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) jobs: u32,
    /// How many at a time
    #[arg(long, short, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) parallel: u32,
    /// Their language [default: osis]
    #[arg(long = "type", short = 't', value_name = "LANGUAGE", value_enum)]
    pub(crate) language: Option<Language>,
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    /// Call it on this node: its id, `any`, or a selector in JSON
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// The method
    pub(crate) method: String,
    /// Its params, a JSON array or object
    #[arg(default_value = "[]")]
    pub(crate) params: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Context {
    /// List contexts; the current one is marked
    Ls,
    /// Keep a node under a name: its url, key and circle as given with --url, --key and --circle
    Add {
        /// The name
        name: String,
    },
    /// Work with this one from now on
    Use {
        /// The name
        name: String,
    },
    /// Forget one
    Rm {
        /// The name
        name: String,
    },
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it is written NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Arguments;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (arguments, words) in [
            (["hero", "run", "x.py", "--env", "A"].as_slice(), "NAME=VALUE"),
            (&["hero", "stop"], "JOB_IDS"),
            (&["hero", "rm"], "JOB_IDS"),
            (&["hero", "schedule", "new", "x.py"], "--cron"),
            (&["hero", "jobs", "--type", "perl"], "osis"),
        ] {
            let error = Arguments::try_parse_from(arguments).unwrap_err().to_string();
            assert!(error.contains(words), "{arguments:?}: {error}");
        }
    }
}
