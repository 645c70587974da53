//! Going live as `UNREAD_LIVE` asks: without a person, and so with the settings' answers to what a person is asked.

use super::{
    ControlError, GoLiveRequest, Installation, LiveChecks, LiveRefusal, begin, check, detail,
    subject,
};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control::rules::ChangeAuthor;
use crate::db;
use crate::db::live::TakenBack;
use crate::domain::ids::Channel;
use crate::domain::live::Agreed;

/// How the audit trail names it.
const SETTING: &str = "UNREAD_LIVE";

impl Installation<'_> {
    /// Goes live with every channel that can: without a test message, and never with what is unread now. Returns what still stands in the
    /// way of the others that were looked at. `first`: this process has not looked before, and may have been started with better settings.
    pub async fn go_by_setting(
        &self,
        clock: &Clock,
        first: bool,
    ) -> Result<Vec<(String, Vec<LiveRefusal>)>, ControlError> {
        let mut refused = Vec::new();
        for account in &self.config.accounts {
            let channels: Vec<Channel> = Channel::ALL
                .into_iter()
                .filter(|channel| self.ctx.has(&account.id, *channel))
                .collect();
            for channel in db::live::waiting(&self.ctx.pool, &account.id, &channels).await? {
                let refusals = self.try_by_setting(account, channel, clock, first).await?;
                if !refusals.is_empty() {
                    refused.push((subject(&account.id, channel), refusals));
                }
            }
        }
        Ok(refused)
    }

    /// What stands in the way of one channel: nothing also if it is not its turn to be looked at.
    async fn try_by_setting(
        &self,
        account: &config::AccountSettings,
        channel: Channel,
        clock: &Clock,
        first: bool,
    ) -> Result<Vec<LiveRefusal>, ControlError> {
        let pool = &self.ctx.pool;
        // What needs no look outside comes first: there is nothing to wait for.
        if let Some(back) = db::live::taken_back(pool, &account.id, channel).await? {
            return Ok(vec![respected(&back)]);
        }
        let obstacles = self.obstacles(account, channel, LiveChecks::NoTest).await?;
        let wish = match answers(self.config, channel) {
            Ok(wish) if obstacles.is_empty() => wish,
            Ok(_) => return Ok(obstacles),
            Err(unanswered) => return Ok([unanswered, obstacles].concat()),
        };
        check(channel, &wish)?;
        // Each look outside is a log-in at the provider.
        if !db::live::not_live_counts(pool, (&account.id, channel), first, clock.now()).await? {
            return Ok(Vec::new());
        }
        let refusals = (self.examine)(self.config, self.ctx, account, channel).await;
        if !refusals.is_empty() {
            return Ok(refusals);
        }
        let by = ChangeAuthor {
            name: SETTING,
            now: clock.now(),
        };
        let mut tx = pool.begin().await?;
        // Somebody may have gone live and taken it back while the provider was tried.
        db::live::lock(&mut tx, &account.id).await?;
        if let Some(back) = db::live::taken_back(&mut *tx, &account.id, channel).await? {
            return Ok(vec![respected(&back)]);
        }
        let detail = detail(&wish, None);
        if begin(&mut tx, (&account.id, channel), by.now, by, detail).await? {
            tx.commit().await?;
            tracing::info!(account = %account.id, %channel, "Live: reminders go out for agent messages from now on");
        }
        Ok(Vec::new())
    }
}

/// A person's word counts for more than the setting.
fn respected(back: &TakenBack) -> LiveRefusal {
    LiveRefusal {
        what: "taken_back",
        said: format!(
            "{} took it offline on {}, which the setting does not undo.",
            back.by_whom,
            back.at.format("%Y-%m-%d at %H:%M UTC")
        ),
        fix: "Go live on the dashboard, or with `unread live go`.".to_owned(),
    }
}

/// What the settings answer to what a person is asked; or which answers are missing.
fn answers(config: &Config, channel: Channel) -> Result<GoLiveRequest, Vec<LiveRefusal>> {
    let mut refusals = Vec::new();
    if config.live_other_installation.is_none() {
        refusals.push(LiveRefusal {
            what: "other_installation",
            said: "It has not been stated whether another installation reminds this account's customers."
                .to_owned(),
            fix: "Set UNREAD_LIVE_OTHER_INSTALLATION to none, stopped or sends.".to_owned(),
        });
    }
    // It speaks of text messages: to another channel that needs consent a person answers.
    let agreed = config
        .sms_consent
        .as_ref()
        .filter(|_| channel == Channel::Sms);
    if channel.profile().needs_consent && agreed.is_none() {
        refusals.push(LiveRefusal {
            what: "consent",
            said: "It has not been stated how customers agreed to get text messages.".to_owned(),
            fix: "Set UNREAD_SMS_CONSENT to form, conversation, or a sentence that says how."
                .to_owned(),
        });
    }
    let answered = config.live_other_installation;
    let Some(other_installation) = answered.filter(|_| refusals.is_empty()) else {
        return Err(refusals);
    };
    Ok(GoLiveRequest {
        other_installation,
        consent: agreed.map(|agreed| agreed.consent),
        consent_note: agreed.map_or_else(String::new, |Agreed { note, .. }| note.clone()),
        include_unread: None,
    })
}
