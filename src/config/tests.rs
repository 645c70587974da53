//! Settings as people write them, against what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use proptest::prelude::*;

use super::source::parse_dotenv;
use super::*;
use crate::channel::smtp::{Credential, OAuthIdentity, SmtpTls};
use crate::domain::ids::SkillId;
use crate::liveperson::LivePersonAuth;

const SID: &str = "AC00000000000000000000000000000000";

/// The least that `run` starts with.
const MINIMUM: [(&str, &str); 5] = [
    ("LE_ACCOUNT", "12345678"),
    ("LE_CLIENT_ID", "client"),
    ("LE_CLIENT_SECRET", "hunter2"),
    ("SMTP_USER", "me@example.com"),
    ("SMTP_PASS", "abcd efgh ijkl mnop"),
];

fn sources(environment: &[(&str, &str)], file: &str) -> Sources {
    Sources {
        environment: environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        file: Some(("unread.toml".to_owned(), file.to_owned())),
        read_secret: |path| match path.to_str() {
            Some("/run/secrets/mounted") => Ok("from a file\n".to_owned()),
            Some("/run/secrets/empty") => Ok("\n".to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        },
    }
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all: BTreeMap<_, _> = MINIMUM.into_iter().collect();
    all.extend(more.iter().copied());
    all.into_iter().collect()
}

fn run(more: &[(&str, &str)], file: &str) -> Config {
    Config::read(&sources(&with(more), file), ProcessRole::Run)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The password of the mail server.
pub(super) fn mail_password(config: &Config) -> &str {
    let login = config
        .channels
        .smtp
        .as_ref()
        .and_then(|smtp| smtp.login.as_ref());
    match &login.expect("a login").credential {
        Credential::Password(password) => password.expose(),
        Credential::Token(_) => panic!("a log-in by token"),
    }
}

/// Keys of the problems.
fn problems(environment: &[(&str, &str)], file: &str, role: ProcessRole) -> Vec<String> {
    let error = Config::read(&sources(environment, file), role).expect_err("there are problems");
    error.0.into_iter().map(|problem| problem.key).collect()
}

fn warned(config: &Config, text: &str) -> bool {
    config.warnings.iter().any(|warning| warning.contains(text))
}

#[test]
fn a_journal_needs_a_key_outside_the_database_and_one_to_sign_with_where_it_is_kept() {
    let key = ("UNREAD_SECRET", "0123456789abcdef0123456789abcdef");
    let file = ("UNREAD_JOURNAL_FILE", "/var/lib/unread/journal.jsonl");
    let url = ("UNREAD_JOURNAL_URL", "https://journal.example.com/unread");
    let signing = (
        "UNREAD_JOURNAL_SECRET",
        "whsec_YW4gYWdyZWVkIHNlY3JldCBvZiBzb21lIGxlbmd0aA==",
    );
    let unusable = ("UNREAD_JOURNAL_SECRET", "whsec_hunter2");
    for (given, wrong) in [
        (&[][..], None),
        (&[file][..], Some("UNREAD_JOURNAL_FILE")),
        (&[url, signing][..], Some("UNREAD_JOURNAL_URL")),
        (&[key, url][..], Some("UNREAD_JOURNAL_URL")),
        (&[key, url, unusable][..], Some("UNREAD_JOURNAL_SECRET")),
        (&[key, file][..], None),
        (&[key, url, signing, file][..], None),
        // Each pod is given its secrets, whether they are used or not.
        (&[key, signing][..], None),
    ] {
        let wrong: Vec<String> = wrong.into_iter().map(str::to_owned).collect();
        match Config::read(&sources(&with(given), ""), ProcessRole::Run) {
            Ok(_) => assert!(wrong.is_empty(), "{given:?}"),
            Err(_) => assert_eq!(
                problems(&with(given), "", ProcessRole::Run),
                wrong,
                "{given:?}"
            ),
        }
    }
    let config = run(&[key, url, signing], "");
    let (posted_to, _) = config.journal.webhook.unwrap();
    assert_eq!(posted_to.as_str(), url.1, "as it is written");
    let database = ("DATABASE_URL", "postgres://localhost/unread");
    let shared = [database, ("LE_ACCOUNT", "12345678"), file, url];
    let config = Config::read(&sources(&shared, ""), ProcessRole::Scheduler).unwrap();
    assert!(
        config.journal.webhook.is_none(),
        "it has no key, and needs none"
    );
    assert_eq!(config.journal.keep_days, 35);
}

#[test]
fn without_passwords_there_must_be_another_way_in() {
    let off = ("UNREAD_PASSWORDS", "false");
    let sso = [
        off,
        ("UNREAD_OIDC_ISSUER", "https://login.example.com"),
        ("UNREAD_OIDC_CLIENT_ID", "client"),
    ];
    assert!(!run(&sso, "").web.passwords);
    assert!(run(&[], "").web.passwords);
    assert_eq!(
        problems(&with(&[off]), "", ProcessRole::Run),
        ["UNREAD_PASSWORDS"]
    );
    // Where no dashboard is served it does not matter.
    run(&[off, ("UNREAD_DASHBOARD", "false")], "");
}

#[test]
fn the_names_of_old_still_work() {
    let environment = [
        ("TWILIO_ACCOUNT_SID", SID),
        ("TWILIO_AUTH_TOKEN", "token"),
        ("LE_ACCOUNT", "12345678"),
        ("LE_CONSUMER_KEY", "key"),
        ("LE_CONSUMER_SECRET", "secret"),
        ("LE_TOKEN", "token"),
        ("LE_TOKEN_SECRET", "token secret"),
        ("PORT", "3001"),
        ("SMTP_USER", "me@example.com"),
        ("SMTP_PASS", "abcdefghijklmnop"),
    ];
    let config = Config::read(&sources(&environment, ""), ProcessRole::Run).unwrap();
    assert_eq!(config.web.port, 3001);
    assert_eq!(config.web.public_url.as_str(), "http://localhost:3001/");
    let [account] = &config.accounts[..] else {
        panic!("one account")
    };
    let Some(LivePersonAuth::OAuth1 {
        consumer_key,
        token_secret,
        ..
    }) = &account.auth
    else {
        panic!("OAuth 1.0a keys")
    };
    assert_eq!(
        (consumer_key.as_str(), token_secret.expose()),
        ("key", "token secret")
    );
    assert!(warned(&config, "OAuth 1.0a"));
    let smtp = config.channels.smtp.unwrap();
    assert_eq!(
        (smtp.host.as_str(), smtp.port, smtp.tls),
        ("smtp.gmail.com", 465, SmtpTls::Implicit)
    );
    assert_eq!(smtp.from.address(), "me@example.com");
    let twilio = config.channels.twilio.unwrap();
    assert_eq!(
        (
            twilio.account_sid.as_str(),
            twilio.webhook_tokens[0].expose()
        ),
        (SID, "token")
    );
    assert!(twilio.sender.is_none());
}

#[test]
fn the_environment_comes_before_the_file_and_the_file_before_the_default() {
    let file = "[web]\nport = 4000\nmetrics_port = 4001\n[[account]]\nid = 12345678\nbrand = \"File\"\ncount_bots = true\n";
    let config = run(
        &[
            ("PORT", "5000"),
            ("UNREAD_BRAND", "Environment"),
            ("UNREAD_BIND", " "),
        ],
        file,
    );
    assert_eq!((config.web.port, config.web.metrics_port), (5000, 4001));
    assert_eq!(config.web.bind.to_string(), "0.0.0.0");
    let [account] = &config.accounts[..] else {
        panic!("one account")
    };
    assert_eq!(
        (account.brand.as_str(), account.count_bots),
        ("Environment", true)
    );
}

#[test]
fn several_accounts_live_in_the_file_and_one_more_in_the_environment() {
    let file = r#"
        [[account]]
        id = "1111"
        client_id = "a"
        client_secret = "s"
        skills = [7, -1]
        page_url = "https://www.example.com/help#chat"

        [[account]]
        id = "2222"
        client_id = "b"
        client_secret_file = "/run/secrets/mounted"
        badge_origins = ["https://shop.example.com"]
    "#;
    let config = run(&[("UNREAD_SKILLS", "8, 9")], file);
    let seen: Vec<_> = config
        .accounts
        .iter()
        .map(|a| (a.id.as_str(), a.skills.clone()))
        .collect();
    assert_eq!(
        seen,
        [
            ("1111", Some(vec![SkillId(7), SkillId::UNASSIGNED])),
            ("2222", None),
            ("12345678", Some(vec![SkillId(8), SkillId(9)])),
        ]
    );
    assert_eq!(
        config.accounts[0].badge_origins,
        ["https://www.example.com"]
    );
    assert_eq!(
        config.accounts[1].badge_origins,
        ["https://shop.example.com"]
    );
    assert!(config.accounts[2].badge_origins.is_empty());
    let Some(LivePersonAuth::OAuth2 { client_secret, .. }) = &config.accounts[1].auth else {
        panic!("OAuth 2.0")
    };
    assert_eq!(client_secret.expose(), "from a file");
}

#[test]
fn account_settings_of_the_environment_need_to_know_their_account() {
    let two = "[[account]]\nid = 1001\nclient_id = \"a\"\nclient_secret = \"s\"\n[[account]]\nid = 1002\nclient_id = \"a\"\nclient_secret = \"s\"";
    let smtp = [MINIMUM[3], MINIMUM[4], ("LE_CLIENT_ID", "x")];
    assert_eq!(problems(&smtp, two, ProcessRole::Run), ["LE_ACCOUNT"]);
    assert_eq!(
        problems(
            &[("LE_ACCOUNT", "1003"), MINIMUM[3], MINIMUM[4]],
            two,
            ProcessRole::Run
        ),
        ["LE_CLIENT_ID"]
    );
    assert!(Config::read(&sources(&[MINIMUM[3], MINIMUM[4]], two), ProcessRole::Run).is_ok());
    let twice = two.replace("id = 1002", "id = 1001");
    assert_eq!(
        problems(&smtp[..2], &twice, ProcessRole::Run),
        ["id in [[account]]"]
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    let environment = [
        ("PORT", "seventy"),
        ("UNREAD_PUBLIC_URL", "unread.example.com"),
        ("UNREAD_SECRET", "short"),
        ("UNREAD_TEST_RECIPIENTS", "@shop.example, anybody"),
        ("UNREAD_TRUSTED_PROXIES", "10.0.0.0/8, everyone"),
        ("UNREAD_LOG_LEVEL", "info,=="),
        ("UNREAD_LIVEPERSON_URL", "http://api.example.com"),
        ("UNREAD_DEFAULT_REGION", "Germany"),
        ("LE_ACCOUNT", "no spaces"),
        ("LE_CLIENT_ID", "client"),
        ("SMTP_HOST", "smtp.example.com"),
        ("SMTP_USER", "me"),
        ("SMTP_TLS", "ssl"),
        ("TWILIO_ACCOUNT_SID", "SM1"),
        ("TWILIO_API_SECRET", "s"),
        ("TWILIO_FROM", "0049 555"),
        ("UNREAD_COLOUR", "blue"),
        ("UNREAD_PUBLC_URL", "x"),
    ];
    let file = "prot = 1\nlog = \"debug\"\n[web]\nprt = 1\n[wbe]\nport = 1\n[worker]\nslots = 0\n[retention]\njobs_days = 1.5";
    let expected: BTreeSet<_> = [
        "PORT",
        "UNREAD_PUBLIC_URL",
        "UNREAD_SECRET",
        "UNREAD_TEST_RECIPIENTS",
        "UNREAD_TRUSTED_PROXIES",
        "UNREAD_LOG_LEVEL",
        "UNREAD_LIVEPERSON_URL",
        "UNREAD_DEFAULT_REGION",
        "LE_ACCOUNT",
        "LE_CLIENT_SECRET",
        "SMTP_PASS",
        "SMTP_FROM",
        "SMTP_TLS",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_API_KEY",
        "TWILIO_FROM",
        "UNREAD_COLOUR",
        "UNREAD_PUBLC_URL",
        "prot in unread.toml",
        "prt in [web] of unread.toml",
        "wbe in unread.toml",
        "log in unread.toml",
        "worker.slots in unread.toml",
        "retention.jobs_days in unread.toml",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    let found = problems(&environment, file, ProcessRole::Run);
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(found.len(), expected.len(), "each is reported once");
}

#[test]
fn a_problem_names_its_fix() {
    let error = |environment: &[(&str, &str)], file| {
        Config::read(&sources(&with(environment), file), ProcessRole::Run)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(&[("PORT", "x")], ""),
        "The configuration has a problem:\n\n  PORT cannot be \"x\"\n      \
         Write a port number from 0 to 65535; left out, it is 3000."
    );
    assert!(error(&[("UNREAD_PUBLC_URL", "x")], "").ends_with("Did you mean UNREAD_PUBLIC_URL?"));
    assert!(error(&[], "[web]\nprt = 1").ends_with("Did you mean port?"));
    assert!(error(&[], "[webb]\nport = 1").ends_with("Did you mean web?"));
    assert!(error(&[], "[account]\nid = 1").contains("[[account]]"));
    assert!(
        error(&[("UNREAD_METRICS_PORT", "tcp://10.0.0.1:9464")], "").contains("enableServiceLinks")
    );
}

#[test]
fn roles_miss_only_what_they_need() {
    assert_eq!(
        problems(&[], "", ProcessRole::Run),
        ["LE_ACCOUNT", "SMTP_USER or TWILIO_ACCOUNT_SID"]
    );
    assert_eq!(
        problems(&[], "", ProcessRole::Worker),
        [
            "DATABASE_URL",
            "LE_ACCOUNT",
            "SMTP_USER or TWILIO_ACCOUNT_SID"
        ]
    );
    assert_eq!(
        problems(&[], "", ProcessRole::Web),
        ["DATABASE_URL", "LE_ACCOUNT"]
    );
    assert_eq!(problems(&[], "", ProcessRole::Live), ["LE_ACCOUNT"]);
    assert_eq!(
        problems(&[MINIMUM[0]], "", ProcessRole::Scan),
        ["LE_CLIENT_ID"]
    );
    let database = (
        "DATABASE_URL",
        "postgres://unread:hunter2@db.example.com/unread",
    );
    for (role, environment) in [
        (ProcessRole::Demo, &[][..]),
        (ProcessRole::Sandbox, &[]),
        (ProcessRole::Doctor, &[]),
        // Commands find their database when they need it.
        (ProcessRole::Migrate, &[]),
        (ProcessRole::Live, &[MINIMUM[0], MINIMUM[1], MINIMUM[2]]),
        (ProcessRole::Scheduler, &[database, MINIMUM[0]]),
        (
            ProcessRole::Web,
            &[database, MINIMUM[0], MINIMUM[1], MINIMUM[2]],
        ),
    ] {
        assert!(
            Config::read(&sources(environment, ""), role).is_ok(),
            "{role:?}"
        );
    }
}

#[test]
fn an_account_with_a_fault_is_not_reported_missing_as_well() {
    let environment = with(&[
        ("LE_ACCOUNT", "no spaces"),
        ("SMTP_USER", "me@example.com"),
        ("SMTP_PORT", "x"),
    ]);
    assert_eq!(
        problems(&environment, "", ProcessRole::Run),
        ["LE_ACCOUNT", "SMTP_PORT"]
    );
}

#[test]
fn no_secret_is_ever_shown() {
    let secrets = [
        (
            "DATABASE_URL",
            "postgres://unread:hunter2@db.example.com/unread",
        ),
        ("UNREAD_SECRET", "hunter2-hunter2-hunter2-hunter2-hunter2"),
        ("SMTP_PASS", "hunter2"),
        ("TWILIO_ACCOUNT_SID", SID),
        ("TWILIO_AUTH_TOKEN", "hunter2"),
        ("TWILIO_API_KEY", "SK1"),
        ("TWILIO_API_SECRET", "hunter2"),
        ("TWILIO_WEBHOOK_TOKENS", "hunter2,hunter2"),
        ("LE_CONSUMER_SECRET", "hunter2"),
    ];
    let config = run(&secrets, "");
    assert!(!format!("{config:?}").contains("hunter2"));

    let wrong = [("DATABASE_URL", "hunter2"), ("UNREAD_SECRET", "hunter2")];
    let error = Config::read(
        &sources(&with(&wrong), "[smtp]\npassword = hunter2"),
        ProcessRole::Run,
    )
    .unwrap_err();
    assert_eq!(error.0.len(), 3);
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    assert!(
        error
            .to_string()
            .contains("line 2 of unread.toml is not TOML"),
        "{error}"
    );
}

#[test]
fn secrets_may_be_mounted_files() {
    let mounted = ("SMTP_PASS_FILE", "/run/secrets/mounted");
    let config = run(&[("SMTP_PASS", ""), mounted], "");
    assert_eq!(mail_password(&config), "from a file");
    let config = run(
        &[("SMTP_PASS", "")],
        "[smtp]\npassword_file = \"/run/secrets/mounted\"",
    );
    assert_eq!(mail_password(&config), "from a file");

    assert_eq!(
        problems(&with(&[mounted]), "", ProcessRole::Run),
        ["SMTP_PASS"],
        "given twice"
    );
    for path in ["/run/secrets/empty", "/run/secrets/absent"] {
        let environment = with(&[("SMTP_PASS", ""), ("SMTP_PASS_FILE", path)]);
        assert_eq!(
            problems(&environment, "", ProcessRole::Run),
            ["SMTP_PASS"],
            "{path}"
        );
    }
}

const APP: &str = include_str!("../../tests/fixtures/oauth/app.pem");

fn google_key() -> String {
    let key = include_str!("../../tests/fixtures/badge/issuer.key.pem");
    serde_json::json!({
        "type": "service_account", "client_email": "mail@shop.iam.example", "private_key": key, "private_key_id": "1",
    })
    .to_string()
}

#[test]
fn a_log_in_by_token_is_one_provider_with_one_proof_and_no_password() {
    let google = google_key();
    let secret = [
        ("SMTP_PASS", ""),
        ("SMTP_HOST", "smtp.office365.com"),
        ("SMTP_OAUTH_TENANT", "shop.example"),
        ("SMTP_OAUTH_CLIENT_ID", "app"),
        ("SMTP_OAUTH_CLIENT_SECRET", "hunter2"),
    ];
    let changed = |by: &[(&'static str, &'static str)]| -> Vec<(&'static str, &'static str)> {
        let mut all: BTreeMap<_, _> = secret.into_iter().collect();
        all.extend(by.iter().copied());
        all.into_iter().collect()
    };
    let grant = |given: &[(&str, &str)]| {
        let config = run(given, "");
        assert!(!format!("{config:?}").contains("hunter2"));
        match config.channels.smtp.unwrap().login.unwrap().credential {
            Credential::Token(grant) => grant,
            Credential::Password(_) => panic!("a password"),
        }
    };
    let by_secret = grant(&secret);
    assert!(by_secret.identity.is_microsoft());
    assert_eq!(
        by_secret.endpoint.as_str(),
        "https://login.microsoftonline.com/shop.example/oauth2/v2.0/token"
    );
    let certificate = changed(&[
        ("SMTP_OAUTH_CLIENT_SECRET", ""),
        ("SMTP_OAUTH_CERTIFICATE", APP),
    ]);
    assert!(format!("{:?}", grant(&certificate)).contains("Certificate(ClientCertificate(…))"));
    let of_google = grant(&[("SMTP_PASS", ""), ("SMTP_OAUTH_GOOGLE_KEY", &google)]);
    assert!(matches!(of_google.identity, OAuthIdentity::Google(_)));
    assert_eq!(
        of_google.endpoint.as_str(),
        "https://oauth2.googleapis.com/token"
    );

    let one =
        |by: &[(&'static str, &'static str)]| problems(&with(&changed(by)), "", ProcessRole::Run);
    for (by, key) in [
        (("SMTP_PASS", "hunter3"), "SMTP_PASS"),
        (("SMTP_USER", ""), "SMTP_USER"),
        (("SMTP_HOST", ""), "SMTP_HOST"),
        (("SMTP_OAUTH_TENANT", ""), "SMTP_OAUTH_TENANT"),
        (("SMTP_OAUTH_TENANT", "a/../b"), "SMTP_OAUTH_TENANT"),
        (("SMTP_OAUTH_CLIENT_ID", ""), "SMTP_OAUTH_CLIENT_ID"),
        (("SMTP_OAUTH_CLIENT_SECRET", ""), "SMTP_OAUTH_CLIENT_SECRET"),
        (("SMTP_OAUTH_CERTIFICATE", APP), "SMTP_OAUTH_CLIENT_SECRET"),
        (
            ("SMTP_OAUTH_CERTIFICATE", "hunter2"),
            "SMTP_OAUTH_CERTIFICATE",
        ),
        (("SMTP_OAUTH_GOOGLE_KEY", "{}"), "SMTP_OAUTH_GOOGLE_KEY"),
        (
            ("SMTP_OAUTH_TOKEN_URL", "http://login.example.com/t"),
            "SMTP_OAUTH_TOKEN_URL",
        ),
    ] {
        let from = ("SMTP_FROM", "me@example.com");
        assert_eq!(one(&[by, from]), [key], "{by:?}");
    }
    let mut both = with(&secret);
    both.push(("SMTP_OAUTH_GOOGLE_KEY", &google));
    assert_eq!(
        problems(&both, "", ProcessRole::Run),
        ["SMTP_OAUTH_GOOGLE_KEY"]
    );
    let alone = with(&[("SMTP_OAUTH_TOKEN_URL", "https://login.example.com/t")]);
    assert_eq!(
        problems(&alone, "", ProcessRole::Run),
        ["SMTP_OAUTH_TOKEN_URL"]
    );
}

#[test]
fn who_proves_itself_by_a_word_alone_has_a_long_one() {
    let long = "a token of some length";
    let login = format!("us:{long}");
    let web = run(
        &[
            ("UNREAD_MAIL_POSTMARK_LOGIN", &login),
            ("UNREAD_MAIL_BREVO_TOKEN", long),
        ],
        "",
    )
    .web;
    assert_eq!(
        (
            web.mail_reports.postmark.len(),
            web.mail_reports.brevo.len()
        ),
        (1, 1)
    );
    assert!(web.mail_reports.sendgrid.is_empty() && web.mail_reports.mailgun.is_empty());
    for (key, wrong) in [
        ("UNREAD_MAIL_POSTMARK_LOGIN", long),
        ("UNREAD_MAIL_POSTMARK_LOGIN", ":a token of some length"),
        ("UNREAD_MAIL_POSTMARK_LOGIN", "us:short"),
        ("UNREAD_MAIL_BREVO_TOKEN", "short"),
        ("UNREAD_MAIL_SENDGRID_KEY", "MFkw"),
    ] {
        assert_eq!(
            problems(&with(&[(key, wrong)]), "", ProcessRole::Run),
            [key],
            "{wrong}"
        );
    }
}

#[test]
fn only_our_own_prefix_is_refused() {
    let config = run(
        &[
            ("HOME", "/root"),
            ("UNREAD_SERVICE_HOST", "10.0.0.1"),
            ("UNREAD_SERVICE_PORT_HTTP", "3000"),
            ("UNREAD_PORT", "tcp://10.0.0.1:3000"),
            ("UNREAD_PORT_3000_TCP_ADDR", "10.0.0.1"),
            ("LE_WORKING_DIR", "/root/.acme.sh"),
            ("SMTP_PASSWORD", "hunter2"),
        ],
        "",
    );
    assert!(warned(&config, "Did you mean SMTP_PASS?"));
    assert!(!warned(&config, "LE_WORKING_DIR") && !warned(&config, "hunter2"));
}

#[test]
fn tls_is_not_given_up_silently() {
    let tls = |more: &[(&str, &str)]| run(more, "").channels.smtp.unwrap().tls;
    let host = ("SMTP_HOST", "smtp.example.com");
    assert_eq!(tls(&[host]), SmtpTls::Implicit);
    assert_eq!(tls(&[host, ("SMTP_PORT", "587")]), SmtpTls::StartTls);
    assert_eq!(tls(&[host, ("SMTP_PORT", "2525")]), SmtpTls::StartTls);
    assert_eq!(
        tls(&[("SMTP_HOST", "127.0.0.1"), ("SMTP_TLS", "none")]),
        SmtpTls::None
    );
    let open = with(&[host, ("SMTP_TLS", "none")]);
    assert_eq!(problems(&open, "", ProcessRole::Run), ["SMTP_TLS"]);
    let relay = [
        host,
        ("SMTP_TLS", "none"),
        ("SMTP_USER", ""),
        ("SMTP_PASS", ""),
        ("SMTP_FROM", "a@example.com"),
    ];
    let smtp = run(&relay, "").channels.smtp.unwrap();
    assert!(smtp.tls == SmtpTls::None && smtp.login.is_none());
}

#[test]
fn contradictions_are_warned_about() {
    let cases: [(&[(&str, &str)], &str); 13] = [
        (&[("LE_TOKEN", "t")], "given twice"),
        (&[], "works on this machine only"),
        (
            &[("UNREAD_PUBLIC_URL", "http://unread.example.com")],
            "without https",
        ),
        (
            &[("UNREAD_PUBLIC_URL", "https://unread.example.com")],
            "all visitors count as one client",
        ),
        (&[], "has no page_url"),
        (
            &[("TWILIO_AUTH_TOKEN", "t")],
            "TWILIO_ACCOUNT_SID is not set",
        ),
        (&[("SMTP_CONNECTIONS", "64")], "SMTP_CONNECTIONS is 64"),
        (&[("SMTP_TLS", "starttls")], "port 465"),
        (
            &[("SMTP_TLS", "implicit"), ("SMTP_PORT", "587")],
            "port 587",
        ),
        (&[("SMTP_PASS", "secret")], "app password"),
        (&[("UNREAD_METRICS_PORT", "3000")], "are both 3000"),
        (
            &[
                ("TWILIO_ACCOUNT_SID", SID),
                ("TWILIO_AUTH_TOKEN", "t"),
                ("TWILIO_FROM", "+15005550006"),
                ("TWILIO_MESSAGING_SERVICE_SID", "MG1"),
            ],
            "TWILIO_FROM is not used",
        ),
        (
            &[
                ("TWILIO_ACCOUNT_SID", "AC1"),
                ("TWILIO_AUTH_TOKEN", "t"),
                ("TWILIO_BASE_URL", "https://api.ie1.twilio.com"),
            ],
            "Twilio ended the host api.ie1.twilio.com",
        ),
    ];
    for (environment, expected) in cases {
        let config = run(environment, "");
        assert!(
            warned(&config, expected),
            "{expected}: {:#?}",
            config.warnings
        );
    }
    let sound = [
        ("UNREAD_PUBLIC_URL", "https://unread.example.com"),
        ("UNREAD_TRUSTED_PROXIES", "127.0.0.1"),
        ("UNREAD_PAGE_URL", "https://www.example.com"),
    ];
    assert_eq!(run(&sound, "").warnings, [""; 0]);
}

#[test]
fn every_setting_in_the_table_is_read() {
    let environment = with(&[
        ("TWILIO_ACCOUNT_SID", SID),
        ("TWILIO_API_KEY", "SK1"),
        ("LE_CLIENT_ID", ""),
        ("LE_CLIENT_SECRET", ""),
        ("LE_TOKEN", "t"),
    ]);
    let sources = sources(&environment, "");
    let mut reader = SettingsReader::new(&sources);
    let _ = read_all(&mut reader, ProcessRole::Run);
    let unread: Vec<_> = keys::all()
        .map(|key| key.env)
        .filter(|env| !reader.asked().contains(env))
        .collect();
    assert_eq!(unread, [""; 0]);
}

#[test]
fn the_example_files_are_sound() {
    let example = include_str!("../../unread.example.toml");
    let mut sources = sources(&[], example);
    sources.read_secret = |path| match path.to_str() {
        Some("/run/secrets/database_url") => Ok("postgres://localhost/unread".to_owned()),
        _ => Ok("abcdefghijklmnop".to_owned()),
    };
    let config = Config::read(&sources, ProcessRole::Run).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.warnings, [""; 0]);
    assert!(config.channels.smtp.is_some() && config.channels.twilio.is_some());

    let example = source::parse_dotenv(include_str!("../../.env.example")).unwrap();
    for name in example.keys() {
        assert_eq!(keys::find(name).env, name);
    }
    // Filled in with nothing, it is as if there were none.
    sources.environment = example;
    assert!(Config::read(&sources, ProcessRole::Run).is_ok());
}

/// Of every setting.
fn names() -> Vec<&'static str> {
    keys::all().map(|key| key.env).collect()
}

/// A line of a settings file: often one that means something.
fn toml_line() -> impl Strategy<Value = String> {
    let section = prop::sample::select(
        &[
            "[[account]]",
            "[smtp]",
            "[twilio]",
            "[web]",
            "[liveperson]",
            "[badge]",
            "[x]",
        ][..],
    );
    let key = prop::sample::select(names()).prop_map(str::to_lowercase);
    let value = prop_oneof![
        "[0-9]{1,20}",
        "\"\\PC{0,20}\"",
        "(true|false)",
        "\\[(\"[a-z:/.]{0,9}\",){0,3}\\]",
        "\\PC{0,12}",
    ];
    prop_oneof![
        section.prop_map(str::to_owned),
        (key, value.clone()).prop_map(|(key, value)| format!("{key} = {value}")),
        ("[a-z_.]{1,20}", value).prop_map(|(key, value)| format!("{key} = {value}")),
        "\\PC{0,30}",
    ]
}

proptest! {
    #[test]
    fn fuzz_dotenv(text in "(?s).{0,200}", lines in prop::collection::vec("(export )?[A-Z_]{0,9} ?=? ?['\"]?\\PC{0,20}['\"]?( #.*)?", 0..6)) {
        let _ = parse_dotenv(&text);
        let _ = parse_dotenv(&lines.join("\n"));
    }

    #[test]
    fn fuzz_settings_file(lines in prop::collection::vec(toml_line(), 0..12)) {
        let _ = Config::read(&sources(&MINIMUM, &lines.join("\n")), ProcessRole::Run);
        let _ = Config::read(&sources(&[], &lines.join("\n")), ProcessRole::Web);
    }

    #[test]
    fn fuzz_environment(values in prop::collection::vec((prop::sample::select(names()), any::<String>(), "[0-9a-z:/,.+ -]{0,20}"), 0..6)) {
        for odd in [true, false] {
            let values: Vec<_> = values.iter().map(|(key, any, tame)| (*key, if odd { any } else { tame }.as_str())).collect();
            let _ = Config::read(&sources(&with(&values), ""), ProcessRole::Run);
        }
    }
}

#[cfg(feature = "test-channel")]
#[test]
fn a_channel_that_is_neither_e_mail_nor_sms_is_enough() {
    let own = with(&[
        ("PROBE_URL", "http://127.0.0.1:9/"),
        ("PROBE_SECRET", "an agreed secret of some length"),
    ]);
    let alone = own
        .iter()
        .filter(|(name, _)| !name.starts_with("SMTP_") && !name.starts_with("TWILIO_"));
    let alone: Vec<(&str, &str)> = alone.copied().collect();
    assert!(Config::read(&sources(&alone, ""), ProcessRole::Run).is_ok());
}

/// Two accounts, and an installation with a mail server and a Twilio account.
fn two_brands(own: &str) -> Result<Config, ConfigError> {
    let file = format!(
        "[smtp]\nhost = \"smtp.one.example\"\nport = 587\nuser = \"one@one.example\"\npassword = \"first secret\"\nfrom_name = \"One\"
         reply_to = \"desk@one.example\"\nrate_per_second = 7
         [twilio]\naccount_sid = \"{SID}\"\nauth_token = \"first token\"\nfrom = \"+15005550006\"
         [[account]]\nid = \"11111111\"\nclient_id = \"c\"\nclient_secret = \"s\"
         [[account]]\nid = \"22222222\"\nclient_id = \"c\"\nclient_secret = \"s\"\n{own}"
    );
    Config::read(&sources(&[], &file), ProcessRole::Run)
}

/// Server, login and sender of the second account's mail.
fn second_mail(own: &str) -> String {
    let config = two_brands(own).unwrap_or_else(|error| panic!("{own}: {error}"));
    let second = config.channels_of(&"22222222".parse().unwrap());
    let smtp = second.smtp().unwrap();
    let login = smtp.login.as_ref().map(|login| match &login.credential {
        Credential::Password(password) => format!("{}/{}", login.user, password.expose()),
        Credential::Token(_) => "token".to_owned(),
    });
    format!(
        "{}:{} {} {} {:?} {} {}",
        smtp.host,
        smtp.port,
        login.unwrap_or_default(),
        smtp.from.address(),
        smtp.from.name(),
        smtp.reply_to.as_ref().map_or("-", |to| to.address()),
        smtp.rate_per_second,
    )
}

#[test]
fn an_account_s_own_mail_settings_never_take_a_password_to_another_server_nor_a_name_to_another_sender()
 {
    let login = "user = \"two@two.example\"\npassword = \"second secret\"\n";
    let host = "host = \"smtp.two.example\"\n";
    #[rustfmt::skip]
    let cases = [
        (String::new(), "smtp.one.example:587 one@one.example/first secret one@one.example Some(\"One\") desk@one.example 7"),
        (format!("[account.smtp]\n{login}"), "smtp.one.example:587 two@two.example/second secret two@two.example None - 7"),
        (format!("[account.smtp]\n{host}{login}"), "smtp.two.example:465 two@two.example/second secret two@two.example None - 7"),
        (format!("[account.smtp]\n{host}from = \"two@two.example\""), "smtp.two.example:465  two@two.example None - 7"),
        ("[account.smtp]\nfrom = \"two@two.example\"".to_owned(), "smtp.one.example:587 one@one.example/first secret two@two.example None - 7"),
        ("[account.smtp]\nfrom_name = \"Two\"".to_owned(), "smtp.one.example:587 one@one.example/first secret one@one.example Some(\"Two\") desk@one.example 7"),
        ("[account.smtp]\nrate_per_second = 3".to_owned(), "smtp.one.example:587 one@one.example/first secret one@one.example Some(\"One\") desk@one.example 3"),
    ];
    for (own, expected) in cases {
        assert_eq!(second_mail(&own), expected, "{own}");
        // The first account has what the installation has.
        let config = two_brands(&own).unwrap();
        let first = config.channels_of(&"11111111".parse().unwrap());
        assert_eq!(first.smtp().unwrap().host, "smtp.one.example");
    }
}

#[test]
fn an_account_s_own_settings_that_do_not_go_together_are_refused_by_their_names() {
    #[rustfmt::skip]
    let cases = [
        ("[account.smtp]\nport = 25", "smtp.port in [[account]] 2 of unread.toml", "smtp.host in [[account]] 2 of unread.toml"),
        ("[account.smtp]\nhost = \"smtp.two.example\"", "smtp.from in [[account]] 2 of unread.toml", "is not set"),
        ("[account.smtp]\nhost = \"smtp.two.example\"\nuser = \"two@two.example\"", "smtp.password in [[account]] 2 of unread.toml", "is not set"),
        ("[account.smtp]\nhots = \"smtp.two.example\"", "hots in [account.smtp] of [[account]] 2 of unread.toml", "is not a setting"),
        ("[account.twilio]\nauth_token = \"second token\"", "twilio.auth_token in [[account]] 2 of unread.toml", "twilio.account_sid"),
        ("[account.twilio]\nbase_url = \"https://twilio.example\"", "twilio.base_url in [[account]] 2 of unread.toml", "twilio.account_sid"),
        ("[account.twilio]\naccount_sid = \"AC2\"", "twilio.auth_token in [[account]] 2 of unread.toml", "is not set"),
        ("smtp = \"smtp.two.example\"", "smtp in [[account]] 2 of unread.toml", "is not a table"),
    ];
    for (own, name, said) in cases {
        let error = two_brands(own).unwrap_err();
        let problem = &error.0[0];
        assert_eq!(problem.key, name, "{own}: {error}");
        assert!(error.to_string().contains(said), "{own}: {error}");
        assert!(!error.to_string().contains("secret\""), "{error}");
    }
}

#[test]
fn the_environment_has_names_for_what_its_account_has_as_its_own() {
    let more = [
        ("UNREAD_ACCOUNT_SMTP_HOST", "smtp.two.example"),
        ("UNREAD_ACCOUNT_SMTP_USER", "two@two.example"),
        ("UNREAD_ACCOUNT_SMTP_PASS_FILE", "/run/secrets/mounted"),
        ("UNREAD_ACCOUNT_SMTP_FROM_NAME", "Two"),
    ];
    let config = run(&more, "");
    let own = config.channels_of(&"12345678".parse().unwrap());
    let smtp = own.smtp().unwrap();
    assert_eq!(
        (smtp.host.as_str(), smtp.from.address()),
        ("smtp.two.example", "two@two.example")
    );
    assert_eq!(config.channels.smtp.unwrap().host, "smtp.gmail.com");

    let mistyped = [("UNREAD_ACCOUNT_SMTP_HOTS", "smtp.two.example")];
    let error = Config::read(&sources(&with(&mistyped), ""), ProcessRole::Run).unwrap_err();
    assert!(
        error.to_string().contains("UNREAD_ACCOUNT_SMTP_HOST"),
        "{error}"
    );
}

#[test]
fn accounts_alone_may_have_what_is_sent_with() {
    let file = "[[account]]\nid = \"11111111\"\nclient_id = \"c\"\nclient_secret = \"s\"\n[account.smtp]\nhost = \"smtp.one.example\"\nfrom = \"a@one.example\"
        [[account]]\nid = \"22222222\"\nclient_id = \"c\"\nclient_secret = \"s\"\n";
    let config = Config::read(&sources(&[], file), ProcessRole::Run).unwrap();
    let of = |id: &str| config.channels_of(&id.parse().unwrap()).channels();
    assert_eq!(of("11111111"), [Channel::Email]);
    assert_eq!(of("22222222"), []);
}
