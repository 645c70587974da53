//! What a rule promises and cannot do, with everything that the domain's answer depends on looked up.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::channel::render::{Texts, Unanswered};
use crate::db;
use crate::domain::contradiction::{Contradiction, SenderFault, Subject, contradictions};
use crate::domain::ids::Channel;
use crate::domain::rule::RuleSettings;
use crate::domain::zone::Zone;

/// What a rule's account and installation add to its settings.
#[derive(Clone, Debug)]
pub struct RuleSurroundings {
    /// The account's time zone.
    pub zone: Zone,
    /// The usual sender of mail, as settings have it.
    pub sender: Option<String>,
}

/// The contradictions of settings. Without a database nothing is known of senders. The work is done on the threads for people who write
/// rules: a rule with many hours takes a while.
pub async fn of<E: From<Unanswered> + From<sqlx::Error>>(
    texts: &Texts,
    pool: Option<&PgPool>,
    around: &RuleSurroundings,
    settings: &RuleSettings,
    now: DateTime<Utc>,
) -> Result<Vec<Contradiction>, E> {
    let senders = match pool {
        Some(pool) => sender_faults(pool, around, settings).await?,
        None => Vec::new(),
    };
    let (settings, zone) = (settings.clone(), around.zone);
    let found = texts.for_people(move |engine| {
        let texts = settings.used().flat_map(|channel| {
            let own = settings.channels[channel].templates.iter();
            // A text that cannot be read is a fault of its own, told elsewhere.
            own.flat_map(move |(language, t)| {
                engine.facts(channel, language, t).unwrap_or_default()
            })
        });
        contradictions(&Subject {
            settings: &settings,
            zone,
            texts: &texts.collect::<Vec<_>>(),
            senders: &senders,
            now,
        })
    });
    Ok(found.await?)
}

/// What is known to be wrong with the domains from which a rule's messages come.
async fn sender_faults(
    pool: &PgPool,
    around: &RuleSurroundings,
    settings: &RuleSettings,
) -> sqlx::Result<Vec<(Channel, SenderFault)>> {
    let mut faults = Vec::new();
    let with_domain = settings
        .used()
        .filter(|channel| channel.profile().has_sender_domain);
    for channel in with_domain {
        let own = settings.channels[channel].sender.as_ref();
        let sender = own.or(around.sender.as_ref());
        if let Some(domain) = sender.and_then(|sender| domain_of(sender)) {
            let found = db::sender_checks::faults(pool, &domain).await?;
            faults.extend(found.into_iter().map(|fault| (channel, fault)));
        }
    }
    Ok(faults)
}

/// The domain of a sender, also of one with a name: `Acme <help@acme.example>`. As the DNS has it.
pub fn domain_of(sender: &str) -> Option<String> {
    let (_, domain) = sender.rsplit_once('@')?;
    idna::domain_to_ascii(domain.trim_end_matches('>').trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_of_a_sender_is_what_the_dns_is_asked_for() {
        for (sender, domain) in [
            ("help@acme.example", Some("acme.example")),
            ("Acme <help@ACME.example>", Some("acme.example")),
            ("hallo@bücher.example", Some("xn--bcher-kva.example")),
            ("+15005550006", None),
        ] {
            assert_eq!(domain_of(sender).as_deref(), domain, "{sender}");
        }
    }
}
