//! The rules and dashboards in `docker/` ask only for metrics and labels that the program exports.
//!
//! What it exports is read from the two files that define every metric: a metric with labels shows itself at a scrape only after
//! something has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every metric with its labels.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
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
    let build = metrics.get_mut("unread_build_info").unwrap();
    build.insert("version".to_owned());
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
    known.extend(["le", "job", "instance"].map(str::to_owned));
    let mut wrong = Vec::new();
    for (file, text) in asked() {
        for (name, labels) in selectors(&text) {
            match metrics.get(&name) {
                None => wrong.push(format!("{file}: no metric {name}")),
                Some(its) => wrong.extend(
                    labels
                        .iter()
                        .filter(|label| !its.contains(*label) && *label != "le")
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
        let link = format!("docs/runbooks.md#{}", alert.to_ascii_lowercase());
        assert!(rules.contains(&link), "no rule links to {link}");
    }
}
