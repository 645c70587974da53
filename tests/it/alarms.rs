//! What rings while the database is away: Prometheus itself scrapes and judges, by the product's own rules.

use std::fs;
use std::path::Path;

use serde_json::Value;
use unread::db;

use crate::database::own_server;
use crate::harness::{Setup, eventually, free_port, migrated_on, run_test, run_test_with, skipped};
use crate::manifests::read;
use crate::process::{Folder, Process, settings};
use crate::roles::{sandbox, settings_for};

/// A Prometheus of the test's own.
pub struct Prometheus {
    http: reqwest::Client,
    url: String,
    _process: Process,
    _folder: Folder,
}

impl Prometheus {
    /// With these rules, scraping each of these ports of this machine every so many seconds, and waiting for an answer for as long.
    pub fn start(rules: &str, ports: &[u16], seconds: u32) -> Self {
        let folder = Folder::new();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("rules.yaml"), rules).unwrap();
        let targets: Vec<String> = ports.iter().map(|p| format!("'127.0.0.1:{p}'")).collect();
        let config = format!(
            "global: {{scrape_interval: {seconds}s, scrape_timeout: {seconds}s, evaluation_interval: 1s}}\nrule_files: [rules.yaml]\n\
             scrape_configs: [{{job_name: unread, static_configs: [{{targets: [{}]}}]}}]\n",
            targets.join(", ")
        );
        fs::write(path("prometheus.yaml"), config).unwrap();
        let port = free_port();
        let options = [
            format!("--config.file={}", path("prometheus.yaml")),
            format!("--storage.tsdb.path={}", path("data")),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let options = options.each_ref().map(String::as_str);
        Self {
            http: reqwest::Client::new(),
            url: format!("http://127.0.0.1:{port}/api/v1/query"),
            _process: Process::start_program(Path::new("prometheus"), &options, &settings(&[])),
            _folder: folder,
        }
    }

    /// How many series an expression finds; what is wrong with it, or that nobody answers yet.
    pub async fn ask(&self, query: &str) -> Result<usize, String> {
        let answer = self.http.get(&self.url).query(&[("query", query)]).send();
        let answer = answer.await.map_err(|error| error.to_string())?;
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        let series = answer["data"]["result"].as_array();
        series.map(Vec::len).ok_or_else(|| answer.to_string())
    }

    async fn finds(&self, query: &str) -> bool {
        self.ask(query).await.is_ok_and(|series| series > 0)
    }
}

pub fn is_installed() -> bool {
    let asked = std::process::Command::new("prometheus")
        .arg("--version")
        .output();
    let installed = asked.is_ok_and(|output| output.status.success());
    if !installed {
        skipped("Prometheus is not installed (Debian: apt-get install prometheus)");
    }
    installed
}

/// The rules with so many seconds for each minute: nobody waits for minutes here.
fn faster(rules: &str, seconds: u32) -> String {
    let mut text = String::new();
    let mut rest = rules;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c: char| !c.is_ascii_digit());
        let (digits, after) = from.split_at(end.unwrap_or(from.len()));
        let is_minutes = after.starts_with("m]") || after.starts_with("m\n");
        text += before;
        match digits.parse::<u32>() {
            Ok(minutes) if is_minutes => {
                text.extend([(minutes * seconds).to_string().as_str(), "s"]);
            }
            _ => text += digits,
        }
        rest = if is_minutes { &after[1..] } else { after };
    }
    text + rest
}

#[test]
fn minutes_of_the_rules_and_nothing_else_become_seconds() {
    assert_eq!(
        faster("p99_10m > 60 [2m]) x[1d]\n for: 10m\n", 4),
        "p99_10m > 60 [8s]) x[1d]\n for: 40s\n"
    );
}

#[tokio::test]
async fn a_stopped_server_rings_for_each_role_and_no_process_is_lost_from_sight() {
    if !is_installed() {
        return;
    }
    let (mut server, sandbox) = (own_server().await, sandbox().await);
    let db = migrated_on(&server).await;
    let ports = [free_port(), free_port()];
    let processes: Vec<Process> = ["web", "worker"]
        .into_iter()
        .zip(ports)
        .map(|(role, port)| {
            let port = port.to_string();
            let more = [("UNREAD_METRICS_PORT", port.as_str())];
            Process::start(&[role], &settings_for(&sandbox, &db.url, &more))
        })
        .collect();
    for port in ports {
        let url = format!("http://127.0.0.1:{port}/metrics");
        eventually("the process reads the database", async || {
            let page = reqwest::get(&url).await;
            let Ok(page) = page else { return false };
            let page = page.text().await.unwrap_or_default();
            page.lines()
                .any(|line| line.starts_with("unread_database_up") && line.ends_with(" 1"))
        })
        .await;
    }
    let rules = faster(&read("docker/prometheus/rules.yaml"), 5);
    let prometheus = Prometheus::start(&rules, &ports, 4);
    let firing = |role: &str| {
        format!("ALERTS{{alertname=\"UnreadDatabaseDown\",alertstate=\"firing\",role=\"{role}\"}}")
    };
    eventually("both are scraped", async || {
        prometheus.ask("unread_database_up == 1").await == Ok(2)
    })
    .await;

    server.kill().await;
    for role in ["web", "worker"] {
        eventually("the alert rings", async || {
            prometheus.finds(&firing(role)).await
        })
        .await;
    }
    // A process that answers too late is as good as gone to Prometheus, and another alert would ring.
    assert_eq!(prometheus.ask("min_over_time(up[1h]) == 1").await, Ok(2));
    assert_eq!(
        prometheus
            .ask("ALERTS{alertname=~\"UnreadDown|UnreadRoleMissing\"}")
            .await,
        Ok(0)
    );

    server.start().await;
    for role in ["web", "worker"] {
        eventually("the alert ends", async || {
            prometheus.ask(&firing(role)).await == Ok(0)
        })
        .await;
    }
    drop(processes);
    sandbox.stop().await;
}

