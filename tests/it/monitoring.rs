//! The rules and dashboards in `docker/` ask only for metrics and labels that the program exports.
//!
//! What it exports is read from the two files that define every metric: a metric with labels shows itself at a scrape only after
//! something has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::alarms::{Prometheus, is_installed};
use crate::harness::{PATIENCE, eventually, free_port};
use crate::process::{Process, settings};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Labels that Prometheus adds.
const SCRAPED: [&str; 4] = ["le", "job", "instance", "namespace"];

/// Every metric with its labels.
pub fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics = BTreeMap::new();
    for file in ["src/metrics.rs", "src/web/metrics.rs"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let starts: Vec<usize> = text.match_indices("\"unread_").map(|(at, _)| at).collect();
        for (i, start) in starts.iter().enumerate() {
            let end = starts.get(i + 1).copied().unwrap_or(text.len());
            let name = text[start + 1..].split('"').next().unwrap().to_owned();
            // To the end of the statement: what comes after it is another's.
            let definition = text[*start..end].split(';').next().unwrap();
            let labels = definition
                .split_once("&[")
                .map_or("", |(_, rest)| rest.split(']').next().unwrap_or_default());
            let labels: BTreeSet<String> = labels
                .split(',')
                .map(|label| label.trim().trim_matches('"').to_owned())
                .filter(|label| !label.is_empty())
                .collect();
            let before = &text[start.saturating_sub(60)..*start];
            if before.to_ascii_lowercase().contains("histogram") {
                for suffix in ["bucket", "sum", "count"] {
                    metrics.insert(format!("{name}_{suffix}"), labels.clone());
                }
            }
            metrics.insert(name, labels);
        }
    }
    metrics
}

fn asked() -> Vec<(String, String)> {
    let mut files = vec![root().join("docker/prometheus/rules.yaml")];
    let dashboards = fs::read_dir(root().join("docker/grafana/dashboards")).unwrap();
    files.extend(dashboards.map(|entry| entry.unwrap().path()));
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap().replace("\\\"", "\"");
            (file.display().to_string(), text)
        })
        .collect()
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Each metric named in the text, with the labels that its selector in braces asks for.
fn selectors(text: &str) -> Vec<(String, Vec<String>)> {
    let places = text.match_indices("unread_");
    places
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| is_of_name(c) || c == ':' || c == '/'))
        .map(|(at, _)| {
            let rest = &text[at..];
            let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
            let selector = rest[end..]
                .strip_prefix('{')
                .and_then(|rest| rest.split('}').next());
            let labels = selector.unwrap_or_default().split(',');
            let labels = labels
                .filter_map(|matcher| Some(matcher.split(['=', '!']).next()?.trim().to_owned()))
                .filter(|label| !label.is_empty());
            (rest[..end].to_owned(), labels.collect())
        })
        .collect()
}

/// The labels of every `by (…)`.
fn groupings(text: &str) -> BTreeSet<String> {
    let lists = text.match_indices("by (");
    lists
        .flat_map(|(at, by)| {
            let list = text[at + by.len()..].split(')').next().unwrap_or_default();
            list.split(',').map(|label| label.trim().to_owned())
        })
        .collect()
}

