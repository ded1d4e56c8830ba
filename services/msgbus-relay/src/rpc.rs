//! JSON-RPC over the bus: the payload of a `hero.rpc` is a request, that of its reply the response. It goes through
//! the same table of methods as over HTTP, with the scope that the configuration gives the asking twin.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hero_domain::{Caller, Scope};
use hero_jsonrpc::{Options, RpcModule, Session, module};
use hero_proto::{Calls, GrpcPorts};
use hero_runtime::grpc;
use hero_telemetry::trace_context;

use crate::{
    config::{RelayConfig, RpcConfig},
    intake::forward,
    ledger::Held,
    message::Message,
    relay::{Relay, Shared, now_s},
    stats::{self, Event},
};

/// The table, and who may use it for what.
pub(crate) struct Rpc {
    module: RpcModule<()>,
    config: RpcConfig,
}

impl Rpc {
    /// Asks the supervisor of the configuration.
    pub(crate) fn new(config: &RelayConfig) -> Self {
        let channel = grpc::channel(&config.rpc.supervisor, &config.rpc.channel);
        let calls = Calls { traceparent: trace_context::current_traceparent, ..Calls::default() }
            .with_token(config.rpc.channel.token.expose());
        let module = module(GrpcPorts::new(channel, &calls), Options::default());
        Self { module, config: config.rpc.clone() }
    }

    /// The caller that a twin is; none: it may nothing.
    fn caller(&self, twin: i64) -> Option<Caller> {
        let has = |twins: &[u32]| twins.iter().any(|named| i64::from(*named) == twin);
        let scope = match () {
            () if has(&self.config.admin) => Scope::Admin,
            () if has(&self.config.user) => Scope::User,
            () => return None,
        };
        Some(Caller { name: format!("twin:{twin}"), scope, circle: None })
    }

    async fn answer(&self, request: &Message, trace: &str) -> Result<String, String> {
        let caller = self.caller(request.src);
        let caller = caller.ok_or_else(|| format!("twin {} may not call hero.rpc here", request.src))?;
        let payload = BASE64_STANDARD.decode(&request.dat);
        let payload = payload.map_err(|error| format!("the payload is no base64: {error}"))?;
        let text = str::from_utf8(&payload).map_err(|_| "the payload is no text".to_owned())?;
        let mut methods = self.module.clone();
        let traceparent = Some(trace.to_owned());
        methods.extensions_mut().insert(Session::new(caller, traceparent.clone()));
        let called = trace_context::carry(traceparent, methods.raw_json_request(text, 1)).await;
        let (response, _) = called.map_err(|error| format!("the payload is no JSON-RPC request: {error}"))?;
        Ok(BASE64_STANDARD.encode(response.get()))
    }
}

/// Serves one `hero.rpc`; its reply is on its way when the item is let go.
pub(crate) async fn serve(relay: &Shared, held: Held<'_>, request: Message) {
    let trace = stats::trace(request.src, &request.uid);
    let answer = tokio::select! {
        answer = relay.rpc.answer(&request, &trace) => answer,
        // It is served again after the next start.
        () = relay.shutdown.grace_over() => return,
    };
    let (dat, err) = match answer {
        Ok(dat) => (dat, String::new()),
        Err(err) => (String::new(), err),
    };
    let asker = request.src;
    let reply = Message { src: relay.me, dst: vec![asker], dat, err, now: now_s(), ..request };
    if reply.pxy {
        relay.insist("proxied", || relay.ledger.proxied(held, &reply)).await;
    } else if asker == relay.me {
        let uid = &reply.uid;
        relay.insist("answer", || relay.answer(held, uid, &reply, Event::Answered)).await;
    } else {
        forward(relay, held, asker, reply).await;
    }
}

impl Relay {
    /// Whether `hero.rpc` is served here and not by a program of the twin's own.
    pub(crate) const fn serves_rpc(&self) -> bool {
        self.config.rpc.is_on()
    }
}
