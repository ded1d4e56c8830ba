//! Serves any implementation of the port of keys.

use hero_domain::ports::Keys;
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    error::to_status,
    pb::key::v1::{
        IdentifyRequest, IdentifyResponse,
        key_service_server::{KeyService, KeyServiceServer},
    },
};

/// The gRPC face of a port of keys.
#[derive(Debug)]
pub struct KeyFace<K>(K);

/// A tonic service over a port of keys.
pub fn key_server<K: Keys>(keys: K) -> KeyServiceServer<KeyFace<K>> {
    KeyServiceServer::new(KeyFace(keys))
}

#[async_trait]
impl<K: Keys> KeyService for KeyFace<K> {
    async fn identify(
        &self,
        request: Request<IdentifyRequest>,
    ) -> Result<Response<IdentifyResponse>, Status> {
        let secret = request.into_inner().secret;
        let caller = self.0.identify(secret.as_deref()).await.map_err(to_status)?;
        Ok(Response::new(IdentifyResponse { caller: Some(convert::to_caller(caller)) }))
    }
}
