//! Words of the ledger, said to somebody who has never seen it: whoever answers a customer on the phone.

use crate::db::pages::Reminder;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::Channel;
use crate::domain::local_time::ZoneSource;
use crate::domain::opt_out::Doubt;
use crate::domain::trouble::Trouble;
use crate::domain::zone::Zone;

/// Why no reminder was sent, or not yet: a sentence.
pub fn why(cause: &Cause) -> String {
    match cause {
        Cause::Ours(reason) => because(*reason).to_owned(),
        Cause::Code(code) => format!("The provider answered: {code}."),
    }
}

/// Why an opt-out is doubtful: a sentence.
pub fn doubt(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::StopWord => "A word like \"stop\" in a sentence that may be about something else.",
        Doubt::Misspelling => "A stop word or sentence with a typing error.",
        Doubt::AmbiguousWord => {
            "A word that means stop in one sense or language and something else in another."
        }
        Doubt::NotInterested => "\"Not interested\" or the like.",
        Doubt::WrongPerson => "Somebody who says that they are not the customer.",
        Doubt::Dismissal => "Rude words that send us away.",
        Doubt::Complaint => "A complaint or a threat: spam, a lawyer, too many messages.",
        Doubt::AboutMessages => "It is about our messages or their number, and about nothing else.",
    }
}

/// The language that a doubtful opt-out seems to be written in.
pub fn doubt_language(code: &str) -> Option<&'static str> {
    Some(match code {
        "en" => "English",
        "de" => "German",
        "fr" => "French",
        "es" => "Spanish",
        "pt" => "Portuguese",
        "it" => "Italian",
        "nl" => "Dutch",
        "pl" => "Polish",
        "sv" => "Swedish",
        "ja" => "Japanese",
        _ => return None,
    })
}

/// The sentence for a reason.
pub fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::Scheduled => "A reminder waits for its moment.",
        Reason::Due => "Nothing stood in the way.",
        Reason::NoAgentMessage => "No agent has written yet, so there is nothing to remind of.",
        Reason::Read => "The customer has read the message.",
        Reason::Answered => "The customer has answered.",
        Reason::Closed => "The conversation is closed.",
        Reason::Gone => "LivePerson does not know the conversation any more.",
        Reason::NewEpisode => {
            "The customer was back in the meantime, and the agent has written anew."
        }
        Reason::NoRule => "There is no rule for this skill on this channel.",
        Reason::RuleOff => "The rule is switched off.",
        Reason::NotLive => "The channel has not gone live: nothing goes out yet.",
        Reason::BeforeLive => {
            "The message is from before the channel went live. Only what agents write afterwards is reminded of."
        }
        Reason::NewerRule => {
            "The rule was saved by a newer version of the program: processes of that version send by it."
        }
        Reason::AllStepsDone => "Every step of the rule has had its reminder.",
        Reason::InQueue => {
            "The conversation waits for an agent: the customer is not the one to answer."
        }
        Reason::Debounce => "The agent may still be typing.",
        Reason::Clicked => {
            "The customer has just followed the link: LivePerson will say whether the message was read."
        }
        Reason::NoAddress => "There is no usable address for this channel.",
        Reason::OptedOut => "The customer does not want reminders.",
        Reason::BadAddress => "The address does not work.",
        Reason::Complaint => "The customer has reported a message as spam.",
        Reason::Blocked => {
            "The address is blocked, by your team or for a reason that the provider gave."
        }
        Reason::Gap => "The last reminder in this conversation was too short a time ago.",
        Reason::CapConversation => "This conversation has had its most reminders for a day.",
        Reason::CapRecipient => "This customer has had the most reminders for a day.",
        Reason::QuietHours => "It is outside the hours that the rule allows where the customer is.",
        Reason::TooLate => "It was too late to be of use.",
        Reason::Undecided => {
            "LivePerson's record is incomplete, so nobody can tell whether it is unread."
        }
        Reason::Unchecked => {
            "LivePerson did not answer, so it could not be checked whether it is still unread."
        }
        Reason::CircuitOpen => "Sending from this sender is paused because of a problem with it.",
        Reason::RateLimit => "The provider's limit: it waits for its turn.",
        Reason::Retry => "The provider did not take the message; it is tried again.",
        Reason::Paused => "Reminders are paused by your team.",
        Reason::Held => {
            "All sending is held: the database may have been restored from a backup or copied. Whoever runs the service decides."
        }
        Reason::HeldOut => {
            "The conversation belongs to the share that gets no reminder, to measure the effect."
        }
        Reason::ByOperator => "Somebody of your team decided so.",
        Reason::Erased => "The customer's data was erased.",
    }
}

