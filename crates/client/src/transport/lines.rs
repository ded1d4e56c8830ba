//! JSON-RPC on a stream, a message a line.

use std::io;

use jsonrpsee::core::client::{ReceivedMessage, TransportReceiverT, TransportSenderT};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf,
    WriteHalf,
};

/// What sends, and what receives.
pub(crate) fn over<S: AsyncRead + AsyncWrite + Send + 'static>(
    stream: S,
    max_bytes: usize,
) -> (Sender<S>, Receiver<S>) {
    let (read, write) = tokio::io::split(stream);
    (Sender(write), Receiver { read: BufReader::new(read), max_bytes })
}

pub(crate) struct Sender<S>(WriteHalf<S>);

impl<S: AsyncWrite + Send + 'static> TransportSenderT for Sender<S> {
    type Error = io::Error;

    async fn send(&mut self, mut message: String) -> io::Result<()> {
        // JSON as it is made here has no line breaks of its own.
        message.push('\n');
        self.0.write_all(message.as_bytes()).await?;
        self.0.flush().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

pub(crate) struct Receiver<S> {
    read: BufReader<ReadHalf<S>>,
    max_bytes: usize,
}

impl<S: AsyncRead + Send + 'static> TransportReceiverT for Receiver<S> {
    type Error = io::Error;

    async fn receive(&mut self) -> io::Result<ReceivedMessage> {
        loop {
            let mut line = Vec::new();
            let most = self.max_bytes as u64 + 1;
            let read = (&mut self.read).take(most).read_until(b'\n', &mut line).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.last() != Some(&b'\n') {
                let words = if read as u64 == most { "a line over the limit" } else { "half a line" };
                return Err(io::Error::new(io::ErrorKind::InvalidData, words));
            }
            if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Ok(ReceivedMessage::Bytes(line));
            }
        }
    }
}
