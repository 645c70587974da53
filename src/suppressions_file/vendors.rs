//! What a row says, layout by layout.
#![expect(
    clippy::unnecessary_wraps,
    reason = "a table holds them, so they have one shape"
)]

use super::date;
use super::layout::{Cells, Claim, EMAIL_COLUMNS, Own, PHONE_COLUMNS};
use super::reason::{Skip, Verdict, of_replies, of_text};
use super::words::{of_word, plain};
use crate::channel::optout::{self, Meaning};
use crate::domain::contact::Suppression;

/// Why a row is there, in the order in which they are believed.
const REASON_COLUMNS: [&str; 6] = [
    "suppressionreason",
    "type",
    "reason",
    "status",
    "event",
    "state",
];

/// Since when.
const DATE_COLUMNS: [&str; 18] = [
    "created",
    "createdat",
    "datecreated",
    "createddate",
    "lastupdatetime",
    "suppressedat",
    "unsubscribedat",
    "unsubscribed",
    "unsubscribedate",
    "unsubtime",
    "cleantime",
    "optoutdate",
    "optedoutat",
    "bouncedat",
    "blockedat",
    "timestamp",
    "date",
    "updatedat",
];

/// Columns that say yes or no to "does this person not want it?", or since when, as customer databases have them.
const FLAG_COLUMNS: [&str; 15] = [
    "unsubscribed",
    "suppressed",
    "emailblacklisted",
    "smsblacklisted",
    "unsubscribedfromallemail",
    "optedoutofemail",
    "optedoutofallemail",
    "hasoptedoutofemail",
    "emailoptout",
    "smsoptout",
    "optedout",
    "optout",
    "donotcontact",
    "donotemail",
    "donottext",
];

