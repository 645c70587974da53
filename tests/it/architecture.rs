//! The rules between the parts of `src/`, which the compiler does not know: who may name whom, where the time comes from, what
//! every file says about itself. Read from the source text, so this test needs nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::crates::members;

/// Each file or folder of `src/`, and which others it may name after `crate::`. `app`, `demo`, `main` and `commands` build the rest and
/// know everyone.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("app", ANYONE),
    ("demo", ANYONE),
    ("main", ANYONE),
    ("commands", ANYONE),
    ("lib", &[]),
    // Commands of their own: they try or read what the service uses, with the service's own parts.
    (
        "doctor",
        &[
            "app",
            "backup",
            "channel",
            "clock",
            "config",
            "control",
            "db",
            "domain",
            "jobs",
            "liveperson",
            "postgres",
        ],
    ),
    (
        "dry_run",
        &[
            "app",
            "channel",
            "clock",
            "config",
            "control",
            "db",
            "domain",
            "jobs",
            "liveperson",
            "rules_file",
        ],
    ),
    ("backup", &["clock", "db", "domain", "metrics", "postgres"]),
    ("batch", &["trace"]),
    ("standstill", &["clock"]),
    ("secret", &[]),
    ("printed", &[]),
    // Pure rules: everything else may know them, they know nobody.
    ("domain", &[]),
    ("hashing", &["domain", "secret"]),
    // It fills the settings that are the adapters' own.
    ("config", &["channel", "domain", "liveperson", "secret"]),
    ("telemetry", &["config"]),
    ("local_probe", &["config"]),
    ("rules_file", &["domain"]),
    // What a STOP is, in a log of messages, the channel says.
    ("suppressions_file", &["channel", "db", "domain", "hashing"]),
    ("metrics", &["db", "domain", "liveperson", "version"]),
    ("version", &["db"]),
    ("db", &["domain", "hashing"]),
    // What outlives the database: files and posts, no SQL.
    ("journal", &["domain", "secret", "signed_post"]),
    ("signed_post", &["secret", "trace"]),
    // The outside world. The adapters do not know each other, the database or the queue.
    ("liveperson", &["clock", "domain", "secret", "trace"]),
    ("channel", &["clock", "domain", "secret", "trace"]),
    // Crates of their own, see `crates.rs`, under the names that the rest knows them by.
    ("clock", &[]),
    ("postgres", &[]),
    ("sandbox", &[]),
    ("trace", &[]),
    (
        "jobs",
        &[
            "batch",
            "channel",
            "clock",
            "db",
            "domain",
            "hashing",
            "journal",
            "liveperson",
            "metrics",
            "secret",
            "signed_post",
            "standstill",
        ],
    ),
    // What the config API and the pages can do; they only differ in how they are asked.
    (
        "control",
        &[
            "channel",
            "clock",
            "config",
            "db",
            "domain",
            "hashing",
            "jobs",
            "journal",
            "liveperson",
            "rules_file",
            "secret",
            "suppressions_file",
        ],
    ),
    ("scheduler", &["clock", "db", "domain", "jobs", "metrics"]),
    ("worker", &["clock", "db", "domain", "jobs", "metrics"]),
    (
        "web",
        &[
            "batch",
            "channel",
            "clock",
            "config",
            "control",
            "db",
            "domain",
            "hashing",
            "jobs",
            "liveperson",
            "metrics",
            "rules_file",
            "secret",
            "suppressions_file",
            "telemetry",
            "trace",
        ],
    ),
];

const ANYONE: &[&str] = &["*"];

/// Words that only some files may use, and why.
struct Reserved {
    words: &'static [&'static str],
    only_in: &'static [&'static str],
    because: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        words: &["apalis::", "apalis_core::", "apalis_postgres::"],
        only_in: &["crates/queue/"],
        because: "the queue library stays behind one crate, so that it can be changed there",
    },
    Reserved {
        words: &["apalis."],
        only_in: &["crates/queue/"],
        because: "the queue's tables are its own: ask it",
    },
    Reserved {
        words: &[
            "embedded_postgres::",
            "unread_clock::",
            "unread_queue::",
            "unread_sandbox::",
        ],
        only_in: &["crates/"],
        because: "a crate of ours goes by the name that the table of parts knows",
    },
    Reserved {
        words: &["Utc::now"],
        only_in: &["crates/clock/", "crates/sandbox/"],
        because: "time is an argument",
    },
    Reserved {
        words: &["env::var(", "env::vars"],
        only_in: &["src/config/source.rs"],
        because: "settings are read once",
    },
    Reserved {
        words: &[
            "account_ids()",
            "of_installation(",
            "Accounts::within(",
            "accounts.keys()",
        ],
        only_in: &[
            "src/web/access/mod.rs",
            "src/web/mod.rs",
            "src/web/metrics.rs",
            "src/web/mail.rs",
            "src/control/accounts.rs",
            "src/commands/",
            "src/app/",
            "src/jobs/",
            "src/worker.rs",
        ],
        because: "pages and operations are told by the guard which accounts their caller may see",
    },
    Reserved {
        words: &["sqlx::query"],
        only_in: &["src/db/", "crates/embedded-postgres/", "crates/queue/"],
        because: "all SQL is in db",
    },
];

pub struct File {
    /// From the repository's root, with forward slashes: `src/db/rules.rs`.
    pub path: String,
    pub text: String,
}

impl File {
    /// The name in [`MAY_NAME`]: `db` for `src/db/rules.rs`, `batch` for `src/batch.rs`.
    fn part(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let part = inside.split('/').next().unwrap_or(inside);
        part.strip_suffix(".rs").unwrap_or(part)
    }

