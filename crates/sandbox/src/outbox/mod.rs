//! The witness: every e-mail and SMS that a sandbox provider really accepted, whatever it told the client.
//!
//! Nothing but the two servers writes here, and only at the moment a real provider would be bound to deliver. Tests compare it
//! with what the service believes. It is bounded, because demos and load runs do not end.

mod mime;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use mime::Parsed;

/// What an [`Outbox`] keeps.
#[derive(Clone, Debug)]
pub struct OutboxOptions {
    /// Messages kept; the oldest go first.
    pub capacity: usize,
    /// False drops raw mails, their parts and SMS texts on arrival (headers and addresses stay): for load runs.
    pub keep_bodies: bool,
}

impl Default for OutboxOptions {
    fn default() -> Self {
        Self {
            capacity: 200_000,
            keep_bodies: true,
        }
    }
}

/// One accepted e-mail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mail {
    pub id: u64,
    pub at: DateTime<Utc>,
    /// Envelope sender; empty for the null sender.
    pub from: String,
    /// Envelope recipients.
    pub to: Vec<String>,
    /// Octets received, also when bodies are not kept.
    pub size: usize,
    /// The message as received, dots unstuffed.
    pub raw: Vec<u8>,
    /// Header fields in order: unfolded, encoded words decoded.
    pub headers: Vec<(String, String)>,
    pub text: Option<String>,
    pub html: Option<String>,
    /// It came back.
    pub returned: Option<Returned>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BounceKind {
    /// The address does not work.
    Hard,
    /// This message did not arrive; another may.
    Soft,
}

/// That an e-mail which was accepted did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Returned {
    pub at: DateTime<Utc>,
    pub kind: BounceKind,
    /// When the brand had been told, and had understood.
    pub told_at: Option<DateTime<Utc>>,
}

impl Mail {
    /// The first header field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The Message-ID, angle brackets included.
    pub fn message_id(&self) -> Option<&str> {
        self.header("Message-ID")
    }

    pub fn subject(&self) -> &str {
        self.header("Subject").unwrap_or_default()
    }

    /// The addresses of List-Unsubscribe, without angle brackets.
    pub fn list_unsubscribe(&self) -> Vec<&str> {
        self.header("List-Unsubscribe")
            .unwrap_or_default()
            .split(',')
            .filter_map(|uri| uri.trim().strip_prefix('<')?.strip_suffix('>'))
            .collect()
    }
}

/// One step in the life of an SMS.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusChange {
    pub at: DateTime<Utc>,
    pub status: String,
    pub error_code: Option<u32>,
}

/// One accepted SMS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    pub id: u64,
    pub at: DateTime<Utc>,
    pub sid: String,
    pub to: String,
    /// The sending number; for a Messaging Service empty until it has chosen one.
    pub from: Option<String>,
    pub messaging_service: Option<String>,
    pub body: String,
    pub segments: usize,
    pub status_callback: Option<String>,
    /// Seconds.
    pub validity_period: Option<u32>,
    /// From the first status on; the last entry is the present one.
    pub history: Vec<StatusChange>,
}

impl Text {
    pub fn status(&self) -> &str {
        self.history
            .last()
            .map_or("", |change| change.status.as_str())
    }
}

#[derive(Clone, Debug)]
pub enum OutboxMessage {
    Mail(Arc<Mail>),
    Text(Arc<Text>),
}

impl OutboxMessage {
    pub fn id(&self) -> u64 {
        match self {
            Self::Mail(mail) => mail.id,
            Self::Text(text) => text.id,
        }
    }
}

/// Totals since the start; clearing and dropping do not lower them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub mails: u64,
    pub texts: u64,
    /// Messages forgotten because the outbox was full.
    pub dropped: u64,
}

/// A cheap handle; clones share one outbox.
#[derive(Clone)]
pub struct Outbox {
    options: OutboxOptions,
    kept: Arc<Mutex<Kept>>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    /// Ids are consecutive, so a message's place follows from the front's id.
    messages: VecDeque<OutboxMessage>,
    next_id: u64,
    texts: HashMap<String, u64>,
    counts: Counts,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new(OutboxOptions::default())
    }
}

impl Outbox {
    pub fn new(options: OutboxOptions) -> Self {
        let kept = Kept {
            next_id: 1,
            ..Kept::default()
        };
        Self {
            options,
            kept: Arc::new(Mutex::new(kept)),
            changes: watch::Sender::new(0),
        }
    }

    /// Records an accepted e-mail and answers its id.
    pub fn accept_mail(
        &self,
        at: DateTime<Utc>,
        from: String,
        to: Vec<String>,
        raw: Vec<u8>,
    ) -> u64 {
        let Parsed {
            headers,
            text,
            html,
        } = mime::parse(&raw, self.options.keep_bodies);
        let mut mail = Mail {
            id: 0,
            at,
            from,
            to,
            size: raw.len(),
            raw,
            headers,
            text,
            html,
            returned: None,
        };
        if !self.options.keep_bodies {
            mail.raw = Vec::new();
        }
        self.push(|id, counts| {
            counts.mails += 1;
            OutboxMessage::Mail(Arc::new(Mail { id, ..mail }))
        })
    }

