//! Serves any implementation of the port of the overlay.

use hero_domain::ports::Overlay;
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    call::serve,
    limits::MAX_MESSAGE_BYTES,
    pb::overlay::v1::{
        self as pb,
        overlay_service_server::{OverlayService, OverlayServiceServer},
    },
};

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of a port of the overlay.
#[derive(Debug)]
pub struct OverlayFace<O>(O);

/// A tonic service over a port of the overlay.
pub fn overlay_server<O: Overlay>(overlay: O) -> OverlayServiceServer<OverlayFace<O>> {
    OverlayServiceServer::new(OverlayFace(overlay))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

#[async_trait]
impl<O: Overlay> OverlayService for OverlayFace<O> {
    async fn call(&self, request: Request<pb::CallRequest>) -> Answer<pb::CallResponse> {
        serve(request, |caller, message| async move {
            let answer = self.0.call(&caller, convert::call(message.call)?).await?;
            Ok(pb::CallResponse { answer: Some(convert::to_answer(answer)) })
        })
        .await
    }

    async fn send(&self, request: Request<pb::SendRequest>) -> Answer<pb::SendResponse> {
        serve(request, |caller, message| async move {
            let id = self.0.send(&caller, convert::call(message.call)?).await?;
            Ok(pb::SendResponse { id })
        })
        .await
    }

    async fn status(&self, request: Request<pb::StatusRequest>) -> Answer<pb::StatusResponse> {
        serve(request, |caller, message| async move {
            Ok(convert::to_status(self.0.status(&caller, message.message_id).await?))
        })
        .await
    }
}
