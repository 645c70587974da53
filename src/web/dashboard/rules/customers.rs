//! What customers would get by a rule as it is being written: a few that somebody can imagine, each with a line for every step.

use chrono::{DateTime, Datelike as _, NaiveTime, TimeDelta, TimeZone as _, Utc, Weekday};
use serde::Serialize;

use crate::control::labels::because;
use crate::domain::channel::PerChannel;
use crate::domain::contact::Address;
use crate::domain::decide::Reason;
use crate::domain::ids::Channel;
use crate::domain::owed::Installation;
use crate::domain::rule::{RuleSettings, When, span};
use crate::domain::timeline::{Became, Customer, StepOutcome, timeline};
use crate::domain::zone::Zone;

/// Somebody imagined, as `rule_customers.hbs` shows them.
#[derive(Debug, Serialize)]
pub struct CustomerView {
    who: String,
    steps: Vec<StepView>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct StepView {
    channel: Channel,
    /// When it is sent; nothing if it is not.
    when: Option<String>,
    said: String,
}

/// When an agent writes by day, and when by night.
fn by_day() -> NaiveTime {
    NaiveTime::from_hms_opt(10, 0, 0).unwrap_or_default()
}

fn by_night() -> NaiveTime {
    NaiveTime::from_hms_opt(22, 30, 0).unwrap_or_default()
}

/// One of each kind that the rule treats differently.
pub fn customers(
    settings: &RuleSettings,
    installation: &Installation,
    zone: Zone,
    now: DateTime<Utc>,
) -> Vec<CustomerView> {
    let used: Vec<Channel> = settings.used().collect();
    let day = working_day(zone, now);
    let at = |time: NaiveTime| {
        let local = zone.from_local_datetime(&day.and_time(time)).earliest();
        local.map_or(now, |local| local.to_utc())
    };
    let with = |lacks: Option<Channel>, written_at| Customer {
        addresses: PerChannel::of(|channel| {
            sample_address(channel).filter(|_| lacks != Some(channel))
        }),
        comes_back: Vec::new(),
        time_zone: zone,
        written_at,
    };
    let view = |who: String, customer: &Customer| CustomerView {
        who,
        steps: steps(settings, installation, customer),
    };
    let has: Vec<&str> = used
        .iter()
        .map(|channel| channel.names().an_address)
        .collect();
    let everything = has.join(" and ");
    let mut views = vec![view(
        format!("With {everything}"),
        &with(None, at(by_day())),
    )];
    for channel in used.iter().filter(|_| used.len() > 1) {
        let who = format!("Without {}", channel.names().an_address);
        views.push(view(who, &with(Some(*channel), at(by_day()))));
    }
    if let Some(first) = before_another(settings) {
        let customer = Customer {
            comes_back: vec![first],
            ..with(None, at(by_day()))
        };
        views.push(view(
            format!("If the {} does not arrive", first.names().message),
            &customer,
        ));
    }
    // Of those whom an agent writes to at night, one for whom that makes a difference.
    let lacks =
        std::iter::once(None).chain(used.iter().filter(|_| used.len() > 1).copied().map(Some));
    let night = lacks.map(|lacks| (lacks, with(lacks, at(by_night()))));
    let mut night: Vec<_> = night.collect();
    let waits = |customer: &Customer| {
        timeline(settings, installation, customer)
            .iter()
            .any(|step| is_of_hours(step.became))
    };
    let chosen = night
        .iter()
        .position(|(_, customer)| waits(customer))
        .unwrap_or_default();
    let (lacks, customer) = night.swap_remove(chosen);
    let lacks = lacks.map(|channel| format!(", without {}", channel.names().an_address));
    views.push(view(
        format!(
            "When the agent writes at 22:30{}",
            lacks.unwrap_or_default()
        ),
        &customer,
    ));
    views
}

fn is_of_hours(became: Became) -> bool {
    matches!(
        became,
        Became::Sent {
            held_by: Some(Reason::QuietHours),
            ..
        } | Became::NotSent(Reason::QuietHours)
    )
}

/// The channel of the first step after which others go only to those whom it did not reach.
fn before_another(settings: &RuleSettings) -> Option<Channel> {
    let next = settings
        .steps
        .iter()
        .position(|step| step.when == When::IfNotReached)?;
    Some(settings.steps[next.checked_sub(1)?].channel)
}

/// An address that is in no country, so that the hours for everybody count.
fn sample_address(channel: Channel) -> Option<Address> {
    let samples = ["customer@example.com", "+80012345678", "customer-17"];
    samples
        .iter()
        .find_map(|raw| Address::of(channel, raw, None))
}

/// The next day on which most people work.
fn working_day(zone: Zone, now: DateTime<Utc>) -> chrono::NaiveDate {
    let days = (1..).map(|ahead| {
        (now + TimeDelta::days(ahead))
            .with_timezone(&zone)
            .date_naive()
    });
    let mut days = days.filter(|day| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun));
    days.next().unwrap_or_default()
}

