//! What the demonstration prints: where to look, and a line for each reminder that arrives. The addresses come again after every burst
//! of lines, so that they stay in sight.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use tokio_util::sync::CancellationToken;

use crate::sandbox::outbox::{Outbox, OutboxMessage};
use crate::say;

/// A burst is over when nothing has arrived for so long.
const QUIET: Duration = Duration::from_secs(20);

/// Lines that push the addresses out of sight, more or less.
const BURST: usize = 5;

/// Where the demonstration can be looked at.
pub struct Places {
    pub dashboard: String,
    /// Name and password.
    pub login: (&'static str, &'static str),
    pub mailbox: String,
    pub metrics: String,
}

impl Places {
    /// As a block of lines.
    pub fn block(&self) -> String {
        let Self {
            dashboard,
            login: (name, password),
            mailbox,
            metrics,
        } = self;
        format!(
            "  dashboard  {dashboard}\n             log in as \"{name}\" with \"{password}\"\n  mailbox    {mailbox}\n  \
             shop       {mailbox}/shop\n  metrics    {metrics}\n"
        )
    }
}

/// Prints what arrives, until `shutdown`.
pub async fn narrate(outbox: Outbox, places: Places, shutdown: CancellationToken) {
    let mut told = 0;
    let mut since_block = 0;
    loop {
        let new = |outbox: &Outbox| newest(outbox) > told;
        let arrived = tokio::select! {
            arrived = outbox.wait_for(new, QUIET) => arrived,
            () = shutdown.cancelled() => return,
        };
        if arrived {
            for message in outbox.messages() {
                if message.id() > told {
                    told = message.id();
                    since_block += 1;
                    say!("{}", line(&message));
                }
            }
        } else if since_block >= BURST {
            since_block = 0;
            say!("\n{}", places.block());
        }
    }
}

fn newest(outbox: &Outbox) -> u64 {
    outbox.messages().last().map_or(0, OutboxMessage::id)
}

/// "12:03:10  e-mail to ann.lee@example.com: Maria replied to you". The people are invented, and so are their addresses.
fn line(message: &OutboxMessage) -> String {
    let mut line = String::new();
    let (at, channel, to, words) = match message {
        OutboxMessage::Mail(mail) => (
            mail.at,
            "e-mail",
            mail.to.join(", "),
            mail.subject().to_owned(),
        ),
        OutboxMessage::Text(text) => (text.at, "SMS", text.to.clone(), text.body.clone()),
    };
    let _ = write!(
        line,
        "{}  {channel:6}  to {to}: {}",
        clock(at),
        short(&words)
    );
    line
}

fn clock(at: DateTime<Utc>) -> impl std::fmt::Display {
    at.with_timezone(&Local).format("%H:%M:%S")
}

/// One line that fits beside the rest.
fn short(words: &str) -> String {
    const MOST: usize = 70;
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= MOST {
        return words;
    }
    let mut short: String = words.chars().take(MOST - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sandbox::outbox::{Mail, Text};

    #[test]
    fn a_reminder_is_one_line_however_long_its_words() {
        let mail = OutboxMessage::Mail(Arc::new(Mail {
            to: vec!["ann.lee@example.com".to_owned()],
            headers: vec![("Subject".to_owned(), "Maria replied to you".to_owned())],
            ..Mail::default()
        }));
        assert!(
            line(&mail).ends_with("  e-mail  to ann.lee@example.com: Maria replied to you"),
            "{}",
            line(&mail)
        );
        let text = OutboxMessage::Text(Arc::new(Text {
            to: "+12025550143".to_owned(),
            body: format!("The Example Shop:\nyou have {}", "many ".repeat(40)),
            ..Text::default()
        }));
        let line = line(&text);
        assert!(
            line.contains("  SMS     to +12025550143: The Example Shop: you have many"),
            "{line}"
        );
        assert!(
            line.ends_with('…') && !line.contains('\n') && line.chars().count() < 120,
            "{line}"
        );
    }

    #[test]
    fn the_block_has_every_address() {
        let places = Places {
            dashboard: "http://localhost:3000".to_owned(),
            login: ("demo", "look around"),
            mailbox: "http://127.0.0.1:3001".to_owned(),
            metrics: "http://localhost:9464/metrics".to_owned(),
        };
        let block = places.block();
        for part in [
            "http://localhost:3000\n",
            "\"demo\" with \"look around\"",
            "http://127.0.0.1:3001\n",
            "/shop\n",
            "9464/metrics\n",
        ] {
            assert!(block.contains(part), "{block}");
        }
    }
}