    /// The code with its line numbers: without comments and without unit tests in the same file.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = (1..).zip(self.text.lines());
        numbered
            .take_while(|(_, line)| *line != "mod tests {")
            .map(|(number, line)| (number, line.split("//").next().unwrap_or(line)))
    }
}

pub fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let members = members().into_iter().map(|member| member.join("src"));
    let mut folders: Vec<PathBuf> = members.chain([root.join("src")]).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.ends_with("tests") || path.to_string_lossy().ends_with("tests.rs") {
                // Unit tests may lean on anything.
            } else if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(File {
                    text: fs::read_to_string(&path).expect("source files are text"),
                    path: relative(root, &path),
                });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn relative(root: &Path, path: &Path) -> String {
    let inside: PathBuf = path.strip_prefix(root).expect("below the root").into();
    inside.to_string_lossy().replace('\\', "/")
}

/// The parts that a line names: `crate::db::rules` and every entry of `use crate::{db, domain::ids}`.
fn named(line: &str) -> Vec<&str> {
    line.match_indices("crate::")
        .filter(|(start, _)| !line[..*start].ends_with('$'))
        .flat_map(|(start, prefix)| {
            let rest = &line[start + prefix.len()..];
            let group = rest.strip_prefix('{').map(top_level_entries);
            group.unwrap_or_else(|| vec![first_word(rest)])
        })
        .collect()
}

fn top_level_entries(group: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut entries = Vec::new();
    let mut start = 0;
    for (position, sign) in group.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                entries.push(first_word(&group[start..position]));
                start = position + 1;
                if sign == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    entries.retain(|entry| !entry.is_empty());
    entries
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// A statement may span lines: `use crate::{` alone says nothing.
fn statements(file: &File) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in file.code() {
        match statements.last_mut() {
            Some((_, statement)) if is_open => statement.push_str(line.trim()),
            _ => statements.push((number, line.to_owned())),
        }
        is_open = (is_open || line.contains("crate::{")) && !line.contains(';');
    }
    statements
}

fn foreign_names(files: &[File]) -> Vec<String> {
    let table: BTreeMap<_, _> = MAY_NAME.iter().copied().collect();
    let mut violations = Vec::new();
    // A crate's own parts are its own affair: those of others it cannot name.
    for file in files.iter().filter(|file| file.path.starts_with("src/")) {
        let part = file.part();
        let Some(allowed) = table.get(part) else {
            violations.push(format!("{}: {part} has no row in MAY_NAME", file.path));
            continue;
        };
        for (number, statement) in statements(file) {
            for name in named(&statement) {
                // A macro or a re-export of the crate's root would be the crate naming itself.
                let is_part = table.contains_key(name);
                if is_part && name != part && *allowed != ANYONE && !allowed.contains(&name) {
                    violations.push(format!(
                        "{}:{number}: {part} must not name {name}",
                        file.path
                    ));
                }
            }
        }
    }
    violations
}

fn reserved_words(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files {
        let is_elsewhere = |reserved: &&Reserved| {
            !reserved
                .only_in
                .iter()
                .any(|place| file.path.starts_with(place))
        };
        for Reserved { words, because, .. } in RESERVED.iter().filter(is_elsewhere) {
            for (number, line) in file.code() {
                let used = words.iter().filter(|word| line.contains(**word));
                violations.extend(
                    used.map(|word| format!("{}:{number}: {word} here, but {because}", file.path)),
                );
            }
        }
    }
    violations
}

fn silent_files(files: &[File]) -> Vec<String> {
    let silent = files.iter().filter(|file| !file.text.starts_with("//!"));
    silent
        .map(|file| format!("{}: does not begin with //!, what it is for", file.path))
        .collect()
}

#[test]
fn every_part_keeps_to_its_place() {
    let files = sources();
    assert!(files.len() > 10, "the sources were found");
    let mut violations = foreign_names(&files);
    violations.extend(reserved_words(&files));
    violations.extend(silent_files(&files));
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn a_violation_is_seen() {
    let file = |path: &str, text: &str| File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let files = [
        file(
            "src/domain/rule.rs",
            "//! x\nuse crate::{\n    db::{self, rules},\n    domain::ids,\n    web,\n};\n// crate::jobs\nlet x = crate::channel::sms();\n",
        ),
        file(
            "src/web/api.rs",
            "use apalis::prelude::*;\nlet now = Utc::now(); // crate::sandbox\nlet sql = \"select from apalis.jobs\";\n",
        ),
        file(
            "src/batch.rs",
            "//! x\nmod tests {\n    use crate::web;\n}\n",
        ),
        file("crates/clock/src/lib.rs", "//! x\nUtc::now()\n"),
        file("src/novelty.rs", "//! x\n"),
    ];
    assert_eq!(
        foreign_names(&files),
        [
            "src/domain/rule.rs:2: domain must not name db",
            "src/domain/rule.rs:2: domain must not name web",
            "src/domain/rule.rs:8: domain must not name channel",
            "src/novelty.rs: novelty has no row in MAY_NAME",
        ]
    );
    assert_eq!(
        reserved_words(&files),
        [
            "src/web/api.rs:1: apalis:: here, but the queue library stays behind one crate, so that it can be changed there",
            "src/web/api.rs:3: apalis. here, but the queue's tables are its own: ask it",
            "src/web/api.rs:2: Utc::now here, but time is an argument",
        ]
    );
    assert_eq!(
        silent_files(&files),
        ["src/web/api.rs: does not begin with //!, what it is for"]
    );
}
