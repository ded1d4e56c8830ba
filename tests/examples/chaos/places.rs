//! A look into Redis itself: where ids stand, and which ends are announced.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use redis::streams::{StreamReadOptions, StreamReadReply};
use tokio_util::sync::CancellationToken;

use crate::{ledger::Ledger, node::Node};

/// Where a started job that has not ended stands, in one consistent look.
const LOOK: &str = r"
local places = {}
for _, key in ipairs(redis.call('KEYS', 'hero:q:*')) do
  local kind = string.match(key, '^hero:q:(%a+)')
  if kind == 'work' or kind == 'inflight' then
    places[#places + 1] = {key, redis.call('LRANGE', key, 0, -1)}
  elseif kind == 'delayed' then
    places[#places + 1] = {key, redis.call('ZRANGE', key, 0, -1)}
  end
end
local waiting = 'hero:jobs:status:waiting_for_prerequisites'
places[#places + 1] = {waiting, redis.call('ZRANGE', waiting, 0, -1)}
local jobs = {}
for i, id in ipairs(ARGV) do
  local job = redis.call('HMGET', 'hero:job:' .. id, 'status', 'runner_id', 'queued_at')
  jobs[i] = {id, job[1] or 'gone', job[2] or ''}
end
return {places, jobs}
";

type Look = (Vec<(String, Vec<String>)>, Vec<(String, String, String)>);

/// Looks until the token is cancelled.
pub(crate) fn sample(
    node: Arc<Node>,
    ledger: Ledger,
    over: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while !over.is_cancelled() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // While Redis is hurt there is nothing to see.
            let Ok(redis) = node.redis.try_lock() else { continue };
            let broken = tokio::task::block_in_place(|| look(node.redis_url(), &ledger.unfinished()));
            drop(redis);
            if let Ok(broken) = broken {
                broken.into_iter().for_each(|words| ledger.broke(words));
            }
        }
    })
}

/// Every started job that has not ended stands in exactly one place; what does not, in words.
pub(crate) fn look(url: &str, ids: &[String]) -> anyhow::Result<Vec<String>> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let (places, jobs): Look = redis::cmd("EVAL").arg(LOOK).arg(0).arg(ids).query(&mut connection)?;
    let mut of: HashMap<&str, Vec<&str>> = HashMap::new();
    for (place, ids) in &places {
        ids.iter().for_each(|id| of.entry(id).or_default().push(place));
    }
    let mut broken = Vec::new();
    for (id, status, runner) in &jobs {
        let stands = of.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let is_fine = match (status.as_str(), stands) {
            ("finished" | "error", []) => true,
            // What was stopped in a long queue is dropped when its turn comes.
            ("error", [place]) => place.starts_with("hero:q:work"),
            ("dispatched", [place]) => !place.contains("waiting"),
            ("waiting_for_prerequisites", [place]) => place.contains("waiting"),
            ("started", [place]) => place.strip_prefix("hero:q:inflight:") == Some(runner.as_str()),
            _ => false,
        };
        if !is_fine {
            broken.push(format!("{id}: it is {status} (runner `{runner}`) and stands in {stands:?}"));
        }
    }
    Ok(broken)
}

/// What stands anywhere when everything has ended: nothing.
pub(crate) fn leftovers(url: &str) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let (places, _): Look = redis::cmd("EVAL").arg(LOOK).arg(0).query(&mut connection)?;
    Ok(places.into_iter().filter(|(_, ids)| !ids.is_empty()).map(|(place, ids)| (place, ids.len())).collect())
}

/// Ends the reader with the value.
pub(crate) struct Following(#[expect(dead_code, reason = "held for its end")] tokio_util::sync::DropGuard);

/// Counts the announced ends of every job, over every outage.
pub(crate) fn follow_events(url: &str, ledger: Ledger) -> Following {
    let over = CancellationToken::new();
    let (url, token) = (url.to_owned(), over.clone());
    std::thread::spawn(move || {
        let mut last = "0-0".to_owned();
        while !token.is_cancelled() {
            if read_on(&url, &ledger, &mut last, &token).is_err() {
                pause();
            }
        }
    });
    Following(over.drop_guard())
}

fn read_on(
    url: &str,
    ledger: &Ledger,
    last: &mut String,
    token: &CancellationToken,
) -> redis::RedisResult<()> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let first: Vec<(String, Vec<String>)> = redis::cmd("XRANGE")
        .arg("hero:events")
        .arg("-")
        .arg("+")
        .arg("COUNT")
        .arg(1)
        .query(&mut connection)?;
    if first.first().is_some_and(|(first, _)| last != "0-0" && order(first) > order(last)) {
        ledger.missed_announcements();
    }
    let options = StreamReadOptions::default().block(500).count(500);
    while !token.is_cancelled() {
        let mut read = redis::cmd("XREAD");
        read.arg(&options).arg("STREAMS").arg("hero:events").arg(last.as_str());
        let Some(reply) = read.query::<Option<StreamReadReply>>(&mut connection)? else { continue };
        for entry in reply.keys.into_iter().flat_map(|stream| stream.ids) {
            let kind: String = entry.get("k").unwrap_or_default();
            let ids: String = entry.get("ids").unwrap_or_default();
            if kind == "finished" || kind == "failed" {
                ids.split(' ').for_each(|id| ledger.announce(id));
            }
            *last = entry.id;
        }
    }
    Ok(())
}

fn order(entry: &str) -> (u64, u64) {
    let (ms, number) = entry.split_once('-').unwrap_or((entry, "0"));
    (ms.parse().unwrap_or_default(), number.parse().unwrap_or_default())
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, for a moment")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
