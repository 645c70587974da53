//! By which names the service is called: what a page of a stranger can do whose name leads here.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use unread::domain::access::Role;
use unread::sandbox::ACCOUNT;

use crate::harness::{Setup, TestApp, run_test, run_test_with};

/// As a browser sends it that was told that `rebind.evil` is this machine.
async fn rebound(t: &TestApp, method: reqwest::Method, url: &str, body: &str) -> reqwest::Response {
    let port = url.rsplit(':').next().unwrap().split('/').next().unwrap();
    let host = format!("rebind.evil:{port}");
    let request = t.http.request(method, url).header("host", &host);
    let request = request
        .header("origin", format!("http://{host}"))
        .header("sec-fetch-site", "same-origin")
        .header("content-type", "application/x-www-form-urlencoded");
    request.body(body.to_owned()).send().await.unwrap()
}

#[tokio::test]
async fn a_stranger_s_page_whose_name_leads_here_reads_and_changes_nothing() {
    use reqwest::Method;
    run_test(async |t| {
        let _somebody = t.person(Role::Viewer).await;
        let level = t.metrics.replace("/metrics", "/log-level");
        for (method, url) in [
            (Method::POST, format!("{}/login", t.web)),
            (Method::GET, format!("{}/login", t.web)),
            (Method::GET, format!("{}/api/v1/me", t.web)),
            (
                Method::GET,
                format!("{}/helpers/msghist/{ACCOUNT}/x/unreadByConsumer", t.web),
            ),
            (Method::GET, format!("{}/r/unknown", t.web)),
            (Method::POST, format!("{}/twilio/inbound", t.web)),
            (Method::POST, format!("{}/healthz", t.web)),
            (Method::PUT, level),
        ] {
            let answer = rebound(t, method.clone(), &url, "name=ann&password=demo").await;
            assert_eq!(answer.status(), 421, "{method} {url}");
            assert!(answer.headers().get("set-cookie").is_none());
            let told = answer.text().await.unwrap();
            assert!(told.contains("UNREAD_ALLOWED_HOSTS"), "{told}");
            assert!(!told.contains("rebind"), "{told}");
            let problem: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(problem["status"], 421);
        }
        for url in [
            format!("{}/healthz", t.web),
            format!("{}/readyz", t.web),
            t.metrics.clone(),
        ] {
            let answer = rebound(t, Method::GET, &url, "").await;
            assert_eq!(answer.status(), 200, "{url}");
        }
    })
    .await;
}

#[tokio::test]
async fn names_that_the_settings_allow_are_answered() {
    let setup = Setup {
        settings: vec![("UNREAD_ALLOWED_HOSTS", "unread-dashboard, *.unread.svc:80")],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        for (host, status) in [
            ("unread-dashboard", 200),
            ("unread-dashboard:3000", 200),
            ("a.unread.svc", 200),
            ("localhost", 200),
            ("10.0.0.7:3000", 200),
            ("unread.svc", 421),
            ("example.com", 421),
        ] {
            let request = t.http.get(format!("{}/login", t.web)).header("host", host);
            assert_eq!(request.send().await.unwrap().status(), status, "{host}");
        }
    })
    .await;
}

#[tokio::test]
async fn over_https_browsers_are_told_to_stay_there() {
    for (public, expected) in [
        ("https://unread.example.com", Some("max-age=31536000")),
        ("http://unread.example.com", None),
    ] {
        let setup = Setup {
            settings: vec![("UNREAD_PUBLIC_URL", public)],
            ..Setup::default()
        };
        run_test_with(setup, async |t| {
            for path in [
                "/login".to_owned(),
                "/healthz".to_owned(),
                "/no/such/page".to_owned(),
                format!("/helpers/msghist/{ACCOUNT}/x/unreadByConsumer"),
            ] {
                let request = t.http.get(format!("{}{path}", t.web));
                let request = request.header("host", "unread.example.com");
                let answer = request.send().await.unwrap();
                assert_ne!(answer.status(), 421);
                let told = answer.headers().get("strict-transport-security");
                assert_eq!(told.map(|v| v.to_str().unwrap()), expected, "{path}");
            }
        })
        .await;
    }
}

/// The first line of the answer to these bytes.
async fn raw(t: &TestApp, request: &str) -> String {
    let address = t.web.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_request_names_its_host_exactly_once() {
    run_test(async |t| {
        for (head, status) in [
            ("GET /login HTTP/1.1\r\n", "400"),
            ("GET /healthz HTTP/1.1\r\n", "400"),
            ("GET /login HTTP/1.1\r\nHost: localhost\r\n", "200"),
            (
                "GET /login HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
                "400",
            ),
            (
                "GET /healthz HTTP/1.1\r\nHost: localhost\r\nhost: rebind.evil\r\n",
                "400",
            ),
            (
                "GET http://localhost/login HTTP/1.1\r\nHost: localhost\r\n",
                "200",
            ),
            (
                "GET http://localhost/login HTTP/1.1\r\nHost: rebind.evil\r\n",
                "400",
            ),
            (
                "GET http://rebind.evil/login HTTP/1.1\r\nHost: localhost\r\n",
                "400",
            ),
            (
                "GET http://rebind.evil/login HTTP/1.1\r\nHost: rebind.evil\r\n",
                "421",
            ),
            ("GET /login HTTP/1.1\r\nHost: <script>\r\n", "400"),
            ("GET /healthz HTTP/1.0\r\n", "200"),
            ("GET /login HTTP/1.0\r\n", "400"),
        ] {
            let told = raw(t, &format!("{head}Connection: close\r\n\r\n")).await;
            let told = told.split(' ').nth(1).unwrap_or_default().to_owned();
            assert_eq!(told, status, "{head:?}");
        }
    })
    .await;
}
