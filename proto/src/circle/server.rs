//! Serves any implementation of the port of circles.

use hero_domain::ports::Circles;
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    call::serve,
    convert::circle_key,
    error::to_status,
    pb::circle::v1::{
        self as pb,
        circle_service_server::{CircleService, CircleServiceServer},
    },
};

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of a port of circles.
#[derive(Debug)]
pub struct CircleFace<C>(C);

/// A tonic service over a port of circles.
pub fn circle_server<C: Circles>(circles: C) -> CircleServiceServer<CircleFace<C>> {
    CircleServiceServer::new(CircleFace(circles))
}

#[async_trait]
impl<C: Circles> CircleService for CircleFace<C> {
    async fn find_circle(&self, request: Request<pb::FindCircleRequest>) -> Answer<pb::FindCircleResponse> {
        let key = circle_key(&request.into_inner().public_key, "public_key").map_err(to_status)?;
        let circle = self.0.find(&key).await.map_err(to_status)?;
        Ok(Response::new(pb::FindCircleResponse { circle: Some(convert::to_circle(circle)) }))
    }

    async fn add_circle(&self, request: Request<pb::AddCircleRequest>) -> Answer<pb::AddCircleResponse> {
        serve(request, |caller, message| async move {
            let circle = self.0.add(&caller, convert::new_circle(message)).await?;
            Ok(pb::AddCircleResponse { circle: Some(convert::to_circle(circle)) })
        })
        .await
    }

    async fn remove_circle(
        &self,
        request: Request<pb::RemoveCircleRequest>,
    ) -> Answer<pb::RemoveCircleResponse> {
        serve(request, |caller, message| async move {
            self.0.remove(&caller, &message.public_key).await?;
            Ok(pb::RemoveCircleResponse {})
        })
        .await
    }

    async fn list_circles(
        &self,
        request: Request<pb::ListCirclesRequest>,
    ) -> Answer<pb::ListCirclesResponse> {
        serve(request, |caller, pb::ListCirclesRequest {}| async move {
            let circles = self.0.list(&caller).await?.into_iter().map(convert::to_circle).collect();
            Ok(pb::ListCirclesResponse { circles })
        })
        .await
    }
}
