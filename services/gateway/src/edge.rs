//! From an HTTP request to a call: is it from a place that may call, who is it, how large is it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use bytes::Bytes;
use hero_domain::{ApiError, Caller, CircleKey, Reason, ports::Ports};
use hero_jsonrpc::{CallsLayer, Pace, Session, openrpc, over_http};
use hero_runtime::listen::Peer;
use hero_telemetry::trace_context::{TRACEPARENT, is_traceparent};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts, uri::Authority};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use jsonrpsee::{
    Methods,
    core::middleware::RpcServiceBuilder,
    server::{
        BatchRequestConfig, PingConfig, Server, ServerConfig, StopHandle, TowerServiceBuilder,
        http::content_type_is_json, ws::is_upgrade_request,
    },
};
use tower::{
    Service as _,
    layer::util::{Identity, Stack},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    auth::{Authenticator, Visitor},
    config::{GatewayConfig, LimitsConfig},
    offered,
    paces::{Paces, Whose},
    refusal, ui,
};

const USAGE: &str = "\
This is a Hero node: it runs scripts as jobs. It speaks JSON-RPC 2.0, over HTTP POST and over WebSocket, here.

    curl -H 'content-type: application/json' \\
         -d '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"run_job\",\"params\":[\"40 + 2\",\"OSIS\"]}' http://HOST/

Where a secret is needed, send it as `Authorization: Bearer <secret>`. Method `whoami` says who you are.
For people there is a dashboard at /ui.
";

/// jsonrpsee parses a batch whole before it is counted here; what is this many times over the limit it refuses itself.
const BATCH_BACKSTOP: usize = 10;

type RpcBuilder = TowerServiceBuilder<Stack<CallsLayer, Identity>, Identity>;

/// What every request needs.
pub(crate) struct Edge<P> {
    pub(crate) auth: Arc<Authenticator<P>>,
    rpc: RpcBuilder,
    methods: Methods,
    stop: StopHandle,
    places: Places,
    paces: Option<Paces>,
    max_request_bytes: u32,
    body_timeout: Duration,
}

impl<P: Ports> Edge<P> {
    pub(crate) fn new(
        config: &GatewayConfig,
        auth: Arc<Authenticator<P>>,
        methods: impl Into<Methods>,
        stop: StopHandle,
    ) -> Self {
        let limits = &config.limits;
        Self {
            auth,
            rpc: rpc_builder(limits),
            methods: methods.into(),
            stop,
            places: Places::new(config),
            paces: Paces::new(limits),
            max_request_bytes: limits.max_request_bytes,
            body_timeout: Duration::from_millis(limits.body_timeout_ms),
        }
    }

    /// The routes of the public port.
    pub(crate) fn router(self, config: &GatewayConfig) -> Router {
        let edge = Arc::new(self);
        let mut router = Router::new()
            .route("/", any(root::<P>))
            .route("/openrpc.json", get(discover))
            .route("/{circle_pk}", any(circle::<P>))
            .fallback(unknown);
        if config.ui {
            router = router.merge(ui::routes());
        }
        if let Some(cors) = cors(&config.allowed_origins) {
            router = router.layer(cors);
        }
        router.layer(from_fn_with_state(Arc::clone(&edge), check_place::<P>)).with_state(edge)
    }

    /// Who is behind a request: at the root, or at a circle. What is proved on a connection that is `lasting` holds
    /// for its later calls.
    async fn session(
        &self,
        circle: Option<&CircleKey>,
        parts: &Parts,
        is_lasting: bool,
    ) -> Result<Session, Response> {
        let headers = &parts.headers;
        let traceparent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let traceparent = traceparent.filter(|text| is_traceparent(text)).map(str::to_owned);
        let known = if is_lasting { Session::on_websocket } else { Session::new };
        let Some(circle) = circle else {
            let caller = self.auth.identify(headers).await.map_err(|error| refusal::call(&error))?;
            let pace = self.pace(Some(&caller), parts);
            return Ok(known(caller, traceparent).paced(pace));
        };
        match self.auth.identify_in(circle, headers).await.map_err(|error| refusal::call(&error))? {
            Visitor::Caller(caller) => {
                let pace = self.pace(Some(&caller), parts);
                Ok(known(caller, traceparent).paced(pace))
            }
            Visitor::Guest => {
                let session = Session::guest(circle.clone(), is_lasting, traceparent);
                Ok(session.paced(self.pace(None, parts)))
            }
        }
    }

