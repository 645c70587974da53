//! SMS by Twilio.

use super::{SettingKey, key, preset, secret};

#[rustfmt::skip]
pub const TWILIO: &[SettingKey] = &[
    preset("TWILIO_BASE_URL", "twilio.base_url", "https://api.twilio.com",
        "Twilio's API; another data region has another host, for example `https://api.dublin.ie1.twilio.com`."),
    key("TWILIO_ACCOUNT_SID", "twilio.account_sid",
        "Twilio account, `AC…`. SMS is on when this is set."),
    secret("TWILIO_AUTH_TOKEN", "twilio.auth_token",
        "The account's primary auth token. Needed beside an API key too: Twilio signs its webhooks with it."),
    key("TWILIO_API_KEY", "twilio.api_key",
        "API key, `SK…`, to call Twilio with instead of the auth token."),
    secret("TWILIO_API_SECRET", "twilio.api_secret",
        "Its secret."),
    key("TWILIO_FROM", "twilio.from",
        "Sending number, `+15005550006`, short code, or sender name of up to 11 letters, digits, spaces, `+`, `-`, `_` and `&`. Left out, with no messaging service: the account's first number that can send SMS."),
    key("TWILIO_MESSAGING_SERVICE_SID", "twilio.messaging_service_sid",
        "Messaging service, `MG…`, to send through; comes before `TWILIO_FROM`."),
    secret("TWILIO_WEBHOOK_TOKENS", "twilio.webhook_tokens",
        "List of further auth tokens that webhooks may be signed with, while the primary one is being changed."),
    preset("TWILIO_REDACT_BODIES", "twilio.redact_bodies", "false",
        "Whether Twilio is asked to remove the text of a message once it has come to its end."),
    preset("TWILIO_RATE_PER_SECOND", "twilio.rate_per_second", "10",
        "SMS per second, by all workers together."),
];
