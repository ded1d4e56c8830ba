//! Proof that no acknowledged job is lost, whatever dies: `make chaos`.
//!
//! It starts a Redis, two supervisors, two gateways and three runners as real processes, keeps them under a mixed
//! load, kills, freezes and restarts random ones, then stops the faults, waits until everything has settled, and
//! compares what became of every acknowledged job with what was promised. The seed decides every choice; what
//! the machine makes of it in time differs from run to run.

#![allow(clippy::print_stdout, reason = "a table for a person is what it is for")]

mod client;
mod faults;
mod ledger;
mod load;
mod node;
mod places;
mod verdict;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::{client::Client, ledger::Ledger, node::Node};

/// Kills, freezes and restarts the parts of a node under load, and checks what was promised.
#[derive(Debug, Parser)]
struct Options {
    /// How long faults go on, in seconds
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// What decides every choice; printed, so that a run can be repeated
    #[arg(long)]
    seed: Option<u64>,
    /// How long everything may take to settle afterwards, in seconds
    #[arg(long, default_value_t = 120)]
    settle: u64,
    /// Keep the folder with the logs of every process, also after success
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!(
        "chaos: {} s of faults, seed {seed} (again: make chaos SECONDS={} SEED={seed})",
        options.seconds, options.seconds
    );
    let node = Arc::new(Node::start(options.keep)?);
    println!("chaos: logs in {}", node.folder().display());
    let ledger = Ledger::default();
    let client = Client::new(node.gateways())?;
    node.answers(&client).await?;

    let events = places::follow_events(node.redis_url(), ledger.clone());
    let load_over = CancellationToken::new();
    let load = load::start(seed, &client, &ledger, node.folder(), &load_over);
    let sampling = places::sample(Arc::clone(&node), ledger.clone(), load_over.clone());
    let table =
        faults::rage(seed, Arc::clone(&node), ledger.clone(), Duration::from_secs(options.seconds)).await;
    load_over.cancel();
    println!("chaos: the faults are over, {} jobs acknowledged, {} open", ledger.len(), ledger.open());

    let begun = Instant::now();
    let settle = Duration::from_secs(options.settle);
    load::finish(load, settle).await?;
    sampling.await?;
    verdict::settle(&ledger, settle.saturating_sub(begun.elapsed())).await;
    let settled = begun.elapsed();
    let summary = verdict::check(&node, &client, &ledger, &table).await?;
    drop(events);
    node.check_processes(&ledger).await;

    println!("{table}\n{summary}\nchaos: settled in {:.1} s", settled.as_secs_f64());
    let broken = ledger.broken();
    if broken.is_empty() {
        println!("chaos: every promise was kept, seed {seed}");
        return Ok(ExitCode::SUCCESS);
    }
    node.keep();
    println!("chaos: {} broken promises, seed {seed}, logs in {}", broken.len(), node.folder().display());
    broken.iter().take(40).for_each(|words| println!("  {words}"));
    Ok(ExitCode::FAILURE)
}
