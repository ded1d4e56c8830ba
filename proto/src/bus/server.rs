//! Serves any implementation of the port of the message bus.

use std::time::Duration;

use hero_domain::ports::Bus;
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    call::serve,
    limits::MAX_MESSAGE_BYTES,
    pb::bus::v1::{
        self as pb,
        bus_service_server::{BusService, BusServiceServer},
    },
};

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of a port of the message bus.
#[derive(Debug)]
pub struct BusFace<B>(B);

/// A tonic service over a port of the message bus.
pub fn bus_server<B: Bus>(bus: B) -> BusServiceServer<BusFace<B>> {
    BusServiceServer::new(BusFace(bus))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

#[async_trait]
impl<B: Bus> BusService for BusFace<B> {
    async fn call(&self, request: Request<pb::CallRequest>) -> Answer<pb::CallResponse> {
        serve(request, |caller, message| async move {
            let wait = message.wait_ms.map(Duration::from_millis);
            let replies = self.0.call(&caller, convert::request(message.request)?, wait).await?;
            Ok(pb::CallResponse { replies: convert::to_replies(replies) })
        })
        .await
    }

    async fn send(&self, request: Request<pb::SendRequest>) -> Answer<pb::SendResponse> {
        serve(request, |caller, message| async move {
            let id = self.0.send(&caller, convert::request(message.request)?).await?;
            Ok(pb::SendResponse { id })
        })
        .await
    }

    async fn result(&self, request: Request<pb::ResultRequest>) -> Answer<pb::ResultResponse> {
        serve(request, |caller, message| async move {
            let replies = convert::to_replies(self.0.result(&caller, message.id).await?);
            Ok(pb::ResultResponse { replies })
        })
        .await
    }

    async fn list_dead(&self, request: Request<pb::ListDeadRequest>) -> Answer<pb::ListDeadResponse> {
        serve(request, |caller, message| async move {
            let messages = convert::to_dead(self.0.list_dead(&caller, message.limit).await?);
            Ok(pb::ListDeadResponse { messages })
        })
        .await
    }

    async fn requeue_dead(
        &self,
        request: Request<pb::RequeueDeadRequest>,
    ) -> Answer<pb::RequeueDeadResponse> {
        serve(request, |caller, message| async move {
            let count = self.0.requeue_dead(&caller, message.ids).await?;
            Ok(pb::RequeueDeadResponse { count })
        })
        .await
    }
}
