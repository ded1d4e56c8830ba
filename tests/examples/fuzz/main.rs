//! Inputs that nobody sends by mistake, at the doors that strangers knock at: `make fuzz`.
//!
//! A real gateway in front of a made-up supervisor gets broken requests and paths over real connections; the parsers of
//! keys, signatures, nonces and tokens get broken texts directly. Each input is a good one with some changes. None may
//! cause a panic, stay without an answer, be believed, or take memory that is not given back. The seed decides every input.

#![allow(clippy::print_stdout, reason = "a table for a person is what it is for")]

mod door;
mod inputs;
mod secrets;

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use anyhow::Context as _;
use clap::Parser;

use crate::{door::Door, inputs::Inputs};

/// Sends broken inputs to every door, and checks what becomes of them.
#[derive(Debug, Parser)]
struct Options {
    /// How many inputs in all
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// What decides every input; printed, so that a run can be repeated
    #[arg(long)]
    seed: Option<u64>,
    /// Connections at a time
    #[arg(long, default_value_t = 16)]
    connections: u64,
}

/// Memory that the process may have in use beyond what the first inputs have taken: some bodies and answers at a time,
/// never what an input asks for.
const MOST_GROWTH: u64 = 96 << 20;

static PANICS: AtomicU64 = AtomicU64::new(0);

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!(
        "fuzz: {} inputs, seed {seed} (again: make fuzz INPUTS={} SEED={seed})",
        options.inputs, options.inputs
    );
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        told(panic);
    }));
    let door = Door::open().await?;
    // What is made once is there after these.
    door.knock(Inputs::requests(seed ^ 1), 20_000, options.connections).await?;
    let before = peak()?;

    let share = options.inputs / 10;
    println!("{:<24} {:>12} {:>12} {:>10}", "door", "inputs", "accepted", "seconds");
    let begin = Instant::now();
    let good = door.knock(Inputs::requests(seed), share * 3, options.connections).await?;
    line("json-rpc requests", share * 3, good, begin);
    let begin = Instant::now();
    let good = door.knock(Inputs::paths(seed), share * 2, options.connections).await?;
    line("circle paths", share * 2, good, begin);
    let begin = Instant::now();
    let forged = secrets::keys_and_signatures(seed, share * 2);
    line("keys and signatures", share * 2, forged, begin);
    let begin = Instant::now();
    let rest = options.inputs - share * 7;
    let opened = secrets::nonces_and_tokens(seed, rest);
    line("nonces and tokens", rest, opened, begin);

    let growth = peak()?.saturating_sub(before);
    let panics = PANICS.load(Ordering::Relaxed);
    println!(
        "panics {panics}; memory beyond the first inputs: {:.1} MiB at most",
        growth as f64 / f64::from(1 << 20)
    );
    let is_kept = panics == 0 && growth <= MOST_GROWTH && forged + opened == 0;
    println!("fuzz: {}", if is_kept { "every promise was kept" } else { "BROKEN" });
    Ok(if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(door: &str, inputs: u64, good: u64, begin: Instant) {
    println!("{door:<24} {inputs:>12} {good:>12} {:>10.1}", begin.elapsed().as_secs_f64());
}

/// The most memory that this process has had in use.
fn peak() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("Linux says no VmHWM")?;
    let kib: u64 = line.split_ascii_whitespace().next().context("an empty line")?.parse()?;
    Ok(kib * 1024)
}
