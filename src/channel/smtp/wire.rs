//! The stream to a mail server: commands out, replies in, one at a time.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::classify::StepFault;
use super::reply::{ReplyLines, ReplyReader};
use super::tls::TlsParameters;

/// Plain or encrypted.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

pub(super) struct SmtpWire {
    stream: Box<dyn Stream>,
    /// Octets that came and were not asked for yet.
    waiting: Vec<u8>,
}

impl SmtpWire {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream: Box::new(stream),
            waiting: Vec::new(),
        }
    }

    /// Goes on under TLS. What came before the handshake is dropped unread: anybody on the way may have put it there, to be taken for
    /// the server's word under encryption.
    pub async fn encrypt(self, tls: &TlsParameters) -> Result<Self, StepFault> {
        let handshake = tls.connector.connect(tls.name.clone(), self.stream);
        let stream = handshake.await.map_err(|error| refused(&error))?;
        Ok(Self {
            stream: Box::new(stream),
            waiting: Vec::new(),
        })
    }

    /// Sends a command, or a message with its final dot, and reads the reply to it.
    ///
    /// One write and no flush in between: a small packet of its own would be held back until the one before it is acknowledged.
    pub async fn ask(&mut self, command: &str) -> Result<ReplyLines, StepFault> {
        // A reply that was there before its command is to something else: from here on every reply would be.
        if !self.waiting.trim_ascii().is_empty() {
            return Err(StepFault::Unreadable);
        }
        self.waiting.clear();
        let octets = command.as_bytes();
        self.stream
            .write_all(octets)
            .await
            .map_err(|_| StepFault::Lost)?;
        self.stream.flush().await.map_err(|_| StepFault::Lost)?;
        self.reply().await
    }

    /// Reads one reply.
    pub async fn reply(&mut self) -> Result<ReplyLines, StepFault> {
        let mut reader = ReplyReader::default();
        loop {
            let (taken, lines) = reader
                .take(&self.waiting)
                .map_err(|_| StepFault::Unreadable)?;
            self.waiting.drain(..taken);
            if let Some(lines) = lines {
                return Ok(lines);
            }
            let mut chunk = [0; 2048];
            match self.stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return Err(StepFault::Lost),
                Ok(read) => self.waiting.extend_from_slice(&chunk[..read]),
            }
        }
    }
}

/// A handshake that failed for what the other side is or says; not one that broke off.
fn refused(error: &std::io::Error) -> StepFault {
    let is_tls = error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
    if is_tls {
        StepFault::Tls
    } else {
        StepFault::Lost
    }
}
