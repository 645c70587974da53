//! The files in `docker/` name only what the program has: settings, commands, ports, probes, routes. What Kubernetes itself asks of
//! them is checked with its own schemas (docs/testing.md).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{run, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every YAML file below `docker/kubernetes`, by path.
fn manifests() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("docker/kubernetes")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

/// What stands between `start` and `end`, wherever that is in the text.
fn between<'t>(text: &'t str, start: &str, end: &[char]) -> Vec<&'t str> {
    let pieces = text.split(start).skip(1);
    pieces
        .map(|rest| rest.split(end).next().unwrap_or_default().trim())
        .collect()
}

fn is_name_of_a_setting(word: &str) -> bool {
    word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

#[test]
fn every_setting_in_the_manifests_exists() {
    let known = unread::config::reference();
    let mut texts = manifests();
    for path in ["docker/compose.yaml", "docker/sandbox.env", ".env.example"] {
        texts.insert(path.into(), read(path));
    }
    // Those of the programs beside it.
    let others = ["POSTGRES_", "GF_", "PGDATA"];
    let mut seen = 0;
    for (path, text) in &texts {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| is_name_of_a_setting(word)) {
            if others.iter().any(|other| word.starts_with(other)) {
                continue;
            }
            seen += 1;
            let is_known = known.contains(&format!("`{word}`"));
            assert!(is_known, "{}: there is no setting {word}", path.display());
        }
    }
    assert!(seen > 60, "only {seen} settings were found");
}

#[test]
fn ports_probes_and_public_paths_are_those_of_the_program() {
    let all: String = manifests().into_values().collect();
    let settings = read("docker/kubernetes/base/settings.yaml");
    let of = |key: &str| between(&settings, &format!("{key}: \""), &['"'])[0].to_owned();
    let (web, metrics) = (of("PORT"), of("UNREAD_METRICS_PORT"));
    for (name, port) in [("http", &web), ("metrics", &metrics)] {
        let ports = between(&all, &format!("name: {name}, containerPort: "), &['}']);
        assert!(!ports.is_empty() && ports.iter().all(|own| own == port));
    }
    let network = read("docker/kubernetes/overlays/production/network.yaml");
    for port in [&web, &metrics] {
        assert!(network.contains(&format!("port: {port}}}")), "{port}");
    }
    assert!(read("docker/Dockerfile").contains(&format!("EXPOSE {web} {metrics}")));
    assert!(read("docker/prometheus/prometheus.yaml").contains(&format!(":{metrics}\"")));

    let routes = read("src/web/metrics.rs");
    for path in between(&all, "httpGet: {path: ", &[',']) {
        assert!(routes.contains(&format!("\"{path}\"")), "no probe {path}");
    }
    let routes = ["mod.rs", "badge/mod.rs", "badge/addresses.rs"]
        .map(|file| read(&format!("src/web/{file}")));
    let ingress = read("docker/kubernetes/overlays/production/ingress.yaml");
    let public = between(&ingress, "{path: ", &[',']);
    assert!(public.len() > 6, "{public:?}");
    for path in public {
        let is_served = routes
            .iter()
            .any(|text| text.contains(&format!("\"{path}")));
        assert!(is_served, "nothing is served below {path}");
    }
}

#[test]
fn every_pod_has_the_time_to_finish_what_it_has_in_hand() {
    let seconds = |text: &str, start: &str| -> Vec<u32> {
        let found = between(text, start, &['\n', '}', 's']);
        found.into_iter().map(|n| n.parse().unwrap()).collect()
    };
    let settings = read("docker/kubernetes/base/settings.yaml").replace('"', "");
    let drain = seconds(&settings, "UNREAD_DRAIN_SECONDS: ")[0];
    let deployments = read("docker/kubernetes/base/deployments.yaml");
    let pre_stop = seconds(&deployments, "preStop: {sleep: {seconds: ");
    assert_eq!(pre_stop.len(), 2, "badge and dashboard are called");
    // Five for open connections, five to spare.
    let wanted = drain + pre_stop.iter().max().unwrap() + 5 + 5;
    let graces = seconds(&deployments, "terminationGracePeriodSeconds: ");
    assert_eq!(graces.len(), 4);
    let compose = seconds(&read("docker/compose.yaml"), "stop_grace_period: ");
    for grace in graces.into_iter().chain(compose) {
        assert!(grace >= wanted, "{grace} s are less than {wanted}");
    }
}

