//! What 5,000 connections from 20 addresses, each in the middle of a request that it never finishes, do to everybody else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use unread::postgres::Durability;
use unread::sandbox::ACCOUNT;
use unread::web::connections::raise_file_limit;

use crate::free_port;
use crate::stage::{Stage, until};

/// The slowest but one in a hundred of the healthy requests.
const GOAL: Duration = Duration::from_millis(100);

pub async fn run(durability: Durability, count: usize) -> Result<()> {
    let needed = u64::try_from(count)? + 1_000;
    ensure!(
        u64::try_from(raise_file_limit())? >= needed,
        "the hard limit of open files is below {needed}"
    );
    let port = free_port()?;
    let text = port.to_string();
    let settings = [
        ("PORT", &*text),
        ("UNREAD_BIND", "127.0.0.1"),
        // The healthy ask from one address, as fast as they are answered.
        ("UNREAD_BADGE_REQUESTS_PER_SECOND", "100000"),
    ];
    let stage = Stage::set(durability, &settings).await?;
    let web = stage.role("web")?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    until("the web answers", Duration::from_secs(30), async || {
        Ok(visit(address, "/healthz").await.ok())
    })
    .await?;
    let alone = p99(address).await?;
    println!("alone                           p99 {alone:.1?}");
    let mut slowest = Duration::ZERO;
    // A few rounds: each connection is closed after ten seconds without a whole header.
    for round in 1..=3 {
        let mut strangers = Vec::new();
        for n in 0..count {
            strangers.extend(half_open(address, u8::try_from(n % 20)?).await);
        }
        let beside = p99(address).await?;
        println!(
            "beside {} half-open connections  p99 {beside:.1?} (round {round})",
            strangers.len()
        );
        slowest = slowest.max(beside);
    }
    println!("resident: {:.0} MB", web.memory("VmRSS")?);
    ensure!(slowest < GOAL, "{slowest:?} is not below {GOAL:?}");
    Ok(())
}

/// Strangers come from 127.0.0.2 and on, the healthy from 127.0.0.1. One that is refused is none.
async fn half_open(web: SocketAddr, stranger: u8) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket
        .bind(SocketAddr::from(([127, 0, 0, 2 + stranger], 0)))
        .ok()?;
    let mut stream = socket.connect(web).await.ok()?;
    let begun = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ";
    stream.write_all(begun).await.ok()?;
    Some(stream)
}

/// A request with a connection of its own.
async fn visit(web: SocketAddr, path: &str) -> Result<Duration> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let began = Instant::now();
    let mut stream = TcpStream::connect(web).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let head = answer.split(|byte| *byte == b'\r').next();
    let head = String::from_utf8_lossy(head.unwrap_or_default());
    ensure!(head == "HTTP/1.1 200 OK", "{path}: {head}");
    Ok(began.elapsed())
}

async fn p99(web: SocketAddr) -> Result<Duration> {
    let badge = format!("/helpers/msghist/{ACCOUNT}/nobody/unreadByConsumer");
    let mut waits = Vec::new();
    for n in 0..600 {
        let path = ["/healthz", &badge, "/badge/v1.js"][n % 3];
        waits.push(visit(web, path).await?);
    }
    waits.sort_unstable();
    waits
        .get(waits.len() * 99 / 100)
        .copied()
        .context("requests were made")
}
