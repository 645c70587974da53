//! Where connections come in: a listener that can be shut and opened again, and connections that can be cut.
//!
//! A provider that is down refuses connections, and one that dies in the middle of an answer closes them; neither can be
//! expressed by an HTTP handler, so it is done here, under HTTP. A shut door really closes the listening socket (the client
//! sees "connection refused") and opening it binds the same port again.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Pause after a failed accept or bind, so that running out of file descriptors does not spin.
const PAUSE: Duration = Duration::from_millis(20);

/// The listening side; `axum::serve` takes it as a listener.
pub struct Door {
    address: SocketAddr,
    listener: Option<TcpListener>,
    open: watch::Receiver<bool>,
}

/// Opens and shuts a [`Door`] from elsewhere.
#[derive(Clone)]
pub struct Latch {
    open: watch::Sender<bool>,
}

impl Latch {
    /// From now on connections are refused. Those already made stay.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Door {
    pub fn new(listener: TcpListener) -> io::Result<(Self, Latch)> {
        let (sender, open) = watch::channel(true);
        let address = listener.local_addr()?;
        Ok((
            Self {
                address,
                listener: Some(listener),
                open,
            },
            Latch { open: sender },
        ))
    }

    /// The next connection. Safe to cancel.
    pub async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if !*self.open.borrow_and_update() {
                self.listener = None;
                if self.open.changed().await.is_err() {
                    std::future::pending::<()>().await; // nobody is left to open it
                }
                continue;
            }
            let Some(listener) = &self.listener else {
                match TcpListener::bind(self.address).await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
                continue;
            };
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(connection) => return connection,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                Ok(()) = self.open.changed() => {}
            }
        }
    }
}

impl Listener for Door {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CuttableStream, SocketAddr) {
        let (stream, peer) = self.next().await;
        // Small answers must not wait for the next acknowledgement; a socket that is already gone fails on first use.
        let _ = stream.set_nodelay(true);
        (
            CuttableStream {
                stream,
                scissors: Scissors::default(),
            },
            peer,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A connection whose answers can be cut off.
pub struct CuttableStream {
    stream: TcpStream,
    scissors: Scissors,
}

/// Cuts the [`CuttableStream`] a request came in on; handlers get it as `ConnectInfo<Scissors>`.
#[derive(Clone, Default)]
pub struct Scissors(Arc<AtomicBool>);

impl Scissors {
    /// Nothing written after this leaves the machine; the connection closes at the next write.
    pub fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Connected<IncomingStream<'_, Door>> for Scissors {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().scissors.clone()
    }
}

impl CuttableStream {
    fn write_with<T>(
        self: Pin<&mut Self>,
        write: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let line = self.get_mut();
        if line.scissors.0.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        write(Pin::new(&mut line.stream))
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_with(|stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(|stream| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