pub fn own(cells: Cells<'_>) -> Result<Claim<'_>, Skip> {
    let own = Own {
        hash: cells.get("hash"),
        channel: cells.get("channel"),
        account: cells.get("account"),
        reason: cells.get("reason"),
        source: cells.get("source"),
        expires_at: cells.get("expiresat"),
    };
    let date = cells.first(&DATE_COLUMNS);
    // Mailgun's complaints are only told by how they write the date.
    let of_mailgun = own.reason.is_none() && date.is_some_and(date::is_of_mail);
    Ok(Claim {
        address: cells.get("address"),
        reason: of_mailgun.then_some(Suppression::Complaint),
        date,
        own: Some(own),
        ..Claim::default()
    })
}

/// A STOP revokes whoever wrote it; 21610 says that the number had stopped us before.
pub fn twilio(cells: Cells<'_>) -> Result<Claim<'_>, Skip> {
    let inbound = cells
        .get("direction")
        .is_some_and(|way| plain(way) == "inbound");
    let body = || cells.get("body").unwrap_or_default();
    let has_stopped = || cells.get("errorcode").is_some_and(|code| code == "21610");
    let phone = if inbound
        && matches!(
            optout::meaning(body()),
            Meaning::Stop | Meaning::FreeTextRevocation
        ) {
        cells.get("from")
    } else if !inbound && has_stopped() {
        cells.get("to")
    } else {
        return Err(Skip::NotAnOptOut);
    };
    Ok(Claim {
        phone,
        reason: Some(Suppression::OptedOut),
        date: cells.first(&[
            "sentdate",
            "datesent",
            "date",
            "datecreated",
            "createddate",
            "dateupdated",
        ]),
        ..Claim::default()
    })
}

fn is_yes(cell: Option<&str>) -> bool {
    const YES: [&str; 11] = [
        "true", "yes", "y", "1", "x", "t", "on", "ja", "wahr", "oui", "si",
    ];
    cell.is_some_and(|cell| YES.contains(&plain(cell).as_str()))
}

/// A bounce has its kind, or TRUE, in its column. Any other column with TRUE is a kind of message that the person does not want.
pub fn hubspot(cells: Cells<'_>) -> Result<Claim<'_>, Skip> {
    let has_bounced = |name| {
        let cell = cells.get(name);
        cell.is_some_and(|cell| plain(cell) != "false" && !matches!(of_word(cell), Some(Err(_))))
    };
    let reason = if is_yes(cells.get("portalspamreport")) {
        Suppression::Complaint
    } else if is_yes(cells.get("portalunsubscribe")) {
        Suppression::OptedOut
    } else if has_bounced("portalbounce") || has_bounced("globalbounce") {
        Suppression::BadAddress
    } else if cells.fields.iter().any(|cell| is_yes(Some(cell))) {
        Suppression::OptedOut
    } else {
        return Err(Skip::NotAnOptOut);
    };
    Ok(email(cells, reason))
}

/// A list of cleaned addresses has the time of cleaning, one of the unsubscribed that of unsubscribing.
pub fn mailchimp(cells: Cells<'_>) -> Result<Claim<'_>, Skip> {
    let of_spam = cells
        .get("unsubreason")
        .is_some_and(|reason| matches!(of_word(reason), Some(Ok(Suppression::Complaint))));
    let reason = if of_spam {
        Suppression::Complaint
    } else if cells.get("unsubtime").is_none() && cells.get("cleantime").is_some() {
        Suppression::BadAddress
    } else {
        Suppression::OptedOut
    };
    Ok(email(cells, reason))
}

pub fn postmark_bounces(cells: Cells<'_>) -> Result<Claim<'_>, Skip> {
    match cells.get("type").map(|kind| (plain(kind), of_word(kind))) {
        // By the receiving server, not by anybody's wish.
        Some((kind, _)) if kind == "blocked" => Err(Skip::AboutTheSender),
        Some((_, Some(verdict))) => Ok(email(cells, verdict?)),
        _ => Ok(email(
            cells,
            of_replies(&[cells.get("details").unwrap_or_default()])?,
        )),
    }
}

pub fn sendgrid_bounces(cells: Cells<'_>) -> Result<Claim<'_>, Skip> {
    let (status, reason) = (cells.get("status"), cells.get("reason"));
    let is_reply =
        |cell: Option<&str>| cell.is_none_or(|cell| cell.starts_with(|c: char| c.is_ascii_digit()));
    if !is_reply(status) {
        return any(cells);
    }
    let verdict = of_replies(&[status.unwrap_or_default(), reason.unwrap_or_default()]);
    Ok(email(cells, verdict?))
}

pub fn sendgrid_spam_reports(cells: Cells<'_>) -> Result<Claim<'_>, Skip> {
    Ok(email(cells, Suppression::Complaint))
}

pub fn mailgun_bounces(cells: Cells<'_>) -> Result<Claim<'_>, Skip> {
    let (code, error) = (
        cells.get("code").unwrap_or_default(),
        cells.get("error").unwrap_or_default(),
    );
    let verdict = match code {
        // Mailgun's own: was not tried because of an earlier unsubscription, or complaint.
        "606" => Ok(Suppression::OptedOut),
        "607" => Ok(Suppression::Complaint),
        _ => of_replies(&[code, error]),
    };
    Ok(Claim {
        email: cells.get("address"),
        reason: Some(verdict?),
        date: cells.first(&DATE_COLUMNS),
        ..Claim::default()
    })
}

pub fn mailgun_unsubscribes(cells: Cells<'_>) -> Result<Claim<'_>, Skip> {
    Ok(Claim {
        email: cells.get("address"),
        reason: Some(Suppression::OptedOut),
        date: cells.first(&DATE_COLUMNS),
        ..Claim::default()
    })
}

fn email(cells: Cells<'_>, reason: Suppression) -> Claim<'_> {
    Claim {
        email: cells.first(&EMAIL_COLUMNS),
        reason: Some(reason),
        date: cells.first(&DATE_COLUMNS),
        ..Claim::default()
    }
}

/// Lists of suppressions of many providers, customer databases, and what people make themselves.
pub fn any(cells: Cells<'_>) -> Result<Claim<'_>, Skip> {
    let mut flags = FLAG_COLUMNS
        .iter()
        .filter(|name| cells.columns.has(name))
        .peekable();
    let is_set = |cell: Option<&str>| {
        let means_no = |cell| date::moment(cell).is_some() || matches!(of_word(cell), Some(Ok(_)));
        is_yes(cell) || cell.is_some_and(means_no)
    };
    if flags.peek().is_some() && !flags.any(|name| is_set(cells.get(name))) {
        return Err(Skip::NotAnOptOut);
    }
    let mut words = REASON_COLUMNS.iter().filter_map(|name| cells.get(name));
    let verdict: Option<Verdict> = words.find_map(of_word);
    let verdict = verdict.or_else(|| of_text(cells.get("reason")?));
    let mut reason = verdict.transpose()?;
    let by_the_brand = cells
        .get("origin")
        .is_some_and(|who| matches!(plain(who).as_str(), "customer" | "admin"));
    if by_the_brand && reason == Some(Suppression::OptedOut) {
        reason = Some(Suppression::Blocked);
    }
    let email = cells.first(&EMAIL_COLUMNS);
    // What mail servers and mail programs say is about the mailbox only.
    let of_mail = email.is_some()
        && matches!(
            reason,
            Some(Suppression::BadAddress | Suppression::Complaint)
        );
    Ok(Claim {
        email,
        phone: cells.first(&PHONE_COLUMNS).filter(|_| !of_mail),
        reason,
        date: cells.first(&DATE_COLUMNS),
        ..Claim::default()
    })
}
