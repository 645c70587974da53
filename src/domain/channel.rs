//! What the rules know of each channel: a row for each, so that nobody asks "is it SMS" to find out what follows from it.
//!
//! A new channel is a row more; a field more is one that every row must have. What only its provider knows is in `crate::channel`.

use std::ops::{Index, IndexMut};

use chrono::TimeDelta;
use serde::{Serialize, Serializer};

use super::contact::Address;
use super::ids::{Channel, Provider};
use super::quiet::QuietHours;

/// A channel, as rules and pages know it.
pub struct ChannelProfile {
    /// The word in SQL, metrics, logs, settings and the API.
    pub word: &'static str,
    /// What carries it.
    pub provider: Provider,
    /// In sealed links, for ever: no other channel may have it.
    pub number: u8,
    /// The queue of its deliveries: each channel has its own, so that a mail server that hangs does not hold up SMS.
    pub queue: &'static str,
    pub names: Names,
    /// How late a reminder may be unless a rule says otherwise, not counting quiet hours.
    pub max_age: TimeDelta,
    /// How long after its due moment one may go out at the very latest, unless a rule says otherwise.
    pub latest: TimeDelta,
    /// So many a day to one address, unless a rule says otherwise.
    pub most_a_day: u32,
    pub quiet_hours: fn() -> QuietHours,
    /// Its addresses tell where their owners are, so hours may differ by country and are read by the number's clock where LivePerson
    /// tells none.
    pub tells_country: bool,
    /// Whether messages can come from this, as far as its form tells.
    pub is_sender: fn(&str) -> bool,
    pub parts: Parts,
    pub way_out: WayOut,
    pub unknown: UnknownPolicy,
    pub reports: Reports,
    /// People must have agreed to it, and whoever goes live says how.
    pub needs_consent: bool,
    pub length: Length,
    /// What the DNS says of the sender's domain decides whether it arrives.
    pub has_sender_domain: bool,
}

/// What a channel is called.
pub struct Names {
    /// At the beginning of a line.
    pub label: &'static str,
    /// Within a sentence.
    pub inside: &'static str,
    /// One of its messages, within a sentence, and with its article.
    pub message: &'static str,
    pub a_message: &'static str,
    pub messages: &'static str,
    /// Behind a number of them, one and several.
    pub counted_one: &'static str,
    pub counted: &'static str,
    /// An address of it.
    pub an_address: &'static str,
    /// What a form asks for, and what browsers call it.
    pub your_address: &'static str,
    pub autocomplete: &'static str,
    /// That none is known, within a sentence.
    pub none_known: &'static str,
    /// Why an address in a test message is none, with an example.
    pub no_address: &'static str,
    /// Why a sender in a rule is none, with an example.
    pub no_sender: &'static str,
}

/// What a text has beside its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    SubjectAndHtml,
    TextAlone,
}

/// What long texts cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Free,
    /// It is paid and measured by segments.
    Segments,
}

/// How a reader says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// By a link, in the text and in a header. It holds what is needed to hear the no although the reminder is gone.
    Link,
    /// By an answer. Links stay short: longer texts are dearer, and an answer is heard without the reminder.
    StopWord,
}

/// What becomes of an attempt whose outcome nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// Nobody can be asked: it stays unknown, or is sent once more if the rule says so.
    Final,
    /// The provider is asked; the address is kept until it has said.
    Settled,
}

/// How it becomes known whether a message that was sent has arrived. Where nothing is heard in time, it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    /// The provider reports how each ended; so long the report may take.
    Always(TimeDelta),
    /// What comes back is heard of, where the installation has a source of such reports; so long it may take.
    WhereConfigured(TimeDelta),
}

const EMAIL: ChannelProfile = ChannelProfile {
    word: "email",
    provider: Provider::Smtp,
    number: 1,
    queue: "deliver_email",
    names: Names {
        label: "E-mail",
        inside: "e-mail",
        message: "e-mail",
        a_message: "an e-mail",
        messages: "e-mails",
        counted_one: "e-mail",
        counted: "e-mails",
        an_address: "an e-mail address",
        your_address: "Your e-mail address",
        autocomplete: "email",
        none_known: "no usable e-mail address was known",
        no_address: "is not a valid e-mail address, such as you@example.com",
        no_sender: "must be an e-mail address, for example help@example.com",
    },
    max_age: TimeDelta::hours(6),
    latest: TimeDelta::hours(24),
    most_a_day: 4,
    quiet_hours: QuietHours::default,
    tells_country: false,
    is_sender: is_mail_sender,
    parts: Parts::SubjectAndHtml,
    way_out: WayOut::Link,
    unknown: UnknownPolicy::Final,
    reports: Reports::WhereConfigured(TimeDelta::minutes(15)),
    needs_consent: false,
    length: Length::Free,
    has_sender_domain: true,
};

