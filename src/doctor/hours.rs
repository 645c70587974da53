//! By whose clock the rules' hours are read where nothing tells the customer's.

use chrono::{DateTime, Utc};

use super::Doctor;
use crate::config::{AccountSettings, Config};
use crate::domain::ids::Channel;
use crate::domain::local_time::have_hours_in_common;
use crate::domain::quiet::QuietHours;
use crate::domain::rule::{Rule, RuleSettings};
use crate::domain::zone::{Zone, countries};

impl Doctor<'_> {
    /// `rules` are all that are stored; an account without any begins with the default.
    pub(super) fn hours(&mut self, config: &Config, rules: &[Rule], now: DateTime<Utc>) {
        self.begin("hours");
        for account in &config.accounts {
            let stored: Vec<&Rule> = rules.iter().filter(|r| r.account == account.id).collect();
            let default = RuleSettings::default_for(&config.channels_of(&account.id).channels());
            let with_hours = if stored.is_empty() {
                hours_of_rule("the default rule", &default)
            } else {
                let on = stored.into_iter().filter(|rule| rule.enabled);
                on.flat_map(|rule| hours_of_rule(&rule.key().to_string(), &rule.settings))
                    .collect()
            };
            self.hours_of(account, &with_hours, now);
        }
    }

    fn hours_of(&mut self, account: &AccountSettings, rules: &[RuleHours<'_>], now: DateTime<Utc>) {
        let check = format!("account {}", account.id);
        let of_account = account.time_zone;
        let lost = rules
            .iter()
            .filter(|of| of.time_zone.or(of_account).is_none());
        let lost: Vec<&str> = lost.map(|of| of.name.as_str()).collect();
        if rules.is_empty() {
            return self.ok(&check, "no rule has hours");
        }
        if lost.is_empty() {
            let zone = of_account.unwrap_or(Zone::UTC);
            self.ok(
                &check,
                format!("{zone} (or the rule's own), where neither LivePerson nor the phone number tells the customer's"),
            );
        } else {
            let found = format!(
                "where nothing tells the customer's time zone, the hours of {} are read in UTC",
                lost.join(", ")
            );
            let fix = "Set UNREAD_TIME_ZONE (time_zone in [[account]]) to where most customers are, for example Europe/Berlin; or give the \
                       rule a zone of its own.";
            self.warning(&check, found, fix);
        }
        for of in rules.iter().filter(|of| of.channel.profile().tells_country) {
            let found = format!(
                "hours are read by that zone, too, for numbers of no place (toll-free, +800){}",
                too_wide(of.quiet, now)
            );
            self.ok(&format!("numbers, {}", of.name), found);
        }
    }
}

/// The hours of a rule's messages on one channel.
struct RuleHours<'a> {
    /// Of the rule and its channel: `12345678/default, SMS`.
    name: String,
    channel: Channel,
    quiet: &'a QuietHours,
    time_zone: Option<Zone>,
}

/// Those of the channels that it uses and that have any.
fn hours_of_rule<'a>(rule: &str, settings: &'a RuleSettings) -> Vec<RuleHours<'a>> {
    let of_channels = settings.used().map(|channel| RuleHours {
        name: format!("{rule}, {}", channel.names().inside),
        channel,
        quiet: &settings.channels[channel].quiet_hours,
        time_zone: settings.time_zone,
    });
    of_channels.filter(|of| of.quiet.is_any()).collect()
}

/// Countries whose zones have too few of the rule's hours in common.
fn too_wide(quiet: &QuietHours, now: DateTime<Utc>) -> String {
    let wide = countries()
        .filter(|(country, zones)| !have_hours_in_common(quiet, Some(country), zones, now));
    let mut wide: Vec<&str> = wide.map(|(country, _)| country).collect();
    wide.sort_unstable();
    match wide.as_slice() {
        [] => String::new(),
        wide => format!(
            ", and of no one area in {}, whose zones have less than two of the rule's hours a day in common",
            wide.join(", ")
        ),
    }
}
