//! The dashboard: static pages that call the public API from the browser, and nothing else. There is no session
//! here: whoever opens a page signs in with a key or a signature, which the page sends with each call as any client
//! does. So nothing here is secret, and no cookie lets another page call in somebody's name.

mod chart;

use axum::{
    Router,
    extract::{Path, RawQuery},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::refusal;

/// Scripts, styles and pictures of this server only, none of them inline; calls to this server only; no text becomes
/// an element, even by mistake (trusted types); nobody frames these pages, and no form leaves them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const PAGE: &str = include_str!("../ui/index.html");

macro_rules! assets {
    ($($name:literal $kind:expr,)*) => {
        /// What the page is made of, by name.
        const ASSETS: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("../ui/", $name))),)*];
    };
}

assets! {
    "app.css" CSS,
    "icon.svg" SVG,
    "access.js" JS,
    "app.js" JS,
    "audit.js" JS,
    "dom.js" JS,
    "events.js" JS,
    "job.js" JS,
    "jobs.js" JS,
    "nodes.js" JS,
    "overview.js" JS,
    "rpc.js" JS,
    "runners.js" JS,
    "schedules.js" JS,
    "signin.js" JS,
    "try.js" JS,
}

/// The routes of the dashboard.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/ui", get(page))
        .route("/ui/", get(page))
        // Which page it is, the script in the page reads from the address.
        .route("/ui/{*path}", get(page))
        .route("/ui/assets/{name}", get(asset))
        .route("/ui/chart.svg", get(picture))
}

async fn page() -> Response {
    answer(HTML, PAGE)
}

async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(own, ..)| *own == name) {
        Some((_, kind, text)) => answer(kind, *text),
        None => refusal::request(StatusCode::NOT_FOUND, "Not found", "the dashboard has no such file"),
    }
}

/// A chart of the numbers in the query, and of nothing else.
async fn picture(RawQuery(query): RawQuery) -> Response {
    match chart::parse(query.as_deref().unwrap_or_default()).and_then(|chart| chart.draw()) {
        Ok(svg) => answer(SVG, svg),
        Err(words) => refusal::request(StatusCode::BAD_REQUEST, "Malformed chart", &words),
    }
}

fn answer(kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let mut response = body.into().into_response();
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // A new version of the server is a new version of its pages.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{ASSETS, PAGE};

    /// Every file of the folder is served, and every file that one of them names is there.
    #[test]
    fn the_pages_are_whole() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html")
            .collect();
        files.sort_unstable();
        let mut served: Vec<&str> = ASSETS.iter().map(|(name, ..)| *name).collect();
        served.sort_unstable();
        assert_eq!(files, served);
        let has = |name: &str| ASSETS.iter().any(|(own, ..)| *own == name);
        for part in PAGE.split('"').filter_map(|part| part.strip_prefix("/ui/assets/")) {
            assert!(has(part), "index.html names {part}");
        }
        for (file, _, text) in ASSETS {
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let named = line.split("\"./").nth(1).and_then(|rest| rest.split('"').next());
                assert!(named.is_some_and(has), "{file}: {line}");
            }
        }
    }

    /// What the content security policy would refuse, or what would get around it, is not written at all.
    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for forbidden in ["style=", "onclick=", "<script>", "javascript:"] {
            assert!(!PAGE.contains(forbidden), "index.html has {forbidden}");
        }
        for (file, _, text) in ASSETS {
            for forbidden in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
            {
                assert!(
                    !text.lines().any(|line| !line.starts_with("//") && line.contains(forbidden)),
                    "{file}: {forbidden}"
                );
            }
            assert!(!text.replace("http://www.w3.org/", "").contains("://"), "{file} names another server");
        }
    }
}
