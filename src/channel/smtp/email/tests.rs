use chrono::TimeZone;
use proptest::prelude::*;

use super::*;

fn sender() -> Mailbox {
    "Acme Support <reminders@notify.acme.example>"
        .parse()
        .unwrap()
}

fn to() -> Address {
    Address::Email("dana@customer.example".to_owned())
}

fn email<'a>(to: &'a Address, name: &'a str, subject: &'a str) -> Email<'a> {
    Email {
        from: None,
        reply_to: None,
        to,
        to_name: Some(name),
        subject,
        text: "Hi Dana,\n\nread it here:\nhttps://r.acme.example/m/7Kq2ZxT9\n.\n..end\n",
        html: Some("<p>Grüße</p>"),
        message_id: "rem.42@notify.acme.example",
        thread_ref: "conv.5f1c2a9b7d@notify.acme.example",
        unsubscribe_url: Some("https://reminders.example.com/u/o7RkV2mQx1"),
        unsubscribe_mailto: Some("unsubscribe@notify.acme.example?subject=o7RkV2mQx1"),
        feedback_id: Some("skill-42:acct-1234:reminder:acmenotify"),
        date: Utc.with_ymd_and_hms(2026, 11, 22, 14, 5, 31).unwrap(),
    }
}

fn written(email: &Email<'_>) -> String {
    write(email, &sender(), None).unwrap().wire
}

/// Header names in order, folded lines joined to their header.
fn header_names(wire: &str) -> Vec<String> {
    let (head, _) = wire.split_once("\r\n\r\n").unwrap();
    head.split("\r\n")
        .filter(|l| !l.starts_with([' ', '\t']))
        .map(|l| l.split_once(':').expect("a header line").0.to_owned())
        .collect()
}

fn header_value(wire: &str, name: &str) -> String {
    let (head, _) = wire.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ");
    let line = unfolded
        .split("\r\n")
        .find(|l| l.starts_with(&format!("{name}: ")));
    line.expect(name)[name.len() + 2..].to_owned()
}

const EXPECTED_HEADERS: [&str; 14] = [
    "Auto-Submitted",
    "Content-Type",
    "Date",
    "Feedback-ID",
    "From",
    "In-Reply-To",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "MIME-Version",
    "Message-ID",
    "References",
    "Subject",
    "To",
    "X-Auto-Response-Suppress",
];

fn sorted_headers(wire: &str) -> Vec<String> {
    let mut names = header_names(wire);
    names.sort();
    names
}

#[test]
fn a_reminder_has_the_headers_of_a_good_neighbour() {
    let to = to();
    let wire = written(&email(&to, "Dana", "Sam from Acme replied to you"));
    assert_eq!(sorted_headers(&wire), EXPECTED_HEADERS);
    for (name, value) in [
        ("From", "\"Acme Support\" <reminders@notify.acme.example>"),
        ("To", "Dana <dana@customer.example>"),
        ("Subject", "Sam from Acme replied to you"),
        ("Date", "Sun, 22 Nov 2026 14:05:31 +0000"),
        ("Message-ID", "<rem.42@notify.acme.example>"),
        ("In-Reply-To", "<conv.5f1c2a9b7d@notify.acme.example>"),
        ("References", "<conv.5f1c2a9b7d@notify.acme.example>"),
        (
            "List-Unsubscribe",
            "<https://reminders.example.com/u/o7RkV2mQx1>, <mailto:unsubscribe@notify.acme.example?subject=o7RkV2mQx1>",
        ),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
        ("Feedback-ID", "skill-42:acct-1234:reminder:acmenotify"),
    ] {
        assert_eq!(header_value(&wire, name), value);
    }
    assert!(wire.find("text/plain").unwrap() < wire.find("text/html").unwrap());
}

#[test]
fn leading_dots_are_doubled_and_the_last_line_is_a_single_dot() {
    let to = to();
    let wire = written(&email(&to, "Dana", "x"));
    assert!(wire.contains("\r\n..\r\n...end\r\n"), "{wire}");
    assert!(wire.ends_with("--\r\n.\r\n"), "{wire}");
}

#[test]
fn every_line_end_of_a_body_becomes_the_one_of_mail() {
    let to = to();
    let odd = Email {
        text: "a\rb\nc\r\nd\0\u{85}",
        ..email(&to, "Dana", "x")
    };
    assert!(written(&odd).contains("\r\na\r\nb\r\nc\r\nd\r\n"));
}