/// The value of a series on the page of metrics.
fn value<'p>(page: &'p str, series: &str) -> Option<&'p str> {
    let mut lines = page.lines();
    lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[tokio::test]
async fn metrics_are_answered_while_the_database_hangs() {
    run_test(async |t| {
        let scrape = async || {
            let answer = t.http.get(&t.metrics).send().await.unwrap();
            answer.text().await.unwrap()
        };
        let up = "unread_database_up{role=\"run\"}";
        assert_eq!(value(&scrape().await, up), Some("1"));
        // What is asked of this table waits until the transaction ends, which is not before the answer.
        let mut tx = t.pool().begin().await.unwrap();
        sqlx::query("lock table pauses in access exclusive mode")
            .execute(&mut *tx)
            .await
            .unwrap();
        let page = scrape().await;
        assert_eq!(value(&page, up), Some("0"));
        assert!(page.contains("unread_build_info{"), "{page}");
        tx.rollback().await.unwrap();
        eventually("the database is read again", async || {
            value(&scrape().await, up) == Some("1")
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_series_is_there_before_anything_has_happened() {
    run_test(async |t| {
        sqlx::query("delete from scans")
            .execute(t.pool())
            .await
            .unwrap();
        let page = t.http.get(&t.metrics).send().await.unwrap();
        let page = page.text().await.unwrap();
        for series in [
            "unread_queue_jobs{queue=\"advance\",state=\"ready\"}",
            "unread_queue_oldest_seconds{queue=\"deliver_sms\"}",
            "unread_reminders{account=\"\",channel=\"email\",state=\"expired\"}",
            "unread_suppressions{account=\"\",channel=\"sms\",reason=\"complaint\"}",
            "unread_conversations{account=\"\",read_state=\"unread\"}",
            "unread_pause_seconds{account=\"\",scope=\"everything\"}",
            "unread_returns{account=\"\",channel=\"email\"}",
        ] {
            assert_eq!(value(&page, series), Some("0"), "{series}");
        }
        // Nothing was scanned yet: from when the account is known.
        let known: i64 =
            sqlx::query_scalar("select extract(epoch from created_at)::bigint from accounts")
                .fetch_one(t.pool())
                .await
                .unwrap();
        let series =
            "unread_scan_last_success_timestamp_seconds{account=\"12345678\",skill=\"-1\"}";
        assert_eq!(value(&page, series), Some(known.to_string().as_str()));
    })
    .await;
}

#[tokio::test]
async fn an_account_is_a_label_where_the_settings_ask_for_it_and_a_pause_has_an_age() {
    let setup = Setup {
        settings: vec![("UNREAD_METRICS_BY_ACCOUNT", "true")],
        accounts: vec!["87654321"],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        t.answered("ann@example.net");
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        sqlx::query("insert into pauses (account, channel, paused_by, paused_at) values ('87654321', 'sms', 'ann', $1)")
            .bind(t.now() - chrono::TimeDelta::hours(2))
            .execute(t.pool())
            .await
            .unwrap();
        let page = t.http.get(&t.metrics).send().await.unwrap();
        let page = page.text().await.unwrap();
        for (series, expected) in [
            ("unread_reminders{account=\"12345678\",channel=\"email\",state=\"sent\"}", "1"),
            ("unread_reminders{account=\"87654321\",channel=\"email\",state=\"sent\"}", "0"),
            ("unread_lateness_seconds_count{account=\"12345678\",channel=\"email\"}", "1"),
            ("unread_live{account=\"87654321\",channel=\"sms\"}", "1"),
            ("unread_pause_seconds{account=\"87654321\",scope=\"channel\"}", "7200"),
        ] {
            assert_eq!(value(&page, series), Some(expected), "{series}\n{page}");
        }
    })
    .await;
}

/// Every scrape would start two processes of the server, for a table of forty rows.
#[tokio::test]
async fn no_statement_of_ours_is_divided_among_processes_of_the_server() {
    run_test(async |t| {
        let url = t.database.url.parse().unwrap();
        let pool = db::pool(url, 1);
        let workers: String = sqlx::query_scalar("show max_parallel_workers_per_gather")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(workers, "0");
        pool.close().await;
    })
    .await;
}