#[test]
fn the_image_is_built_from_what_the_builder_is_given() {
    let (dockerfile, given) = (read("docker/Dockerfile"), read(".dockerignore"));
    let copied = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let mut seen = 0;
    for words in copied.filter(|words| !words.starts_with("--from=")) {
        let words: Vec<&str> = words.split(' ').collect();
        for source in &words[..words.len() - 1] {
            seen += 1;
            assert!(root().join(source).exists(), "there is no {source}");
            let top = source.split('/').next().unwrap();
            assert!(given.contains(&format!("!{top}\n")), "{source} is kept out");
        }
    }
    assert!(seen >= 8, "only {seen} sources were found");
    // The layer of dependencies has the manifest, and no file of a target that the manifest does not name.
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for kind in ["bench", "test", "example", "bin"] {
        let targets = manifest.get(kind).and_then(toml::Value::as_array);
        for target in targets.into_iter().flatten() {
            let name = &target["name"];
            assert!(
                target.get("path").is_some(),
                "[[{kind}]] {name} has no path"
            );
        }
    }
    // What is written in more than one place.
    let toolchain: toml::Table = read("rust-toolchain.toml").parse().unwrap();
    let compiler = toolchain["toolchain"]["channel"].as_str().unwrap();
    assert!(dockerfile.contains(&format!("/rust:{compiler}-slim-")));
    let version = env!("CARGO_PKG_VERSION");
    assert!(dockerfile.contains(&format!("ARG VERSION={version}\n")));
    for path in ["base", "overlays/production"] {
        let text = read(&format!("docker/kubernetes/{path}/kustomization.yaml"));
        assert!(text.contains(&format!("newTag: \"{version}\"")), "{path}");
    }
}

#[tokio::test]
async fn every_command_in_the_manifests_exists() {
    let all: String = manifests().into_values().collect();
    let lists = between(&all, "args: [", &[']']);
    let compose = read("docker/compose.yaml");
    let mut commands: Vec<&str> = lists;
    commands.extend(between(&compose, "command: [", &[']']));
    commands.sort_unstable();
    commands.dedup();
    assert_eq!(
        commands,
        ["migrate", "run", "scheduler", "web", "worker"],
        "the test knows all of them"
    );
    for command in commands {
        let output = run(&[command, "--help"], &Vec::new()).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let help = run(&["sandbox", "--help"], &Vec::new()).await;
    let help = text(&help.stdout);
    for option in between(&(all + &compose), "- --", &['=']) {
        assert!(help.contains(&format!("--{option}")), "{option}");
    }
}

/// The Prometheus operator's form of the rules that Compose mounts and promtool tests.
fn prometheus_rule() -> String {
    let rules = read("docker/prometheus/rules.yaml");
    let (_, groups) = rules.split_once("groups:\n").unwrap();
    let mut text = "# Written by `make docs` from docker/prometheus/rules.yaml.\napiVersion: monitoring.coreos.com/v1\n\
         kind: PrometheusRule\nmetadata:\n  name: unread\nspec:\n  groups:\n"
        .to_owned();
    for line in groups.lines() {
        text.extend(["  ", line, "\n"]);
    }
    text
}

const PROMETHEUS_RULE: &str = "docker/kubernetes/overlays/production/rules.yaml";

#[test]
fn the_operator_s_rules_are_the_tested_ones() {
    assert_eq!(read(PROMETHEUS_RULE), prometheus_rule(), "run `make docs`");
}

#[test]
#[ignore = "writes the PrometheusRule; run it with `make docs`"]
fn write_the_prometheus_rule() {
    fs::write(root().join(PROMETHEUS_RULE), prometheus_rule()).unwrap();
}

#[test]
fn every_dashboard_goes_to_the_cluster() {
    let listed = read("docker/grafana/kustomization.yaml");
    for entry in fs::read_dir(root().join("docker/grafana/dashboards")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(listed.contains(&format!("dashboards/{name}")), "{name}");
    }
}
