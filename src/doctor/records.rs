//! What the DNS records of a sender's domain mean for its mail: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 7489). Pure.

use super::CheckState;
use super::dns::DnsAnswer;

/// A judgement, before it becomes a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFinding {
    pub state: CheckState,
    pub found: String,
    pub fix: Option<String>,
}

fn judged(state: CheckState, found: impl Into<String>, fix: impl Into<String>) -> RecordFinding {
    RecordFinding {
        state,
        found: found.into(),
        fix: Some(fix.into()),
    }
}

fn well(found: impl Into<String>) -> RecordFinding {
    RecordFinding {
        state: CheckState::Ok,
        found: found.into(),
        fix: None,
    }
}

/// Whether a text begins with this version tag, alone or before other words.
fn is_version(text: &str, tag: &str, ends: &[char]) -> bool {
    let start = text.get(..tag.len());
    let rest = text.get(tag.len()..).unwrap_or_default();
    start.is_some_and(|start| start.eq_ignore_ascii_case(tag))
        && (rest.is_empty() || rest.starts_with(ends))
}

/// Who may send mail for `domain`, by what it says itself.
pub fn spf(domain: &str, answer: &DnsAnswer) -> RecordFinding {
    if *answer == DnsAnswer::NoSuchName {
        return judged(
            CheckState::Failed,
            format!("the domain {domain} does not exist"),
            "Correct SMTP_FROM: mail from a domain that does not exist is refused.",
        );
    }
    let texts = answer.texts().iter();
    let records: Vec<&String> = texts
        .filter(|text| is_version(text, "v=spf1", &[' ']))
        .collect();
    let record = match records[..] {
        [] => {
            return judged(
                CheckState::Warning,
                format!("{domain} has none"),
                format!(
                    "Publish a TXT record of {domain} that names your mail server: \"v=spf1 include:… -all\", in the words of your mail \
                     provider. Without it, mail ends up in spam folders."
                ),
            );
        }
        [record] => record,
        _ => {
            return judged(
                CheckState::Failed,
                format!("{domain} has {}, which counts as an error", records.len()),
                format!(
                    "Leave one TXT record of {domain} that begins with v=spf1: put the words of all into it."
                ),
            );
        }
    };
    let words: Vec<String> = record
        .split_ascii_whitespace()
        .skip(1)
        .map(str::to_ascii_lowercase)
        .collect();
    if words.iter().any(|word| word == "all" || word == "+all") {
        return judged(
            CheckState::Warning,
            format!("{domain} allows anyone to send in its name"),
            "End the SPF record with -all (or ~all) instead of +all.",
        );
    }
    let names_nobody = words
        .iter()
        .all(|word| word.trim_start_matches(['-', '~', '?']) == "all" || word.starts_with("exp="));
    if names_nobody && words.iter().any(|word| word == "-all") {
        return judged(
            CheckState::Failed,
            format!("{domain} says that it sends no mail at all"),
            "Name your mail server in the SPF record (include:…), or correct SMTP_FROM.",
        );
    }
    well(record.as_str())
}

/// The names below which keys of the domain are.
pub fn dkim_name(domain: &str, selector: Option<&str>) -> String {
    match selector {
        Some(selector) => format!("{selector}._domainkey.{domain}"),
        None => format!("_domainkey.{domain}"),
    }
}

/// Whether the key that mail is signed with can be found. `answer` is that of [`dkim_name`].
pub fn dkim(domain: &str, selector: Option<&str>, answer: &DnsAnswer) -> RecordFinding {
    let Some(selector) = selector else {
        // A name that has nothing itself exists if there is something below it (RFC 8020).
        return match answer {
            DnsAnswer::NoSuchName => judged(
                CheckState::Warning,
                format!("{domain} publishes no key"),
                "Have your mail server or provider sign with DKIM, publish the key that it shows, and set SMTP_DKIM_SELECTOR to its \
                 selector.",
            ),
            DnsAnswer::Texts(_) => judged(
                CheckState::Unchecked,
                format!(
                    "{domain} publishes keys, but whether mail is signed with one of them cannot be seen from here"
                ),
                "Set SMTP_DKIM_SELECTOR to the s= of the DKIM-Signature in a mail of yours: its key is looked up then.",
            ),
        };
    };
    let name = dkim_name(domain, Some(selector));
    let keys = answer.texts().iter().filter_map(|text| tag(text, "p"));
    match keys.collect::<Vec<_>>()[..] {
        [] => judged(
            CheckState::Failed,
            format!("there is no key at {name}"),
            "Publish the key that your mail server or provider shows for this selector, or correct SMTP_DKIM_SELECTOR.",
        ),
        [""] => judged(
            CheckState::Failed,
            format!("the key at {name} has been revoked"),
            "Sign with another key, publish that, and set SMTP_DKIM_SELECTOR to its selector.",
        ),
        [_] => well(format!("{name} has a key")),
        _ => judged(
            CheckState::Failed,
            format!("{name} has more than one key"),
            "Leave one TXT record at that name.",
        ),
    }
}

/// Where the policy for a domain may stand, in the order in which receivers look: at itself, else at the domains above it.
pub fn dmarc_names(domain: &str) -> Vec<String> {
    let above = std::iter::successors(Some(domain), |name| {
        let (_, above) = name.split_once('.')?;
        above.contains('.').then_some(above)
    });
    // More labels than receivers walk are nobody's sender domain.
    above.take(8).map(|name| format!("_dmarc.{name}")).collect()
}

