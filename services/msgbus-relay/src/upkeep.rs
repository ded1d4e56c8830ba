//! What happens by the clock: sending again what is due, and timeouts. Each in its own loop, whatever comes in.

use std::time::Duration;

use hero_runtime::{Condition, Shutdown};

use crate::{
    ledger::Kind,
    outbox::dispatch,
    relay::{Shared, expiration_s},
    stats::{self, Event},
    twins::Unknown,
};

/// The pause between two looks when nothing is due.
const LOOK: Duration = Duration::from_millis(200);
/// What one look takes on.
const AT_ONCE: usize = 256;
/// The pause between two looks at Redis and at how much there is.
const WATCH: Duration = Duration::from_secs(1);

/// Sends what is due, until the shutdown.
pub(crate) async fn send_due(relay: Shared, kind: Kind, shutdown: Shutdown) -> anyhow::Result<()> {
    // At the start nothing is being sent, whatever was claimed.
    relay.ledger.release_claims(kind).await?;
    loop {
        let due = relay.ledger.claim(kind, AT_ONCE).await?;
        for id in &due {
            // `<dst>.<number>` or `<dst>:<uid>`.
            let dst = id.split(['.', ':']).next().and_then(|dst| dst.parse().ok());
            dispatch(&relay, dst.unwrap_or_default(), kind, id, None);
        }
        if due.len() < AT_ONCE && is_over(&shutdown).await {
            return Ok(());
        }
    }
}

/// Answers what has expired, until the shutdown.
pub(crate) async fn expire(relay: Shared, shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        let uids = relay.ledger.expired(AT_ONCE).await?;
        for uid in &uids {
            match relay.ledger.record(Kind::Request, uid).await? {
                Some(record) => {
                    let asked = if record.exp == 0 { expiration_s(&record) } else { record.exp };
                    let why = format!("request timeout (expiration reached, {asked})");
                    relay.fail(uid, &record, why, Event::Expired).await;
                }
                None => relay.ledger.forget_expiry(uid).await?,
            }
        }
        if uids.len() < AT_ONCE && is_over(&shutdown).await {
            return Ok(());
        }
    }
}

/// Says whether Redis is there, and how much the bus holds.
pub(crate) async fn watch(relay: Shared, redis: Condition, shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        match relay.ledger.depths().await {
            Ok(depths) => {
                redis.ready();
                stats::depths(depths);
            }
            Err(error) => redis.unready(error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH) => {}
            () = shutdown.requested() => return Ok(()),
        }
    }
}

/// Looks until others can find this twin in the registry with its key, and says why they cannot: their relays refuse it
/// until then.
pub(crate) async fn find_itself(relay: Shared, shutdown: Shutdown) -> anyhow::Result<()> {
    const LOOK: Duration = Duration::from_secs(3);
    let (mut told, account) = (String::new(), relay.key.public());
    loop {
        let why = match relay.twins.get(relay.me).await {
            Ok(twin) if twin.account == account => {
                tracing::info!(twin = relay.me, address = twin.address, "the node registry knows this twin");
                return Ok(());
            }
            Ok(_) => "another key has claimed it; ban or remove that node at the explorer (ban_node)".to_owned(),
            Err(Unknown::Missing) => {
                "no node has told of it yet; its supervisor does with `node.twin_id`, `twin_key`, `twin_address`"
                    .to_owned()
            }
            Err(unknown) => unknown.to_string(),
        };
        if why != told {
            let account = hex::encode(account);
            tracing::warn!(twin = relay.me, account, why, "other twins do not find this one");
            told = why;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => relay.twins.doubt(relay.me),
            () = shutdown.requested() => return Ok(()),
        }
    }
}

async fn is_over(shutdown: &Shutdown) -> bool {
    tokio::select! {
        () = tokio::time::sleep(LOOK) => false,
        () = shutdown.requested() => true,
    }
}

/// Waits, when it is time to stop, for what is being sent.
pub(crate) async fn finish_sending(relay: Shared, shutdown: Shutdown) -> anyhow::Result<()> {
    const LOOK: Duration = Duration::from_millis(10);
    shutdown.requested().await;
    while !relay.outbox.is_idle() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.grace_over() => break,
        }
    }
    Ok(())
}
