//! The labels of measurements, made once: on the hot path nothing is allocated, and no caller can make up a
//! label.

use std::sync::LazyLock;

use hero_domain::{ErrorCode, Reason};
use hero_telemetry::{Attributes, metrics, names, spans};
use jsonrpsee::types::error::METHOD_NOT_FOUND_CODE;
use tracing::Span;

use crate::{
    error::{SCRIPT_FAILED, code_of},
    method::{METHODS, Method},
};

/// Every code that a call can end with; the last stands for those of jsonrpsee's own.
const CODES: [(i32, &str); 13] = [
    (-32602, "-32602"),
    (-32030, "-32030"),
    (-32031, "-32031"),
    (-32020, "-32020"),
    (-32021, "-32021"),
    (-32022, "-32022"),
    (-32040, "-32040"),
    (-32041, "-32041"),
    (-32002, "-32002"),
    (-32603, "-32603"),
    (SCRIPT_FAILED, "-32050"),
    (METHOD_NOT_FOUND_CODE, "-32601"),
    (0, "_OTHER"),
];

struct Labels {
    success: Attributes,
    failed: [Attributes; CODES.len()],
}

/// One for each method, and a last one for names that the table does not have.
static LABELS: LazyLock<Vec<Labels>> = LazyLock::new(|| {
    let names = METHODS.iter().map(|method| method.name).chain([names::OTHER]);
    names.map(labels).collect()
});

static REFUSED: LazyLock<Vec<Attributes>> = LazyLock::new(|| {
    Reason::ALL.iter().map(|reason| Attributes::new(&[(names::REASON, reason.as_str())])).collect()
});

fn labels(method: &str) -> Labels {
    let call = [(names::RPC_SYSTEM, "jsonrpc"), (names::RPC_METHOD, method)];
    Labels {
        success: Attributes::new(&call),
        failed: CODES.map(|(_, text)| {
            let failed = [call[0], call[1], (names::RPC_STATUS_CODE, text), (names::ERROR_TYPE, text)];
            Attributes::new(&failed)
        }),
    }
}

fn place_of(code: i32) -> usize {
    CODES.iter().position(|(known, _)| *known == code).unwrap_or(CODES.len() - 1)
}

/// The labels of a call that ended with this code; none: with success.
pub(crate) fn attributes(method: Option<&'static Method>, code: Option<i32>) -> &'static Attributes {
    let index = method.and_then(|method| METHODS.iter().position(|entry| entry.name == method.name));
    let labels = &LABELS[index.unwrap_or(METHODS.len())];
    code.map_or(&labels.success, |code| &labels.failed[place_of(code)])
}

/// Counts a call that a limit of ours refused.
pub(crate) fn refused(reason: Reason) {
    if let Some(index) = Reason::ALL.iter().position(|known| *known == reason) {
        metrics().limit_refused.add(1, &REFUSED[index]);
    }
}

/// Notes on the span how the call ended.
pub(crate) fn end(span: &Span, code: Option<i32>) {
    let Some(code) = code else { return };
    let text = CODES[place_of(code)].1;
    let faults = [ErrorCode::Internal, ErrorCode::Unavailable, ErrorCode::Timeout];
    spans::end(span, text, Some(text), faults.into_iter().any(|fault| code_of(fault) == code));
}

#[cfg(test)]
mod tests {
    use hero_domain::ErrorCode;

    use super::{CODES, place_of};
    use crate::code_of;

    #[test]
    fn every_code_of_ours_has_its_own_label() {
        for code in ErrorCode::ALL {
            let (known, text) = CODES[place_of(code_of(code))];
            assert_eq!((known, text), (code_of(code), code_of(code).to_string().as_str()));
        }
        assert_eq!(CODES[place_of(-32008)].1, "_OTHER");
    }
}