/// By whose clock a reminder's hours are read, and why by that one: a sentence.
pub fn whose_clock(reminder: &Reminder) -> String {
    let zones = Zone::split(reminder.time_zone.as_deref().unwrap_or_default());
    let several = zones.len() > 1;
    let nothing_tells = match reminder.channel {
        Channel::Sms => {
            "LivePerson does not tell the customer's time zone, and the number belongs to no place, or to time zones without two allowed \
             hours a day in common"
        }
        Channel::Email => "LivePerson does not tell the customer's time zone",
    };
    match reminder.zone_source {
        Some(ZoneSource::LivePerson) => {
            "The rule's hours are read by the customer's own clock, as LivePerson tells it."
                .to_owned()
        }
        Some(ZoneSource::Number) if several => {
            let names: Vec<String> = zones.iter().map(ToString::to_string).collect();
            format!(
                "The rule's hours are read by the clocks of the phone number's area or country, and all of them must allow: {}.",
                names.join(", ")
            )
        }
        Some(ZoneSource::Number) => {
            "The rule's hours are read by the clock of the phone number's area or country."
                .to_owned()
        }
        Some(ZoneSource::Rule) => {
            format!("The rule's hours are read by the rule's time zone: {nothing_tells}.")
        }
        Some(ZoneSource::Account) => {
            format!("The rule's hours are read by the account's time zone: {nothing_tells}.")
        }
        None => because(Reason::QuietHours).to_owned(),
    }
}

/// What came of one try, from the provider's code: a sentence that names whose side the trouble is on.
pub fn trouble(channel: Channel, code: &str) -> String {
    if code == "restored" {
        return "It fell due in a time that the database lost when a backup was restored: it may have been sent."
            .to_owned();
    }
    let about_recipient = match channel {
        Channel::Email => mail_recipient(code),
        Channel::Sms => sms_recipient(code),
    };
    about_recipient.map_or_else(
        || Trouble::of(channel.provider(), code).what.to_owned(),
        str::to_owned,
    )
}

fn mail_recipient(code: &str) -> Option<&'static str> {
    let (phase, rest) = code.split_once(' ').unwrap_or((code, ""));
    Some(match (phase, rest.chars().next()?) {
        ("final", 'c' | 't') => {
            "The connection broke while the mail was handed over, so nobody knows whether it went."
        }
        ("final", 'u') => {
            "The mail server's answer to the mail could not be read, so nobody knows whether it went."
        }
        (_, 'c') => "The connection to the mail server broke.",
        (_, 't') if rest.starts_with("timed") => "The mail server did not answer in time.",
        (_, 'u') if rest.starts_with("unreadable") => {
            "The mail server answered something that is no answer."
        }
        ("rcpt" | "data" | "final", '4' | '5') if is_about_us(rest) => return None,
        ("rcpt" | "data" | "final", '4' | '5')
            if rest.ends_with("mailbox full") || rest.contains(".2.2") =>
        {
            "The mailbox is full."
        }
        ("rcpt" | "data" | "final", '5') if names_the_address(rest) => {
            "The mail server says that this address does not take mail."
        }
        ("rcpt" | "data", '5')
            if rest.contains(" 5.7.")
                || rest.ends_with("policy")
                || rest.ends_with("restricted") =>
        {
            "The recipient's side does not take this mail: a closed group, a restricted mailbox, or a policy."
        }
        ("rcpt" | "data", '5') => {
            "The mail server refused this mail, and did not say that the address is wrong."
        }
        ("final", '5') => "The recipient's mail server refuses the message.",
        ("mail" | "rcpt" | "data" | "final", '4') => "The mail server asks to try again later.",
        _ => return None,
    })
}

