//! Every setting there is: its two names, its default and what it does.
//!
//! To add a setting: a row here, a field in [`super::Config`] and the line that reads it; then `make docs`. Tests hold the three
//! together: a row that is not read, a read without a row and a page that differs from this table all fail.

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

/// Sections of the file in the order of the page, with their headings.
const SECTIONS: [(&str, &str); 9] = [
    ("", "The process and its database"),
    ("account", "Accounts"),
    ("liveperson", "LivePerson"),
    ("smtp", "E-mail"),
    ("twilio", "SMS"),
    ("web", "Web"),
    ("worker", "Worker"),
    ("retention", "Retention"),
    ("log", "Log"),
];

#[rustfmt::skip]
pub const KEYS: &[SettingKey] = &[
    SettingKey { env: "UNREAD_CONFIG", file: None, default: None, secret: false, about:
        "Path of the TOML file; `--config` comes first. Left out: `unread.toml` in the working folder, if there is one." },
    secret("DATABASE_URL", "database_url",
        "PostgreSQL to use, `postgres://user:password@host/name`. Left out, `run` and `demo` start a PostgreSQL of their own, and commands work on that of `run`; roles in processes of their own need it."),
    preset("UNREAD_DATABASE_CONNECTIONS", "database_connections", "20",
        "Connections to PostgreSQL that one process may hold. A process with the web role keeps three of them open."),
    key("UNREAD_DATABASE_CONNECTIONS_IN_ALL", "database_connections_in_all",
        "How many connections all processes together may come to hold, for `doctor`, which compares it with what the server allows. Left out: it knows of one process."),
    key("UNREAD_DATA_DIR", "data_dir",
        "Folder for the PostgreSQL that `run` starts itself, and for its backups. Left out, one is chosen and named in the log."),
    preset("UNREAD_BACKUPS_KEPT", "backups_kept", "7",
        "How many nightly backups of that PostgreSQL are kept, in the folder `backups` beside it; 0 makes none."),
    key("UNREAD_POSTGRES_BIN", "postgres_bin",
        "Folder with `postgres` and `initdb`. Left out, `PATH` and the usual places are searched."),
    key("UNREAD_DNS_SERVER", "dns_server",
        "DNS server that `doctor` asks about the sender's domain, `192.0.2.53`, also with a port. Left out: those of the machine."),
    secret("UNREAD_SECRET", "secret",
        "Key for address hashes, 32 characters or more. Left out, one is made once and kept in the database, beside the hashes: then \
         anyone with a copy of the database can find out addresses by guessing. How it is changed: docs/data-protection.md."),
    secret("UNREAD_SECRET_OLD", "secret_old",
        "Keys that `UNREAD_SECRET` replaced, a list, the newest first: what was hashed with them is still recognised, so that no one who \
         opted out gets a message."),
    key("UNREAD_JOURNAL_FILE", "journal_file",
        "File outside the database in which opt-outs, complaints and erasures are noted as keyed hashes, and beside it (`.heartbeat`) the \
         last heartbeat, so that a restored backup is recognised and no one who opted out gets a message (docs/operate.md). Needs \
         `UNREAD_SECRET`. Left out: `run` keeps `journal.jsonl` in the folder of its own PostgreSQL; other roles have none."),
    key("UNREAD_JOURNAL_URL", "journal_url",
        "Address to which the same entries are posted (docs/webhooks.md). Needs `UNREAD_SECRET` and `UNREAD_JOURNAL_SECRET`. Left out: nowhere."),
    secret("UNREAD_JOURNAL_SECRET", "journal_secret",
        "Key that signs what is posted to `UNREAD_JOURNAL_URL` (`echo whsec_$(openssl rand -base64 32)`)."),
    preset("UNREAD_JOURNAL_KEEP_DAYS", "journal_keep_days", "35",
        "Days after which entries of erasures are removed from the file: as long as the oldest backup that may be restored."),

    key("LE_ACCOUNT", "account.id",
        "The account (site id), 4 to 20 letters and digits."),
    key("LE_CLIENT_ID", "account.client_id",
        "OAuth 2.0 client of the account, from Conversational Cloud: Manage, Management Console, Application Install."),
    secret("LE_CLIENT_SECRET", "account.client_secret",
        "Its secret."),
    key("LE_CONSUMER_KEY", "account.consumer_key",
        "Legacy OAuth 1.0a: app key. Used only where there is no OAuth 2.0 client."),
    secret("LE_CONSUMER_SECRET", "account.consumer_secret",
        "Legacy OAuth 1.0a: app secret."),
    secret("LE_TOKEN", "account.token",
        "Legacy OAuth 1.0a: access token."),
    secret("LE_TOKEN_SECRET", "account.token_secret",
        "Legacy OAuth 1.0a: access token secret."),
    preset("UNREAD_BRAND", "account.brand", "us",
        "The brand's name as reminders show it: \"a new message from …\"."),
    key("UNREAD_PAGE_URL", "account.page_url",
        "The page with the conversation, to which the link in a reminder leads."),
    preset("UNREAD_COUNT_BOTS", "account.count_bots", "false",
        "Whether a bot's unread messages count like an agent's."),
    preset("UNREAD_UNAUTHENTICATED_CONTACTS", "account.unauthenticated_contacts", "false",
        "Whether addresses may be used that only the page, not a login, told LivePerson. Anyone can put any address there."),
    key("UNREAD_DEFAULT_REGION", "account.default_region",
        "Country (ISO 3166, `DE`) of phone numbers without a country code. Left out, such numbers are not used."),
    key("UNREAD_TIME_ZONE", "account.time_zone",
        "Time zone (`Europe/Berlin`, `UTC+05:30`) by which a rule's hours are read where neither LivePerson nor the phone number tells the customer's, and the rule names none. Left out: UTC."),
    preset("UNREAD_SOURCES", "account.sources", "SHARK",
        "List of LivePerson's conversation sources to watch; `SHARK` is web messaging."),
    key("UNREAD_SKILLS", "account.skills",
        "List of the skill ids to scan; `-1` is \"Unassigned\". Left out: all."),
    key("UNREAD_BADGE_ORIGINS", "account.badge_origins",
        "List of the origins whose pages may show the badge, `https://www.example.com`; `https://*.example.com` stands for all names below that domain, not for the domain itself. Left out: the origin of the page with the conversation."),
    preset("UNREAD_BADGE_REQUIRE_TOKEN_FOR_CUSTOMER_IDS", "account.badge_require_token_for_customer_ids", "true",
        "Whether the badge answers for the brand's own customer ids, which can be guessed, only with a token."),
    key("UNREAD_BADGE_PUBLIC_KEY", "account.badge_public_key",
        "RSA public key that the brand's id_tokens (RS256) are verified with: base64 of its X.509 form, as registered at LivePerson, or PEM. `docs/badge.md` tells more."),
    key("UNREAD_BADGE_JWKS_URL", "account.badge_jwks_url",
        "Instead of the key: where the issuer publishes its keys (JWKS); key changes are followed."),
    key("UNREAD_BADGE_ISSUER", "account.badge_issuer",
        "The `iss` that id_tokens must have."),
    key("UNREAD_BADGE_AUDIENCE", "account.badge_audience",
        "List of audiences, one of which id_tokens must have in `aud`; `none` if they have no `aud`."),
    secret("UNREAD_BADGE_SECRET", "account.badge_secret",
        "Secret shared with the brand's backend, 32 characters or more, with which it signs its own badge tokens (HS256)."),

    preset("UNREAD_LIVEPERSON_URL", "liveperson.url", "https://api.liveperson.net",
        "Where LivePerson's domain service is. With `http://` (loopback only, for sandboxes) the services it names are called by http as well."),
    preset("UNREAD_LIVEPERSON_RATE_PER_SECOND", "liveperson.rate_per_second", "5",
        "Calls per second to LivePerson, for each account, by all processes together, evenly spaced. Re-checks of reminders go first; people who look at LivePerson from a page or the API have a fifth of them."),
    preset("UNREAD_BADGE_LOOKUPS_PER_SECOND", "liveperson.badge_lookups_per_second", "1",
        "How many of these calls the badge may spend on consumers that no scan has met, for each account, by all processes together."),
    preset("UNREAD_LIVE", "live", "false",
        "Go live by itself, with every channel for which nothing stands in the way, a test message aside: reminders go out for what agents write from then on. What a person has taken back it leaves alone. It needs the answers that a person is asked for, in the two settings below. `false`: a person goes live, on the dashboard or with `unread live`."),
    key("UNREAD_LIVE_OTHER_INSTALLATION", "live_other_installation",
        "For `UNREAD_LIVE`: whether another installation reminds the same customers: `none`, `stopped` or `sends`. Kept in the audit trail. Left out: no channel goes live by itself."),
    key("UNREAD_SMS_CONSENT", "sms_consent",
        "For `UNREAD_LIVE`: how customers agreed to text messages: `form`, `conversation`, or a sentence that says how. Kept in the audit trail. Left out: SMS does not go live by itself."),
    preset("UNREAD_SCAN_INTERVAL_SECONDS", "liveperson.scan_interval_seconds", "60",
        "Time from one scan of a skill to the next. Where half of the rate is not enough to read all open conversations so often, those that were updated lately are."),
    preset("UNREAD_FULL_SCAN_INTERVAL_SECONDS", "liveperson.full_scan_interval_seconds", "0",
        "Time from one full scan of a skill, of all its open conversations, to the next; `0`: as often as half of the rate allows, at most every `UNREAD_SCAN_INTERVAL_SECONDS`. `900` asks LivePerson for much less, and learns as late as that of conversations that were read or closed."),
    preset("UNREAD_WINDOW_DAYS", "liveperson.window_days", "89",
        "How long ago a conversation may have begun for the ordinary scan to see it; LivePerson allows less than 90 days."),
    preset("UNREAD_SOURCE_NAME", "liveperson.source_name", "unread",
        "The caller's name that LivePerson asks for, at most 20 letters, digits, `-` or `_`."),

    preset("SMTP_HOST", "smtp.host", "smtp.gmail.com",
        "Mail server. E-mail is on when this or `SMTP_USER` is set."),
    preset("SMTP_PORT", "smtp.port", "465",
        "Its port."),
    key("SMTP_TLS", "smtp.tls",
        "`implicit`, `starttls` (required, never skipped) or `none` (without a password or to loopback only). Left out: `implicit` on port 465, else `starttls`."),
    key("SMTP_USER", "smtp.user",
        "User name at the mail server. Left out: no login."),
    secret("SMTP_PASS", "smtp.password",
        "Password; for Gmail an app password."),
    key("SMTP_OAUTH_TENANT", "smtp.oauth_tenant",
        "Log in at Microsoft 365 by token (XOAUTH2) in place of a password: the directory (tenant) id. `SMTP_USER` is the mailbox."),
    key("SMTP_OAUTH_CLIENT_ID", "smtp.oauth_client_id",
        "Application (client) id of the app registration that has `SMTP.SendAsApp`."),
    secret("SMTP_OAUTH_CLIENT_SECRET", "smtp.oauth_client_secret",
        "Its client secret (the value, not the id)."),
    secret("SMTP_OAUTH_CERTIFICATE", "smtp.oauth_certificate",
        "In place of the client secret: a certificate that the app registration knows and its RSA private key, in PEM, one below the other."),
    secret("SMTP_OAUTH_GOOGLE_KEY", "smtp.oauth_google_key",
        "Log in at Google Workspace by token: the JSON key of a service account with domain-wide delegation for `https://mail.google.com/`. `SMTP_USER` is the mailbox."),
    key("SMTP_OAUTH_TOKEN_URL", "smtp.oauth_token_url",
        "Where tokens are asked for, if not at Microsoft's or Google's usual address."),
    key("SMTP_FROM", "smtp.from",
        "Sender's address; before the `@` plain letters (ASCII), since many mail servers refuse others. Left out: `SMTP_USER`, if that is an address."),
    key("SMTP_FROM_NAME", "smtp.from_name",
        "Sender's name. Left out: the account's brand."),
    key("SMTP_REPLY_TO", "smtp.reply_to",
        "Where answers to reminders go."),
    key("SMTP_DKIM_SELECTOR", "smtp.dkim_selector",
        "Selector of the key that your mail is signed with, the `s=` of its DKIM-Signature. For `doctor`, which looks the key up."),
    preset("SMTP_CONNECTIONS", "smtp.connections", "8",
        "Connections to the mail server that one worker may hold."),
    preset("SMTP_RATE_PER_SECOND", "smtp.rate_per_second", "10",
        "E-mails per second, by all workers together."),

    preset("TWILIO_BASE_URL", "twilio.base_url", "https://api.twilio.com",
        "Twilio's API; another data region has another host, for example `https://api.dublin.ie1.twilio.com`."),
    key("TWILIO_ACCOUNT_SID", "twilio.account_sid",
        "Twilio account, `AC…`. SMS is on when this is set."),
    secret("TWILIO_AUTH_TOKEN", "twilio.auth_token",
        "The account's primary auth token. Needed beside an API key too: Twilio signs its webhooks with it."),
    key("TWILIO_API_KEY", "twilio.api_key",
        "API key, `SK…`, to call Twilio with instead of the auth token."),
    secret("TWILIO_API_SECRET", "twilio.api_secret",
        "Its secret."),
    key("TWILIO_FROM", "twilio.from",
        "Sending number, `+15005550006`, short code, or sender name of up to 11 letters, digits, spaces, `+`, `-`, `_` and `&`. Left out, with no messaging service: the account's first number that can send SMS."),
    key("TWILIO_MESSAGING_SERVICE_SID", "twilio.messaging_service_sid",
        "Messaging service, `MG…`, to send through; comes before `TWILIO_FROM`."),
    secret("TWILIO_WEBHOOK_TOKENS", "twilio.webhook_tokens",
        "List of further auth tokens that webhooks may be signed with, while the primary one is being changed."),
    preset("TWILIO_REDACT_BODIES", "twilio.redact_bodies", "false",
        "Whether Twilio is asked to remove the text of a message once it has come to its end."),
    preset("TWILIO_RATE_PER_SECOND", "twilio.rate_per_second", "10",
        "SMS per second, by all workers together."),

    #[cfg(feature = "test-channel")]
    key("PROBE_URL", "probe.url", "The test channel's endpoint. It is on when this is set."),
    #[cfg(feature = "test-channel")]
    secret("PROBE_SECRET", "probe.secret", "What is signed with, in both directions."),
    #[cfg(feature = "test-channel")]
    preset("PROBE_RATE_PER_SECOND", "probe.rate_per_second", "10", "Messages per second, by all workers together."),

    preset("UNREAD_BIND", "web.bind", "0.0.0.0",
        "Address on which badge, dashboard, API and webhooks listen; `0.0.0.0` is every IPv4 address of the machine."),
    preset("PORT", "web.port", "3000",
        "Their port; 0 takes a free one."),
    preset("UNREAD_METRICS_BIND", "web.metrics_bind", "0.0.0.0",
        "Address on which metrics listen, in every role."),
    preset("UNREAD_METRICS_PORT", "web.metrics_port", "9464",
        "Their port; 0 takes a free one."),
    preset("UNREAD_METRICS_BY_ACCOUNT", "web.metrics_by_account", "false",
        "Whether what metrics count of reminders, attempts, conversations, suppressions and calls to LivePerson is counted by account, too. Series grow with the number of accounts."),
    key("UNREAD_PUBLIC_URL", "web.public_url",
        "This service as the outside world calls it, a host name of its own without a path: for links in reminders and for webhooks. Left out: `http://localhost:PORT`, which works on this machine only."),
    key("UNREAD_DASHBOARD_URL", "web.dashboard_url",
        "The dashboard as your people call it, where that is another host name than `UNREAD_PUBLIC_URL`: for set-up links, single sign-on (redirect address `UNREAD_DASHBOARD_URL/login/sso/callback`) and the document of the API. Left out: `UNREAD_PUBLIC_URL`."),
    key("UNREAD_ALLOWED_HOSTS", "web.allowed_hosts",
        "List of other host names by which this service is called, inside a cluster for example; `*.example.com` stands for all names below that domain. Ports do not count. Always allowed are the hosts of `UNREAD_PUBLIC_URL` and `UNREAD_DASHBOARD_URL`, `localhost` and addresses; requests by any other name are answered with 421, except probes and metrics."),
    preset("UNREAD_BADGE_REQUESTS_PER_SECOND", "web.badge_requests_per_second", "20",
        "Badge requests per second from one client address, after a burst of ten times as many; more are answered with 429. Many people can share an address."),
    preset("UNREAD_CONNECTIONS", "web.connections", "8192",
        "Connections on which one process serves badge, dashboard, API and webhooks at once, 100 to 60000; fewer if the hard limit of open files is too low. Badges that listen for events may have three quarters of them."),
    preset("UNREAD_CONNECTIONS_PER_ADDRESS", "web.connections_per_address", "256",
        "How many of them one client address (IPv6: one /64) may have. It does not hold for the proxies in `UNREAD_TRUSTED_PROXIES`."),
    preset("UNREAD_DASHBOARD", "web.dashboard", "true",
        "Whether dashboard and config API are served here too. `false` for processes that the public reaches, when others serve the dashboard."),
    preset("UNREAD_PASSWORDS", "web.passwords", "true",
        "Whether people may log in to the dashboard with a password. `false`: by single sign-on alone, which must be set up then."),
    preset("UNREAD_SESSION_IDLE_MINUTES", "web.session_idle_minutes", "120",
        "A login to the dashboard ends when it has not been used for so many minutes, 5 to 720."),
    preset("UNREAD_SESSION_HOURS", "web.session_hours", "12",
        "A login to the dashboard ends after so many hours however busy, 1 to 720."),
    key("UNREAD_OIDC_ISSUER", "web.oidc_issuer",
        "Single sign-on with OpenID Connect: the issuer's address, `https://login.example.com`. Register the redirect address `/login/sso/callback` below `UNREAD_DASHBOARD_URL`, else `UNREAD_PUBLIC_URL`, there."),
    key("UNREAD_OIDC_CLIENT_ID", "web.oidc_client_id",
        "The client that was registered for unread at the issuer."),
    secret("UNREAD_OIDC_CLIENT_SECRET", "web.oidc_client_secret",
        "Its secret. Left out: a public client."),
    key("UNREAD_OIDC_ROLE", "web.oidc_role",
        "Role of users who come by single sign-on and were not added before: `viewer`, `editor` or `administrator`. Left out: they are \
         not let in."),
    preset("UNREAD_OIDC_TRUST_EMAIL", "web.oidc_trust_email", "false",
        "Whether an address in a token counts as the person's although the issuer does not say whether it has verified it (no \
         `email_verified`). Only for an issuer with your own people only, who cannot change their addresses themselves: anyone who can \
         write an address there becomes that person here."),
    secret("UNREAD_MAIL_WEBHOOK_SECRET", "web.mail_webhook_secret",
        "Key that signs bounces and complaints posted to `/mail/events` (docs/webhooks.md); a list while it is being changed. Left out: they are refused."),
    key("UNREAD_MAIL_SENDGRID_KEY", "web.mail_sendgrid_key",
        "Verification key of SendGrid's event webhook, which posts to `/mail/events/sendgrid`; a list while it is being changed. Left out: it is refused."),
    secret("UNREAD_MAIL_POSTMARK_LOGIN", "web.mail_postmark_login",
        "`user:password` with which Postmark posts to `/mail/events/postmark`; a list while it is being changed. Left out: it is refused."),
    secret("UNREAD_MAIL_MAILGUN_KEY", "web.mail_mailgun_key",
        "Webhook signing key of Mailgun, which posts to `/mail/events/mailgun`; a list while it is being changed. Left out: it is refused."),
    secret("UNREAD_MAIL_BREVO_TOKEN", "web.mail_brevo_token",
        "Token, or `user:password`, with which Brevo posts to `/mail/events/brevo`; a list while it is being changed. Left out: it is refused."),
    key("UNREAD_TEST_RECIPIENTS", "web.test_recipients",
        "List of those who get a rule's own words in test messages at once: addresses, phone numbers (`+12025550143`), or all of a domain \
         (`@example.com`). Anyone else first gets a code to enter. Left out: everyone."),
    preset("UNREAD_OPT_OUT_REACH", "web.opt_out_reach", "installation",
        "How far a customer's opt-out reaches (docs/what-we-treat-as.md). `installation`: STOP by text message holds for the number in \
         every account; an unsubscribe link for its address in its account. `sender`: STOP holds in the accounts that share the number or \
         Messaging Service it was sent to. `everything`: every no holds in all accounts and on all channels, as far as the customer's \
         other addresses are known."),
    key("UNREAD_TRUSTED_PROXIES", "web.trusted_proxies",
        "List of the networks (`10.0.0.0/8`) whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted. Left out: none."),

    preset("UNREAD_WORKER_SLOTS", "worker.slots", "32",
        "Reminders of one channel that one worker may have in hand at once. With several accounts no one has more than half of them, and each has some of its own, for which there are at least two for each account."),
    preset("UNREAD_DRAIN_SECONDS", "worker.drain_seconds", "25",
        "How long a process that was told to stop may finish what it has in hand."),

    preset("UNREAD_RETENTION_CONVERSATIONS_DAYS", "retention.conversations_days", "30",
        "Days that a closed conversation and its consumer are kept."),
    preset("UNREAD_RETENTION_REMINDERS_DAYS", "retention.reminders_days", "400",
        "Days that a finished reminder and its attempts are kept."),
    preset("UNREAD_RETENTION_DECISIONS_DAYS", "retention.decisions_days", "30",
        "Days that decisions are kept."),
    preset("UNREAD_RETENTION_AUDIT_DAYS", "retention.audit_days", "730",
        "Days that the audit log is kept."),
    preset("UNREAD_RETENTION_JOBS_DAYS", "retention.jobs_days", "2",
        "Days that finished jobs of the queue are kept."),

    key("UNREAD_LOG_FORMAT", "log.format",
        "`text` or `json`. Left out: `text` on a terminal, else `json`."),
    preset("UNREAD_LOG_LEVEL", "log.level", "info",
        "`error`, `warn`, `info`, `debug` or `trace`; also by part, `info,unread::jobs=debug`. `unread log-level` changes it while the process runs. `unread demo` logs `warn` where nothing is set."),
    key("OTEL_EXPORTER_OTLP_ENDPOINT", "log.otlp_url",
        "OpenTelemetry collector to send spans of jobs and requests to, by HTTP: `http://collector:4318`. Only builds with the feature `otlp` do. Left out: none are sent."),
    key("OTEL_SERVICE_NAME", "log.service_name",
        "What the collector calls this process. Left out: `unread-` and its role, such as `unread-worker`."),
];

