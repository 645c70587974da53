//! How long a server asks us to wait, in the words of its reply.

use std::time::Duration;

/// "try again in 5 minutes", "retry after 300s", "come back in 00:05:00": servers put the wait into the text.
pub(super) fn retry_after(text: &str) -> Option<Duration> {
    let words: Vec<String> = text
        .split_whitespace()
        .map(str::to_ascii_lowercase)
        .collect();
    let seconds = words.iter().enumerate().find_map(|(at, word)| {
        if !matches!(word.as_str(), "in" | "after" | "for") {
            return None;
        }
        let amount = words
            .get(at + 1)?
            .trim_end_matches(|c: char| !c.is_alphanumeric());
        if amount.contains(':') {
            return clock(amount);
        }
        let digits = amount.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &amount[digits.len()..] {
            "" => words.get(at + 2)?,
            unit => unit,
        };
        digits.parse::<u64>().ok()?.checked_mul(seconds_of(unit)?)
    })?;
    // A week: beyond any reminder's deadline, and far from overflowing anybody's arithmetic.
    Some(Duration::from_secs(seconds.min(604_800)))
}

/// `00:05:00`, or `05:00`.
fn clock(amount: &str) -> Option<u64> {
    let parts: Vec<u64> = amount
        .split(':')
        .map(|part| part.parse().ok().filter(|_| part.len() == 2))
        .collect::<Option<_>>()?;
    match parts[..] {
        [hours, minutes, seconds] => Some(hours * 3600 + minutes * 60 + seconds),
        [minutes, seconds] => Some(minutes * 60 + seconds),
        _ => None,
    }
}

fn seconds_of(unit: &str) -> Option<u64> {
    match unit.trim_end_matches(|c: char| !c.is_alphabetic()) {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        unit if unit.starts_with("sec") => Some(1),
        unit if unit.starts_with("min") => Some(60),
        unit if unit.starts_with("hour") => Some(3600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_in_the_text_is_kept() {
        for (text, seconds) in [
            ("Greylisted, try again in 5 minutes", Some(300)),
            ("come back after 90 seconds.", Some(90)),
            ("wait for 99999999999999999 hours", None),
            ("Greylisted, retry in 300s", Some(300)),
            ("retry after 5m.", Some(300)),
            ("please come back in 00:05:00 (hh:mm:ss)", Some(300)),
            ("try again in 1 hour, not in 5 minutes", Some(3600)),
            ("come back in 05:00", Some(300)),
            ("come back after 10:00:00:00", None),
            ("in 2001:db8::1", None),
            ("in :00", None),
            ("in ", None),
            ("in 2 mailboxes", None),
            ("see 5 minutes", None),
        ] {
            assert_eq!(
                retry_after(text),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
