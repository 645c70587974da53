//! What a running process tells of itself: its log level can be changed, and spans of jobs and requests reach a collector.

use std::sync::{Arc, Mutex};

use unread::trace::TraceParent;

use crate::database::own_server;
use crate::harness::{eventually, free_port, migrated, migrated_on, run_test};
use crate::process::{Process, Settings, run, text};
use crate::roles::{sandbox, settings_for};

fn with_metrics_port(settings: Settings, port: u16) -> Settings {
    let others = settings.into_iter();
    let mut settings: Settings = others
        .filter(|(key, _)| key != "UNREAD_METRICS_PORT")
        .collect();
    settings.push(("UNREAD_METRICS_PORT".to_owned(), port.to_string()));
    settings
}

#[tokio::test]
async fn the_log_level_changes_while_a_process_runs_and_a_wrong_one_changes_nothing() {
    let (db, sandbox) = (migrated().await, sandbox().await);
    let settings = with_metrics_port(settings_for(&sandbox, &db.url, &[]), free_port());
    let refused = run(&["log-level", "debug"], &settings).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("no service answers"));

    let process = Process::start(&["worker"], &settings);
    eventually("the worker is ready", async || {
        run(&["health"], &settings).await.status.success()
    })
    .await;
    let wrong = run(&["log-level", "unread=loud"], &settings).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("refuses"));
    assert!(!process.log().contains("\"DEBUG\""));

    let changed = run(&["log-level", "warn,sqlx=debug"], &settings).await;
    assert!(changed.status.success(), "{}", text(&changed.stderr));
    eventually("more is logged", async || {
        process.log().contains("\"DEBUG\"")
    })
    .await;
    sandbox.stop().await;
}

/// One line of a log, as a collector reads it.
fn line(log: &str, message: &str) -> Option<serde_json::Value> {
    let mut lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines.find(|line: &serde_json::Value| {
        line["message"]
            .as_str()
            .is_some_and(|m| m.contains(message))
    })
}

#[tokio::test]
async fn the_first_line_says_what_runs_here_and_an_outage_says_why() {
    let (mut server, sandbox) = (own_server().await, sandbox().await);
    let db = migrated_on(&server).await;
    let more = [("UNREAD_LOG_LEVEL", "info")];
    let settings = with_metrics_port(settings_for(&sandbox, &db.url, &more), free_port());
    let process = Process::start(&["worker"], &settings);
    eventually("it works", async || {
        line(&process.log(), "Starting to work").is_some()
    })
    .await;
    let first = line(&process.log(), "Starting to work").unwrap();
    assert_eq!(first["role"], "worker");
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(first["accounts"], unread::sandbox::ACCOUNT);
    assert_eq!(first["schema"], unread::db::newest_migration());
    let place = first["database"].as_str().unwrap();
    assert!(place.starts_with('/') && !place.contains('@'), "{place}");

    eventually("it is ready", async || {
        run(&["health"], &settings).await.status.success()
    })
    .await;

    server.kill().await;
    eventually("why is in the log", async || {
        line(&process.log(), "The database cannot be reached: ").is_some()
    })
    .await;
    let why = line(&process.log(), "The database cannot be reached: ").unwrap();
    let why = why["message"].as_str().unwrap();
    assert!(!why.contains("pool timed out"), "{why}");
    eventually("the probe says why", async || {
        let health = run(&["health"], &settings).await;
        let told = text(&health.stderr);
        !health.status.success() && told.contains("no connection: ")
    })
    .await;
    server.start().await;
    eventually("that it is back is in the log, too", async || {
        line(&process.log(), "The database can be reached again").is_some()
    })
    .await;
    sandbox.stop().await;
}

#[tokio::test]
async fn a_request_has_an_id_and_the_caller_s_trace() {
    run_test(async |t| {
        let page = t.http.get(format!("{}/login", t.web));
        let page = page.header("x-request-id", "from-the-proxy").send();
        assert_eq!(
            page.await.unwrap().headers()["x-request-id"],
            "from-the-proxy"
        );
        let page = t.http.get(format!("{}/login", t.web)).send().await.unwrap();
        assert_eq!(page.headers()["x-request-id"].len(), 22);
    })
    .await;
    let (db, sandbox) = (migrated().await, sandbox().await);
    let more = [("UNREAD_LOG_LEVEL", "info,unread=debug")];
    let settings = settings_for(&sandbox, &db.url, &more);
    let port = settings
        .iter()
        .find(|(key, _)| key == "PORT")
        .unwrap()
        .1
        .clone();
    let process = Process::start(&["web"], &settings);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let http = reqwest::Client::new();
    eventually("a refused call is logged with id and trace", async || {
        let _ = http
            .post(format!("http://127.0.0.1:{port}/login"))
            .header("x-request-id", "from-the-proxy")
            .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
            .form(&[("name", "nobody"), ("password", "wrong password here")])
            .send()
            .await;
        let log = process.log();
        let mut lines = log.lines();
        lines.any(|line| line.contains(trace) && line.contains("from-the-proxy"))
    })
    .await;
    sandbox.stop().await;
}

/// What a call says of its trace: its path, and the header.
type Calls = Arc<Mutex<Vec<(String, String)>>>;

