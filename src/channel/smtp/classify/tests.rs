//! The tables of replies, and what codes are made of.

use super::*;
use crate::channel::smtp::codes;
use crate::channel::smtp::reply::ReplyReader;

/// Rows of the tables.
const ROWS: [usize; 7] = [68, 150, 147, 414, 118, 209, 250];

/// One row of the table of replies, by the words of the table.
fn outcome_of(class: &str, code: String) -> Outcome {
    let not = |class| Outcome::NotAccepted {
        class,
        code: code.clone(),
        retry_after: None,
    };
    let refused = |class| Outcome::Refused {
        class,
        code: code.clone(),
    };
    match class {
        "transient" => not(Retryable::Transient),
        "slow" => not(Retryable::Slow),
        "throttled" => not(Retryable::Throttled),
        "recipient_soft" => not(Retryable::RecipientSoft),
        "recipient_policy" => not(Retryable::RecipientPolicy),
        "config" => not(Retryable::Config),
        "quota" => not(Retryable::Quota),
        "bad_recipient" => refused(Refusal::BadRecipient),
        "policy" => refused(Refusal::Policy),
        "other" => refused(Refusal::Other),
        "unknown" => Outcome::Unknown { code },
        other => panic!("no class {other}"),
    }
}

fn phase_of(name: &str) -> SmtpPhase {
    match name {
        "connect" => SmtpPhase::Connect,
        "greeting" => SmtpPhase::Greeting,
        "starttls" => SmtpPhase::StartTls,
        "auth" => SmtpPhase::Auth,
        "mail" => SmtpPhase::Mail,
        "rcpt" => SmtpPhase::Rcpt,
        "data" => SmtpPhase::Data,
        "final" => SmtpPhase::Final,
        other => panic!("no phase {other}"),
    }
}

/// What a row says happened to a message from `a@acme.example` to `dana@customer.example`, or that with a typing error. `\n` stands between lines, `\xNN` for an octet; the reader reads it as it would from a socket.
fn fault_of(written: &str) -> StepFault {
    match written {
        "(timed out)" => return StepFault::TimedOut,
        "(lost)" => return StepFault::Lost,
        "(unreadable)" => return StepFault::Unreadable,
        "(tls)" => return StepFault::Tls,
        "(not offered)" => return StepFault::NotOffered,
        _ => {}
    }
    let mut octets = Vec::new();
    let mut rest = written;
    while let Some((plain, escape)) = rest.split_once('\\') {
        octets.extend_from_slice(plain.as_bytes());
        if let Some(after) = escape.strip_prefix('n') {
            octets.extend_from_slice(b"\r\n");
            rest = after;
        } else {
            octets.push(u8::from_str_radix(&escape[1..3], 16).unwrap());
            rest = &escape[3..];
        }
    }
    octets.extend_from_slice(rest.as_bytes());
    octets.extend_from_slice(b"\r\n");
    match ReplyReader::default().take(&octets) {
        Ok((_, Some(lines))) => {
            // Some rows have the domain misspelt.
            let typo = written.contains("customer.exmaple");
            let to = if typo {
                "dana@customer.exmaple"
            } else {
                "dana@customer.example"
            };
            StepFault::Reply(
                lines
                    .reply()
                    .answering("a@acme.example", to, "mail.acme.example"),
            )
        }
        other => panic!("no reply: {written}: {other:?}"),
    }
}

/// The rows that are not classified as the table says, and how many rows there are.
fn wrong(table: &str) -> (Vec<String>, usize) {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for row in table.lines().filter(|l| !l.starts_with('#')) {
        let [phase, reply, class, why] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not four columns: {row}");
        };
        assert!(!why.is_empty(), "no reason: {row}");
        let (phase, fault) = (phase_of(phase), fault_of(reply));
        let expected = outcome_of(class, code(phase, &fault));
        let got = match classify(phase, &fault) {
            Outcome::NotAccepted { class, code, .. } => Outcome::NotAccepted {
                class,
                code,
                retry_after: None,
            },
            got => got,
        };
        if got != expected {
            wrong.push(format!("{row}: {got:?}"));
        }
        if let Outcome::NotAccepted {
            class: Retryable::Config | Retryable::Quota,
            code,
            ..
        } = &expected
        {
            // It pauses the sender: whoever reads why must not look for it at the recipient.
            let paused = codes::explain(code).paused;
            if paused.contains("ecipient's mail server") {
                wrong.push(format!(
                    "{row}: {code} is said to be the recipient's: {paused}"
                ));
            }
        }
        rows += 1;
    }
    (wrong, rows)
}

