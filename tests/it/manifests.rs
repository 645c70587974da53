//! The files in `docker/` name only what the program has: settings, commands, ports, probes, routes. What Kubernetes itself asks of
//! them is checked with its own schemas (docs/testing.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{run, text};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

pub fn read(path: &str) -> String {
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
    let settings = read("docker/kubernetes/base/settings.env");
    let of = |key: &str| between(&settings, &format!("\n{key}="), &['\n'])[0].to_owned();
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

/// Secret settings that each pod may have. What a role cannot do without, the settings themselves say.
const GIVEN: [(&str, &[&str]); 5] = [
    (
        "badge",
        &[
            DATABASE,
            KEY,
            LIVEPERSON,
            "TWILIO_AUTH_TOKEN, TWILIO_WEBHOOK_TOKENS",
            MAIL_EVENTS,
            "UNREAD_BADGE_SECRET, UNREAD_HINT_SECRET",
        ],
    ),
    (
        "dashboard",
        &[
            DATABASE,
            KEY,
            LIVEPERSON,
            CHANNELS,
            "TWILIO_WEBHOOK_TOKENS",
            MAIL_EVENTS,
            "UNREAD_BADGE_SECRET, UNREAD_HINT_SECRET, UNREAD_OIDC_CLIENT_SECRET",
        ],
    ),
    ("worker", &[DATABASE, KEY, LIVEPERSON, CHANNELS, OF_POSTS]),
    ("scheduler", &[DATABASE]),
    ("migrate", &[DATABASE]),
];
const OF_POSTS: &str = "UNREAD_JOURNAL_SECRET, UNREAD_NOTIFY_SECRET";
const DATABASE: &str = "DATABASE_URL";
const KEY: &str = "UNREAD_SECRET, UNREAD_SECRET_OLD";
const LIVEPERSON: &str = "LE_CLIENT_SECRET, LE_CONSUMER_SECRET, LE_TOKEN, LE_TOKEN_SECRET";
const MAIL_EVENTS: &str = "UNREAD_MAIL_WEBHOOK_SECRET, UNREAD_MAIL_POSTMARK_LOGIN, UNREAD_MAIL_MAILGUN_KEY, UNREAD_MAIL_BREVO_TOKEN";
const CHANNELS: &str = "SMTP_PASS, SMTP_OAUTH_CLIENT_SECRET, SMTP_OAUTH_CERTIFICATE, SMTP_OAUTH_GOOGLE_KEY, TWILIO_API_SECRET, TWILIO_AUTH_TOKEN";

fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    let names = words.filter(|word| is_name_of_a_setting(word));
    names.map(str::to_owned).collect()
}

/// Every secret of the production overlay with the settings that it holds.
fn secrets() -> BTreeMap<String, BTreeSet<String>> {
    let text = read("docker/kubernetes/overlays/production/secrets.yaml");
    let documents = text.split("---\n").map(|document| {
        let name = between(document, "  name: ", &['\n'])[0].to_owned();
        let keys = between(document, "# Keys: ", &['\n']);
        assert_eq!(keys.len(), 1, "{name}");
        (name, names(keys[0]))
    });
    documents.collect()
}

