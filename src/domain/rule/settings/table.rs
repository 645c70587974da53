//! The table.

use super::{Group, Input, LONGEST_MINUTES, LeftOut, Number, Of, Setting, Unit};
use crate::domain::channel::UnknownPolicy;

/// What waits longer is about something else by then.
const WEEK: i64 = 7 * 24 * 60;

/// All of them, in the order of a file (where tables come after what is not one) and of the editor.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "steps", of: Of::Rule, group: Group::When, label: "Steps",
        help: "Which messages go out, and when. Times count from the first unread message. A step that is sent only if the customer was \
               not reached depends on the steps before it, back to the last one that is always sent.",
        input: Input::Steps, left_out: LeftOut::Never,
    },
    Setting {
        name: "debounce_minutes", of: Of::Rule, group: Group::When, label: "Wait until the agent has been quiet for",
        help: "No reminder goes out before that: the agent may still be typing.",
        input: minutes(0, LONGEST_MINUTES), left_out: LeftOut::Never,
    },
    Setting {
        name: "remind_in_queue", of: Of::Rule, group: Group::When, label: "Remind while the conversation is waiting for an agent",
        help: "If this is off, a reminder waits until an agent has the conversation again.",
        input: Input::Switch, left_out: LeftOut::Never,
    },
    Setting {
        name: "in_quiet_hours", of: Of::Rule, group: Group::Hours, label: "Outside these hours",
        help: "What happens to a reminder that is due then.",
        input: Input::Choice(&[("move", "send when they open"), ("drop", "don't send")]),
        left_out: LeftOut::Never,
    },
    Setting {
        name: "time_zone", of: Of::Rule, group: Group::Hours, label: "Time zone if unknown",
        help: "Used when neither LivePerson nor the phone number tells us the customer's time zone.",
        input: Input::TimeZone, left_out: LeftOut::Means("the account's"),
    },
    Setting {
        name: "caps.gap_minutes", of: Of::Rule, group: Group::Limits, label: "Minimum time between reminders",
        help: "Between two reminders to the same customer, across all channels and conversations. A step for customers who were not \
               reached does not wait after a message that did not arrive.",
        input: minutes(0, WEEK), left_out: LeftOut::Never,
    },
    Setting {
        name: "caps.per_conversation_24h", of: Of::Rule, group: Group::Limits, label: "Max per conversation per day",
        help: "Across all channels, in the last 24 hours. Messages that did not arrive do not count.",
        input: PER_DAY, left_out: LeftOut::Never,
    },
    Setting {
        name: "caps.per_consumer_24h", of: Of::Rule, group: Group::Limits, label: "Max per customer per day",
        help: "Across all channels and conversations, in the last 24 hours. Messages that did not arrive do not count.",
        input: PER_DAY, left_out: LeftOut::Never,
    },
    Setting {
        name: "holdout_percent", of: Of::Rule, group: Group::Limits, label: "Control group",
        help: "The share of conversations that get no reminders. With 10, one in ten gets none, and the page Results shows how many \
               customers come back by themselves.",
        // More than half would be no reminder any more.
        input: Input::Number(Number { unit: Unit::Percent, min: 0, max: 50, instead: "" }),
        left_out: LeftOut::Zero,
    },
    Setting {
        name: "max_age_minutes", of: Of::EachChannel, group: Group::When, label: "Don't send if late by more than",
        help: "A reminder that is later than this expires, for example after an outage. Time outside the allowed hours does not count.",
        input: minutes(1, LONGEST_MINUTES), left_out: LeftOut::Never,
    },
    Setting {
        name: "latest_minutes", of: Of::EachChannel, group: Group::When, label: "Never send later than",
        help: "Counted from when it is due, whatever the hours.",
        input: minutes(1, WEEK),
        left_out: LeftOut::Means("24 hours for e-mail, 17 hours for SMS; longer if it may be late by more"),
    },
    Setting {
        name: "per_address_24h", of: Of::EachChannel, group: Group::Limits, label: "Max per address per day",
        help: "Across all accounts, in the last 24 hours.",
        input: PER_DAY, left_out: LeftOut::Never,
    },
    Setting {
        name: "resend_unknown", of: Of::ChannelsWhereUnknownIs(UnknownPolicy::Final, "is for e-mail only: an SMS is settled with the provider instead"),
        group: Group::Sender, label: "Send again if the mail server's answer is lost",
        help: "The customer may then get the same e-mail twice.",
        input: Input::Switch, left_out: LeftOut::Never,
    },
    Setting {
        name: "sender", of: Of::EachChannel, group: Group::Sender, label: "Sender",
        help: "Where this rule's reminders come from, if not the usual sender.",
        input: Input::Text("an e-mail address; for SMS a phone number, a short code or a Messaging Service"),
        left_out: LeftOut::Means("the channel's"),
    },
    Setting {
        name: "quiet_hours", of: Of::EachChannel, group: Group::Hours, label: "Hours",
        help: "Reminders go out only in these hours, in the customer's own time zone. With no hours set, they go out at any time. With no \
               days ticked, every day counts. 00:00 as the end means midnight.",
        input: Input::Hours, left_out: LeftOut::Never,
    },
    Setting {
        name: "templates", of: Of::EachChannel, group: Group::Words, label: "Message",
        help: "The standard text of a language is used until you write your own. Customers whose language has neither get the English \
               text. In files a language is a tag, such as en or pt-BR.",
        input: Input::Texts, left_out: LeftOut::Never,
    },
];

/// None is what the switch is for.
const PER_DAY: Input = Input::Number(Number {
    unit: Unit::Reminders,
    min: 1,
    max: 24,
    instead: "to send nothing, turn the rule off",
});

const fn minutes(min: i64, max: i64) -> Input {
    Input::Number(Number {
        unit: Unit::Minutes,
        min,
        max,
        instead: "",
    })
}
