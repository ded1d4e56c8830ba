//! The measurements, in the order in which they run. Each starts a fresh node, so that none inherits another's
//! backlog, and ends it before the next begins.

mod bus;
mod edge;
mod end_to_end;
mod enqueue;
mod exchange;
mod explorer;
mod idle;
mod overlay;
mod pick_up;
mod python;
mod run_job;
mod scripts;
mod waiting;

use std::{fs::File, path::Path};

use crate::{
    floors,
    node::{Binaries, Node, Staff},
    options::{Case, Options, Sizes},
    redis_server::RedisServer,
    report::{Report, say},
};

/// What every measurement is given.
struct Bench<'a> {
    options: &'a Options,
    binaries: Binaries,
    sizes: Sizes,
    report: Report,
}

impl Bench<'_> {
    async fn node(&self, name: &str, staff: Staff) -> anyhow::Result<Node> {
        Node::start(self.options, &self.binaries, name, staff).await
    }
}

/// Two runs at once would measure each other.
fn wait_for_the_machine() -> anyhow::Result<File> {
    let lock = File::create(std::env::temp_dir().join("hero-bench.lock"))?;
    if lock.try_lock().is_err() {
        say("another bench is running on this machine; waiting for its end");
        lock.lock()?;
    }
    Ok(lock)
}

/// Measures what the options ask for.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let _alone = wait_for_the_machine()?;
    let binaries = Binaries::of(options.services.as_deref())?;
    let mut bench = Bench { options, binaries, sizes: options.sizes(), report: Report::default() };
    let folder = tempfile::tempdir()?;
    measure_floors(&mut bench, folder.path()).await?;
    if options.wants(Case::Idle) {
        idle::measure(&mut bench).await?;
    }
    if options.wants(Case::Edge) {
        edge::measure(&mut bench).await?;
    }
    if options.wants(Case::Enqueue) {
        enqueue::measure(&mut bench).await?;
    }
    if options.wants(Case::EndToEnd) {
        end_to_end::measure(&mut bench).await?;
    }
    if options.wants(Case::RunJob) {
        run_job::measure(&mut bench).await?;
    }
    if options.wants(Case::PickUp) {
        pick_up::measure(&mut bench).await?;
    }
    if options.wants(Case::Python) {
        python::measure(&mut bench).await?;
    }
    if options.wants(Case::Scripts) {
        scripts::measure(&mut bench).await?;
    }
    if options.wants(Case::Exchange) {
        exchange::measure(&mut bench).await?;
    }
    if options.wants(Case::Waiting) {
        waiting::measure(&mut bench).await?;
    }
    if options.wants(Case::Explorer) {
        explorer::measure(&mut bench).await?;
    }
    if options.wants(Case::Overlay) {
        overlay::measure(&mut bench).await?;
    }
    if options.wants(Case::Bus) {
        bus::measure(&mut bench).await?;
    }
    say("");
    say(bench.report.table().trim_end());
    if let Some(path) = &options.json {
        bench.report.write_json(path)?;
    }
    Ok(())
}

async fn measure_floors(bench: &mut Bench<'_>, folder: &Path) -> anyhow::Result<()> {
    let redis = RedisServer::start(folder, bench.options.aof).await?;
    let about = &mut bench.report.about;
    about.insert("redis", redis.version()?);
    about.insert("aof", if bench.options.aof { "everysec" } else { "off" }.to_owned());
    about.insert(
        "sizes",
        if bench.options.quick { "quick: these figures mean little" } else { "full" }.into(),
    );
    about.insert("processor", processor());
    about.insert("cores", std::thread::available_parallelism().map_or(0, usize::from).to_string());
    about.insert("build", if cfg!(debug_assertions) { "debug: no figure counts" } else { "release" }.into());
    floors::measure(&mut bench.report, bench.sizes, folder, &redis).await
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or("unknown", |(_, name)| name.trim()).to_owned()
}
