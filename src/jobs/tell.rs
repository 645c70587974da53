//! Tells people what they are to hear, by e-mail and by signed posts: what waits for one of them goes together, and never sooner than
//! some minutes after the message before it.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::context::Context;
use crate::channel::adapter::{Adapter, OutgoingMessage, SendGate};
use crate::channel::render::Rendered;
use crate::db;
use crate::db::incidents::{Notice, NoticeKind};
use crate::domain::contact::Address;
use crate::domain::ids::Channel;
use crate::domain::outcome::Outcome;
use crate::domain::week::WeeklyMoment;
use crate::domain::zone::Zone;
use crate::hashing::{self, Hasher};
use crate::signed_post::Receiver;

/// Notices of one message. What is more follows in the next.
const MOST: i64 = 20;

/// How long a mail server may try.
const VALIDITY: Duration = Duration::from_mins(5);

/// The target that is no address.
const WEBHOOK: &str = "webhook";

/// Who hears of incidents and of the week's result.
#[derive(Clone, Debug)]
pub struct Notify {
    pub emails: Vec<Address>,
    /// Only where its secret is known: in the workers.
    pub webhook: Option<Receiver>,
    /// There is one.
    pub posts: bool,
    /// When the week's result is sent, and by whose clock.
    pub week: Option<WeeklyMoment>,
    pub zone: Zone,
}

impl Notify {
    /// How the tables name those who hear of an incident.
    pub fn targets(&self, hasher: &Hasher) -> Vec<String> {
        let webhook = self.webhook.iter().map(|_| WEBHOOK.to_owned());
        webhook.chain(self.mailboxes(hasher)).collect()
    }

    /// How they name those who are written to.
    pub fn mailboxes(&self, hasher: &Hasher) -> impl Iterator<Item = String> {
        self.emails.iter().map(|address| name(hasher, address))
    }
}

/// An address of the settings without the address.
fn name(hasher: &Hasher, address: &Address) -> String {
    let mut name = String::new();
    for byte in hasher.address(address) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Tells of incidents.
pub async fn incidents(ctx: &Context) -> anyhow::Result<()> {
    if let Some(receiver) = &ctx.notify.webhook {
        post(ctx, receiver).await?;
    }
    for address in &ctx.notify.emails {
        mail(ctx, address, NoticeKind::Incident).await?;
    }
    Ok(())
}

/// Each by itself: its id tells the receiver that it comes again.
async fn post(ctx: &Context, receiver: &Receiver) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let of = (WEBHOOK, NoticeKind::Incident);
    let batch = hashing::token();
    for notice in db::incidents::take(&ctx.pool, of, (&batch, MOST), now).await? {
        let id = format!("msg_{}", notice.subject.replace('/', "_"));
        let body = serde_json::to_vec(&notice.body)?;
        match receiver.post(&id, body, now).await {
            Ok(()) => told(ctx, "webhook", &[notice.id]).await?,
            Err(error) => put_off(ctx, "webhook", &[notice.id], &error).await?,
        }
    }
    Ok(())
}

/// What waits for an address, in one mail.
pub async fn mail(ctx: &Context, to: &Address, kind: NoticeKind) -> anyhow::Result<()> {
    let Some(adapter) = mail_adapter(ctx).await? else {
        // It waits; the page and the log say so, and the webhook is another way.
        return Ok(());
    };
    let now = ctx.clock.now();
    let target = name(&ctx.hasher, to);
    let of = (target.as_str(), kind);
    let notices = db::incidents::take(&ctx.pool, of, (&hashing::token(), MOST), now).await?;
    let Some(first) = notices.first() else {
        return Ok(());
    };
    let ids: Vec<i64> = notices.iter().map(|notice| notice.id).collect();
    let words = match kind {
        NoticeKind::Incident => of_incidents(&notices, ctx.dashboard_url.as_str()),
        NoticeKind::Week => of_week(&first.body, ctx.dashboard_url.as_str()),
    };
    match send(adapter, to, &words, &first.batch, now).await {
        Ok(()) => told(ctx, "email", &ids).await,
        Err(error) => put_off(ctx, "email", &ids, &error).await,
    }
}

/// What mail of ours goes out with: the installation's server, else the first account's. `None`: there is none, or it is what is broken.
pub async fn mail_adapter(ctx: &Context) -> sqlx::Result<Option<&dyn Adapter>> {
    let open = db::circuits::open_ones(&ctx.pool).await?;
    let works = |adapter: &&dyn Adapter| {
        let mut paused = open
            .iter()
            .filter(|circuit| circuit.provider == Channel::Email.provider());
        !paused.any(|circuit| {
            ctx.channels
                .is_of(*adapter, Channel::Email, &circuit.sender)
        })
    };
    Ok(ctx.channels.all(Channel::Email).next().filter(works))
}

/// Hands a mail of ours over. `batch` names it, the same when it is sent again.
pub async fn send(
    adapter: &dyn Adapter,
    to: &Address,
    words: &Rendered,
    batch: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let message = OutgoingMessage {
        to,
        to_name: None,
        words,
        sender: None,
        brand: "unread",
        name: &format!("note.{batch}"),
        thread: &format!("note.{batch}.thread"),
        attempt: None,
        way_out: None,
        left: &|| VALIDITY,
        date: now,
    };
    let outcome = match adapter.open().await {
        Ok(way) => way.send(&message, SendGate::open()).await,
        Err(outcome) => outcome,
    };
    match outcome {
        Outcome::Accepted { .. } => Ok(()),
        other => bail!("the mail server did not take it: {}", other.code()),
    }
}

