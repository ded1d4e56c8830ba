//! Scripts that run inside Redis: functions of a library where it has those, else called by their hash.
//!
//! A library's definitions are made once, when it is loaded; a script called by its hash makes them anew in every call,
//! which for scripts that share much costs more than what they do.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redis::{Arg, Cmd, RedisError, cmd};

/// A Lua script.
#[derive(Debug, Clone)]
pub struct Script {
    text: Arc<str>,
    hash: String,
    function: Option<(String, Arc<Source>)>,
}

/// One script of a library.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// What it is called in the library.
    pub name: &'static str,
    /// Redis' flags for it: `no-writes`, `allow-oom`. Called by its hash it has none.
    pub flags: &'static [&'static str],
    /// What it does with `KEYS` and `ARGV`.
    pub body: &'static str,
}

/// Scripts that share definitions.
#[derive(Debug)]
pub struct Library(HashMap<&'static str, Script>);

/// The text of a library.
#[derive(Debug)]
struct Source {
    text: String,
    /// This Redis has no functions (it is older than 7.0).
    is_unknown: AtomicBool,
}

impl Library {
    /// A library of these functions. Each begins with the statement `opening`, which has to leave nothing of an earlier
    /// call in what is `shared`: that is kept. Its name in Redis has the hash of its text, so that other versions of it
    /// can be there too.
    #[must_use]
    pub fn new(name: &str, shared: &str, opening: &str, functions: &[Function]) -> Self {
        let bodies: Vec<String> = functions.iter().map(|it| format!("{opening}\n{}", it.body)).collect();
        let hash =
            hash_of(&[shared].into_iter().chain(bodies.iter().map(String::as_str)).collect::<String>());
        let name = format!("{name}_{}", &hash[..12]);
        let mut text = format!("#!lua name={name}\n{shared}");
        for (function, body) in functions.iter().zip(&bodies) {
            let flags: String = function.flags.iter().map(|flag| format!("'{flag}',")).collect();
            text.push_str(&format!(
                "redis.register_function{{function_name='{name}_{}', flags={{{flags}}}, callback=function(KEYS, ARGV)\n\
                 {body}\nend}}\n",
                function.name
            ));
        }
        let source = Arc::new(Source { text, is_unknown: AtomicBool::new(false) });
        let script = |(function, body): (&Function, &String)| {
            let script = Script::new(&[shared, body]);
            let called = format!("{name}_{}", function.name);
            (function.name, Script { function: Some((called, Arc::clone(&source))), ..script })
        };
        Self(functions.iter().zip(&bodies).map(script).collect())
    }

    /// One of its scripts.
    ///
    /// # Panics
    /// When there is none of this name, which is a mistake in the program.
    #[must_use]
    pub fn script(&self, name: &str) -> Script {
        self.0.get(name).expect("a library has the scripts that it was made of").clone()
    }
}

impl Script {
    /// A script from its parts, which are joined in order; it is called by its hash.
    #[must_use]
    pub fn new(parts: &[&str]) -> Self {
        let text = parts.join("\n");
        Self { hash: hash_of(&text), text: text.into(), function: None }
    }

    /// A call of it with these keys, ready for arguments; room for `bytes` of them.
    #[must_use]
    pub fn command(&self, keys: &[&str], args: usize, bytes: usize) -> Cmd {
        let mut call = Cmd::with_capacity(3 + keys.len() + args, 128 + 64 * keys.len() + bytes);
        match &self.function {
            Some((name, source)) if !source.is_unknown.load(Ordering::Relaxed) => call.arg("FCALL").arg(name),
            _ => call.arg("EVALSHA").arg(&self.hash),
        };
        call.arg(keys.len());
        for key in keys {
            call.arg(key);
        }
        call
    }

    /// What to send before a call of it is repeated that failed like this; none: a repeat would fail too.
    pub(crate) fn load_after(&self, error: &RedisError) -> Option<Cmd> {
        let words = error.detail().unwrap_or_default();
        match &self.function {
            Some((_, source)) if words.starts_with("Function not found") => {
                let mut load = cmd("FUNCTION");
                load.arg("LOAD").arg("REPLACE").arg(&source.text);
                Some(load)
            }
            _ if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                let mut load = cmd("SCRIPT");
                load.arg("LOAD").arg(&*self.text);
                Some(load)
            }
            _ => None,
        }
    }

    /// The same call by hash, for a Redis that knows no functions or does not let us load any (its rules for this user,
    /// no memory for it). None when that is not why it failed, or it is one already.
    pub(crate) fn by_hash(&self, call: &Cmd, error: &RedisError, is_load: bool) -> Option<Cmd> {
        let (_, source) = self.function.as_ref()?;
        let is_unknown = error.detail().is_some_and(|words| words.starts_with("unknown command"));
        if is_unknown {
            source.is_unknown.store(true, Ordering::Relaxed);
        }
        if !is_unknown && !is_load {
            return None;
        }
        let mut args = call.args_iter();
        args.next().filter(|first| matches!(first, Arg::Simple(b"FCALL")))?;
        let mut again = cmd("EVALSHA");
        again.arg(&self.hash);
        for arg in args.skip(1) {
            if let Arg::Simple(bytes) = arg {
                again.arg(bytes);
            }
        }
        Some(again)
    }
}

fn hash_of(text: &str) -> String {
    redis::Script::new(text).get_hash().to_owned()
}
