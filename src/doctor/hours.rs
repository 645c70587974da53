//! By whose clock the rules' hours are read where nothing tells the customer's.

use chrono::{DateTime, Utc};

use super::Doctor;
use crate::config::{AccountSettings, Config};
use crate::domain::ids::Channel;
use crate::domain::local_time::have_hours_in_common;
use crate::domain::rule::{Rule, RuleSettings};
use crate::domain::zone::{Zone, countries};

impl Doctor<'_> {
    /// `rules` are all that are stored; an account without any begins with the defaults.
    pub(super) fn hours(&mut self, config: &Config, rules: &[Rule], now: DateTime<Utc>) {
        self.begin("hours");
        for account in &config.accounts {
            let stored: Vec<&Rule> = rules.iter().filter(|r| r.account == account.id).collect();
            let defaults: Vec<(Channel, RuleSettings)> = config
                .channels
                .channels()
                .into_iter()
                .map(|channel| (channel, RuleSettings::default_for(channel)))
                .filter(|(_, settings)| settings.quiet_hours.is_any())
                .collect();
            if stored.is_empty() && !defaults.is_empty() {
                let defaults: Vec<_> = defaults
                    .iter()
                    .map(|(channel, settings)| (channel.to_string(), *channel, settings))
                    .collect();
                self.hours_of(account, &defaults, now);
            } else {
                let with_hours = stored
                    .into_iter()
                    .filter(|rule| rule.enabled && rule.settings.quiet_hours.is_any());
                let with_hours: Vec<_> = with_hours
                    .map(|rule| (rule.key().to_string(), rule.channel, &rule.settings))
                    .collect();
                self.hours_of(account, &with_hours, now);
            }
        }
    }

    fn hours_of(
        &mut self,
        account: &AccountSettings,
        rules: &[(String, Channel, &RuleSettings)],
        now: DateTime<Utc>,
    ) {
        let check = format!("account {}", account.id);
        let of_account = account.time_zone;
        let lost = rules
            .iter()
            .filter(|(_, _, s)| s.time_zone.or(of_account).is_none());
        let lost: Vec<&str> = lost.map(|(name, _, _)| name.as_str()).collect();
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
        for (name, _, settings) in rules
            .iter()
            .filter(|(_, channel, _)| channel.profile().tells_country)
        {
            let found = format!(
                "hours are read by that zone, too, for numbers of no place (toll-free, +800){}",
                too_wide(settings, now)
            );
            self.ok(&format!("numbers, {name}"), found);
        }
    }
}

/// Countries whose zones have too few of the rule's hours in common.
fn too_wide(settings: &RuleSettings, now: DateTime<Utc>) -> String {
    let quiet = &settings.quiet_hours;
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
