//! Lists of opt-outs through the API, the page and the command line: one reader, every line accounted for, nobody held up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use unread::control::ControlError;
use unread::control::suppressions::{BadLines, Imports, import};
use unread::domain::access::{Permission, Role};
use unread::domain::contact::Suppression;
use unread::hashing::Hasher;
use unread::suppressions_file::Defaults;

use crate::harness::{TestApp, account, everything, migrated, noon, run_test};
use crate::person::Program;
use crate::process::{Folder, run, settings, text};

const SENDGRID: &str = include_str!("../fixtures/suppressions/sendgrid_bounces.csv");
const UTF_16: &[u8] = include_bytes!("../fixtures/suppressions/utf16le_bom.csv");

async fn count(t: &TestApp) -> i64 {
    let rows = sqlx::query_scalar("select count(*) from suppressions");
    rows.fetch_one(t.pool()).await.unwrap()
}

#[tokio::test]
async fn a_file_is_sent_as_it_is_and_every_line_is_accounted_for() {
    run_test(async |t| {
        let program = t.program(&[Permission::Operate]).await;
        let import = async |query: &str, file: &[u8]| -> (StatusCode, Value) {
            let request = program.ask(Method::POST, &format!("/suppressions/import{query}"));
            let request = request.header("Content-Type", "text/csv").body(file.to_vec());
            let answer = request.send().await.unwrap();
            (answer.status(), answer.json().await.unwrap())
        };
        let account = account();
        let (status, told) = import(&format!("?account={account}"), UTF_16).await;
        assert_eq!((status, &told["taken"], &told["changed"]), (StatusCode::OK, &json!(2), &json!(2)));

        let (status, told) = import(&format!("?account={account}"), SENDGRID.as_bytes()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(told["layout"], "SendGrid bounces or blocks");
        assert_eq!((&told["lines"], &told["taken"], &told["left_out"]), (&json!(4), &json!(2), &json!(0)));
        assert_eq!(told["skipped"], json!([{ "why": "temporary_failure", "lines": 2 }]));

        let bad = b"email\rcid@example.com\rsecret\rdan@example.com\r";
        let before = count(t).await;
        let (status, told) = import(&format!("?account={account}"), bad).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(told["errors"][0]["detail"], "line 3: not an e-mail address");
        assert!(!told.to_string().contains("secret"));
        assert_eq!(count(t).await, before, "all or nothing");

        let query = format!("?account={account}&leave_out_bad_lines=true&reason=complaint");
        let (status, told) = import(&query, bad).await;
        assert_eq!((status, &told["taken"], &told["left_out"]), (StatusCode::OK, &json!(2), &json!(1)));
        assert_eq!(told["problems"], json!([{ "line": 3, "last_line": 3, "what": "not an e-mail address" }]));
        assert_eq!(count(t).await, before + 2);
        let kept: (String, Value) = sqlx::query_as("select subject, detail from audit where action = 'suppression.import' order by id desc limit 1")
            .fetch_one(t.pool()).await.unwrap();
        assert_eq!((&kept.1["lines"], &kept.1["left_out"]), (&json!(3), &json!(1)));

        let (status, _) = import("", bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "for whom?");
        let (status, _) = import("?account=nobody", bad).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn three_hundred_thousand_numbers_fit_and_four_times_as_many_do_not() {
    run_test(async |t| {
        let program = t.program(&[Permission::Operate]).await;
        let send = async |bytes: usize| {
            // Comments of one field each, so that the test is about the size alone.
            let mut list = "email,note\nann@example.com,\"".to_owned();
            list.extend(std::iter::repeat_n('x', bytes));
            list.push_str("\"\n");
            let request = program.ask(
                Method::POST,
                &format!("/suppressions/import?account={}", account()),
            );
            let request = request.header("Content-Type", "text/csv").body(list);
            request.send().await.unwrap().status()
        };
        assert_eq!(send(8 << 20).await, StatusCode::OK);
        assert_eq!(send(17 << 20).await, StatusCode::PAYLOAD_TOO_LARGE);
    })
    .await;
}

#[tokio::test]
async fn whoever_sends_a_list_slowly_keeps_nobody_from_importing() {
    run_test(async |t| {
        let program = t.program(&[Permission::Operate]).await;
        let list = "ann@example.com\nben@example.com\n";
        let host = t.web.strip_prefix("http://").unwrap().trim_end_matches('/');
        let head = format!(
            "POST /api/v1/suppressions/import?account={} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: text/csv\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            account(),
            program.token,
            list.len(),
        );
        let mut slow = TcpStream::connect(host).await.unwrap();
        slow.write_all(head.as_bytes()).await.unwrap();
        // Said when the list is waited for.
        let mut goes_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
        slow.read_exact(&mut goes_on).await.unwrap();
        assert!(goes_on.starts_with(b"HTTP/1.1 100 "));
        assert_eq!(import_one(&program).await.status(), StatusCode::OK);
        slow.write_all(list.as_bytes()).await.unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_second_import_is_told_to_come_back() {
    run_test(async |t| {
        let program = t.program(&[Permission::Operate]).await;
        let first = t.imports().begin().unwrap();
        let busy = import_one(&program).await;
        assert_eq!(busy.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(busy.headers().contains_key("retry-after"));
        drop(first);
        assert_eq!(import_one(&program).await.status(), StatusCode::OK);
        let again = import_one(&program).await.status();
        assert_eq!(again, StatusCode::OK, "its turn was given back");
    })
    .await;
}

async fn import_one(program: &Program) -> reqwest::Response {
    let body = json!({ "account": account(), "csv": "cid@example.com" });
    let request = program
        .ask(Method::POST, "/suppressions/import")
        .json(&body);
    request.send().await.unwrap()
}

/// A list that notes who reads it.
struct Watched {
    list: Vec<u8>,
    read_by: Arc<Mutex<Option<ThreadId>>>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        *self.read_by.lock().unwrap() = Some(std::thread::current().id());
        &self.list
    }
}

/// On the one thread of this runtime nothing else could happen if an import kept it.
#[tokio::test]
async fn an_import_keeps_no_thread_that_serves_others() {
    let database = migrated().await;
    let read_by = Arc::new(Mutex::new(None));
    // Nothing is stored, so that the database is not what it waits for.
    let lines = 20_000;
    let mut list = b"ann@example.com\n".to_vec();
    list.extend(b"nobody\n".repeat(lines));
    let list = Watched {
        list,
        read_by: read_by.clone(),
    };
    let defaults = Defaults {
        account: account(),
        accounts: vec![account()],
        region: Some("US".to_owned()),
        reason: Suppression::OptedOut,
        now: noon(),
    };
    let (over, turns) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let others = tokio::spawn({
        let (over, turns) = (over.clone(), turns.clone());
        async move {
            while !over.load(Ordering::SeqCst) {
                turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    let imports = Imports::default();
    let file = (imports.begin().unwrap(), list);
    let hasher = Hasher::new(b"key");
    let done = import(
        &database.pool,
        &hasher,
        "test",
        file,
        &everything(),
        defaults,
        BadLines::Refuse,
    )
    .await;
    over.store(true, Ordering::SeqCst);
    others.await.unwrap();
    let Err(ControlError::Invalid(faults)) = done else {
        panic!("a list with bad lines was taken");
    };
    assert_eq!(faults.len(), 22, "twenty, how many more, and what to do");
    assert_eq!(faults[20].detail, "and 19980 more");
    let reader = read_by.lock().unwrap().unwrap();
    assert_ne!(reader, std::thread::current().id());
    let pieces = lines / 2_000;
    assert!(
        turns.load(Ordering::SeqCst) >= pieces,
        "others had {turns:?} turns"
    );
    assert!(imports.begin().is_ok(), "its turn was given back");
}

#[tokio::test]
async fn the_page_lists_what_was_left_out_and_offers_to_leave_it_out() {
    run_test(async |t| {
        let boss = t.person(Role::Editor).await;
        let list = "email,reason\nann@example.com,HardBounce\nsecret,HardBounce\nben@example.com,SoftBounce\n";
        let refused = boss.form("/opt-outs/import", &[("csv", list)]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text.contains("line 3: not an e-mail address") && refused.text.contains("name=\"leave_out\""), "{}", refused.text);
        assert_eq!(count(t).await, 0);
        let done = boss.form("/opt-outs/import", &[("csv", list), ("leave_out", "yes")]).await;
        assert_eq!(done.status, StatusCode::OK);
        for told in ["3 lines read; 1 new or changed.", "line 3: not an e-mail address", "1 about temporary failures"] {
            assert!(done.text.contains(told), "{told}: {}", done.text);
        }
        assert!(!done.text.contains("secret"));
        let wrong = boss.form("/opt-outs/import", &[("csv", "Name,Telegram\nx,y\n")]).await;
        assert!(wrong.text.contains("it needs a column named email"), "{}", wrong.text);
    })
    .await;
}

#[tokio::test]
async fn the_command_ends_with_0_1_or_3() {
    let database = migrated().await;
    let settings = settings(&[("DATABASE_URL", &database.url), ("LE_ACCOUNT", "12345678")]);
    let folder = Folder::new();
    let import = async |name: &str, list: &[u8], more: &[&str]| {
        let file = folder.path().join(name);
        std::fs::write(&file, list).unwrap();
        let args = [&["suppressions", "import", file.to_str().unwrap()], more].concat();
        let output = run(&args, &settings).await;
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, told, _) = import("log.csv", UTF_16, &[]).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        told,
        "Lines read: 2 (e-mail addresses or phone numbers). With a suppression: 2; new or changed: 2.\n"
    );
    let bad = b"email;created\ncid@example.com;1443651125\nsecret;1443651125\n";
    let (code, told, error) = import("bad.csv", bad, &[]).await;
    assert_eq!((code, told.as_str()), (Some(1), ""));
    assert!(
        error.contains("line 3: not an e-mail address\n") && error.contains("nothing was stored"),
        "{error}"
    );
    let (code, told, error) = import("bad.csv", bad, &["--leave-out-bad-lines"]).await;
    assert_eq!(code, Some(3));
    assert!(told.contains("Lines left out: 1"), "{told}");
    assert_eq!(error, "line 3: not an e-mail address\n");
    let (code, _, error) = import("empty.csv", b"email\r", &[]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("no lines under it"), "{error}");
    let created: Vec<DateTime<Utc>> =
        sqlx::query_scalar("select created_at from suppressions where created_at < '2016-01-01'")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    assert_eq!(created.len(), 1, "the list's own date");
}
