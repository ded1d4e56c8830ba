//! The method table on the node's own sockets, as the gateway has it.

use std::sync::Arc;

use anyhow::Context as _;
use hero_auth::Secrets;
use hero_domain::{ApiError, Caller, Reason};
use hero_jsonrpc::{Options, Wire, module};
use hero_proto::{Calls, GrpcPorts};
use hero_runtime::{
    Address, ChannelConfig, GrpcConfig, Listener, Shutdown, grpc,
    listen::{Acceptor, Connector, Peers, Stream, accept},
};

use super::{config::NodeConfig, forward::Forward};

/// The sockets of a node, bound.
pub(crate) struct Face {
    unix: Option<Listener>,
    network: Option<(Listener, Option<Acceptor>)>,
    config: NodeConfig,
    secrets: Arc<Secrets>,
}

impl Face {
    pub(crate) async fn bind(config: &NodeConfig, secrets: &Secrets) -> anyhow::Result<Self> {
        let unix = match &config.socket {
            None => None,
            Some(address) => Some(Listener::bind(address).await?),
        };
        let network = match &config.tcp {
            None => None,
            Some(address) => {
                let is_tls = matches!(address, Address::Tls { .. });
                let acceptor =
                    is_tls.then(|| Acceptor::new(&config.tls, config.accept.handshake_timeout())).transpose();
                let acceptor = acceptor.context("`node.tls` cannot be used")?;
                let listener = Listener::bind(address).await?;
                if !is_tls && !listener.address().is_local() {
                    let address = listener.address();
                    tracing::warn!(%address, "the node is served over the network without encryption");
                }
                Some((listener, acceptor))
            }
        };
        Ok(Self { unix, network, config: config.clone(), secrets: Arc::new(secrets.clone()) })
    }

    /// Where it really listens: the network first, which everybody can use.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let network = self.network.iter().map(|(listener, _)| listener);
        network.chain(&self.unix).map(|listener| listener.address().clone()).collect()
    }

    /// Serves until the shutdown. The ports are this supervisor's own, over gRPC like everybody's.
    pub(crate) async fn serve(
        self,
        supervisor: Address,
        own: GrpcConfig,
        shutdown: Shutdown,
    ) -> anyhow::Result<()> {
        let calls = Calls::default().with_token(own.token.expose());
        let channel = ChannelConfig { tls: own.tls, ..ChannelConfig::default() };
        let ports = GrpcPorts::new(grpc::channel(&supervisor, &channel), &calls);
        // A job that is not here was looked for here: asking an explorer again would go in circles.
        let max_output_bytes = self.config.wire.max_response_bytes as usize;
        let options = Options { follows_jobs: false, max_output_bytes, ..Options::default() };
        let peers = Peers::new(Connector::new(&self.config.tls)?, self.config.lines);
        let forward = Forward::new(&self.config, peers);
        let wire = Wire::new(module(ports, options), self.config.wire, Some(Arc::new(forward)));
        let serve = |listener, acceptor, door: Door| {
            let (wire, shutdown) = (wire.clone(), shutdown.clone());
            let requested = shutdown.clone();
            accept(listener, acceptor, self.config.accept, shutdown, move |stream: Stream| {
                let (wire, door, shutdown) = (wire.clone(), door.clone(), requested.clone());
                let is_verified = stream.is_verified();
                async move {
                    let stop = async move { shutdown.requested().await };
                    wire.serve(stream, move |secret| door.caller(secret, is_verified), Box::pin(stop)).await;
                }
            })
        };
        let unix = async {
            if let Some(listener) = self.unix {
                serve(listener, None, Door { secrets: Arc::default(), serves_anonymous: true }).await;
            }
        };
        let network = async {
            if let Some((listener, acceptor)) = self.network {
                let serves_anonymous = self.config.insecure_no_auth || listener.address().is_local();
                let door = Door { secrets: Arc::clone(&self.secrets), serves_anonymous };
                serve(listener, acceptor, door).await;
            }
        };
        tokio::join!(unix, network);
        wire.stop();
        shutdown.requested().await;
        Ok(())
    }
}

/// Who may come in: by the file of a unix socket, by a certificate of the fleet, by a secret, or because only this
/// machine can.
#[derive(Clone)]
struct Door {
    secrets: Arc<Secrets>,
    serves_anonymous: bool,
}

impl Door {
    fn caller(&self, secret: Option<&str>, is_verified: bool) -> hero_domain::Result<Arc<Caller>> {
        if is_verified && (secret.is_none() || self.secrets.is_empty()) {
            return Ok(Arc::new(Caller { name: "certificate".to_owned(), ..Caller::local() }));
        }
        if self.secrets.is_empty() && !self.serves_anonymous {
            let words = "this address serves nobody without a certificate; show one of the fleet's authority";
            return Err(ApiError::new(Reason::AuthenticationRequired, words));
        }
        self.secrets.caller(secret).map(Arc::new)
    }
}
