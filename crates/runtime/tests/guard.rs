//! Who may call a service: by a token, by a certificate, and a certificate that is renewed meanwhile.

use std::{fs, path::Path, time::Duration};

use futures::StreamExt as _;
use hero_config::Validate as _;
use hero_runtime::{
    Address, ChannelConfig, DrainConfig, GrpcConfig, Health, Listener, Shutdown, ShutdownTrigger, grpc,
    listen::{Acceptor, Connector, TlsConfig},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_stream::once;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

const TOKEN: &str = "a-token-that-nobody-else-has";
const PATIENCE: Duration = Duration::from_secs(20);

/// A server at this address, until the trigger is dropped.
async fn serve(listen: &Address, config: GrpcConfig) -> (Address, ShutdownTrigger) {
    let listener = Listener::bind(listen).await.unwrap();
    let address = listener.address().clone();
    let (trigger, shutdown) = Shutdown::new(DrainConfig { drain_delay_ms: 0, grace_ms: 20 });
    tokio::spawn(grpc::Server::new(&config, &Health::new()).serve(listener, shutdown));
    (address, trigger)
}

/// What a call comes to that only services may make.
async fn call(address: &Address, config: &ChannelConfig, token: &str) -> Result<(), Code> {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let message = ServerReflectionRequest { host: String::new(), message_request };
    let mut request = tonic::Request::new(once(message));
    if !token.is_empty() {
        request.metadata_mut().insert(grpc::TOKEN, token.parse().unwrap());
    }
    let mut client = ServerReflectionClient::new(grpc::channel(address, config));
    let answer = tokio::time::timeout(PATIENCE, client.server_reflection_info(request)).await.unwrap();
    answer.map(|_| ()).map_err(|status| status.code())
}

#[tokio::test]
async fn a_call_without_the_token_is_refused_and_health_is_for_everybody() {
    let token = TOKEN.to_owned();
    let config = GrpcConfig { token: token.as_str().into(), ..GrpcConfig::default() };
    let (address, _trigger) = serve(&Address::loopback(0), config).await;
    let channel = ChannelConfig::default();
    assert_eq!(call(&address, &channel, &token).await, Ok(()));
    for wrong in ["", "x", &token[1..], &format!("{token}x"), &token.to_uppercase()] {
        assert_eq!(call(&address, &channel, wrong).await, Err(Code::Unauthenticated), "{wrong}");
    }
    let mut health = HealthClient::new(grpc::channel(&address, &channel));
    health.check(HealthCheckRequest { service: String::new() }).await.unwrap();
}

#[test]
fn what_others_can_reach_asks_who_calls_or_does_not_start() {
    let anywhere: Address = "tcp://0.0.0.0:8081".parse().unwrap();
    let encrypted: Address = "tls://0.0.0.0:8081".parse().unwrap();
    let config = GrpcConfig::default();
    let refused = config.check_exposure(&anywhere).unwrap_err();
    assert!(refused.key == "token" && refused.message.contains("openssl rand"), "{refused:?}");
    assert!(config.check_exposure(&encrypted).is_err(), "encrypted for everybody");
    config.check_exposure(&Address::loopback(8081)).unwrap();
    let with_token = GrpcConfig { token: "0123456789abcdef".into(), ..GrpcConfig::default() };
    with_token.check_exposure(&anywhere).unwrap();
    let tls = TlsConfig { ca: Some("ca.pem".into()), ..TlsConfig::default() };
    GrpcConfig { tls, ..GrpcConfig::default() }.check_exposure(&encrypted).unwrap();
    for token in ["short", "with a blank in it!", &"x".repeat(257)] {
        let config = GrpcConfig { token: token.into(), ..GrpcConfig::default() };
        assert_eq!(config.validate().unwrap_err().key, "token", "{token}");
    }
}

/// An authority, and identities that it has signed for localhost.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes an identity of this name into the folder.
    fn identity(&self, folder: &Path, name: &str) -> TlsConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        let [ca, cert_path, key_path] =
            ["ca", "pem", "key"].map(|ending| folder.join(format!("{name}.{ending}")));
        fs::write(&ca, self.0.pem()).unwrap();
        fs::write(&cert_path, cert.pem()).unwrap();
        fs::write(&key_path, key.serialize_pem()).unwrap();
        TlsConfig { ca: Some(ca), cert: Some(cert_path), key: Some(key_path) }
    }
}

#[tokio::test]
async fn over_mutual_tls_a_certificate_is_asked_of_whoever_calls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = authority.identity(folder.path(), "server");
    let client = authority.identity(folder.path(), "client");
    let stranger = Authority::new().identity(folder.path(), "stranger");
    let listen = "tls://localhost:0".parse().unwrap();
    let (address, _trigger) = serve(&listen, GrpcConfig { tls: server, ..GrpcConfig::default() }).await;
    let with = |tls: TlsConfig| ChannelConfig { tls, ..ChannelConfig::default() };
    assert_eq!(call(&address, &with(client.clone()), "").await, Ok(()));
    let nameless = TlsConfig { ca: client.ca.clone(), ..TlsConfig::default() };
    let foreign = TlsConfig { ca: client.ca, ..stranger };
    for tls in [nameless, foreign, TlsConfig::default()] {
        assert!(call(&address, &with(tls), "").await.is_err());
    }
    let plain = Address::Tcp { host: "localhost".to_owned(), port: address.port().unwrap() };
    assert!(call(&plain, &ChannelConfig::default(), "").await.is_err());
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let mut server = old.identity(folder.path(), "server");
    server.ca = None;
    let believes = |authority: &Authority, name: &str| {
        let ca = authority.identity(folder.path(), name).ca;
        Connector::new(&TlsConfig { ca, ..TlsConfig::default() }).unwrap()
    };
    let (old_client, new_client) = (believes(&old, "old"), believes(&new, "new"));
    let acceptor = Acceptor::new(&server, PATIENCE).unwrap();
    let mut listener = Listener::bind(&"tls://localhost:0".parse().unwrap()).await.unwrap();
    let address = listener.address().clone();
    tokio::spawn(async move {
        while let Some(Ok(stream)) = listener.next().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    old_client.connect(&address).await.unwrap();
    assert!(new_client.connect(&address).await.is_err());
    // What is broken is not taken: the old one stays.
    fs::write(server.cert.as_ref().unwrap(), "nonsense").unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    old_client.connect(&address).await.unwrap();
    new.identity(folder.path(), "server");
    let renewed = async {
        while new_client.connect(&address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("the renewed certificate is shown");
}
