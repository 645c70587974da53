//! Lines in, replies out, both bounded.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Octets read at a time.
const CHUNK: usize = 16 * 1024;

pub struct Lines<S> {
    stream: S,
    buffer: Vec<u8>,
    /// Octets of `buffer` already handed out.
    taken: usize,
}

/// A line without its line break.
#[derive(Debug, PartialEq)]
pub enum SmtpLine {
    /// Ended by CRLF.
    Whole(Vec<u8>),
    /// Ended by LF alone, which SMTP forbids.
    BareLf(Vec<u8>),
    /// More octets than allowed; skipped to its end.
    TooLong,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lines<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            taken: 0,
        }
    }

    /// The next line of at most `limit` octets; `None` when the client has closed.
    pub async fn next(&mut self, limit: usize) -> io::Result<Option<SmtpLine>> {
        let mut searched = self.taken;
        let mut too_long = false;
        loop {
            if let Some(length) = self.buffer[searched..]
                .iter()
                .position(|octet| *octet == b'\n')
            {
                let end = searched + length;
                let line = &self.buffer[self.taken..end];
                let (line, whole) = line
                    .strip_suffix(b"\r")
                    .map_or((line, false), |line| (line, true));
                let line = match (too_long || line.len() > limit, whole) {
                    (true, _) => SmtpLine::TooLong,
                    (false, true) => SmtpLine::Whole(line.to_vec()),
                    (false, false) => SmtpLine::BareLf(line.to_vec()),
                };
                self.taken = end + 1;
                return Ok(Some(line));
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            if self.buffer.len() > limit + 1 {
                too_long = true;
                self.buffer.clear();
            }
            searched = self.buffer.len();
            self.buffer.reserve(CHUNK);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Sends a reply; `\n` parts its lines.
    pub async fn reply(&mut self, text: &str) -> io::Result<()> {
        self.stream
            .write_all((text.replace('\n', "\r\n") + "\r\n").as_bytes())
            .await?;
        self.stream.flush().await
    }

    /// The stream alone. What the client sent ahead is thrown away: before TLS it could be anybody's.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Waits until the client gives up, throwing away what it sends.
    pub async fn ignore(&mut self) -> io::Result<()> {
        let mut sink = vec![0; CHUNK];
        while self.stream.read(&mut sink).await? > 0 {}
        Ok(())
    }
}
