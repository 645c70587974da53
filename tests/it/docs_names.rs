//! What the documentation names exists: commands with their options, settings, metrics, files. A runbook is read at night.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::docs::pages;
use crate::manifests::root;
use crate::monitoring::exported;
use crate::process::{run, text};

/// Pages that tell of what was, or of what others have.
const OF_OTHER_TIMES: [&str; 2] = ["docs/results/", "docs/decisions/"];

/// Read by tests and scripts, or set by Kubernetes; not read by the program.
const OF_OTHERS: [&str; 3] = [
    "UNREAD_TESTS_COMPLETE",
    "UNREAD_OLD_PROGRAM",
    "UNREAD_SERVICE_HOST",
];

/// What a setting is called that an account has as its own: the name of the installation's, after this.
const OF_AN_ACCOUNT: &str = "UNREAD_ACCOUNT_";

/// Pages with what stands in code on them: inline, and the lines of blocks.
fn code() -> Vec<(String, Vec<String>)> {
    let all = pages().into_iter().filter_map(|page| {
        let inside = page.strip_prefix(root()).unwrap_or(&page);
        let name = inside.display().to_string();
        if OF_OTHER_TIMES.iter().any(|folder| name.starts_with(folder)) {
            return None;
        }
        let text = fs::read_to_string(&page).unwrap();
        let mut found = Vec::new();
        for (n, part) in text.split("```").enumerate() {
            if n % 2 == 1 {
                found.extend(part.lines().skip(1).map(str::to_owned));
            } else {
                let inline = part.split('`').skip(1).step_by(2);
                found.extend(inline.map(|code| code.replace('\n', " ")));
            }
        }
        Some((name, found))
    });
    all.collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
}

#[test]
fn every_setting_that_a_page_names_exists() {
    let known = unread::config::reference();
    let ours = ["UNREAD_", "LE_", "SMTP_", "TWILIO_"];
    let (mut seen, mut wrong) = (0, BTreeSet::new());
    for (page, code) in code() {
        for word in code.iter().flat_map(|code| words(code)) {
            let is_setting = ours
                .iter()
                .any(|prefix| word.starts_with(prefix) && word.len() > prefix.len())
                && word
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            if !is_setting || OF_OTHERS.contains(&word) {
                continue;
            }
            seen += 1;
            // A secret may be given in a file, and a family by what its names begin with.
            let name = word.strip_suffix("_FILE").unwrap_or(word);
            let name = name.strip_prefix(OF_AN_ACCOUNT).unwrap_or(name);
            if name.is_empty() {
                continue;
            }
            let exists =
                known.contains(&format!("`{word}`")) || known.contains(&format!("`{name}`"));
            let is_family = word.ends_with('_') && known.contains(&format!("`{word}"));
            if !exists && !is_family {
                wrong.insert(format!("{page}: {word}"));
            }
        }
    }
    assert!(seen > 200, "only {seen} settings were found");
    assert!(wrong.is_empty(), "no such setting: {wrong:#?}");
}

#[test]
fn every_metric_that_a_page_names_exists() {
    let known = exported();
    let (mut seen, mut wrong) = (0, BTreeSet::new());
    for (page, code) in code() {
        for word in code.iter().flat_map(|code| words(code)) {
            let is_metric = word.starts_with("unread_")
                && word != "unread_"
                && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if !is_metric || OF_DATABASES.contains(&word) {
                continue;
            }
            seen += 1;
            if !known.contains_key(word) {
                wrong.insert(format!("{page}: {word}"));
            }
        }
    }
    assert!(seen > 10, "only {seen} metrics were found");
    assert!(wrong.is_empty(), "no such metric: {wrong:#?}");
}

/// Roles of a database, whose names begin like a metric's.
const OF_DATABASES: [&str; 2] = ["unread_owner", "unread_app"];

/// Options by command, `users list`; what takes further commands has none of its own.
type Commands = BTreeMap<String, BTreeSet<String>>;

async fn commands() -> Commands {
    let mut found = Commands::new();
    let mut open = vec![String::new()];
    while let Some(command) = open.pop() {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let help = run(&arguments, &Vec::new()).await;
        assert!(help.status.success(), "{command}: {}", text(&help.stderr));
        let help = text(&help.stdout);
        let below = help.split_once("Commands:\n").map_or("", |(_, rest)| {
            rest.split("\n\n").next().unwrap_or_default()
        });
        let below = below.lines().filter_map(|line| {
            let name = line.strip_prefix("  ")?.split(' ').next()?;
            (!name.is_empty() && name != "help")
                .then(|| format!("{command} {name}").trim().to_owned())
        });
        open.extend(below);
        let options = help
            .split([' ', ',', '\n', '=', '['])
            .filter(|word| word.starts_with("--"));
        found.insert(
            command,
            options
                .map(|word| word.trim_end_matches([']', '.']).to_owned())
                .collect(),
        );
    }
    found
}

