//! Why this exists: a secret, an API key, a token or a signature stands for a caller, and finding out which one
//! must not tell a stranger anything.
//!
//! It promises that what is brought is compared in constant time, that nothing here prints a secret, and that no
//! input makes it panic or take more room than its own bound. It must never know a transport, a store or a job:
//! what is to be remembered (a key's hash, a nonce that was used) is handed to whoever keeps it.

mod api_key;
mod public_key;
mod seal;
mod secrets;

pub use api_key::ApiKey;
pub use public_key::{PublicKey, Signature};
pub use seal::{LoginToken, Nonce, Seal, SealKey};
pub use secrets::Secrets;
