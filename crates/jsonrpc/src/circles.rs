//! The methods of circles: proving a key, and which circles are served.

use std::sync::Arc;

use hero_domain::{
    ApiError, CircleKey, CircleLimits, ErrorCode, Login, NewCircle, Proof, Reason,
    ports::{Circles, Keys, Ports},
};
use serde::Deserialize;

use crate::{Session, error::Failure, handler::Face, params::NoParams, view::CircleView};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PubkeyParams {
    pubkey: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProofParams {
    pubkey: String,
    signature: String,
    nonce: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddCircleParams {
    public_key: String,
    #[serde(default)]
    members: Option<Vec<String>>,
    #[serde(default)]
    limits: Option<CircleLimits>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublicKeyParams {
    public_key: String,
}

pub(crate) async fn fetch_nonce<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: PubkeyParams,
) -> Result<String, Failure> {
    Ok(face.keys().nonce(circle_of(&session)?, &params.pubkey).await?)
}

pub(crate) async fn authenticate<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: ProofParams,
) -> Result<bool, Failure> {
    let circle = circle_of(&session)?;
    // Where everybody is served without a proof, or has brought another one, there is nothing to bind.
    if session.is_guest() && !session.is_lasting() {
        let words = "a key is bound to a WebSocket; over HTTP use login, and send the token it returns";
        return Err(ApiError::new(Reason::CircleRequired, words).into());
    }
    match proven(&face, circle, params).await {
        Ok(login) => Ok(!session.is_lasting() || session.bind(login.caller)),
        Err(error) if error.code() == ErrorCode::Unauthenticated => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn login<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: ProofParams,
) -> Result<String, Failure> {
    Ok(proven(&face, circle_of(&session)?, params).await?.token)
}

/// Who guesses guesses slowly.
async fn proven<P: Ports>(
    face: &Face<P>,
    circle: &CircleKey,
    params: ProofParams,
) -> Result<Login, ApiError> {
    let ProofParams { pubkey, signature, nonce } = params;
    let outcome = face.keys().login(circle, Proof { pubkey, signature, nonce }).await;
    if matches!(&outcome, Err(error) if error.code() == ErrorCode::Unauthenticated) {
        tokio::time::sleep(face.options().failure_delay).await;
    }
    outcome
}

fn circle_of(session: &Session) -> Result<&CircleKey, ApiError> {
    session.circle().ok_or_else(|| {
        let words = "a key is proved to a circle; call this at /{circle_pk}, or send a secret here";
        ApiError::new(Reason::CircleRequired, words)
    })
}

pub(crate) async fn add_circle<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: AddCircleParams,
) -> Result<CircleView, Failure> {
    let circle = NewCircle {
        public_key: params.public_key,
        members: params.members.unwrap_or_default(),
        limits: params.limits.unwrap_or_default(),
    };
    Ok(face.circles().add(session.caller(), circle).await?.into())
}

pub(crate) async fn remove_circle<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: PublicKeyParams,
) -> Result<(), Failure> {
    Ok(face.circles().remove(session.caller(), &params.public_key).await?)
}

pub(crate) async fn list_circles<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    _: NoParams,
) -> Result<Vec<CircleView>, Failure> {
    let circles = face.circles().list(session.caller()).await?;
    Ok(circles.into_iter().map(CircleView::from).collect())
}
