//! Compiled scripts, the most useful ones of them.
//!
//! The key is the text itself, hashed with a secret seed and compared whole: nobody can make a script that is
//! taken for somebody else's.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};
use rhai::{AST, Engine, ParseError};

/// A compiled script is about so many times larger than its text, as measured on loops, calls and literals.
const TREE_BYTES_PER_TEXT_BYTE: u64 = 32;
/// What the smallest script takes.
const TREE_BYTES_AT_LEAST: u64 = 2_048;

/// A bounded cache of compiled scripts.
pub(super) struct Scripts {
    cache: Cache<Arc<str>, Arc<AST>, Weight>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Arc<str>, Arc<AST>> for Weight {
    fn weight(&self, text: &Arc<str>, _: &Arc<AST>) -> u64 {
        TREE_BYTES_AT_LEAST + text.len() as u64 * TREE_BYTES_PER_TEXT_BYTE
    }
}

impl Scripts {
    /// A cache of about this many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let estimated_items = usize::try_from(bytes / (2 * TREE_BYTES_AT_LEAST)).unwrap_or(1).clamp(1, 1_024);
        Self { cache: Cache::with_weighter(estimated_items, bytes, Weight) }
    }

    /// The compiled form of a text.
    pub(super) fn get(&self, engine: &Engine, text: &str) -> Result<Arc<AST>, ParseError> {
        if let Some(tree) = self.cache.get(text) {
            return Ok(tree);
        }
        let tree = Arc::new(engine.compile(text)?);
        self.cache.insert(Arc::from(text), Arc::clone(&tree));
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rhai::Engine;

    use super::Scripts;

    #[test]
    fn a_script_is_compiled_once() {
        let (engine, scripts) = (Engine::new(), Scripts::new(1 << 20));
        let first = scripts.get(&engine, "1 + 1").unwrap();
        assert!(Arc::ptr_eq(&first, &scripts.get(&engine, "1 + 1").unwrap()));
        assert!(!Arc::ptr_eq(&first, &scripts.get(&engine, "1 + 2").unwrap()));
    }

    #[test]
    fn the_cache_is_bounded() {
        let (engine, scripts) = (Engine::new(), Scripts::new(1 << 20));
        for n in 0..10_000 {
            scripts.get(&engine, &format!("{n}")).unwrap();
        }
        assert!(scripts.cache.weight() <= 1 << 20);
        assert!(scripts.cache.len() > 50, "{}", scripts.cache.len());
    }

    #[test]
    fn what_does_not_compile_is_not_kept() {
        let (engine, scripts) = (Engine::new(), Scripts::new(1 << 20));
        assert!(scripts.get(&engine, "let").is_err());
        assert_eq!(scripts.cache.len(), 0);
    }
}