#[test]
fn rules_and_dashboards_ask_only_for_what_is_exported() {
    let metrics = exported();
    assert!(metrics.len() > 20, "{metrics:#?}");
    let mut known: BTreeSet<String> = metrics.values().flatten().cloned().collect();
    known.extend(SCRAPED.map(str::to_owned));
    let mut wrong = Vec::new();
    for (file, text) in asked() {
        for (name, labels) in selectors(&text) {
            match metrics.get(&name) {
                None => wrong.push(format!("{file}: no metric {name}")),
                Some(its) => wrong.extend(
                    labels
                        .iter()
                        .filter(|label| !its.contains(*label) && !SCRAPED.contains(&label.as_str()))
                        .map(|label| format!("{file}: {name} has no label {label}")),
                ),
            }
        }
        let strange = groupings(&text)
            .into_iter()
            .filter(|label| !known.contains(label));
        wrong.extend(strange.map(|label| format!("{file}: nothing has a label {label}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_alert_has_its_section_in_the_runbooks() {
    let rules = fs::read_to_string(root().join("docker/prometheus/rules.yaml")).unwrap();
    let runbooks = fs::read_to_string(root().join("docs/runbooks.md")).unwrap();
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 8, "{alerts:?}");
    for alert in alerts {
        assert!(
            runbooks.contains(&format!("\n## {alert}\n")),
            "docs/runbooks.md has no section {alert}"
        );
        let link = format!(
            "runbook_url: https://docs.example.com/unread/runbooks.md#{}\n",
            alert.to_ascii_lowercase()
        );
        assert!(rules.contains(&link), "no rule has {link}");
    }
}

/// Whoever changes an alert sees when it wakes somebody and when not.
#[test]
fn every_alert_is_seen_to_fire_and_to_keep_quiet() {
    let folder = root().join("docker/prometheus");
    let rules = fs::read_to_string(folder.join("rules.yaml")).unwrap();
    let tests = fs::read_to_string(folder.join("rules.test.yaml")).unwrap();
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        let fires = format!("alertname: {alert}\n        exp_alerts:\n");
        assert!(tests.contains(&fires), "{alert} is never seen to fire");
        let quiet = format!("alertname: {alert}, exp_alerts: []}}");
        assert!(
            tests.contains(&quiet),
            "{alert} is never seen to keep quiet"
        );
    }
}

/// Every `label="value"` of the selectors, a regular expression split into its words.
fn values(text: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("unread_") {
        let rest = &text[at..];
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        let Some(selector) = rest[end..].strip_prefix('{') else {
            continue;
        };
        let selector = selector.split("\"}").next().unwrap_or_default();
        for matcher in selector.split("\",") {
            let Some((label, value)) = matcher.split_once('"') else {
                continue;
            };
            let label = label.trim().trim_end_matches(['=', '!', '~']).to_owned();
            let words = value.trim_matches('"').split('|');
            found.extend(words.map(|word| (label.clone(), word.to_owned())));
        }
    }
    found
}

#[test]
fn rules_and_dashboards_ask_only_for_values_that_the_program_writes() {
    let mut sources = String::new();
    let mut folders = vec![root().join("src"), root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                sources += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut seen = 0;
    for (file, text) in asked() {
        for (label, value) in values(&text) {
            // A bound of a histogram, a pattern of routes that other tests know, and what is chosen on a dashboard.
            if label == "le" || label == "route" || value.starts_with('$') {
                continue;
            }
            seen += 1;
            let written = sources.contains(&format!("\"{value}\""));
            assert!(written, "{file}: nothing writes {label}=\"{value}\"");
        }
    }
    assert!(seen > 8, "only {seen} values were found");
}

/// Every expression of the rules and panels, with where it stands.
fn expressions() -> Vec<(String, String)> {
    let rules = fs::read_to_string(root().join("docker/prometheus/rules.yaml")).unwrap();
    let mut found = Vec::new();
    let mut name = "";
    for (line, next) in rules.lines().zip(rules.lines().skip(1)) {
        let line = line.trim();
        if let Some((_, own)) = line
            .split_once("- alert: ")
            .or(line.split_once("- record: "))
        {
            name = own;
        } else if line == "expr: >-" {
            found.push((name.to_owned(), next.trim().to_owned()));
        }
    }
    for entry in fs::read_dir(root().join("docker/grafana/dashboards")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let place = format!("{}: {}", dashboard["title"], panel["title"]);
            let targets = panel["targets"].as_array().unwrap();
            let queries = targets.iter().map(|t| t["expr"].as_str().unwrap());
            // Everything is chosen.
            let queries =
                queries.map(|query| query.replace("$namespace", ".*").replace("$account", ".*"));
            found.extend(queries.map(|query| (place.clone(), query)));
        }
    }
    found
}

/// Runs promtool in `docker/prometheus`; `None`: it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new("promtool");
    command
        .args(arguments)
        .current_dir(root().join("docker/prometheus"));
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::piped()).spawn().ok()?;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let told =
        [output.stdout, output.stderr].map(|told| String::from_utf8_lossy(&told).into_owned());
    let told = told.concat();
    assert!(output.status.success(), "promtool {arguments:?}: {told}");
    Some(told)
}

/// Prometheus' own opinion. With `--nocapture` it prints which expressions found something in the demonstration and which did not.
#[tokio::test]
async fn a_real_prometheus_scrapes_the_demonstration_and_answers_every_alert_and_panel() {
    if !is_installed() {
        return;
    }
    promtool(&["check", "rules", "rules.yaml"], "");
    promtool(&["test", "rules", "rules.test.yaml"], "");
    let (web, metrics) = (free_port(), free_port());
    let ports = [("PORT", web), ("UNREAD_METRICS_PORT", metrics)].map(|(k, p)| (k, p.to_string()));
    let ports = ports.each_ref().map(|(key, port)| (*key, port.as_str()));
    let mut demo = Process::start(&["demo"], &settings(&ports));
    let rules = fs::read_to_string(root().join("docker/prometheus/rules.yaml")).unwrap();
    let prometheus = Prometheus::start(&rules, &[metrics], 1);
    let http = reqwest::Client::new();

    let names: BTreeSet<String> = asked()
        .iter()
        .flat_map(|(_, text)| selectors(text))
        .map(|(name, _)| name)
        // The demonstration keeps no journal.
        .filter(|name| name != "unread_heartbeat_lag_seconds")
        .collect();
    let badge = format!("http://127.0.0.1:{web}/helpers/msghist/12345678/nobody/unreadByConsumer");
    let started = tokio::time::Instant::now();
    let mut missing = names.clone();
    while !missing.is_empty() {
        assert!(started.elapsed() < PATIENCE * 2, "never seen: {missing:?}");
        let _ = http.get(&badge).send().await;
        for name in &names {
            if prometheus.ask(name).await.is_ok_and(|series| series > 0) {
                missing.remove(name);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    eventually("rates can be told", async || {
        prometheus
            .ask("rate(unread_lateness_seconds_count[1m]) > 0")
            .await
            .is_ok_and(|series| series > 0)
    })
    .await;
    for (place, query) in expressions() {
        match prometheus.ask(&query).await {
            Ok(0) => eprintln!("nothing   {place}"),
            Ok(series) => eprintln!("{series:3} found {place}"),
            Err(error) => panic!("{place}: {query}: {error}"),
        }
    }
    let scraped = http
        .get(format!("http://127.0.0.1:{metrics}/metrics"))
        .send();
    let scraped = scraped.await.unwrap().text().await.unwrap();
    promtool(&["check", "metrics"], &scraped);
    assert_eq!(demo.terminate().await.code(), Some(0));
}
