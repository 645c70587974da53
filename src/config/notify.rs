//! Who hears of incidents and of the week's result.

use url::Url;

use super::parse;
use super::reader::{Noted, SettingsReader};
use super::{ProcessRole, SettingProblem};
use crate::domain::contact::Address;
use crate::domain::week::WeeklyMoment;
use crate::secret::Secret;

#[derive(Clone, Debug, Default)]
pub struct Notify {
    /// E-mail addresses.
    pub emails: Vec<Address>,
    /// Where incidents are posted …
    pub url: Option<Url>,
    /// … and what signs them; only the workers need it.
    pub secret: Option<Secret>,
    /// That may be within the network.
    pub private: bool,
    /// When the week's result is sent; `None`: never.
    pub week: Option<WeeklyMoment>,
}

pub(super) fn read(r: &mut SettingsReader, role: ProcessRole) -> Result<Notify, Noted> {
    let emails = r.list("UNREAD_NOTIFY_EMAILS", |raw| {
        let address = parse::email(raw)?;
        Address::email(&address).ok_or("an e-mail address, for example oncall@example.com")
    });
    let url = r.optional("UNREAD_NOTIFY_URL", parse::webhook_url);
    let secret = r.optional("UNREAD_NOTIFY_SECRET", parse::signing_secret);
    let private = r.setting("UNREAD_NOTIFY_PRIVATE", parse::flag);
    let week = r.setting("UNREAD_NOTIFY_WEEK", |raw| match raw {
        "never" => Ok(None),
        raw => WeeklyMoment::parse(raw)
            .map(Some)
            .ok_or("a weekday and a full hour, for example monday 9, or never"),
    });
    let (url, secret) = (url?, secret?);
    if url.is_some() && secret.is_none() && matches!(role, ProcessRole::Run | ProcessRole::Worker) {
        let fix = "Set it (`echo whsec_$(openssl rand -base64 32)`), there and here.";
        let what = "is not set, but UNREAD_NOTIFY_URL is, and what is posted there must be signed";
        r.problems
            .push(SettingProblem::new("UNREAD_NOTIFY_SECRET", what, fix));
        return Err(Noted);
    }
    Ok(Notify {
        emails: emails?.unwrap_or_default(),
        url,
        secret,
        private: private?,
        week: week?,
    })
}
