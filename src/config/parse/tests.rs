//! What each kind of value accepts, and what it refuses.

use super::*;

#[test]
fn a_log_level_that_is_mistyped_silences_nothing() {
    for good in [
        "info",
        "WARN",
        "off",
        "info,unread::jobs=debug",
        "unread=debug",
        "info,[request]=debug",
    ] {
        assert_eq!(log_level(good), Ok(()), "{good}");
    }
    for bad in [
        "inof",
        "loud",
        "sk_live_abc",
        "info,unread",
        "unread=loud",
        "info;debug",
    ] {
        assert!(log_level(bad).is_err(), "{bad}");
    }
}

#[test]
fn http_is_for_this_machine_only() {
    for good in [
        "https://api.example.com",
        "http://localhost:9000",
        "http://127.0.0.2",
        "http://[::1]:1",
    ] {
        assert!(api_url(good).is_ok(), "{good}");
    }
    for bad in [
        "http://api.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1@example.com",
        "ftp://localhost",
        "localhost:9000",
        "https://api.example.com/?x=1",
        "https://user:pw@api.example.com",
    ] {
        assert!(api_url(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_base_url_keeps_its_path_when_joined() {
    let url = base_url("https://example.com/unread").unwrap();
    assert_eq!(
        url.join("l/x").unwrap().as_str(),
        "https://example.com/unread/l/x"
    );
}

#[test]
fn an_origin_is_written_as_browsers_write_it() {
    assert_eq!(
        origin("HTTPS://Www.Example.com:443/").unwrap(),
        "https://www.example.com"
    );
    assert_eq!(
        origin("http://localhost:8080").unwrap(),
        "http://localhost:8080"
    );
    for (raw, expected) in [
        ("https://*.example.com", "https://*.example.com"),
        ("HTTPS://*.Example.com:443", "https://*.example.com"),
        (
            "https://*.shop.example.co.uk:8443",
            "https://*.shop.example.co.uk:8443",
        ),
        (
            "https://*.müller.example",
            "https://*.xn--mller-kva.example",
        ),
    ] {
        assert_eq!(origin(raw).as_deref(), Ok(expected), "{raw}");
    }
    for bad in [
        "https://www.example.com/shop",
        "*",
        "https://*",
        "https://*.com",
        "https://*example.com",
        "https://www.*.example.com",
        "https://*.*.example.com",
        "https://*.192.0.2.1",
        "https://*.example.com/shop",
        "*.example.com",
        "ftp://*.example.com",
    ] {
        assert!(origin(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_mailbox_of_our_own_is_one_that_every_server_takes() {
    for (raw, expected) in [
        ("support@example.com", "support@example.com"),
        ("Support+News@Example.com", "Support+News@example.com"),
        ("support@müller.example", "support@xn--mller-kva.example"), // RFC 5891: what DNS and SMTP know
    ] {
        assert_eq!(email(raw).as_deref(), Ok(expected), "{raw}");
    }
    assert!(
        email("müller@example.com")
            .unwrap_err()
            .contains("plain letters")
    );
    for bad in [
        "",
        "support",
        "support@localhost",
        "a@[192.0.2.1]",
        "Shop <support@example.com>",
        "a b@example.com",
        "a@b@example.com",
    ] {
        assert!(email(bad).unwrap_err().contains("nothing else"), "{bad}");
    }
}

#[test]
fn an_account_is_4_to_20_letters_and_digits() {
    for good in ["1234", "12345678", "b0000001", "ABCDEFGHIJKLMNOPQRST"] {
        assert_eq!(account(good).map(|id| id.to_string()).as_deref(), Ok(good));
    }
    for bad in [
        "",
        "123",
        "ABCDEFGHIJKLMNOPQRSTU",
        "1234 5678",
        "1234-5678",
        "1234_5678",
        "１２３４５６７８",
        "bücher",
        "../..",
        "1234;",
    ] {
        assert!(account(bad).is_err(), "{bad}");
    }
}

#[test]
fn this_service_has_a_host_of_its_own() {
    assert_eq!(
        public_url("https://unread.example.com").unwrap().as_str(),
        "https://unread.example.com/"
    );
    assert!(public_url("http://127.0.0.1:3000/").is_ok());
    assert!(
        public_url("https://example.com/unread")
            .unwrap_err()
            .contains("without a path")
    );
    for bad in [
        "https://*.example.com",
        "unread.example.com",
        "https://example.com/?x",
        "https://u:p@example.com",
        "ftp://example.com",
    ] {
        assert!(public_url(bad).is_err(), "{bad}");
    }
}

#[test]
fn numbers_keep_to_their_range() {
    assert_eq!(number(1..=89)("89"), Ok(89));
    assert_eq!(
        number(1..=89)("90"),
        Err("a number from 1 to 89".to_owned())
    );
    assert!(number(1_u32..=89)("-1").is_err());
    for bad in ["0", "-1", "NaN", "inf", ""] {
        assert!(rate(bad).is_err(), "{bad}");
    }
}
