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
        Reason::NoRule => "There is no rule for this skill.",
        Reason::RuleOff => "The rule is switched off.",
        Reason::NotLive => "The channel has not gone live: nothing goes out yet.",
        Reason::BeforeLive => {
            "The message is from before the channel went live. Only what agents write afterwards is reminded of."
        }
        Reason::NewerRule => {
            "The rule was saved by a newer version of the program: processes of that version send by it."
        }
        Reason::AllStepsDone => "Every step of the rule has had its reminder, or did not need one.",
        Reason::StepRemoved => "The rule was changed and no longer has this step.",
        Reason::Superseded => "Another message goes first.",
        Reason::Reached => {
            "An earlier message has reached the customer, and this step is only for those who were not reached."
        }
        Reason::AwaitingReport => {
            "It is not known yet whether the last message has reached the customer."
        }
        Reason::NotConfigured => "The channel is not set up on this installation.",
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
        Reason::Gap => "The last reminder to this customer was too recent.",
        Reason::CapConversation => {
            "This conversation has had as many reminders as the rule allows in a day."
        }
        Reason::CapConsumer => {
            "This customer has had as many reminders as the rule allows in a day."
        }
        Reason::CapAddress => "This address has had as many reminders as the rule allows in a day.",
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
    let nothing_tells = if reminder.channel.profile().tells_country {
        "LivePerson does not tell the customer's time zone, and the number belongs to no place, or to time zones without two allowed \
         hours a day in common"
    } else {
        "LivePerson does not tell the customer's time zone"
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
pub fn explain_code(channel: Channel, code: &str) -> String {
    if code == "restored" {
        return "It fell due in a time that the database lost when a backup was restored: it may have been sent."
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
