//! E-mail: the mail server, and what the DNS says about the sender's domain.

use std::net::SocketAddr;

use super::dns::{Resolver, Silence};
use super::records::{self, Judged};
use super::{Doctor, Line, State};
use crate::app;
use crate::channel::smtp;
use crate::config::{self, Config};
use crate::db::sender_checks::Check;

impl Doctor<'_> {
    pub(super) async fn mail(&mut self, settings: &config::Smtp, config: &Config) {
        self.begin("e-mail");
        let checked = match app::mail(settings, &config.web.public_url) {
            Ok(pool) => pool.check().await,
            Err(error) => {
                return self.failed(
                    "settings",
                    format!("{error:#}"),
                    "Correct SMTP_FROM and SMTP_REPLY_TO.",
                );
            }
        };
        let server = format!("{}:{}", settings.host, settings.port);
        match checked {
            Ok(checked) => {
                let tls = if checked.encrypted {
                    "encrypted"
                } else {
                    "not encrypted"
                };
                let login = if checked.logged_in {
                    "logged in"
                } else {
                    "no login"
                };
                self.ok("mail server", format!("{server}, {tls}, {login}"));
            }
            Err(failure) => {
                let hint = failure
                    .hint()
                    .map(|hint| format!(": {hint}"))
                    .unwrap_or_default();
                let found = format!("{server}: {}{hint}", failure.code());
                self.failed("mail server", found, mend_of_mail(&failure));
            }
        }
        self.sender_domain(settings, config.dns_server).await;
    }

    /// What receivers will find out about the sender's domain.
    async fn sender_domain(&mut self, settings: &config::Smtp, server: Option<SocketAddr>) {
        let domain = settings
            .from
            .rsplit_once('@')
            .map_or("", |(_, domain)| domain.trim_end_matches('>'));
        let Ok(domain) = idna::domain_to_ascii(domain) else {
            return self.failed(
                "sender's domain",
                format!("{domain} is no domain name"),
                "Correct SMTP_FROM.",
            );
        };
        if is_for_tests(&domain) {
            for check in CHECKS {
                self.unchecked(
                    check,
                    format!("{domain} is a name for tests and examples; it has no records"),
                    "Set SMTP_FROM to an address of your own.",
                );
            }
            return;
        }
        let resolver = Resolver::new(server);
        let selector = settings.dkim_selector.as_deref();
        let key = records::dkim_name(&domain, selector);
        let (spf, dkim, dmarc) = tokio::join!(
            resolver.texts(&domain),
            resolver.texts(&key),
            dmarc(&resolver, &domain)
        );
        let judged = [
            spf.map(|answer| records::spf(&domain, &answer)),
            dkim.map(|answer| records::dkim(&domain, selector, &answer)),
            dmarc,
        ];
        for (check, judged) in CHECKS.into_iter().zip(judged) {
            match judged {
                Ok(judged) => self.line(check, judged.state, judged.found, judged.mend),
                Err(silence) => self.unchecked(
                    check,
                    format!("{domain} could not be looked up: {silence}"),
                    "Allow DNS from here (port 53, UDP and TCP), or set UNREAD_DNS_SERVER to a server that answers.",
                ),
            }
        }
    }
}

const CHECKS: [&str; 3] = ["SPF", "DKIM", "DMARC"];

/// What the lines say of the sender's domain, as it is kept. What could not be looked up leaves what was found before.
pub(super) fn sender_checks(lines: &[Line]) -> Vec<Check> {
    let about = lines
        .iter()
        .filter(|line| CHECKS.contains(&line.check.as_str()) && line.state != State::Unchecked);
    let checks = about.map(|line| Check {
        record: line.check.clone(),
        well: line.state == State::Ok,
        found: line.found.clone(),
        fix: line.mend.clone(),
    });
    checks.collect()
}

async fn dmarc(resolver: &Resolver, domain: &str) -> Result<Judged, Silence> {
    for name in records::dmarc_names(domain) {
        let answer = resolver.texts(&name).await?;
        if let Some(judged) = records::dmarc(&name, &answer) {
            return Ok(judged);
        }
    }
    Ok(records::no_dmarc(domain))
}

/// Top-level names that are nobody's (RFC 2606): the sandbox's sender has one.
fn is_for_tests(domain: &str) -> bool {
    let top = domain.rsplit('.').next().unwrap_or_default();
    ["example", "invalid", "localhost", "test"].contains(&top)
}

fn mend_of_mail(failure: &smtp::Failure) -> &'static str {
    use smtp::{Fault, Phase};
    match (failure.phase, &failure.fault) {
        (_, Fault::Tls) => {
            "The certificate or protocol was refused: check SMTP_HOST, SMTP_PORT and SMTP_TLS (465: implicit, 587: starttls)."
        }
        (Phase::StartTls, Fault::NotOffered) => {
            "The server offers no STARTTLS here: set SMTP_PORT=465 with SMTP_TLS=implicit, or use the submission port 587."
        }
        (Phase::Auth, Fault::NotOffered) => {
            "The server takes no login here: check SMTP_PORT and SMTP_TLS, or leave SMTP_USER out."
        }
        (Phase::Auth, _) => {
            "Correct SMTP_USER and SMTP_PASS; Gmail and Microsoft want an app password."
        }
        (Phase::Connect | Phase::Greeting, Fault::Unreadable) => {
            "What answers there is no mail server: correct SMTP_HOST, SMTP_PORT and SMTP_TLS."
        }
        (Phase::Connect | Phase::Greeting, Fault::Reply(_)) => {
            "The server turns this machine away: read its words, and ask its operator to let our address in."
        }
        (Phase::Connect | Phase::Greeting, _) => {
            "Correct SMTP_HOST, SMTP_PORT and SMTP_TLS; and check that outgoing connections to that port are allowed."
        }
        _ => "Read the server's words, and correct the SMTP settings.",
    }
}