/// The policy among these texts; `None`: receivers look further up.
pub fn dmarc(name: &str, answer: &DnsAnswer) -> Option<RecordFinding> {
    let texts = answer.texts().iter();
    let records: Vec<&String> = texts
        .filter(|text| is_version(text, "v=DMARC1", &[';', ' ']))
        .collect();
    match records[..] {
        [] => None,
        [record] => Some(match tag(record, "p").unwrap_or_default() {
            policy @ ("none" | "quarantine" | "reject") => well(format!("{name}: p={policy}")),
            _ => judged(
                CheckState::Warning,
                format!("the policy at {name} cannot be read, so receivers ignore it"),
                "Write p=none, p=quarantine or p=reject into it.",
            ),
        }),
        _ => Some(judged(
            CheckState::Warning,
            format!("{name} has {}, so receivers ignore them", records.len()),
            "Leave one TXT record at that name.",
        )),
    }
}

/// What to say when none of [`dmarc_names`] has a policy.
pub fn no_dmarc(domain: &str) -> RecordFinding {
    judged(
        CheckState::Warning,
        format!("{domain} has none"),
        format!(
            "Publish a TXT record of _dmarc.{domain}: \"v=DMARC1; p=none; rua=mailto:…\". Large receivers expect one from bulk senders."
        ),
    )
}

/// The value of a tag in a list `a=1; b=2`.
fn tag<'t>(list: &'t str, name: &str) -> Option<&'t str> {
    let tags = list.split(';').filter_map(|tag| tag.split_once('='));
    tags.map(|(key, value)| (key.trim(), value.trim()))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> DnsAnswer {
        DnsAnswer::Texts(texts.iter().map(|&text| text.to_owned()).collect())
    }

    #[test]
    fn spf_names_the_senders_once_and_not_everybody() {
        let cases: &[(&[&str], CheckState)] = &[
            (&["v=spf1 include:_spf.mail.test -all"], CheckState::Ok),
            (&["V=SPF1 mx ~all", "other=1"], CheckState::Ok),
            (&["v=spf1 redirect=_spf.mail.test"], CheckState::Ok),
            (&["v=spf1 ip4:192.0.2.1 -all"], CheckState::Ok),
            (&[], CheckState::Warning),
            (&["v=spf10 mx -all", "v=spf2.0/pra"], CheckState::Warning),
            (&["v=spf1 mx +all"], CheckState::Warning),
            (&["v=spf1 all"], CheckState::Warning),
            (&["v=spf1 -all"], CheckState::Failed),
            (&["v=spf1 include:mail.firewall -all"], CheckState::Ok),
            (&["v=spf1 mx -all", "v=spf1 a -all"], CheckState::Failed),
        ];
        for (records, state) in cases {
            let judged = spf("shop.test", &texts(records));
            assert_eq!(judged.state, *state, "{records:?}: {judged:?}");
            assert_eq!(judged.fix.is_none(), *state == CheckState::Ok, "{judged:?}");
        }
        let judged = spf("shop.test", &DnsAnswer::NoSuchName);
        assert_eq!(judged.state, CheckState::Failed);
        assert!(judged.fix.unwrap().contains("SMTP_FROM"));
    }

    #[test]
    fn dkim_without_a_selector_is_never_green() {
        let of = |selector, answer: &DnsAnswer| dkim("shop.test", selector, answer).state;
        assert_eq!(of(None, &texts(&[])), CheckState::Unchecked);
        assert_eq!(of(None, &texts(&["p=AAAA"])), CheckState::Unchecked);
        assert_eq!(of(None, &DnsAnswer::NoSuchName), CheckState::Warning);
        let cases: &[(&[&str], CheckState)] = &[
            (&["v=DKIM1; k=rsa; p=MIGf"], CheckState::Ok),
            (&["k=ed25519;p=11qY ;t=s"], CheckState::Ok),
            (&["v=DKIM1; p="], CheckState::Failed),
            (&["v=spf1 -all"], CheckState::Failed),
            (&["p=A", "p=B"], CheckState::Failed),
            (&[], CheckState::Failed),
        ];
        for (records, state) in cases {
            assert_eq!(of(Some("s1"), &texts(records)), *state, "{records:?}");
        }
        assert_eq!(of(Some("s1"), &DnsAnswer::NoSuchName), CheckState::Failed);
    }

    #[test]
    fn dmarc_is_looked_for_at_the_domain_and_above() {
        assert_eq!(
            dmarc_names("mail.shop.test"),
            ["_dmarc.mail.shop.test", "_dmarc.shop.test"]
        );
        assert_eq!(dmarc_names("localhost"), ["_dmarc.localhost"]);
        let of = |records: &[&str]| dmarc("_dmarc.shop.test", &texts(records)).map(|j| j.state);
        assert_eq!(
            of(&["v=DMARC1; p=none; rua=mailto:a@shop.test"]),
            Some(CheckState::Ok)
        );
        assert_eq!(of(&["v=DMARC1;p=reject"]), Some(CheckState::Ok));
        assert_eq!(of(&["v=DMARC1; sp=none"]), Some(CheckState::Warning));
        assert_eq!(of(&["v=DMARC1; p=maybe"]), Some(CheckState::Warning));
        let two = ["v=DMARC1; p=none", "v=DMARC1; p=reject"];
        assert_eq!(of(&two), Some(CheckState::Warning));
        assert_eq!(of(&["v=DMARC10; p=none"]), None);
        assert_eq!(of(&[]), None);
    }
}
