//! Contradictions in plain words.

use super::{Contradiction, SenderFault};
use crate::domain::quiet::LostShare;
use crate::domain::rule::span;

impl Contradiction {
    /// What is promised, what stands against it, and what to do.
    pub fn sentence(&self) -> String {
        match self {
            Self::MaxAge {
                channel,
                max_age,
                latest,
            } => format!(
                "No {} is sent more than {} after it was due, so a lateness of up to {} can never be used in full. Raise the first limit \
                 or lower the second.",
                channel.names().message,
                span(*latest),
                span(*max_age)
            ),
            Self::Hours {
                channel,
                quiet,
                latest,
                lost,
                clock_change,
                country,
            } => format!(
                "{} of the {} that fall due in a week{} are never sent{}: none may be sent for up to {} at a stretch, and each expires {} \
                 after it was due. Allow more hours, or allow more lateness.",
                share_of(*lost),
                channel.names().messages,
                if *clock_change {
                    " in which the clocks change"
                } else {
                    ""
                },
                to_numbers(country.as_deref()),
                span(*quiet),
                span(*latest),
            ),
            Self::Drops {
                channel,
                country,
                lost,
            } => format!(
                "{} of the {} that fall due in a week{} are outside the hours and not sent, as you chose.",
                share_of(*lost),
                channel.names().messages,
                to_numbers(country.as_deref())
            ),
            Self::Debounce {
                step,
                after,
                debounce,
            } => format!(
                "Step {step} says {}, but the agent must have been quiet for {}, so it never goes out before that. Shorten the agent's \
                 quiet time, or let the step wait longer.",
                span(*after),
                span(*debounce)
            ),
            Self::Late {
                step,
                after,
                by,
                limit,
            } => format!(
                "Step {step} says {}, but {}, so it goes out {} later. {}",
                span(*after),
                limit.sentence(),
                span(*by),
                limit.fix()
            ),
            Self::Lost { step, share, limit } if share.minutes == share.of => format!(
                "Step {step} can never be sent after the steps before it: {}, and by then it has expired. {}",
                limit.sentence(),
                limit.fix()
            ),
            Self::Lost { step, share, limit } => format!(
                "Step {step} is not sent for {} of the messages in a week: the steps before it wait for the hours, {}, and by then it has \
                 expired. {}",
                share_of(*share).to_lowercase(),
                limit.sentence(),
                limit.fix()
            ),
            Self::NoStopWord { language, .. } => format!(
                "The text in {language} does not say how to opt out. Add a few words such as \"Reply STOP to opt out\", in its language: \
                 carriers and the law in many countries require it."
            ),
            Self::NoUnsubscribeLink { language, part, .. } => format!(
                "The {part} in {language} has no unsubscribe link, so a line with it is added at the end. Put it where you want it."
            ),
            Self::NoFallback {
                language,
                part,
                variable,
                ..
            } => format!(
                "The {part} in {language} uses the {}, which is often unknown and then leaves a gap. Say what stands in its place \
                 then (in code: {{{{#if {variable}}}}}…{{{{else}}}}…{{{{/if}}}}).",
                variable.replace('_', " ")
            ),
            Self::Sender(_, fault) => of_sender(fault),
        }
    }
}

fn of_sender(fault: &SenderFault) -> String {
    format!(
        "{} for {} (checked on {}): {}. {}",
        fault.check,
        fault.domain,
        fault.looked_at.format("%-d %B %Y"),
        fault.found.trim_end_matches('.'),
        fault.fix.as_deref().unwrap_or("Mail may end up as spam.")
    )
}

fn to_numbers(country: Option<&str>) -> String {
    country.map_or(String::new(), |country| format!(" to {country} numbers"))
}

/// "About 12%"
fn share_of(share: LostShare) -> String {
    match share.percent() {
        percent if percent < 1.0 => "Less than 1%".to_owned(),
        percent => format!("About {percent:.0}%"),
    }
}
