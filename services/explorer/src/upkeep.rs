//! What goes on by itself: judging silence, saving what was heard, reading what replicas have heard.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, LazyLock},
    time::Duration,
};

use hero_domain::{NodeChange, NodeId, NodeState};
use hero_runtime::{Condition, Shutdown};
use hero_telemetry::{Attributes, metrics, names};

use crate::nodes::{Shared, now};

/// Records that one call to Redis takes along.
const SAVED_AT_ONCE: usize = 256;
/// How far back a look at what replicas have written goes beyond the last look.
const OVERLAP_MS: u64 = 1_000;
/// Rounds whose writes are known to be our own; more than an overlap of looks.
const ROUNDS_REMEMBERED: usize = 4;
/// Looks between two comparisons of all ids and standings.
const LOOKS_BETWEEN_COMPARISONS: u32 = 10;

static STATES: LazyLock<[Attributes; 4]> =
    LazyLock::new(|| NodeState::ALL.map(|state| Attributes::new(&[(names::NODE_STATE, state.as_str())])));

/// Judges silence until the shutdown.
pub(crate) async fn judge(shared: Arc<Shared>, shutdown: Shutdown) -> anyhow::Result<()> {
    let pause = Duration::from_millis(shared.config.judge_interval_ms);
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.draining() => return Ok(()),
        }
        let (forgotten, counts) = {
            let mut registry = shared.registry.lock();
            (registry.judge(&shared.config, now()), registry.counts())
        };
        for (count, label) in counts.into_iter().zip(STATES.iter()) {
            metrics().nodes.set(count, label);
        }
        // One that is still on the shelf comes back with the next comparison, and is forgotten again.
        if let Err(error) = shared.shelf.forget(&forgotten).await {
            tracing::warn!(%error, "long silent nodes were not removed; the next look tries again");
        }
    }
}

/// Saves and reads until the shutdown; what was heard last is saved after it.
pub(crate) async fn share(
    shared: Arc<Shared>,
    condition: Condition,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let pause = Duration::from_millis(shared.config.save_interval_ms);
    let mut reader = Reader { shared: Arc::clone(&shared), since_ms: None, mine: VecDeque::new(), looks: 0 };
    loop {
        match reader.round().await {
            Ok(()) => condition.ready(),
            Err(error) => condition.unready(format!("redis does not answer: {error}")),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.requested() => {
                if reader.since_ms.is_none() {
                    reader.load().await?;
                }
                save(&shared).await?;
                return Ok(());
            }
        }
    }
}

/// Saves what the shelf does not have; the ids of it. A change is noted before the record that it changed: an explorer
/// that is killed in between leaves a change that its successor may note again, never one that nobody notes.
async fn save(shared: &Shared) -> hero_redis::Result<HashSet<NodeId>> {
    let _saving = shared.saving.lock().await;
    let mut saved = HashSet::new();
    loop {
        let (changes, nodes) = {
            let mut registry = shared.registry.lock();
            (registry.take_changes(), registry.take_unsaved(SAVED_AT_ONCE))
        };
        if let Err(error) = note_these(shared, changes).await {
            shared.registry.lock().put_back(&nodes);
            return Err(error);
        }
        if nodes.is_empty() {
            return Ok(saved);
        }
        match shared.shelf.save(&nodes).await {
            Ok(refused) => {
                for id in refused {
                    tracing::warn!(node = %id, "a node came with another key than the one that belongs to its id");
                    shared.registry.lock().forget(&id);
                }
            }
            Err(error) => {
                shared.registry.lock().put_back(&nodes);
                return Err(error);
            }
        }
        saved.extend(nodes.into_iter().map(|node| node.beat.node_id));
    }
}

/// Notes the changes that were not noted yet. Not before everything was read: see [`Reader::round`].
pub(crate) async fn note(shared: Arc<Shared>) -> hero_redis::Result<()> {
    let _saving = shared.saving.lock().await;
    let changes = shared.registry.lock().take_changes();
    note_these(&shared, changes).await
}

async fn note_these(shared: &Shared, changes: Vec<(NodeId, NodeChange)>) -> hero_redis::Result<()> {
    let noted = shared.shelf.note(&changes).await;
    if noted.is_err() {
        shared.registry.lock().put_back_changes(changes);
    }
    noted
}

/// Reads what others have written.
struct Reader {
    shared: Arc<Shared>,
    /// Until when, by the clock of Redis, everything was read; none: nothing yet.
    since_ms: Option<u64>,
    /// What this explorer itself has written lately.
    mine: VecDeque<HashSet<NodeId>>,
    looks: u32,
}

impl Reader {
    /// Nothing is saved before everything was read: what this explorer hears in its first moments is news of a node
    /// that the shelf may know.
    async fn round(&mut self) -> hero_redis::Result<()> {
        let Some(since) = self.since_ms else { return self.load().await };
        let mine = save(&self.shared).await?;
        self.look(since, mine).await
    }

    async fn load(&mut self) -> hero_redis::Result<()> {
        let shelf = &self.shared.shelf;
        let (_, now) = shelf.written_since(u64::MAX >> 12).await?;
        let nodes = shelf.load().await?;
        let standings = shelf.standings().await?;
        let mut registry = self.shared.registry.lock();
        nodes.into_iter().for_each(|node| registry.remember(node));
        registry.stand_all(&standings);
        self.since_ms = Some(now);
        // Read again by a task that was started again, it was set before.
        let _ = self.shared.loaded.set(());
        Ok(())
    }

    async fn look(&mut self, since: u64, mine: HashSet<NodeId>) -> hero_redis::Result<()> {
        self.mine.push_front(mine);
        self.mine.truncate(ROUNDS_REMEMBERED);
        let shelf = &self.shared.shelf;
        let (written, now) = shelf.written_since(since.saturating_sub(OVERLAP_MS)).await?;
        let theirs: Vec<&NodeId> =
            written.iter().filter(|id| !self.mine.iter().any(|mine| mine.contains(id))).collect();
        let nodes = shelf.read(&theirs).await?;
        {
            let mut registry = self.shared.registry.lock();
            nodes.into_iter().for_each(|node| registry.merge(node));
        }
        self.since_ms = Some(now);
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_BETWEEN_COMPARISONS) {
            let (ids, standings) = (shelf.ids().await?, shelf.standings().await?);
            let mut registry = self.shared.registry.lock();
            registry.keep_only(&ids);
            registry.stand_all(&standings);
        }
        Ok(())
    }
}
