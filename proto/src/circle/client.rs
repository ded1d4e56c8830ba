//! The port of circles, asked over a channel.

use hero_domain::{Caller, Circle, CircleKey, NewCircle, Result, ports::Circles};
use tonic::transport::Channel;

use super::convert;
use crate::{
    call::{Calls, answer, malformed},
    pb::circle::v1::{self as pb, circle_service_client::CircleServiceClient},
};

/// The port of circles over gRPC. Cheap to clone; all clones share the channel.
#[derive(Debug, Clone)]
pub struct GrpcCircles {
    client: CircleServiceClient<Channel>,
    calls: Calls,
}

impl GrpcCircles {
    /// A client on a channel, with default deadlines.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self::with_calls(channel, Calls::default())
    }

    /// A client with deadlines and a trace of its own.
    #[must_use]
    pub fn with_calls(channel: Channel, calls: Calls) -> Self {
        Self { client: CircleServiceClient::new(channel), calls }
    }

    fn request<T>(&self, caller: &Caller, message: T) -> Result<tonic::Request<T>> {
        self.calls.request(caller, self.calls.deadlines.call, message)
    }
}

impl Circles for GrpcCircles {
    async fn find(&self, key: &CircleKey) -> Result<Circle> {
        let message = pb::FindCircleRequest { public_key: key.to_string() };
        let request = self.calls.anonymous(self.calls.deadlines.call, message);
        let response = answer(self.client.clone().find_circle(request).await)?;
        convert::circle(response.circle).map_err(malformed)
    }

    async fn add(&self, caller: &Caller, circle: NewCircle) -> Result<Circle> {
        let NewCircle { public_key, members, limits } = circle;
        let limits = Some(convert::to_limits(limits));
        let request = self.request(caller, pb::AddCircleRequest { public_key, members, limits })?;
        let response = answer(self.client.clone().add_circle(request).await)?;
        convert::circle(response.circle).map_err(malformed)
    }

    async fn remove(&self, caller: &Caller, public_key: &str) -> Result<()> {
        let request = self.request(caller, pb::RemoveCircleRequest { public_key: public_key.to_owned() })?;
        answer(self.client.clone().remove_circle(request).await)?;
        Ok(())
    }

    async fn list(&self, caller: &Caller) -> Result<Vec<Circle>> {
        let request = self.request(caller, pb::ListCirclesRequest {})?;
        let response = answer(self.client.clone().list_circles(request).await)?;
        let circles = response.circles.into_iter().map(|it| convert::circle(Some(it)));
        circles.collect::<Result<_>>().map_err(malformed)
    }
}