#[test]
fn an_address_we_cannot_write_to_is_refused_without_blame() {
    for address in [
        "dänä@customer.example",
        "a@b",
        "a@[127.0.0.1]",
        "a b@c.example",
        "a@b.example\r\nRCPT TO:<x@y.example>",
    ] {
        let to = Address::Email(address.to_owned());
        let unwritable = write(&email(&to, "", ""), &sender(), None).err().unwrap();
        assert_eq!(unwritable, Unwritable::Recipient, "{address:?}");
        assert!(matches!(
            unwritable.outcome(),
            Outcome::Refused {
                class: Refusal::Other,
                ..
            }
        ));
    }
    let phone = Address::Phone("+14155550123".to_owned());
    assert!(write(&email(&phone, "", ""), &sender(), None).is_err());
}

#[test]
fn an_identifier_that_could_break_a_header_is_an_error() {
    let to = to();
    for id in ["", "a\r\nBcc: x@y.example", "a> <b", "ä@b.example"] {
        let broken = Email {
            message_id: id,
            ..email(&to, "Dana", "x")
        };
        assert_eq!(
            write(&broken, &sender(), None).err(),
            Some(Unwritable::Header),
            "{id:?}"
        );
    }
}

#[test]
fn without_a_name_in_the_settings_the_sender_is_the_brand() {
    let (bare, named) = (None, Some("Acme Support"));
    let long = "é".repeat(500);
    let name_of = |settings, own, brand: &str| {
        let default = Mailbox::new("a@acme.example", settings).unwrap();
        let from = default.for_brand(own, brand).unwrap();
        assert_eq!(from.address(), own.unwrap_or("a@acme.example"));
        from.name().map(str::to_owned)
    };
    let cases = [
        (bare, None, "Acme", Some("Acme")),
        (bare, Some("b@acme.example"), "Acme", Some("Acme")),
        (
            bare,
            None,
            "Müller & Söhne, \"Ltd\"",
            Some("Müller & Söhne, \"Ltd\""),
        ),
        (
            bare,
            None,
            "Ac\r\nBcc: x@example.com\r\nme",
            Some("Ac Bcc: x@example.com me"),
        ),
        // An account that is not configured any more has no brand.
        (bare, None, "", None),
        (bare, None, " \n ", None),
        // A name in the settings is every account's.
        (named, None, "Acme", named),
        (named, Some("b@acme.example"), "Acme", named),
    ];
    for (settings, own, brand, name) in cases {
        assert_eq!(name_of(settings, own, brand).as_deref(), name, "{brand:?}");
    }
    assert!(name_of(bare, None, &long).is_some_and(|name| name.len() < long.len()));
    let default = Mailbox::new("a@acme.example", None).unwrap();
    assert_eq!(
        default.for_brand(Some("no address"), "Acme"),
        Err(InvalidMailbox)
    );
}

#[test]
fn a_mailbox_is_read_from_a_setting() {
    let with_name: Mailbox = "\"Acme, Inc.\" <a@acme.example>".parse().unwrap();
    assert_eq!(with_name.name(), Some("Acme, Inc."));
    assert_eq!(with_name.address(), "a@acme.example");
    let bare: Mailbox = " a@acme.example ".parse().unwrap();
    assert_eq!((bare.name(), bare.domain()), (None, "acme.example"));
    for wrong in ["", "Acme", "a@b", "Acme <a@acme.example", "<>"] {
        assert_eq!(wrong.parse::<Mailbox>(), Err(InvalidMailbox), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn no_name_or_subject_adds_a_header(
        name in ".*|(?s).{0,80}\r\nBcc: x@example.com\r\n.{0,20}|=\\?utf-8\\?q\\?.{0,20}\\?=",
        subject in "(?s).{0,200}",
        sender_name in "(?s).{0,80}",
        text in "(?s).{0,300}",
    ) {
        let to = to();
        let from = Mailbox::new("a@acme.example", Some(&sender_name)).unwrap();
        let hostile = Email { from: Some(&from), text: &text, html: Some(&text), ..email(&to, &name, &subject) };
        let wire = written(&hostile);
        prop_assert_eq!(sorted_headers(&wire), EXPECTED_HEADERS);
        // One end of message, and it is the last line: no line end but CRLF, and no other line that is a lone dot.
        prop_assert!(!wire.replace("\r\n", "").contains(['\r', '\n']));
        prop_assert_eq!(wire.matches("\r\n.\r\n").count(), 1);
    }
}
