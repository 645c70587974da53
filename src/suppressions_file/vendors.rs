//! What a row says, layout by layout.
#![expect(
    clippy::unnecessary_wraps,
    reason = "a table holds them, so they have one shape"
)]

use super::date;
use super::layout::{Cells, OwnColumns, RowContent};
use super::reason::{ListedReason, Skip, of_reply, of_text, says_nothing};
use super::words::{of_word, plain};
use crate::channel::codes::Class;
use crate::channel::optout::{self, Meaning};
use crate::domain::contact::Suppression;
use crate::domain::ids::Channel;
use crate::domain::outcome::Refusal;

/// Why a row is there, in the order in which they are believed.
const REASON_COLUMNS: [&str; 14] = [
    "suppressionreason",
    "type",
    "reason",
    "status",
    "event",
    "state",
    "subscriptionstatus",
    "subscriberstatus",
    "contactstatus",
    "emailstatus",
    "emailpermissionstatus",
    "smsstatus",
    "grund",
    "statut",
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

/// Columns of customer databases that say yes or no, or since when.
struct FlagColumn {
    /// Of which channel; `None`: of both.
    channel: Option<Channel>,
    /// Does the person not want it?
    no: &'static [&'static str],
    /// Does the person want it?
    yes: &'static [&'static str],
}

const FLAGS: [FlagColumn; 3] = [
    FlagColumn {
        channel: None,
        no: &[
            "unsubscribed",
            "suppressed",
            "optedout",
            "optout",
            "donotcontact",
        ],
        yes: &[
            "subscribed",
            "optin",
            "optedin",
            "consent",
            "marketingconsent",
            "acceptsmarketing",
        ],
    },
    FlagColumn {
        channel: Some(Channel::Email),
        no: &[
            "emailblacklisted",
            "unsubscribedfromallemail",
            "optedoutofemail",
            "optedoutofallemail",
            "hasoptedoutofemail",
            "emailoptout",
            "donotemail",
        ],
        yes: &[
            "emailsubscribed",
            "emailoptin",
            "emailconsent",
            "acceptsemailmarketing",
        ],
    },
    FlagColumn {
        channel: Some(Channel::Sms),
        no: &["smsblacklisted", "smsoptout", "donottext"],
        yes: &[
            "smssubscribed",
            "smsoptin",
            "smsconsent",
            "acceptssmsmarketing",
        ],
    },
];

