//! A connection that asks in lines, as nodes ask explorers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::latency::Latencies;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Lines(BufReader<TcpStream>);

impl Lines {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(1_024, stream)))
    }

    /// The answer to a line; both without their ends.
    pub(crate) async fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        let asked = async {
            let text = format!("{line}\n");
            self.0.get_mut().write_all(text.as_bytes()).await?;
            let mut answer = String::new();
            self.0.read_line(&mut answer).await?;
            anyhow::ensure!(answer.ends_with('\n'), "the connection has ended");
            Ok(answer)
        };
        tokio::time::timeout(PATIENCE, asked).await.context("no answer came in time")?
    }

    /// Asks the same again and again, one at a time; an answer that is an error fails.
    pub(crate) async fn load(&mut self, line: &str, times: usize) -> anyhow::Result<Latencies> {
        let mut seen = Latencies::with_capacity(times);
        let begun = Instant::now();
        for _ in 0..times {
            let asked = Instant::now();
            let answer = self.ask(line).await?;
            match answer.contains("\"error\"") {
                true => seen.add_failure(&answer),
                false => seen.add(asked.elapsed()),
            }
        }
        seen.elapsed = begun.elapsed();
        Ok(seen)
    }
}

/// A call as a line.
pub(crate) fn question(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}
