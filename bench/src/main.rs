//! What a job costs, and how far that is from the floor of the same run.
//!
//! The bench starts a Redis of its own and the real services as processes of their own, drives them from
//! outside through the public surface, and prints each figure beside its target and beside what the very same
//! Redis, jsonrpsee, tonic and Rhai do with nothing of ours around them. It asserts nothing about time: a
//! miss is printed, never a failure. See `docs/performance.md`.

mod cases;
mod echo;
mod floors;
mod http;
mod latency;
mod lines;
mod load;
mod node;
mod options;
mod process;
mod redis_server;
mod report;
mod ws;

use std::process::ExitCode;

use clap::Parser;

use crate::options::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Some(Command::Echo { parent }) => echo::serve(parent).await,
            None => tokio::select! {
                done = cases::run(&cli.options) => done,
                // Dropping the run ends every process that it started.
                signal = interrupted() => signal.and_then(|()| Err(anyhow::anyhow!("interrupted"))),
            },
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn fail(error: &anyhow::Error) -> ExitCode {
    report::say(&format!("hero-bench: {error:#}"));
    ExitCode::FAILURE
}
