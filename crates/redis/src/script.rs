//! Scripts that run inside Redis, called by their hash.

use redis::{Cmd, cmd};

/// A Lua script and its hash.
pub struct Script {
    text: String,
    hash: String,
}

impl Script {
    /// A script from its parts, which are joined in order.
    #[must_use]
    pub fn new(parts: &[&str]) -> Self {
        let text = parts.join("\n");
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// The source text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A call of it with these keys, ready for arguments; room for `bytes` of them.
    #[must_use]
    pub fn command(&self, keys: &[&str], args: usize, bytes: usize) -> Cmd {
        let mut call = Cmd::with_capacity(3 + keys.len() + args, 64 + 64 * keys.len() + bytes);
        call.arg("EVALSHA").arg(&self.hash).arg(keys.len());
        for key in keys {
            call.arg(key);
        }
        call
    }

    pub(crate) fn load_cmd(&self) -> Cmd {
        let mut load = cmd("SCRIPT");
        load.arg("LOAD").arg(&self.text);
        load
    }
}
