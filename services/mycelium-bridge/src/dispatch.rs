//! Requests into the one table of methods, by the way that the gateway takes too.

use bytes::Bytes;
use hero_domain::{ApiError, Caller, Reason};
use hero_jsonrpc::{CallsLayer, Options, RpcModule, Session, error_object, module};
use hero_proto::GrpcPorts;
use http_body_util::{BodyExt as _, Full};
use jsonrpsee::{
    core::middleware::RpcServiceBuilder,
    server::{
        BatchRequestConfig, Server, ServerConfig, ServerHandle, StopHandle, TowerServiceBuilder, stop_channel,
    },
    types::error::OVERSIZED_REQUEST_CODE,
};
use serde_json::{Value, json};
use tower::{
    Service as _,
    layer::util::{Identity, Stack},
};

use crate::config::LimitsConfig;

/// jsonrpsee reads a batch whole before its members are counted; what is this many times over the limit it refuses
/// itself.
const BATCH_BACKSTOP: usize = 10;

type RpcBuilder = TowerServiceBuilder<Stack<CallsLayer, Identity>, Identity>;

pub(crate) struct Dispatch {
    rpc: RpcBuilder,
    methods: RpcModule<()>,
    stop: StopHandle,
    /// What is dispatched ends when this is dropped.
    _handle: ServerHandle,
}

impl Dispatch {
    pub(crate) fn new(ports: GrpcPorts, limits: &LimitsConfig) -> Self {
        let (stop, handle) = stop_channel();
        let room = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let most = limits.max_batch_calls.saturating_mul(BATCH_BACKSTOP);
        let config = ServerConfig::builder()
            .max_request_body_size(room(limits.max_request_bytes.saturating_mul(2)))
            .max_response_body_size(room(limits.max_response_bytes))
            .set_batch_request_config(BatchRequestConfig::Limit(room(most)))
            .max_connections(u32::MAX >> 3)
            .build();
        let rpc = Server::builder()
            .set_config(config)
            .to_service_builder()
            .set_rpc_middleware(RpcServiceBuilder::new().layer(CallsLayer::new(limits.calls())));
        let options = Options {
            max_logs_bytes: limits.max_response_bytes / 2,
            max_output_bytes: limits.max_response_bytes,
            ..Options::default()
        };
        Self { rpc, methods: module(ports, options), stop, _handle: handle }
    }

    /// The answer to a request or a batch; empty: nothing in it wants one.
    pub(crate) async fn answer(&self, caller: Caller, request: String) -> Vec<u8> {
        let mut call = http::Request::new(Full::new(Bytes::from(request)));
        *call.method_mut() = http::Method::POST;
        let json = http::HeaderValue::from_static("application/json");
        call.headers_mut().insert(http::header::CONTENT_TYPE, json);
        call.extensions_mut().insert(Session::new(caller, None));
        let mut service = self.rpc.clone().build(self.methods.clone(), self.stop.clone());
        let body = match service.call(call).await {
            Ok(response) => response.into_body().collect().await.map(|body| body.to_bytes()),
            Err(error) => return refusal(&ApiError::internal(error)),
        };
        match body {
            Ok(bytes) => bytes.to_vec(),
            Err(error) => refusal(&ApiError::internal(error)),
        }
    }
}

/// The answer to what never becomes a call.
pub(crate) fn refusal(error: &ApiError) -> Vec<u8> {
    refusal_to(&Value::Null, error)
}

pub(crate) fn refusal_to(id: &Value, error: &ApiError) -> Vec<u8> {
    json!({"jsonrpc": "2.0", "id": id, "error": error_object(error, None)}).to_string().into_bytes()
}

/// The answer to what is no JSON.
pub(crate) fn parse_error(why: &str) -> Vec<u8> {
    let error = json!({"code": -32700, "message": format!("the message is no JSON-RPC request: {why}")});
    json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string().into_bytes()
}

/// The answer to a request over the limit, with the code that the other ways have for it.
pub(crate) fn request_too_large(bytes: usize, most: usize) -> Vec<u8> {
    let words = format!(
        "the request has {bytes} bytes, and at most {most} are taken over Mycelium; send it in parts, or keep the data \
         where the node can fetch it"
    );
    let error = json!({"code": OVERSIZED_REQUEST_CODE, "message": words, "data": {"reason": Reason::RequestTooLarge.as_str()}});
    json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string().into_bytes()
}

/// The answer in place of one that no message carries.
pub(crate) fn too_large(id: &Value, bytes: usize, most: usize) -> Vec<u8> {
    let words = format!(
        "the answer has {bytes} bytes, and a message carries {most}; ask for less at a time (get_job_output takes an \
         offset and a length), or fetch it through a gateway of that node"
    );
    refusal_to(id, &ApiError::new(Reason::ResponseTooLarge, words))
}