async fn told(ctx: &Context, way: &'static str, ids: &[i64]) -> anyhow::Result<()> {
    db::incidents::told_them(&ctx.pool, ids, ctx.clock.now()).await?;
    ctx.metrics.notified(way, "told");
    Ok(())
}

async fn put_off(
    ctx: &Context,
    way: &'static str,
    ids: &[i64],
    error: &anyhow::Error,
) -> anyhow::Result<()> {
    tracing::warn!(
        way,
        "People could not be told, trying again later: {error:#}"
    );
    db::incidents::put_off(&ctx.pool, ids, ctx.clock.now()).await?;
    ctx.metrics.notified(way, "failed");
    Ok(())
}

fn word<'v>(body: &'v Value, pointer: &str) -> &'v str {
    body.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A mail about incidents: what is wrong first, then what is over.
fn of_incidents(notices: &[Notice], dashboard: &str) -> Rendered {
    let is_over = |notice: &&Notice| word(&notice.body, "/type") == "incident.ended";
    let (over, wrong): (Vec<&Notice>, Vec<&Notice>) = notices.iter().partition(is_over);
    // What begins and ends within one mail is told as over.
    let about = |notice: &Notice| notice.body.pointer("/data/id").cloned();
    let wrong: Vec<&Notice> = wrong
        .into_iter()
        .filter(|begun| !over.iter().any(|ended| about(ended) == about(begun)))
        .collect();
    let mut text = String::new();
    for notice in &wrong {
        let (what, fix) = (
            word(&notice.body, "/data/what"),
            word(&notice.body, "/data/fix"),
        );
        let since = moment(word(&notice.body, "/data/since"));
        let _ = write!(text, "{what}\nSince {since}. {fix}\n\n");
    }
    for notice in &over {
        let what = word(&notice.body, "/data/what");
        let [since, until] =
            ["/data/since", "/data/until"].map(|at| moment(word(&notice.body, at)));
        let _ = write!(text, "Over: {what}\nFrom {since} to {until}.\n\n");
    }
    let _ = writeln!(text, "Dashboard: {dashboard}");
    let first = wrong.first().or(over.first());
    let first = first.map_or("", |notice| word(&notice.body, "/data/what"));
    let more = match wrong.len().max(usize::from(wrong.is_empty()) * over.len()) {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let subject = if wrong.is_empty() {
        format!("Over: {first}{more}")
    } else {
        format!("{first}{more}")
    };
    Rendered {
        subject: Some(subject),
        text,
        html: None,
        preheader: None,
    }
}

fn of_week(body: &Value, dashboard: &str) -> Rendered {
    Rendered {
        subject: Some(word(body, "/subject").to_owned()),
        text: format!("{}\n\nDashboard: {dashboard}\n", word(body, "/text")),
        html: None,
        preheader: None,
    }
}

/// To the minute, in UTC.
fn moment(rfc3339: &str) -> String {
    let at = rfc3339.parse::<DateTime<Utc>>();
    at.map_or_else(
        |_| rfc3339.to_owned(),
        |at| at.format("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn notice(id: i64, incident: i64, what: &str, until: Option<&str>) -> Notice {
        let kind = if until.is_some() {
            "incident.ended"
        } else {
            "incident.began"
        };
        Notice {
            id,
            subject: format!("incident/{incident}"),
            batch: "b".to_owned(),
            body: json!({ "type": kind, "data": {
                "id": incident, "what": what, "fix": "Fix it.", "since": "2026-01-05T12:00:00Z", "until": until,
            }}),
        }
    }

    type Texts = &'static [&'static str];

    #[test]
    fn one_mail_tells_what_is_wrong_first_and_what_is_over_after_it() {
        let over = Some("2026-01-05T12:30:00Z");
        #[rustfmt::skip]
        let cases: [(Vec<Notice>, &str, Texts, Texts); 4] = [
            (vec![notice(1, 7, "A is paused.", None)], "A is paused.", &["A is paused.\nSince 2026-01-05 12:00 UTC. Fix it.", "https://unread.example/"], &["Over"]),
            (vec![notice(1, 7, "A is paused.", over), notice(2, 8, "B is paused.", None)], "B is paused.",
                &["B is paused.\nSince", "Over: A is paused.\nFrom 2026-01-05 12:00 UTC to 2026-01-05 12:30 UTC."], &["Over: B"]),
            (vec![notice(1, 7, "A is paused.", None), notice(2, 7, "A is paused.", over)], "Over: A is paused.", &["Over: A"], &["Fix it."]),
            (vec![notice(1, 7, "A is paused.", None), notice(2, 8, "B is paused.", None), notice(3, 9, "C is paused.", None)],
                "A is paused. (and 2 more)", &["A is", "B is", "C is"], &[]),
        ];
        for (notices, subject, has, has_not) in cases {
            let mail = of_incidents(&notices, "https://unread.example/");
            assert_eq!(mail.subject.as_deref(), Some(subject));
            for words in has {
                assert!(mail.text.contains(words), "{words} in {}", mail.text);
            }
            for words in has_not {
                assert!(!mail.text.contains(words), "{words} in {}", mail.text);
            }
        }
    }
}
