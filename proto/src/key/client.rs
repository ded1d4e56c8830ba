//! The port of keys, asked over a channel.

use hero_domain::{
    AuditEntry, Caller, CircleKey, CreatedKey, KeyInfo, Login, NewKey, Proof, Result, ports::Keys,
};
use tonic::transport::Channel;

use super::convert;
use crate::{
    call::{Calls, answer, malformed},
    pb::key::v1::{self as pb, key_service_client::KeyServiceClient},
};

/// The port of keys over gRPC. Cheap to clone; all clones share the channel.
#[derive(Debug, Clone)]
pub struct GrpcKeys {
    client: KeyServiceClient<Channel>,
    calls: Calls,
}

impl GrpcKeys {
    /// A client on a channel, with default deadlines.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self::with_calls(channel, Calls::default())
    }

    /// A client with deadlines and a trace of its own.
    #[must_use]
    pub fn with_calls(channel: Channel, calls: Calls) -> Self {
        Self { client: KeyServiceClient::new(channel), calls }
    }

    fn anonymous<T>(&self, message: T) -> tonic::Request<T> {
        self.calls.anonymous(self.calls.deadlines.call, message)
    }

    fn request<T>(&self, caller: &Caller, message: T) -> Result<tonic::Request<T>> {
        self.calls.request(caller, self.calls.deadlines.call, message)
    }
}

impl Keys for GrpcKeys {
    async fn identify(&self, secret: Option<&str>) -> Result<Caller> {
        let request = self.anonymous(pb::IdentifyRequest { secret: secret.map(str::to_owned) });
        let response = answer(self.client.clone().identify(request).await)?;
        convert::caller(response.caller).map_err(malformed)
    }

    async fn nonce(&self, circle: &CircleKey, pubkey: &str) -> Result<String> {
        let message = pb::FetchNonceRequest { circle: circle.to_string(), pubkey: pubkey.to_owned() };
        Ok(answer(self.client.clone().fetch_nonce(self.anonymous(message)).await)?.nonce)
    }

    async fn login(&self, circle: &CircleKey, proof: Proof) -> Result<Login> {
        let Proof { pubkey, signature, nonce } = proof;
        let message = pb::LoginRequest { circle: circle.to_string(), pubkey, signature, nonce };
        let response = answer(self.client.clone().login(self.anonymous(message)).await)?;
        let caller = convert::caller(response.caller).map_err(malformed)?;
        Ok(Login { caller, token: response.token })
    }

    async fn create(&self, caller: &Caller, key: NewKey) -> Result<CreatedKey> {
        let request = self.request(caller, convert::to_new_key(key))?;
        let response = answer(self.client.clone().create_key(request).await)?;
        convert::created(response.key, response.secret).map_err(malformed)
    }

    async fn list(&self, caller: &Caller) -> Result<Vec<KeyInfo>> {
        let request = self.request(caller, pb::ListKeysRequest {})?;
        let response = answer(self.client.clone().list_keys(request).await)?;
        let keys = response.keys.into_iter().map(|key| convert::info(Some(key)));
        keys.collect::<Result<_>>().map_err(malformed)
    }

    async fn remove(&self, caller: &Caller, name: &str) -> Result<()> {
        let request = self.request(caller, pb::RemoveKeyRequest { name: name.to_owned() })?;
        answer(self.client.clone().remove_key(request).await)?;
        Ok(())
    }

    async fn rotate(&self, caller: &Caller, name: &str) -> Result<CreatedKey> {
        let request = self.request(caller, pb::RotateKeyRequest { name: name.to_owned() })?;
        let response = answer(self.client.clone().rotate_key(request).await)?;
        convert::created(response.key, response.secret).map_err(malformed)
    }

    async fn audit(&self, caller: &Caller, limit: usize) -> Result<Vec<AuditEntry>> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let request = self.request(caller, pb::ListAuditRequest { limit })?;
        let response = answer(self.client.clone().list_audit(request).await)?;
        response.entries.into_iter().map(convert::entry).collect::<Result<_>>().map_err(malformed)
    }
}
