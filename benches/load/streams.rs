//! Many pages that have the badge's event stream open, while a scan changes all conversations at once: memory per stream, how long
//! other badge answers take meanwhile, when the last page has heard.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use unread::clock::Clock;
use unread::db::conversations::{self, ConversationSnapshot, Decided};
use unread::domain::channel::PerChannel;
use unread::domain::ids::SkillId;
use unread::domain::read_state::ReadStatus;
use unread::postgres::Durability;
use unread::sandbox::ACCOUNT;
use unread::web::connections::raise_file_limit;

use crate::free_port;
use crate::stage::{Stage, until};
use crate::token::{SECRET, token};

/// The slowest badge answer while everything changes.
const GOAL: Duration = Duration::from_millis(50);
/// Pages from one address, which may have fifty streams.
const PER_ADDRESS: usize = 40;
/// Conversations that a scan stores at once.
const PAGE: usize = 100;
/// Connections that are opened at a time.
const AT_ONCE: usize = 64;

pub async fn run(durability: Durability, streams: usize, conversations: usize) -> Result<()> {
    ensure!(
        conversations > streams,
        "there must be more conversations than streams"
    );
    // Of those who have no stream open, who are asked for meanwhile.
    let others = streams..conversations;
    let needed = streams * 4 / 3 + 600;
    ensure!(
        raise_file_limit() >= needed,
        "the hard limit of open files is below {needed}: ask for fewer streams"
    );
    let (port, most) = (free_port()?.to_string(), needed.to_string());
    let settings = [
        ("PORT", &*port),
        ("UNREAD_BIND", "127.0.0.1"),
        ("UNREAD_BADGE_SECRET", SECRET),
        ("UNREAD_BADGE_REQUESTS_PER_SECOND", "100000"),
        ("UNREAD_CONNECTIONS", &*most),
    ];
    let stage = Stage::set(durability, &settings).await?;
    let now = Clock::System.now();
    change_all(&stage.pool, conversations, 1, now).await?;
    let web = stage.role("web")?;
    let address: SocketAddr = format!("127.0.0.1:{port}").parse()?;
    until("the web answers", Duration::from_secs(30), async || {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            return Ok(None);
        };
        Ok(ask(&mut stream, "nobody").await.ok())
    })
    .await?;

    let before = web.memory("VmRSS")?;
    let heard = Arc::new(AtomicUsize::new(0));
    let mut pages = open(address, streams, &heard).await?;
    until_all("first", &heard, streams).await?;
    let with_streams = web.memory("VmRSS")?;
    println!(
        "{streams} streams: {:.1} kB resident each ({before:.0} MB before, {with_streams:.0} MB with them)",
        (with_streams - before) * 1024.0 / streams as f64
    );

    println!(
        "alone:             {}",
        probe(address, others.clone(), None).await?
    );
    let end = CancellationToken::new();
    let probed: JoinHandle<Result<Answers>> = tokio::spawn({
        let end = end.clone();
        async move { probe(address, others, Some(end)).await }
    });
    heard.store(0, Ordering::SeqCst);
    let began = Instant::now();
    change_all(&stage.pool, conversations, 2, now).await?;
    let stored = began.elapsed();
    until_all("changed", &heard, streams).await?;
    let all_heard = began.elapsed();
    end.cancel();
    let answers = probed.await??;
    println!(
        "during the change: {answers}\n{conversations} conversations were stored in {stored:.1?}, and the last page had heard after \
         {all_heard:.1?}; {:.0} MB resident",
        web.memory("VmRSS")?
    );
    pages.shutdown().await;
    let slowest = answers.slowest()?;
    ensure!(slowest < GOAL, "{slowest:.1?} is not below {GOAL:?}");
    Ok(())
}

fn consumer(n: usize) -> String {
    format!("consumer-{n:06}")
}

