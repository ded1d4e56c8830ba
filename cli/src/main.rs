//! The command `hero`.
//!
//! Why it exists: so that a person at a terminal can start a node, hand it work, see what becomes of it, and learn
//! why something waits. It speaks the public JSON-RPC API and nothing else.
//!
//! It promises the exit statuses that its help names, JSON with the API's own names under `--json`, and nothing but
//! results on the output: all words beside them go to the error output. It must never know Redis or gRPC.

mod args;
mod commands;
mod contexts;
mod failure;
mod node;
mod show;

use std::process::ExitCode;

use anyhow::Context as _;
use args::{Arguments, Circle, Command, Up};
use clap::{CommandFactory as _, Parser as _};
use contexts::Contexts;
use failure::{Failure, Result};
use node::Node;
use show::Show;

fn main() -> ExitCode {
    // The runner in `hero up` starts this program again for each SAL script.
    hero_launcher::run_if_child().unwrap_or_else(command)
}

fn command() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match arguments.command {
        Command::Up(Up { config, flags }) => hero_runtime::run::<hero_launcher::Node>(config, flags),
        command => match client(&arguments.global, command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.tell(),
        },
    }
}

/// Everything that asks a node, and what needs none.
fn client(global: &args::Global, command: Command) -> Result {
    let show = Show::new(global);
    match command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "hero", &mut std::io::stdout());
            return Ok(());
        }
        Command::Manual { man } => return manual(man.as_deref()),
        Command::Circle(Circle::New(new)) => return commands::circles::new(show, &new),
        Command::Context(command) => return commands::contexts::context(global, show, &command),
        _ => {}
    }
    let (target, circle) = Contexts::read(&contexts::path()?)?.choose(global)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    runtime.block_on(async {
        if let Command::Circle(Circle::Login(login)) = &command {
            return commands::circles::login(target, circle.as_deref(), show, login).await;
        }
        let node = Node::at(target)?;
        ask(&node, show, &command).await
    })
}

async fn ask(node: &Node, show: Show, command: &Command) -> Result {
    use commands::{bench, circles, doctor, fleet, follow, jobs, keys, node as nodes, schedules, top};
    match command {
        Command::Run(run) => follow::run(node, show, run).await,
        Command::Submit(submit) => follow::submit(node, show, submit).await,
        Command::Jobs(list) => jobs::list(node, show, list).await,
        Command::Job(job) => jobs::show_one(node, show, &job.job_id).await,
        Command::Logs(logs) => jobs::logs(node, show, logs).await,
        Command::Explain(job) => jobs::explain(node, show, &job.job_id).await,
        Command::Wait(wait) => jobs::wait(node, show, wait).await,
        Command::Stop(jobs) => jobs::stop(node, show, jobs).await,
        Command::Retry(retry) => jobs::retry(node, show, retry).await,
        Command::Rm(remove) => jobs::remove(node, show, remove).await,
        Command::Schedule(schedule) => schedules::schedule(node, show, schedule).await,
        Command::Runners => nodes::runners(node, show).await,
        Command::Nodes(nodes) => fleet::nodes(node, show, nodes).await,
        Command::Circle(circle) => circles::circle(node, show, circle).await,
        Command::Key(key) => keys::key(node, show, key).await,
        Command::Audit { limit } => keys::audit(node, show, *limit).await,
        Command::Top(top) => top::top(node, show, top).await,
        Command::Bench(bench) => bench::bench(node, show, bench).await,
        Command::Drain(drain) => nodes::drain(node, drain).await,
        Command::Call(call) => nodes::call(node, call).await,
        Command::Whoami => nodes::whoami(node, show).await,
        Command::Openrpc => nodes::openrpc(node).await,
        Command::Doctor => doctor::doctor(node, show).await,
        Command::Up(_) | Command::Context(_) | Command::Completions { .. } | Command::Manual { .. } => {
            Err(Failure::Usage("this command asks no node".to_owned()))
        }
    }
}

/// docs/cli.md on the output, or man pages in a folder.
fn manual(folder: Option<&std::path::Path>) -> Result {
    let Some(folder) = folder else {
        let options =
            clap_markdown::MarkdownOptions::new().show_footer(false).title("The command `hero`".to_owned());
        show::write(&clap_markdown::help_markdown_custom::<Arguments>(&options));
        return Ok(());
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder))
        .with_context(|| format!("the man pages cannot be written to {}", folder.display()))?;
    Ok(())
}
