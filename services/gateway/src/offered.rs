//! A secret from a browser, whose WebSockets carry no headers of a page's own: it comes among the subprotocols that
//! the page offers, `hero` and `hero.bearer.<base64url of the secret>`, and counts like an Authorization header. The
//! server answers with `hero`, as browsers demand, so the secret goes one way only.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};

/// The subprotocol that is chosen.
pub(crate) const PROTOCOL: HeaderValue = HeaderValue::from_static("hero");
const BEARER: &str = "hero.bearer.";

/// Takes the offers out of the head of an upgrade, and puts the secret where every other client has it; whether
/// [`PROTOCOL`] was offered.
pub(crate) fn take(headers: &mut HeaderMap) -> bool {
    let Some(offers) = headers.remove(header::SEC_WEBSOCKET_PROTOCOL) else { return false };
    let offers = offers.to_str().unwrap_or_default();
    let mut offers = offers.split(',').map(str::trim);
    let is_ours = offers.clone().any(|offer| PROTOCOL == *offer);
    let secret = offers.find_map(|offer| offer.strip_prefix(BEARER));
    if let Some(value) = secret.filter(|_| is_ours && !headers.contains_key(header::AUTHORIZATION)) {
        // What is no secret is refused like a wrong one.
        let text = URL_SAFE_NO_PAD.decode(value).unwrap_or_default();
        let mut bearer = b"Bearer ".to_vec();
        bearer.extend(text);
        if let Ok(mut bearer) = HeaderValue::from_bytes(&bearer) {
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
    }
    is_ours
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::take;

    fn taken(offers: &'static str, authorization: Option<&'static str>) -> (bool, Option<String>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offers));
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        let is_ours = take(&mut headers);
        assert!(!headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL));
        let secret = headers.get(header::AUTHORIZATION).map(|it| it.to_str().unwrap().to_owned());
        (is_ours, secret)
    }

    #[test]
    fn a_secret_is_taken_from_the_offers_of_a_browser() {
        let s3cret = Some("Bearer s3cret".to_owned());
        assert_eq!(taken("hero, hero.bearer.czNjcmV0", None), (true, s3cret.clone()));
        assert_eq!(taken("hero", None), (true, None));
        assert_eq!(taken("hero.bearer.czNjcmV0", None), (false, None), "nothing could be answered");
        assert_eq!(taken("chat, other", None), (false, None));
        assert_eq!(
            taken("hero, hero.bearer.b3RoZXI", Some("Bearer s3cret")),
            (true, s3cret),
            "a header wins"
        );
        assert_eq!(taken("hero, hero.bearer.!!", None), (true, Some("Bearer ".to_owned())));
        assert!(!take(&mut HeaderMap::new()));
    }
}
