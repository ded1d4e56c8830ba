//! A WebSocket client that costs as little as it can: it shares two cores with what it measures.

use std::{net::SocketAddr, time::Instant};

use anyhow::Context;
use futures::io::{BufReader, BufWriter};
use serde::Deserialize;
use serde_json::value::RawValue;
use soketto::handshake::{Client, ServerResponse};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::{latency::Latencies, load::Load};

type Stream = BufReader<BufWriter<Compat<TcpStream>>>;

const BUFFER_BYTES: usize = 256 << 10;

/// One WebSocket connection.
pub(crate) struct WsConnection {
    sender: soketto::Sender<Stream>,
    receiver: soketto::Receiver<Stream>,
    buffer: Vec<u8>,
}

/// A response; a batch's answer is an array of these.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// What came back for one request.
pub(crate) struct Reply {
    /// The request's id; of a batch, its first member's.
    pub(crate) id: u64,
    /// The first error in it.
    pub(crate) failure: Option<String>,
    /// The result, as JSON; of a batch, the whole array.
    pub(crate) result: String,
}

impl Reply {
    /// Reads a response or the array that answers a batch.
    pub(crate) fn parse(body: &[u8], keep_result: bool) -> anyhow::Result<Self> {
        if body.first() == Some(&b'[') {
            let answers: Vec<Answer<'_>> = serde_json::from_slice(body)?;
            let id = answers.iter().filter_map(|a| a.id).min().context("a batch answer without ids")?;
            let failure = answers.iter().find_map(|a| a.error).map(|e| e.get().to_owned());
            let result = if keep_result { String::from_utf8_lossy(body).into_owned() } else { String::new() };
            return Ok(Self { id, failure, result });
        }
        let answer: Answer<'_> = serde_json::from_slice(body)?;
        let id = answer.id.with_context(|| {
            format!("an answer to no request: {}", answer.error.map_or("no error either", RawValue::get))
        })?;
        let result = answer.result.filter(|_| keep_result).map(|r| r.get().to_owned()).unwrap_or_default();
        Ok(Self { id, failure: answer.error.map(|e| e.get().to_owned()), result })
    }
}

impl WsConnection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        socket.set_nodelay(true)?;
        let stream =
            BufReader::with_capacity(BUFFER_BYTES, BufWriter::with_capacity(BUFFER_BYTES, socket.compat()));
        let host = address.to_string();
        let mut client = Client::new(stream, &host, "/");
        match client.handshake().await? {
            ServerResponse::Accepted { .. } => {}
            ServerResponse::Rejected { status_code } | ServerResponse::Redirect { status_code, .. } => {
                anyhow::bail!("{address} refused the WebSocket upgrade with status {status_code}")
            }
        }
        let mut builder = client.into_builder();
        builder.set_max_message_size(64 << 20);
        builder.set_max_frame_size(64 << 20);
        let (sender, receiver) = builder.finish();
        Ok(Self { sender, receiver, buffer: Vec::new() })
    }

    /// One request, one answer: its result as JSON.
    pub(crate) async fn call(&mut self, request: String) -> anyhow::Result<String> {
        self.sender.send_text_owned(request).await?;
        self.sender.flush().await?;
        self.buffer.clear();
        self.receiver.receive_data(&mut self.buffer).await?;
        let reply = Reply::parse(&self.buffer, true)?;
        match reply.failure {
            None => Ok(reply.result),
            Some(failure) => anyhow::bail!("{failure}"),
        }
    }

    /// Sends every request, and returns when all are answered.
    pub(crate) async fn load(&mut self, load: Load) -> anyhow::Result<Latencies> {
        let Load { requests: count, in_flight, .. } = load;
        let mut seen = Latencies::with_capacity(count);
        let mut sent_at = vec![Instant::now(); count];
        let (free, mut freed) = mpsc::unbounded_channel::<()>();
        for _ in 0..in_flight.min(count) {
            free.send(())?;
        }
        let begin = Instant::now();
        let Self { sender, receiver, buffer } = self;
        let stamps = std::cell::RefCell::new(&mut sent_at);
        let write = async {
            let mut next = 0;
            let mut slots = Vec::with_capacity(in_flight);
            while next < count {
                slots.clear();
                // As many as have been answered since: they share one write to the socket.
                let ready = freed.recv_many(&mut slots, (count - next).min(in_flight)).await;
                for _ in 0..ready {
                    let text = load.text(next);
                    stamps.borrow_mut()[next] = Instant::now();
                    sender.send_text_owned(text).await?;
                    next += 1;
                }
                sender.flush().await?;
            }
            anyhow::Ok(())
        };
        let read = async {
            for _ in 0..count {
                buffer.clear();
                receiver.receive_data(buffer).await?;
                let reply = Reply::parse(buffer, false)?;
                let index = index_of(reply.id, count)?;
                seen.add(stamps.borrow()[index].elapsed());
                if let Some(failure) = reply.failure {
                    seen.add_failure(&failure);
                }
                // The writer ends first, when everything has been sent.
                free.send(()).ok();
            }
            anyhow::Ok(())
        };
        tokio::try_join!(write, read)?;
        seen.elapsed = begin.elapsed();
        Ok(seen)
    }
}

fn index_of(id: u64, count: usize) -> anyhow::Result<usize> {
    let index = usize::try_from(id).unwrap_or(usize::MAX);
    anyhow::ensure!(index < count, "an answer to request {id}, which was never sent");
    Ok(index)
}
