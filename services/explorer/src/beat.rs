//! Whether a heartbeat is what it claims to be.

use hero_domain::{ApiError, Heartbeat, Reason, Result, SignedHeartbeat};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::config::HeartbeatsConfig;

/// Reads a heartbeat and checks its form, its time and its signature; the key that signed it, if one did.
pub(crate) fn read(
    beat: &SignedHeartbeat,
    config: &HeartbeatsConfig,
    now_ms: u64,
) -> Result<(Heartbeat, Option<String>)> {
    if beat.text.len() > config.max_bytes {
        let words = format!("a heartbeat has at most {} bytes", config.max_bytes);
        return Err(ApiError::new(Reason::InvalidParams, words).with_field("beat"));
    }
    // The signature first: what is not signed by anybody is not worth reading.
    let key = verify(beat)?;
    let read: Heartbeat = serde_json::from_str(&beat.text)
        .map_err(|error| ApiError::new(Reason::InvalidParams, error.to_string()).with_field("beat"))?;
    read.validate().map_err(|error| {
        let field = format!("beat.{}", error.field().unwrap_or_default());
        error.with_field(field)
    })?;
    if read.sent_at_ms.abs_diff(now_ms) > config.max_skew_ms {
        let words = format!(
            "the heartbeat says {} ms, the clock here says {now_ms} ms; set the node's clock (it may be off by {} ms)",
            read.sent_at_ms, config.max_skew_ms
        );
        return Err(ApiError::new(Reason::HeartbeatOutOfTime, words).with_field("beat.sent_at_ms"));
    }
    Ok((read, key))
}

/// The key that signed it; none: nobody claims to have.
fn verify(beat: &SignedHeartbeat) -> Result<Option<String>> {
    let (key, signature) = match (&beat.public_key, &beat.signature) {
        (None, None) => return Ok(None),
        (Some(key), Some(signature)) => (key, signature),
        _ => return Err(unsigned("public_key and signature go together")),
    };
    let (Some(key_bytes), Some(signature)) = (bytes::<32>(key), bytes::<64>(signature)) else {
        return Err(unsigned("public_key has 32 bytes and signature 64, both in hex"));
    };
    UnparsedPublicKey::new(&ED25519, key_bytes)
        .verify(beat.text.as_bytes(), &signature)
        .map_err(|_| unsigned("the signature is not that of the key over the text of `beat`"))?;
    Ok(Some(key.to_ascii_lowercase()))
}

pub(crate) fn unsigned(words: &str) -> ApiError {
    ApiError::new(Reason::HeartbeatUnsigned, words).with_field("signature")
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use hero_domain::{Reason, SignedHeartbeat};
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::read;
    use crate::config::HeartbeatsConfig;

    const NOW: u64 = 1_800_000_000_000;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn text(sent_at: u64) -> String {
        format!(
            r#"{{"node_id": "a", "started_at_ms": 5, "counter": 1, "sent_at_ms": {sent_at}, "interval_ms": 1000}}"#
        )
    }

    fn signed(text: &str) -> SignedHeartbeat {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        SignedHeartbeat {
            text: text.to_owned(),
            public_key: Some(hex(key.public_key().as_ref())),
            signature: Some(hex(key.sign(text.as_bytes()).as_ref())),
        }
    }

    fn reason(beat: &SignedHeartbeat) -> Reason {
        read(beat, &HeartbeatsConfig::default(), NOW).unwrap_err().reason()
    }

    #[test]
    fn a_signed_heartbeat_is_read_with_its_key() {
        let beat = signed(&text(NOW));
        let (read, key) = read(&beat, &HeartbeatsConfig::default(), NOW).unwrap();
        assert_eq!((read.node_id.as_str(), key), ("a", beat.public_key));
    }

    #[test]
    fn a_wrong_signature_is_refused_whatever_is_wrong_with_it() {
        let good = signed(&text(NOW));
        let cases = [
            SignedHeartbeat { text: good.text.replace("\"a\"", "\"b\""), ..good.clone() },
            SignedHeartbeat { signature: None, ..good.clone() },
            SignedHeartbeat { public_key: None, ..good.clone() },
            SignedHeartbeat { signature: Some("00".repeat(64)), ..good.clone() },
            SignedHeartbeat { signature: Some("zz".repeat(64)), ..good.clone() },
            SignedHeartbeat { signature: Some("ü".repeat(64)), ..good.clone() },
            SignedHeartbeat { public_key: Some("00".into()), ..good.clone() },
            SignedHeartbeat { public_key: Some("ff".repeat(32)), ..good },
        ];
        for beat in cases {
            assert_eq!(reason(&beat), Reason::HeartbeatUnsigned, "{beat:?}");
        }
    }

    #[test]
    fn what_is_too_large_out_of_time_or_no_heartbeat_is_refused() {
        assert_eq!(reason(&signed(&text(NOW + 400_000))), Reason::HeartbeatOutOfTime);
        assert_eq!(reason(&signed(&text(NOW - 400_000))), Reason::HeartbeatOutOfTime);
        assert_eq!(reason(&signed(&" ".repeat(70_000))), Reason::InvalidParams);
        for text in ["", "{}", "[]", "null", r#"{"node_id": ""}"#, "{\"node_id\": \"a\", \"counter\": -1}"] {
            assert_eq!(reason(&signed(text)), Reason::InvalidParams, "{text}");
        }
    }
}
