//! Going live: a person says, per account and channel, that reminders may go out. Until then the service scans, decides and shows, and
//! sends none.
//!
//! What is unread at that moment counts as read, unless the person includes it by its number: nobody is surprised by a mailing.

mod by_setting;
mod checks;
mod preview;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::accounts::Allowed;
use super::rules::ChangeAuthor;
use super::{ControlError, Fault};
use crate::channel;
use crate::config::{self, Config};
use crate::db;
use crate::db::audit::NewAuditEntry;
use crate::db::live::NotLiveCounts;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::live::LONGEST_NOTE;
use crate::jobs::context::Context;
use crate::liveperson;

pub use crate::domain::live::{Consent, OtherInstallation};
pub use checks::{CheckCaller, LiveCheck, LiveCheckCache};
pub use preview::{LivePreview, preview};

/// How the settings call a brand that nobody has named.
pub const PLACEHOLDER_BRAND: &str = "us";

/// How a channel of an account stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Standing)]
pub struct LiveStatus {
    pub account: AccountId,
    pub channel: Channel,
    pub live: bool,
    /// Agent messages from before count as read. Left out where everything counts that was unread when it went live.
    pub since: Option<DateTime<Utc>>,
    pub went_live_at: Option<DateTime<Utc>>,
    pub went_live_by: Option<String>,
    /// While it is not live: customers with unread messages whom a reminder would be scheduled for, as the last scans saw them.
    #[schema(minimum = 0)]
    pub would_be_reminded: u64,
    /// The same, of those without an address for the channel.
    #[schema(minimum = 0)]
    pub without_address: u64,
    /// Whether every skill has been scanned to its end, so that these numbers are known and what is unread now can be included.
    pub scanned: bool,
    /// While it is not live: when LivePerson and the provider were last asked, by this process. Left out: not yet, and `preview` and
    /// `refusals` tell nothing of them.
    pub looked_at: Option<DateTime<Utc>>,
    /// While it is not live: what would become of those unread now, as LivePerson told it then. Left out if it could not be asked.
    pub preview: Option<LivePreview>,
    /// What must be done before it can go live.
    pub refusals: Vec<LiveRefusal>,
    /// What does not stand in the way, and should be known.
    pub warnings: Vec<String>,
}

/// Why a channel cannot go live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LiveRefusal)]
pub struct LiveRefusal {
    /// `brand`, `public_url`, `test`, `liveperson`, `channel`.
    pub what: &'static str,
    pub said: String,
    pub fix: String,
}

/// What going live is asked for with.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GoLive)]
pub struct GoLiveRequest {
    pub other_installation: OtherInstallation,
    /// How customers agreed. Needed for text messages.
    pub consent: Option<Consent>,
    /// In your own words; kept in the activity log.
    #[serde(default)]
    #[schema(max_length = 1000)]
    pub consent_note: String,
    /// Remind also of what is unread now: the number of customers, exactly as `would_be_reminded` says it once `scanned` is true. Left out:
    /// only of agent messages from now on.
    #[schema(minimum = 0)]
    pub include_unread: Option<u64>,
}

/// Tries an account's LivePerson and a channel's provider, and tells what does not work.
pub type Examine = for<'a> fn(
    &'a Config,
    &'a Context,
    &'a config::AccountSettings,
    Channel,
) -> BoxFuture<'a, Vec<LiveRefusal>>;

/// Of whose accounts, with what settings.
#[derive(Clone, Copy)]
pub struct Installation<'a> {
    pub config: &'a Config,
    pub ctx: &'a Context,
    pub examine: Examine,
    /// What was found before.
    pub looks: &'a LiveCheckCache,
}