const SMS: ChannelProfile = ChannelProfile {
    word: "sms",
    provider: Provider::Twilio,
    number: 2,
    queue: "deliver_sms",
    names: Names {
        label: "SMS",
        inside: "SMS",
        message: "text message",
        a_message: "a text message",
        messages: "text messages",
        counted_one: "SMS",
        counted: "SMS",
        an_address: "a phone number",
        your_address: "Your phone number",
        autocomplete: "tel",
        none_known: "no usable phone number was known",
        no_address: "is not a phone number that can get text messages; write it with its country code, such as +12025550143",
        no_sender: "must be a phone number like +12025550143, a short code of 5 or 6 digits, or a Messaging Service SID (MG and 32 \
                    hexadecimal digits)",
    },
    max_age: TimeDelta::hours(1),
    // The longest night of the default hours, from a US Saturday's evening to Sunday noon, and the hour of `max_age` after it.
    latest: TimeDelta::hours(17),
    most_a_day: 2,
    quiet_hours: QuietHours::sms_default,
    tells_country: true,
    is_sender: is_sms_sender,
    parts: Parts::TextAlone,
    way_out: WayOut::StopWord,
    unknown: UnknownPolicy::Settled,
    reports: Reports::Always(TimeDelta::hours(2)),
    needs_consent: true,
    length: Length::Segments,
    has_sender_domain: false,
};

#[cfg(feature = "test-channel")]
const PROBE: ChannelProfile = ChannelProfile {
    word: "probe",
    provider: Provider::Probe,
    number: 3,
    queue: "deliver_probe",
    names: Names {
        label: "Probe",
        inside: "probe",
        message: "probe",
        a_message: "a probe",
        messages: "probes",
        counted_one: "probe",
        counted: "probes",
        an_address: "a customer id",
        your_address: "Your customer id",
        autocomplete: "off",
        none_known: "no usable customer id was known",
        no_address: "is not a customer id, such as customer-17",
        no_sender: "must be a word, for example shop",
    },
    max_age: TimeDelta::hours(6),
    latest: TimeDelta::hours(24),
    most_a_day: 4,
    quiet_hours: QuietHours::default,
    tells_country: false,
    is_sender: is_word,
    parts: Parts::TextAlone,
    way_out: WayOut::StopWord,
    unknown: UnknownPolicy::Settled,
    reports: Reports::Always(TimeDelta::hours(2)),
    needs_consent: false,
    length: Length::Free,
    has_sender_domain: false,
};

#[cfg(feature = "test-channel")]
fn is_word(sender: &str) -> bool {
    !sender.is_empty() && sender.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl Channel {
    pub const fn profile(self) -> &'static ChannelProfile {
        match self {
            Self::Email => &EMAIL,
            Self::Sms => &SMS,
            #[cfg(feature = "test-channel")]
            Self::Probe => &PROBE,
        }
    }

    pub fn names(self) -> &'static Names {
        &self.profile().names
    }
}

fn is_mail_sender(sender: &str) -> bool {
    Address::email(sender).is_some()
}

fn is_sms_sender(sender: &str) -> bool {
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    match (sender.strip_prefix('+'), sender.strip_prefix("MG")) {
        (Some(number), _) => {
            (7..=15).contains(&number.len()) && digits(number) && !number.starts_with('0')
        }
        (_, Some(sid)) => sid.len() == 32 && sid.bytes().all(|b| b.is_ascii_hexdigit()),
        _ => (5..=6).contains(&sender.len()) && digits(sender),
    }
}

/// A value for each channel: none can be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerChannel<T>([T; Channel::ALL.len()]);

impl<T> PerChannel<T> {
    pub fn of(value: impl FnMut(Channel) -> T) -> Self {
        Self(Channel::ALL.map(value))
    }

    pub fn iter(&self) -> impl Iterator<Item = (Channel, &T)> {
        Channel::ALL.into_iter().zip(&self.0)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Channel, &mut T)> {
        Channel::ALL.into_iter().zip(&mut self.0)
    }

    pub fn map<U>(&self, mut value: impl FnMut(Channel, &T) -> U) -> PerChannel<U> {
        PerChannel::of(|channel| value(channel, &self[channel]))
    }
}

/// A map by the channels' words.
impl<T: Serialize> Serialize for PerChannel<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<T> Index<Channel> for PerChannel<T> {
    type Output = T;

    fn index(&self, channel: Channel) -> &T {
        &self.0[channel as usize]
    }
}

impl<T> IndexMut<Channel> for PerChannel<T> {
    fn index_mut(&mut self, channel: Channel) -> &mut T {
        &mut self.0[channel as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_channels_share_what_is_one_s_own() {
        let of = |one: fn(&ChannelProfile) -> String| -> HashSet<String> {
            Channel::ALL.map(|c| one(c.profile())).into()
        };
        for names in [
            of(|p| p.word.to_owned()),
            of(|p| p.number.to_string()),
            of(|p| p.queue.to_owned()),
            of(|p| p.provider.to_string()),
            of(|p| p.names.label.to_owned()),
        ] {
            assert_eq!(names.len(), Channel::ALL.len());
        }
    }

    #[test]
    fn a_value_is_found_by_its_channel() {
        let mut words = PerChannel::of(Channel::as_str);
        for channel in Channel::ALL {
            assert_eq!(words[channel], channel.as_str());
            words[channel] = "";
        }
        assert!(words.iter().all(|(_, word)| word.is_empty()));
    }

    #[test]
    fn a_channel_s_own_hours_leave_room_for_what_may_be_late() {
        for channel in Channel::ALL {
            let profile = channel.profile();
            assert!(profile.max_age <= profile.latest, "{channel}");
            assert!(profile.queue == format!("deliver_{channel}"));
        }
    }
}
