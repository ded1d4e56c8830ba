//! The gRPC server of a service: its own services, health and reflection.

use std::{convert::Infallible, io, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt as _, stream::BoxStream};
use hero_config::{Invalid, Secret, Validate, ensure};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde::{Deserialize, Serialize};
use tonic::{body::Body, server::NamedService, service::RoutesBuilder};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::Service;

use super::{
    CONNECTION_WINDOW, STREAM_WINDOW,
    guard::{GuardLayer, validate_token},
    observe::ObserveLayer,
};
use crate::{
    Address, Health, Listener, Shutdown,
    listen::{Acceptor, Stream, TlsConfig},
};

/// How gRPC is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrpcConfig {
    /// The token that is wanted of the services that call; empty: none. Without one (and without a certificate that
    /// is asked for) only this machine may be able to connect.
    pub token: Secret,
    /// The files of TLS, for a `tls://` address. With `ca` every caller is asked for a certificate of that authority.
    pub tls: TlsConfig,
    /// How often a connection is checked for life.
    pub keepalive_interval_ms: u64,
    /// How long an answer to that check may take.
    pub keepalive_timeout_ms: u64,
    /// How old a connection gets before its client is asked to connect again, so that load spreads over replicas;
    /// 0 is for ever.
    pub max_connection_age_ms: u64,
    /// How many calls may be in flight on one connection.
    pub max_concurrent_streams: u32,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            token: Secret::default(),
            tls: TlsConfig::default(),
            keepalive_interval_ms: 60_000,
            keepalive_timeout_ms: 20_000,
            max_connection_age_ms: 0,
            max_concurrent_streams: 10_000,
        }
    }
}

impl Validate for GrpcConfig {
    fn validate(&self) -> Result<(), Invalid> {
        validate_token(&self.token)?;
        ensure(self.keepalive_interval_ms >= 1_000, "keepalive_interval_ms", "it must be at least 1000")?;
        ensure(self.keepalive_timeout_ms > 0, "keepalive_timeout_ms", "it must be more than 0")?;
        ensure(self.max_concurrent_streams > 0, "max_concurrent_streams", "it must be more than 0")?;
        let age = self.max_connection_age_ms;
        ensure(age == 0 || age >= 1_000, "max_connection_age_ms", "it must be 0 (for ever) or at least 1000")
    }
}

impl GrpcConfig {
    /// Whether what listens at this address asks who calls: whoever calls is believed what it says of its caller.
    ///
    /// # Errors
    /// An address that other machines can reach, where anybody could say anything.
    pub fn check_exposure(&self, listen: &Address) -> Result<(), Invalid> {
        let is_mutual = matches!(listen, Address::Tls { .. }) && self.tls.ca.is_some();
        let words = format!(
            "{listen} can be reached by other machines, and whoever calls here is believed to be a service of the \
             node; set a token here and in `channel.token` of the services that call (`openssl rand -hex 32` makes \
             one), or listen on tls:// with `tls.ca`, or on 127.0.0.1"
        );
        ensure(listen.is_local() || is_mutual || !self.token.is_empty(), "token", words)
    }
}

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at a time; a client that dawdles takes the place of one.
const HANDSHAKES: usize = 256;

/// A gRPC server being put together.
#[derive(Debug)]
pub struct Server {
    config: GrpcConfig,
    health: Health,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    descriptors: Vec<&'static [u8]>,
}

impl Server {
    /// A server whose health service says what `health` says.
    #[must_use]
    pub fn new(config: &GrpcConfig, health: &Health) -> Self {
        Self {
            config: config.clone(),
            health: health.clone(),
            routes: RoutesBuilder::default(),
            names: Vec::new(),
            descriptors: vec![tonic_health::pb::FILE_DESCRIPTOR_SET],
        }
    }

    /// Adds a service.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Adds the encoded descriptors of the services, for reflection and for the methods that metrics name.
    #[must_use]
    pub fn descriptors(mut self, file_descriptor_set: &'static [u8]) -> Self {
        self.descriptors.push(file_descriptor_set);
        self
    }