/// What is wrong with a line that calls the program, if it does.
fn wrong_call(line: &str, commands: &Commands) -> Option<Result<(), String>> {
    // What is run in a container stands behind two hyphens.
    let line = line.rsplit_once(" -- ").map_or(line, |(_, inside)| inside);
    let call = line
        .split(['|', '>', '#', ';', '&', ')'])
        .next()
        .unwrap_or_default();
    let is_setting =
        |word: &&str| word.contains('=') && word.starts_with(|c: char| c.is_ascii_uppercase());
    let mut arguments = call.split_whitespace().skip_while(is_setting).peekable();
    if arguments.peek() == Some(&"sudo") {
        arguments.by_ref().take(3).for_each(drop);
    }
    let program = arguments.next()?;
    let is_ours = matches!(program, "unread" | "/usr/local/bin/unread");
    if !is_ours
        || arguments
            .peek()
            .is_some_and(|word| !word.starts_with(|c: char| c.is_ascii_lowercase() || c == '-'))
    {
        return None;
    }
    let mut command = String::new();
    while let Some(word) = arguments.peek() {
        let longer = format!("{command} {word}").trim().to_owned();
        if !commands.contains_key(&longer) {
            break;
        }
        command = longer;
        arguments.next();
    }
    if command.is_empty() && arguments.peek().is_some_and(|word| !word.starts_with("--")) {
        return Some(Err(format!("no such command: {line}")));
    }
    for word in arguments.filter(|word| word.starts_with("--") && word.len() > 2) {
        let option = word.split(['=', '…', ',', '.']).next().unwrap_or_default();
        if !commands[&command].contains(option) {
            return Some(Err(format!("{command} has no {option}: {line}")));
        }
    }
    Some(Ok(()))
}

#[tokio::test]
async fn every_command_that_a_page_calls_exists_with_its_options() {
    let commands = commands().await;
    assert!(commands.len() > 25, "{commands:#?}");
    assert!(
        wrong_call("unread rules export > rules.toml", &commands)
            .unwrap()
            .is_ok()
    );
    assert!(
        wrong_call("sudo -u unread unread users list", &commands)
            .unwrap()
            .is_ok()
    );
    assert!(
        wrong_call("DATABASE_URL=postgres://x unread doctor", &commands)
            .unwrap()
            .is_ok()
    );
    assert!(
        wrong_call("unread rules exprt", &commands).unwrap().is_ok(),
        "a word of a command may be anything"
    );
    assert!(
        wrong_call("unread rulez export", &commands)
            .unwrap()
            .is_err()
    );
    assert!(
        wrong_call("unread doctor --jsn", &commands)
            .unwrap()
            .is_err()
    );
    assert!(wrong_call("createuser --pwprompt unread", &commands).is_none());
    let (mut seen, mut wrong) = (0, BTreeSet::new());
    for (page, code) in code() {
        for line in code {
            match wrong_call(line.trim(), &commands) {
                None => {}
                Some(Ok(())) => seen += 1,
                Some(Err(why)) => {
                    wrong.insert(format!("{page}: {why}"));
                }
            }
        }
    }
    assert!(seen > 80, "only {seen} calls were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_of_ours_that_a_page_names_exists() {
    let folders = [
        "src/",
        "docs/",
        "docker/",
        "tests/",
        "crates/",
        "benches/",
        "scripts/",
        "migrations/",
        "templates/",
        ".ci/",
    ];
    let (mut seen, mut wrong) = (0, BTreeSet::new());
    for (page, code) in code() {
        for path in code
            .iter()
            .flat_map(|code| code.split([' ', ',', '"', '\'', '(', ')', '=']))
        {
            let path = path.trim_end_matches(['.', ':', ';']);
            let is_path = folders.iter().any(|folder| path.starts_with(folder));
            // A pattern, or a place that the reader fills in.
            if !is_path || path.contains(['*', '<', '…', '$', '{', '|']) || path.contains("NAME")
            {
                continue;
            }
            seen += 1;
            if !root().join(path.split('#').next().unwrap_or(path)).exists() {
                wrong.insert(format!("{page}: {path}"));
            }
        }
    }
    assert!(seen > 60, "only {seen} files were found");
    assert!(wrong.is_empty(), "no such file: {wrong:#?}");
}
