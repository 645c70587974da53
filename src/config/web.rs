//! Where this process listens, as what it is known, and whom it lets in how often.

use std::net::IpAddr;
use std::time::Duration;

use url::Url;

use super::host::HostPattern;
use super::network::Network;
use super::parse;
use super::reader::{Noted, SettingsReader};
use crate::channel::mail_reports::{MailReports, SendGridKey};
use crate::domain::opt_out::Reach;
use crate::domain::test_message;
use crate::secret::Secret;

#[derive(Clone, Debug)]
pub struct Web {
    pub bind: IpAddr,
    pub port: u16,
    pub metrics_bind: IpAddr,
    pub metrics_port: u16,
    /// Metrics name the account.
    pub metrics_by_account: bool,
    /// This service as the outside world calls it; the path ends in `/`.
    pub public_url: Url,
    /// The dashboard as its people call it.
    pub dashboard_url: Url,
    /// Other names that it goes by.
    pub allowed_hosts: Vec<HostPattern>,
    /// Keys of which each may sign mail events.
    pub mail_webhook_secrets: Vec<Secret>,
    /// What reports in mail providers' own shapes are verified with.
    pub mail_reports: MailReports,
    /// To whom test messages carry own words without a code.
    pub test_recipients: Vec<test_message::TestRecipient>,
    /// How far a consumer's no reaches.
    pub opt_out_reach: Reach,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// From one client address.
    pub badge_requests_per_second: f64,
    /// To badge, dashboard, API and webhooks, at once.
    pub connections: usize,
    /// Of these, of one address.
    pub connections_per_address: usize,
    /// Whether this process serves dashboard and config API beside the badge.
    pub dashboard: bool,
    /// Whether people may log in with a password.
    pub passwords: bool,
    /// A login ends when it has not been used for so long …
    pub session_idle: Duration,
    /// … and in any case after so long.
    pub session_longest: Duration,
}

pub(super) fn read(r: &mut SettingsReader) -> Result<Web, Noted> {
    let address = |raw: &str| {
        raw.parse()
            .map_err(|_| "an IP address, for example 127.0.0.1 or ::")
    };
    let bind = r.setting("UNREAD_BIND", address);
    let port = r.setting("PORT", parse::port);
    let metrics_bind = r.setting("UNREAD_METRICS_BIND", address);
    let metrics_port = r.setting("UNREAD_METRICS_PORT", parse::port);
    let metrics_by_account = r.setting("UNREAD_METRICS_BY_ACCOUNT", parse::flag);
    let public_url = r.optional("UNREAD_PUBLIC_URL", parse::public_url);
    let dashboard_url = r.optional("UNREAD_DASHBOARD_URL", parse::public_url);
    let allowed_hosts = r.list("UNREAD_ALLOWED_HOSTS", str::parse);
    let mail_webhook_secrets = r.list("UNREAD_MAIL_WEBHOOK_SECRET", parse::secret);
    let mail_reports = mail_reports(r);
    let test_recipients = r.list("UNREAD_TEST_RECIPIENTS", str::parse);
    let opt_out_reach = r.setting("UNREAD_OPT_OUT_REACH", |raw| {
        Reach::parse(&raw.to_ascii_lowercase()).ok_or("installation, sender or everything")
    });
    let trusted_proxies = r.list("UNREAD_TRUSTED_PROXIES", str::parse::<Network>);
    let badge_requests_per_second = r.setting("UNREAD_BADGE_REQUESTS_PER_SECOND", parse::rate);
    let connections = r.setting("UNREAD_CONNECTIONS", parse::number(100..=60_000));
    let per_address = r.setting("UNREAD_CONNECTIONS_PER_ADDRESS", parse::number(4..=60_000));
    let dashboard = r.setting("UNREAD_DASHBOARD", parse::flag);
    let passwords = r.setting("UNREAD_PASSWORDS", parse::flag);
    let session_idle = r.setting("UNREAD_SESSION_IDLE_MINUTES", parse::number(5..=720));
    let session_longest = r.setting("UNREAD_SESSION_HOURS", parse::number(1..=720));
    let port = port?;
    let public_url = public_url?.unwrap_or_else(|| {
        Url::parse(&format!("http://localhost:{port}/")).expect("a port makes no URL invalid")
    });
    Ok(Web {
        bind: bind?,
        port,
        metrics_bind: metrics_bind?,
        metrics_port: metrics_port?,
        metrics_by_account: metrics_by_account?,
        dashboard_url: dashboard_url?.unwrap_or_else(|| public_url.clone()),
        public_url,
        allowed_hosts: allowed_hosts?.unwrap_or_default(),
        mail_webhook_secrets: mail_webhook_secrets?.unwrap_or_default(),
        mail_reports: mail_reports?,
        test_recipients: test_recipients?.unwrap_or_default(),
        opt_out_reach: opt_out_reach?,
        trusted_proxies: trusted_proxies?.unwrap_or_default(),
        badge_requests_per_second: badge_requests_per_second?,
        connections: connections?,
        connections_per_address: per_address?,
        dashboard: dashboard?,
        passwords: passwords?,
        session_idle: Duration::from_mins(session_idle?),
        session_longest: Duration::from_hours(session_longest?),
    })
}

/// Of each mail provider what its reports are verified with.
fn mail_reports(r: &mut SettingsReader) -> Result<MailReports, Noted> {
    let sendgrid = r.list("UNREAD_MAIL_SENDGRID_KEY", SendGridKey::parse);
    let postmark = r.list("UNREAD_MAIL_POSTMARK_LOGIN", login);
    let mailgun = r.list("UNREAD_MAIL_MAILGUN_KEY", parse::secret);
    let brevo = r.list("UNREAD_MAIL_BREVO_TOKEN", long_secret);
    Ok(MailReports {
        sendgrid: sendgrid?.unwrap_or_default(),
        postmark: postmark?.unwrap_or_default(),
        mailgun: mailgun?.unwrap_or_default(),
        brevo: brevo?.unwrap_or_default(),
    })
}

fn login(raw: &str) -> Result<Secret, &'static str> {
    const LOGIN: &str = "`user:password` with a password of 16 characters or more";
    let (user, password) = raw.split_once(':').ok_or(LOGIN)?;
    let fits = !user.is_empty() && password.chars().count() >= 16;
    fits.then(|| Secret::new(raw)).ok_or(LOGIN)
}

/// It is all that its sender proves itself with.
fn long_secret(raw: &str) -> Result<Secret, &'static str> {
    let fits = raw.chars().count() >= 16;
    fits.then(|| Secret::new(raw))
        .ok_or("16 characters or more")
}
