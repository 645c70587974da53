//! Slips with secrets: whatever is written where, an error shows nothing of it.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;

use super::source::parse_dotenv;
use super::tests::mail_password;
use super::*;
use crate::liveperson::LivePersonAuth;

/// Characters of a secret that may be seen by chance.
const BY_CHANCE: usize = 6;

fn read(environment: BTreeMap<String, String>, file: &str) -> String {
    let sources = Sources {
        environment,
        file: Some(("unread.toml".to_owned(), file.to_owned())),
        read_secret: |_| Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    match Config::read(&sources, ProcessRole::Run) {
        Ok(config) => config.warnings.join("\n"),
        Err(error) => format!("{error}\n{error:?}"),
    }
}

/// What is told of a value, if any part of the secret in it can be seen. A secret may have a word of ours in it by chance: what is told of
/// another secret of the same shape as well is no part of either.
fn shown(written: &str, secret: &str, told_of: impl Fn(&str) -> String) -> Option<String> {
    let told = told_of(written);
    let of_another = told_of(&written.replace(secret, &another(secret)));
    let letters: Vec<char> = secret.chars().collect();
    let mut parts = letters
        .windows(BY_CHANCE + 1)
        .map(|part| part.iter().collect::<String>());
    let is_shown = parts.any(|part| told.contains(&part) && !of_another.contains(&part));
    is_shown.then_some(told)
}

/// Another secret of the same shape, with no letter or digit where it was. What begins a token stays.
fn another(secret: &str) -> String {
    let half_a_turn = |c: char, first: char, of: u32| {
        let place = u32::from(c) - u32::from(first);
        char::from_u32(u32::from(first) + (place + of / 2) % of).unwrap_or(first)
    };
    let other = |c: char| match c {
        '0'..='9' => half_a_turn(c, '0', 10),
        'a'..='f' => half_a_turn(c, 'a', 6),
        'g'..='z' => half_a_turn(c, 'g', 20),
        'A'..='F' => half_a_turn(c, 'A', 6),
        'G'..='Z' => half_a_turn(c, 'G', 20),
        sign => sign,
    };
    let parts = secret.split("eyJ");
    let parts: Vec<String> = parts
        .map(|part| part.chars().map(other).collect())
        .collect();
    parts.join("eyJ")
}

fn minimum() -> BTreeMap<String, String> {
    let least = [
        ("LE_ACCOUNT", "12345678"),
        ("LE_CLIENT_ID", "client"),
        ("LE_CLIENT_SECRET", "s"),
        ("SMTP_USER", "me@example.com"),
        ("SMTP_PASS", "s"),
        ("PORT", "wrong"),
    ];
    least
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// What secrets look like, and what of them is secret.
fn secret() -> impl Strategy<Value = (String, String)> {
    let around = |before: &'static str, secret: &'static str, after: &'static str| {
        secret.prop_map(move |secret| (format!("{before}{secret}{after}"), secret))
    };
    prop_oneof![
        around("", "[0-9a-f]{32}", ""),
        around("", "[A-Za-z0-9+/]{24,44}={0,2}", ""),
        around("", "[A-Za-z0-9_-]{22,60}", ""),
        around(
            "",
            "eyJ[A-Za-z0-9_-]{20,30}\\.eyJ[A-Za-z0-9_-]{20,30}\\.[A-Za-z0-9_-]{20}",
            ""
        ),
        around(
            "-----BEGIN PRIVATE KEY-----\\nMII",
            "[A-Za-z0-9+/]{60}",
            "\\n-----END PRIVATE KEY-----"
        ),
        around("", "[a-z]{4} [a-z]{4} [a-z]{4} [a-z]{4}", ""),
        // A password of a person: at least one of each kind.
        around(
            "",
            "[A-Z][a-z]{3}[0-9]{3}[!$%&*?][a-zA-Z0-9!$%&*?]{4,12}",
            ""
        ),
        around(
            "postgres://unread:",
            "[A-Za-z0-9]{12,20}",
            "@db.example.com/unread"
        ),
        around("https://shop:", "[A-Za-z0-9]{12,20}", "@www.example.com"),
        around("AC", "[0-9a-f]{32}", ""),
    ]
}

/// Settings that take any text; what stands there is accepted, and is the brand's own affair.
const ANY_SECRET_IS_AN_ACCOUNT: &str = "LE_ACCOUNT";

proptest! {
    #[test]
    fn a_secret_in_any_setting_is_not_shown(name in prop::sample::select(setting_names().collect::<Vec<_>>()), (written, secret) in secret()) {
        // An id that fits is an id, and warnings name their account.
        prop_assume!(name != ANY_SECRET_IS_AN_ACCOUNT || written.len() > 20);
        for name in [name.to_owned(), format!("{name}_FILE")] {
            let told = shown(&written, &secret, |written| {
                let mut environment = minimum();
                environment.insert(name.clone(), written.to_owned());
                read(environment, "")
            });
            prop_assert_eq!(told, None, "{}", name);
        }
        let key = keys::find(name);
        if let Some(field) = key.field() {
            let section = match key.section() {
                "" => String::new(),
                "account" => "[[account]]\n".to_owned(),
                section => format!("[{section}]\n"),
            };
            let lines: [fn(&str, &str) -> String; 6] = [
                |field: &str, written: &str| format!("{field} = \"{written}\""),
                |field: &str, written: &str| format!("{field} = {written}"),
                |field: &str, written: &str| format!("{field} = [\"{written}\"]"),
                |field: &str, written: &str| format!("{field}_file = \"{written}\""),
                |_: &str, written: &str| format!("\"{written}\" = 1"),
                |field: &str, written: &str| format!("{field} = {{ \"{written}\" = 1 }}"),
            ];
            for line in lines {
                let told = shown(&written, &secret, |written| {
                    read(minimum(), &format!("{section}{}\n", line(field, written)))
                });
                prop_assert_eq!(told, None, "{}", line(field, &written));
            }
        }
    }

    #[test]
    fn a_secret_is_not_shown_where_line_ends_are_lost(
        first in prop::sample::select(setting_names().collect::<Vec<_>>()),
        (written, secret) in secret(),
        end in "( |\t|\r|, |;)",
        value in "[0-9a-z]{1,8}",
        marks in "[\"'`]?",
    ) {
        let text = |written: &str| {
            format!("{first}={value}{end}SMTP_PASS={marks}{written}{marks}{end}TWILIO_AUTH_TOKEN={written}")
        };
        // From `.env`, and from what passes a file's lines on as they are.
        let told = shown(&written, &secret, |written| match parse_dotenv(&text(written)) {
            Ok(values) => {
                let mut environment = minimum();
                environment.extend(values);
                read(environment, "")
            }
            Err(problems) => format!("{problems:?}"),
        });
        prop_assert_eq!(told, None);
        let told = shown(&written, &secret, |written| {
            let text = text(written);
            let mut environment = minimum();
            let (name, rest) = text.split_once('=').unwrap_or_default();
            environment.insert(name.to_owned(), rest.to_owned());
            read(environment, "")
        });
        prop_assert_eq!(told, None);
        let told = shown(&written, &secret, |written| read(minimum(), &text(written)));
        prop_assert_eq!(told, None);
    }
}

/// The words of an error are no leak, whoever has them for a password; a value that is quoted is one.
#[test]
fn a_secret_that_is_a_word_of_ours_is_told_from_one_that_is_quoted() {
    let sentence = |_: &str| "Write a single value.".to_owned();
    assert_eq!(shown("single value", "single value", sentence), None);
    let quoted = |written: &str| format!("Write a single value, not {written}.");
    assert!(
        shown("single value", "single value", quoted).is_none(),
        "both say it"
    );
    assert!(shown("hunter2 hunter2", "hunter2 hunter2", quoted).is_some());
    assert!(shown("eyJhbGciOi.x", "eyJhbGciOi.x", quoted).is_some());
}

#[test]
fn a_value_that_took_in_another_setting_says_which() {
    for (name, value) in [
        ("LE_ACCOUNT", "12345678 SMTP_PASS=hunter2"),
        ("UNREAD_BRAND", "The Shop\rSMTP_PASS=hunter2"),
        ("UNREAD_BRAND", "The Shop\\nSMTP_PASS=hunter2"),
        ("UNREAD_BRAND", "The Shop|SMTP_PASS=hunter2"),
        ("LE_CLIENT_SECRET", "x SMTP_PASS=hunter2"),
        ("UNREAD_SKILLS", "1, SMTP_PASS=hunter2"),
    ] {
        let mut environment = minimum();
        environment.insert(name.to_owned(), value.to_owned());
        let told = read(environment, "");
        assert!(
            told.contains(&format!("{name} holds another setting, SMTP_PASS")),
            "{told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_private_key_is_named_as_one_wherever_it_is() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n-----END PRIVATE KEY-----\n";
    for name in [
        "UNREAD_BADGE_PUBLIC_KEY",
        "UNREAD_BRAND",
        "UNREAD_BADGE_ISSUER",
    ] {
        let mut environment = minimum();
        environment.insert(name.to_owned(), pem.to_owned());
        let told = read(environment, "");
        assert!(
            told.contains(&format!("{name} holds a private key")),
            "{told}"
        );
        assert!(!told.contains("MIIE"), "{told}");
    }
}

#[test]
fn marks_around_a_value_and_empty_values_are_understood() {
    let mut environment = minimum();
    for (name, value) in [
        ("PORT", "\"3001\""),
        ("LE_ACCOUNT", "'12345678'"),
        ("UNREAD_BRAND", "`The Shop`"),
        ("UNREAD_SKILLS", "\"1,2\""),
        ("UNREAD_METRICS_PORT", "\"\""),
        ("SMTP_PASS", "\"hunter2\""),
        ("UNREAD_SECRET", "''"),
        ("LE_CLIENT_SECRET", "abc\r"),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    let sources = Sources {
        environment,
        file: None,
        read_secret: |_| Ok("\u{feff}hunter2\r\n".to_owned()),
    };
    let config = Config::read(&sources, ProcessRole::Run).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((config.web.port, config.web.metrics_port), (3001, 9464));
    let account = &config.accounts[0];
    assert_eq!(
        (account.id.as_str(), account.brand.as_str()),
        ("12345678", "The Shop")
    );
    assert_eq!(account.skills.as_ref().map(Vec::len), Some(2));
    assert!(config.secret.is_none());
    let Some(LivePersonAuth::OAuth2 { client_secret, .. }) = &account.auth else {
        panic!("OAuth 2.0")
    };
    assert_eq!(client_secret.expose(), "abc", "the CR of a CRLF");
    // A password may have marks: it is taken as it is, and warned of once.
    let password = mail_password(&config);
    assert_eq!(password, "\"hunter2\"");
    let warned = config
        .warnings
        .iter()
        .filter(|warning| warning.starts_with("SMTP_PASS begins and ends with a quotation mark"));
    assert_eq!(warned.count(), 1);

    let mut environment = minimum();
    environment.remove("SMTP_PASS");
    environment.remove("PORT");
    environment.insert("SMTP_PASS_FILE".to_owned(), "/run/secrets/smtp".to_owned());
    let sources = Sources {
        environment,
        file: None,
        ..sources
    };
    let config = Config::read(&sources, ProcessRole::Run).unwrap_or_else(|error| panic!("{error}"));
    let password = mail_password(&config);
    assert_eq!(
        password, "hunter2",
        "the mark before it is not a part of it"
    );
}