/// Words at the end of a code that put it on our side (`channel::smtp`).
fn is_about_us(code: &str) -> bool {
    let ours = [
        "quota",
        "relay",
        "login",
        "sender",
        "domain checks",
        "block list",
    ];
    ours.iter().any(|word| code.ends_with(word))
}

/// The refusals that make an address bad, by code or by the word at its end.
fn names_the_address(code: &str) -> bool {
    let mut words = code.split(' ');
    let (reply, enhanced) = (words.next(), words.next().unwrap_or_default());
    code.ends_with("unknown mailbox")
        || code.ends_with("unknown domain")
        || reply == Some("556")
        || ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"].contains(&enhanced)
}

fn sms_recipient(code: &str) -> Option<&'static str> {
    let number: u32 = code.rsplit(' ').next()?.parse().ok()?;
    Some(match number {
        21211 | 21265 | 21614 | 21635 | 30005 | 30006 => "The number cannot receive text messages.",
        21610 => "The recipient has told the carrier to stop messages from this sender.",
        30640 => {
            "Twilio knows the number as one of somebody who sues over text messages; it is blocked for good."
        }
        21266 | 21408 | 21608 | 21612 | 21657 => {
            "Twilio does not send to this number from your sender or account."
        }
        30003 | 30004 | 30008 => "The phone was off or out of reach.",
        30007 | 30450 | 30610 => "The carrier has filtered the message out.",
        30036 => "The phone was not reached before the message was too old.",
        20429 | 21611 | 30001 | 30022 => {
            "Too many messages wait at Twilio; it is tried again more slowly."
        }
        500..=599 | 20500 | 20503 => "Twilio had trouble of its own.",
        _ => return None,
    })
}

/// The name of a channel in a sentence.
pub fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "e-mail",
        Channel::Sms => "text message",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_a_sentence_of_its_own() {
        let mut sentences: Vec<String> = Reason::ALL.map(|reason| why(&reason.into())).to_vec();
        for sentence in &sentences {
            assert!(
                sentence.ends_with('.') && !sentence.contains('_'),
                "{sentence}"
            );
        }
        sentences.sort_unstable();
        sentences.dedup();
        assert_eq!(sentences.len(), Reason::ALL.len());
        assert!(why(&Cause::parse("rcpt 550 5.1.1")).contains("550"));
    }

    #[test]
    fn trouble_names_whose_side_it_is_on() {
        for (channel, code, words) in [
            (Channel::Email, "rcpt 550 5.1.1", "this address"),
            (Channel::Email, "rcpt 550 unknown mailbox", "this address"),
            (Channel::Email, "rcpt 556", "this address"),
            (Channel::Email, "final 550 5.1.1", "this address"),
            (Channel::Email, "rcpt 550", "did not say"),
            (Channel::Email, "rcpt 550 5.4.1", "did not say"),
            (Channel::Email, "rcpt 550 5.7.124", "closed group"),
            (Channel::Email, "rcpt 550 5.7.1 relay", "pass mail on"),
            (Channel::Email, "rcpt 552 5.2.2", "full"),
            (Channel::Email, "rcpt 550 quota", "quota"),
            (Channel::Email, "mail unreadable reply", "no answer"),
            (Channel::Email, "final unreadable reply", "nobody knows"),
            (Channel::Email, "final connection lost", "nobody knows"),
            (Channel::Email, "auth 535 5.7.8", "user name or password"),
            (Channel::Email, "data 451", "later"),
            (Channel::Sms, "http 400 21211", "cannot receive"),
            (Channel::Sms, "undelivered 30003", "phone was off"),
            (Channel::Sms, "http 401 20003", "credentials"),
            (Channel::Sms, "", "Twilio"),
            (Channel::Email, "", "mail server"),
        ] {
            let told = trouble(channel, code);
            assert!(told.contains(words), "{code}: {told}");
        }
    }
}