fn steps(
    settings: &RuleSettings,
    installation: &Installation,
    customer: &Customer,
) -> Vec<StepView> {
    let told = timeline(settings, installation, customer);
    told.iter()
        .map(|step| StepView::new(step, customer))
        .collect()
}

impl StepView {
    fn new(step: &StepOutcome, customer: &Customer) -> Self {
        let names = step.channel.names();
        let (when, said) = match step.became {
            Became::Sent {
                at,
                held_by,
                came_back,
            } => {
                let clock = || clock(at, customer);
                let is_night = customer
                    .written_at
                    .with_timezone(&customer.time_zone)
                    .time()
                    == by_night();
                let when = match held_by {
                    Some(Reason::QuietHours) => clock(),
                    _ if is_night => clock(),
                    _ => span(at - customer.written_at),
                };
                let waits = held_by
                    .and_then(waits)
                    .map(|waits| format!(", waits {waits}"));
                let back = if came_back { ", does not arrive" } else { "" };
                (
                    Some(when),
                    format!("{}{}{back}", names.label, waits.unwrap_or_default()),
                )
            }
            // Only a report could tell that it did not arrive.
            Became::NotNeeded(by) if customer.comes_back.contains(&by) => (
                None,
                format!(
                    "{}: not sent. Nothing reports here when an {} does not arrive, so it counts as delivered: set up bounce reports",
                    names.label,
                    by.names().inside
                ),
            ),
            Became::NotNeeded(by) => (
                None,
                format!(
                    "{}: not sent, the {} reached the customer",
                    names.label,
                    by.names().message
                ),
            ),
            Became::NotSent(reason) => (
                None,
                format!("{}: {}", names.label, not_sent(step.channel, reason)),
            ),
        };
        Self {
            channel: step.channel,
            when,
            said,
        }
    }
}

/// What the customer's clock shows, and on which day.
fn clock(at: DateTime<Utc>, customer: &Customer) -> String {
    let local = |at: DateTime<Utc>| at.with_timezone(&customer.time_zone).naive_local();
    let time = local(at).format("%H:%M");
    match (local(at).date() - local(customer.written_at).date()).num_days() {
        0 => time.to_string(),
        1 => format!("{time} the next day"),
        days => format!("{time}, {days} days later"),
    }
}

fn waits(held_by: Reason) -> Option<&'static str> {
    Some(match held_by {
        Reason::QuietHours => "for the allowed hours",
        Reason::Gap => "because of the previous one",
        Reason::CapConversation | Reason::CapConsumer | Reason::CapAddress => {
            "because of the daily limit"
        }
        _ => return None,
    })
}

