//! The mail server's faults: what goes wrong, in which phase, for whom.

use serde::{Deserialize, Serialize};

use crate::rules::{Rule, Rules, When};

/// Where in the conversation a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The connection has been made; nothing was said.
    Connect,
    /// Instead of the `220`.
    Greeting,
    Ehlo,
    StartTls,
    /// After the client sent its credentials.
    Auth,
    Mail,
    Rcpt,
    Data,
    /// After the final dot.
    Final,
    Quit,
}

/// What happens instead of the ordinary reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum SmtpEffect {
    /// The ordinary reply (after the fault's delay).
    Proceed,
    /// This reply, `\n` between its lines. Its first digit decides what becomes of the step, as it does for the client: at the
    /// final dot 2xx means accepted. 421 closes the connection.
    Reply { text: String },
    /// No reply, and the connection stays open. `accepted` counts at the final dot only: the message is delivered all the same.
    Silence {
        #[serde(default)]
        accepted: bool,
    },
    /// The connection closes without a reply. `accepted` as for `Silence`.
    Close {
        #[serde(default)]
        accepted: bool,
    },
    /// At RCPT: `450 4.2.0` for a pair of sender and recipient not seen before, and until `for_ms` of sandbox time have passed
    /// since then. Later tries are accepted.
    Greylist {
        #[serde(default)]
        for_ms: i64,
    },
}

/// One rule for the mail server. `when.to` is compared with the user name (auth), the sender (mail), the recipient (rcpt)
/// or any recipient (data, final); in other phases a rule with an address never applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmtpFault {
    pub phase: Phase,
    #[serde(flatten)]
    pub when: When,
    /// Real time before the effect. What is accepted at the final dot is accepted before the delay.
    #[serde(default)]
    pub delay_ms: u64,
    #[serde(flatten)]
    pub effect: SmtpEffect,
}

/// The rules in force; the first that applies wins.
pub type SmtpFaults = Rules<SmtpFault>;

impl Rule for SmtpFault {
    fn when(&self) -> &When {
        &self.when
    }

    fn when_mut(&mut self) -> &mut When {
        &mut self.when
    }
}

impl SmtpFault {
    pub fn new(phase: Phase, when: When, effect: SmtpEffect) -> Self {
        Self {
            phase,
            when,
            delay_ms: 0,
            effect,
        }
    }

    /// Answers `text` in `phase`.
    pub fn reply(phase: Phase, when: When, text: &str) -> Self {
        Self::new(
            phase,
            when,
            SmtpEffect::Reply {
                text: text.to_owned(),
            },
        )
    }

    /// Answers as usual, but only after `delay_ms` of real time.
    pub fn slow(phase: Phase, when: When, delay_ms: u64) -> Self {
        Self {
            delay_ms,
            ..Self::new(phase, when, SmtpEffect::Proceed)
        }
    }

    pub fn silence(phase: Phase, when: When, accepted: bool) -> Self {
        Self::new(phase, when, SmtpEffect::Silence { accepted })
    }

    pub fn close(phase: Phase, when: When, accepted: bool) -> Self {
        Self::new(phase, when, SmtpEffect::Close { accepted })
    }

    pub fn greylist(when: When, for_ms: i64) -> Self {
        Self::new(Phase::Rcpt, when, SmtpEffect::Greylist { for_ms })
    }
}
