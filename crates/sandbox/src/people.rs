//! Scripted people: who they are, what they do and when, and what the service ought to make of it.
//!
//! A script is data. Minutes count from the start of the play; what lies before it is history, told at once with its own dates,
//! so that something is due within seconds of the start. The expected outcomes presume the rules in [`RULES`] and defaults
//! elsewhere (bots do not count, unverified addresses are not used, two minutes of debounce).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::clock::ms;
use super::rules::When;
use super::smtp::Bounce;
use super::world::{Action, CUSTOMER_CARE, ORDERS, Person, Unknown, World};

mod cases;
mod live;
mod script;
#[cfg(test)]
mod tests;
mod zones;

pub use cases::cases;

/// A rule that the expected outcomes presume: one sequence over both channels.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PresumedRule {
    pub skill: i64,
    pub steps: &'static [PresumedStep],
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct PresumedStep {
    pub id: u32,
    pub channel: &'static str,
    /// After the episode began.
    pub after_minutes: u32,
    /// Only if none of the steps since the last one without a condition has reached them, that included.
    pub if_not_reached: bool,
}

const fn always(id: u32, channel: &'static str, after_minutes: u32) -> PresumedStep {
    PresumedStep {
        id,
        channel,
        after_minutes,
        if_not_reached: false,
    }
}

const fn if_not_reached(step: PresumedStep) -> PresumedStep {
    PresumedStep {
        if_not_reached: true,
        ..step
    }
}

/// The rules that whoever stages the people has to set up. That of customer care is the default of an account with both channels, but for
/// its second rung, which need not wait for a day.
pub const RULES: [PresumedRule; 2] = [
    PresumedRule {
        skill: CUSTOMER_CARE,
        steps: &[
            always(1, "email", 10),
            if_not_reached(always(2, "sms", 10)),
            always(3, "email", 130),
            if_not_reached(always(4, "sms", 130)),
        ],
    },
    PresumedRule {
        skill: ORDERS,
        steps: &[always(1, "sms", 10)],
    },
];

/// E-mail to these domains is accepted and comes back a minute later: nobody lives there any more; the mailbox is full.
pub const MOVED: &str = "moved.example.com";
pub const FULL: &str = "full.example.com";

/// What comes back in the script.
pub fn bounces() -> [Bounce; 2] {
    let to = |domain: &str| When::to(format!("*@{domain}"));
    [
        Bounce::hard(to(MOVED), 60_000),
        Bounce::soft(to(FULL), 60_000),
    ]
}

/// One person with one conversation.
#[derive(Clone, Debug)]
pub struct Scene {
    pub case: &'static str,
    pub skill: i64,
    pub source: &'static str,
    pub person: Person,
    /// When the conversation opens, minutes; never after the play begins.
    pub opens: f64,
    pub script: Vec<(f64, PersonAction)>,
    pub outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug)]
pub enum PersonAction {
    /// Something in the conversation.
    Act(Box<Action>),
    /// A text message to the brand from the person's phone, such as STOP.
    Texts(String),
}

/// What should have become of one step by some minute.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub channel: &'static str,
    pub step: u32,
    pub verdict: &'static str,
    pub reason: Option<&'static str>,
    pub by_minute: f64,
}

/// An outcome with the conversation it is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expected {
    pub case: &'static str,
    pub conversation: String,
    pub skill: i64,
    pub channel: &'static str,
    /// The step's id in the rule.
    pub step: u32,
    /// `sent`, `undelivered`, `cancelled`, `expired`, or `none`: there never was a reminder.
    pub verdict: &'static str,
    /// Why, in the words of the decision log; `None` where nothing is decided, because the service is never shown the conversation.
    pub reason: Option<&'static str>,
    /// From this minute of the play on it should be so.
    pub by_minute: f64,
}

/// A text message from a person's phone to the brand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneText {
    pub from: String,
    pub body: String,
}

struct Pending {
    at: i64,
    conversation: String,
    phone: Option<String>,
    deed: PersonAction,
}

