//! An account at LivePerson: domain lookup, token, the permission for each question, clocks.

use std::sync::Arc;

use url::Url;

use super::way::{Obstacle, Way};
use super::{Doctor, MAX_SKEW_SECONDS};
use crate::app;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::liveperson::{self, LivePersonError, Purpose, RateLimiter, Unlimited};

impl Doctor<'_> {
    pub(super) async fn liveperson(
        &mut self,
        config: &Config,
        account: &config::AccountSettings,
        limit: Option<Arc<dyn RateLimiter>>,
        clock: &Clock,
    ) {
        self.begin(format!("LivePerson {}", account.id));
        if account.auth.is_none() {
            return self.failed(
                "credentials",
                "none",
                "Set LE_CLIENT_ID and LE_CLIENT_SECRET of an application that is installed in the account.",
            );
        }
        if let Some(liveperson::LivePersonAuth::OAuth1 { .. }) = account.auth {
            self.warning("credentials", "OAuth 1.0a keys", config::LEGACY_KEYS);
        }
        let settings = match app::liveperson_settings(config, account) {
            Ok(settings) => settings,
            Err(error) => return self.failed("credentials", format!("{error:#}"), "Correct them."),
        };
        let for_person = limit.is_some();
        let mut client = liveperson::LivePersonClient::new(
            settings,
            liveperson::http_client(),
            limit.unwrap_or_else(|| Arc::new(Unlimited)),
            clock.clone(),
            Arc::new(()),
        );
        if for_person {
            client = client.made_for(Purpose::Person);
        }
        self.questions(&client).await;
        if let Some(ahead) = client.clock_ahead() {
            let seconds = ahead.num_seconds();
            let found = format!("LivePerson's minus ours: {seconds} s");
            if seconds.abs() > MAX_SKEW_SECONDS {
                self.failed(
                    "clocks",
                    found,
                    "Set this machine's clock (timedatectl set-ntp true): due moments and signatures depend on it.",
                );
            } else {
                self.ok("clocks", found);
            }
        }
    }

    /// One cause is one line: without an address or a token nothing further can be asked, whatever it answers, and who is not reached for one
    /// question is not for another.
    async fn questions(&mut self, client: &liveperson::LivePersonClient) {
        let mut stuck = false;
        let mut blocked: Option<Url> = None;
        for check in client.check().await {
            let error = match check.outcome {
                Ok(_) if check.what == "clocks" => continue,
                Ok(found) => {
                    self.ok(check.what, found);
                    continue;
                }
                Err(error) => error,
            };
            let asked = match &error {
                LivePersonError::Unavailable { .. } if !stuck => client.place_of(check.what).await,
                _ => None,
            };
            if stuck || asked.is_some() && asked == blocked {
                self.unchecked(
                    check.what,
                    "not tried: what comes before it has failed",
                    "Fix that first, then run doctor again.",
                );
                continue;
            }
            stuck = check.what.starts_with("domain lookup") || check.what == "access token";
            let way = asked.as_ref();
            let way = way.and_then(|place| Way::to_url(place, "UNREAD_LIVEPERSON_URL"));
            let obstacle = match way {
                Some(way) => way.obstacle().await,
                None => None,
            };
            if let Some(Obstacle { found, fix }) = obstacle {
                blocked = asked;
                self.failed(check.what, format!("{error}: {found}"), fix);
            } else {
                let fix = fix_of_liveperson(check.what, &error);
                self.failed(check.what, error.to_string(), fix);
            }
        }
    }
}

fn fix_of_liveperson(what: &str, error: &LivePersonError) -> &'static str {
    match error {
        LivePersonError::NoService(_) | LivePersonError::Rejected { .. }
            if what.starts_with("domain") =>
        {
            "Correct LE_ACCOUNT: LivePerson knows no such account."
        }
        LivePersonError::NoService(_) => {
            "Correct LE_ACCOUNT, or ask LivePerson to enable the service for the account."
        }
        LivePersonError::Unauthorized { .. } if what == "access token" => {
            "Correct LE_CLIENT_ID and LE_CLIENT_SECRET (Conversational Cloud: Manage, Management Console, Application Install)."
        }
        LivePersonError::Unauthorized { .. } if what == "skills" => {
            "Give the application the scope of the skills API (read), then install it again in the account."
        }
        LivePersonError::Unauthorized { .. } => {
            "Give the application the scope of the Messaging Interactions API (msghist), and ask LivePerson to enable that API for \
             the account."
        }
        LivePersonError::Throttled { .. } | LivePersonError::Busy { .. } => {
            "LivePerson throttles: lower UNREAD_LIVEPERSON_RATE_PER_SECOND and run doctor later."
        }
        LivePersonError::Unavailable { .. } => {
            "Check DNS, firewall and proxy from here to LivePerson, and UNREAD_LIVEPERSON_URL; then LivePerson's status page."
        }
        LivePersonError::Rejected { .. } => {
            "Check UNREAD_SOURCES and UNREAD_SKILLS: LivePerson did not accept the question."
        }
        LivePersonError::Malformed { .. } => {
            "Something other than LivePerson answers, most often a proxy: check UNREAD_LIVEPERSON_URL and the network."
        }
    }
}