impl Installation<'_> {
    fn account(&self, id: &AccountId) -> Result<&config::AccountSettings, ControlError> {
        let mut accounts = self.config.accounts.iter();
        let account = accounts.find(|account| account.id == *id);
        account.ok_or_else(|| ControlError::NotFound(format!("account {id}")))
    }

    /// How a channel stands. For an operator what stands in the way is tried anew: it may take some seconds.
    pub async fn standing(
        &self,
        id: &Allowed<AccountId>,
        channel: Channel,
        asker: CheckCaller,
    ) -> Result<LiveStatus, ControlError> {
        let account = self.account(id)?;
        let pool = &self.ctx.pool;
        let live = db::live::find(pool, id, channel).await?;
        let (mut found, mut look, mut refusals) = (NotLiveCounts::default(), None, Vec::new());
        if live.is_none() {
            found = db::live::found(pool, id, channel, account.skills.as_deref()).await?;
            refusals = self
                .obstacles(account, channel, LiveChecks::Everything)
                .await?;
            look = match asker {
                _ if !self.ctx.has(id, channel) => None,
                CheckCaller::Operator => Some(self.check(account, id, channel, |_| true).await?),
                CheckCaller::Viewer => self.looks.of(id, channel).last(),
            };
            refusals.extend(look.iter().flat_map(|look| look.refusals.clone()));
        }
        let since = live.as_ref().map(|live| live.since);
        Ok(LiveStatus {
            account: AccountId::clone(id),
            channel,
            live: live.is_some(),
            since: since.filter(|since| *since > DateTime::UNIX_EPOCH),
            went_live_at: live.as_ref().map(|live| live.at),
            went_live_by: live.as_ref().map(|live| live.by_whom.clone()),
            would_be_reminded: found.would_be_reminded.unsigned_abs(),
            without_address: found.without_address.unsigned_abs(),
            scanned: live.is_some() || found.scanned,
            looked_at: look.as_ref().map(|look| look.at),
            preview: look.and_then(|look| look.preview.clone()),
            refusals,
            warnings: warnings(account),
        })
    }

    /// What going live would do. `None`: LivePerson cannot be asked now, which the refusals name if it lasts.
    async fn preview(
        &self,
        id: &Allowed<AccountId>,
        channel: Channel,
    ) -> Result<Option<LivePreview>, ControlError> {
        match preview(self.ctx, id, channel, self.ctx.clock.now()).await {
            Ok(preview) => Ok(Some(preview)),
            Err(ControlError::Unavailable(_) | ControlError::Busy(..)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Goes live: reminders of this channel go out from now on.
    pub async fn go(
        &self,
        id: &Allowed<AccountId>,
        channel: Channel,
        wish: &GoLiveRequest,
        by: ChangeAuthor<'_>,
    ) -> Result<(), ControlError> {
        let account = self.account(id)?;
        check(channel, wish)?;
        let mut refusals = self
            .obstacles(account, channel, LiveChecks::Everything)
            .await?;
        if self.ctx.has(id, channel) {
            // What did not work a moment ago may have been fixed.
            let works = |look: &LiveCheck| look.refusals.is_empty();
            let look = self.check(account, id, channel, works).await?;
            refusals.extend(look.refusals.clone());
        }
        if !refusals.is_empty() {
            return Err(ControlError::Conflict(spoken(&refusals)));
        }
        let mut tx = self.ctx.pool.begin().await?;
        if let Some(shown) = wish.include_unread {
            let only = account.skills.as_deref();
            is_their_number(&db::live::found(&mut *tx, id, channel, only).await?, shown)?;
        }
        let since = match wish.include_unread {
            Some(_) => DateTime::UNIX_EPOCH,
            None => by.now,
        };
        let detail = detail(wish, wish.include_unread);
        if !begin(&mut tx, (id, channel), since, by, detail).await? {
            return Err(ControlError::Conflict("It is live already.".to_owned()));
        }
        tx.commit().await?;
        Ok(())
    }

    /// Back from live: no reminder goes out any more, until a person goes live again. Those that wait are cancelled when they are due, and
    /// what is unread by then counts as read when the channel goes live again.
    pub async fn back(
        &self,
        id: &Allowed<AccountId>,
        channel: Channel,
        by: ChangeAuthor<'_>,
    ) -> Result<(), ControlError> {
        self.account(id)?;
        let mut tx = self.ctx.pool.begin().await?;
        if !db::live::end(&mut tx, (id, channel), by.name, by.now).await? {
            return Err(ControlError::Conflict("It is not live.".to_owned()));
        }
        let entry = NewAuditEntry {
            by: by.name,
            action: "live.end",
            account: Some(&**id),
            subject: &subject(id, channel),
            detail: json!({}),
        };
        db::audit::record(&mut tx, &entry, by.now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What stands in the way as far as settings and database tell.
    async fn obstacles(
        &self,
        account: &config::AccountSettings,
        channel: Channel,
        needs: LiveChecks,
    ) -> Result<Vec<LiveRefusal>, ControlError> {
        let mut refusals = Vec::new();
        let mut refuse =
            |what, said: String, fix: String| refusals.push(LiveRefusal { what, said, fix });
        if !self.ctx.has(&account.id, channel) {
            let said = format!("{} is not set up.", name(channel));
            refuse("channel", said, settings_of(channel));
            return Ok(refusals);
        }
        if account.brand.trim().eq_ignore_ascii_case(PLACEHOLDER_BRAND) {
            let said = "The brand has no name: messages would say that \"us\" replied.".to_owned();
            let fix = "Set UNREAD_BRAND, or brand under [[account]], to the name customers know."
                .to_owned();
            refuse("brand", said, fix);
        }
        let host = self.config.web.public_url.host_str().unwrap_or_default();
        if config::is_loopback_name(host) {
            let said =
                format!("Links in messages would go to {host}, which customers cannot open.");
            let fix = "Set UNREAD_PUBLIC_URL to the address at which customers reach this service."
                .to_owned();
            refuse("public_url", said, fix);
        }
        let tested = needs == LiveChecks::NoTest
            || db::live::is_tested(&self.ctx.pool, &account.id, channel).await?;
        if !tested {
            let said = format!(
                "No test message by {} has been confirmed yet.",
                name(channel)
            );
            let fix = "Send yourself a test message from a rule's page, and enter the code in it."
                .to_owned();
            refuse("test", said, fix);
        }
        Ok(refusals)
    }
}

/// Whoever includes what is unread now must know of how many customers: neither fewer nor more, and as complete scans have counted them.
fn is_their_number(found: &NotLiveCounts, shown: u64) -> Result<(), ControlError> {
    if !found.scanned {
        return Err(ControlError::Conflict(
            "We do not know yet how many customers have unread messages: not every skill has been scanned completely. Wait for that, or \
             go live without them."
                .to_owned(),
        ));
    }
    let unread = found.would_be_reminded.unsigned_abs();
    if unread == shown {
        return Ok(());
    }
    Err(ControlError::Changed(format!(
        "The number of customers with unread messages is now {unread}, not {shown}. Check it, then go live."
    )))
}

/// What was answered, for the audit trail.
fn detail(wish: &GoLiveRequest, included: Option<u64>) -> Value {
    json!({
        "other_installation": wish.other_installation,
        "consent": wish.consent,
        "consent_note": wish.consent_note,
        "include_unread": included,
    })
}

/// Lets a channel's reminders out and notes who did. Returns whether they were not let out before.
async fn begin(
    conn: &mut PgConnection,
    (account, channel): (&AccountId, Channel),
    since: DateTime<Utc>,
    by: ChangeAuthor<'_>,
    detail: Value,
) -> Result<bool, ControlError> {
    let live = db::live::LiveChannel {
        since,
        by_whom: by.name.to_owned(),
        at: by.now,
    };
    let begun = db::live::begin(conn, (account, channel), &live).await?;
    if begun {
        let entry = NewAuditEntry {
            by: by.name,
            action: "live.begin",
            account: Some(account),
            subject: &subject(account, channel),
            detail,
        };
        db::audit::record(conn, &entry, by.now).await?;
    }
    Ok(begun)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LiveChecks {
    Everything,
    /// Everything but a test message.
    NoTest,
}

fn check(channel: Channel, wish: &GoLiveRequest) -> Result<(), ControlError> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, detail: &str| {
        faults.push(Fault {
            field: field.to_owned(),
            detail: detail.to_owned(),
        });
    };
    match (channel.profile().needs_consent, wish.consent) {
        (true, None) => fault(
            "/consent",
            "is missing: say how customers agreed to get text messages: form, conversation or otherwise",
        ),
        (_, Some(Consent::Otherwise)) if wish.consent_note.trim().is_empty() => {
            fault("/consent_note", "is missing: say how customers agreed");
        }
        _ => {}
    }
    if wish.consent_note.chars().count() > LONGEST_NOTE {
        let detail = format!("must be {LONGEST_NOTE} characters or less");
        fault("/consent_note", &detail);
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(ControlError::Invalid(faults))
    }
}

/// What should be known of an account, though it does not stand in the way.
pub fn warnings(account: &config::AccountSettings) -> Vec<String> {
    match account.auth {
        Some(liveperson::LivePersonAuth::OAuth1 { .. }) => vec![config::LEGACY_KEYS.to_owned()],
        _ => Vec::new(),
    }
}

fn spoken(refusals: &[LiveRefusal]) -> String {
    let each = refusals
        .iter()
        .map(|refusal| format!("{} {}", refusal.said, refusal.fix));
    each.collect::<Vec<_>>().join("\n")
}

fn subject(account: &AccountId, channel: Channel) -> String {
    format!("{account}/{channel}")
}

fn name(channel: Channel) -> &'static str {
    channel.names().label
}

fn settings_of(channel: Channel) -> String {
    format!("Set {}.", channel::profile(channel.provider()).set_up_by)
}
