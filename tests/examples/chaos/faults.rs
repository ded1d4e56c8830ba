//! What happens to the processes, drawn by the seed.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::{ledger::Ledger, node::Node};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// SIGKILL, and a restart after the pause.
    Kill,
    /// SIGSTOP, and SIGCONT after the pause.
    Freeze,
    /// SIGTERM, and a restart once it has ended.
    Restart,
    /// Every connection is cut.
    CutConnections,
    /// The scripts are forgotten.
    ForgetScripts,
}

/// How often what happened to whom.
#[derive(Default)]
pub(crate) struct Table {
    counts: Mutex<BTreeMap<(String, Fault), u32>>,
    /// Faults that can cost a runner its lease.
    losses: AtomicU32,
}

impl Table {
    fn count(&self, whom: &str, fault: Fault) {
        let takes_leases = whom == "redis" || whom.starts_with("runner");
        if takes_leases && matches!(fault, Fault::Kill | Fault::Freeze) {
            self.losses.fetch_add(1, Ordering::Relaxed);
        }
        *self.counts.lock().entry((whom.to_owned(), fault)).or_default() += 1;
    }

    /// How many deliveries the faults can have cost one job.
    pub(crate) fn losses(&self) -> u32 {
        self.losses.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.lock();
        let faults =
            [Fault::Kill, Fault::Freeze, Fault::Restart, Fault::CutConnections, Fault::ForgetScripts];
        writeln!(
            f,
            "\n{:<14}{:>8}{:>8}{:>9}{:>9}{:>9}",
            "", "kill -9", "frozen", "SIGTERM", "cut off", "flushed"
        )?;
        let mut names: Vec<&String> = counts.keys().map(|(name, _)| name).collect();
        names.dedup();
        for name in names {
            write!(f, "{name:<14}")?;
            for (fault, width) in faults.iter().zip([8, 8, 9, 9, 9]) {
                match counts.get(&(name.clone(), *fault)) {
                    Some(count) => write!(f, "{count:>width$}")?,
                    None => write!(f, "{:>width$}", "-")?,
                }
            }
            writeln!(f)?;
        }
        write!(f, "{} faults", counts.values().sum::<u32>())
    }
}

/// Lets faults happen for `length`, and returns when the last one is over.
pub(crate) async fn rage(seed: u64, node: Arc<Node>, ledger: Ledger, length: Duration) -> Arc<Table> {
    let table = Arc::new(Table::default());
    let mut rng = StdRng::seed_from_u64(seed);
    let (begun, mut running) = (Instant::now(), JoinSet::new());
    while begun.elapsed() < length {
        let pause = Duration::from_millis(rng.random_range(200..2_500));
        tokio::time::sleep(pause.min(length.saturating_sub(begun.elapsed()))).await;
        // Now and then long enough to cost a lease and more.
        let longest = if rng.random_ratio(1, 4) { 20_000 } else { 4_000 };
        let pause = Duration::from_millis(rng.random_range(100..longest));
        let pause = pause.min(length / 4);
        let (node, ledger, table) = (Arc::clone(&node), ledger.clone(), Arc::clone(&table));
        if rng.random_ratio(1, 4) {
            let fault = [Fault::Kill, Fault::Freeze, Fault::CutConnections, Fault::ForgetScripts];
            let fault = fault[rng.random_range(0..fault.len())];
            running.spawn(async move { hurt_redis(&node, fault, pause, &table, &ledger).await });
        } else {
            let whom = rng.random_range(0..node.members.len());
            let fault = [Fault::Kill, Fault::Freeze, Fault::Restart][rng.random_range(0..3)];
            running.spawn(async move { hurt_member(&node, whom, fault, pause, &table, &ledger).await });
        }
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    table
}

async fn hurt_redis(node: &Node, fault: Fault, pause: Duration, table: &Table, ledger: &Ledger) {
    // One that is being hurt already is left alone.
    let Ok(mut redis) = node.redis.try_lock() else { return };
    table.count("redis", fault);
    let command = |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        redis.connection().and_then(|mut connection| Ok(command.exec(&mut connection)?))
    };
    let done = match fault {
        Fault::CutConnections => command(&["CLIENT", "KILL", "TYPE", "normal"]),
        Fault::ForgetScripts => command(&["FUNCTION", "FLUSH"]),
        Fault::Freeze => {
            let frozen = redis.freeze();
            tokio::time::sleep(pause).await;
            frozen.and(redis.thaw())
        }
        Fault::Kill | Fault::Restart => {
            redis.kill();
            tokio::time::sleep(pause).await;
            tokio::task::block_in_place(|| redis.restart())
        }
    };
    if let Err(error) = done {
        ledger.broke(format!("redis: {error:#}"));
    }
}

async fn hurt_member(
    node: &Node,
    whom: usize,
    fault: Fault,
    pause: Duration,
    table: &Table,
    ledger: &Ledger,
) {
    let Ok(mut member) = node.members[whom].try_lock() else { return };
    table.count(&member.name.clone(), fault);
    match fault {
        Fault::Freeze => {
            member.signal(Signal::STOP, ledger);
            tokio::time::sleep(pause).await;
            return member.signal(Signal::CONT, ledger);
        }
        Fault::Restart => member.stop(ledger).await,
        Fault::Kill | Fault::CutConnections | Fault::ForgetScripts => {
            member.kill(ledger).await;
            tokio::time::sleep(pause).await;
        }
    }
    if let Err(error) = member.restart() {
        ledger.broke(format!("{error:#}"));
    }
}
