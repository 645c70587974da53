//! Blows at the moments that matter: right after a provider has accepted a message.
//!
//! Kills drawn by the clock seldom fall between a provider's acceptance and our record of it: that takes milliseconds. So for
//! some people, drawn from the seed, the sandbox holds its answer back, and its outbox, the witness, tells the harness that the
//! message is there. Which worker waits for that answer is not asked: all of them are struck.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::oneshot;
use unread::domain::ids::Channel;
use unread::sandbox::Sandbox;
use unread::sandbox::outbox::OutboxMessage;
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::sandbox::twilio::TwilioFault;

use super::Options;
use super::people::People;
use super::processes::Processes;

/// How long an answer is held back: long enough to notice and to strike.
const HELD: Duration = Duration::from_secs(4);

#[derive(Clone, Debug)]
pub enum Blow {
    /// `kill -9` of all workers while the answer is held back: accepted, and nobody has written it down.
    Unanswered,
    /// `kill -9` of all workers so soon after the answer: about when the outcome is recorded and the job ends.
    Answered(Duration),
    /// All workers are frozen while the answer is held back, and others start in their place. They wake up when their jobs, or
    /// their attempts, may have become somebody else's, and go on beside them.
    Frozen(Duration),
}

#[derive(Clone, Debug)]
pub struct Strike {
    /// Whose message it is.
    channel: Channel,
    address: String,
    blow: Blow,
    /// How long until killed workers come back.
    pause: Duration,
}

/// Strikes spread over the first two thirds of the run, each upon somebody who would leave the message unread.
pub fn plan(options: &Options, people: &People) -> Vec<Strike> {
    let mut dice = StdRng::seed_from_u64(options.seed ^ 0x57_21_4e);
    let mut victims: Vec<_> = people.0.iter().filter(|p| p.is_patient()).collect();
    victims.sort_by_key(|p| p.due);
    victims.retain(|p| p.due < options.spread.mul_f64(0.67));
    let count = (options.strikes + options.zombies) as usize;
    let share = victims.len() / count.max(1);
    let mut blows: Vec<Blow> = (0..count)
        .map(|n| {
            if n < options.zombies as usize {
                return Blow::Frozen(options.longest_trance.mul_f64(dice.random_range(0.3..1.0)));
            }
            match n % 3 {
                0 => Blow::Answered(Duration::from_millis(dice.random_range(0..25))),
                _ => Blow::Unanswered,
            }
        })
        .collect();
    // The frozen ones are spread among the others.
    for n in 0..blows.len() {
        blows.swap(n, dice.random_range(n..count));
    }
    let of = |(n, blow): (usize, Blow)| {
        let victim = victims.get(n * share + dice.random_range(0..share.max(1)))?;
        let (channel, address) = victim.first_address()?;
        Some(Strike {
            channel,
            address: address.to_owned(),
            blow,
            pause: Duration::from_millis(dice.random_range(0..1_000)),
        })
    };
    blows.into_iter().enumerate().filter_map(of).collect()
}

/// Makes the providers hold back their answers to these people. Before any other fault: the first rule that applies wins.
pub fn arm(sandbox: &Sandbox, strikes: &[Strike]) {
    let held = u64::try_from(HELD.as_millis()).unwrap_or(u64::MAX);
    for strike in strikes {
        if matches!(strike.blow, Blow::Answered(_)) {
            continue;
        }
        let when = When::to(&strike.address).and_next(1);
        match strike.channel {
            Channel::Email => {
                let fault = SmtpFault::slow(Phase::Final, when, held);
                sandbox.smtp().faults().add(fault);
            }
            Channel::Sms => {
                let fault = TwilioFault::slow(when, held);
                sandbox.twilio().faults().add(fault);
            }
            // Nobody in the run is reached over it.
            #[cfg(feature = "test-channel")]
            Channel::Probe => {}
        }
    }
}

/// Strikes whenever one of these people's messages is accepted, until it is too late for that.
pub async fn fall(
    sandbox: &Sandbox,
    processes: &Processes,
    strikes: &[Strike],
    until: Duration,
) -> Result<()> {
    let mut bells = HashMap::new();
    let mut awaited = Vec::new();
    for strike in strikes {
        let (bell, rung) = oneshot::channel();
        bells.insert(strike.address.as_str(), bell);
        awaited.push((strike, rung));
    }
    let fallen = awaited.into_iter().map(async |(strike, rung)| {
        if rung.await.is_err() {
            return Ok(());
        }
        match strike.blow {
            Blow::Unanswered => processes.strike_dead(strike.pause).await,
            Blow::Answered(after) => {
                tokio::time::sleep(after).await;
                processes.strike_dead(strike.pause).await
            }
            Blow::Frozen(trance) => processes.replace_frozen(trance).await,
        }
    });
    let ((), fallen) = tokio::join!(watch(sandbox, bells, until), join_all(fallen));
    fallen.into_iter().collect()
}

/// Rings when a message is there; drops the bells that are left when the time is over.
async fn watch(sandbox: &Sandbox, mut bells: HashMap<&str, oneshot::Sender<()>>, within: Duration) {
    let outbox = sandbox.outbox();
    let end = tokio::time::Instant::now() + within;
    let mut next = 1;
    while !bells.is_empty() && tokio::time::Instant::now() < end {
        let there = outbox.wait_for(
            |outbox| outbox.message(next).is_some(),
            Duration::from_secs(1),
        );
        if !there.await {
            continue;
        }
        while let Some(message) = outbox.message(next) {
            next += 1;
            let bell = match &message {
                OutboxMessage::Mail(mail) => {
                    mail.to.first().and_then(|to| bells.remove(to.as_str()))
                }
                OutboxMessage::Text(text) => bells.remove(text.to.as_str()),
            };
            if let Some(bell) = bell {
                let _ = bell.send(());
            }
        }
    }
}
