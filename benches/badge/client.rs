//! A client that costs less than what it measures: HTTP/1.1 over kept connections, one request at a time on each, the bytes of
//! requests made beforehand, answers checked by their first line and length.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// What a browser sends beside the path: the same to both sides.
const BROWSER: &str = "host: localhost\r\n\
    user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    accept: application/json, text/javascript, */*; q=0.01\r\n\
    accept-language: en-US,en;q=0.5\r\n\
    accept-encoding: gzip, deflate, br, zstd\r\n\
    origin: https://www.example.com\r\n\
    connection: keep-alive\r\n\
    referer: https://www.example.com/\r\n\
    sec-fetch-dest: empty\r\n\
    sec-fetch-mode: cors\r\n\
    sec-fetch-site: same-site\r\n\r\n";

pub fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{BROWSER}").into_bytes()
}

/// The same with a token.
pub fn request_with(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nauthorization: Bearer {token}\r\n{BROWSER}").into_bytes()
}

/// Connections to one address, kept from round to round.
pub struct Client {
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What one round took.
pub struct Round {
    pub took: Duration,
    /// Of each request, in no order: its place in the list, and how long its answer took.
    pub answers: Vec<(usize, Duration)>,
}

impl Round {
    #[expect(clippy::cast_precision_loss, reason = "a rate for printing")]
    pub fn rate(&self) -> f64 {
        self.answers.len() as f64 / self.took.as_secs_f64()
    }
}

impl Client {
    /// Each connection comes from a loopback address of its own, as visitors do.
    pub async fn connect(to: SocketAddr, connections: u8) -> Result<Self> {
        let mut open = Vec::new();
        for number in 0..connections {
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::new(127, 0, 1, number + 1), 0).into())?;
            let stream = socket.connect(to).await.context("connecting")?;
            stream.set_nodelay(true)?;
            open.push(Connection {
                stream,
                buffer: vec![0; 4096],
            });
        }
        Ok(Self { connections: open })
    }

    /// Sends the requests, each once, as fast as they are answered.
    pub async fn round(&mut self, requests: Arc<[Vec<u8>]>) -> Result<Round> {
        let next = Arc::new(AtomicUsize::new(0));
        let started = Instant::now();
        let mut lanes = JoinSet::new();
        for mut connection in self.connections.drain(..) {
            let (requests, next) = (requests.clone(), next.clone());
            lanes.spawn(async move {
                let mut answers = Vec::with_capacity(requests.len());
                let mut length = None;
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(request) = requests.get(place) else {
                        return anyhow::Ok((connection, answers));
                    };
                    let sent = Instant::now();
                    connection.ask(request, &mut length).await?;
                    answers.push((place, sent.elapsed()));
                }
            });
        }
        let mut answers = Vec::with_capacity(requests.len());
        while let Some(lane) = lanes.join_next().await {
            let (connection, own) = lane??;
            self.connections.push(connection);
            answers.extend(own);
        }
        Ok(Round {
            took: started.elapsed(),
            answers,
        })
    }
}

impl Connection {
    /// All answers of a round are of one length, which the first of them tells.
    async fn ask(&mut self, request: &[u8], length: &mut Option<usize>) -> Result<()> {
        self.stream.write_all(request).await?;
        let mut got = 0;
        loop {
            let more = self.stream.read(&mut self.buffer[got..]).await?;
            ensure!(more > 0, "the connection was closed");
            got += more;
            if length.is_none() {
                *length = whole_length(&self.buffer[..got])?;
            }
            if length.is_some_and(|length| got >= length) {
                break;
            }
        }
        let answer = &self.buffer[..got];
        ensure!(
            answer.starts_with(b"HTTP/1.1 200 OK") && *length == Some(got),
            "not the answer of before: {}",
            String::from_utf8_lossy(answer)
        );
        Ok(())
    }
}

/// The length of an answer with its head, once the head is there.
fn whole_length(answer: &[u8]) -> Result<Option<usize>> {
    let text = std::str::from_utf8(answer)?;
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return Ok(None);
    };
    let body: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .context("an answer without a length")?
        .parse()?;
    Ok(Some(head.len() + 4 + body))
}
