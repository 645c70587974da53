//! What is only unwise: settings that each make sense and together do not.

use super::reader::SettingsReader;
use super::{Config, parse};

pub(super) fn warn(r: &mut SettingsReader, config: &Config) {
    let public = &config.web.public_url;
    let sends = !config.channels_anywhere().is_empty();
    if sends && parse::is_loopback(public) {
        r.warn(format!(
            "Links in reminders lead to {public}, which works on this machine only. Set UNREAD_PUBLIC_URL to the address under \
             which the outside world reaches this service."
        ));
    } else if sends && public.scheme() == "http" {
        r.warn(format!(
            "Links in reminders lead to {public}: without https others on the way can read them."
        ));
    }
    // This service speaks no TLS itself.
    if public.scheme() == "https" && config.web.trusted_proxies.is_empty() {
        r.warn(format!(
            "A proxy stands before {public}, but UNREAD_TRUSTED_PROXIES names none: all visitors count as one client, and \
             UNREAD_BADGE_REQUESTS_PER_SECOND and UNREAD_CONNECTIONS_PER_ADDRESS hold for all of them together. Name the proxy's network there."
        ));
    }
    for account in config
        .accounts
        .iter()
        .filter(|account| sends && account.page_url.is_none())
    {
        r.warn(format!(
            "Account {} has no page_url (UNREAD_PAGE_URL), so links in its reminders cannot lead back to the conversation.",
            account.id
        ));
    }
    let all = std::iter::once(&config.channels);
    let all = all.chain(config.accounts.iter().map(|account| &account.channels));
    let of_mail = all.filter_map(|channels| channels.smtp.as_ref());
    for smtp in of_mail.filter(|smtp| smtp.connections > config.worker.slots) {
        r.warn(format!(
            "SMTP_CONNECTIONS is {}, but a worker has only {} reminders in hand at once (UNREAD_WORKER_SLOTS); the other connections \
             are never used.",
            smtp.connections, config.worker.slots
        ));
    }
    if config.log.otlp.is_some() && !cfg!(feature = "otlp") {
        r.warn(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this build exports no spans: build it with `--features otlp`."
                .to_owned(),
        );
    }
    if config.web.port == config.web.metrics_port && config.web.port != 0 {
        r.warn(format!(
            "PORT and UNREAD_METRICS_PORT are both {}: a process that serves both cannot start.",
            config.web.port
        ));
    }
}
