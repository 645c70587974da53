//! Who hears of incidents, and of the week's result.

use super::{SettingKey, key, preset, secret};

#[rustfmt::skip]
pub const NOTIFY: &[SettingKey] = &[
    key("UNREAD_NOTIFY_EMAILS", "notify.emails",
        "List of the addresses that hear of incidents and get the week's result, by the installation's mail server, else the first account's own (docs/operate.md). Left out: no one is written to."),
    key("UNREAD_NOTIFY_URL", "notify.url",
        "Address to which incidents are posted, signed (docs/webhooks.md). Needs `UNREAD_NOTIFY_SECRET`. Left out: nowhere."),
    secret("UNREAD_NOTIFY_SECRET", "notify.secret",
        "Key that signs what is posted to `UNREAD_NOTIFY_URL` (`echo whsec_$(openssl rand -base64 32)`)."),
    preset("UNREAD_NOTIFY_PRIVATE", "notify.private", "false",
        "Whether `UNREAD_NOTIFY_URL` may lead to an address within your network; otherwise only to public ones, whatever its name leads to at the moment."),
    preset("UNREAD_NOTIFY_WEEK", "notify.week", "monday 9",
        "Weekday and full hour at which the result of the seven days before goes to `UNREAD_NOTIFY_EMAILS`, by the clock of the first account that has a time zone, else UTC; `never` for none."),
];
