use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::sandbox::people::RULES;

fn now() -> DateTime<Utc> {
    "2026-03-18T10:20:00Z".parse().unwrap()
}

#[test]
fn the_month_is_over_when_the_demonstration_begins_and_every_day_has_its_share() {
    let past = invent(now());
    let mut days: BTreeMap<_, u32> = BTreeMap::new();
    let mut keys = HashSet::new();
    for p in &past {
        assert!(
            p.since <= p.due_at && p.due_at <= p.ended_at && p.ended_at < now(),
            "{p:?}"
        );
        assert!(
            p.sent_at
                .is_none_or(|at| at >= p.due_at && at <= p.ended_at),
            "{p:?}"
        );
        assert!(
            p.returned_at.is_none_or(|at| at < now() && at > p.due_at),
            "{p:?}"
        );
        assert!(
            p.clicked_at.is_none_or(|at| Some(at) < p.returned_at),
            "{p:?}"
        );
        assert!(p.since > now() - TimeDelta::days(30), "{p:?}");
        assert!(keys.insert((p.conversation.clone(), p.step)), "{p:?}");
        let rule = RULES
            .iter()
            .find(|rule| SkillId(rule.skill) == p.skill)
            .unwrap();
        let step = rule
            .steps
            .iter()
            .find(|step| step.id == u32::try_from(p.step).unwrap());
        assert_eq!(step.unwrap().channel, p.channel.as_str(), "{p:?}");
        *days.entry(p.since.date_naive()).or_default() += 1;
    }
    let returned = |p: &&Past| p.state == ReminderState::Undelivered && p.channel == Channel::Email;
    let has_text = |email: &Past| keys.contains(&(email.conversation.clone(), email.step + 1));
    assert!(
        past.iter().filter(returned).any(has_text),
        "an e-mail that came back is followed by a text"
    );
    assert_eq!(i64::try_from(days.len()).unwrap(), DAYS);
    assert!(
        days.values().all(|count| (15..150).contains(count)),
        "{days:?}"
    );
    assert_eq!(
        format!("{past:?}"),
        format!("{:?}", invent(now())),
        "the same moment, the same month"
    );
}

#[test]
fn the_numbers_are_of_a_shop_that_reminding_helps() {
    let past = invent(now());
    let share = |of: &dyn Fn(&Past) -> bool, hits: &dyn Fn(&Past) -> bool| {
        let all: Vec<&Past> = past.iter().filter(|p| of(p)).collect();
        let hit = all.iter().filter(|p| hits(p)).count();
        (
            f64::from(u32::try_from(hit).unwrap()) / f64::from(u32::try_from(all.len()).unwrap()),
            all.len(),
        )
    };
    let back = |p: &Past| p.returned_at.is_some();
    let email = |p: &Past| p.channel == Channel::Email && p.step == 1;
    let (reminded, _) = share(&|p| email(p) && p.sent_at.is_some(), &back);
    let (held_out, count) = share(&|p| p.reason == Some(Cause::Ours(Reason::HeldOut)), &back);
    assert!(
        count >= 30 && reminded > held_out + 0.05,
        "{reminded} of the reminded, {held_out} of {count} others"
    );
    let (undelivered, texts) = share(
        &|p| p.channel == Channel::Sms && p.sent_at.is_some(),
        &|p| p.state == ReminderState::Undelivered,
    );
    assert!(
        texts > 200 && (0.01..0.1).contains(&undelivered),
        "{undelivered} of {texts}"
    );
    for state in [
        ReminderState::Sent,
        ReminderState::Delivered,
        ReminderState::Undelivered,
        ReminderState::Cancelled,
        ReminderState::Expired,
        ReminderState::Failed,
    ] {
        assert!(past.iter().any(|p| p.state == state), "none is {state}");
    }
}
