//! The bytes of a connection, on their way in and out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::line::OpenConnection;

/// So much is put together before it is written: the kernel has more trouble with two pieces than with one, and a page view's answer,
/// headers and body, is smaller than this.
const SMALL: usize = 1024;

/// The bytes of a connection.
pub struct Bytes {
    pub tcp: TcpStream,
    pub line: Arc<OpenConnection>,
}

impl AsyncRead for Bytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        if read.is_ready() {
            self.line.heard();
        }
        read
    }
}

impl AsyncWrite for Bytes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.line.told_them(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if length > SMALL {
            let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, slices);
            self.line.told_them(written.is_ready());
            return written;
        }
        let mut whole = [0; SMALL];
        let mut room = &mut whole[..];
        for slice in slices {
            let (own, rest) = room.split_at_mut(slice.len());
            own.copy_from_slice(slice);
            room = rest;
        }
        self.poll_write(cx, &whole[..length])
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::web::connections::line::{Beats, ConnectionLane};

    #[tokio::test]
    async fn what_is_written_in_pieces_arrives_whole_however_much_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let ((tcp, peer), mut theirs) = (ours.unwrap(), theirs.unwrap());
        let line = Arc::new(OpenConnection::new(
            1,
            peer,
            ConnectionLane::Usual,
            &Arc::new(Beats::default()),
        ));
        let mut bytes = Bytes { tcp, line };
        for lengths in [
            &[0, 1][..],
            &[300, 25],
            &[SMALL - 1, 1],
            &[SMALL],
            &[SMALL, 1],
            &[10, 2 * SMALL, 0, 10],
        ] {
            let pieces = lengths.iter().zip(b'a'..);
            let pieces: Vec<Vec<u8>> = pieces.map(|(n, letter)| vec![letter; *n]).collect();
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|p| IoSlice::new(p)).collect();
            let whole = pieces.concat();
            // So little fits into the socket's buffer at once.
            let written = bytes.write_vectored(&slices).await.unwrap();
            assert_eq!(written, whole.len(), "{lengths:?}");
            let mut arrived = vec![0; whole.len()];
            theirs.read_exact(&mut arrived).await.unwrap();
            assert!(arrived == whole, "{lengths:?}");
        }
    }
}
