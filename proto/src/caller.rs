//! The caller in the metadata of a call.
//!
//! An edge found out who is calling; what it says is believed here, so the port of a service that takes
//! these calls must be open to edges only (loopback by default, a network policy in a cluster).

use hero_domain::{ApiError, Caller, Reason, Result, Scope};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

const NAME: &str = "hero-caller-name";
const SCOPE: &str = "hero-caller-scope";
const CIRCLE: &str = "hero-caller-circle";

/// Writes the caller into the metadata of a request.
pub(crate) fn write(caller: &Caller, metadata: &mut MetadataMap) -> Result<()> {
    metadata.insert(NAME, value(NAME, &caller.name)?);
    metadata.insert(SCOPE, MetadataValue::from_static(caller.scope.as_str()));
    if let Some(circle) = &caller.circle {
        metadata.insert(CIRCLE, value(CIRCLE, circle.as_str())?);
    }
    Ok(())
}

/// A header takes any text but control characters; names that are not ASCII travel as UTF-8.
fn value(key: &'static str, text: &str) -> Result<MetadataValue<Ascii>> {
    MetadataValue::try_from(text.as_bytes()).map_err(|_| {
        ApiError::new(Reason::InvalidParams, "a caller's name must not have control characters")
            .with_field(key)
    })
}

/// Reads the caller from the metadata of a request.
pub(crate) fn read(metadata: &MetadataMap) -> Result<Caller> {
    let name = text(metadata, NAME)?.ok_or_else(unnamed)?;
    let scope = text(metadata, SCOPE)?.ok_or_else(unnamed)?;
    let circle = text(metadata, CIRCLE)?
        .map(|key| {
            key.parse().map_err(|error: hero_domain::IdError| {
                ApiError::new(Reason::IdMalformed, error.to_string()).with_field(CIRCLE)
            })
        })
        .transpose()?;
    Ok(Caller { name: name.to_owned(), scope: parse_scope(scope)?, circle })
}

fn parse_scope(text: &str) -> Result<Scope> {
    [Scope::Admin, Scope::User, Scope::Register].into_iter().find(|scope| scope.as_str() == text).ok_or_else(
        || {
            ApiError::new(
                Reason::InvalidParams,
                format!("`{}` is not a scope; known are admin, user, register", text.escape_debug()),
            )
            .with_field(SCOPE)
        },
    )
}

fn unnamed() -> ApiError {
    ApiError::new(
        Reason::AuthenticationRequired,
        format!("the call names no caller; send the metadata {NAME} and {SCOPE}"),
    )
}

fn text<'a>(metadata: &'a MetadataMap, key: &'static str) -> Result<Option<&'a str>> {
    metadata
        .get(key)
        .map(|value| {
            std::str::from_utf8(value.as_bytes())
                .map_err(|_| ApiError::new(Reason::InvalidParams, "must be UTF-8").with_field(key))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use hero_domain::{Caller, Reason, Scope};
    use tonic::metadata::MetadataMap;

    use super::{read, write};

    #[test]
    fn a_caller_survives_the_metadata() {
        let circle = format!("02{}", "ab".repeat(32)).parse().ok();
        for scope in [Scope::Admin, Scope::User, Scope::Register] {
            for circle in [None, circle.clone()] {
                let caller = Caller { name: "büro 4".into(), scope, circle };
                let mut metadata = MetadataMap::new();
                write(&caller, &mut metadata).unwrap();
                assert_eq!(read(&metadata).unwrap(), caller);
            }
        }
    }

    #[test]
    fn a_call_without_a_caller_is_unauthenticated() {
        let error = read(&MetadataMap::new()).unwrap_err();
        assert_eq!(error.reason(), Reason::AuthenticationRequired);
    }

    #[test]
    fn a_wrong_caller_names_its_header() {
        let mut metadata = MetadataMap::new();
        write(&Caller::local(), &mut metadata).unwrap();
        metadata.insert("hero-caller-scope", "root".parse().unwrap());
        assert_eq!(read(&metadata).unwrap_err().field(), Some("hero-caller-scope"));
        metadata.insert("hero-caller-scope", "user".parse().unwrap());
        metadata.insert("hero-caller-circle", "me".parse().unwrap());
        let error = read(&metadata).unwrap_err();
        assert_eq!((error.field(), error.reason()), (Some("hero-caller-circle"), Reason::IdMalformed));
        let caller = Caller { name: "a\nb".into(), ..Caller::local() };
        assert_eq!(write(&caller, &mut metadata).unwrap_err().field(), Some("hero-caller-name"));
    }
}
