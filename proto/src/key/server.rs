//! Serves any implementation of the port of keys.

use hero_domain::{Proof, ports::Keys};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    call::serve,
    convert::circle_key,
    error::to_status,
    pb::key::v1::{
        self as pb,
        key_service_server::{KeyService, KeyServiceServer},
    },
};

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of a port of keys.
#[derive(Debug)]
pub struct KeyFace<K>(K);

/// A tonic service over a port of keys.
pub fn key_server<K: Keys>(keys: K) -> KeyServiceServer<KeyFace<K>> {
    KeyServiceServer::new(KeyFace(keys))
}

#[async_trait]
impl<K: Keys> KeyService for KeyFace<K> {
    async fn identify(&self, request: Request<pb::IdentifyRequest>) -> Answer<pb::IdentifyResponse> {
        let secret = request.into_inner().secret;
        let caller = self.0.identify(secret.as_deref()).await.map_err(to_status)?;
        Ok(Response::new(pb::IdentifyResponse { caller: Some(convert::to_caller(caller)) }))
    }

    async fn fetch_nonce(&self, request: Request<pb::FetchNonceRequest>) -> Answer<pb::FetchNonceResponse> {
        let pb::FetchNonceRequest { circle, pubkey } = request.into_inner();
        let circle = circle_key(&circle, "circle").map_err(to_status)?;
        let nonce = self.0.nonce(&circle, &pubkey).await.map_err(to_status)?;
        Ok(Response::new(pb::FetchNonceResponse { nonce }))
    }

    async fn login(&self, request: Request<pb::LoginRequest>) -> Answer<pb::LoginResponse> {
        let pb::LoginRequest { circle, pubkey, signature, nonce } = request.into_inner();
        let circle = circle_key(&circle, "circle").map_err(to_status)?;
        let login = self.0.login(&circle, Proof { pubkey, signature, nonce }).await.map_err(to_status)?;
        let caller = Some(convert::to_caller(login.caller));
        Ok(Response::new(pb::LoginResponse { caller, token: login.token }))
    }

    async fn create_key(&self, request: Request<pb::CreateKeyRequest>) -> Answer<pb::CreateKeyResponse> {
        serve(request, |caller, message| async move {
            let created = self.0.create(&caller, convert::new_key(message)?).await?;
            Ok(pb::CreateKeyResponse { key: Some(convert::to_info(created.info)), secret: created.secret })
        })
        .await
    }

    async fn list_keys(&self, request: Request<pb::ListKeysRequest>) -> Answer<pb::ListKeysResponse> {
        serve(request, |caller, pb::ListKeysRequest {}| async move {
            let keys = self.0.list(&caller).await?.into_iter().map(convert::to_info).collect();
            Ok(pb::ListKeysResponse { keys })
        })
        .await
    }

    async fn remove_key(&self, request: Request<pb::RemoveKeyRequest>) -> Answer<pb::RemoveKeyResponse> {
        serve(request, |caller, message| async move {
            self.0.remove(&caller, &message.name).await?;
            Ok(pb::RemoveKeyResponse {})
        })
        .await
    }

    async fn rotate_key(&self, request: Request<pb::RotateKeyRequest>) -> Answer<pb::RotateKeyResponse> {
        serve(request, |caller, message| async move {
            let created = self.0.rotate(&caller, &message.name).await?;
            Ok(pb::RotateKeyResponse { key: Some(convert::to_info(created.info)), secret: created.secret })
        })
        .await
    }

    async fn list_audit(&self, request: Request<pb::ListAuditRequest>) -> Answer<pb::ListAuditResponse> {
        serve(request, |caller, message| async move {
            let entries = self.0.audit(&caller, message.limit as usize).await?;
            Ok(pb::ListAuditResponse { entries: entries.into_iter().map(convert::to_entry).collect() })
        })
        .await
    }
}