    /// Records an accepted SMS and answers its id; `text.id` is ignored.
    pub fn accept_text(&self, mut text: Text) -> u64 {
        if !self.options.keep_bodies {
            text.body = String::new();
        }
        self.push(|id, counts| {
            counts.texts += 1;
            OutboxMessage::Text(Arc::new(Text { id, ..text }))
        })
    }

    /// Adds to the history of an SMS; a sid that is not kept is ignored. `from` is the sender chosen meanwhile.
    pub fn change_text(&self, sid: &str, from: Option<&str>, change: StatusChange) {
        let mut kept = self.lock();
        let Some(place) = kept.texts.get(sid).and_then(|id| kept.place(*id)) else {
            return;
        };
        if let OutboxMessage::Text(text) = &mut kept.messages[place] {
            let text = Arc::make_mut(text);
            text.history.push(change);
            text.from = from.map(str::to_owned).or(text.from.take());
        }
        drop(kept);
        self.announce();
    }

    /// Notes that an e-mail came back, or that the brand was told; an id that is not kept is ignored.
    pub fn return_mail(&self, id: u64, returned: Returned) {
        let mut kept = self.lock();
        let Some(place) = kept.place(id) else {
            return;
        };
        if let OutboxMessage::Mail(mail) = &mut kept.messages[place] {
            Arc::make_mut(mail).returned = Some(returned);
        }
        drop(kept);
        self.announce();
    }

    /// Everything kept, oldest first.
    pub fn messages(&self) -> Vec<OutboxMessage> {
        self.lock().messages.iter().cloned().collect()
    }

    pub fn message(&self, id: u64) -> Option<OutboxMessage> {
        let kept = self.lock();
        kept.place(id).map(|place| kept.messages[place].clone())
    }

    /// Every e-mail kept, oldest first.
    pub fn mails(&self) -> Vec<Arc<Mail>> {
        let kept = self.lock();
        kept.messages
            .iter()
            .filter_map(|message| {
                if let OutboxMessage::Mail(mail) = message {
                    Some(mail.clone())
                } else {
                    None
                }
            })
            .collect()
    }

    /// Every SMS kept, oldest first.
    pub fn texts(&self) -> Vec<Arc<Text>> {
        let kept = self.lock();
        kept.messages
            .iter()
            .filter_map(|message| {
                if let OutboxMessage::Text(text) = message {
                    Some(text.clone())
                } else {
                    None
                }
            })
            .collect()
    }

    /// E-mails with this envelope recipient, oldest first; letter case does not count.
    pub fn mails_to(&self, address: &str) -> Vec<Arc<Mail>> {
        let mut mails = self.mails();
        mails.retain(|mail| mail.to.iter().any(|to| to.eq_ignore_ascii_case(address)));
        mails
    }

    /// SMS to this number, oldest first.
    pub fn texts_to(&self, number: &str) -> Vec<Arc<Text>> {
        let mut texts = self.texts();
        texts.retain(|text| text.to == number);
        texts
    }

    pub fn text(&self, sid: &str) -> Option<Arc<Text>> {
        let kept = self.lock();
        match &kept.messages[kept.place(*kept.texts.get(sid)?)?] {
            OutboxMessage::Text(text) => Some(text.clone()),
            OutboxMessage::Mail(_) => None,
        }
    }

    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub fn is_empty(&self) -> bool {
        self.lock().messages.is_empty()
    }

    /// Forgets every message; ids go on.
    pub fn clear(&self) {
        let mut kept = self.lock();
        kept.messages.clear();
        kept.texts.clear();
        drop(kept);
        self.announce();
    }

    /// A number that grows with every change.
    pub fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Waits until `holds` is true of the outbox, looking again after every change. False when `within` (real time) has passed.
    #[must_use = "false means that it never came true"]
    pub async fn wait_for(&self, holds: impl Fn(&Outbox) -> bool, within: Duration) -> bool {
        let mut changes = self.changes.subscribe();
        let came_true = async {
            while !holds(self) {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(within, came_true).await.is_ok()
    }

    fn push(&self, build: impl FnOnce(u64, &mut Counts) -> OutboxMessage) -> u64 {
        let mut kept = self.lock();
        let id = kept.next_id;
        kept.next_id += 1;
        let message = build(id, &mut kept.counts);
        if let OutboxMessage::Text(text) = &message {
            kept.texts.insert(text.sid.clone(), id);
        }
        kept.messages.push_back(message);
        while kept.messages.len() > self.options.capacity {
            if let Some(OutboxMessage::Text(text)) = kept.messages.pop_front() {
                kept.texts.remove(&text.sid);
            }
            kept.counts.dropped += 1;
        }
        drop(kept);
        self.announce();
        id
    }

    fn announce(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn place(&self, id: u64) -> Option<usize> {
        let first = self.messages.front()?.id();
        let place = usize::try_from(id.checked_sub(first)?).ok()?;
        (place < self.messages.len()).then_some(place)
    }
}
