//! Which server a connection is made to.

use redis::{
    Client, TlsMode,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::sync::Mutex;

use crate::{
    Error, RedisConfig, Result,
    address::{Place, Sentinels},
};

/// Where connections are made to.
pub(crate) enum Target {
    Server(Box<Client>),
    /// Asked anew for every connection: the primary may be another one by then.
    Sentinels(Box<Mutex<SentinelClient>>),
}

impl Target {
    pub(crate) fn of(config: &RedisConfig) -> Result<Self> {
        let refusal = |error: redis::RedisError| Error::Address { rule: error.to_string() };
        let certificates = config.certificates()?;
        // It is there already when something else in the process uses TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match config.url.place()? {
            Place::Server(server) => match certificates {
                Some(certificates) => Client::build_with_tls(server, certificates),
                None => Client::open(server),
            }
            .map(|client| Self::Server(Box::new(client)))
            .map_err(refusal),
            Place::Sentinels(them) => {
                let client = sentinel_client(them, certificates).map_err(refusal)?;
                Ok(Self::Sentinels(Box::new(Mutex::new(client))))
            }
        }
    }

    pub(crate) async fn client(&self) -> redis::RedisResult<Client> {
        match self {
            Self::Server(client) => Ok(Client::clone(client)),
            Self::Sentinels(them) => them.lock().await.async_get_client().await,
        }
    }
}

fn sentinel_client(
    them: Sentinels,
    certificates: Option<redis::TlsCertificates>,
) -> redis::RedisResult<SentinelClient> {
    let sign_in = them.server.redis_settings();
    let mut builder = SentinelClientBuilder::new(them.addresses, them.primary, SentinelServerType::Master)?
        .set_client_to_redis_db(sign_in.db());
    if let Some(user) = sign_in.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = sign_in.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(password) = &them.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if them.is_tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        if let Some(certificates) = certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
    }
    builder.build()
}
