//! E-mail: what the DNS says about the sender's domain.

use std::net::SocketAddr;

use super::dns::{Resolver, Silence};
use super::records::{self, RecordFinding};
use super::{CheckState, Doctor, DoctorFinding};
use crate::channel::smtp;
use crate::db::sender_checks::RecordCheck;

impl Doctor<'_> {
    /// What receivers will find out about the sender's domain.
    pub(super) async fn sender_domain(
        &mut self,
        settings: &smtp::SmtpSettings,
        server: Option<SocketAddr>,
    ) {
        let domain = settings.from.domain();
        let Ok(domain) = idna::domain_to_ascii(domain) else {
            return self.failed(
                "sender's domain",
                format!("{domain} is not a domain name"),
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
                Ok(judged) => self.line(check, judged.state, judged.found, judged.fix),
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
pub(super) fn sender_checks<'l>(
    lines: impl Iterator<Item = &'l DoctorFinding>,
) -> Vec<RecordCheck> {
    let about = lines.filter(|line| {
        CHECKS.contains(&line.check.as_str()) && line.state != CheckState::Unchecked
    });
    let checks = about.map(|line| RecordCheck {
        record: line.check.clone(),
        well: line.state == CheckState::Ok,
        found: line.found.clone(),
        fix: line.fix.clone(),
    });
    checks.collect()
}

async fn dmarc(resolver: &Resolver, domain: &str) -> Result<RecordFinding, Silence> {
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
