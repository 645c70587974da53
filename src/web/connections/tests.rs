//! A listener on loopback with short times, and callers who take theirs.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use axum::routing::{get, post};
use futures_util::stream;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use super::line::ConnectionPhase;
use super::*;
use crate::metrics::{Closed, Metrics};

/// Far above what an answer here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A limit that is waited for. Far above what takes place within it on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

/// What callers are given; a test shortens what it looks at.
fn limits() -> ConnectionLimits {
    let mut limits = ConnectionLimits::new(100, 100, Vec::new());
    limits.beat = Duration::from_millis(10);
    limits
}

struct Stage {
    at: SocketAddr,
    metrics: Metrics,
    shutdown: CancellationToken,
    /// Lets `/wait` answer.
    gate: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    served: tokio::task::JoinHandle<()>,
}

async fn stage(limits: ConnectionLimits) -> Stage {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (gate, waiting) = (
        Arc::new(Semaphore::new(0)),
        Arc::new(AtomicUsize::default()),
    );
    let (opened, came) = (gate.clone(), waiting.clone());
    let endless = || async {
        let piece = bytes::Bytes::from(vec![b'x'; 64 * 1024]);
        Body::from_stream(stream::repeat_with(move || {
            Ok::<_, Infallible>(piece.clone())
        }))
    };
    let wait = move || async move {
        came.fetch_add(1, Ordering::SeqCst);
        opened.acquire().await.unwrap().forget();
        "waited"
    };
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/page", get(|| async { "page" }))
        .route("/echo", post(|body: String| async { body }))
        .route("/endless", get(endless))
        .route("/wait", get(wait));
    let (at, metrics, shutdown) = (
        listener.local_addr().unwrap(),
        Metrics::new(),
        CancellationToken::new(),
    );
    let connections = metrics.connections("web");
    let served = serve(
        listener,
        Plain(routes),
        limits,
        connections,
        shutdown.clone(),
    );
    Stage {
        at,
        metrics,
        shutdown,
        gate,
        waiting,
        served: tokio::spawn(served),
    }
}

impl Stage {
    /// From one of loopback's many addresses.
    async fn from(&self, last: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        let address = SocketAddr::from(([127, 0, 0, last], 0));
        socket.bind(address).unwrap();
        socket.connect(self.at).await.unwrap()
    }

    async fn half_open(&self, last: u8) -> TcpStream {
        let mut caller = self.from(last).await;
        caller
            .write_all(b"GET /page HTTP/1.1\r\nHost: x\r\nX-A: ")
            .await
            .unwrap();
        caller
    }

    /// What the listener's metric of that name says.
    fn count(&self, name: &str, reason: &str) -> f64 {
        let families = self.metrics.registry().gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.unwrap().get_metric().iter();
        let of_reason = metrics.filter(|metric| {
            reason.is_empty() || metric.get_label().iter().any(|l| l.value() == reason)
        });
        of_reason
            .map(|m| m.get_counter().get_value() + m.get_gauge().get_value())
            .sum()
    }

    async fn count_becomes(&self, name: &str, reason: &str, count: f64) {
        let came = async {
            while (self.count(name, reason) - count).abs() > 0.1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, came).await;
        assert!(came.is_ok(), "{name} {reason} never became {count}");
    }

    async fn closed(&self, why: Closed, count: u8) {
        let name = "unread_connections_closed_total";
        self.count_becomes(name, why.as_str(), f64::from(count))
            .await;
    }

    async fn open(&self, count: u8) {
        self.count_becomes("unread_connections", "", f64::from(count))
            .await;
    }
}

fn get_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Asks on an open connection, and reads the answer to its end.
async fn ask(caller: &mut TcpStream, path: &str) -> String {
    caller
        .write_all(get_request(path).as_bytes())
        .await
        .unwrap();
    answer(caller).await
}

