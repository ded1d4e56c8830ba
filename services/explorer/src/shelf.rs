//! The registry's memory in Redis, which replicas share.

use std::collections::{HashMap, HashSet};

use futures::future::try_join_all;
use hero_domain::{JobId, Node, NodeChange, NodeId, Standing};
use hero_redis::{Link, Result, Script, cmd, pipe};

/// Records by id.
const NODES: &str = "explorer:nodes";
/// What is newest, by id: the start and the counter of the heartbeat that the record is of.
const ORDERS: &str = "explorer:orders";
/// The key that belongs to each id: the first one that was seen.
const KEYS: &str = "explorer:keys";
/// Ids by the time that their record was written.
const SEEN: &str = "explorer:seen";
/// What admins have said, by id.
const STANDINGS: &str = "explorer:standings";
/// Changes of state of one node, the latest first.
const HISTORY: &str = "explorer:history:";
/// The node that a job was given to.
const JOB: &str = "explorer:job:";

/// Changes of state that are on their way to Redis at once.
const NOTED_AT_ONCE: usize = 100;
/// Changes of state that are kept of each node.
const KEPT_CHANGES: usize = 50;
/// How long it is known which node a job was given to: a day longer than a job is kept by default.
const KEPT_PLACES_S: u64 = 8 * 86_400;

/// Saves records that are newer than those that are there; those whose id belongs to another key come back.
const SAVE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local refused = {}
for at = 1, #ARGV, 5 do
  local id, started, counter, key, record = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local have = redis.call('HGET', KEYS[2], id)
  local is_newer = true
  if have then
    local s, c = have:match('(%d+) (%d+)')
    is_newer = tonumber(started) > tonumber(s) or (started == s and tonumber(counter) >= tonumber(c))
  end
  if key ~= '' then
    redis.call('HSETNX', KEYS[3], id, key)
    if redis.call('HGET', KEYS[3], id) ~= key then
      refused[#refused + 1] = id
      is_newer = false
    end
  end
  if is_newer then
    redis.call('HSET', KEYS[1], id, record)
    redis.call('HSET', KEYS[2], id, started .. ' ' .. counter)
    redis.call('ZADD', KEYS[4], now, id)
  end
end
return refused
";

/// Notes a change of state, unless another replica has noted it.
const NOTE: &str = r"
local last = redis.call('LINDEX', KEYS[1], 0)
local is_told = last and ARGV[1] ~= 'alive' and last:find('\x22state\x22:\x22' .. ARGV[1] .. '\x22', 1, true)
if not is_told then
  redis.call('LPUSH', KEYS[1], ARGV[2])
  redis.call('LTRIM', KEYS[1], 0, ARGV[3] - 1)
end
";

/// The shelf. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shelf {
    link: Link,
    scripts: std::sync::Arc<[Script; 2]>,
}

impl Shelf {
    pub(crate) fn new(link: Link) -> Self {
        Self { link, scripts: std::sync::Arc::new([Script::new(&[SAVE]), Script::new(&[NOTE])]) }
    }

