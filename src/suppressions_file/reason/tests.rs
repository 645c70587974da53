//! Whose fault lists of bounces tell of.

use super::*;

const BAD: ListedReason = Ok(Suppression::BadAddress);

/// Status and text as lists of bounces have them.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn only_an_unknown_or_disabled_mailbox_makes_an_address_bad() {
    for (cells, verdict) in [
        (
            [
                "5.1.1",
                "550 5.1.1 The email account that you tried to reach does not exist.",
            ],
            BAD,
        ),
        (
            [
                "5.0.0",
                "550 5.1.1 <a@example.com>: Recipient address rejected: User unknown",
            ],
            BAD,
        ), // the text is more specific
        (["5.0.0", "550 No such user here"], BAD),
        (
            [
                "550",
                "5.2.1 The email account that you tried to reach is disabled",
            ],
            BAD,
        ),
        (["5.1.2", "Host or domain name not found"], BAD),
        (["5.4.4", "unable to route: no mail hosts for domain"], BAD),
        (["5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound"], BAD),
        (["605", "Not delivering to previously bounced address"], BAD), // Mailgun
        // RFC 5321's own words for 550, which servers also say to a sender whom they do not like; and codes that say less.
        (
            ["550", "550 Requested action not taken: mailbox unavailable"],
            Err(Skip::AboutTheSender),
        ),
        (["550", ""], Err(Skip::AboutTheSender)),
        (["5.0.0", "550"], Err(Skip::AboutTheSender)),
        (["", ""], Err(Skip::AboutTheSender)),
        // The words decide before a general code, the mailbox's as well as the sender's.
        (["", "550 5.7.1 User unknown"], BAD),
        (["5.7.1", "550 User unknown"], BAD),
        (["", "smtp; 550 5.1.1 user unknown"], BAD),
        (["", "550-5.1.1 no such user\n550 5.1.1 try another"], BAD),
        (["5.1.1", ""], BAD),
        (
            ["550", "Recipient address rejected: undeliverable address"],
            BAD,
        ),
        (["450", "user unknown"], Err(Skip::Temporary)),
        (["5.2.2", ""], Err(Skip::Temporary)),
        (["5.0.0", "dial tcp: i/o timeout"], Err(Skip::Temporary)),
        (["", "550 Sender verify failed"], Err(Skip::AboutTheSender)),
        (["", "550 sender rejected"], Err(Skip::AboutTheSender)),
        (
            ["5.1.0", "550 5.1.0 sender rejected"],
            Err(Skip::AboutTheSender),
        ),
        (
            [
                "550",
                "Domain brand.example has exceeded the max emails per hour",
            ],
            Err(Skip::AboutTheSender),
        ),
        (
            ["", "550 Administrative prohibition"],
            Err(Skip::AboutTheSender),
        ),
        (["", "550 HELO invalid"], Err(Skip::AboutTheSender)),
        (
            ["", "550 Client host rejected: cannot find your hostname"],
            Err(Skip::AboutTheSender),
        ),
        (
            ["", "554 Message rejected: Email address is not verified."],
            Err(Skip::AboutTheSender),
        ),
        (["", "554 Transaction failed"], Err(Skip::AboutTheSender)),
        (
            ["5.2.2", "552 5.2.2 The email account is over quota"],
            Err(Skip::Temporary),
        ),
        (["4.0.0", "Connection timed out"], Err(Skip::Temporary)),
        (
            ["4.2.1", "450 4.2.1 The user is receiving mail too quickly"],
            Err(Skip::Temporary),
        ),
        (["", "452 Mailbox full"], Err(Skip::Temporary)),
        (["421", ""], Err(Skip::Temporary)),
        (
            [
                "5.7.1",
                "550 5.7.1 Message rejected due to the reputation of the IP",
            ],
            Err(Skip::AboutTheSender),
        ),
        (
            [
                "5.0.0",
                "550 #5.7.1 Your access to submit messages has been rejected",
            ],
            Err(Skip::AboutTheSender),
        ),
        (
            [
                "5.7.26",
                "unauthenticated email from example.com is not accepted due to its DMARC policy",
            ],
            Err(Skip::AboutTheSender),
        ),
        (
            ["550", "Message contains spam or virus content"],
            Err(Skip::AboutTheSender),
        ),
        (
            ["554", "554 IP address is block listed"],
            Err(Skip::AboutTheSender),
        ),
        (
            ["5.1.8", "501 5.1.8 Sender domain not found"],
            Err(Skip::AboutTheSender),
        ),
        (["5.6.0", "message malformed"], Err(Skip::AboutTheSender)),
        (
            ["5.3.4", "message too big for system"],
            Err(Skip::AboutTheSender),
        ),
    ] {
        let [status, text] = cells;
        assert_eq!(of_reply(status, text), verdict, "{cells:?}");
    }
}

/// Two judges of one reply would contradict each other: what sending takes for a bad address, a list does, and nothing else.
#[test]
fn a_list_and_sending_judge_the_same_reply_alike() {
    let table = include_str!("../../../tests/fixtures/channels/smtp-replies-real.tsv");
    let mut bad = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let ["rcpt", reply, outcome, ..] = cells[..] else {
            continue;
        };
        // A list does not know which names are ours, and its text is decoded before.
        if reply.contains("acme") || reply.contains("\\x") {
            continue;
        }
        let reply = reply.replace("\\n", "\n");
        let is_bad = of_reply("", &reply) == BAD;
        assert_eq!(is_bad, outcome == "bad_recipient", "{reply}");
        bad += usize::from(is_bad);
    }
    assert!(bad > 20, "{bad}");
}

#[test]
fn a_reason_in_somebody_s_own_words_is_no_reply() {
    for (text, verdict) in [
        ("User unknown", Some(BAD)),
        ("550 5.1.1 user unknown", Some(BAD)),
        (
            "Mail domain mentioned in email address is unknown",
            Some(BAD),
        ),
        ("Mail address not RFC compliant", Some(BAD)),
        ("550 sender rejected", Some(Err(Skip::AboutTheSender))),
        ("Sender does not exist", Some(Err(Skip::AboutTheSender))),
        ("452 4.2.2 full", Some(Err(Skip::Temporary))),
        ("asked us by phone", None),
        ("4155550123 called", None),
        ("", None),
    ] {
        assert_eq!(of_text(text), verdict, "{text}");
    }
}