/// The setting whose name in the environment is `env`.
pub fn find(env: &str) -> &'static SettingKey {
    KEYS.iter()
        .find(|key| key.env == env)
        .unwrap_or_else(|| panic!("{env} has no row in config/keys.rs"))
}

/// All settings as tables in Markdown: the second half of `docs/configuration.md`.
pub fn reference() -> String {
    let mut page = String::new();
    for (section, heading) in SECTIONS {
        let place = match section {
            "" => String::new(),
            "account" => " (`[[account]]`)".to_owned(),
            _ => format!(" (`[{section}]`)"),
        };
        write!(
            page,
            "### {heading}{place}\n\n| environment | file | default | what it does |\n|---|---|---|---|\n"
        )
        .expect("writing to a String does not fail");
        for key in KEYS.iter().filter(|key| key.section() == section) {
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
        "<!-- The tables below are written by `make docs` from src/config/keys.rs. -->\n\n";

    fn page() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")
    }

    #[test]
    fn no_name_is_used_twice_and_every_section_is_on_the_page() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.env).collect();
        let paths: BTreeSet<_> = KEYS.iter().filter_map(|key| key.file).collect();
        assert_eq!(names.len(), KEYS.len());
        assert_eq!(
            paths.len() + 1,
            KEYS.len(),
            "only UNREAD_CONFIG has no path"
        );
        for key in KEYS {
            assert!(
                SECTIONS
                    .iter()
                    .any(|(section, _)| *section == key.section())
            );
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