    fn pace(&self, caller: Option<&Caller>, parts: &Parts) -> Option<Arc<Pace>> {
        let address = match parts.extensions.get::<Peer>() {
            Some(Peer::Tcp(address)) => Some(address.ip()),
            Some(Peer::Unix) | None => None,
        };
        self.paces.as_ref().map(|paces| paces.of(Whose::of(caller, address)))
    }

    async fn body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Response> {
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|bytes| bytes > u64::from(self.max_request_bytes)) {
            return Err(refusal::closing(refusal::too_large(self.max_request_bytes)));
        }
        let read = Limited::new(body, self.max_request_bytes as usize).collect();
        match tokio::time::timeout(self.body_timeout, read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(refusal::closing(refusal::too_large(self.max_request_bytes)))
            }
            Ok(Err(error)) => {
                let words = format!("the request's body cannot be read: {error}");
                Err(refusal::closing(refusal::request(StatusCode::BAD_REQUEST, "Malformed body", &words)))
            }
            Err(_) => {
                let words =
                    format!("the request's body did not arrive within {} ms", self.body_timeout.as_millis());
                Err(refusal::closing(refusal::request(
                    StatusCode::REQUEST_TIMEOUT,
                    "Request timeout",
                    &words,
                )))
            }
        }
    }

    /// Hands a request over to jsonrpsee.
    async fn dispatch(&self, request: http::Request<Body>) -> Response {
        let mut service = self.rpc.clone().build(self.methods.clone(), self.stop.clone());
        match service.call(request).await {
            Ok(response) => over_http(response).map(Body::new),
            Err(error) => refusal::call(&ApiError::internal(error)),
        }
    }
}

fn rpc_builder(limits: &LimitsConfig) -> RpcBuilder {
    let most = limits.max_batch_calls.saturating_mul(BATCH_BACKSTOP);
    let ping = PingConfig::new()
        .ping_interval(Duration::from_millis(limits.ping_interval_ms))
        .inactive_limit(Duration::from_millis(limits.idle_timeout_ms))
        .max_failures(1);
    let config = ServerConfig::builder()
        .max_request_body_size(limits.max_request_bytes)
        .max_response_body_size(limits.max_response_bytes)
        .set_batch_request_config(BatchRequestConfig::Limit(u32::try_from(most).unwrap_or(u32::MAX)))
        .set_message_buffer_capacity(limits.max_unsent_responses)
        .max_subscriptions_per_connection(limits.max_subscriptions_per_connection)
        .enable_ws_ping(ping)
        // Connections are bounded where they are accepted, each with one request at a time.
        .max_connections(u32::MAX >> 3)
        .build();
    Server::builder()
        .set_config(config)
        .to_service_builder()
        .set_rpc_middleware(RpcServiceBuilder::new().layer(CallsLayer::new(limits.calls())))
}

async fn root<P: Ports>(State(edge): State<Arc<Edge<P>>>, request: Request) -> Response {
    serve(&edge, None, request).await
}

/// A circle that is not served is refused before anything else: before the body is read, before an upgrade.
async fn circle<P: Ports>(
    State(edge): State<Arc<Edge<P>>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    match edge.auth.circle(&path).await {
        Ok(Some(circle)) => serve(&edge, Some(&circle), request).await,
        Ok(None) => refusal::circle_not_found(&path),
        Err(error) => refusal::call(&error),
    }
}

