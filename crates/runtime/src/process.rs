//! The life of a process.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::Display,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    AdminServer, Chassis as _, Context, Health, Service, Shutdown, ShutdownTrigger, admin,
    cli::{self, Cli, Command},
    memory, run_service,
    service::VERSION,
    start_pages,
    tasks::panic_text,
};

/// The configuration or the command line cannot be used (EX_USAGE).
const BAD_CONFIG: u8 = 64;
const FAILED: u8 = 1;
/// How much longer than its grace a service may take before it is cut off.
const BEYOND_GRACE: Duration = Duration::from_secs(2);

/// Runs a service as this process: the whole of its `main`.
#[must_use]
pub fn main<S: Service>() -> ExitCode {
    match cli::parse::<S>(std::env::args_os()) {
        Ok(cli) => ExitCode::from(run_cli::<S>(cli)),
        Err(error) => {
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { BAD_CONFIG } else { 0 })
        }
    }
}

/// Runs a service as this process with flags that another command line has read already.
#[must_use]
pub fn run<S: Service>(config: Option<PathBuf>, flags: S::Flags) -> ExitCode {
    let cli = Cli { config, print_config: false, check_config: false, service: flags, command: None };
    ExitCode::from(run_cli::<S>(cli))
}

fn run_cli<S: Service>(cli: Cli<S::Flags>) -> u8 {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let loaded: hero_config::Result<S::Config> = hero_config::load_with(hero_config::Source {
        service: S::NAME,
        file: cli.config.as_deref(),
        env: environment,
        aliases: S::ENV_ALIASES,
        overrides: S::overrides(cli.service),
    });
    let config = match loaded {
        Ok(config) => config,
        Err(error) => return complain::<S>(BAD_CONFIG, &chain(&error)),
    };
    if cli.print_config {
        return match hero_config::print(&config) {
            Ok(text) => say(&text),
            Err(error) => complain::<S>(FAILED, &error),
        };
    }
    if cli.check_config {
        return say("the configuration can be used\n");
    }
    match cli.command {
        Some(Command::Healthcheck) => healthcheck::<S>(&config),
        None => serve::<S>(config),
    }
}

fn healthcheck<S: Service>(config: &S::Config) -> u8 {
    let answer = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(admin::ask_ready(&config.admin().listen)),
        Err(error) => return complain::<S>(FAILED, &error),
    };
    match answer {
        Ok((status, report)) if status.is_success() => say(&format!("{report}\n")),
        Ok((_, report)) => complain::<S>(FAILED, &format!("not ready: {report}")),
        Err(error) => complain::<S>(FAILED, &format!("{error:#}")),
    }
}

fn serve<S: Service>(config: S::Config) -> u8 {
    memory::keep_some();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // A person who has measured something else may say so by tokio's own variable.
    if !hero_config::is_in_environment("TOKIO_WORKER_THREADS") {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        runtime.worker_threads(if S::IS_ALONE { cores } else { (cores / 2).max(1) });
    }
    let runtime = match runtime.thread_name(S::NAME).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain::<S>(FAILED, &error),
    };
    let code = runtime.block_on(live::<S>(config));
    // What still runs was told to end and had its time.
    runtime.shutdown_background();
    code
}

/// From the set-up of telemetry to its flush.
async fn live<S: Service>(config: S::Config) -> u8 {
    let telemetry = match hero_telemetry::init(config.telemetry(), S::NAME, VERSION) {
        Ok(telemetry) => telemetry,
        Err(error) => return complain::<S>(FAILED, &chain(&error)),
    };
    log_panics();
    let cx = Context::new(Health::new(), telemetry.clone());
    let code = match bind_and_run::<S>(config, &cx).await {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(service = S::NAME, error = format!("{error:#}"), "cannot go on");
            FAILED
        }
    };
    // A flush blocks for as long as the exporter takes; the exporter itself needs the runtime meanwhile.
    let flushed = tokio::task::spawn_blocking(move || telemetry.flush()).await;
    if let Err(error) = flushed {
        tracing::warn!(%error, "telemetry was not flushed");
    }
    code
}

/// A panic is a log line like any other; with `RUST_BACKTRACE` it has the way there.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic_text(panic.payload());
        let location = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(panic = message, location, backtrace, "panicked");
    }));
}

async fn bind_and_run<S: Service>(config: S::Config, cx: &Context) -> anyhow::Result<u8> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let drain = *config.drain();
    let process = cx.health.condition("process");
    let admin =
        AdminServer::bind(config.admin(), cx).await.context("cannot open the admin port (`admin.listen`)")?;
    tracing::info!(service = S::NAME, address = %admin.address(), "admin port open");
    let cx = &Context { admin: Some(admin.address().clone()), ..cx.clone() };
    let admin = tokio::spawn(admin.serve());

    let service = tokio::select! {
        bound = S::bind(config, cx) => bound?,
        // Nothing has been served yet, so there is nothing to drain.
        name = signals.next() => {
            tracing::info!(signal = name.0, "told to stop before it was up");
            return Ok(0);
        }
    };
    let (trigger, shutdown) = Shutdown::new(drain);
    process.ready();
    let start_pages = tokio::spawn(start_pages::let_go());
    let code = tokio::select! {
        ended = run_service(service, shutdown.clone()) => ended.map(|()| 0),
        code = stop_on_signal(&mut signals, &trigger, &process, &shutdown) => Ok(code),
    };
    start_pages.abort();
    admin.abort();
    // Its end removes a socket's file; that it was aborted is no news.
    let _ = admin.await;
    code
}

/// Waits for a signal, drains, and returns only when the service must be cut off: on a second signal, or when it
/// has not ended in time.
async fn stop_on_signal(
    signals: &mut Signals,
    trigger: &ShutdownTrigger,
    process: &crate::Condition,
    shutdown: &Shutdown,
) -> u8 {
    let (name, _) = signals.next().await;
    process.unready("the process is stopping");
    tracing::info!(signal = name, grace_ms = shutdown.grace().as_millis() as u64, "stopping");
    let too_long = async {
        trigger.drain().await;
        shutdown.grace_over().await;
        tokio::time::sleep(BEYOND_GRACE).await;
    };
    tokio::select! {
        () = too_long => {
            tracing::error!("the service did not end within its grace, cutting it off");
            FAILED
        }
        (name, number) = signals.next() => {
            tracing::warn!(signal = name, "second signal, ending now");
            128 + number
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name and number of the next signal.
    async fn next(&mut self) -> (&'static str, u8) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", 15),
            _ = self.interrupt.recv() => ("SIGINT", 2),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn say(text: &str) -> u8 {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => FAILED,
    }
}

/// Before there are logs, or when a person has asked: a line on stderr.
fn complain<S: Service>(code: u8, what: &impl Display) -> u8 {
    // Nobody is left to tell when the terminal is gone.
    let _ = writeln!(io::stderr(), "{}: {what}", S::NAME);
    code
}