pub fn own(cells: Cells<'_>) -> Result<RowContent<'_>, Skip> {
    let own = OwnColumns {
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
    Ok(RowContent {
        address: cells.get("address"),
        reason: of_mailgun.then_some(Suppression::Complaint),
        date,
        own: Some(own),
        ..RowContent::default()
    })
}

/// A no revokes whoever wrote it, a doubtful one too, as it does when it comes in, and a later START takes it back. Some error codes
/// say that the number had stopped us before, or that nobody may text it.
pub fn twilio(cells: Cells<'_>) -> Result<RowContent<'_>, Skip> {
    let inbound = cells.get("direction").is_some_and(|way| {
        let way = plain(way);
        ["inbound", "incoming", "received"].contains(&way.as_str())
    });
    let body = cells.get("body").filter(|_| inbound);
    let meaning = optout::meaning(body.unwrap_or_default());
    let takes_back = inbound && meaning == Meaning::Start;
    let code = cells.get("errorcode").and_then(|code| code.parse().ok());
    let reason = match (meaning, code.and_then(crate::channel::twilio::known)) {
        (
            Meaning::Start
            | Meaning::Stop
            | Meaning::FreeTextRevocation
            | Meaning::PerhapsRevocation(_),
            _,
        ) if inbound => Suppression::OptedOut,
        (_, Some(Class::Refused(Refusal::OptedOut))) if !inbound => Suppression::OptedOut,
        (_, Some(Class::Refused(Refusal::Blocked))) if !inbound => Suppression::Blocked,
        _ => return Err(Skip::NotAnOptOut),
    };
    let phone = cells.get(if inbound { "from" } else { "to" });
    Ok(RowContent {
        phones: phone.into_iter().collect(),
        reason: Some(reason),
        takes_back,
        date: cells.first(&[
            "sentdate",
            "datesent",
            "date",
            "datecreated",
            "createddate",
            "dateupdated",
        ]),
        ..RowContent::default()
    })
}

/// `Some(true)`: a plain no.
fn is_no(cell: Option<&str>) -> Option<bool> {
    const NO: [&str; 12] = [
        "false", "no", "n", "0", "f", "off", "nein", "falsch", "non", "nee", "nie", "nej",
    ];
    let no = cell.is_some_and(|cell| NO.contains(&plain(cell).as_str()));
    no.then_some(true)
}

fn is_yes(cell: Option<&str>) -> bool {
    const YES: [&str; 11] = [
        "true", "yes", "y", "1", "x", "t", "on", "ja", "wahr", "oui", "si",
    ];
    cell.is_some_and(|cell| YES.contains(&plain(cell).as_str()))
}

/// A bounce has its kind, or TRUE, in its column. Any other column with TRUE is a kind of message that the person does not want.
pub fn hubspot(cells: Cells<'_>) -> Result<RowContent<'_>, Skip> {
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
pub fn mailchimp(cells: Cells<'_>) -> Result<RowContent<'_>, Skip> {
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

pub fn postmark_bounces(cells: Cells<'_>) -> Result<RowContent<'_>, Skip> {
    match cells.get("type").map(|kind| (plain(kind), of_word(kind))) {
        // By the receiving server, not by anybody's wish.
        Some((kind, _)) if kind == "blocked" => Err(Skip::AboutTheSender),
        Some((_, Some(verdict))) => Ok(email(cells, verdict?)),
        _ => Ok(email(
            cells,
            of_reply("", cells.get("details").unwrap_or_default())?,
        )),
    }
}

pub fn sendgrid_bounces(cells: Cells<'_>) -> Result<RowContent<'_>, Skip> {
    let (status, reason) = (cells.get("status"), cells.get("reason"));
    let is_reply =
        |cell: Option<&str>| cell.is_none_or(|cell| cell.starts_with(|c: char| c.is_ascii_digit()));
    // Nothing, or what somebody's own list has in columns of these names.
    if !is_reply(status) || status.or(reason).is_none() {
        return any(cells);
    }
    let verdict = of_reply(status.unwrap_or_default(), reason.unwrap_or_default());
    Ok(email(cells, verdict?))
}

pub fn sendgrid_spam_reports(cells: Cells<'_>) -> Result<RowContent<'_>, Skip> {
    Ok(email(cells, Suppression::Complaint))
}

pub fn mailgun_bounces(cells: Cells<'_>) -> Result<RowContent<'_>, Skip> {
    let (code, error) = (
        cells.get("code").unwrap_or_default(),
        cells.get("error").unwrap_or_default(),
    );
    let verdict = match code {
        // Mailgun's own: was not tried because of an earlier unsubscription, or complaint.
        "606" => Ok(Suppression::OptedOut),
        "607" => Ok(Suppression::Complaint),
        // Not delivered to an address that had bounced before; and what somebody has put on the list by hand, which has a code only.
        "605" => Ok(Suppression::BadAddress),
        _ if !code.starts_with('4') && says_nothing(error) => Ok(Suppression::BadAddress),
        _ => of_reply(code, error),
    };
    Ok(RowContent {
        emails: cells.get("address").into_iter().collect(),
        reason: Some(verdict?),
        date: cells.first(&DATE_COLUMNS),
        ..RowContent::default()
    })
}

pub fn mailgun_unsubscribes(cells: Cells<'_>) -> Result<RowContent<'_>, Skip> {
    Ok(RowContent {
        emails: cells.get("address").into_iter().collect(),
        reason: Some(Suppression::OptedOut),
        date: cells.first(&DATE_COLUMNS),
        ..RowContent::default()
    })
}

fn email(cells: Cells<'_>, reason: Suppression) -> RowContent<'_> {
    RowContent {
        emails: cells.emails(),
        reason: Some(reason),
        date: cells.first(&DATE_COLUMNS),
        ..RowContent::default()
    }
}

/// What the flags of this channel, or those of both (`None`), say: `Some(true)`: it is not wanted; `Some(false)`: it is.
fn unwanted(cells: Cells<'_>, channel: Option<Channel>) -> Option<bool> {
    let is_set = |cell: Option<&str>| {
        let means_no = |cell| date::moment(cell).is_some() || matches!(of_word(cell), Some(Ok(_)));
        is_yes(cell) || cell.is_some_and(means_no)
    };
    let flag = FLAGS.iter().find(|flag| flag.channel == channel)?;
    let no = flag.no.iter().filter(|name| cells.columns.has(name));
    let no = no.map(|name| is_set(cells.get(name)));
    let yes = flag.yes.iter().map(|name| cells.get(name));
    let not_yes = yes.filter_map(|cell| is_no(cell).or_else(|| is_yes(cell).then_some(false)));
    no.chain(not_yes).reduce(|one, other| one || other)
}

/// Lists of suppressions of many providers, customer databases, and what people make themselves.
pub fn any(cells: Cells<'_>) -> Result<RowContent<'_>, Skip> {
    let mut words = REASON_COLUMNS.iter().filter_map(|name| cells.get(name));
    let verdict: Option<ListedReason> = words.find_map(of_word);
    let verdict = verdict.or_else(|| of_text(cells.get("reason")?));
    let [of_both, of_email, of_sms] =
        [None, Some(Channel::Email), Some(Channel::Sms)].map(|channel| unwanted(cells, channel));
    let says = |what| [of_both, of_email, of_sms].contains(&Some(what));
    if says(false) && !says(true) && !matches!(verdict, Some(Ok(_))) {
        return Err(Skip::NotAnOptOut);
    }
    let verdict = verdict.filter(|verdict| verdict.is_ok() || !says(true));
    let mut reason = verdict.transpose()?;
    let by_the_brand = cells
        .get("origin")
        .is_some_and(|who| matches!(plain(who).as_str(), "customer" | "admin"));
    if by_the_brand && reason == Some(Suppression::OptedOut) {
        reason = Some(Suppression::Blocked);
    }
    let emails = cells.emails();
    // What mail servers and mail programs say is about the mailbox only.
    let about_the_mailbox = !emails.is_empty()
        && matches!(
            reason,
            Some(Suppression::BadAddress | Suppression::Complaint)
        );
    // A no on one channel holds for the other too, unless its own column says otherwise.
    let is_wanted = |own: Option<bool>| own == Some(false) && says(true) && of_both != Some(true);
    let unless = |left_out: bool, cells: Vec<_>| if left_out { Vec::new() } else { cells };
    Ok(RowContent {
        emails: unless(is_wanted(of_email), emails),
        phones: unless(is_wanted(of_sms) || about_the_mailbox, cells.phones()),
        reason,
        date: cells.first(&DATE_COLUMNS),
        ..RowContent::default()
    })
}
