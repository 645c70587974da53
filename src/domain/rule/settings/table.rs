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
        help: "Whom to write to over which channel, and when. Each time counts from the first message that is unread. A step that is sent \
               only if the customer was not reached looks at the steps before it, up to the last one that is always sent.",
        input: Input::Steps, left_out: LeftOut::Never,
    },
    Setting {
        name: "debounce_minutes", of: Of::Rule, group: Group::When, label: "Wait after the agent's last message",
        help: "No reminder goes before that: the agent may still be typing.",
        input: minutes(0, LONGEST_MINUTES), left_out: LeftOut::Never,
    },
    Setting {
        name: "remind_in_queue", of: Of::Rule, group: Group::When, label: "Also while the conversation waits for an agent",
        help: "Without it, a reminder waits until an agent has the conversation again.",
        input: Input::Switch, left_out: LeftOut::Never,
    },
    Setting {
        name: "in_quiet_hours", of: Of::Rule, group: Group::Hours, label: "What falls outside the hours",
        help: "What becomes of a reminder that is due then.",
        input: Input::Choice(&[("move", "waits until then"), ("drop", "is not sent")]),
        left_out: LeftOut::Never,
    },
    Setting {
        name: "time_zone", of: Of::Rule, group: Group::Hours, label: "Zone of customers whose own is not known",
        help: "LivePerson mostly knows it, else the phone number shows it.",
        input: Input::TimeZone, left_out: LeftOut::Means("the account's"),
    },
    Setting {
        name: "caps.gap_minutes", of: Of::Rule, group: Group::Limits, label: "Apart by at least",
        help: "Between two reminders to one customer, over all channels and conversations. A step that is sent if the customer was not \
               reached need not wait after a message that did not arrive.",
        input: minutes(0, WEEK), left_out: LeftOut::Never,
    },
    Setting {
        name: "caps.per_conversation_24h", of: Of::Rule, group: Group::Limits, label: "At most a day in one conversation",
        help: "Over all channels, in the last 24 hours. What did not arrive does not count.",
        input: PER_DAY, left_out: LeftOut::Never,
    },
    Setting {
        name: "caps.per_consumer_24h", of: Of::Rule, group: Group::Limits, label: "At most a day to one customer",
        help: "Over all channels and conversations, in the last 24 hours. What did not arrive does not count.",
        input: PER_DAY, left_out: LeftOut::Never,
    },
    Setting {
        name: "holdout_percent", of: Of::Rule, group: Group::Limits, label: "Share without reminders",
        help: "With 10, one conversation in ten gets none, and the page Effect shows how many come back by themselves.",
        // More than half would be no reminder any more.
        input: Input::Number(Number { unit: Unit::Percent, min: 0, max: 50, instead: "" }),
        left_out: LeftOut::Zero,
    },
    Setting {
        name: "max_age_minutes", of: Of::EachChannel, group: Group::When, label: "Late by at most",
        help: "What is later than that is not sent any more, after an outage for instance. Time outside the hours does not count.",
        input: minutes(1, LONGEST_MINUTES), left_out: LeftOut::Never,
    },
    Setting {
        name: "latest_minutes", of: Of::EachChannel, group: Group::When, label: "Never sent later than",
        help: "Counted from when it is due, whatever the hours.",
        input: minutes(1, WEEK),
        left_out: LeftOut::Means("24 hours for e-mail, 17 hours for SMS; longer if it may be late by more"),
    },
    Setting {
        name: "per_address_24h", of: Of::EachChannel, group: Group::Limits, label: "At most a day to one address",
        help: "Over all accounts, in the last 24 hours.",
        input: PER_DAY, left_out: LeftOut::Never,
    },
    Setting {
        name: "resend_unknown", of: Of::ChannelsWhereUnknownIs(UnknownPolicy::Final, "is for e-mail only: an SMS is settled with the provider instead"),
        group: Group::Sender, label: "If the mail server's answer is lost, send once more",
        help: "The same mail may then arrive twice.",
        input: Input::Switch, left_out: LeftOut::Never,
    },
    Setting {
        name: "sender", of: Of::EachChannel, group: Group::Sender, label: "Sender",
        help: "Whom reminders of this rule come from, if not the usual one.",
        input: Input::Text("an e-mail address; for SMS a phone number, a short code or a Messaging Service"),
        left_out: LeftOut::Means("the channel's"),
    },
    Setting {
        name: "quiet_hours", of: Of::EachChannel, group: Group::Hours, label: "Hours",
        help: "Reminders are sent only in these hours, by the customer's own clock. Without any: at any hour. No day chosen means every \
               day; 00:00 as the end means midnight.",
        input: Input::Hours, left_out: LeftOut::Never,
    },
    Setting {
        name: "templates", of: Of::EachChannel, group: Group::Words, label: "Words",
        help: "Without words of your own, the built-in ones are used. A language is a tag such as en or pt-BR; readers of a language \
               that is not here get en.",
        input: Input::Texts, left_out: LeftOut::Never,
    },
];

/// None is what the switch is for.
const PER_DAY: Input = Input::Number(Number {
    unit: Unit::Reminders,
    min: 1,
    max: 24,
    instead: "to send nothing, switch the rule off",
});

const fn minutes(min: i64, max: i64) -> Input {
    Input::Number(Number {
        unit: Unit::Minutes,
        min,
        max,
        instead: "",
    })
}