async fn serve<P: Ports>(edge: &Edge<P>, circle: Option<&CircleKey>, request: Request) -> Response {
    let method = request.method();
    if *method == Method::POST {
        return post(edge, circle, request).await;
    }
    if *method == Method::GET && is_upgrade_request(&request) {
        return upgrade(edge, circle, request).await;
    }
    if *method == Method::GET || *method == Method::HEAD {
        return USAGE.into_response();
    }
    let words = "POST makes a call, GET with an upgrade opens a WebSocket";
    let mut response = refusal::request(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", words);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    response
}

/// What can be called, for tools; it tells nothing that is not in the documentation.
async fn discover() -> Response {
    axum::Json(openrpc()).into_response()
}

async fn unknown(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    let words = format!(
        "there is nothing at '{path}'; JSON-RPC is served at '/', and a circle's at '/{{circle_pk}}'"
    );
    refusal::request(StatusCode::NOT_FOUND, "Not found", &words)
}

async fn post<P: Ports>(edge: &Edge<P>, circle: Option<&CircleKey>, request: Request) -> Response {
    if !content_type_is_json(&request) {
        let words = "a call is JSON; send it with `content-type: application/json`";
        return refusal::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported content type", words);
    }
    let (mut parts, body) = request.into_parts();
    let session = match edge.session(circle, &parts, false).await {
        Ok(session) => session,
        Err(refused) => return refused,
    };
    let body = match edge.body(&parts.headers, body).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    // What axum and hyper noted on the way would be copied for every call of a batch.
    parts.extensions = http::Extensions::new();
    parts.extensions.insert(session);
    edge.dispatch(http::Request::from_parts(parts, Body::new(Full::new(body)))).await
}

async fn upgrade<P: Ports>(edge: &Edge<P>, circle: Option<&CircleKey>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let is_offered = offered::take(&mut parts.headers);
    let session = match edge.session(circle, &parts, true).await {
        Ok(session) => session,
        Err(refused) => return refused,
    };
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    parts.extensions = http::Extensions::new();
    parts.extensions.insert(session);
    if let Some(on_upgrade) = on_upgrade {
        parts.extensions.insert(on_upgrade);
    }
    let mut response = edge.dispatch(http::Request::from_parts(parts, body)).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if is_offered {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, offered::PROTOCOL);
        }
        return response;
    }
    let words = "the WebSocket handshake is not complete; version 13 with a Sec-WebSocket-Key is taken";
    refusal::request(StatusCode::BAD_REQUEST, "Malformed handshake", words)
}

/// From where a request may come. A server on loopback that asks nobody for a secret must not answer every web
/// page that its user opens, nor a page that has made its own name point here.
struct Places {
    hosts: Vec<String>,
    origins: Vec<String>,
    loopback_only: bool,
}

impl Places {
    fn new(config: &GatewayConfig) -> Self {
        let is_local_port = config.listen.is_local() && config.listen.port().is_some();
        Self {
            hosts: config.allowed_hosts.clone(),
            origins: config.allowed_origins.clone(),
            loopback_only: is_local_port && config.allowed_hosts.is_empty(),
        }
    }

    /// Why a request may not come from where it comes; none: it may.
    fn refuse(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        let named = headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let host = request.uri().authority().map(Authority::as_str).or(named).unwrap_or_default();
        if !self.takes_host(host) {
            let words = "this server does not go by that name; call it by its address, or add the name to \
                         `allowed_hosts`";
            return Some(refusal::request(StatusCode::FORBIDDEN, "Host not allowed", words));
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        if origins.all(|origin| origin.to_str().is_ok_and(|origin| self.takes_origin(origin, host))) {
            return None;
        }
        let words = "pages of that origin may not call this server; add it to `allowed_origins` if they may";
        Some(refusal::request(StatusCode::FORBIDDEN, "Origin not allowed", words))
    }

    fn takes_host(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return !self.loopback_only && self.hosts.is_empty();
        };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        if self.loopback_only {
            return name.eq_ignore_ascii_case("localhost")
                || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        }
        let is_taken = |taken: &String| taken == "*" || taken.eq_ignore_ascii_case(name);
        self.hosts.is_empty() || self.hosts.iter().any(is_taken)
    }

    /// A page of this very server may call it.
    fn takes_origin(&self, origin: &str, host: &str) -> bool {
        let own = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
        own || self.origins.iter().any(|taken| taken == "*" || taken.eq_ignore_ascii_case(origin))
    }
}

async fn check_place<P: Ports>(State(edge): State<Arc<Edge<P>>>, request: Request, next: Next) -> Response {
    match edge.places.refuse(&request) {
        None => next.run(request).await,
        Some(refused) => refused,
    }
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    let allowed = if origins.is_empty() {
        return None;
    } else if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let headers = [header::CONTENT_TYPE, header::AUTHORIZATION, HeaderName::from_static(TRACEPARENT)];
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(headers),
    )
}

/// A connection over the limit gets one answer, and this is it.
pub(crate) fn too_many_connections(max: usize) -> Response {
    let words = format!("{max} connections are open, which is the most; close some, or repeat later");
    let error = ApiError::new(Reason::TooManyRequests, words).with_retry_after_ms(1_000);
    refusal::closing(refusal::call(&error))
}
