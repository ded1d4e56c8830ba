//! How large a message may be. A job with the largest script and output that the defaults allow fits, and so
//! does any batch that the gateway's body limit lets through.

use hero_domain::{ApiError, Reason, Result};
use prost::Message;

/// Bytes of one gRPC message, either way.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Bytes of text in one page of a log, whatever the caller asks for.
pub const MAX_LOG_PAGE_BYTES: usize = 8 << 20;

/// Refuses a request that the other end would refuse anyway, with words instead of a broken stream.
pub(crate) fn check_size(message: &impl Message, reason: Reason, field: &'static str) -> Result<()> {
    let bytes = message.encoded_len();
    if bytes <= MAX_MESSAGE_BYTES {
        return Ok(());
    }
    Err(ApiError::new(
        reason,
        format!("{bytes} bytes in one call; at most {MAX_MESSAGE_BYTES} are taken, so send it in parts"),
    )
    .with_field(field))
}