    /// Serves until the shutdown is requested, then lets the calls in flight finish, up to the grace.
    ///
    /// # Errors
    /// When the descriptors are broken or the listener cannot be served.
    pub async fn serve(mut self, listener: Listener, shutdown: Shutdown) -> anyhow::Result<()> {
        let observe = ObserveLayer::new(methods(&self.descriptors)?);
        let mut reflection = tonic_reflection::server::Builder::configure();
        let mut reflection_alpha = tonic_reflection::server::Builder::configure();
        for set in &self.descriptors {
            reflection = reflection.register_encoded_file_descriptor_set(set);
            reflection_alpha = reflection_alpha.register_encoded_file_descriptor_set(set);
        }
        let reporter = HealthReporter::new();
        let health = tonic_health::server::HealthService::from_health_reporter(reporter.clone());
        self.routes.add_service(tonic_health::pb::health_server::HealthServer::new(health));
        self.routes.add_service(reflection.build_v1().context("the descriptors cannot be reflected")?);
        self.routes
            .add_service(reflection_alpha.build_v1alpha().context("the descriptors cannot be reflected")?);

        let address = listener.address().clone();
        let connections = self.connections(listener)?;
        let requested = shutdown.clone();
        let serve = self
            .transport()
            .layer(observe)
            .layer(GuardLayer::new(&self.config.token))
            .add_routes(self.routes.routes())
            .serve_with_incoming_shutdown(connections, async move { requested.requested().await });
        tokio::select! {
            served = serve => served.with_context(|| format!("cannot serve gRPC on {address}")),
            () = shutdown.grace_over() => {
                tracing::warn!(%address, "the grace is over, cutting off the calls that are still in flight");
                Ok(())
            }
            never = report_health(self.health, reporter, self.names, shutdown.clone()) => match never {},
        }
    }

    /// What connects, after the handshake where there is one.
    fn connections(&self, listener: Listener) -> anyhow::Result<BoxStream<'static, io::Result<Stream>>> {
        let Address::Tls { .. } = listener.address() else { return Ok(listener.boxed()) };
        let acceptor = Acceptor::speaking(&self.config.tls, HANDSHAKE_TIMEOUT, &["h2"]);
        let acceptor = acceptor.context("`grpc.tls` cannot be used")?;
        let shaken = listener.map(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let shaken = acceptor.accept(stream?).await;
                Ok(shaken.inspect_err(|error| tracing::debug!(%error, "a TLS handshake failed")).ok())
            }
        });
        let open = shaken.buffer_unordered(HANDSHAKES);
        Ok(open.filter_map(|shaken| async move { shaken.transpose() }).boxed())
    }

    fn transport(&self) -> tonic::transport::Server {
        let server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_millis(self.config.keepalive_interval_ms)))
            .http2_keepalive_timeout(Some(Duration::from_millis(self.config.keepalive_timeout_ms)))
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .max_concurrent_streams(self.config.max_concurrent_streams);
        if self.config.max_connection_age_ms == 0 {
            return server;
        }
        server.max_connection_age(Duration::from_millis(self.config.max_connection_age_ms))
    }
}

/// Keeps the health service's word for the server and each of its services.
async fn report_health(
    health: Health,
    reporter: HealthReporter,
    names: Vec<&'static str>,
    shutdown: Shutdown,
) -> Infallible {
    loop {
        let is_ready = health.is_ready();
        let status = if is_ready && !shutdown.is_draining() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in names.iter().copied().chain([""]) {
            reporter.set_service_status(name, status).await;
        }
        tokio::select! {
            () = health.wait(!is_ready) => {}
            () = shutdown.draining(), if status == ServingStatus::Serving => {}
        }
    }
}

/// Every method in the descriptors: `hero.job.v1.JobService/GetJob`.
fn methods(descriptors: &[&[u8]]) -> anyhow::Result<Vec<String>> {
    let mut methods = Vec::new();
    for set in descriptors {
        let set = FileDescriptorSet::decode(*set).context("the descriptors cannot be read")?;
        for file in set.file {
            let package = file.package().to_owned();
            for service in &file.service {
                let of = |method: &prost_types::MethodDescriptorProto| {
                    format!("{package}.{}/{}", service.name(), method.name())
                };
                methods.extend(service.method.iter().map(of));
            }
        }
    }
    Ok(methods)
}