fn not_sent(channel: Channel, reason: Reason) -> String {
    let names = channel.names();
    match reason {
        Reason::NoAddress => {
            let address = names
                .an_address
                .split_once(' ')
                .map_or(names.an_address, |(_, address)| address);
            format!("not sent, no {address}")
        }
        Reason::NotConfigured => "not sent, not set up".to_owned(),
        Reason::QuietHours => "not sent, outside the allowed hours".to_owned(),
        Reason::Gap => "not sent, too soon after the previous one".to_owned(),
        Reason::CapConversation | Reason::CapConsumer | Reason::CapAddress => {
            "not sent, the daily limit is reached".to_owned()
        }
        Reason::TooLate => "not sent, expired by then".to_owned(),
        Reason::Reached => "not sent, an earlier one reached the customer".to_owned(),
        other => format!("not sent. {}", because(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Channel::{Email, Sms};

    fn told(settings: &RuleSettings, hears_of_bounces: bool) -> Vec<(String, Vec<String>)> {
        let now = "2026-03-13T12:00:00Z".parse().unwrap();
        let installation = Installation::new(vec![Email, Sms], hears_of_bounces);
        let zone = "Europe/Berlin".parse().unwrap();
        let views = customers(settings, &installation, zone, now).into_iter();
        let line = |step: StepView| match step.when {
            Some(when) => format!("{when}: {}", step.said),
            None => step.said,
        };
        views
            .map(|view| (view.who, view.steps.into_iter().map(line).collect()))
            .collect()
    }

    #[test]
    fn what_the_default_rule_does_is_told_as_a_person_would() {
        let told = told(&RuleSettings::default_for(&[Email, Sms]), true);
        let told: Vec<(&str, Vec<&str>)> = told
            .iter()
            .map(|(who, steps)| (who.as_str(), steps.iter().map(String::as_str).collect()))
            .collect();
        let reached = "SMS: not sent, the e-mail reached the customer";
        let no_email = "E-mail: not sent, no e-mail address";
        let expected = [
            (
                "With an e-mail address and a phone number",
                vec!["10 minutes: E-mail", reached, "24 hours: E-mail", reached],
            ),
            (
                "Without an e-mail address",
                vec![no_email, "10 minutes: SMS", no_email, "24 hours: SMS"],
            ),
            (
                "Without a phone number",
                vec!["10 minutes: E-mail", reached, "24 hours: E-mail", reached],
            ),
            (
                "If the e-mail does not arrive",
                vec![
                    "10 minutes: E-mail, does not arrive",
                    "11 minutes: SMS",
                    "24 hours: E-mail, does not arrive",
                    "24 hours 1 minute: SMS",
                ],
            ),
            (
                "When the agent writes at 22:30, without an e-mail address",
                vec![
                    no_email,
                    "09:00 the next day: SMS, waits for the allowed hours",
                    no_email,
                    "09:00, 2 days later: SMS, waits for the allowed hours",
                ],
            ),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_rule_of_one_channel_has_two_customers() {
        let told = told(&RuleSettings::default_for(&[Email]), false);
        let who: Vec<&str> = told.iter().map(|(who, _)| who.as_str()).collect();
        assert_eq!(
            who,
            ["With an e-mail address", "When the agent writes at 22:30"]
        );
        assert_eq!(told[1].1, ["22:40: E-mail", "22:30 the next day: E-mail"]);
    }

    #[test]
    fn without_bounce_reports_it_is_said_why_no_text_follows() {
        let told = told(&RuleSettings::default_for(&[Email, Sms]), false);
        let lost = told
            .iter()
            .find(|(who, _)| who == "If the e-mail does not arrive");
        let said = &lost.unwrap().1[1];
        assert!(
            said.starts_with("SMS: not sent. Nothing reports here when an e-mail does not arrive"),
            "{said}"
        );
    }

    #[test]
    fn every_channel_has_a_sample_address_of_no_country() {
        for channel in Channel::ALL {
            assert_eq!(
                sample_address(channel).and_then(|address| address.country()),
                None
            );
            assert!(sample_address(channel).is_some(), "{channel}");
        }
    }
}
