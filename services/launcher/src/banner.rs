//! What a person sees when the node is up: what is on, where, and a line to try.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

/// What is told at the start.
#[derive(Debug, Clone)]
pub(crate) struct Banner {
    /// The version of this build.
    pub(crate) version: &'static str,
    /// Where JSON-RPC is served, `127.0.0.1:8080`.
    pub(crate) rpc: String,
    /// Where the admin port is.
    pub(crate) admin: String,
    /// Which Redis, in words.
    pub(crate) redis: String,
    /// What the runner runs, in words.
    pub(crate) runner: String,
    /// Who may call, in words.
    pub(crate) auth: String,
    /// Whether a call needs a secret.
    pub(crate) needs_secret: bool,
}

impl Banner {
    /// Prints it. Colours only on a terminal that has not asked for none.
    pub(crate) fn print(&self, took: Duration) {
        let mut out = io::stdout();
        let colours = out.is_terminal();
        let text = Painted { banner: self, took, colours }.to_string();
        // Nobody is left to tell when the terminal is gone.
        _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

struct Painted<'a> {
    banner: &'a Banner,
    took: Duration,
    colours: bool,
}

impl fmt::Display for Painted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { banner, took, colours } = self;
        let (bold, dim, off) = if *colours { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        writeln!(
            f,
            "\n  {bold}Hero {}{off} is ready {dim}after {:.2} s{off}\n",
            banner.version,
            took.as_secs_f64()
        )?;
        let rpc = format!("http://{0}  ws://{0}", banner.rpc);
        let rows = [
            ("JSON-RPC", rpc.as_str()),
            ("Runner", &banner.runner),
            ("Redis", &banner.redis),
            ("Auth", &banner.auth),
            ("Admin", &banner.admin),
        ];
        for (name, what) in rows {
            writeln!(f, "  {dim}{name:<9}{off} {what}")?;
        }
        let secret = if banner.needs_secret { " -H 'authorization: Bearer YOUR-SECRET'" } else { "" };
        writeln!(
            f,
            "\n  Try it:\n  curl -s http://{}{secret} -H 'content-type: application/json' \\\n    \
             -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"run_job\",\"params\":[\"40 + 2\",\"OSIS\"]}}'\n\n  \
             {dim}Ctrl-C stops the node; jobs are kept.{off}\n",
            banner.rpc
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Banner, Painted};

    #[test]
    fn it_tells_what_is_on_and_a_line_to_try() {
        let banner = Banner {
            version: "1.2.3",
            rpc: "127.0.0.1:8080".to_owned(),
            admin: "http://127.0.0.1:9080".to_owned(),
            redis: "private".to_owned(),
            runner: "OSIS, Python".to_owned(),
            auth: "off".to_owned(),
            needs_secret: false,
        };
        let text = Painted { banner: &banner, took: Duration::from_millis(430), colours: false }.to_string();
        assert!(text.contains("Hero 1.2.3 is ready after 0.43 s"), "{text}");
        assert!(text.contains("http://127.0.0.1:8080  ws://127.0.0.1:8080"), "{text}");
        assert!(text.contains("\"params\":[\"40 + 2\",\"OSIS\"]"), "{text}");
        assert!(!text.contains('\x1b') && !text.contains("authorization"), "{text}");
        let banner = Banner { needs_secret: true, ..banner };
        let text = Painted { banner: &banner, took: Duration::ZERO, colours: true }.to_string();
        assert!(text.contains('\x1b') && text.contains("authorization: Bearer"), "{text}");
    }
}
