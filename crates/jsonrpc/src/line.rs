//! One call as a line of text, and what came back, for whoever passes calls on.

use hero_domain::{ApiError, NodeAnswer, Reason, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Serialize)]
struct Question<'a> {
    jsonrpc: &'static str,
    id: u8,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// A call; `params` is JSON text. The secret stands beside the method, where it fits positional params too.
///
/// # Errors
/// [`Reason::InvalidParams`] for params that are no JSON.
pub fn question(method: &str, params: Option<&str>, secret: Option<&str>) -> Result<String> {
    let params = params.map(serde_json::from_str::<&RawValue>).transpose();
    let params = params
        .map_err(|error| ApiError::new(Reason::InvalidParams, error.to_string()).with_field("params"))?;
    serde_json::to_string(&Question { jsonrpc: "2.0", id: 1, method, params, secret })
        .map_err(ApiError::internal)
}

/// What an answer says; none: it is no answer.
#[must_use]
pub fn answer(text: &str) -> Option<NodeAnswer> {
    // serde would take an array for the members in their order.
    if !text.trim_start().starts_with('{') {
        return None;
    }
    match serde_json::from_str(text).ok()? {
        Reply { error: Some(error), .. } => Some(NodeAnswer::Error(error.get().to_owned())),
        Reply { result: Some(result), .. } => Some(NodeAnswer::Result(result.get().to_owned())),
        // serde takes a null for nothing; a result may well be one.
        Reply { .. } if text.contains("\"result\"") => Some(NodeAnswer::Result("null".to_owned())),
        Reply { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use hero_domain::NodeAnswer;

    use super::{answer, question};

    #[test]
    fn a_call_is_one_line_of_json() {
        let line = question("get_job", Some(r#"["j"]"#), Some("s")).unwrap();
        assert_eq!(line, r#"{"jsonrpc":"2.0","id":1,"method":"get_job","params":["j"],"secret":"s"}"#);
        assert_eq!(question("a\"b", None, None).unwrap(), r#"{"jsonrpc":"2.0","id":1,"method":"a\"b"}"#);
        assert_eq!(question("x", Some("{"), None).unwrap_err().field(), Some("params"));
    }

    #[test]
    fn answers_are_told_from_noise() {
        assert_eq!(answer(r#"{"id":1,"result":null}"#), Some(NodeAnswer::Result("null".into())));
        assert_eq!(answer(r#"{"id":1,"result": [1]}"#), Some(NodeAnswer::Result("[1]".into())));
        assert_eq!(answer(r#"{"error":{"code":1}}"#), Some(NodeAnswer::Error(r#"{"code":1}"#.into())));
        for noise in ["", "{}", "HTTP/1.1 400", "[1]"] {
            assert_eq!(answer(noise), None, "{noise}");
        }
    }
}
