//! SMS: Twilio's credentials, the sender, and where incoming messages go.

use url::Url;

use super::Doctor;
use crate::app;
use crate::channel::twilio;
use crate::config;

impl Doctor<'_> {
    pub(super) async fn sms(&mut self, settings: &config::Twilio, public_url: &Url) {
        use twilio::Checked::{Able, NoNumber, NoSms, NotOurs, Unlisted};
        self.begin("SMS");
        let client = match app::sms(settings) {
            Ok(client) => client,
            Err(error) => {
                return self.failed(
                    "settings",
                    format!("{error:#}"),
                    "Correct TWILIO_FROM and TWILIO_BASE_URL.",
                );
            }
        };
        let checked = match client.check().await {
            Ok(checked) => checked,
            Err(error) => {
                return self.failed(
                    "credentials",
                    error.to_string(),
                    mend_of_twilio(&error.code),
                );
            }
        };
        self.ok("credentials", format!("account {}", settings.account_sid));
        match checked {
            Able { number, inbound } => {
                self.ok("sender", number.as_str());
                self.inbound(&number, inbound.as_deref(), public_url);
            }
            NoSms(number) => self.failed(
                "sender",
                format!("{number} cannot send SMS"),
                "Choose a number with the capability SMS (Twilio console: Phone Numbers).",
            ),
            NotOurs(number) => self.failed(
                "sender",
                format!("{number} is not a number of this account"),
                "Correct TWILIO_FROM, or leave it out: the account's first number is used then.",
            ),
            NoNumber => self.failed(
                "sender",
                "the account has no number that can send SMS",
                "Buy one in the Twilio console, or set TWILIO_MESSAGING_SERVICE_SID.",
            ),
            Unlisted(sender) => self.unchecked(
                "sender",
                format!("{sender} is no number; whether it may be used shows only when something is sent"),
                "See it in the Twilio console: Messaging, Services or Senders.",
            ),
        }
    }

    /// Where Twilio hands over what people write to the number: STOP above all.
    fn inbound(&mut self, number: &str, told: Option<&str>, public_url: &Url) {
        let Ok(ours) = public_url.join("twilio/inbound") else {
            return;
        };
        let mend = format!(
            "Twilio console, Phone Numbers, {number}, A message comes in: webhook {ours}#rc=5&rp=all, HTTP POST. If the number is in a messaging \
             service with a webhook of its own, set it there."
        );
        // What follows the address tells Twilio when to try again.
        let is_ours = |told: &str| {
            told.split('#')
                .next()
                .is_some_and(|address| address.trim_end_matches('/') == ours.as_str())
        };
        match told {
            Some(told) if is_ours(told) => {
                self.ok(
                    "incoming messages",
                    format!("{number} hands them to {ours}"),
                );
            }
            // Its address may hold a password.
            Some(told) => {
                let host = Url::parse(told).ok();
                let host = host.as_ref().and_then(Url::host_str).unwrap_or("elsewhere");
                let found =
                    format!("those to {number} go to {host}; STOP does not reach us from there");
                self.warning("incoming messages", found, mend);
            }
            None => self.warning(
                "incoming messages",
                format!("those to {number} go nowhere; STOP does not reach us"),
                mend,
            ),
        }
    }
}

fn mend_of_twilio(code: &str) -> &'static str {
    if code.contains("20003")
        || code.contains("401")
        || code.contains("403")
        || code.contains("20404")
    {
        "Correct TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN (or TWILIO_API_KEY and TWILIO_API_SECRET); see the Twilio console's first page."
    } else {
        "Check DNS, firewall and proxy from here to Twilio, and TWILIO_BASE_URL; then Twilio's status page."
    }
}
