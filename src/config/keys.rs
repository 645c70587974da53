//! Every setting there is: its two names, its default and what it does.
//!
//! To add a setting: a row in the file of its subject below, a field in [`super::Config`] and the line that reads it; then `make docs`. Tests hold the three
//! together: a row that is not read, a read without a row and a page that differs from this table all fail.

mod account;
mod mail;
mod notify;
#[cfg(feature = "test-channel")]
mod probe;
mod process;
mod sms;
mod web;

use std::fmt::Write as _;

/// A setting.
pub struct SettingKey {
    /// Its name in the environment and in `.env`.
    pub env: &'static str,
    /// Its path in the TOML file; `account.x` stands for `x` in every `[[account]]`. `None`: only in the environment.
    pub file: Option<&'static str>,
    /// Read as if a person had written it, so that the documented default is the real one.
    pub default: Option<&'static str>,
    /// Never printed; may be given as a file (`…_FILE`, `…_file`).
    pub secret: bool,
    pub about: &'static str,
}

impl SettingKey {
    /// Where in the file it belongs: `""` is the top, `account` the array of accounts.
    pub fn section(&self) -> &'static str {
        self.file
            .and_then(|path| path.split_once('.'))
            .map_or("", |(section, _)| section)
    }

    /// Its name within its section.
    pub fn field(&self) -> Option<&'static str> {
        self.file
            .map(|path| path.rsplit('.').next().unwrap_or(path))
    }

    pub fn is_of_account(&self) -> bool {
        self.section() == "account"
    }
}

const fn key(env: &'static str, file: &'static str, about: &'static str) -> SettingKey {
    SettingKey {
        env,
        file: Some(file),
        default: None,
        secret: false,
        about,
    }
}

const fn preset(
    env: &'static str,
    file: &'static str,
    default: &'static str,
    about: &'static str,
) -> SettingKey {
    SettingKey {
        env,
        file: Some(file),
        default: Some(default),
        secret: false,
        about,
    }
}

const fn secret(env: &'static str, file: &'static str, about: &'static str) -> SettingKey {
    SettingKey {
        env,
        file: Some(file),
        default: None,
        secret: true,
        about,
    }
}

/// A section of the file, and what is in it.
struct Section {
    /// `""` is the top.
    name: &'static str,
    heading: &'static str,
    keys: &'static [SettingKey],
}

const fn section(
    name: &'static str,
    heading: &'static str,
    keys: &'static [SettingKey],
) -> Section {
    Section {
        name,
        heading,
        keys,
    }
}

/// In the order of the page.
const SECTIONS: &[Section] = &[
    section("", "The process and its database", process::PROCESS),
    section("account", "Accounts", account::ACCOUNT),
    section("liveperson", "LivePerson", account::LIVEPERSON),
    section("smtp", "E-mail", mail::SMTP),
    section("twilio", "SMS", sms::TWILIO),
    #[cfg(feature = "test-channel")]
    section("probe", "The test channel", probe::PROBE),
    section("web", "Web", web::WEB),
    section("notify", "Who hears of incidents", notify::NOTIFY),
    section("worker", "Worker", process::WORKER),
    section("retention", "Retention", process::RETENTION),
    section("log", "Log", process::LOG),
];

/// Every setting.
pub fn all() -> impl Iterator<Item = &'static SettingKey> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The setting whose name in the environment is `env`.
pub fn find(env: &str) -> &'static SettingKey {
    all()
        .find(|key| key.env == env)
        .unwrap_or_else(|| panic!("{env} has no row below config/keys"))
}

/// All settings as tables in Markdown: the second half of `docs/configuration.md`.
pub fn reference() -> String {
    let mut page = String::new();
    for section in SECTIONS {
        let place = match section.name {
            "" => String::new(),
            "account" => " (`[[account]]`)".to_owned(),
            name => format!(" (`[{name}]`)"),
        };
        write!(
            page,
            "### {}{place}\n\n| environment | file | default | what it does |\n|---|---|---|---|\n",
            section.heading
        )
        .expect("writing to a String does not fail");
        for key in section.keys {
            writeln!(
                page,
                "| `{}`{} | {} | {} | {} |",
                key.env,
                if key.secret { " 🔒" } else { "" },
                key.field()
                    .map_or("–".to_owned(), |name| format!("`{name}`")),
                key.default
                    .map_or("–".to_owned(), |text| format!("`{text}`")),
                key.about
            )
            .expect("writing to a String does not fail");
        }
        page.push('\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const START: &str =
        "<!-- The tables below are written by `make docs` from src/config/keys. -->\n\n";

    fn page() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")
    }

    #[test]
    fn no_name_is_used_twice_and_each_is_in_its_section() {
        let count = all().count();
        let names: BTreeSet<_> = all().map(|key| key.env).collect();
        let paths: BTreeSet<_> = all().filter_map(|key| key.file).collect();
        assert_eq!(names.len(), count);
        assert_eq!(paths.len() + 1, count, "only UNREAD_CONFIG has no path");
        for section in SECTIONS {
            for key in section.keys {
                assert_eq!(key.section(), section.name, "{}", key.env);
            }
        }
    }

    #[test]
    fn the_page_lists_every_setting_and_no_other() {
        let text = std::fs::read_to_string(page()).unwrap();
        let (_, tables) = text.split_once(START).expect("the page has its mark");
        assert_eq!(tables.trim(), reference().trim(), "run `make docs`");
    }

    #[test]
    #[ignore = "writes docs/configuration.md; run it with `make docs`"]
    fn write_the_page() {
        let text = std::fs::read_to_string(page()).unwrap();
        let (before, _) = text.split_once(START).expect("the page has its mark");
        let text = format!("{before}{START}{}\n", reference().trim());
        std::fs::write(page(), text).unwrap();
    }
}