#[derive(Default)]
struct PeopleState {
    /// Ascending by date.
    pending: Vec<Pending>,
    expected: Vec<Expected>,
}

/// A play in progress. Clones share it.
#[derive(Clone)]
pub struct Play {
    world: World,
    account: String,
    state: Arc<Mutex<PeopleState>>,
    texts: mpsc::UnboundedSender<PhoneText>,
}

impl Play {
    /// An empty play, and what its people text to the brand.
    pub fn new(world: &World, account: &str) -> (Self, mpsc::UnboundedReceiver<PhoneText>) {
        let (texts, received) = mpsc::unbounded_channel();
        let play = Self {
            world: world.clone(),
            account: account.to_owned(),
            state: Arc::default(),
            texts,
        };
        (play, received)
    }

    fn lock(&self) -> MutexGuard<'_, PeopleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a person come in: the conversation opens, the past is told, the rest waits. Minutes count from `start` (epoch
    /// milliseconds).
    pub fn enter(&self, scene: Scene, start: i64) -> Result<String, Unknown> {
        let opened = self.world.at(start + ms(scene.opens));
        let id = opened.open(&self.account, scene.skill, scene.source, &scene.person)?;
        let mut state = self.lock();
        state
            .expected
            .extend(scene.outcomes.into_iter().map(|outcome| Expected {
                case: scene.case,
                conversation: id.clone(),
                skill: scene.skill,
                channel: outcome.channel,
                step: outcome.step,
                verdict: outcome.verdict,
                reason: outcome.reason,
                by_minute: outcome.by_minute,
            }));
        let phone = scene.person.phone;
        state
            .pending
            .extend(scene.script.into_iter().map(|(minute, deed)| Pending {
                at: start + ms(minute),
                conversation: id.clone(),
                phone: phone.clone(),
                deed,
            }));
        // Stable, so that what is written for one moment happens in the order written.
        state.pending.sort_by_key(|pending| pending.at);
        drop(state);
        self.play_until_now();
        Ok(id)
    }

    /// Does everything that is due by the sandbox's clock, each at its own moment.
    pub fn play_until_now(&self) {
        let now = self.world.clock().now_ms();
        let mut state = self.lock();
        let due = state.pending.partition_point(|pending| pending.at <= now);
        for Pending {
            at,
            conversation,
            phone,
            deed,
        } in state.pending.drain(..due)
        {
            match deed {
                PersonAction::Act(action) => {
                    self.world
                        .at(at)
                        .act(&conversation, &action)
                        .expect("scenes act in their own");
                }
                PersonAction::Texts(body) => {
                    // Nobody listening is like a phone that is off.
                    let _ = self.texts.send(PhoneText {
                        from: phone.unwrap_or_default(),
                        body,
                    });
                }
            }
        }
    }

    pub fn expected(&self) -> Vec<Expected> {
        self.lock().expected.clone()
    }

    /// Whether every script has been played to its end.
    pub fn is_over(&self) -> bool {
        self.lock().pending.is_empty()
    }

    fn next_at(&self) -> Option<i64> {
        self.lock().pending.first().map(|pending| pending.at)
    }

    /// Plays on by itself until cancelled; with a clock that stands still, somebody else has to call [`Play::play_until_now`].
    pub async fn run(self, newcomers: Option<u64>, stop: CancellationToken) {
        let mut visitors = newcomers.map(|seed| live::Visitors::new(&self, seed));
        loop {
            let clock = self.world.clock();
            let now = clock.now_ms();
            let newcomer_at = visitors.as_ref().map(live::Visitors::next_at);
            let next = self
                .next_at()
                .into_iter()
                .chain(newcomer_at)
                .min()
                .unwrap_or(now + 60_000);
            let wait = Duration::from_millis(u64::try_from(next - now).unwrap_or(0));
            // A moment late rather than early: the clock has to have passed the date.
            let Some(wait) = clock.real_duration(wait + Duration::from_millis(1)) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
            self.play_until_now();
            if let Some(visitors) = &mut visitors {
                visitors.let_in();
            }
        }
    }
}