/// The secrets that a pod is given.
fn given(pod: &str) -> Vec<String> {
    let text = read("docker/kubernetes/base/kustomization.yaml");
    let patches = text.split("  - target: ").skip(1);
    let of_pod = patches.filter(|patch| {
        let target = patch.lines().next().unwrap();
        match between(target, "name: unread-(", &[')']).first() {
            Some(pods) => pods.split('|').any(|own| own == pod),
            None if target == "{kind: Job}" => pod == "migrate",
            None if target == "{kind: Deployment}" => pod != "migrate",
            None => target.contains(&format!("unread-{pod}}}")),
        }
    });
    of_pod
        .flat_map(|patch| between(patch, "secretRef: {name: ", &[',', '}']))
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_pod_is_given_its_own_secrets_and_can_start_with_them() {
    use unread::config::{Config, ProcessRole, Sources};
    let secrets = secrets();
    let reference = unread::config::reference();
    let secret: BTreeSet<String> = between(&reference, "| `", &['\n'])
        .into_iter()
        .filter_map(|row| row.split_once("` 🔒").map(|(name, _)| name.to_owned()))
        .collect();
    let held: BTreeSet<String> = secrets.values().flatten().cloned().collect();
    assert_eq!(
        held, secret,
        "every secret setting has a place, and nothing else has one"
    );
    for settings in ["base/settings.env", "overlays/production/settings.env"] {
        let settings = read(&format!("docker/kubernetes/{settings}"));
        assert!(names(&settings).is_disjoint(&secret));
    }

    for (pod, expected) in GIVEN {
        let given: BTreeSet<String> = given(pod)
            .iter()
            .flat_map(|name| secrets.get(name).expect(name).clone())
            .collect();
        let expected: BTreeSet<String> = expected.iter().flat_map(|keys| names(keys)).collect();
        assert_eq!(given, expected, "{pod}");
        let role = match pod {
            "worker" => ProcessRole::Worker,
            "scheduler" => ProcessRole::Scheduler,
            "migrate" => ProcessRole::Migrate,
            _ => ProcessRole::Web,
        };
        for api_key in [false, true] {
            let mut environment = BTreeMap::from([
                ("UNREAD_PUBLIC_URL", "https://unread.example.com"),
                // There is none in a pod, and that of this machine is not meant.
                ("UNREAD_DATA_DIR", "/nonexistent"),
                (
                    "UNREAD_DASHBOARD",
                    if pod == "badge" { "false" } else { "true" },
                ),
                ("LE_ACCOUNT", "12345678"),
                ("LE_CLIENT_ID", "client"),
                ("SMTP_HOST", "smtp.example.com"),
                ("SMTP_USER", "reminders@example.com"),
                ("TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000000"),
                ("UNREAD_OIDC_ISSUER", "https://login.example.com"),
                ("UNREAD_OIDC_CLIENT_ID", "client"),
            ]);
            if api_key {
                environment.insert("TWILIO_API_KEY", "SK1");
            }
            for name in &given {
                match name.as_str() {
                    "DATABASE_URL" => environment.insert(name, "postgres://localhost/unread"),
                    // Of LivePerson's two logins the newer one, of the four at the mail server the password.
                    "LE_CONSUMER_SECRET"
                    | "LE_TOKEN"
                    | "LE_TOKEN_SECRET"
                    | "SMTP_OAUTH_CLIENT_SECRET"
                    | "SMTP_OAUTH_CERTIFICATE"
                    | "SMTP_OAUTH_GOOGLE_KEY" => None,
                    "UNREAD_MAIL_POSTMARK_LOGIN" => environment.insert(name, "us:0123456789abcdef"),
                    "TWILIO_API_SECRET" if !api_key => None,
                    "TWILIO_AUTH_TOKEN" if api_key && pod == "worker" => None,
                    "UNREAD_JOURNAL_SECRET" | "UNREAD_NOTIFY_SECRET" | "UNREAD_HINT_SECRET" => {
                        environment
                            .insert(name, "whsec_YW4gYWdyZWVkIHNlY3JldCBvZiBzb21lIGxlbmd0aA==")
                    }
                    _ => environment.insert(name, "0123456789abcdef0123456789abcdef"),
                };
            }
            let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let sources = |without: &str| Sources {
                environment: environment
                    .iter()
                    .filter(|(name, _)| **name != without)
                    .map(|(name, value)| own((name, value)))
                    .collect(),
                file: None,
                read_secret: |path| fs::read_to_string(path),
            };
            if let Err(error) = Config::read(&sources(""), role) {
                panic!("{pod} does not start: {error}");
            }
            // The pod that migrates looks for its database when it starts, like every command.
            let needed = |name: &str| {
                Config::read(&sources(name), role).map_or(true, |config| {
                    role == ProcessRole::Migrate && unread::app::locate(&config).is_err()
                })
            };
            for name in ["LE_CLIENT_SECRET", "SMTP_PASS", "DATABASE_URL"] {
                assert_eq!(needed(name), given.contains(name), "{pod} {name}");
            }
            assert_eq!(
                needed("TWILIO_AUTH_TOKEN"),
                environment.contains_key("TWILIO_AUTH_TOKEN"),
                "{pod}"
            );
        }
    }
}

#[test]
fn every_pod_has_the_time_to_finish_what_it_has_in_hand() {
    let seconds = |text: &str, start: &str| -> Vec<u32> {
        let found = between(text, start, &['\n', '}', 's']);
        found.into_iter().map(|n| n.parse().unwrap()).collect()
    };
    let settings = read("docker/kubernetes/base/settings.env");
    let drain = seconds(&settings, "UNREAD_DRAIN_SECONDS=")[0];
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
        [
            "migrate",
            "migrate, --wait",
            "run",
            "scheduler",
            "web",
            "worker"
        ],
        "the test knows all of them"
    );
    for command in commands {
        let words: Vec<&str> = command.split(", ").chain(["--help"]).collect();
        let output = run(&words, &Vec::new()).await;
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
         kind: PrometheusRule\nmetadata:\n  name: unread\n  # The operator takes rules with the label that it is set to look for, and no others; kube-prometheus-stack asks for its release's name.\n\
         \x20 labels: {release: kube-prometheus-stack} # change\nspec:\n  # Runbooks are linked to https://docs.example.com/unread. # change\n  groups:\n"
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

/// Whoever adds a pod, or gives one more connections, sees what the database must allow.
#[test]
fn the_connections_of_all_pods_are_added_up() {
    let number = |text: &str, start: &str| -> u32 {
        let found = between(text, start, &['"', '\n', '}']);
        found.first().expect(start).parse().unwrap()
    };
    let deployments = read("docker/kubernetes/base/deployments.yaml");
    let scaling = read("docker/kubernetes/overlays/production/scaling.yaml");
    let keda = read("docker/kubernetes/overlays/production/keda.yaml");
    let pods: Vec<(&str, u32, u32)> = deployments
        .split("kind: Deployment\n")
        .skip(1)
        .map(|deployment| {
            (
                between(deployment, "  name: unread-", &['\n'])[0],
                number(deployment, "replicas: "),
                number(deployment, "UNREAD_DATABASE_CONNECTIONS, value: \""),
            )
        })
        .collect();
    let sum = |most: &dyn Fn(&str, u32) -> u32| -> u32 {
        // One more of each in a roll-out; the migration, and a pod that waits for it, have two each.
        let of_pods = pods
            .iter()
            .map(|(pod, replicas, connections)| (most(pod, *replicas) + 1) * connections);
        of_pods.sum::<u32>() + 4
    };
    let planned = |path: &str| {
        let settings = read(&format!("docker/kubernetes/{path}/settings.env"));
        number(&settings, "UNREAD_DATABASE_CONNECTIONS_IN_ALL=")
    };
    assert_eq!(planned("base"), sum(&|_, replicas| replicas));
    let most = |pod: &str, replicas: u32| match pod {
        "badge" => number(&scaling, "maxReplicas: "),
        "worker" => number(&keda, "maxReplicaCount: "),
        _ => replicas,
    };
    assert_eq!(planned("overlays/production"), sum(&most));
}

/// The query is a rule, which promtool tests.
#[test]
fn workers_are_scaled_by_a_tested_rule() {
    let keda = read("docker/kubernetes/overlays/production/keda.yaml");
    let query = between(&keda, "query: max(", &['{'])[0];
    assert!(read("docker/prometheus/rules.yaml").contains(&format!("- record: {query}\n")));
    assert!(read("docker/prometheus/rules.test.yaml").contains(&format!("- expr: {query}\n")));
}

/// The file of several accounts, as a process reads it that does not call LivePerson, and needs no secret of it.
#[tokio::test]
async fn the_file_of_several_accounts_is_understood() {
    let file = root().join("docker/kubernetes/components/accounts/unread.toml");
    let settings = crate::process::settings(&[
        ("UNREAD_CONFIG", &file.display().to_string()),
        ("DATABASE_URL", "postgres://127.0.0.1:1/unread"),
        ("UNREAD_METRICS_PORT", "1"),
        ("UNREAD_METRICS_BIND", "192.0.2.1"),
    ]);
    // It gets as far as to its ports.
    let output = run(&["scheduler"], &settings).await;
    let told = text(&output.stderr);
    assert!(told.contains("UNREAD_METRICS_PORT"), "{told}");
    assert!(!told.contains("/run/secrets"), "{told}");
    // Who calls LivePerson asks for the secrets, and for nothing else.
    let output = run(&["worker"], &settings).await;
    let told = text(&output.stderr);
    assert!(told.contains("/run/secrets/liveperson/12345678"), "{told}");
}
