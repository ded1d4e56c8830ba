//! Who may call a service that trusts its callers: other services, which prove themselves by a shared token or, at a
//! `tls://` address with an authority, by a certificate.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use hero_config::{Invalid, Secret, ensure};
use http::{HeaderValue, Request, Response};
use subtle::ConstantTimeEq as _;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// The metadata that carries the token.
pub const TOKEN: &str = "hero-internal-token";
/// Whoever asks for nothing but health (a load balancer, a container engine) needs no token.
const OPEN: &str = "/grpc.health.v1.Health/";
/// The least that a token has, so that nobody guesses it.
const LEAST_BYTES: usize = 16;
const MOST_BYTES: usize = 256;

pub(crate) fn validate_token(token: &Secret) -> Result<(), Invalid> {
    let is_fine = token.is_empty()
        || (LEAST_BYTES..=MOST_BYTES).contains(&token.expose().len())
            && token.expose().bytes().all(|byte| byte.is_ascii_graphic());
    ensure(
        is_fine,
        "token",
        "it must be 16 to 256 visible ASCII characters; `openssl rand -hex 32` makes one",
    )
}

/// Lets calls in that bring the token; without a token, all.
#[derive(Debug, Clone)]
pub(crate) struct GuardLayer(Option<Arc<Secret>>);

impl GuardLayer {
    pub(crate) fn new(token: &Secret) -> Self {
        Self((!token.is_empty()).then(|| Arc::new(token.clone())))
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, token: self.0.clone() }
    }
}

/// See [`GuardLayer`].
#[derive(Debug, Clone)]
pub(crate) struct Guard<S> {
    inner: S,
    token: Option<Arc<Secret>>,
}

impl<S> Guard<S> {
    fn lets_in<B>(&self, request: &Request<B>) -> bool {
        let Some(token) = &self.token else { return true };
        let brought = request.headers().get(TOKEN).map_or(&b""[..], HeaderValue::as_bytes);
        request.uri().path().starts_with(OPEN) || bool::from(brought.ct_eq(token.expose().as_bytes()))
    }
}

impl<S, B> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.lets_in(&request) {
            return Either::Left(self.inner.call(request));
        }
        let words = "this service answers other services of its node only; set the same token in `grpc.token` of \
                     the one that is called and in `channel.token` of the one that calls";
        Either::Right(ready(Ok(Status::unauthenticated(words).into_http())))
    }
}