/// Stores that each consumer has so many unread messages, page by page, as a scan does.
async fn change_all(pool: &PgPool, many: usize, unread: u32, now: DateTime<Utc>) -> Result<()> {
    let account = ACCOUNT.parse()?;
    for page in (0..many).step_by(PAGE) {
        let page = page..many.min(page + PAGE);
        let snapshots: Vec<ConversationSnapshot> = page.map(|n| snapshot(n, unread, now)).collect();
        let mut tx = pool.begin().await?;
        conversations::store(&mut tx, &account, &snapshots, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

fn snapshot(n: usize, unread_count: u32, now: DateTime<Utc>) -> ConversationSnapshot {
    ConversationSnapshot {
        id: consumer(n),
        skill: SkillId::UNASSIGNED,
        started_at: now,
        closed_at: None,
        open: true,
        read_state: ReadStatus::Unread,
        episode: Some("m1".to_owned()),
        unread_since: Some(now),
        unread_count,
        agent_wrote_at: Some(now),
        time_zone: None,
        language: None,
        consumer_ids: vec![consumer(n)],
        customer_id: None,
        decided: Decided::default(),
        addresses: PerChannel::default(),
    }
}

/// Opens a stream for each of the first consumers. Each counts an event that it gets.
async fn open(web: SocketAddr, streams: usize, heard: &Arc<AtomicUsize>) -> Result<JoinSet<()>> {
    let mut pages = JoinSet::new();
    for first in (0..streams).step_by(AT_ONCE) {
        let batch = first..streams.min(first + AT_ONCE);
        let opened = batch.map(|n| stream(web, n));
        for mut stream in futures_util::future::try_join_all(opened).await? {
            let heard = heard.clone();
            pages.spawn(async move {
                let mut piece = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut piece).await {
                    // An event is one piece: it is far shorter than a packet, and its fields come in one write.
                    let said = String::from_utf8_lossy(&piece[..length]);
                    heard.fetch_add(said.matches("event: unread").count(), Ordering::SeqCst);
                }
            });
        }
    }
    Ok(pages)
}

async fn stream(web: SocketAddr, n: usize) -> Result<TcpStream> {
    let (high, low) = (n / PER_ADDRESS / 250, n / PER_ADDRESS % 250);
    let own = [127, 0, 1 + u8::try_from(high)?, 1 + u8::try_from(low)?];
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((own, 0)))?;
    let mut stream = socket.connect(web).await?;
    let request = format!(
        "GET /v1/badge/{ACCOUNT}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        token(&consumer(n))
    );
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

async fn until_all(what: &str, heard: &AtomicUsize, streams: usize) -> Result<()> {
    let what = format!("every page has its {what} event");
    until(&what, Duration::from_mins(2), async || {
        Ok((heard.load(Ordering::SeqCst) >= streams).then_some(()))
    })
    .await
}

/// How long badge answers took.
struct Answers(Vec<Duration>);

impl Answers {
    fn slowest(&self) -> Result<Duration> {
        self.0.last().copied().context("the badge was asked")
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |share: usize| self.0.get(self.0.len() * share / 100);
        let (half, p99) = (
            at(50).unwrap_or(&Duration::ZERO),
            at(99).unwrap_or(&Duration::ZERO),
        );
        let slowest = self.0.last().unwrap_or(&Duration::ZERO);
        write!(
            f,
            "{} badge answers: p50 {half:.1?}, p99 {p99:.1?}, slowest {slowest:.1?}",
            self.0.len()
        )
    }
}

/// Asks again and again, each time when the answer is there and a little later, by turns for somebody nobody knows, who is answered from
/// memory, and for one who changes: a thousand times, or until the end.
async fn probe(
    web: SocketAddr,
    others: Range<usize>,
    end: Option<CancellationToken>,
) -> Result<Answers> {
    let mut others = others.cycle();
    let mut stream = TcpStream::connect(web).await?;
    stream.set_nodelay(true)?;
    let mut waits = Vec::new();
    while match &end {
        Some(end) => !end.is_cancelled(),
        None => waits.len() < 1_000,
    } {
        waits.push(ask(&mut stream, "nobody").await?);
        let other = others.next().context("there are others")?;
        waits.push(ask(&mut stream, &consumer(other)).await?);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    waits.sort_unstable();
    Ok(Answers(waits))
}

/// One badge answer on a connection that stays open.
async fn ask(stream: &mut TcpStream, consumer: &str) -> Result<Duration> {
    let request = format!(
        "GET /helpers/msghist/{ACCOUNT}/{consumer}/unreadByConsumer HTTP/1.1\r\nHost: localhost\r\n\r\n"
    );
    let began = Instant::now();
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 2048];
    let length = stream.read(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer[..length]);
    ensure!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.contains("unreadByConsumer"),
        "{answer}"
    );
    Ok(began.elapsed())
}
