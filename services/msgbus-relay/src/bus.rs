//! The bus as a port: requests of this node's own services, without Redis' protocol.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hero_domain::{ApiError, BusReply, BusRequest, Caller, DeadMessage, Reason, Result, Scope, ports::Bus};
use uuid::Uuid;

use crate::{
    intake::accept,
    ledger::Held,
    message::{Message, VERSION},
    relay::{Shared, destination_of, expiration_s, invalid_request, now_s, told},
};

/// Before the id of a request in the name of its return queue.
const RETURN: &str = "msgbus.result.";
/// Time on top of a request's own, for its timeout to come.
const MARGIN: Duration = Duration::from_secs(5);
/// Dead letters that are listed when the caller names no number.
const LISTED: u32 = 100;

/// The port over a running relay.
pub(crate) struct RelayBus(pub(crate) Shared);

impl RelayBus {
    /// Takes a request in; where its answers will be.
    async fn ask(&self, request: BusRequest, ret: String) -> Result<()> {
        request.validate()?;
        let message = Message {
            ver: VERSION,
            cmd: request.command,
            exp: request.expires_s.into(),
            retries: request.retries.into(),
            dat: BASE64_STANDARD.encode(request.data),
            dst: request.twins.into_iter().map(i64::from).collect(),
            ret,
            now: now_s(),
            ..Message::default()
        };
        if let Some(why) = invalid_request(&message) {
            return Err(ApiError::new(Reason::InvalidParams, why).with_field("command"));
        }
        let accepted = accept(&self.0, Held::default(), message).await;
        accepted.map(drop).ok_or_else(|| {
            ApiError::new(Reason::ShuttingDown, "the relay stops, and its queues cannot be reached")
        })
    }

    async fn replies(&self, ret: &str) -> Result<Vec<BusReply>> {
        let items = self.0.ledger.answers(ret).await.map_err(told)?;
        Ok(items.iter().filter_map(|item| Message::from_json(item).ok()).map(reply).collect())
    }
}

/// An answer, as the port tells it. A payload that is no base64 is taken for what it is.
fn reply(message: Message) -> BusReply {
    let twin = destination_of(&message.uid).and_then(|twin| u32::try_from(twin).ok());
    let error = (!message.err.is_empty()).then_some(message.err);
    let data = match error {
        // It is the request's own.
        Some(_) => Vec::new(),
        None => BASE64_STANDARD.decode(&message.dat).unwrap_or_else(|_| message.dat.into_bytes()),
    };
    BusReply { twin: twin.unwrap_or_default(), uid: message.uid, data, error }
}

/// The bus belongs to the node's twin, so a circle's caller may not speak for it.
fn check(caller: &Caller, scope: Scope) -> Result<()> {
    caller.require(scope)?;
    if caller.circle.is_some() {
        let words = "the message bus is the node's; call at the root, outside of circles";
        return Err(ApiError::new(Reason::ScopeInsufficient, words));
    }
    Ok(())
}

impl Bus for RelayBus {
    async fn call(
        &self,
        caller: &Caller,
        request: BusRequest,
        wait: Option<Duration>,
    ) -> Result<Vec<BusReply>> {
        check(caller, Scope::User)?;
        let expires_s = Message { exp: request.expires_s.into(), ..Message::default() };
        let own = Duration::from_secs(expiration_s(&expires_s).unsigned_abs()) + MARGIN;
        let (wanted, id) = (request.twins.len(), Uuid::new_v4().to_string());
        let ret = format!("{RETURN}{id}");
        let place = self.0.waiters.watch(&ret);
        self.ask(request, ret.clone()).await?;
        let all = async {
            loop {
                let replies = self.replies(&ret).await?;
                if replies.len() >= wanted {
                    return Ok(replies);
                }
                place.answered().await;
            }
        };
        let late = || {
            let words = format!("not every twin has answered yet; ask bus_result for {id}");
            Err(ApiError::new(Reason::WaitTimeout, words))
        };
        tokio::time::timeout(wait.unwrap_or(own), all).await.unwrap_or_else(|_| late())
    }

    async fn send(&self, caller: &Caller, request: BusRequest) -> Result<String> {
        check(caller, Scope::User)?;
        let id = Uuid::new_v4().to_string();
        self.ask(request, format!("{RETURN}{id}")).await?;
        Ok(id)
    }

    async fn result(&self, caller: &Caller, id: String) -> Result<Vec<BusReply>> {
        check(caller, Scope::User)?;
        let id: Uuid = id.parse().map_err(|_| {
            ApiError::new(Reason::IdMalformed, "is not an id that bus_send gives").with_field("id")
        })?;
        self.replies(&format!("{RETURN}{id}")).await
    }

    async fn list_dead(&self, caller: &Caller, limit: u32) -> Result<Vec<DeadMessage>> {
        check(caller, Scope::Admin)?;
        let most = if limit == 0 { LISTED } else { limit };
        let letters = self.0.ledger.dead(most as usize).await.map_err(told)?;
        let one = |letter: crate::ledger::DeadLetter| DeadMessage {
            message: String::from_utf8_lossy(&letter.bytes()).into_owned(),
            id: letter.id,
            queue: letter.queue,
            why: letter.why,
        };
        Ok(letters.into_iter().map(one).collect())
    }

    async fn requeue_dead(&self, caller: &Caller, ids: Vec<String>) -> Result<u64> {
        check(caller, Scope::Admin)?;
        self.0.ledger.requeue(&ids).await.map_err(told)
    }
}

impl RelayBus {
    pub(crate) fn new(relay: &Shared) -> Self {
        Self(Arc::clone(relay))
    }
}