/// Stands before somebody whom the service calls, passes everything on, and writes down whose trace each call belongs to.
async fn recorder(of: &str) -> (String, Calls) {
    let calls = Calls::default();
    let (written, of) = (calls.clone(), of.to_owned());
    let http = unread::liveperson::http_client();
    let pass_on = async move |request: axum::extract::Request| {
        let (parts, body) = request.into_parts();
        let trace = parts.headers.get("traceparent");
        let trace = trace.map_or("", |value| value.to_str().unwrap()).to_owned();
        written
            .lock()
            .unwrap()
            .push((parts.uri.path().to_owned(), trace));
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let there = http.request(parts.method, format!("{of}{}", parts.uri));
        let answer = there
            .headers(parts.headers)
            .body(body)
            .send()
            .await
            .unwrap();
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        headers.remove("transfer-encoding");
        (status, headers, answer.bytes().await.unwrap())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let page = axum::Router::new().fallback(pass_on);
    tokio::spawn(async move { axum::serve(listener, page).await });
    (address, calls)
}

/// The trace of the first call whose path has this in it.
fn trace_of(calls: &Calls, path: &str) -> Option<TraceParent> {
    let calls = calls.lock().unwrap();
    let (_, header) = calls.iter().find(|(called, _)| called.contains(path))?;
    TraceParent::parse(header)
}

#[tokio::test]
async fn a_reminder_s_message_belongs_to_the_trace_of_the_scan_that_found_its_conversation() {
    let (db, sandbox) = (migrated().await, sandbox().await);
    let at = sandbox.endpoints();
    let (liveperson, looks) = recorder(&at.liveperson.domain_url).await;
    let (twilio, texts) = recorder(&at.twilio.base_url).await;
    let more = [
        ("UNREAD_LIVEPERSON_URL", liveperson.as_str()),
        ("TWILIO_BASE_URL", twilio.as_str()),
        ("UNREAD_LOG_LEVEL", "info,unread=debug"),
    ];
    crate::roles::answered(&sandbox, "+12025550143", 0);
    let process = Process::start(&["run"], &settings_for(&sandbox, &db.url, &more));
    eventually("the text arrives", async || {
        sandbox.outbox().texts_to("+12025550143").len() == 1
    })
    .await;
    let text = trace_of(&texts, "/Messages").unwrap();
    let trace = text.to_string()[3..35].to_owned();
    let scans = looks.lock().unwrap().clone();
    let found_it = scans
        .iter()
        .any(|(path, header)| path.ends_with("conversations/search") && header.contains(&trace));
    assert!(found_it, "{trace} is in none of {scans:#?}");
    let looked_again = scans
        .iter()
        .any(|(path, header)| path.ends_with("conversation/search") && header.contains(&trace));
    assert!(looked_again, "{trace} is in none of {scans:#?}");
    let jobs = process.log();
    let jobs = jobs
        .lines()
        .filter(|line| line.contains(&trace) && line.contains("\"queue\""));
    assert!(jobs.count() > 0, "no line of a job says its trace");
    sandbox.stop().await;
}

/// A collector on loopback; returns its address and what it has been told so far.
#[cfg(feature = "otlp")]
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let take = async move |body: axum::body::Bytes| heard.lock().unwrap().extend_from_slice(&body);
    let page = axum::Router::new().route("/v1/traces", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, page).await });
    (address, told)
}

#[cfg(feature = "otlp")]
#[tokio::test]
async fn spans_of_jobs_and_requests_reach_a_collector_with_the_reminder_s_id_and_no_secret() {
    let (db, sandbox) = (migrated().await, sandbox().await);
    let (address, told) = collector().await;
    let (liveperson, looks) = recorder(&sandbox.endpoints().liveperson.domain_url).await;
    // Spans are of the level info.
    let more = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("UNREAD_LIVEPERSON_URL", liveperson.as_str()),
        ("UNREAD_LOG_LEVEL", "info"),
    ];
    let settings = settings_for(&sandbox, &db.url, &more);
    crate::roles::answered(&sandbox, "ann@example.net", 0);
    let mut process = Process::start(&["run"], &settings);
    eventually("the reminder arrives", async || {
        sandbox.outbox().mails_to("ann@example.net").len() == 1
    })
    .await;
    let port = &settings.iter().find(|(key, _)| key == "PORT").unwrap().1;
    let _ = reqwest::get(format!("http://127.0.0.1:{port}/r/a-link-that-is-a-secret")).await;
    // What is on its way leaves before the process ends.
    assert_eq!(process.terminate().await.code(), Some(0));
    let bytes = told.lock().unwrap().clone();
    // Whoever is called is given the ids of a span that the collector knows.
    let given = trace_of(&looks, "conversations/search")
        .unwrap()
        .to_string();
    assert!(given.ends_with("-01"), "{given}");
    for id in [&given[3..35], &given[36..52]] {
        let digits: Vec<&str> = (0..id.len()).step_by(2).map(|at| &id[at..at + 2]).collect();
        let id: Vec<u8> = digits
            .iter()
            .map(|two| u8::from_str_radix(two, 16).unwrap())
            .collect();
        assert!(
            bytes.windows(id.len()).any(|part| part == id),
            "no span has the id {id:x?}"
        );
    }
    let told = String::from_utf8_lossy(&bytes).into_owned();
    for word in [
        "unread-run",
        "job",
        "deliver",
        "reminder",
        "request",
        "/r/{token}",
    ] {
        assert!(told.contains(word), "no span says {word}");
    }
    for secret in [
        "ann@example.net",
        "a-link-that-is-a-secret",
        "sandbox-password",
    ] {
        assert!(!told.contains(secret), "a span says {secret}");
    }
    sandbox.stop().await;
}
