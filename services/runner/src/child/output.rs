//! A child's output: cut into lines for the log as it comes, and kept whole or in part.

use std::collections::VecDeque;

use hero_domain::LogStream;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::attempt::Run;

/// One read takes so much at most.
const READ_BYTES: usize = 64 << 10;
/// A line that is longer goes to the log in pieces.
const LINE_BYTES: usize = 16 << 10;
/// So much of the standard error is kept for the error message.
const TAIL_BYTES: usize = 4 << 10;

/// The output is larger than it may be.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// One of a child's two outputs.
pub(super) struct Stream {
    name: LogStream,
    kept: Kept,
    /// The line that has not ended yet.
    line: Vec<u8>,
}

enum Kept {
    /// All, up to a limit.
    All { bytes: Vec<u8>, most: usize },
    /// The end.
    Tail(VecDeque<u8>),
}

impl Stream {
    /// An output that is kept whole.
    pub(super) fn output(name: LogStream, most: usize) -> Self {
        Self { name, kept: Kept::All { bytes: Vec::new(), most }, line: Vec::new() }
    }

    /// An output of which the end is kept.
    pub(super) fn tail(name: LogStream) -> Self {
        Self { name, kept: Kept::Tail(VecDeque::new()), line: Vec::new() }
    }

    /// What was kept.
    pub(super) fn into_text(self) -> String {
        match self.kept {
            Kept::All { bytes, .. } => match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => escape(error.as_bytes()),
            },
            Kept::Tail(bytes) => {
                let is_cut = bytes.len() >= TAIL_BYTES;
                let text = escape(&Vec::from(bytes));
                // Begin with a whole line.
                match text.split_once('\n') {
                    Some((_, rest)) if is_cut => rest.to_owned(),
                    _ => text,
                }
            }
        }
    }

    fn keep(&mut self, read: &[u8]) -> Result<(), TooLarge> {
        match &mut self.kept {
            Kept::All { bytes, most } => {
                if bytes.len() + read.len() > *most {
                    bytes.clear();
                    return Err(TooLarge);
                }
                bytes.extend_from_slice(read);
            }
            Kept::Tail(bytes) => {
                bytes.extend(&read[read.len().saturating_sub(TAIL_BYTES)..]);
                bytes.drain(..bytes.len().saturating_sub(TAIL_BYTES));
            }
        }
        Ok(())
    }

    /// The lines that have ended with what was read, as one text.
    fn lines(&mut self, read: &[u8]) -> Option<String> {
        let end = read.iter().rposition(|byte| *byte == b'\n');
        let ended = match end {
            Some(end) => {
                let (ended, rest) = read.split_at(end + 1);
                let mut ended = [std::mem::take(&mut self.line), ended.to_vec()].concat();
                ended.pop();
                self.line.extend_from_slice(rest);
                Some(escape(&ended))
            }
            None => {
                self.line.extend_from_slice(read);
                None
            }
        };
        if self.line.len() < LINE_BYTES {
            return ended;
        }
        let piece = escape(&std::mem::take(&mut self.line));
        Some(ended.map_or_else(|| piece.clone(), |ended| format!("{ended}\n{piece}")))
    }

    fn last_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        (!line.is_empty()).then(|| escape(&line))
    }
}

/// Reads to the end.
pub(super) async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut Stream,
    run: &Run,
) -> Result<(), TooLarge> {
    let mut buffer = Vec::with_capacity(READ_BYTES.min(8 << 10));
    loop {
        buffer.clear();
        // An error on a pipe is its end.
        let read = from.read_buf(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            if let Some(line) = to.last_line() {
                run.log(to.name, line).await;
            }
            return Ok(());
        }
        if let Some(lines) = to.lines(&buffer) {
            run.log(to.name, lines).await;
        }
        to.keep(&buffer)?;
        if read == buffer.capacity() && read < READ_BYTES {
            buffer.reserve(READ_BYTES);
        }
    }
}

/// Text with each byte that is not UTF-8 as `\xNN`.
fn escape(bytes: &[u8]) -> String {
    use std::fmt::Write;

    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use hero_domain::LogStream::{Stderr, Stdout};

    use super::{LINE_BYTES, Stream, TAIL_BYTES, escape};

    #[test]
    fn bytes_that_are_not_utf8_survive_as_escapes() {
        assert_eq!(escape(b"plain \xc3\xa9"), "plain é");
        assert_eq!(escape(b"a\xff\xfeb\xc3"), "a\\xff\\xfeb\\xc3");
    }

    #[test]
    fn a_line_is_logged_when_it_has_ended() {
        let mut stream = Stream::output(Stdout, 100);
        assert_eq!(stream.lines(b"on"), None);
        assert_eq!(stream.lines(b"e\ntwo\nthr").as_deref(), Some("one\ntwo"));
        assert_eq!(stream.lines(b"ee\n").as_deref(), Some("three"));
        assert_eq!(stream.last_line(), None);
        stream.lines(b"rest");
        assert_eq!(stream.last_line().as_deref(), Some("rest"));
    }

    #[test]
    fn a_character_in_two_reads_stays_whole() {
        let mut stream = Stream::output(Stdout, 100);
        assert_eq!(stream.lines(b"\xc3"), None);
        assert_eq!(stream.lines(b"\xa9\n").as_deref(), Some("é"));
    }

    #[test]
    fn a_line_without_end_goes_out_in_pieces() {
        let mut stream = Stream::output(Stdout, 100);
        assert_eq!(stream.lines(&[b'x'; LINE_BYTES]).map(|piece| piece.len()), Some(LINE_BYTES));
        assert_eq!(stream.last_line(), None);
    }

    #[test]
    fn output_is_bounded_and_a_tail_begins_with_a_line() {
        let mut stream = Stream::output(Stdout, 10);
        assert!(stream.keep(b"0123456789").is_ok());
        assert!(stream.keep(b"0").is_err());
        let mut tail = Stream::tail(Stderr);
        for n in 0..TAIL_BYTES {
            assert!(tail.keep(format!("line {n}\n").as_bytes()).is_ok());
        }
        let text = tail.into_text();
        assert!(text.len() <= TAIL_BYTES && text.starts_with("line "), "{text}");
        assert!(text.ends_with(&format!("line {}\n", TAIL_BYTES - 1)));
    }
}
