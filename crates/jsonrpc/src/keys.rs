//! The methods of API keys, and the record of who did what.

use std::sync::Arc;

use hero_domain::{
    NewKey, Scope,
    ports::{Keys, Ports},
};
use serde::Deserialize;

use crate::{
    Session,
    error::Failure,
    handler::Face,
    params::NoParams,
    view::{AuditView, CreatedKeyView, KeyView},
};

/// Lines of the record that are shown when the caller does not say how many.
const DEFAULT_AUDIT_LINES: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKeyParams {
    name: String,
    scope: Scope,
    #[serde(default)]
    circle: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyNameParams {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditParams {
    #[serde(default)]
    limit: Option<usize>,
}

pub(crate) async fn create_key<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: CreateKeyParams,
) -> Result<CreatedKeyView, Failure> {
    let CreateKeyParams { name, scope, circle } = params;
    Ok(face.keys().create(session.caller(), NewKey { name, scope, circle }).await?.into())
}

pub(crate) async fn list_keys<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    _: NoParams,
) -> Result<Vec<KeyView>, Failure> {
    Ok(face.keys().list(session.caller()).await?.into_iter().map(KeyView::from).collect())
}

pub(crate) async fn remove_key<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: KeyNameParams,
) -> Result<(), Failure> {
    Ok(face.keys().remove(session.caller(), &params.name).await?)
}

pub(crate) async fn rotate_key<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: KeyNameParams,
) -> Result<CreatedKeyView, Failure> {
    Ok(face.keys().rotate(session.caller(), &params.name).await?.into())
}

pub(crate) async fn list_audit<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: AuditParams,
) -> Result<Vec<AuditView>, Failure> {
    let limit = params.limit.unwrap_or(DEFAULT_AUDIT_LINES);
    Ok(face.keys().audit(session.caller(), limit).await?.into_iter().map(AuditView::from).collect())
}
