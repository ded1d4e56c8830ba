//! A secret among the parameters, for whoever has no headers to put it into.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::{RawValue, to_raw_value};

const NAME: &str = "secret";

/// Takes the member `secret` out of by-name params, or from beside them where params are positional; the rest stays as
/// it was written, byte for byte within each member. In a batch the first one counts for all.
pub(crate) fn take(text: &str) -> (Cow<'_, str>, Option<String>) {
    if !text.contains("\"secret\"") {
        return (Cow::Borrowed(text), None);
    }
    let mut found = None;
    let rest = if text.trim_start().starts_with('[') {
        serde_json::from_str::<Vec<&RawValue>>(text).ok().and_then(|members| {
            let members = members.into_iter().map(|member| of_call(member.get(), &mut found));
            serde_json::to_string(&members.collect::<Option<Vec<_>>>()?).ok()
        })
    } else {
        of_call(text, &mut found).map(|call| call.get().to_owned())
    };
    match rest {
        Some(rest) if found.is_some() => (Cow::Owned(rest), found),
        _ => (Cow::Borrowed(text), None),
    }
}

fn of_call(text: &str, found: &mut Option<String>) -> Option<Box<RawValue>> {
    let mut call: BTreeMap<Cow<'_, str>, Box<RawValue>> = serde_json::from_str(text).ok()?;
    let mut keep = |value: &RawValue| {
        let secret = serde_json::from_str::<String>(value.get()).ok();
        if found.is_none() {
            *found = secret;
        }
    };
    if let Some(value) = call.remove(NAME) {
        keep(&value);
    }
    let params = call.get("params").map(|params| params.get().to_owned());
    if let Some(params) = params
        && let Ok(mut members) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&params)
        && let Some(value) = members.remove(NAME)
    {
        keep(&value);
        call.insert("params".into(), to_raw_value(&members).ok()?);
    }
    to_raw_value(&call).ok()
}

#[cfg(test)]
mod tests {
    use super::take;

    #[test]
    fn a_secret_is_taken_out_and_the_rest_stays_as_it_was() {
        let (rest, secret) =
            take(r#"{"id":1,"method":"m","params":{"beat":{"a": 1.50,  "b":"x"},"secret":"s3"}}"#);
        assert_eq!(secret.as_deref(), Some("s3"));
        assert_eq!(rest, r#"{"id":1,"method":"m","params":{"beat":{"a": 1.50,  "b":"x"}}}"#);
        let (rest, secret) = take(r#"{"id":1,"method":"m","params":[1],"secret":"s3"}"#);
        assert_eq!((rest.as_ref(), secret.as_deref()), (r#"{"id":1,"method":"m","params":[1]}"#, Some("s3")));
        let (rest, secret) = take(r#"[{"id":1,"params":{"secret":"a"}},{"id":2,"params":{"secret":"b"}}]"#);
        assert_eq!(secret.as_deref(), Some("a"));
        assert_eq!(rest, r#"[{"id":1,"params":{}},{"id":2,"params":{}}]"#);
    }

    #[test]
    fn what_has_no_secret_is_left_alone() {
        for text in ["", "{", r#"{"secret":"#, r#"{"params":["secret"]}"#, r#"[1,"secret"]"#] {
            assert_eq!(take(text), (text.into(), None), "{text}");
        }
    }
}