#[test]
fn every_reply_of_the_tables_is_understood_by_its_phase() {
    for (table, rows) in [
        (
            include_str!("../../../../tests/fixtures/channels/smtp-replies.tsv"),
            ROWS[0],
        ),
        (
            include_str!("../../../../tests/fixtures/channels/smtp-replies-real.tsv"),
            ROWS[1],
        ),
        (
            include_str!("../../../../tests/fixtures/channels/smtp-replies-held-out.tsv"),
            ROWS[2],
        ),
        (
            include_str!("../../../../tests/fixtures/channels/smtp-replies-servers.tsv"),
            ROWS[3],
        ),
        (
            include_str!("../../../../tests/fixtures/channels/smtp-replies-codes.tsv"),
            ROWS[4],
        ),
        (
            include_str!("../../../../tests/fixtures/channels/smtp-replies-sides.tsv"),
            ROWS[5],
        ),
        (
            include_str!("../../../../tests/fixtures/channels/smtp-replies-more.tsv"),
            ROWS[6],
        ),
    ] {
        let (wrong, counted) = wrong(table);
        assert!(
            wrong.is_empty(),
            "{} wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        assert_eq!(counted, rows);
    }
}

#[test]
fn a_code_never_carries_the_text_but_a_word_for_what_only_the_text_said() {
    for (phase, code_and_text, expected) in [
        (
            SmtpPhase::Rcpt,
            (550, "5.1.1 <dana@customer.example>: unknown"),
            "rcpt 550 5.1.1",
        ),
        (
            SmtpPhase::Rcpt,
            (550, "5.1.1 No such user"),
            "rcpt 550 5.1.1",
        ),
        (
            SmtpPhase::Rcpt,
            (550, "<dana@customer.example> No such user"),
            "rcpt 550 unknown mailbox",
        ),
        (
            SmtpPhase::Rcpt,
            (550, "relay not permitted"),
            "rcpt 550 relay",
        ),
        (
            SmtpPhase::Rcpt,
            (550, "5.7.1 Relaying denied"),
            "rcpt 550 5.7.1 relay",
        ),
        (
            SmtpPhase::Rcpt,
            (550, "5.7.1 Access denied"),
            "rcpt 550 5.7.1",
        ),
        (
            SmtpPhase::Rcpt,
            (550, "100 emails per hour"),
            "rcpt 550 quota",
        ),
        (SmtpPhase::Rcpt, (550, ""), "rcpt 550"),
        (
            SmtpPhase::Auth,
            (535, "5.7.8 authentication failed"),
            "auth 535 5.7.8",
        ),
        (
            SmtpPhase::Final,
            (550, "5.7.515 dmarc"),
            "final 550 5.7.515",
        ),
    ] {
        let (code_number, text) = code_and_text;
        let fault = StepFault::Reply(Reply::new(code_number, text));
        assert_eq!(code(phase, &fault), expected, "{text}");
    }
}

#[test]
fn who_is_quoted_says_whose_mailbox_is_unknown() {
    let ours = |code: &str| Outcome::NotAccepted {
        class: Retryable::Config,
        code: code.to_owned(),
        retry_after: None,
    };
    let refused = |class, code: &str| Outcome::Refused {
        class,
        code: code.to_owned(),
    };
    let bad = |code| refused(Refusal::BadRecipient, code);
    for (text, expected) in [
        (
            "<dana@customer.example> No such user",
            bad("rcpt 550 unknown mailbox"),
        ),
        ("<robot@acme.example> No such user", ours("rcpt 550 sender")),
        (
            "<Robot@ACME.example>: user unknown",
            ours("rcpt 550 sender"),
        ),
        (
            "<robot@acme.example> to <dana@customer.example>: no such user",
            bad("rcpt 550 unknown mailbox"),
        ),
        (
            "No such user at customer.example (from robot@acme.example)",
            bad("rcpt 550 unknown mailbox"),
        ),
        (
            "<dana@internal.example>: user unknown (sent by robot@acme.example)",
            bad("rcpt 550 unknown mailbox"),
        ),
        // What begins like our address is another one.
        (
            "<robot@acme.example.net> No such user",
            bad("rcpt 550 unknown mailbox"),
        ),
        (
            "<my-robot@acme.example> No such user",
            bad("rcpt 550 unknown mailbox"),
        ),
        // A server's name says nothing about whose mailbox is meant; our domain as such does about a domain.
        (
            "mail.acme.example: no such user",
            bad("rcpt 550 unknown mailbox"),
        ),
        (
            "Domain acme.example does not exist",
            ours("rcpt 550 sender"),
        ),
        (
            "Domain customer.example does not exist",
            bad("rcpt 550 unknown domain"),
        ),
        // The code speaks of a recipient, the text of us: nobody is silenced, and nobody held up.
        (
            "5.1.1 <robot@acme.example> User unknown",
            refused(Refusal::Other, "rcpt 550 5.1.1 unclear"),
        ),
        (
            "5.1.8 <robot@acme.example> Domain not found",
            ours("rcpt 550 5.1.8"),
        ),
        // Hosts below our domain, and its parent; a host of neither side proves nothing.
        ("mail.acme.example: host not found", ours("rcpt 550 sender")),
        (
            "out.host.example: host not found",
            refused(Refusal::Other, "rcpt 550 unclear"),
        ),
        (
            "mx.customer.example: host not found",
            bad("rcpt 550 unknown domain"),
        ),
        (
            "5.1.2 out.host.example: host not found",
            bad("rcpt 550 5.1.2"),
        ),
        // An account without the recipient's address beside it is ours.
        ("API user disabled", ours("rcpt 550 account")),
        (
            "<dana@customer.example> account disabled: payment due",
            refused(Refusal::Other, "rcpt 550 unclear"),
        ),
    ] {
        let reply = Reply::new(550, text).answering(
            "robot@acme.example",
            "dana@customer.example",
            "mail.acme.example",
        );
        assert_eq!(
            classify(SmtpPhase::Rcpt, &StepFault::Reply(reply)),
            expected,
            "{text}"
        );
    }
}
