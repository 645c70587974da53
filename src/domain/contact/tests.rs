use proptest::prelude::*;

use super::*;

fn email(raw: &str) -> Option<String> {
    Address::email(raw).map(|a| a.expose().to_owned())
}

fn phone(raw: &str, region: Option<&str>) -> Option<String> {
    Address::phone(raw, region).map(|a| a.expose().to_owned())
}

#[test]
fn usable_mailboxes_are_normalised() {
    #[rustfmt::skip]
    let cases = [
        ("ana.silva@example.com", "ana.silva@example.com"),
        ("  Ana.Silva@EXAMPLE.com\t", "Ana.Silva@example.com"),
        ("o'neil+chat@mail.example.co.uk", "o'neil+chat@mail.example.co.uk"),
        ("ana@bücher.example", "ana@xn--bcher-kva.example"),
        ("ana@BÜCHER.example", "ana@xn--bcher-kva.example"),
        ("a@1.example", "a@1.example"),
    ];
    for (raw, expected) in cases {
        assert_eq!(email(raw).as_deref(), Some(expected), "{raw}");
    }
}

#[test]
fn whatever_is_no_plain_mailbox_is_unusable() {
    let long_local = format!("{}@example.com", "a".repeat(65));
    let long_domain = format!("a@{}.com", "a.".repeat(130));
    #[rustfmt::skip]
    let unusable = [
        "", " ", "undefined", "NULL", "0", "-1", "** LP deleted data **", "j***@example.com", "ana", "@example.com",
        "ana@", "ana@localhost", "ana@[127.0.0.1]", "ana@127.0.0.1", "ana@example.com.", "ana@.example.com",
        "ana@exa mple.com", "ana silva@example.com", "ana@-example.com", "ana@under_score.com", "\"ana\"@example.com",
        "Ana <ana@example.com>", "ana@evil.com@", "ana@@example.com", ".ana@example.com", "ana..silva@example.com",
        "añа@example.com", "ana@example.com\r\nBcc: all@example.com", "ana\0@example.com",
        "ana@example.com,ben@example.com", "ana@exam\u{202e}ple.com", long_local.as_str(), long_domain.as_str(),
    ];
    for raw in unusable {
        assert_eq!(email(raw), None, "{raw:?}");
    }
}

#[test]
fn phone_numbers_become_e164() {
    #[rustfmt::skip]
    let cases = [
        ("+1 202-555-0143", None, "+12025550143"),
        ("(202) 555-0143", Some("US"), "+12025550143"),
        ("(202) 555-0143", Some("us"), "+12025550143"),
        ("020 7946 0123", Some("GB"), "+442079460123"),
        ("+44 20 7946 0123", Some("US"), "+442079460123"),
        ("tel:+12025550143", None, "+12025550143"),
        ("+39 06 6982 1234", None, "+390669821234"),
        ("+800 1234 5678", None, "+80012345678"),
    ];
    for (raw, region, expected) in cases {
        assert_eq!(phone(raw, region).as_deref(), Some(expected), "{raw}");
    }
}

#[test]
fn whatever_cannot_be_a_phone_number_is_unusable() {
    #[rustfmt::skip]
    let cases = [
        ("", None),
        ("0", Some("US")),
        ("undefined", Some("US")),
        ("-1", Some("US")),
        ("12345678", None),
        ("12345678", Some("US")),
        ("555-0143", Some("US")),
        ("+1 2025550143 ext. 7", None),
        ("+999 123456789", None),
        ("(202) 555-0143", None),
        ("(202) 555-0143", Some("nowhere")),
        ("+1 ***-***-0143", None),
        ("+1 900 555 0143", None),
        ("call me", Some("US")),
        ("+", None),
        ("+0", None),
    ];
    for (raw, region) in cases {
        assert_eq!(phone(raw, region), None, "{raw:?}");
    }
}

#[test]
fn a_phone_number_tells_its_country() {
    let country = |raw| Address::phone(raw, None).and_then(|a| a.country());
    assert_eq!(country("+12025550143").as_deref(), Some("US"));
    assert_eq!(country("+16137827274").as_deref(), Some("CA"));
    assert_eq!(country("+442079460123").as_deref(), Some("GB"));
    assert_eq!(country("+80012345678"), None);
    assert_eq!(
        Address::email("ana@example.com").and_then(|a| a.country()),
        None
    );
}

#[test]
fn an_address_is_shown_masked_and_keyed_without_its_case() {
    let mail = Address::email("Ana.Silva@Example.com").unwrap();
    assert_eq!(mail.masked(), "A…@example.com");
    assert_eq!(mail.suppression_key(), "ana.silva@example.com");
    assert_eq!(mail.channel(), Channel::Email);
    let phone = Address::phone("+1 202-555-0143", None).unwrap();
    assert_eq!(phone.masked(), "+12…43");
    assert_eq!(phone.suppression_key(), "+12025550143");
    assert_eq!(phone.channel(), Channel::Sms);
    assert_eq!(format!("{mail:?} {phone:?}"), "Email(…) Phone(…)");
}

