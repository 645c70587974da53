//! Words of the ledger, said to somebody who has never seen it: whoever answers a customer on the phone.

use crate::channel::codes;
use crate::db::reports::Reminder;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::Channel;
use crate::domain::local_time::ZoneSource;
use crate::domain::opt_out::Doubt;
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
        Doubt::Misspelling => "A stop word or sentence with a typo.",
        Doubt::AmbiguousWord => {
            "A word that means stop in one sense or language and something else in another."
        }
        Doubt::NotInterested => "\"Not interested\" or the like.",
        Doubt::WrongPerson => "Someone who says they are not the customer.",
        Doubt::Dismissal => "Rude words telling us to go away.",
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
        Reason::Scheduled => "A reminder is scheduled.",
        Reason::Due => "Cleared to send.",
        Reason::NoAgentMessage => {
            "No agent has written yet, so there is nothing to remind the customer about."
        }
        Reason::Read => "The customer has read the message.",
        Reason::Answered => "The customer has answered.",
        Reason::Closed => "The conversation is closed.",
        Reason::Gone => "The conversation no longer exists at LivePerson.",
        Reason::NewEpisode => {
            "The customer came back in the meantime, and the agent has written again."
        }
        Reason::NoRule => "There is no rule for this skill.",
        Reason::RuleOff => "The rule is off.",
        Reason::NotLive => "This channel is not live yet, so nothing is sent.",
        Reason::BeforeLive => {
            "The agent's message is from before the channel went live. Reminders cover only messages sent since then."
        }
        Reason::NewerRule => {
            "The rule was saved by a newer version of unread. Only servers running that version send its reminders."
        }
        Reason::AllStepsDone => "Every step of the rule was sent or was not needed.",
        Reason::StepRemoved => "The rule was changed and no longer has this step.",
        Reason::Superseded => "Another message is going out first.",
        Reason::Reached => {
            "An earlier message reached the customer, and this step is only for customers who were not reached."
        }
        Reason::AwaitingReport => {
            "We do not know yet whether the last message reached the customer."
        }
        Reason::NotConfigured => "The channel is not set up on this installation.",
        Reason::InQueue => {
            "The conversation is waiting for an agent, so it is not the customer's turn."
        }
        Reason::Debounce => "The agent may still be typing.",
        Reason::Clicked => {
            "The customer just opened the link. LivePerson will confirm whether they read the message."
        }
        Reason::NoAddress => "There is no usable address for this channel.",
        Reason::OptedOut => "The customer has opted out.",
        Reason::BadAddress => "The address does not work.",
        Reason::Complaint => "The customer has reported a message as spam.",
        Reason::Blocked => "The address is blocked by your team or by the provider.",
        Reason::Gap => "The last reminder to this customer was too recent.",
        Reason::CapConversation => "This conversation has reached the rule's daily limit.",
        Reason::CapConsumer => "This customer has reached the rule's daily limit.",
        Reason::CapAddress => "This address has reached the rule's daily limit.",
        Reason::QuietHours => "It is outside the allowed hours in the customer's time zone.",
        Reason::TooLate => "It expired: too late to be useful.",
        Reason::Undecided => {
            "LivePerson's record is incomplete, so we cannot tell whether the message is unread."
        }
        Reason::Unchecked => {
            "LivePerson did not answer, so we could not check whether the message is still unread."
        }
        Reason::CircuitOpen => "This sender is paused because of a problem.",
        Reason::RateLimit => "Waiting its turn under the provider's sending limit.",
        Reason::Retry => "The provider did not accept the message. We will try again.",
        Reason::Paused => "Your team has paused reminders.",
        Reason::Held => {
            "All sending is on hold: the database may have been restored from a backup or copied. Your server administrator needs to \
             decide."
        }
        Reason::HeldOut => "The conversation is in the control group, which gets no reminders.",
        Reason::ByOperator => "Your team decided this.",
        Reason::Erased => "The customer's data was erased.",
    }
}

/// By whose clock a reminder's hours are read, and why by that one: a sentence.
pub fn whose_clock(reminder: &Reminder) -> String {
    let zones = Zone::split(reminder.time_zone.as_deref().unwrap_or_default());
    let several = zones.len() > 1;
    let nothing_tells = if reminder.channel.profile().tells_country {
        "LivePerson does not report the customer's time zone, and the number belongs to no place, or to time zones that share less than \
         two allowed hours a day"
    } else {
        "LivePerson does not report the customer's time zone"
    };
    match reminder.zone_source {
        Some(ZoneSource::LivePerson) => {
            "The rule's hours follow the customer's own time zone, as reported by LivePerson."
                .to_owned()
        }
        Some(ZoneSource::Number) if several => {
            let names: Vec<String> = zones.iter().map(ToString::to_string).collect();
            format!(
                "The rule's hours follow the time zones of the phone number's area or country, and all of them must allow sending: {}.",
                names.join(", ")
            )
        }
        Some(ZoneSource::Number) => {
            "The rule's hours follow the time zone of the phone number's area or country."
                .to_owned()
        }
        Some(ZoneSource::Rule) => {
            format!("The rule's hours follow the rule's time zone: {nothing_tells}.")
        }
        Some(ZoneSource::Account) => {
            format!("The rule's hours follow the account's time zone: {nothing_tells}.")
        }
        None => because(Reason::QuietHours).to_owned(),
    }
}

/// What came of one try, from the provider's code: a sentence that names whose side the trouble is on.
pub fn explain_code(channel: Channel, code: &str) -> String {
    if code == "restored" {
        return "It was due in a period that the database lost when a backup was restored, so it may have been sent."
            .to_owned();
    }
    codes::explain(channel.provider(), code).sentence.to_owned()
}

/// The name of a channel in a sentence.
pub fn channel(channel: Channel) -> &'static str {
    channel.names().message
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
}