/// One answer with a length.
async fn answer(caller: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = async {
        loop {
            let mut buffer = [0; 1024];
            let count = caller.read(&mut buffer).await.unwrap();
            assert!(count > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if body.len() == length {
                return text;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("an answer")
}

/// What comes until the other side closes.
async fn to_the_end(caller: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, caller.read_to_end(&mut bytes));
    // A reset is an end as well.
    let _ = read.await.expect("the connection ends");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn headers_have_a_time_to_arrive_in_however_they_drip() {
    let mut limits = limits();
    limits.head = SHORT;
    let stage = stage(limits).await;
    let mut silent = stage.from(1).await;
    let mut half = stage.half_open(1).await;
    let dripping = async {
        let mut drip = stage.half_open(1).await;
        while drip.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let drips = tokio::time::timeout(PATIENCE, dripping).await;
    assert!(drips.is_ok(), "dripped for ever");
    assert_eq!(to_the_end(&mut silent).await, "");
    assert_eq!(to_the_end(&mut half).await, "");
    stage.closed(Closed::Headers, 3).await;
    // So have those of a later request.
    let mut again = stage.from(1).await;
    assert!(ask(&mut again, "/page").await.ends_with("page"));
    again.write_all(b"GET /pa").await.unwrap();
    assert_eq!(to_the_end(&mut again).await, "");
    stage.closed(Closed::Headers, 4).await;
    stage.open(0).await;
}

#[tokio::test]
async fn a_body_must_keep_coming_and_come_to_its_end() {
    let head =
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n";
    let mut of_pauses = limits();
    of_pauses.body_pause = SHORT;
    let stage = self::stage(of_pauses).await;
    // Longer than a pause altogether.
    let mut steady = stage.from(1).await;
    steady.write_all(head.as_bytes()).await.unwrap();
    for piece in [b"01".as_slice(), b"23", b"45", b"67", b"89"] {
        tokio::time::sleep(SHORT / 4).await;
        steady.write_all(piece).await.unwrap();
    }
    assert!(answer(&mut steady).await.ends_with("0123456789"));
    assert!(ask(&mut steady, "/page").await.ends_with("page"));

    let mut stops = stage.from(1).await;
    stops.write_all(head.as_bytes()).await.unwrap();
    stops.write_all(b"01").await.unwrap();
    let told = to_the_end(&mut stops).await;
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    assert!(told.contains("connection: close"), "{told}");

    let mut of_all = limits();
    of_all.body = SHORT;
    let stage = self::stage(of_all).await;
    let mut dripping = stage.from(1).await;
    dripping
        .write_all(head.replace("10", "1000").as_bytes())
        .await
        .unwrap();
    let (mut reads, mut writes) = dripping.split();
    let drip = async {
        while writes.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut told = String::new();
    tokio::select! {
        () = drip => panic!("closed without a word"),
        read = tokio::time::timeout(PATIENCE, reads.read_to_string(&mut told)) => drop(read.unwrap()),
    }
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_and_not_for_ever() {
    let mut limits = limits();
    limits.head = SHORT / 2;
    limits.idle = SHORT * 2;
    let stage = stage(limits).await;
    let mut caller = stage.from(1).await;
    assert!(ask(&mut caller, "/page").await.ends_with("page"));
    // Longer than a request's headers may take.
    tokio::time::sleep(SHORT * 3 / 4).await;
    assert!(ask(&mut caller, "/page").await.ends_with("page"));
    assert_eq!(to_the_end(&mut caller).await, "");
    stage.closed(Closed::Idle, 1).await;
    stage.closed(Closed::Headers, 0).await;
    stage.open(0).await;
}

#[tokio::test]
async fn who_does_not_read_an_answer_is_closed_and_who_reads_slowly_is_not() {
    let mut limits = limits();
    limits.write = SHORT;
    let stage = stage(limits).await;
    let mut deaf = stage.from(1).await;
    let mut slow = stage.from(2).await;
    for caller in [&mut deaf, &mut slow] {
        let request = get_request("/endless");
        caller.write_all(request.as_bytes()).await.unwrap();
    }
    let reading = async {
        let mut buffer = vec![0; 1024 * 1024];
        loop {
            let count = slow.read(&mut buffer).await.unwrap();
            assert!(count > 0, "closed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = reading => {}
        () = stage.closed(Closed::Unread, 1) => {}
    }
    stage.open(1).await;
}

#[tokio::test]
async fn an_address_has_its_share_and_its_idle_connections_make_room() {
    let mut limits = limits();
    limits.per_address = 3;
    let stage = stage(limits).await;
    let mut idle = stage.from(1).await;
    assert!(ask(&mut idle, "/page").await.ends_with("page"));
    let _half = [stage.half_open(1).await, stage.half_open(1).await];
    stage.open(3).await;
    let mut fourth = stage.from(1).await;
    assert!(ask(&mut fourth, "/page").await.ends_with("page"));
    assert_eq!(to_the_end(&mut idle).await, "");
    stage.closed(Closed::Room, 1).await;
    let _third = stage.half_open(1).await;
    let _ = to_the_end(&mut fourth).await;
    // Nobody there is idle now.
    let mut refused = stage.half_open(1).await;
    assert_eq!(to_the_end(&mut refused).await, "");
    stage
        .count_becomes("unread_connections_refused_total", "address", 1.0)
        .await;
    let mut other = stage.from(2).await;
    assert!(ask(&mut other, "/page").await.ends_with("page"));
}

#[tokio::test]
async fn a_trusted_proxy_has_no_share_and_may_keep_its_connections_for_longer() {
    let mut limits = limits();
    limits.per_address = 2;
    limits.idle = Duration::from_millis(50);
    limits.trusted = vec!["127.0.0.9".parse().unwrap()];
    let stage = stage(limits).await;
    let mut pool = Vec::new();
    for _ in 0..5 {
        let mut kept = stage.from(9).await;
        assert!(ask(&mut kept, "/page").await.ends_with("page"));
        pool.push(kept);
    }
    let mut other = stage.from(1).await;
    assert!(ask(&mut other, "/page").await.ends_with("page"));
    assert_eq!(to_the_end(&mut other).await, "");
    for kept in &mut pool {
        assert!(ask(kept, "/page").await.ends_with("page"));
    }
}

#[tokio::test]
async fn whoever_has_the_most_makes_room_and_probes_are_always_answered() {
    let mut limits = limits();
    limits.total = 4;
    limits.probe = SHORT;
    let stage = stage(limits).await;
    let mut working = stage.from(2).await;
    let request = get_request("/wait");
    working.write_all(request.as_bytes()).await.unwrap();
    let _waiting = [stage.half_open(2).await, stage.half_open(2).await];
    let mut newest = stage.half_open(2).await;
    stage.open(4).await;

    let mut visitor = stage.from(1).await;
    assert!(ask(&mut visitor, "/page").await.ends_with("page"));
    assert_eq!(to_the_end(&mut newest).await, "");
    stage.closed(Closed::Room, 1).await;

    // Who has the most can make nobody else go.
    let mut fifth = stage.from(2).await;
    let told = ask(&mut fifth, "/page").await;
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    assert!(told.contains("retry-after: "), "{told}");
    assert_eq!(to_the_end(&mut fifth).await, "");
    let mut prober = stage.from(2).await;
    let told = ask(&mut prober, "/healthz").await;
    assert!(
        told.starts_with("HTTP/1.1 200 ") && told.ends_with("ok"),
        "{told}"
    );
    assert_eq!(to_the_end(&mut prober).await, "");
    let mut silent = stage.from(2).await;
    assert_eq!(to_the_end(&mut silent).await, "");
    stage
        .count_becomes("unread_connections_refused_total", "total", 3.0)
        .await;
    assert!(ask(&mut visitor, "/page").await.ends_with("page"));

    // A place in the reserve goes to who comes last.
    let mut crowd = Vec::new();
    for _ in 0..=limits::RESERVE {
        crowd.push(stage.from(2).await);
    }
    assert_eq!(to_the_end(&mut crowd[0]).await, "");
    let mut prober = stage.from(2).await;
    assert!(ask(&mut prober, "/healthz").await.ends_with("ok"));

    stage.gate.add_permits(1);
    assert!(
        answer(&mut working).await.ends_with("waited"),
        "work is never cut off"
    );
}

#[tokio::test]
async fn at_the_end_what_was_asked_is_answered_and_the_idle_go() {
    let stage = stage(limits()).await;
    let mut idle = stage.from(1).await;
    assert!(ask(&mut idle, "/page").await.ends_with("page"));
    let mut working = stage.from(1).await;
    let request = get_request("/wait");
    working.write_all(request.as_bytes()).await.unwrap();
    while stage.waiting.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.shutdown.cancel();
    assert_eq!(to_the_end(&mut idle).await, "");
    assert!(!stage.served.is_finished());
    stage.gate.add_permits(1);
    let told = to_the_end(&mut working).await;
    assert!(told.ends_with("waited"), "{told}");
    tokio::time::timeout(PATIENCE, stage.served)
        .await
        .expect("it ends")
        .unwrap();
}

#[tokio::test]
async fn headers_have_a_size() {
    let stage = stage(limits()).await;
    for (length, status) in [(16 * 1024, "200"), (64 * 1024, "431")] {
        let mut caller = stage.from(1).await;
        let request = format!(
            "GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: {}\r\n\r\n",
            "x".repeat(length)
        );
        let _ = caller.write_all(request.as_bytes()).await;
        let told = answer(&mut caller).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
    }
}

/// What may happen to the book.
#[derive(Clone, Copy, Debug)]
enum Event {
    Comes(u8),
    Leaves(usize),
    Enters(usize, ConnectionPhase),
    Time(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let phase = prop_oneof![
        Just(ConnectionPhase::Idle),
        Just(ConnectionPhase::Head),
        Just(ConnectionPhase::Body),
        Just(ConnectionPhase::Ours)
    ];
    prop_oneof![
        4 => (0u8..6).prop_map(Event::Comes),
        1 => any::<usize>().prop_map(Event::Leaves),
        3 => (any::<usize>(), phase).prop_map(|(which, phase)| Event::Enters(which, phase)),
        1 => (1u32..60).prop_map(Event::Time),
    ]
}

proptest! {
    #[test]
    fn the_book_never_holds_more_than_it_may_and_forgets_nobody(
        events in prop::collection::vec(event(), 0..200)
    ) {
        let mut limits = ConnectionLimits::new(12, 5, vec!["192.0.2.5".parse().unwrap()]);
        limits.beat = Duration::from_secs(1);
        let beats = Arc::new(Beats::default());
        let mut book = Book::new(limits, beats.clone());
        let mut inside: Vec<Arc<OpenConnection>> = Vec::new();
        for event in events {
            match event {
                Event::Comes(who) => {
                    let peer = SocketAddr::from(([192, 0, 2, who], 4000));
                    let working = inside.iter().filter(|line| !line.is_waiting_for_them()).count();
                    let admission = book.admit(peer);
                    prop_assert_eq!(admission.line.is_none(), admission.refused == Some(RefusedConnection::Address));
                    inside.extend(admission.line);
                    inside.retain(|line| line.is_kept());
                    let left = inside.iter().filter(|line| !line.is_waiting_for_them()).count();
                    let of_reserve = admission.refused == Some(RefusedConnection::Total);
                    prop_assert!(left == working || of_reserve, "work was cut off");
                }
                Event::Leaves(which) if !inside.is_empty() => {
                    let line = inside.remove(which % inside.len());
                    book.leave(&line);
                    book.leave(&line);
                }
                Event::Enters(which, phase) if !inside.is_empty() => {
                    inside[which % inside.len()].enter(phase);
                }
                Event::Time(seconds) => {
                    beats.set(beats.now() + seconds);
                    let before = inside.len();
                    let closed = book.sweep().len();
                    inside.retain(|line| line.is_kept());
                    prop_assert_eq!(before - inside.len(), closed);
                }
                Event::Leaves(_) | Event::Enters(..) => {}
            }
            prop_assert_eq!(book.len(), inside.len());
            let usual = inside.iter().filter(|line| line.lane != ConnectionLane::Reserve);
            prop_assert!(usual.count() <= 12);
            for who in 0..5 {
                let of_them = |line: &&Arc<OpenConnection>| line.lane == ConnectionLane::Usual && line.peer.ip().to_string().ends_with(&who.to_string());
                prop_assert!(inside.iter().filter(of_them).count() <= 5);
            }
        }
    }
}