#[test]
fn names_are_cleaned() {
    let long = "a".repeat(50_000);
    #[rustfmt::skip]
    let cases = [
        ("Ana", Some("Ana")),
        ("  Ana \t Maria\r\n", Some("Ana Maria")),
        ("Ana\r\nBcc: x", Some("Ana Bcc: x")),
        ("A\u{0}na\u{7f}", Some("Ana")),
        ("\u{202e}anA\u{2069}", Some("anA")),
        ("Nguyễn", Some("Nguyễn")),
        ("J. R.", Some("J. R.")),
        ("می\u{200c}نا", Some("می\u{200c}نا")),
        ("\u{200b}\u{feff}", None),
        ("undefined", None),
        ("Null", None),
        ("0", None),
        ("** LP deleted data **", None),
        ("****", None),
        ("https://shop.example", None),
        ("win at shop.example now", None),
        ("www.shop", None),
        ("<b>Ana</b>", None),
        ("ana@example.com", None),
        ("=?utf-8?q?Ana?=", None),
        (long.as_str(), Some(&long[..64])),
    ];
    for (raw, expected) in cases {
        assert_eq!(
            clean_name(raw).as_deref(),
            expected,
            "{:?}",
            raw.get(..40).unwrap_or(raw)
        );
    }
}

fn raw(first_name: &str, email: &str, phone: &str) -> RawContact {
    let some = |value: &str| Some(value.to_owned());
    RawContact {
        first_name: some(first_name),
        email: some(email),
        phone: some(phone),
    }
}

#[test]
fn the_most_trusted_usable_source_wins() {
    let list = |emails: &[&str]| emails.iter().map(|e| raw("Ana", e, "0")).collect();
    let (a, b, c) = ("a@example.com", "b@example.com", "c@example.com");
    // What, authenticated, participants, unauthenticated, are the last believed, expected.
    #[rustfmt::skip]
    let cases: [(_, &[&str], &[&str], &[&str], _, _); 7] = [
        ("authenticated first", &[a], &[b], &[], false, Some(a)),
        ("newest authenticated first", &[a, b], &[], &[], false, Some(a)),
        ("unusable makes room", &["not an address"], &[b], &[], false, Some(b)),
        ("placeholders are absence", &["undefined"], &["null"], &["0"], true, None),
        ("unauthenticated is not believed", &["undefined"], &[], &[c], false, None),
        ("unless the account says so", &["undefined"], &[], &[c], true, Some(c)),
        ("and only last", &[], &[b], &[c], true, Some(b)),
    ];
    for (case, authenticated, participants, unauthenticated, believed, expected) in cases {
        let mut sources = ContactSources {
            authenticated: list(authenticated),
            ..ContactSources::default()
        };
        sources.participants = list(participants);
        sources.unauthenticated = list(unauthenticated);
        let policy = ContactPolicy {
            unauthenticated: believed,
            ..ContactPolicy::default()
        };
        let contact = choose(&sources, Channel::Email, &policy);
        let address = contact.as_ref().map(|c| c.address.expose());
        assert_eq!(address, expected, "{case}");
    }
}

#[test]
fn each_channel_chooses_for_itself() {
    let sources = ContactSources {
        authenticated: vec![raw("Ana", "ana@example.com", "0")],
        participants: vec![raw("undefined", "undefined", "(202) 555-0143")],
        ..ContactSources::default()
    };
    let policy = ContactPolicy {
        default_region: Some("US".to_owned()),
        ..ContactPolicy::default()
    };
    let sms = choose(&sources, Channel::Sms, &policy).unwrap();
    assert_eq!(sms.address.expose(), "+12025550143");
    assert_eq!(
        sms.first_name.as_deref(),
        Some("Ana"),
        "another source knows the name"
    );
}

#[test]
fn a_name_that_is_not_believed_is_not_used() {
    let sources = ContactSources {
        authenticated: vec![raw("undefined", "ana@example.com", "0")],
        unauthenticated: vec![raw("Mallory", "undefined", "0")],
        ..ContactSources::default()
    };
    let contact = choose(&sources, Channel::Email, &ContactPolicy::default()).unwrap();
    assert_eq!(contact.first_name, None);
}

#[test]
fn huge_values_are_no_work() {
    let huge = "+1".repeat(25_000);
    assert_eq!((email(&huge), phone(&huge, Some("US"))), (None, None));
}

proptest! {
    #[test]
    fn no_input_panics_and_what_is_accepted_is_stable(raw in "\\PC{0,80}", region in prop::option::of("[A-Z]{2}")) {
        if let Some(address) = Address::email(&raw) {
            prop_assert_eq!(Address::email(address.expose()), Some(address));
        }
        if let Some(address) = Address::phone(&raw, region.as_deref()) {
            prop_assert_eq!(Address::phone(address.expose(), None), Some(address));
        }
        if let Some(name) = clean_name(&raw) {
            prop_assert!(name.chars().count() <= 64 && !name.chars().any(char::is_control));
            prop_assert_eq!(clean_name(&name), Some(name));
        }
    }

    #[test]
    fn whatever_is_dialled_becomes_e164_or_nothing(raw in "[+0-9 ()x#;,.-]{0,24}", region in prop::option::of("US|GB|DE|IT|AR|MX|BR|NZ")) {
        if let Some(address) = Address::phone(&raw, region.as_deref()) {
            let number = address.expose();
            prop_assert!(number.starts_with('+') && (8..=16).contains(&number.len()), "{}", number);
            prop_assert!(number[1..].bytes().all(|b| b.is_ascii_digit()));
            prop_assert_eq!(Address::phone(number, None), Some(address.clone()));
        }
    }

    #[test]
    fn whatever_looks_like_a_mailbox_stays_one(local in "[a-zA-Z0-9.+_]{1,70}", domain in "[a-zA-Z0-9ü.-]{1,40}") {
        if let Some(address) = Address::email(&format!("{local}@{domain}")) {
            let text = address.expose();
            prop_assert!(text.is_ascii() && text.len() <= 254);
            prop_assert!(text.starts_with(&local));
            prop_assert_eq!(Address::email(text), Some(address.clone()));
        }
    }
}
