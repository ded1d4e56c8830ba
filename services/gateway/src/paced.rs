//! A connection that reads no more from a client than the client takes back.
//!
//! A WebSocket client could send calls without ever reading an answer, and each unsent answer would cost
//! memory. So while bytes to the client are stuck, nothing more is read from it; and a client that takes
//! nothing for too long is cut off.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// A stream with its pace kept. `guard` lives as long as the connection does, upgraded or not.
pub(crate) struct Paced<S, G> {
    stream: S,
    send_timeout: Duration,
    /// Runs while bytes to the client are stuck.
    stuck: Option<Pin<Box<Sleep>>>,
    /// The client took nothing for too long.
    is_cut_off: bool,
    reader: Option<Waker>,
    _guard: Arc<G>,
}

impl<S, G> Paced<S, G> {
    pub(crate) fn new(stream: S, send_timeout: Duration, guard: G) -> Self {
        Self { stream, send_timeout, stuck: None, is_cut_off: false, reader: None, _guard: Arc::new(guard) }
    }

    /// Passes on what a write came to, noting whether the client takes it.
    fn pace<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stuck.take().is_some() {
                self.wake_reader();
            }
            return written;
        }
        let timeout = self.send_timeout;
        let timer = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.is_cut_off = true;
        self.wake_reader();
        Poll::Ready(Err(cut_off()))
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what is sent to it")
}

impl<S: AsyncRead + Unpin, G> AsyncRead for Paced<S, G> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_cut_off {
            return Poll::Ready(Err(cut_off()));
        }
        if this.stuck.is_some() {
            this.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, G> AsyncWrite for Paced<S, G> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.pace(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.pace(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};

    use super::Paced;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_while_the_client_takes_nothing() {
        let (mut client, server) = duplex(8);
        let (mut reader, mut writer) = split(Paced::new(server, Duration::from_secs(30), ()));
        client.write_all(b"more").await.unwrap();
        let write = tokio::spawn(async move { writer.write_all(b"0123456789").await });
        tokio::task::yield_now().await;
        let mut bytes = [0; 4];
        let early = tokio::time::timeout(Duration::from_secs(1), reader.read(&mut bytes)).await;
        assert!(early.is_err(), "read while a write is stuck");
        let read =
            tokio::spawn(async move { reader.read(&mut bytes).await.map(|count| bytes[..count].to_vec()) });
        let mut taken = [0; 10];
        client.read_exact(&mut taken).await.unwrap();
        write.await.unwrap().unwrap();
        assert_eq!(read.await.unwrap().unwrap(), b"more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let (_client, server) = duplex(8);
        let (mut reader, mut writer) = split(Paced::new(server, Duration::from_secs(30), ()));
        let began = tokio::time::Instant::now();
        let mut bytes = [0; 4];
        let (written, read) = tokio::join!(writer.write_all(b"0123456789"), reader.read(&mut bytes));
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::TimedOut, "whoever reads learns it too");
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}