    /// Saves records; the ids of those whose id belongs to another key.
    pub(crate) async fn save(&self, nodes: &[Node]) -> Result<Vec<NodeId>> {
        let keys = [NODES, ORDERS, KEYS, SEEN];
        let mut call = self.scripts[0].command(&keys, nodes.len() * 5, nodes.len() * 1_024);
        for node in nodes {
            let (started, counter) = node.beat.order();
            let key = node.public_key.as_deref().unwrap_or_default();
            // Histories have lists of their own.
            let record = serde_json::to_string(&Node { history: Vec::new(), ..node.clone() });
            call.arg(node.beat.node_id.as_str()).arg(started).arg(counter).arg(key);
            call.arg(record.unwrap_or_default());
        }
        let refused: Vec<String> = self.link.run(&self.scripts[0], &call).await?;
        Ok(refused.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Notes changes of state.
    pub(crate) async fn note(&self, changes: &[(NodeId, NodeChange)]) -> Result<()> {
        // Many at once after a start, when every node is new; those of one node in order, and so one after the other.
        let mut rest = changes;
        while !rest.is_empty() {
            let mut nodes = HashSet::new();
            let together = rest.iter().take(NOTED_AT_ONCE).take_while(|(id, _)| nodes.insert(id)).count();
            let (now, later) = rest.split_at(together);
            try_join_all(now.iter().map(|(id, change)| self.note_one(id, change))).await?;
            rest = later;
        }
        Ok(())
    }

    async fn note_one(&self, id: &NodeId, change: &NodeChange) -> Result<()> {
        let key = format!("{HISTORY}{id}");
        let mut call = self.scripts[1].command(&[&key], 3, 128);
        call.arg(change.state.as_str()).arg(serde_json::to_string(change).unwrap_or_default());
        call.arg(KEPT_CHANGES);
        self.link.run(&self.scripts[1], &call).await
    }

    /// Every record, as they are.
    pub(crate) async fn load(&self) -> Result<Vec<Node>> {
        let records: HashMap<String, String> = self.link.call(cmd("HGETALL").arg(NODES)).await?;
        Ok(records.values().filter_map(|record| read(record)).collect())
    }

    /// Every id that has a record.
    pub(crate) async fn ids(&self) -> Result<HashSet<NodeId>> {
        let ids: Vec<String> = self.link.call(cmd("HKEYS").arg(NODES)).await?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// The ids whose records were written at or after `since_ms` by the clock of Redis, and that clock.
    pub(crate) async fn written_since(&self, since_ms: u64) -> Result<(Vec<NodeId>, u64)> {
        let mut look = pipe();
        look.cmd("TIME");
        look.cmd("ZRANGEBYSCORE").arg(SEEN).arg(since_ms).arg("+inf");
        let ((seconds, micros), ids): ((u64, u64), Vec<String>) = self.link.call_all(&look).await?;
        let now = seconds * 1_000 + micros / 1_000;
        Ok((ids.iter().filter_map(|id| id.parse().ok()).collect(), now))
    }

    /// The records of these.
    pub(crate) async fn read(&self, ids: &[&NodeId]) -> Result<Vec<Node>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = cmd("HMGET");
        get.arg(NODES);
        for id in ids {
            get.arg(id.as_str());
        }
        let records: Vec<Option<String>> = self.link.call(&get).await?;
        Ok(records.iter().flatten().filter_map(|record| read(record)).collect())
    }

    /// The changes of state of one node, the latest first.
    pub(crate) async fn history(&self, id: &NodeId) -> Result<Vec<NodeChange>> {
        let key = format!("{HISTORY}{id}");
        let changes: Vec<String> = self.link.call(cmd("LRANGE").arg(key).arg(0).arg(-1)).await?;
        Ok(changes.iter().filter_map(|change| serde_json::from_str(change).ok()).collect())
    }

    /// Removes what is known of these nodes.
    pub(crate) async fn forget(&self, ids: &[NodeId]) -> Result<()> {
        let mut forget = pipe();
        forget.atomic();
        for id in ids {
            for key in [NODES, ORDERS, KEYS, STANDINGS] {
                forget.cmd("HDEL").arg(key).arg(id.as_str()).ignore();
            }
            forget.cmd("ZREM").arg(SEEN).arg(id.as_str()).ignore();
            forget.cmd("DEL").arg(format!("{HISTORY}{id}")).ignore();
        }
        if ids.is_empty() { Ok(()) } else { self.link.call_all(&forget).await }
    }

    /// Notes what an admin has said. One that is allowed loses its key, so that its next one is its own.
    pub(crate) async fn stand(&self, id: &NodeId, standing: Standing) -> Result<()> {
        let mut say = pipe();
        say.atomic();
        match standing {
            Standing::Banned => {
                say.cmd("HSET").arg(STANDINGS).arg(id.as_str()).arg(standing.as_str()).ignore();
            }
            Standing::Known | Standing::Allowed => {
                say.cmd("HDEL").arg(STANDINGS).arg(id.as_str()).ignore();
                say.cmd("HDEL").arg(KEYS).arg(id.as_str()).ignore();
            }
        }
        self.link.call_all(&say).await
    }

    /// Everybody that an admin has banned.
    pub(crate) async fn standings(&self) -> Result<HashMap<NodeId, Standing>> {
        let said: HashMap<String, String> = self.link.call(cmd("HGETALL").arg(STANDINGS)).await?;
        let said = said.iter().filter(|(_, word)| *word == Standing::Banned.as_str());
        Ok(said.filter_map(|(id, _)| Some((id.parse().ok()?, Standing::Banned))).collect())
    }

    /// Notes which node a job is given to.
    pub(crate) async fn place(&self, job: JobId, node: &NodeId) -> Result<()> {
        let mut set = cmd("SET");
        set.arg(format!("{JOB}{job}")).arg(node.as_str()).arg("EX").arg(KEPT_PLACES_S);
        self.link.call(&set).await
    }

    /// The node that a job was given to.
    pub(crate) async fn place_of(&self, job: JobId) -> Result<Option<NodeId>> {
        let node: Option<String> = self.link.call(cmd("GET").arg(format!("{JOB}{job}"))).await?;
        Ok(node.and_then(|id| id.parse().ok()))
    }
}

/// A record that cannot be read was written by another version; its node will be heard of again.
fn read(record: &str) -> Option<Node> {
    match serde_json::from_str(record) {
        Ok(node) => Some(node),
        Err(error) => {
            tracing::warn!(%error, "the record of a node cannot be read, leaving it out");
            None
        }
    }
}
