//! Ten thousand strangers at once, in front of real processes: what LivePerson, the scans and the web's memory notice of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use unread::sandbox::faults::Endpoint;
use unread::sandbox::world::{CUSTOMER_CARE, Shape};
use unread::sandbox::{ACCOUNT, Options, Sandbox};

use super::stage::eventually;
use super::unknown;
use crate::harness::{free_port, migrated};
use crate::process::Process;
use crate::roles::settings_for;

/// Sockets, and requests that are written to each before any answer is read.
const SOCKETS: usize = 500;
const ON_EACH: usize = 20;

/// What a scan may take before the next is due.
const SLOT: Duration = Duration::from_secs(10);

/// Calls to LivePerson in all, and those of them that the badge may make: the defaults.
const CALLS_PER_SECOND: f64 = 5.0;
const LOOK_UPS_PER_SECOND: f64 = 1.0;

/// Twenty pages: a scan of them uses all the calls there are for four seconds, so that whatever the strangers take is missed.
const PAGES: u32 = 20;
const CONVERSATIONS: u32 = PAGES * 100;

/// Kilobytes of memory that ten thousand strangers may cost.
const MEMORY: u64 = 64 << 10;

/// Each asks for a consumer of its own; all answers must be `false`.
async fn strangers(port: u16, first: usize) {
    let sockets = (0..SOCKETS).map(|socket| async move {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut requests = String::new();
        for n in 0..ON_EACH {
            let consumer = unknown(first + socket * ON_EACH + n);
            let path = format!("/helpers/msghist/{ACCOUNT}/{consumer}/unreadByConsumer");
            requests.extend(["GET ", &path, " HTTP/1.1\r\nhost: localhost\r\n\r\n"]);
        }
        tcp.write_all(requests.as_bytes()).await.unwrap();
        tcp
    });
    let sockets = join_all(sockets).await;
    join_all(sockets.into_iter().map(|mut tcp| async move {
        let mut told = String::new();
        let mut buffer = [0; 4096];
        let answer = r#"{"unreadByConsumer":false}"#;
        while told.matches(answer).count() < ON_EACH {
            let read = tcp.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the service hung up: {told}");
            told.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        assert_eq!(told.matches("HTTP/1.1 200 OK").count(), ON_EACH, "{told}");
    }))
    .await;
}

/// When the skill's last scan began, and how long it took.
async fn last_scan(pool: &PgPool) -> Option<(DateTime<Utc>, Duration)> {
    let scan: Option<(DateTime<Utc>, i64)> = sqlx::query_as(
        "select started_at, duration_ms from scans where skill = $1 and finished_at >= started_at",
    )
    .bind(CUSTOMER_CARE)
    .fetch_optional(pool)
    .await
    .unwrap();
    scan.map(|(began, ms)| (began, Duration::from_millis(u64::try_from(ms).unwrap())))
}

/// The skill's next scans that end.
async fn next_scans(pool: &PgPool, many: usize) -> BTreeMap<DateTime<Utc>, Duration> {
    let last = last_scan(pool).await;
    let mut scans = BTreeMap::new();
    for ended in 1..=many {
        eventually(async || {
            let newest = last_scan(pool).await;
            scans.extend(newest.filter(|scan| Some(*scan) != last));
            scans.len() >= ended
        })
        .await;
    }
    scans
}

/// Seconds that the worker has waited for its turns at LivePerson.
async fn waited(metrics: u16) -> f64 {
    let text = unread::liveperson::http_client()
        .get(format!("http://127.0.0.1:{metrics}/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let series = "unread_limit_wait_seconds_total{limit=\"liveperson\"} ";
    text.lines()
        .find_map(|line| line.strip_prefix(series))
        .map_or(0.0, |seconds| seconds.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_strangers_at_once_cost_few_calls_and_little_memory_and_delay_no_scan() {
    let database = migrated().await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let shape = Shape {
        started_at: sandbox.world().clock().now_ms() - 3_600_000,
        every_ms: 10,
        answered_after_ms: 60_000,
        email: false,
        phone: false,
    };
    let world = sandbox.world();
    let populated = world.populate(ACCOUNT, CUSTOMER_CARE, CONVERSATIONS, shape);
    populated.unwrap();
    let port = free_port();
    let settings = settings_for(
        &sandbox,
        &database.url,
        &[
            ("PORT", &port.to_string()),
            ("UNREAD_SCAN_INTERVAL_SECONDS", &SLOT.as_secs().to_string()),
            (
                "UNREAD_LIVEPERSON_RATE_PER_SECOND",
                &CALLS_PER_SECOND.to_string(),
            ),
            (
                "UNREAD_BADGE_LOOKUPS_PER_SECOND",
                &LOOK_UPS_PER_SECOND.to_string(),
            ),
            ("UNREAD_BADGE_REQUESTS_PER_SECOND", "100000"),
            // All strangers have one address here.
            ("UNREAD_CONNECTIONS_PER_ADDRESS", "2000"),
        ],
    );
    let web = Process::start(&["web"], &settings);
    let metrics = free_port();
    let mut of_worker = settings.clone();
    of_worker.push(("UNREAD_METRICS_PORT".to_owned(), metrics.to_string()));
    let _worker = Process::start(&["worker"], &of_worker);
    let _scheduler = Process::start(&["scheduler"], &settings);
    eventually(async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
    // The first scan stores what the others only look at.
    let _first = next_scans(&database.pool, 1).await;
    let alone = next_scans(&database.pool, 2).await;

    let before = web.resident();
    let started = Instant::now();
    strangers(port, 0).await;
    let took = started.elapsed();
    let after_ten_thousand = web.resident();

    let waited_before = waited(metrics).await;
    // More of them come for as long as it takes to see three scans end among them.
    let more = async {
        for wave in 1.. {
            strangers(port, wave * SOCKETS * ON_EACH).await;
        }
    };
    let among = tokio::select! {
        among = next_scans(&database.pool, 3) => among,
        () = more => unreachable!("they never end"),
    };
    let a_scan_waited = (waited(metrics).await - waited_before) / 3.0;
    let seconds = started.elapsed().as_secs_f64();
    let allowed = seconds * LOOK_UPS_PER_SECOND + LOOK_UPS_PER_SECOND * 2.0 + 1.0;
    let calls = sandbox.faults().requests(Endpoint::ByConsumer);
    let at_most = web.resident_at_most();
    println!(
        "10,000 strangers were answered in {took:?}, more of them came until {seconds:.0} s: {calls} calls of {allowed:.0} allowed; \
         memory {before} kB before, {after_ten_thousand} kB after 10,000, {at_most} kB at most; \
         scans: {alone:?} alone, {among:?} among them, where each waited {a_scan_waited:.1} s for its turns"
    );
    assert!(calls >= 1, "some are looked up");
    assert!(f64::from(u32::try_from(calls).unwrap()) <= allowed);
    // A scan that needs all the calls there are is missing those of the badge, and nothing else: it waits for five seconds. On a machine that
    // the strangers keep busy each turn is noticed late. If they came before it, it would find no turn at all as long as they come.
    let turns = f64::from(PAGES) / (CALLS_PER_SECOND - LOOK_UPS_PER_SECOND);
    assert!(a_scan_waited < turns * 3.0, "scans wait for strangers");
    assert!(after_ten_thousand < before + MEMORY);
    assert!(at_most < before + 2 * MEMORY, "it goes on growing");
    sandbox.stop().await;
}
