//! The settings that point the service at the sandbox.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use super::DemoPace;
use crate::config::{Config, ProcessRole, Sources};
use crate::sandbox::smtp::SmtpOptions;
use crate::sandbox::{Endpoints, Sandbox, shop};

/// A mail server that wants a login, so that the demonstration takes the whole way.
pub fn smtp_options() -> SmtpOptions {
    SmtpOptions {
        credentials: Some((
            "hello@shop.example".to_owned(),
            "sandbox-password".to_owned(),
        )),
        ..SmtpOptions::default()
    }
}

/// The settings that point the service at a sandbox: what a person would write into `.env`.
pub fn environment(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let Endpoints {
        liveperson,
        smtp,
        twilio,
        ..
    } = endpoints;
    let mut settings = BTreeMap::new();
    let mut set = |key: &str, value: &str| settings.insert(key.to_owned(), value.to_owned());
    set("LE_ACCOUNT", &endpoints.account);
    set("LE_CLIENT_ID", &liveperson.credentials.client_id);
    set("LE_CLIENT_SECRET", &liveperson.credentials.client_secret);
    set("UNREAD_LIVEPERSON_URL", &liveperson.domain_url);
    set("UNREAD_BRAND", "The Example Shop");
    set("UNREAD_DEFAULT_REGION", "US");
    set("SMTP_HOST", &smtp.host);
    set("SMTP_PORT", &smtp.port.to_string());
    set("SMTP_TLS", "none");
    set("SMTP_USER", smtp.user.as_deref().unwrap_or_default());
    set("SMTP_PASS", smtp.password.as_deref().unwrap_or_default());
    set("SMTP_FROM", "hello@shop.example");
    set("SMTP_FROM_NAME", "The Example Shop");
    set("TWILIO_BASE_URL", &twilio.base_url);
    set("TWILIO_ACCOUNT_SID", &twilio.account_sid);
    set("TWILIO_AUTH_TOKEN", &twilio.auth_token);
    settings
}

/// An address of this machine as it is printed, and as people type it: to a browser these are two origins.
fn by_both_names(url: &str) -> String {
    format!("{url},{}", url.replace("127.0.0.1", "localhost"))
}

pub(super) fn settings(base: &Config, sandbox: &Sandbox, pace: DemoPace) -> anyhow::Result<Config> {
    let mut environment = environment(sandbox.endpoints());
    let web = &base.web;
    for (key, value) in [
        ("PORT", web.port.to_string()),
        ("UNREAD_METRICS_PORT", web.metrics_port.to_string()),
        ("UNREAD_BIND", Ipv4Addr::LOCALHOST.to_string()),
        ("UNREAD_METRICS_BIND", Ipv4Addr::LOCALHOST.to_string()),
        (
            "UNREAD_PAGE_URL",
            format!("{}/shop", sandbox.endpoints().mailbox_url),
        ),
        (
            "UNREAD_MAIL_WEBHOOK_SECRET",
            sandbox.endpoints().smtp.events_secret.clone(),
        ),
        ("UNREAD_BADGE_SECRET", shop::SECRET.to_owned()),
        (
            "UNREAD_BADGE_ORIGINS",
            by_both_names(&sandbox.endpoints().mailbox_url),
        ),
        (
            "UNREAD_PUBLIC_URL",
            format!("http://localhost:{}", web.port),
        ),
        // The sandbox tires of nobody; when the clock is moved by hand, a minute's calls come in a moment.
        (
            "UNREAD_LIVEPERSON_RATE_PER_SECOND",
            if pace == DemoPace::Real { "5" } else { "1000" }.to_owned(),
        ),
        (
            "UNREAD_SCAN_INTERVAL_SECONDS",
            if pace == DemoPace::Real { "10" } else { "60" }.to_owned(),
        ),
    ] {
        environment.insert(key.to_owned(), value);
    }
    let sources = Sources {
        environment,
        file: None,
        read_secret: |path: &Path| std::fs::read_to_string(path),
    };
    Ok(Config::read(&sources, ProcessRole::Run)?)
}

/// The first port after the dashboard's that is not the metrics', if it is free, else any (0).
pub(super) fn mailbox_port(web: u16, metrics: u16) -> u16 {
    let mut after = (web..u16::MAX).skip(1).filter(|port| *port != metrics);
    let port = after.next().filter(|_| web != 0).unwrap_or_default();
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    if free { port } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mailbox_stands_beside_the_dashboard_and_out_of_the_metrics_way() {
        let web = (20_000..).step_by(7).find(|port| {
            let free = |port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            free(port + 1) && free(port + 2)
        });
        let web = web.unwrap_or_default();
        assert_eq!(mailbox_port(web, 9464), web + 1);
        assert_eq!(mailbox_port(web, web + 1), web + 2);
        assert_eq!(mailbox_port(0, 9464), 0);
        assert_eq!(mailbox_port(u16::MAX, 9464), 0);
    }

    #[test]
    fn the_shop_shows_its_badge_by_whichever_name_it_is_opened() {
        assert_eq!(
            by_both_names("http://127.0.0.1:3001"),
            "http://127.0.0.1:3001,http://localhost:3001"
        );
    }
}
