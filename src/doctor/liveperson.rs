//! An account at LivePerson: domain lookup, token, the permission for each question, clocks.

use std::sync::Arc;

use super::{Doctor, MAX_SKEW_SECONDS};
use crate::app;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::liveperson::{self, Error, Purpose, Turnstile, Unlimited};

impl Doctor<'_> {
    pub(super) async fn liveperson(
        &mut self,
        config: &Config,
        account: &config::Account,
        limit: Option<Arc<dyn Turnstile>>,
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
        if let Some(liveperson::Auth::OAuth1 { .. }) = account.auth {
            self.warning("credentials", "OAuth 1.0a keys", config::LEGACY_KEYS);
        }
        let settings = match app::liveperson_settings(config, account) {
            Ok(settings) => settings,
            Err(error) => return self.failed("credentials", format!("{error:#}"), "Correct them."),
        };
        let for_person = limit.is_some();
        let mut client = liveperson::Client::new(
            settings,
            liveperson::http_client(),
            limit.unwrap_or_else(|| Arc::new(Unlimited)),
            clock.clone(),
            Arc::new(()),
        );
        if for_person {
            client = client.made_for(Purpose::Person);
        }
        for check in client.check().await {
            match check.outcome {
                Ok(_) if check.what == "clocks" => {}
                Ok(found) => self.ok(check.what, found),
                Err(error) => self.failed(
                    check.what,
                    error.to_string(),
                    mend_of_liveperson(check.what, &error),
                ),
            }
        }
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
}

fn mend_of_liveperson(what: &str, error: &Error) -> &'static str {
    match error {
        Error::NoService(_) | Error::Rejected { .. } if what.starts_with("domain") => {
            "Correct LE_ACCOUNT: LivePerson knows no such account."
        }
        Error::NoService(_) => {
            "Correct LE_ACCOUNT, or ask LivePerson to enable the service for the account."
        }
        Error::Unauthorized { .. } if what == "access token" => {
            "Correct LE_CLIENT_ID and LE_CLIENT_SECRET (Conversational Cloud: Manage, Management Console, Application Install)."
        }
        Error::Unauthorized { .. } if what == "skills" => {
            "Give the application the scope of the skills API (read), then install it again in the account."
        }
        Error::Unauthorized { .. } => {
            "Give the application the scope of the Messaging Interactions API (msghist), and ask LivePerson to enable that API for \
             the account."
        }
        Error::Throttled { .. } | Error::Busy { .. } => {
            "LivePerson throttles: lower UNREAD_LIVEPERSON_RATE_PER_SECOND and run doctor later."
        }
        Error::Unavailable { .. } => {
            "Check DNS, firewall and proxy from here to LivePerson, and UNREAD_LIVEPERSON_URL; then LivePerson's status page."
        }
        Error::Rejected { .. } => {
            "Check UNREAD_SOURCES and UNREAD_SKILLS: LivePerson did not accept the question."
        }
        Error::Malformed { .. } => {
            "Something else than LivePerson answers, most often a proxy: check UNREAD_LIVEPERSON_URL and the network."
        }
    }
}
