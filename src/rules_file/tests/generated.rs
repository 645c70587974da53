//! Files of rules that nobody has thought of.

use chrono::{NaiveTime, TimeDelta, Weekday};
use chrono_tz::Tz;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::BOTH;
use crate::domain::channel::{Parts, UnknownPolicy};
use crate::domain::ids::{Channel, SkillId};
use crate::domain::quiet::{QuietHours, Window};
use crate::domain::rule::{
    Caps, ChannelSettings, InQuietHours, RuleSettings, Step, Template, When,
};
use crate::domain::zone::Zone;
use crate::rules_file::{RuleEntry, parse, print};

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let day = (0_u8..7).prop_map(|day| Weekday::try_from(day).unwrap());
    let time = |minute: u32| NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).unwrap();
    let window =
        (vec(day, 0..3), 0..1439_u32, 1..1440_u32).prop_map(move |(days, from, length)| Window {
            days,
            from: time(from),
            to: time((from + length).min(1439)),
        });
    vec(window, 0..3)
}

prop_compose! {
    fn channel_settings(channel: Channel)(
        (max_age, latest, per_address) in (1_i64..600, option::of(1..10_080_i64), 1_u32..10),
        allowed in windows(),
        by_country in btree_map("[A-Z]{2}", windows(), 0..2),
        (resend, own) in (any::<bool>(), any::<bool>()),
        texts in btree_map("[a-z]{2}(-[A-Z]{2})?", text(), 0..3),
    ) -> ChannelSettings {
        let profile = channel.profile();
        let has_parts = profile.parts == Parts::SubjectAndHtml;
        ChannelSettings {
            max_age: TimeDelta::minutes(max_age),
            latest: latest.map(TimeDelta::minutes),
            quiet_hours: QuietHours { allowed, by_country },
            per_address_24h: per_address,
            resend_unknown: profile.unknown == UnknownPolicy::Final && resend,
            sender: own.then(|| "+15005550006".to_owned()).filter(|own| (profile.is_sender)(own)),
            templates: texts.into_iter().map(|(tag, text)| {
                let subject = has_parts.then(|| "Hello".to_owned());
                (tag, Template { preheader: subject.clone(), subject, html: has_parts.then(|| text.clone()), text })
            }).collect(),
        }
    }
}

prop_compose! {
    fn steps()(
        mut steps in vec((1_i64..2000, prop::sample::select(Channel::ALL.to_vec()), any::<bool>()), 1..8),
        with_ids in any::<bool>(),
    ) -> Vec<Step> {
        steps.sort_by_key(|step| step.0);
        let mut before = 0;
        let steps = (1..).zip(steps).map(|(id, (after, channel, always))| {
            let when = if before == 0 || (always && after > before) { When::Always } else { When::IfNotReached };
            before = after;
            Step { id: if with_ids { id } else { 0 }, channel, after: TimeDelta::minutes(after), when }
        });
        steps.collect()
    }
}

prop_compose! {
    fn settings()(
        steps in steps(),
        (debounce, gap) in (0_i64..60, 0_i64..600),
        (email, sms) in (channel_settings(Channel::Email), channel_settings(Channel::Sms)),
        flags in (any::<bool>(), any::<bool>()),
        counts in (1_u32..10, 1_u32..10),
        zone in option::of(prop::sample::select(vec![Tz::America__New_York, Tz::Asia__Kolkata])),
    ) -> RuleSettings {
        let mut settings = RuleSettings {
            steps,
            debounce: TimeDelta::minutes(debounce),
            in_quiet_hours: if flags.0 { InQuietHours::Move } else { InQuietHours::Drop },
            time_zone: zone.map(Zone::Named),
            caps: Caps {
                gap: TimeDelta::minutes(gap),
                per_conversation_24h: counts.0,
                per_consumer_24h: counts.1,
            },
            remind_in_queue: flags.1,
            holdout_percent: if flags.0 { 10 } else { 0 },
            // A setting that is new is printed and read in a test of its own.
            ..RuleSettings::default_for(&Channel::ALL)
        };
        settings.channels[Channel::Email] = email;
        settings.channels[Channel::Sms] = sms;
        settings
    }
}

/// Texts that are hard to quote.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "\"", "\"\"\"", "'", "'''", "\\", "\n", "\r\n", "\t", "#", "{{link}}", "é", "\u{1}",
    ]);
    vec(piece, 1..8).prop_map(|pieces| format!("x{}", pieces.concat()))
}

fn rules() -> impl Strategy<Value = Vec<RuleEntry>> {
    let rule = (
        "[0-9]{4,8}",
        option::of(-1_i64..100),
        any::<bool>(),
        settings(),
    );
    let rule = rule.prop_map(|(account, skill, enabled, settings)| RuleEntry {
        account: account.parse().unwrap(),
        skill: skill.map(SkillId),
        enabled,
        settings,
    });
    vec(rule, 0..4).prop_map(|mut rules| {
        rules.sort_by_key(RuleEntry::key);
        rules.dedup_by_key(|rule| rule.key());
        rules
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back_and_printed_the_same(rules in rules()) {
        let page = print(&rules);
        let back = parse(&page, &BOTH).map_err(|error| TestCaseError::fail(format!("{error}\n{page}")))?;
        prop_assert_eq!(&back.rules, &rules);
        prop_assert_eq!(print(&back.rules), page);
    }

    #[test]
    fn fuzz_rules_file(
        text in "(?s).{0,200}", rules in rules(),
        changes in vec((any::<prop::sample::Index>(), any::<char>()), 0..8),
    ) {
        let _ = parse(&text, &BOTH);
        let _ = parse(&format!("[[rule]]\n{text}"), &BOTH);
        let _ = parse(&format!("[[rule]]\nchannel = \"sms\"\n{text}"), &BOTH);
        let mut page: Vec<char> = print(&rules).chars().collect();
        for (at, letter) in changes {
            if !page.is_empty() {
                let at = at.index(page.len());
                page[at] = letter;
            }
        }
        let _ = parse(&page.into_iter().collect::<String>(), &BOTH);
    }
}
